"""From a trace to a report: seconds, rates, sums and assumptions, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import pytest

from onchip.chip import Chip
from onchip.ir.trace import Trace
from onchip.reports.roofline import ridge, roofline
from onchip.reports.summary import grouped, summarize
from onchip.simulator.energy import energy


def test_seconds_and_rates(make_trace: Callable[..., Trace]) -> None:
    report = summarize(make_trace(batch=4))
    assert report.latency_s.value == pytest.approx(4000 / 500e6)
    assert report.throughput_per_s.value == pytest.approx(4 / 8e-6)
    assert report.utilization.value == pytest.approx(281_600 / (4000 * 256))
    assert (report.latency_s.low, report.latency_s.high) == (None, None)
    assert report.energy_j is None and report.power_w is None
    assert report.bound == "compute"  # 100 + 800 + 1000 + 500 of 4000 cycles
    assert [layer.bound for layer in report.layers] == ["compute", "compute"]
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)


def test_waterfall_in_seconds_sums_to_the_latency_with_the_host(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace()
    chip = Chip.load("edge-npu-16").replace({"launch.per_run": "4 us"})
    report = summarize(dataclasses.replace(trace, chip=chip), energy(dataclasses.replace(trace, chip=chip)))
    parts = dict(report.waterfall)
    assert parts["host"] == pytest.approx(4e-6)
    assert parts["memory"] == pytest.approx(1400 / 500e6)
    assert sum(parts.values()) == pytest.approx(report.latency_s.value) == pytest.approx(12e-6)
    assert dict(report.energy_parts)["static"] == pytest.approx(0.020 * 12e-6)


def test_energy_and_power_carry_the_band_of_the_table(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace()
    found = energy(trace)
    assert found is not None
    report = summarize(trace, found)
    assert report.energy_j is not None and report.power_w is not None
    assert report.energy_j.value == pytest.approx(found.total_j)
    assert report.energy_j.low == pytest.approx(found.total_j / 2)
    assert report.energy_j.high == pytest.approx(found.total_j * 2)
    assert report.power_w.value == pytest.approx(found.total_j / 8e-6)
    joules = [layer.energy_j.value for layer in report.layers if layer.energy_j is not None]
    assert sum(joules) == pytest.approx(found.total_j)


def test_idle_cores_count_in_the_utilization(make_trace: Callable[..., Trace]) -> None:
    """One of tpu-v4's two cores works: 281,600 MACs of 4,000 cycles x 2 cores x 4 units x 128 x 128."""
    report = summarize(make_trace("tpu-v4", dtype="bf16"))
    assert report.utilization.value == pytest.approx(281_600 / (4000 * 2 * 4 * 128 * 128))
    assert "; 1/2 cores" in str(report)


def test_roofline_points() -> None:
    chip = Chip.load("edge-npu-16")
    assert ridge(chip, "int8") == pytest.approx(0.256e12 / 3.2e9)
    low = roofline(chip, "int8", macs=1000, dram_bytes=1000, seconds=1e-6)
    assert (low.intensity, low.attainable_ops_per_s) == (2.0, 6.4e9)
    assert low.achieved_ops_per_s == pytest.approx(2e9)
    high = roofline(chip, "int8", macs=1_000_000, dram_bytes=1000, seconds=0)
    assert (high.attainable_ops_per_s, high.achieved_ops_per_s) == (0.256e12, None)
    assert roofline(chip, "int8", macs=10, dram_bytes=0, seconds=1.0).intensity is None


def test_assumptions_are_grouped_and_complete(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace()
    report = summarize(trace, energy(trace))
    text = "\n".join(report.assumptions)
    assert report.assumptions[0] == "inputs are quantized by the host"
    assert "dram.latency" in text and "Horowitz" in text and "within a factor of 2" in text
    for key in ("overlap.matrix_vector", "launch.in_graph_s", "vector.rate(", "nobody has measured"):
        assert key in text
    assert len(report.assumptions) < len(trace.chip.defaults) + 10
    lines = grouped(["r(a) = 4 (d)", "r(b) = 4 (d)", "x.y = 1 (d)", "x.z = 1 (default)", "u = 2 (default)"])
    assert lines == ["default (2): r(a, b) = 4 (d)", "default: x.y = 1 (d)", "defaults (2): x.z = 1, u = 2"]


def test_an_empty_program_has_dashes_not_divisions(make_trace: Callable[..., Trace]) -> None:
    trace = dataclasses.replace(make_trace(), kernels=())
    report = summarize(trace, energy(trace))
    assert report.latency_s.value == 0 and report.throughput_per_s.value == 0
    assert "nothing runs on the chip" in str(report)
    assert sum(Fraction(s) for _, s in report.waterfall) == 0
