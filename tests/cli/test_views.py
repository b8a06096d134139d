"""--trace and --node-data: files for other viewers, lines that say what they hold, names that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Onchip

CNN = ("@digits_cnn", "-c", "edge-npu-16")


def test_estimate_and_run_write_the_same_events(onchip: Onchip, tmp_path: Path) -> None:
    said = onchip("estimate", *CNN, "--trace", str(tmp_path / "a.json"))
    assert f"trace written to {tmp_path / 'a.json'}: " in said.out and said.err == ""
    ran = onchip("run", *CNN, "--trace", str(tmp_path / "b.json"), "--json")
    assert ran.valid("report-1.json") and f"{len(ran.json['layers'])} kernels" in ran.err
    one, other = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    times = [[(e["name"], e.get("ts"), e.get("dur")) for e in made["traceEvents"]] for made in (one, other)]
    assert times[0] == times[1] and len(times[0]) > 1000  # texts differ: without samples, scales are placeholders
    assert (one["otherData"]["fidelity"], other["otherData"]["fidelity"]) == ("estimate", "event")


def test_a_program_file_and_explain_have_traces_too(onchip: Onchip, tmp_path: Path) -> None:
    pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="perfetto is not installed")
    program, files = str(tmp_path / "p.npz"), [tmp_path / "a.pftrace", tmp_path / "b.perfetto-trace"]
    assert onchip("compile", *CNN, "-o", program).code == 0
    assert onchip("run", program, "--trace", str(files[0])).code == 0
    quiet = onchip("estimate", *CNN, "--explain", "-q", "--trace", str(files[1]))
    assert quiet.code == 0 and len(quiet.out.splitlines()) == 1
    one, other = (pb2.Trace.FromString(file.read_bytes()) for file in files)
    assert [p.timestamp for p in one.packet] == [p.timestamp for p in other.packet] and len(one.packet) > 1000


def test_node_data_is_a_file_for_each_metric(onchip: Onchip, tmp_path: Path) -> None:
    target = tmp_path / "n.json"
    said = onchip("estimate", *CNN, "--node-data", str(target), "--json")
    names = ["n.json", "n.energy.json", "n.utilization.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names) and all(name in said.err for name in names)
    results = json.loads(target.read_text(encoding="utf-8"))["results"]
    for layer in said.json["layers"]:
        assert results[layer["name"]]["value"] == pytest.approx(layer["latency_s"]["value"] * 1e6)


@pytest.mark.parametrize("option, name", [("--trace", "x.txt"), ("--trace", "x"), ("--node-data", "x.csv")])
@pytest.mark.parametrize("verb", ["estimate", "run"])
def test_other_names_are_refused_before_the_work(onchip: Onchip, verb: str, option: str, name: str) -> None:
    assert option in onchip(verb, "@no-such-network", "-c", "edge-npu-16", option, name).mistake("OC1008", 2)
