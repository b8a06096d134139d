"""A Check for a terminal: the verdict, the next action, and tables grouped by equal facts with their counts.

In:       a Check.
Out:      plain text; the first line is the verdict, the second the next action; the rest fits WIDTH columns,
          but for the names in the table of every op.
Promises: every refusal stands there with its code, fact, limit and way out, equal ones once with their count; shares
          are of the MACs and vector operations of all nodes, a share of nothing is a dash.
Does not: colour, or leave out a node: the file and the JSON list all of them (`nodes=True`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from onchip.ir.check import UNITS, Cause, Check, Placed
from onchip.ir.report_text import WIDTH
from onchip.units import DASH, format_value

WORDS = {
    "matrix": "matrix unit",
    "vector": "vector unit",
    "fused": "fused",
    "host": "host",
    "free": "free",
    "refused": "refused",
}
NAMES = 3  # of a group of nodes that are shown


def check_text(check: Check, *, action: str, nodes: bool = False) -> str:
    """Return the whole text; with `nodes` a line for every node at its end."""
    lines = [verdict(check), next_action(check, action), "", *_shares(check)]
    for unit, title in (("refused", "refused"), ("vector", "on the vector unit"), ("host", "on the host")):
        if check.of(unit) or (unit == "refused" and check.network):
            lines += ["", title, *(_refusals(check) if unit == "refused" else _grouped(check.of(unit)))]
    if nodes:
        lines += ["", "every op", *_every(check)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def verdict(check: Check) -> str:
    """Return one sentence: whether all of it runs and where, or how much is refused and what first."""
    head = f"{check.model.name} on {check.chip.name} in {check.dtype}"
    refused = check.of("refused")
    if refused:
        first = refused[0]
        assert first.cause is not None
        n, total = len(refused), len(check.nodes)
        verb = "is" if n == 1 else "are"
        return f"{head}: {n} of {total} ops {verb} refused, first: {first.name} ({first.op}): {first.cause.fact}."
    if check.network:
        return f"{head}: every op runs, the network does not: {check.network[0].fact}."
    counts = {unit: len(check.of(unit)) for unit in UNITS}
    told = [f"{counts['matrix']} on the matrix unit", f"{counts['vector']} on the vector unit"]
    told += [f"{counts['fused']} fused into them"] if counts["fused"] else []
    told += [f"{counts['host']} on the host"] if counts["host"] else []
    told += [f"{counts['free']} free"] if counts["free"] else []
    return f"{head}: every one of {len(check.nodes)} ops runs: {', '.join(told)}."


def next_action(check: Check, action: str) -> str:
    """Return the second line: the way out of the first refusal, or `action`."""
    causes = [node.cause for node in check.of("refused") if node.cause is not None] + list(check.network)
    if not causes:
        return action
    first = causes[0]
    explain = f"onchip explain {first.code}"
    if first.next:
        return f"Next:  {first.next}   ({explain})"
    return f"Next:  {explain}   ({first.limit or 'what to do about it'})"


def _shares(check: Check) -> list[str]:
    macs, operations = sum(n.macs for n in check.nodes), sum(n.vector_ops for n in check.nodes)
    rows = [("where", "ops", "MACs", "share", "vector ops", "share")]
    for unit in UNITS:
        own = check.of(unit)
        if own:
            some, many = sum(n.macs for n in own), sum(n.vector_ops for n in own)
            cells = (_count(some, "MAC"), _share(some, macs), _count(many, "op"), _share(many, operations))
            rows.append((WORDS[unit], str(len(own)), *cells))
    return _table(rows, left={0})


def _count(value: int, unit: str) -> str:
    return format_value(value, unit) if value else DASH


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.3g} %" if whole and part else DASH


def _refusals(check: Check) -> list[str]:
    """Return each refusal once: how many, of which op, what is wrong, by how much, what to do, and where."""
    groups: dict[tuple[str, Cause], list[str]] = {}
    for node in check.of("refused"):
        if node.cause is not None:
            groups.setdefault((node.op, node.cause), []).append(node.name)
    lines: list[str] = []
    for (op, cause), names in groups.items():
        lines += _wrapped(f"{len(names)} {op}: {_sentences(cause)}", indent=2)
        lines += _wrapped(_few(names), indent=6)
    for cause in check.network:
        lines += _wrapped(f"the network: {_sentences(cause)}", indent=2)
    return lines


def _sentences(cause: Cause) -> str:
    return f"{cause.code} {'. '.join(text for text in (cause.fact, cause.limit, cause.next) if text)}."


def _grouped(nodes: Sequence[Placed]) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        runs = node.op if node.op == node.runs_as else f"{node.op} as {node.runs_as}"
        groups.setdefault((runs, node.reason), []).append(node.name)
    lines: list[str] = []
    for (runs, reason), names in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        lines += _wrapped(f"{len(names)} {runs}: {reason}", indent=2)
        lines += _wrapped(_few(names), indent=6)
    return lines


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return f"{', '.join(names[:NAMES])}{more}"


def _every(check: Check) -> list[str]:
    rows = [("op", "is", "where", "kernel")]
    for node in check.nodes:
        runs = node.op if node.op == node.runs_as else f"{node.op} as {node.runs_as}"
        rows.append((node.name, runs, WORDS[node.unit], node.kernel if node.kernel != node.name else ""))
    return _table(rows, left={0, 1, 2, 3})


def _wrapped(text: str, *, indent: int) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4), break_on_hyphens=False
    )


def _table(rows: Iterable[Sequence[str]], *, left: set[int]) -> list[str]:
    lines = list(rows)
    widths = [max(len(row[i]) for row in lines) for i in range(len(lines[0]))]
    return [
        "  "
        + "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in lines
    ]
