"""A report for a terminal, with its actions and reasons.

In:       a report, actions, an explanation. Out: plain text; the first line is the verdict, the second the next action.
Does not: colour; `cli.output` does that for terminals.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.ir.explanation import Explanation
from onchip.ir.report import Report
from onchip.ir.report_text import LAYERS, write_report
from onchip.reports.explain import LAYERS as SHOWN
from onchip.reports.explain import explanation_text


def report_text(
    report: Report, actions: Sequence[str] = (), *, action: str = "", layers: int = LAYERS,
    why: Explanation | None = None,
) -> str:  # fmt: skip
    """Return the terminal report with lines of actions, or the line `action` where there is none; at its end why."""
    lines = list(actions) or ([action] if action else [])
    told = write_report(report, actions=lines, layers=layers)
    return told if why is None else f"{told}\n{explanation_text(why, layers=layers and SHOWN)}"
