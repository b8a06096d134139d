"""One network on several chips: the noun of `onchip compare`, and its table.

In:       reports, in the order to show.
Out:      a tuple of reports that prints as text: verdict, next action, table, notes; in a notebook as HTML.
Promises: the table keeps the order it is given (fastest first) and fits WIDTH columns; every row shows its dtype and
          what bounds it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from onchip.ir.report import Report
from onchip.ir.report_text import WIDTH, WORDS
from onchip.units import DASH, format_value

HEADS = ("chip", "batch", "dtype", "inference", "latency", "band", "energy", "util", "why")
BATCH = HEADS.index("batch")
LEFT = {"chip", "dtype", "why"}
NAMED = 12  # so many chips are told by name, more by their number
NOTE = (
    "inference: latency / batch of {batch}; band: of either, from published rows of the nearest kind, – for our own "
    "program; energy: of one inference; evidence: "
)


class Comparison(tuple[Report, ...]):
    """Reports of one network on several chips, fastest first."""

    __slots__ = ()

    def __str__(self) -> str:
        return comparison_text(self)

    def __repr__(self) -> str:
        return f"<Comparison {comparison_verdict(self)}>"

    def _repr_html_(self) -> str:
        from onchip.ir.notebook import comparison_html

        return comparison_html(self)

    def to_pandas(self) -> Any:
        """Return a DataFrame, a row a chip, SI units in the names of columns. Raises UsageError without pandas."""
        from onchip.ir.notebook import comparison_rows, frame

        return frame(comparison_rows(self))


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
    batches = ", ".join(map(str, sorted({report.model.batch for report in reports})))
    text = NOTE.format(batch=batches) + ", ".join(told)
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
        ahead = f"{ratio:.2f}x ahead of" if round(ratio, 2) > 1 else "level with"
        text += f", {ahead} {reports[1].chip.name}"
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
    heads, *rows = comparison_cells(reports)
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def aligned(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if head in LEFT else text.rjust(width)
            for head, text, width in zip(heads, row, widths, strict=True)
        ]
        return "  " + "  ".join(cells).rstrip()

    return [aligned(row) for row in (heads, *rows)]


def comparison_cells(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """Return the heads, then the cells of each report; the batch has a column where it is not the same in all."""
    rows = [HEADS, *map(_cells, reports)]
    if len({report.model.batch for report in reports}) > 1:
        return rows
    return [(*row[:BATCH], *row[BATCH + 1 :]) for row in rows]


def _cells(report: Report) -> tuple[str, ...]:
    largest = max(report.waterfall, key=lambda part: part[1], default=("useful", 0.0))
    whole = report.latency_s.value
    share = f"{WORDS[largest[0]][0]} {largest[1] / whole * 100:.0f} %" if whole else ""
    return (
        report.chip.name, str(report.model.batch), report.dtype, format_value(report.seconds_per_inference, "s"),
        str(report.latency_s), report.latency_s.band,
        format_value(joules_per_inference(report), "J") if report.energy_j is not None else DASH,
        format_value(report.utilization.value, "%"), share,
    )  # fmt: skip
