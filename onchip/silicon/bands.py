"""Bands from the errors of published rows: what is printed around a forecast, and how often that held.

In:       predictions of rows of time.
Out:      `Band`s (ir/bands.py), one per level and workload.
Promises: a residual is log(measured time / predicted time). A band spans the 10 % to 90 % quantiles of a pool of them,
          every part of the pool with the same weight, includes the prediction itself, and is widened by the least
          amount with which bands made without a part cover TARGET of that part's rows: of the rows, and of the parts
          in the mean. Pools and parts:
          same chip: rows of one chip and workload; a part is a distinct shape.
          same family: rows of one family and workload, from two chips up; a part is a chip.
          other family: all rows of a workload, from two families up; a part is a family. `any`: all rows.
          Pools of fewer than SMALL rows or FEW parts are no judges of themselves: they are widened alike, by what all
          such pools of their level need together.
Does not: depend on the order of rows, or on anything but public rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.ir.bands import ANY, Band, Level
from onchip.silicon.calibrate import shape_of
from onchip.silicon.predict import TIME_METRICS, Prediction
from onchip.silicon.workloads import BINARY, GATES, UNARY

PROMISED, TARGET = 0.80, 0.85  # the aim is above the promise: later rows are not these
TAIL, ROUNDING = 0.1, 1e-9
SMALL, FEW, LEAST_SHAPES, LEAST_PARTS = 20, 4, 3, 2
WIDEN = tuple(0.02 * i for i in range(200))  # added to both ends
CLASSES = {
    **dict.fromkeys(GATES, "recurrent"), **dict.fromkeys((*UNARY, *BINARY), "elementwise"),
    **dict.fromkeys(("softmax", "layernorm", "rmsnorm"), "rows"),
}  # fmt: skip
Logs = NDArray[np.float64]
Parts = dict[Hashable, Logs]


@dataclass(frozen=True, slots=True)
class Residual:
    """log(measured time / predicted time) of a row, and what it is a row of."""

    chip: str
    family: str
    workload: str
    shape: Hashable
    log: float


@dataclass(frozen=True, slots=True)
class Rule:
    """Which rows a level pools, and which of them are left out at once."""

    level: Level
    pool: Callable[[Residual], tuple[str, str]]
    part: Callable[[Residual], Hashable]


RULES = (
    Rule("same chip", lambda r: (r.chip, r.workload), lambda r: r.shape),
    Rule("same family", lambda r: (r.family, r.workload), lambda r: r.chip),
    Rule("other family", lambda r: ("", r.workload), lambda r: r.family),
    Rule("other family", lambda _: ("", ANY), lambda r: r.family),
)


def class_of(workload: str) -> str:
    """Return the kind of a workload: operations that are limited alike share one."""
    return CLASSES.get(workload, workload)


def residuals(predictions: Iterable[Prediction]) -> tuple[Residual, ...]:
    """Return the residuals of rows of time."""
    families: dict[str, str] = {}
    found: list[Residual] = []
    for p in predictions:
        row = p.measurement
        if row.metric not in TIME_METRICS:
            continue
        if row.chip not in families:
            families[row.chip] = Chip.load(row.chip).family
        log = math.log(row.value / p.value) * (1 if row.metric == "latency_ms" else -1)
        found.append(Residual(row.chip, families[row.chip], class_of(row.workload), shape_of(row), log))
    return tuple(found)


def make_bands(rows: Sequence[Residual]) -> tuple[Band, ...]:
    """Return the bands of all levels, in order."""
    found: list[Band] = []
    for rule in RULES:
        pools = pools_of(rows, rule)
        missed = {pool: misses(parts) for pool, parts in pools.items()}
        together = [miss for pool in pools if _is_small(pools[pool]) for miss in missed[pool]]
        for (of, workload), parts in sorted(pools.items()):
            judges = together if _is_small(parts) else missed[of, workload]
            wider = widening(judges)
            low, high = span(list(parts.values()))
            told = (round(math.exp(low - wider), 4), round(math.exp(high + wider), 4))
            counts = (_count(parts.values()), _count(judges))
            found.append(Band(rule.level, of, workload, *told, *counts, round(covered(judges, wider), 3)))
    return tuple(found)


def pools_of(rows: Sequence[Residual], rule: Rule) -> dict[tuple[str, str], Parts]:
    """Return the pools of a level that are large enough, each in parts."""
    lists: dict[tuple[str, str], dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        lists[rule.pool(row)][rule.part(row)].append(row.log)
    pools = {pool: {part: np.sort(logs) for part, logs in parts.items()} for pool, parts in lists.items()}
    least = LEAST_SHAPES if rule.level == "same chip" else LEAST_PARTS
    return {pool: parts for pool, parts in pools.items() if len(parts) >= least}


def widening(missed: Sequence[Logs]) -> float:
    """Return the least of WIDEN with which TARGET of the rows and of the parts is covered."""
    return next((wider for wider in WIDEN if covered(missed, wider) >= TARGET), WIDEN[-1])


def covered(missed: Sequence[Logs], wider: float) -> float:
    """Return the share of rows, or the mean share of a part where that is less, inside of bands widened so."""
    hits = [int((miss <= wider + ROUNDING).sum()) for miss in missed]
    shares = [hit / len(miss) for hit, miss in zip(hits, missed, strict=True)]
    return min(sum(hits) / _count(missed), math.fsum(shares) / len(shares))


def misses(parts: Parts) -> list[Logs]:
    """Return for each part by how much its rows lie outside of the span of the other parts, 0 inside."""
    found: list[Logs] = []
    for left, logs in parts.items():
        low, high = span([others for part, others in parts.items() if part != left])
        found.append(np.maximum(np.maximum(low - logs, logs - high), 0.0))
    return found


def span(parts: Sequence[Logs]) -> tuple[float, float]:
    """Return the quantiles TAIL and 1 - TAIL of residuals, each part with the same weight; 0 lies between."""
    logs = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts]) / len(parts)
    order = np.argsort(logs, kind="stable")
    logs, after = logs[order], np.cumsum(weights[order])
    before = after - weights[order]
    low = float(logs[int(np.flatnonzero(before <= TAIL + ROUNDING)[-1])])
    high = float(logs[int(np.flatnonzero(after >= 1 - TAIL - ROUNDING)[0])])
    return min(low, 0.0), max(high, 0.0)


def _is_small(parts: Parts) -> bool:
    return _count(parts.values()) < SMALL or len(parts) < FEW


def _count(parts: Iterable[Logs]) -> int:
    return sum(map(len, parts))
