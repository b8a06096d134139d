"""Advice that was tried: changes of a run, priced again, the program played again, and ranked by what they gained.

In:       a Case and its Report.
Out:      `Advice`: actions with predicted and verified gains, and how many changes were tried.
Promises: how much is tried depends on the network, never on the machine: the same request gives the same advice.
          A forecast of the vendor's program counts only where our program on that chip gains too.
Does not: print. A part of the pipeline beside `explain.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onchip.case import MOST_PLAYED, Case
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.plan import Plan
from onchip.ir.report import Layer, Report
from onchip.passes.stem import fold_stem
from onchip.planner.tile import EFFORT
from onchip.reports.actions import Action, action_of, ranked
from onchip.reports.changes import Change, candidates

WORK = 60  # of a short advice, see `work`: about 0.2 s
FORECASTS = 4  # forecasts in the work of one program
SHORT_PLAYED = 2_000_000  # instructions of a program that a short advice plays: 0.1 s
MOST_CHIPS = 12
FULL_WORK = 8  # times the usual work where mappings are priced exactly, about
Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Advice:
    """Actions, best first, and how many changes were run to find them."""

    base: Report
    actions: tuple[Action, ...]
    tried: int


def _quiet(_done: int, _total: int) -> None:
    """Tell nobody."""


def work(report: Report) -> int:
    """Return the work of one estimate: layers that are planned and lowered, and a quarter for each that equals one."""
    distinct = len({(layer.cycles, layer.macs, layer.dram_bytes) for layer in report.layers})
    return distinct + (len(report.layers) - distinct) // 4


def short_advice(case: Case, report: Report) -> Advice:
    """Try the changes that promise most, about 0.2 s of work, one in any case."""
    times = FULL_WORK if case.effort > EFFORT else 1
    n = max(1, WORK // max(1, times * work(report)))
    can_batch, fold = "batch" in case.graph.symbols, _fold(case, report.expected)
    changes = _one_of_each(candidates(report.expected, case.chip, can_batch=can_batch, fold=fold))
    if report.silicon is None:
        return _tried(case, report, changes[:n], played=SHORT_PLAYED, confirmed=0)
    return _tried(case, report, changes[: n * FORECASTS], played=SHORT_PLAYED, confirmed=max(1, n // 2))


def _one_of_each(changes: Sequence[Change]) -> list[Change]:
    """Return the first change of each key: the most promising batch, the most promising dtype."""
    return list({change.kind: change for change in reversed(changes)}.values())[::-1]


def catalog() -> tuple[Chip, ...]:
    """Return all chips."""
    return tuple(map(Chip.load, Chip.names()))


def full_advice(
    case: Case, report: Report, *, plan: Plan | None = None, chips: Sequence[Chip] = (), most: int | None = None,
    progress: Step = _quiet,
) -> Advice:  # fmt: skip
    """Try every change, or the first `most`, and of `chips` those that should be faster, least power first, until one
    is, MOST_CHIPS at most.

    With the `plan` of our program, searching every mapping is one of the changes.
    """
    promised = _promised(report, plan) if plan is not None and case.effort <= EFFORT else None
    can_batch = "batch" in case.graph.symbols
    base, fold = report.expected, _fold(case, report.expected)
    changes = candidates(base, case.chip, can_batch=can_batch, chips=chips, promised=promised, fold=fold)
    own = [change for change in changes if change.kind != "chip"]
    changes = [*own, *changes[len(own) : len(own) + MOST_CHIPS]][:most]
    return _tried(case, report, changes, played=MOST_PLAYED, confirmed=len(changes), progress=progress)


def _fold(case: Case, report: Report) -> tuple[Layer, float] | None:
    """Return the layer that reads a picture, and what space_to_depth would leave of its passes through the array.

    An array that packs rows from all taps has nothing to gain; one that gives each tap its own rows leaves most empty.
    """
    rows = case.chip.matrix.array(report.dtype, case.chip.name).rows
    if case.chip.matrix.row_packing != "C" or not rows:
        return None
    folded = fold_stem(case.graph)
    if folded is case.graph:
        return None
    after = next(node for node in folded.nodes if node.op == "conv2d" and node not in case.graph.nodes)
    layer = next((layer for layer in report.layers if after.name in layer.nodes), None)
    taps = [g.tensor(g.node(after.name).inputs[1]).shape for g in (case.graph, folded)]
    passes = [int(r) * int(s) * -(-int(c) // rows) for _, r, s, c in taps]
    return None if layer is None else (layer, passes[1] / passes[0])


def _promised(report: Report, plan: Plan) -> float | None:
    """Return what is gone when every kernel takes what the formula said: the formula errs upwards and downwards."""
    if report.silicon is not None or not report.cycles:
        return None
    pairs = zip(report.layers, plan.kernels, strict=True)
    return -sum(max(0, layer.cycles - kernel.mapping.predicted_cycles) for layer, kernel in pairs) / report.cycles


def _tried(
    case: Case, report: Report, changes: Sequence[Change], *, played: int, confirmed: int, progress: Step = _quiet
) -> Advice:
    base, found, tried = report.expected, list[Action](), 0
    for number, change in enumerate(changes):
        progress(number, len(changes))
        if change.kind == "chip" and any(a.change.kind == "chip" and a.helps for a in found):
            continue
        try:
            found.append(action_of(change, base, case.changed(dict(change.settings)).play(played)))
        except OnchipError:  # it does not fit, or the chip has no such thing: no action
            continue
        tried += 1
    progress(len(changes), len(changes))
    if report.silicon is not None and case.chip.evidence != "estimate":
        found = _confirmed(case, report, found, confirmed, played)
    return Advice(base, ranked(found), tried)


def _confirmed(case: Case, ours: Report, found: Sequence[Action], n: int, played: int) -> list[Action]:
    """Play our program for the `n` best of what helps in the forecast; what is beyond is left out."""
    made: list[Action] = []
    for action in sorted((a for a in found if a.helps), key=lambda a: (a.time, a.change.options))[:n]:
        if action.change.kind == "chip":
            made.append(action)
            continue
        try:
            after = case.changed(dict(action.change.settings)).play_program(played)
        except OnchipError:
            continue
        program = after.seconds_per_inference / ours.seconds_per_inference - 1
        made.append(replace(action, program=program))
    return made
