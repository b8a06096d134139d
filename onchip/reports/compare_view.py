"""Chips beside each other, as a panel's data: a row for each chip, and why others are left out.

In:       the Reports of one network on several chips, and (chip, code, text) of those that cannot run it.
Out:      `compare_part`: `verdict`; `rows`, fastest first: {chip, evidence, kind, dtype, batch, latency_s, seconds,
          energy_j, joules, utilization, bound, waterfall, report}, where `seconds`, `joules` are of one inference and
          `report` is the place of the whole report in the page, or null; `refused`: [{chip, code, error}]; `base`:
          the report that others are changes of (in a what-if, where `chip` of a row says what was changed), or null.
          `comparison_page`: the page, with the whole reports of the first WHOLE chips.
Promises: quantities are those of the reports; nothing is ranked but by the time of one inference.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.ir.comparison import comparison_verdict, joules_per_inference
from onchip.ir.page import Page
from onchip.ir.report import Json, Report

WHOLE = 8  # reports that stand in the page with all of their layers; the others have a row
Refused = Sequence[tuple[str, str, str]]


def comparison_page(reports: Sequence[Report], refused: Refused) -> Page:
    """Return the page of a comparison."""
    first = reports[0]
    title = f"{first.model.name} on {len(reports)} chips"
    return Page(title, tuple(reports[:WHOLE]), {"compare": compare_part(reports, refused)})


def whatif_page(base: Report, changed: Sequence[tuple[str, Report]], refused: Refused, verdict: str) -> Page:
    """Return the page of a what-if: the run as it is, and with each change, in the order of the command."""
    runs = [("as it is", base), *changed]
    reports = [report for _, report in runs][:WHOLE]
    rows = [{**_row(report, i if i < WHOLE else None), "chip": text} for i, (text, report) in enumerate(runs)]
    part: Json = {"verdict": verdict, "base": 0, "rows": rows, "refused": _refused(refused)}
    return Page(f"{base.model.name} on {base.chip.name}: what if", tuple(reports), {"compare": part})


def compare_part(reports: Sequence[Report], refused: Refused) -> Json:
    """Return the part `compare` of a page whose reports are the first WHOLE of these."""
    return {
        "verdict": comparison_verdict(reports),
        "base": None,
        "rows": [_row(report, i if i < WHOLE else None) for i, report in enumerate(reports)],
        "refused": _refused(refused),
    }


def _refused(refused: Refused) -> list[Json]:
    return [{"chip": chip, "code": code, "error": error} for chip, code, error in refused]


def _row(report: Report, place: int | None) -> Json:
    energy = report.energy_j
    return {
        "chip": report.chip.name,
        "evidence": report.chip.evidence,
        "kind": report.kind,
        "dtype": report.dtype,
        "batch": report.model.batch,
        "latency_s": report.latency_s.to_json(),
        "seconds": report.seconds_per_inference,
        "energy_j": energy.to_json() if energy is not None else None,
        "joules": joules_per_inference(report) if energy is not None else None,
        "utilization": report.utilization.value,
        "bound": report.bound,
        "waterfall": [{"part": part, "seconds": seconds} for part, seconds in report.waterfall],
        "report": place,
    }
