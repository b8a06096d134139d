"""Reports for a terminal: one report with its actions, and several in one table.

In:       reports.
Out:      plain text; the first line is the verdict, the second the next action.
Promises: the table keeps the order it is given (fastest first); every row shows its dtype and what bounds it.
Does not: colour; `cli.output` does that for terminals.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.ir.report import Report
from onchip.ir.report_text import LAYERS, WORDS, causes, write_report
from onchip.reports.actions import Action
from onchip.units import DASH, format_value

__all__ = ["causes", "comparison_table", "comparison_text", "report_text"]
HEADS = ("chip", "batch", "dtype", "per inference", "latency", "throughput", "energy", "util", "bound", "why")
LEFT = {0, 2, 8, 9}


def report_text(report: Report, actions: Sequence[Action] = (), *, layers: int = LAYERS) -> str:
    """Return the terminal report; at most three actions."""
    return write_report(report, actions=[str(action) for action in actions[:3]], layers=layers)


def comparison_text(reports: Sequence[Report], refused: Sequence[str] = ()) -> str:
    """Return the comparison of one network on several chips: verdict, table, and who was refused and why."""
    lines = [comparison_verdict(reports), "", *comparison_table(reports)]
    if refused:
        lines += ["", "not compared", *(f"  {line}" for line in refused)]
    evidence = sorted({f"{r.chip.name} {r.chip.evidence}" for r in reports})
    lines += ["", f"evidence: {', '.join(evidence)}; no latency band: not validated against silicon yet"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def comparison_verdict(reports: Sequence[Report]) -> str:
    """Return one sentence: who is fastest, by how much, and who needs least energy."""
    if not reports:
        return "No chip can run this network."
    first = reports[0]
    time = format_value(first.seconds_per_inference, "s")
    text = f"{first.model.name}: {first.chip.name} is fastest, {time} per inference in {first.dtype}"
    if len(reports) > 1:
        ratio = reports[1].seconds_per_inference / first.seconds_per_inference
        text += f", {ratio:.3g}x ahead of {reports[1].chip.name}"
    priced = [report for report in reports if report.energy_j is not None]
    if priced:
        least = min(priced, key=lambda report: (joules_per_inference(report), report.chip.name))
        text += f"; {least.chip.name} needs least energy, {format_value(joules_per_inference(least), 'J')}"
    return f"{text}."


def joules_per_inference(report: Report) -> float:
    """Return the energy of one inference; 0 where there is none to tell."""
    return report.energy_j.value / report.model.batch if report.energy_j is not None else 0.0


def comparison_table(reports: Sequence[Report]) -> list[str]:
    """Return the rows of the comparison, aligned, in the order given."""
    rows = [HEADS, *(_row(report) for report in reports)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    return ["  " + "  ".join(_cell(row[i], widths[i], i) for i in range(len(HEADS))).rstrip() for row in rows]


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column in LEFT else text.rjust(width)


def _row(report: Report) -> tuple[str, ...]:
    largest = max(report.waterfall, key=lambda part: part[1], default=("useful", 0.0))
    whole = report.latency_s.value
    share = f"{WORDS[largest[0]][0]} {largest[1] / whole * 100:.0f} %" if whole else ""
    return (
        report.chip.name, str(report.model.batch), report.dtype, format_value(report.seconds_per_inference, "s"),
        str(report.latency_s), str(report.throughput_per_s),
        format_value(joules_per_inference(report), "J") if report.energy_j is not None else DASH,
        format_value(report.utilization.value, "%"), report.bound, share,
    )  # fmt: skip
