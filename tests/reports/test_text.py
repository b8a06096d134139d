"""The text of reports: 100 columns, equal layers in one row, shares that sum, dashes where there is no number."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import pytest

from onchip.ir.comparison import comparison_table, comparison_text
from onchip.ir.report import Report
from onchip.ir.report_text import WIDTH, bar, wrapped
from onchip.ir.trace import Trace
from onchip.reports.summary import summarize
from onchip.reports.text import report_text
from onchip.simulator.energy import energy

LONG = "encoder.block.17.feed_forward.intermediate.projection"


def many(make_trace: Callable[..., Trace], *, copies: int = 3, name: str = "conv") -> Report:
    """Return a report of `copies` times the two kernels of `make_trace`: 1,000 and 3,000 cycles each."""
    trace = make_trace()
    kernels = [
        dataclasses.replace(kernel, name=f"{name}.{number}.{kernel.name}", start=number * 4000 + kernel.start)
        for number in range(copies)
        for kernel in trace.kernels
    ]
    model = dataclasses.replace(trace.model, macs=trace.model.macs * copies)
    whole = dataclasses.replace(trace, kernels=tuple(kernels), model=model)
    return summarize(whole, energy(whole))


def rows(text: str) -> list[list[str]]:
    """Return the cells of the layer table."""
    table = text.split("  why\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    return [re.split(r"\s{2,}", line.strip()) for line in table if re.match(r"\s+\d+  ", line)]


def test_equal_layers_share_a_row_with_their_count_and_their_share(make_trace: Callable[..., Trace]) -> None:
    found = rows(report_text(many(make_trace)))
    assert [row[1] for row in found] == ["conv.0.conv1 ×3", "conv.0.fc1 ×3"]
    assert [row[2:4] for row in found] == [["2.00 µs", "25.0 %"], ["6.00 µs", "75.0 %"]]
    assert "×n: n equal layers" in report_text(many(make_trace))


def test_verbose_gives_each_layer_a_row(make_trace: Callable[..., Trace]) -> None:
    report = many(make_trace)
    found = rows(report_text(report, layers=0))
    assert [row[0] for row in found] == ["0", "1", "2", "3", "4", "5"]
    assert [row[3] for row in found] == ["8.33 %", "25.0 %"] * 3
    assert "×n" not in report_text(report, layers=0)


def test_a_cut_table_counts_the_layers_that_it_leaves_out(make_trace: Callable[..., Trace]) -> None:
    text = report_text(many(make_trace), layers=1)
    assert [row[1] for row in rows(text)] == ["conv.0.fc1 ×3"]
    assert "… 3 more layers take 25.0 % of the time; -v shows every layer" in text


@pytest.mark.parametrize("copies", [1, 3])
def test_everything_but_the_verdict_fits(make_trace: Callable[..., Trace], copies: int) -> None:
    report = many(make_trace, copies=copies, name=LONG)
    for layers in (0, 12):
        lines = report_text(report, layers=layers).splitlines()
        assert max(map(len, lines[1:])) <= WIDTH == 100
    name = rows(report_text(report))[1][1]
    assert re.match(r"encoder?…", name) and len(name) <= 24


def test_a_layer_without_macs_has_no_utilization(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace()
    kernels = (trace.kernels[0], dataclasses.replace(trace.kernels[1], macs=0))
    report = summarize(dataclasses.replace(trace, kernels=kernels))
    assert [row[5] for row in rows(report_text(report))] == ["10.0 %", "–"]
    assert re.search(r"energy +– +–", report_text(report))


def test_bars_are_eighths_and_items_wrap_under_each_other() -> None:
    assert [bar(share, 8) for share in (1, 0.5, 1 / 64, 0.001, 9 / 64)] == ["█" * 8, "████", "▏", "▏", "█▏"]
    lines = wrapped("  head  ", ["x" * 40, "y" * 40, "z" * 40])
    assert lines == [f"  head  {'x' * 40}   {'y' * 40}", f"        {'z' * 40}"]
    assert wrapped("head ", ["x" * 200]) == [f"head {'x' * 200}"]


def test_a_comparison_fits_and_says_what_its_numbers_rest_on(make_trace: Callable[..., Trace]) -> None:
    chips = ["a100-sxm-80gb", "h100-sxm", "tpu-v4"]
    traces = [make_trace(chip, dtype="bf16", batch=64) for chip in chips] + [make_trace("edge-npu-16")]
    reports = [summarize(trace, energy(trace)) for trace in traces]
    lines = comparison_text(reports, action="Next:  x").splitlines()
    assert lines[1] == "Next:  x"
    assert max(map(len, lines[2:])) <= WIDTH
    notes = " ".join(lines[lines.index("", 3) + 1 :])
    assert notes.startswith("inference: latency / batch of 1, 64; band: of either, ") and "evidence: program (" in notes
    assert comparison_table(reports)[1].split()[:3] == ["a100-sxm-80gb", "64", "bf16"]
    assert comparison_table(reports[:2])[1].split()[:2] == ["a100-sxm-80gb", "bf16"]
    assert len({len(row[: row.index("memory")]) for row in comparison_table(reports)[1:]}) == 1
