"""`check`: the verdict and the next action, the published fields, the file, and the gate's exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.cli.conftest import Onchip

EDGE = ("--chip", "edge-npu-16")


@pytest.fixture
def powered(tmp_path: Path) -> Path:
    """Write `relu(x @ w) ** y`, whose power has no int8 arithmetic."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"], name="fc"),
        helper.make_node("Relu", ["z"], ["r"], name="act"),
        helper.make_node("Pow", ["r", "two"], ["y"], name="power"),
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [0.5] * 8)
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "powered", [given], [made], [weights, two])
    path = tmp_path / "powered.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_runs_is_told_with_the_next_command(onchip: Onchip) -> None:
    done = onchip("check", "@resnet8", *EDGE)
    first, second, *rest = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert first.startswith("resnet8 on edge-npu-16 in int8: every one of ") and " on the matrix unit, " in first
    assert second == "Next:  onchip estimate @resnet8 --chip edge-npu-16   (how long it takes, and why)"
    assert max(len(line) for line in rest) <= 100
    assert onchip("check", "@resnet8", *EDGE, "-q").out == first + "\n"
    assert "refused" not in done.out


def test_all_refusals_are_told_with_their_way_out(onchip: Onchip, powered: Path) -> None:
    done = onchip("check", powered, *EDGE)
    first, second, *rest = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert "refused, first: power (pow): op 'pow' has no int8 arithmetic." in first
    assert second.startswith("Next:  Run it on a float chip") and second.endswith("(onchip explain OC1380)")
    assert "onchip check" in second, "the hint names this verb"
    assert any(line.startswith("  1 pow: OC1380 ") for line in rest)
    assert max(len(line) for line in rest) <= 100


@pytest.mark.parametrize("model", ["@digits_attention", "@yolov5s", "@digits_cnn"])
def test_the_json_has_the_published_fields_and_they_agree(onchip: Onchip, model: str) -> None:
    done = onchip("check", model, *EDGE, "-b", 2, "--json")
    made = done.valid("check-1.json")
    assert made["batch"] == 2 and made["dtype"] == "int8"
    for unit in made["units"]:
        own = [node for node in made["nodes"] if node["unit"] == unit["unit"]]
        assert unit["nodes"] == len(own) and unit["macs"] == sum(node["macs"] for node in own)
        assert unit["vector_ops"] == sum(node["vector_ops"] for node in own)
    names = {node["name"] for node in made["nodes"]}
    assert all(not node["kernel"] or node["kernel"] in names for node in made["nodes"])
    assert made["is_refused"] == any(node["refused"] for node in made["nodes"])
    assert sum(unit["macs"] for unit in made["units"]) == made["model"]["macs"]
    assert done.out == onchip("check", model, *EDGE, "-b", 2, "--json").out


def test_a_file_lists_every_op_or_is_json(onchip: Onchip, powered: Path, tmp_path: Path) -> None:
    done = onchip("check", powered, *EDGE, "-o", tmp_path / "c.json", "--json")
    assert json.loads((tmp_path / "c.json").read_text()) == done.json
    done = onchip("check", powered, *EDGE, "-o", tmp_path / "c.txt")
    text = (tmp_path / "c.txt").read_text(encoding="utf-8")
    assert text.startswith(done.out)
    table = text.split("every op\n")[1].splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["fc", "act", "power"]
    assert onchip("check", powered, *EDGE, "-v").out == text


def test_options_change_what_they_say(onchip: Onchip, powered: Path) -> None:
    assert onchip("check", "@digits_cnn", *EDGE, "--set", "local.size=64B", "--json").json["is_refused"]
    line = onchip("check", "@digits_cnn", *EDGE, "-b", 2, "--set", "local.size=512KiB").out.splitlines()[1]
    assert "onchip estimate @digits_cnn -b 2 --chip edge-npu-16 --set local.size=512KiB " in line
    made = onchip("check", powered, "-c", "h100-sxm", "--dtype", "fp16", "--json").json
    assert made["dtype"] == "fp16"
    assert [node["refused"]["code"] for node in made["nodes"] if node["refused"]] == ["OC1305"]


@pytest.mark.parametrize(
    ("model", "gate", "code"),
    [("@seq2seq-gru", "refused", 4), ("@yolov5s", "vector", 4), ("@resnet8", "refused", 0), ("@resnet8", "vector", 4)],
)
def test_a_gate_fails_after_all_was_told(onchip: Onchip, model: str, gate: str, code: int) -> None:
    plain, done = onchip("check", model, *EDGE), onchip("check", model, *EDGE, "--fail-on", gate)
    assert (plain.code, plain.err) == (0, "")
    assert done.code == code and done.out == plain.out
    assert done.err.startswith(f"DoesNotFit: {model[1:]}: OC2002 --fail-on {gate}: ") if code else done.err == ""


def test_a_network_without_vector_work_passes_the_vector_gate(onchip: Onchip, net: Path) -> None:
    done = onchip("check", net, *EDGE, "--fail-on", "vector")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "exit_code", "said"),
    [
        (["/nowhere/net.onnx", *EDGE], "OC1250", 2, "No such file"),
        (["digits_cnn", *EDGE], "OC1002", 2, "'@digits_cnn'"),
        (["@digits_cnn", "-c", "h100"], "OC1001", 2, "'h100-sxm'"),
        (["@digits_cnn"], "OC1008", 2, "--chip"),
        (["@digits_cnn", *EDGE, "--fail-on", "refusd"], "OC1008", 2, "Did you mean 'refused'?"),
        (["@digits_cnn", *EDGE, "--fail-on", ""], "OC1008", 2, "refused or vector"),
        (["@digits_cnn", *EDGE, "--dtype", "bf16"], "OC1301", 3, "int8"),
    ],
)
def test_mistakes_are_one_line(onchip: Onchip, words: list[str], code: str, exit_code: int, said: str) -> None:
    assert said in onchip("check", *words).mistake(code, exit_code)
