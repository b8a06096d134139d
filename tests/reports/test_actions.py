"""Advice is priced before it is shown, and shown only where it helps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from onchip.chip import Chip
from onchip.ir.comparison import comparison_text
from onchip.ir.report import Report
from onchip.ir.trace import Trace
from onchip.reports.actions import MOST, WORK, Change, candidates, try_first, work
from onchip.reports.summary import summarize
from onchip.reports.text import report_text
from onchip.simulator.energy import energy
from onchip.units import Quantity


def scaled(report: Report, factor: float) -> Report:
    """Make the same report with all times multiplied."""
    return dataclasses.replace(
        report,
        latency_s=Quantity(report.latency_s.value * factor, "s"),
        waterfall=tuple((cause, seconds * factor) for cause, seconds in report.waterfall),
    )


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    trace = make_trace()
    return summarize(trace, energy(trace))


def test_only_helpful_changes_are_shown_best_first(report: Report) -> None:
    asked: list[Change] = []

    def reprice(change: Change) -> Report | None:
        asked.append(change)
        factors = {"local.size": 1.0, "dram.bandwidth": 0.7}
        if change.batch is not None:
            return None
        return scaled(report, factors[change.overrides[0][0]])

    actions = try_first(report, Chip.load("edge-npu-16"), reprice, can_batch=True)
    assert len(asked) == 3 <= MOST
    assert [action.change.options for action in actions] == ["--set dram.bandwidth=6.4GB/s"]
    assert actions[0].time == pytest.approx(-0.3)
    text = report_text(report, actions)
    line = text.splitlines()[1]
    assert line == "Try first:  twice the DRAM bandwidth  −30 % time, ±0 % energy  --set dram.bandwidth=6.4GB/s"


def test_how_much_is_priced_depends_on_the_network_alone(report: Report) -> None:
    chip, asked = Chip.load("edge-npu-16"), list[Change]()

    def reprice(change: Change) -> Report | None:
        asked.append(change)
        return None

    assert work(report) <= len(report.layers)
    for effort, n in ((1, 3), (WORK // (2 * work(report)), 2), (WORK, 1), (100 * WORK, 1)):
        asked.clear()
        try_first(report, chip, reprice, can_batch=True, effort=effort)
        assert len(asked) == n


def test_candidates_suit_the_chip(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace("h100-sxm", dtype="bf16")
    found = candidates(summarize(trace), trace.chip, can_batch=False)
    assert found[0].options == "--dtype int8"
    assert all(change.batch is None for change in found)
    for change in found:
        trace.chip.replace(dict(change.overrides))  # every override is one that the chip takes


def test_without_actions_there_is_no_second_line(report: Report) -> None:
    assert report_text(report).splitlines()[1] == ""


def test_the_layer_table_is_never_cut_silently(report: Report) -> None:
    text = report_text(report, layers=1)
    assert "… 1 more layers take 25.0 % of the time; -v shows every layer" in text
    assert "conv1 " not in text.split("where the time goes")[1]
    assert "more layers" not in report_text(report, layers=0)


def test_a_comparison_keeps_its_order_and_names_the_refused(make_trace: Callable[..., Trace]) -> None:
    traces = [make_trace("tpu-v1"), make_trace("edge-npu-16")]
    reports = [summarize(trace, energy(trace)) for trace in traces]
    text = comparison_text(reports, ["x: OC1301 no matrix array."])
    lines = text.splitlines()
    assert lines[0].startswith("tiny: tpu-v1 is fastest, 5.71 µs per inference in int8, 1.40x ahead of edge-npu-16; ")
    rows = [line.split()[0] for line in lines[3:5]]
    assert rows == ["tpu-v1", "edge-npu-16"]
    assert "x: OC1301 no matrix array." in text
    assert comparison_text([]).startswith("No chip can run this network.")
