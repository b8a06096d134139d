"""A few numbers fitted to rows: a search on a lattice whose points are priced once.

In:       how to price all rows at a point (log(predicted / measured) of each), the start, which rows belong together.
Out:      a `Fit`: the best point, the errors before, after, and of rows left out.
Promises: what is minimised is the mean of |log(predicted / measured)|: the median is too flat, and squares follow
          outliers. Every group of rows is left out once, the search done anew from the same start without it, and the
          group's errors taken at the point that the others chose; since rows of a point are priced once for all
          searches, that costs little more than one search. The same result for the same rows in any order.
Does not: know chips or workloads. A local search: a start in another valley ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, ...]  # steps from the start, one number a scalar
Logs = NDArray[np.float64]
Price = Callable[[Point], Logs | None]  # None where the point lies outside of what is allowed
Progress = Callable[[int, int], None]

RATIO = 1.005  # of one step of the lattice: far below what measurements of one thing differ by
STRIDES = (32, 16, 8, 4, 2, 1)  # steps at once, coarse to fine: 17 % to 0.5 %
MOST_POINTS = 4000
LEAST_GAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Errors:
    """Median and 90th percentile of |predicted / measured - 1|, in percent."""

    median: float
    p90: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The best point, the least and most steps of each scalar over the searches with a group left out, and errors."""

    point: Point
    low: Point
    high: Point
    n_rows: int
    n_groups: int
    before: Errors
    inside: Errors  # of the rows that were fitted
    left_out: Errors | None  # None where there is one group alone


def fit(price: Price, groups: Sequence[Hashable], n_scalars: int, progress: Progress) -> Fit:
    """Return the fit of rows whose groups are left out one at a time; `progress(done, total)` counts searches.

    Raises ValueError where the start itself is outside of what is allowed.
    """
    surface = Surface(price, {})
    start: Point = (0,) * n_scalars
    if surface.at(start) is None:
        raise ValueError("the start is outside of what is allowed")
    names = list(dict.fromkeys(groups))
    member = np.array([names.index(group) for group in groups])
    total = 1 + (len(names) if len(names) > 1 else 0)
    best = search(surface, start, np.full(len(member), True))
    progress(1, total)
    chosen, left = list[Point](), np.empty(len(member))
    for i in range(total - 1):
        point = search(surface, start, member != i)
        chosen.append(point)
        left[member == i] = surface.log(point)[member == i]
        progress(i + 2, total)
    ends = np.array([*chosen, best])
    low, high = (tuple(int(n) for n in side) for side in (ends.min(axis=0), ends.max(axis=0)))
    before, inside = (errors_of(surface.log(point)) for point in (start, best))
    return Fit(best, low, high, len(member), len(names), before, inside, errors_of(left) if chosen else None)


@dataclass(frozen=True, slots=True)
class Surface:
    """Logs of all rows at the points that were asked for."""

    price: Price
    known: dict[Point, Logs | None]

    def at(self, point: Point) -> Logs | None:
        if point not in self.known:
            self.known[point] = self.price(point) if len(self.known) < MOST_POINTS else None
        return self.known[point]

    def log(self, point: Point) -> Logs:
        """Return the logs at a point that a search has ended on."""
        found = self.at(point)
        assert found is not None
        return found

    def loss(self, point: Point, kept: NDArray[np.bool_]) -> float:
        """Return the mean |log| of the rows that are kept, infinite outside of what is allowed."""
        found = self.at(point)
        return float("inf") if found is None else float(np.abs(found[kept]).mean())


def search(surface: Surface, start: Point, kept: NDArray[np.bool_]) -> Point:
    """Return a point that no neighbour beats at any stride, coarse strides first; diagonals where no axis helps."""
    at, best = start, surface.loss(start, kept)
    for stride in STRIDES:
        moved = True
        while moved:
            moved = False
            for ring in (_axes(len(at)), _diagonals(len(at))):
                options = [tuple(a + stride * d for a, d in zip(at, step, strict=True)) for step in ring]
                losses = [surface.loss(option, kept) for option in options]
                if losses and min(losses) < best - LEAST_GAIN:
                    best = min(losses)
                    at, moved = options[losses.index(best)], True
                    break
    return at


def _axes(n: int) -> Iterator[Point]:
    for axis in range(n):
        for side in (1, -1):
            yield tuple(side if i == axis else 0 for i in range(n))


def _diagonals(n: int) -> Iterator[Point]:
    yield from (step for step in product((1, 0, -1), repeat=n) if sum(map(abs, step)) > 1)


def errors_of(logs: Logs) -> Errors:
    """Return the errors of rows by the logs of predicted / measured."""
    percent = 100 * np.abs(np.expm1(logs))
    return Errors(float(np.percentile(percent, 50)), float(np.percentile(percent, 90)))
