"""The lesson of `onchip learn systolic` as text: the answer, the next action, and where the cycles come from.

In:       the object of the panel `lesson` (onchip/lesson.py).
Out:      plain text; the first line is the verdict, the second the next action.
Promises: every number is one of the trace's, or counts of them.
"""

from __future__ import annotations

from itertools import groupby

from onchip.ir.report import Json
from onchip.units import format_value

Run = tuple[int, list[list[int]]]
WAYS = {
    "weight_stationary": "weights stay, the next ones load behind the rows",
    "weight_stationary_serial": "weights stay, loaded between passes",
    "output_stationary": "sums stay, both operands move",
}


def lesson_verdict(part: Json) -> str:
    """Return one sentence: the product that is shown first, and its cycles."""
    (m, k, n), array = part["first"]["size"], part["array"]
    cycles, _ = run_of(part, part["first"]["way"])
    cells = f"{array['rows']} x {array['columns'] * array['units']} cells"
    spent = format_value(cycles / part["chip"]["clock_hz"], "s")
    return (
        f"A [{m} x {k}] by [{k} x {n}] product takes {cycles} cycles on the {cells} of {part['chip']['name']}: {spent}."
    )


def lesson_text(part: Json, *, action: str) -> str:
    """Return the whole text."""
    lines = [lesson_verdict(part), action, ""]
    rows = [(WAYS[way], *_row(part, way)) for way in part["ways"]]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines += [f"  {row[0].ljust(widths[0])}  {row[1].rjust(widths[1])}  {row[2]}".rstrip() for row in rows]
    return "\n".join([*lines, "", *NOTES]) + "\n"


NOTES = (
    "  load: weights move in, a row of cells a cycle. rows: a row of A enters every cycle. steps: of the",
    "  inputs, for each block of sums. diagonal: rows + columns - 2, until the last value is in the far corner.",
)


def run_of(part: Json, way: str) -> Run:
    """Return (cycles, passes) of the product that is shown first; a pass is load, start, k_begin, n_begin."""
    (m, k, n), (ms, ks, ns) = part["first"]["size"], part["sizes"]
    at = (ms.index(m) * len(ks) + ks.index(k)) * len(ns) + ns.index(n)
    cycles, passes = part["ways"][way]["runs"][at]
    return cycles, passes


def _row(part: Json, way: str) -> tuple[str, str]:
    cycles, passes = run_of(part, way)
    diagonal = part["array"]["rows"] + part["array"]["columns"] - 2
    return f"{cycles} cycles", _sum(terms(cycles, passes, diagonal, is_moving=way.startswith("output")))


def _sum(parts: list[tuple[str, int]]) -> str:
    """Return terms as a sum, equal ones and equal groups of them together."""
    size = next(n for n in range(1, len(parts) + 1) if parts == parts[:n] * (len(parts) // n))
    many = len(parts) // size
    told = " + ".join(_times(len(list(equal)), *term) for term, equal in groupby(parts[:size]))
    return told if many == 1 else f"{many} x ({told})"


def _times(many: int, name: str, spent: int) -> str:
    return f"{name} {spent}" if many == 1 else f"{many} x {name} {spent}"


def terms(cycles: int, passes: list[list[int]], diagonal: int, *, is_moving: bool) -> list[tuple[str, int]]:
    """Cut the cycles where the trace starts something: (what, cycles), in order; they sum to the whole."""
    found: list[tuple[str, int]] = []
    at = 0
    for number, (_, start, *_) in enumerate(passes):
        if start > at:
            found.append(("address" if is_moving else "load", start - at))
        following = passes[number + 1] if number + 1 < len(passes) else None
        waits = following is not None and following[0] > start  # the next load waits for the last sum
        end = following[0] if following is not None and waits else cycles
        stop = following[1] if following is not None and not waits else end - diagonal
        found.append(("steps" if is_moving else "rows", stop - start))
        if stop < end and (waits or following is None):
            found.append(("diagonal", end - stop))
        at = end if waits or following is None else stop
    return found
