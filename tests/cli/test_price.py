"""`estimate` and `compare`: what they print, what they write, and that the numbers belong together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from onchip.chip import Chip
from tests.cli.conftest import Onchip, dense

EDGE = ("--chip", "edge-npu-16")


def without_timing(text: str) -> Any:
    made = json.loads(text)
    assert set(made.pop("timing")) == {"wall_s"}
    return made


def test_the_first_line_is_the_verdict_and_the_second_the_next_action(onchip: Onchip) -> None:
    done = onchip("estimate", "@digits_cnn", *EDGE)
    first, second, third, *rest = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert first.startswith("digits_cnn on edge-npu-16 takes ") and first.endswith(".")
    assert second.startswith(("Try first:  ", "Next:  onchip "))
    assert third == "" or third.startswith("            ")
    assert max(len(line) for line in rest) <= 100


def test_an_estimate_has_the_published_fields_and_they_agree(onchip: Onchip, net: Path) -> None:
    made = onchip("estimate", net, *EDGE, "-b", 4, "--json").valid("report-1.json")
    wanted = ["schema_version", "tool", "model", "chip", "batch", "dtype", "latency_s", "throughput_per_s", "energy_j"]
    wanted += ["power_w", "utilization", "memory", "waterfall", "layers", "assumptions", "timing"]
    assert set(wanted) <= set(made)
    chip = Chip.load("edge-npu-16")
    assert made["model"]["macs"] == 4 * 64 * 10 and made["model"]["parameters"] == 65 * 10
    assert made["model"]["name"] == "net" and made["batch"] == 4 and made["dtype"] == "int8"
    assert made["chip"] == {
        "name": chip.name, "hash": chip.hash, "evidence": chip.evidence, "clock_hz": 500_000_000, "cores": 1,
        "peak_ops_per_s": 2 * 256 * 500_000_000, "dram_bytes_per_s": 3_200_000_000, "local_bytes": 256 * 1024,
    }  # fmt: skip
    latency = made["latency_s"]["value"]
    assert latency == pytest.approx(made["cycles"] / chip.clock_hz + float(chip.launch.per_run_s))
    assert made["throughput_per_s"]["value"] == pytest.approx(4 / latency)
    assert math.fsum(part["seconds"] for part in made["waterfall"]) == pytest.approx(latency)
    assert made["power_w"]["value"] == pytest.approx(made["energy_j"]["value"] / latency)
    assert made["utilization"]["value"] == pytest.approx(2560 / (256 * made["cycles"]))
    assert sum(layer["cycles"] for layer in made["layers"]) == made["cycles"]
    assert made["memory"]["local_peak_bytes"] <= made["memory"]["local_bytes"] == 256 * 1024
    assert made["bit_exact"] is None


def test_json_is_the_same_every_time_but_for_the_timing(onchip: Onchip) -> None:
    words = ("estimate", "@digits_lstm", *EDGE, "--json")
    first, second = onchip(*words).out, onchip(*words).out
    assert without_timing(first) == without_timing(second)
    assert list(json.loads(first)) == list(json.loads(second))
    assert first.isascii()


def test_quiet_prints_the_verdict_and_verbose_every_layer(onchip: Onchip) -> None:
    quiet, normal = onchip("estimate", "@resnet8", *EDGE, "-q"), onchip("estimate", "@resnet8", *EDGE)
    verbose = onchip("estimate", "@resnet8", *EDGE, "-v")
    assert quiet.out == normal.out.splitlines()[0] + "\n"
    layers = onchip("estimate", "@resnet8", *EDGE, "--json").json["layers"]
    rows = [line.split()[0] for line in verbose.out.split("  why\n")[1].split("\n\n")[0].splitlines()]
    assert rows == [str(i) for i in range(len(layers))]
    assert "more layers" not in verbose.out


def test_options_change_what_they_say(onchip: Onchip, net: Path) -> None:
    def latency(*words: object) -> float:
        return onchip("estimate", net, *words, "--json").json["latency_s"]["value"]

    plain = latency(*EDGE)
    slower = latency(*EDGE, "--set", "dram.bandwidth=0.1GB/s")
    assert slower > plain == latency("-c", "edge-npu-16", "--effort", "default")
    assert latency(*EDGE, "--set", "dram.bandwidth=0.1GB/s", "--set", "clock.core=500 MHz") == slower
    assert latency(*EDGE, "--effort", "1") >= latency(*EDGE, "--effort", "full")
    made = onchip("estimate", net, "-c", "h100-sxm", "--dtype", "fp16", "--json").json
    assert made["dtype"] == "fp16"
    assert latency(*EDGE, "--shape", "x=8x64") == latency(*EDGE, "-b", 8)


def test_seq_binds_the_sequence(onchip: Onchip) -> None:
    """A linear layer of BERT on n tokens is n times as many MACs, attention n x n."""
    made = {
        n: onchip("inspect", "@bert-base", "--seq", n, "--json").json["nodes"] for n in (16, 48)
    }  # fmt: skip
    short, long = ({node["name"]: node["macs"] for node in made[n]} for n in (16, 48))
    name = "encoder.layer.0.intermediate.dense"
    assert (short[name], long[name]) == (16 * 768 * 3072, 48 * 768 * 3072)


def test_an_output_file_is_json_by_its_name_and_text_otherwise(onchip: Onchip, tmp_path: Path) -> None:
    done = onchip("estimate", "@digits_cnn", *EDGE, "-o", tmp_path / "r.json", "--json")
    assert without_timing((tmp_path / "r.json").read_text()) == without_timing(done.out)
    done = onchip("estimate", "@digits_cnn", *EDGE, "-o", tmp_path / "r.txt")
    text = (tmp_path / "r.txt").read_text(encoding="utf-8")
    assert text.splitlines()[0] == done.out.splitlines()[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.txt"]


def test_a_comparison_is_best_first_and_fits_a_hundred_columns(onchip: Onchip) -> None:
    words = ("compare", "@digits_cnn", "-b", 2, "-c", "tiny-npu-4,h100-sxm", "-c", "edge-npu-16")
    done = onchip(*words)
    lines = done.out.splitlines()
    made = onchip(*words, "--json").valid("compare-1.json")
    order = [report["chip"]["name"] for report in made["reports"]]
    times = [report["latency_s"]["value"] for report in made["reports"]]
    assert times == sorted(times) and sorted(order) == ["edge-npu-16", "h100-sxm", "tiny-npu-4"]
    assert lines[0].startswith(f"digits_cnn: {order[0]} is fastest, ")
    assert lines[1].startswith(f"Next:  onchip estimate @digits_cnn -b 2 --chip {order[0]} ")
    assert lines[3].split() == ["chip", "dtype", "inference", "latency", "band", "energy", "util", "why"]
    assert [line.split()[0] for line in lines[4:7]] == order
    assert all(len(line) <= 100 for line in lines[2:])
    assert onchip(*words, "-q").out == lines[0] + "\n"


def test_a_comparison_says_who_is_left_out_and_why(onchip: Onchip) -> None:
    words = ("compare", "@digits_cnn", "-c", "edge-npu-16,h100-sxm", "--dtype", "bf16")
    made = onchip(*words, "--json").valid("compare-1.json")
    assert [row["chip"] for row in made["refused"]] == ["edge-npu-16"]
    assert made["refused"][0]["code"] == "OC1301"
    assert "not compared\n  edge-npu-16: OC1301 " in onchip(*words).out
    onchip("compare", "@digits_cnn", "-c", "edge-npu-16", "--dtype", "bf16").mistake("OC1301", 3)


def test_a_fixed_batch_is_not_changed(onchip: Onchip, tmp_path: Path) -> None:
    path = dense(tmp_path / "fixed.onnx", rows=2)
    assert onchip("estimate", path, *EDGE, "--json").json["batch"] == 2
    line = onchip("estimate", path, *EDGE, "-b", 3).mistake("OC1008", 2)
    assert "-b 3" in line and "[2, 64]" in line
