"""Which range of a tensor to give to 8 bits: all of it, its percentiles, or the one of least squared error.

In:       the values that a tensor took, batch by batch.
Out:      `Spread`, what is kept of them: count, sum and sum of squares per bin of 12 bits of precision (sign, exponent
          and 11 bits of mantissa of float32); and ranges that hold 0.
Promises: minimum and maximum are exact; a percentile is exact to 2^-12 of its value; `least_error` is never worse than
          the whole range, on these values (tests search by brute force beside it).
Does not: turn a range into scale and zero point (quantize_rules.py).
Sources:  Wu 2020, "Integer quantization for deep learning inference", section 5 (percentile);
          Nagel 2021, "A white paper on neural network quantization", section 3.1 (squared error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Range = tuple[float, float]
DROPPED_BITS = 12  # of float32's 32
BINS = 1 << (32 - DROPPED_BITS)
OCTAVES = 10.0  # shares of the range: 1, 2^-STEP, 2^-2 STEP, .. 2^-10
STEP = 0.25
TOLERANCE = 1e-3  # of a step: what float32 products of integers and scales leave is 1e-5
BLOCK = 256  # candidates at once


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The values of one tensor: distinct bins in rising order with count, sum and sum of squares, and the extremes."""

    means: Array
    counts: Array
    sums: Array
    squares: Array
    low: float
    high: float

    @staticmethod
    def of(values: Array) -> Spread:
        """Sort values into bins; they are finite."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        if not flat.size:
            return Spread(np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1), 0.0, 0.0)
        keys, wide = flat.view(np.uint32) >> DROPPED_BITS, flat.astype(np.float64)
        columns = [np.bincount(keys, weights, BINS) for weights in (None, wide, wide * wide)]
        used = np.flatnonzero(columns[0])
        counts, sums, squares = (column[used].astype(np.float64) for column in columns)
        return _ordered(counts, sums, squares, float(flat.min()), float(flat.max()))

    def joined(self, other: Spread) -> Spread:
        """Put two spreads together; bins of one mean become one."""
        pairs = zip((self.counts, self.sums, self.squares), (other.counts, other.sums, other.squares), strict=True)
        counts, sums, squares = (np.concatenate(pair) for pair in pairs)
        if len(counts) <= 1 << 17:
            return _ordered(counts, sums, squares, min(self.low, other.low), max(self.high, other.high))
        keys = (sums / np.maximum(counts, 1)).astype(np.float32).view(np.uint32) >> DROPPED_BITS
        columns = [np.bincount(keys, weights, BINS) for weights in (counts, sums, squares)]
        used = np.flatnonzero(columns[0])
        kept = [column[used] for column in columns]
        return _ordered(kept[0], kept[1], kept[2], min(self.low, other.low), max(self.high, other.high))

    def clipped(self, low: float, high: float) -> Spread:
        """Return the spread of the clipped values."""
        if low <= self.low and self.high <= high:
            return self
        means = np.clip(self.means, low, high)
        is_same = means == self.means
        sums = np.where(is_same, self.sums, means * self.counts)
        squares = np.where(is_same, self.squares, means * means * self.counts)
        return Spread(
            means, self.counts, sums, squares, min(max(self.low, low), high), max(min(self.high, high), low)
        )  # fmt: skip

    def percentile(self, share: float) -> Range:
        """Return the (100 - share)-th and the share-th percentile, widened to hold 0."""
        total = np.cumsum(self.counts)
        rank = total[-1] * share / 100.0
        last = len(total) - 1
        high = self.high if share == 100.0 else self.means[min(last, int(np.searchsorted(total, rank)))]
        below = total[-1] - rank
        low = self.low if share == 100.0 else self.means[min(last, int(np.searchsorted(total, below, side="right")))]
        return min(float(low), 0.0), max(float(high), 0.0)


def _ordered(counts: Array, sums: Array, squares: Array, low: float, high: float) -> Spread:
    means = sums / np.maximum(counts, 1.0)
    order = np.argsort(means, kind="stable")
    return Spread(means[order], counts[order], sums[order], squares[order], low, high)


def least_error(spread: Spread, *, is_symmetric: bool = False) -> Range:
    """Return the range whose int8 grid has the least squared error over the values.

    Shares of the whole range on either side, from 1 down to 2^-10 in steps of 2^-1/4, then finer around the best; the
    error is no smooth function of the range, and another range may be a few percent better.
    """
    low, high = min(spread.low, 0.0), max(spread.high, 0.0)
    if is_symmetric:
        high = max(-low, high)
        low = -high
    is_flat = is_symmetric or low == 0.0 or high == 0.0  # one side to choose: four times as many steps
    step = STEP / 4.0 if is_flat else STEP
    steps = np.arange(0.0, OCTAVES + step, step)
    down = steps if low < 0.0 and not is_symmetric else np.zeros(1)
    up = steps if high > 0.0 else np.zeros(1)
    best = (0.0, 0.0)
    tables = _tables(spread)
    for _ in range(3):
        a, b = (grid.reshape(-1) for grid in np.meshgrid(down, up, indexing="ij"))
        a = b if is_symmetric else a
        errors = grid_errors(tables, low * 2.0**-a, high * 2.0**-b, is_symmetric=is_symmetric)
        place = int(np.argmin(errors))
        best = float(a[place]), float(b[place])
        near = np.linspace(-step, step, 9)
        down = np.maximum(best[0] + near, 0.0) if len(down) > 1 else down
        up = np.maximum(best[1] + near, 0.0) if len(up) > 1 else up
        step /= 4.0
    return low * 2.0 ** -best[0], high * 2.0 ** -best[1]


Tables = tuple[Array, Array, Array, Array]


def _tables(spread: Spread) -> Tables:
    """Return the means and the running totals of count, sum and squares, with a 0 in front."""
    counts, sums, squares = (
        np.concatenate([[0.0], np.cumsum(column)]) for column in (spread.counts, spread.sums, spread.squares)
    )
    return spread.means, counts, sums, squares


def grid_errors(tables: Tables, low: Array, high: Array, *, is_symmetric: bool) -> Array:
    """Return the total squared error of the int8 grid of each range.

    The values between two rounding boundaries go to one level v and cost (squares - 2 v sums + v^2 counts).
    """
    means, counts, sums, squares = tables
    scale = np.maximum(high / 127.0 if is_symmetric else (high - low) / 255.0, 1e-300)
    zero = np.zeros_like(scale) if is_symmetric else np.clip(np.rint(-128.0 - low / scale), -128.0, 127.0)
    steps = np.arange(-128.0, 128.0)
    errors = np.empty(len(scale))
    for start in range(0, len(scale), BLOCK):
        part = slice(start, start + BLOCK)
        level = (steps - zero[part, None]) * scale[part, None]
        inner = np.searchsorted(means, level[:, :-1] + scale[part, None] / 2.0)
        ends = np.concatenate([np.zeros((len(level), 1), int), inner, np.full((len(level), 1), len(means))], axis=1)
        n, s, q = (np.diff(table[ends], axis=1) for table in (counts, sums, squares))
        errors[part] = (q - 2.0 * level * s + level * level * n).sum(axis=1)
    return errors


def grid_scales(rows: Array) -> Array:
    """Return the scale of each row [K, n] whose values are multiples of it up to 127, 0 where they lie on no grid."""
    largest = np.abs(rows).max(axis=1, initial=0.0)
    found = np.zeros(len(rows))
    for top in range(1, 128):
        scale = largest / top
        steps = rows / np.where(scale > 0.0, scale, 1.0)[:, None]
        is_grid = np.abs(steps - np.rint(steps)).max(axis=1, initial=0.0) < TOLERANCE
        found = np.where((found == 0.0) & is_grid & (scale > 0.0), scale, found)
    return found
