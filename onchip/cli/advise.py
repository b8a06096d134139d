"""What `estimate` says about what to change: lines of text, the `actions` of its JSON, and two parts of its page.

In:       a Case, its Report, the nouns seen on the way, and how many changes the user wants tried.
Out:      an Asked: advice, lines, JSON.
Promises: text tries about 0.3 s of changes, a page all of them, JSON none unless asked; silence is never priced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onchip.cli.output import working
from onchip.errors import UsageError

if TYPE_CHECKING:
    from onchip.advice import Advice
    from onchip.case import Case
    from onchip.ir.report import Json, Report

SHOWN = 3  # actions in the text


@dataclass(frozen=True, slots=True)
class Asked:
    """Advice, None where nobody asked, and the command that its settings are added to."""

    advice: Advice | None
    command: str

    @property
    def lines(self) -> list[str]:
        """Return the lines of the text report."""
        from onchip.reports.actions import action_lines

        return [] if self.advice is None else action_lines(self.advice.actions[:SHOWN], self.command)

    @property
    def json(self) -> Json | None:
        """Return the part `actions`."""
        from onchip.reports.actions import actions_json

        found = self.advice
        return None if found is None else actions_json(found.base, found.actions, self.command, tried=found.tried)


def advise(
    case: Case, report: Report, seen: Mapping[str, Any], command: str, wanted: str | None, *, is_page: bool,
    is_text: bool,
) -> Asked:  # fmt: skip
    """Try changes: `wanted` of them, or all for a page, or 0.3 s of them for a text. Raises UsageError."""
    from onchip.advice import catalog, full_advice, short_advice

    if wanted is not None and not re.fullmatch("all|[0-9]{1,4}", wanted):
        fact = f"'{wanted[:40]}' is no number of changes"
        raise UsageError("OC1008", "--actions", fact, next="Write a number, or all")
    if wanted == "0" or (wanted is None and not is_page and not is_text):
        return Asked(None, command)
    if wanted is None and not is_page:
        return Asked(short_advice(case, report), command)
    most = None if wanted in (None, "all") else int(wanted)
    with working(f"{report.model.name}: try changes"):
        made = full_advice(case, report, plan=seen.get("plan"), chips=catalog(), most=most)
    return Asked(made, command)


def page_parts(case: Case, asked: Asked) -> dict[str, Json]:
    """Return the parts of a page that take pricing: actions, and what the time reacts to."""
    from onchip.errors import OnchipError
    from onchip.reports.whatif import knobs, knobs_part

    if asked.advice is None or asked.json is None:
        return {}
    base = asked.advice.base

    def reprice(change: dict[str, str]) -> Report | None:
        try:
            return case.changed(change).price()
        except OnchipError:
            return None

    with working(f"{base.model.name}: what the time reacts to"):
        turned = knobs(base, case.chip, reprice)
    return {"actions": asked.json, "knobs": knobs_part(base, turned, asked.command)}
