"""Reports for a terminal: one report with its actions, and several in one table.

In:       reports.
Out:      plain text; the first line is the verdict, the second the next action; tables fit WIDTH columns.
Promises: the table keeps the order it is given (fastest first); every row shows its dtype and what bounds it.
Does not: colour; `cli.output` does that for terminals.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from onchip.ir.explanation import Explanation
from onchip.ir.report import Report
from onchip.ir.report_text import LAYERS, WIDTH, WORDS, causes, write_report
from onchip.reports.actions import Action, action_lines
from onchip.reports.explain import LAYERS as SHOWN
from onchip.reports.explain import explanation_text
from onchip.units import DASH, format_value

__all__ = ["causes", "comparison_table", "comparison_text", "report_text"]
HEADS = ("chip", "batch", "dtype", "inference", "latency", "energy", "util", "bound", "why")
LEFT = {0, 2, 7, 8}
NAMED = 12  # so many chips are told by name, more by their number
NOTE = "inference: latency / batch; energy: of one inference; evidence: "


def report_text(
    report: Report, actions: Sequence[Action] = (), *, action: str = "", layers: int = LAYERS,
    why: Explanation | None = None,
) -> str:  # fmt: skip
    """Return the terminal report; at most three actions, or the line `action` where there is none; at its end why."""
    lines = action_lines(actions[:3]) or ([action] if action else [])
    told = write_report(report, actions=lines, layers=layers)
    return told if why is None else f"{told}\n{explanation_text(why, layers=layers and SHOWN)}"


def comparison_text(reports: Sequence[Report], refused: Sequence[str] = (), *, action: str = "") -> str:
    """Return the comparison of one network on several chips: verdict, table, and who was refused and why."""
    lines = [comparison_verdict(reports), *([action] if action else []), "", *comparison_table(reports)]
    if refused:
        lines += ["", "not compared"]
        for line in refused:
            lines += textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    lines += ["", *comparison_notes(reports)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def comparison_notes(reports: Sequence[Report]) -> list[str]:
    """Return what the columns mean and what the numbers rest on."""
    chips = sorted({(report.chip.evidence, report.chip.name) for report in reports})
    levels = dict.fromkeys(evidence for evidence, _ in chips)
    named = {level: [name for own, name in chips if own == level] for level in levels}
    told = [f"{level} ({', '.join(names) if len(chips) <= NAMED else len(names)})" for level, names in named.items()]
    text = f"{NOTE}{', '.join(told)}; no latency band: not validated against silicon yet"
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False)


def comparison_verdict(reports: Sequence[Report]) -> str:
    """Return one sentence: who is fastest, by how much, and who needs least energy."""
    if not reports:
        return "No chip can run this network."
    first = reports[0]
    time = format_value(first.seconds_per_inference, "s")
    text = f"{first.model.name}: {first.chip.name} is fastest, {time} per inference in {first.dtype}"
    if len(reports) > 1 and first.seconds_per_inference:
        ratio = reports[1].seconds_per_inference / first.seconds_per_inference
        text += f", {ratio:.2f}x ahead of {reports[1].chip.name}"
    priced = [report for report in reports if report.energy_j is not None]
    if len(priced) > 1:
        least = min(priced, key=lambda report: (joules_per_inference(report), report.chip.name))
        who = "it also" if least is first else least.chip.name
        text += f"; {who} needs least energy, {format_value(joules_per_inference(least), 'J')}"
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
        str(report.latency_s),
        format_value(joules_per_inference(report), "J") if report.energy_j is not None else DASH,
        format_value(report.utilization.value, "%"), report.bound, share,
    )  # fmt: skip
