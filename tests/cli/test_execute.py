"""`compile` and `run`: programs, program files, inputs and outputs, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onchip.chip import Chip
from onchip.ir.graph import Graph
from tests.cli.conftest import Onchip, dense

EDGE = ("--chip", "edge-npu-16")


def test_a_run_is_bit_exact_and_says_so(onchip: Onchip, net: Path) -> None:
    made = onchip("run", net, *EDGE, "-b", 2, "--json").valid("report-1.json")
    assert made["bit_exact"] is True
    assert made["cycles"] > 0 and made["latency_s"]["fidelity"] == "event"
    assert made["model"]["macs"] == 2 * 640
    assert made["assumptions"][0] == "inputs are random (seed 0)"
    text = onchip("run", net, *EDGE, "-b", 2).out
    assert "  bit-exact          yes              every output equals the integer reference" in text
    assert text.splitlines()[1].startswith(f"Next:  onchip estimate {net} -b 2 --chip edge-npu-16 ")


def test_run_and_estimate_agree_on_the_cycles(onchip: Onchip) -> None:
    estimated = onchip("estimate", "@digits_cnn", *EDGE, "--json").json
    ran = onchip("run", "@digits_cnn", *EDGE, "--json").json
    assert ran["cycles"] == estimated["cycles"]
    assert ran["assumptions"][0] == "weights are random (seed 0): the zoo has none"


def test_the_outputs_are_those_of_the_network_within_the_int8_steps(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, (8, 64)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    done = onchip("run", net, *EDGE, "-i", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz", "--json")
    assert done.json["batch"] == 8 and done.json["bit_exact"] is True
    with np.load(tmp_path / "out.npz") as outputs:
        (ours,) = (outputs[name] for name in outputs.files)
    expected = np.asarray(ort.InferenceSession(net, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0])
    # 8-bit inputs, weights and outputs: 64 products each off by half a step of two of them, and a step of the output
    assert np.abs(ours - expected).max() < 0.03 * np.abs(expected).max()


def test_inputs_come_from_an_npy_file_as_well(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.ones((3, 64)))
    made = onchip("run", net, *EDGE, "--input", tmp_path / "in.npy", "--samples", tmp_path / "in.npy", "--json").json
    assert made["batch"] == 3 and made["bit_exact"] is True
    assert not any("random" in line for line in made["assumptions"])


def test_a_seed_changes_the_inputs_and_nothing_of_the_time(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    found: list[Any] = []
    for seed in (0, 1, 1):
        onchip("run", net, *EDGE, "--seed", seed, "--outputs", tmp_path / "o.npz", "-q")
        with np.load(tmp_path / "o.npz") as outputs:
            found.append(outputs["y"])
    assert not np.array_equal(found[0], found[1]) and np.array_equal(found[1], found[2])


def test_a_float_program_runs_and_says_how_far_it_is_from_floats(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(3).uniform(-1, 1, (8, 64)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    words = ("run", net, "-c", "h100-sxm", "--dtype", "bf16", "-i", tmp_path / "in.npz")
    made = onchip(*words, "--outputs", tmp_path / "out.npz", "--json").valid("report-1.json")
    assert made["bit_exact"] is None
    (line,) = (line for line in made["assumptions"] if line.startswith("outputs differ from the bf16 reference by "))
    assert float(line.split()[7]) <= 2 * 2.0**-8  # one layer: the last rounding may fall the other way
    with np.load(tmp_path / "out.npz") as outputs:
        (ours,) = (outputs[name] for name in outputs.files)
    expected = np.asarray(ort.InferenceSession(net, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0])
    assert 0 < np.abs(ours - expected).max() < 4 * 2.0**-8 * np.abs(expected).max()  # inputs, weights, outputs in bf16


def test_a_float_program_file_runs_with_its_own_inputs(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    onchip("compile", net, "-c", "tpu-v4", "-o", tmp_path / "p.npz", "-q")
    made = onchip("run", tmp_path / "p.npz", "--json").valid("report-1.json")
    assert made["assumptions"][0] == "inputs are random (seed 0)"
    assert any(line.startswith("outputs differ from the bf16 reference by ") for line in made["assumptions"])


def test_a_program_file_runs_bit_for_bit_with_its_own_chip(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    done = onchip("compile", net, *EDGE, "-b", 2, "--set", "local.size=512KiB", "-o", path)
    assert done.out.splitlines()[1].startswith(f"Next:  onchip run {path} ")
    direct = onchip("run", net, *EDGE, "-b", 2, "--set", "local.size=512KiB", "--json").json
    made = onchip("run", path, "--json").valid("report-1.json")
    assert made["bit_exact"] is True
    assert made["cycles"] == direct["cycles"] and made["model"] == direct["model"] and made["chip"] == direct["chip"]
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 64), np.float32))
    assert onchip("run", path, "-i", tmp_path / "x.npz", "--json").json["bit_exact"] is True
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 64), np.float32))
    onchip("run", path, "-i", tmp_path / "x.npz").mistake("OC1421", 2)
    line = onchip("run", path, "-b", 3, "--chip", "edge-npu-16").mistake("OC1008", 2)
    assert "--chip, --batch" in line


def test_a_mismatch_ends_with_five_after_the_report(onchip: Onchip, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onchip import pipeline

    def other(_graph: Graph, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"y": np.zeros((len(inputs["x"]), 10), np.float32)}

    monkeypatch.setattr(pipeline, "evaluate", other)
    done = onchip("run", net, *EDGE, "--json")
    assert done.code == 5 and " OC3001 " in done.err and len(done.err.splitlines()) == 1
    assert json.loads(done.out)["bit_exact"] is False
    assert "bit-exact           NO" in onchip("run", net, *EDGE).out


def test_compile_says_what_the_program_is(onchip: Onchip, net: Path) -> None:
    made = onchip("compile", net, *EDGE, "--json").valid("compile-1.json")
    chip = Chip.load("edge-npu-16")
    assert made["chip"] == {"name": chip.name, "hash": chip.hash, "evidence": chip.evidence}
    assert (made["dtype"], made["batch"], made["weights"]) == ("int8", 1, "given")
    assert made["constant_bytes"] >= 640
    assert made == onchip("compile", net, *EDGE, "--json").json
    assert onchip("compile", net, *EDGE, "-q").out.startswith("net compiled for edge-npu-16 in int8: ")


@pytest.mark.parametrize(
    ("noun", "start"),
    [
        ("fold", 'graph "net"\n'),
        ("graph", 'graph "net"\n'),
        ("plan", "plan "),
        ("program", "program net chip edge-npu-16 int8\n"),
        ("trace", "trace net chip edge-npu-16 int8 event "),
    ],
)
def test_emit_prints_the_canonical_text_of_a_noun(onchip: Onchip, net: Path, noun: str, start: str) -> None:
    done = onchip("compile", net, *EDGE, "--emit", noun)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(start) and done.out.endswith("\n")
    if noun in ("fold", "graph"):
        assert str(Graph.parse(done.out)) == done.out


def test_a_listing_is_written_by_any_other_name(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    onchip("compile", net, *EDGE, "-o", tmp_path / "p.txt", "-q")
    assert (tmp_path / "p.txt").read_text() == onchip("compile", net, *EDGE, "--emit", "program").out


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros((1, 64))}, ["no input 'y'", "x"]),
        ({}, ["has no array 'x'"]),
        ({"x": np.zeros((1, 63))}, ["[1, 63]", "[1, 64]"]),
        ({"x": np.zeros(64)}, ["[64]"]),
        ({"x": np.zeros((2, 1, 64))}, ["[2, 1, 64]"]),
        ({"x": np.zeros((1, 64)), "z": np.zeros(1)}, ["no input 'z'"]),
    ],
)
def test_wrong_inputs_are_refused(
    onchip: Onchip, net: Path, tmp_path: Path, arrays: dict[str, Any], words: list[str]
) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    line = onchip("run", net, *EDGE, "-i", tmp_path / "in.npz").mistake("OC1421", 2)
    assert all(word in line for word in words), line


def test_files_that_are_no_arrays_are_refused(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], object))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "whole.npy", np.zeros((1, 64)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:200])
    huge = (tmp_path / "whole.npy").read_bytes().replace(b"(1, 64), }            ", b"(999999999999, 64), } ")
    (tmp_path / "huge.npy").write_bytes(huge)
    for name in ("objects.npy", "objects.npz", "text.npz", "empty.npz", "cut.npy", "huge.npy", "absent.npy", "."):
        onchip("run", net, *EDGE, "-i", tmp_path / name).mistake("OC1421", 2)
    assert "Python objects" in onchip("run", net, *EDGE, "-i", tmp_path / "objects.npz").err


def test_an_open_dimension_has_to_be_bound(onchip: Onchip, tmp_path: Path) -> None:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "width"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="act")], "g", info[:1], info[1:])
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert "'width'" in onchip("run", path, *EDGE).mistake("OC1225", 2)
    assert onchip("run", path, *EDGE, "--shape", "x=2x16", "--json").json["bit_exact"] is True
    assert onchip("run", path, *EDGE, "--shape", "x=[2,16]", "-q").code == 0


def test_random_token_ids_are_rows_of_their_tables(onchip: Onchip, tmp_path: Path) -> None:
    """A table of 5 rows: ids of 5 and more would be refused."""
    table = numpy_helper.from_array(np.arange(20, dtype=np.float32).reshape(5, 4), "table")
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 64])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64, 4])
    node = helper.make_node("Gather", ["table", "ids"], ["y"], name="embed", axis=0)
    graph = helper.make_graph([node], "g", [ids], [out], [table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    onchip("run", tmp_path / "g.onnx", *EDGE, "--outputs", tmp_path / "o.npz", "-q")
    with np.load(tmp_path / "o.npz") as outputs:
        assert len(np.unique(np.round(outputs["y"][..., 0] / 4))) == 5


@pytest.mark.parametrize("chip", ["edge-npu-16", "tiny-npu-4"])
def test_zoo_networks_run(onchip: Onchip, chip: str) -> None:
    made = onchip("run", "@digits_cnn", "-c", chip, "--json").json
    assert made["bit_exact"] is True and made["chip"]["name"] == chip


def test_a_network_with_a_fixed_batch_runs(onchip: Onchip, tmp_path: Path) -> None:
    path = dense(tmp_path / "fixed.onnx", rows=3)
    assert onchip("run", path, *EDGE, "--json").json["batch"] == 3
