"""The report noun refuses what would mislead, and its object and text say what they must."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from onchip.errors import InternalError
from onchip.ir.report import Report
from onchip.ir.trace import Trace
from onchip.reports.summary import summarize
from onchip.simulator.energy import energy
from onchip.units import Quantity


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    trace = make_trace()
    return summarize(trace, energy(trace))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("OC9042", {"waterfall": (("useful", 1e-6),)}),
        ("OC9042", {"energy_parts": (("compute", 1e-9),)}),
        ("OC9042", {"waterfall": (("useful", 9e-6), ("memory", -1e-6))}),
        ("OC9043", {"cycles": 3999}),
        ("OC9044", {"latency_s": Quantity(8e-6, "s", provenance="")}),  # pyright: ignore[reportArgumentType]
        ("OC9044", {"throughput_per_s": Quantity(-1.0, "1/s")}),
        ("OC9045", {"utilization": Quantity(1.01, "")}),
    ],
)
def test_it_refuses(report: Report, code: str, change: dict[str, Any]) -> None:
    with pytest.raises(InternalError, match=code):
        dataclasses.replace(report, **change)


def test_the_object_is_plain_json_and_the_same_every_time(report: Report) -> None:
    text = json.dumps(report.to_json())
    assert json.loads(text) == report.to_json()
    assert text == json.dumps(report.to_json())
    made = report.to_json(timing={"wall_s": 1.5})
    assert made["timing"] == {"wall_s": 1.5}
    assert {**made, "timing": {}} == report.to_json()


def test_the_text_starts_with_the_verdict(report: Report) -> None:
    lines = str(report).splitlines()
    assert lines[0] == (
        "tiny on edge-npu-16 takes 8.00 µs per inference: "
        "35 % of the time it waits for memory, 32 % the array is under-filled."
    )
    assert lines[0] == report.verdict
    assert max(map(len, lines[1:])) <= 100
    text = str(report)
    assert "analytic, estimate, 4 000 cycles" in text
    assert "68.4 KiB" in text and "at most, of 256 KiB a core (in conv1)" in text


def test_a_batch_says_both_times(make_trace: Callable[..., Trace]) -> None:
    report = summarize(make_trace(batch=8))
    assert report.verdict.startswith("tiny on edge-npu-16 takes 1.00 µs per inference (a batch of 8 takes 8.00 µs): ")
