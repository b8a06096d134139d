"""A difference of two reports as plain text, as Markdown, as annotations of a CI service, and as JSON.

In:       a Difference, the limits that it breaks.
Out:      texts; the first line is the verdict.
Promises: the same rows in every form; layers are cut by the size of their change, never silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.ir.report import SCHEMA_VERSION, Json
from onchip.ir.report_text import WORDS
from onchip.reports.diff import Change, Difference, Limit, told

HEADS = ("", "before", "after", "change", "")
MOST = 12
STEADY = 0.001  # below a thousandth a time is told as the same


def verdict(difference: Difference, broken: Sequence[Limit] = ()) -> str:
    """Return one sentence: how much slower or faster, through which cause, and whether a limit broke."""
    latency = difference.total("latency")
    before, after, _, share = told(latency)
    names = _names(difference)
    if latency.ratio is not None and abs(latency.ratio) < STEADY:
        text = f"{names}: the latency is the same, {after}"
    else:
        word = "slower" if latency.delta > 0 else "faster"
        cause = max(difference.causes, key=lambda c: abs(c.delta))
        text = f"{names}: {share.lstrip('+−')} {word}, {before} to {after}; {WORDS[cause.name][0]} {told(cause)[2]}"
    first, second = difference.bounds
    text += f"; bound by {second}, was {first}" if first != second else ""
    return f"{text}; beyond {', '.join(limit.text for limit in broken)}." if broken else f"{text}."


def _names(difference: Difference) -> str:
    """Return whom the difference is about; what both have in common once."""
    models, chips = ([(r.model.name, r.chip.name)[i] for r in (difference.before, difference.after)] for i in (0, 1))
    return f"{' → '.join(dict.fromkeys(models))} on {' → '.join(dict.fromkeys(chips))}"


def diff_text(difference: Difference, broken: Sequence[Limit] = (), *, action: str = "", layers: int = MOST) -> str:
    """Return the difference as text; `layers` = 0 shows all of them."""
    lines = [verdict(difference, broken), *([action] if action else []), "", *_aligned([HEADS, *_totals(difference)])]
    causes = [_row(change, WORDS[change.name][0]) for change in _moved(difference.causes)]
    lines += ["", "where the time went", *_aligned(causes)] if causes else []
    shown = _moved(difference.layers)
    rows = [_row(change, change.name) for change in (shown[:layers] if layers else shown)]
    lines += ["", "layers", *_aligned(rows)] if rows else []
    lines += [f"  … {len(shown) - len(rows)} more layers; -v shows every one"] if len(shown) > len(rows) else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def diff_markdown(difference: Difference, broken: Sequence[Limit] = (), *, layers: int = MOST) -> str:
    """Return the difference as Markdown, for a comment on a pull request."""
    lines = [
        f"**{_escaped(verdict(difference, broken))}**",
        "",
        "| | before | after | change | |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [_cells(row) for row in _totals(difference)]
    lines += [_cells(_row(change, WORDS[change.name][0])) for change in _moved(difference.causes)]
    lines += [_cells(_row(change, change.name)) for change in _moved(difference.layers)[: layers or None]]
    return "\n".join(lines) + "\n"


def workflow_text(difference: Difference, broken: Sequence[Limit]) -> str:
    """Return workflow commands, one line each: an error for each broken limit, otherwise a notice."""
    told_as = [("error", limit.text, told(difference.total(limit.metric))) for limit in broken]
    if not told_as:
        return f"::notice title=onchip diff::{_plain(verdict(difference))}\n"
    return "".join(
        f"::{kind} title=onchip diff {_plain(text, title=True)}::{_plain(f'{before} to {after}, {delta} ({share})')}\n"
        for kind, text, (before, after, delta, share) in told_as
    )


def diff_json(difference: Difference, broken: Sequence[Limit]) -> Json:
    """Return the object of `diff --json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": difference.after.tool,
        "kind": difference.after.kind,
        "before": _about(difference, 0),
        "after": _about(difference, 1),
        "totals": [_change(change) for change in difference.totals],
        "causes": [_change(change) for change in difference.causes],
        "layers": [_change(change) for change in difference.layers],
        "broken": [limit.text for limit in broken],
    }


def _about(difference: Difference, which: int) -> Json:
    report = (difference.before, difference.after)[which]
    return {"model": report.model.name, "chip": report.chip.name, "dtype": report.dtype, "bound": report.bound}


def _change(change: Change) -> Json:
    return {"name": change.name, "unit": change.unit, "before": change.before, "after": change.after}


def _moved(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.delta]


def _totals(difference: Difference) -> list[tuple[str, ...]]:
    there = [c for c in difference.totals if c.before is not None or c.after is not None]
    return [_row(change, change.name) for change in there if change.before or change.after]


def _row(change: Change, name: str) -> tuple[str, ...]:
    return (name, *told(change))


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    texts = [
        [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))] for row in rows
    ]
    return ["  " + "  ".join(cells).rstrip() for cells in texts]


def _cells(row: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in row) + " |"


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in "|*_`<>[]\\" else c for c in text).replace("\n", " ")


def _plain(text: str, *, title: bool = False) -> str:
    """Return a text as workflow commands take it; titles escape their delimiters as well."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if title else text
