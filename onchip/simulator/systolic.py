"""One product in the matrix unit, cell by cell and cycle by cycle: what the durations of WLD and MM stand for.

In:       the array, the cycles in which a trace started each weight load and each product, and the operands.
Out:      the sums, the cycles until the last one, and what every cell did in every cycle.
Promises: a cell knows only its own registers and what its left and upper neighbours held a cycle ago. Nothing here
          reads a duration: that the last sum leaves the array when `isa/timing.py` says is a law of the tests.
Does not: know about memories (operands arrive as fast as a port delivers them), or about more than one core.

Weight-stationary: a product's row i enters array row r at cycle start + enter(i) + r and moves right; partial sums move
down. Weights move down a second register of each cell, the bottom row's first, one diagonal behind the other; the cell
takes the new weight over when the next product starts, a diagonal at a time ahead of its first row, so loads may follow
each other without a gap.
Output-stationary: both operands move, the sum stays. A cell's sum leaves it with its last product on the column's wire,
one a column and cycle where k >= rows; in a block of fewer steps two would share a wire, which our durations allow.

Sources: Kung 1982 (why systolic architectures); weights that move down behind the rows: Jouppi 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.isa import timing
from onchip.isa.machine import machine_of

Cells = NDArray[np.int64]
IDLE = -1


@dataclass(frozen=True, slots=True)
class Array:
    """`units` arrays of rows x columns cells side by side; rates are bytes per cycle as (numerator, denominator)."""

    rows: int
    columns: int
    units: int
    is_output_stationary: bool
    is_serial: bool
    element_bytes: int
    read: tuple[int, int]
    weight_read: tuple[int, int]

    @property
    def wide(self) -> int:
        """Columns of all units together."""
        return self.columns * self.units


def array_of(chip: Chip, dtype: str, element_bytes: int) -> Array:
    """Return the systolic array of a chip (rows and columns are 0 where it has a dot-product unit)."""
    m = [int(v) for v in machine_of(chip, dtype)[: timing.CORES]]
    is_os = m[timing.DATAFLOW] == timing.OUTPUT_STATIONARY
    return Array(
        m[timing.ROWS], m[timing.COLUMNS], m[timing.UNITS], is_os, bool(m[timing.SERIAL]), element_bytes,
        (m[timing.READ_NUM], m[timing.READ_DEN]), (m[timing.WEIGHT_NUM], m[timing.WEIGHT_DEN]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pass:
    """One WLD and the MM behind it: the cycles in which they start, and the part of the product that they do."""

    load: int
    start: int
    m: int
    k: int
    n: int
    k_begin: int = 0
    n_begin: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """Sums [m, n], the cycles until the last, and by cycle and cell: what it works on, its operand, weight and sum.

    `item` is IDLE or pass * m + row (weight-stationary), step of the product (output-stationary); `x` is the operand
    from the left, `weight` the cell's weight, `sum` what the cell adds up to in that cycle (0 where idle); `shadow` the
    weight that waits for the next product.
    """

    sums: Cells
    cycles: int
    item: Cells
    x: Cells
    weight: Cells
    sum: Cells
    shadow: Cells


def entries(count: int, n_bytes: int, rate: tuple[int, int], first: int = 0) -> list[int]:
    """Return the cycle in which each of `count` items enters: one a cycle, from the `first` on those of the port.

    The port brings n_bytes for the items from `first` on, equal parts in turn; items before it are zeros.
    """
    real = count - first
    late = [-(-(i + 1) * n_bytes * rate[1] // (real * rate[0])) - 1 for i in range(real)]
    return [*range(first), *(max(first + i, at) for i, at in enumerate(late))]


def play_cells(array: Array, passes: Sequence[Pass], a: NDArray[Any], b: NDArray[Any]) -> Played:
    """Play the product a [m, k] by b [k, n] (whole numbers) through the cells."""
    left, right = np.asarray(a, np.int64), np.asarray(b, np.int64)
    if array.is_output_stationary:
        return _play_moving(array, passes[0], left, right)
    return _play_stationary(array, passes, left, right)


# --- weight-stationary ------------------------------------------------------------------------------------------------
def _play_stationary(array: Array, passes: Sequence[Pass], a: Cells, b: Cells) -> Played:
    high, wide, m = array.rows, array.columns, len(a)
    rows, loads = _feeds(array, passes)
    swaps = {it.start for it in passes}
    weights = [_padded(b, it, array) for it in passes]
    inputs = [np.pad(a[:, it.k_begin : it.k_begin + it.k], ((0, 0), (0, high - it.k))) for it in passes]
    shape = (array.units, high, wide)
    token, x, sums, shadow, weight, moving = (np.full(shape, v, np.int64) for v in (IDLE, 0, 0, 0, 0, 0))
    is_moving, takes = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    nothing = np.zeros((array.units, wide), np.int64)
    out, frames, cycles = np.zeros((m, b.shape[1]), np.int64), list[tuple[Cells, ...]](), 0
    for now in range(max(rows) + high + wide - 1):
        # what stands at the edges in this cycle, and what the neighbours held in the last one
        at_left = [rows.get(now - r) for r in range(high)]
        token = _right(token, [IDLE if e is None else e[0] * m + e[1] for e in at_left])
        x = _right(x, [0 if e is None else int(inputs[e[0]][e[1], r]) for r, e in enumerate(at_left)])
        takes = _right(takes, [now - r in swaps for r in range(high)])
        above = _down(sums, nothing)
        at_top = [loads.get(now - c) for c in range(wide)]
        is_moving = _down(is_moving, np.array([[e is not None for e in at_top]] * array.units))
        moving = _down(moving, _weights_at(weights, at_top, array.units))
        # every cell: take the new weight over, multiply and add, let the weights behind it move down
        weight = np.where(takes, shadow, weight)
        sums = np.where(token == IDLE, 0, above + x * weight)
        moving, shadow = np.where(is_moving, shadow, 0), np.where(is_moving, moving, shadow)
        _collect(out, token[:, -1], sums[:, -1], passes)
        frames.append(tuple(map(_flat, (token, x, weight, sums, shadow))))
        cycles = now + 1 if token[-1, -1, -1] != IDLE else cycles
    return Played(out, cycles, *(np.array(f) for f in zip(*frames, strict=True)))


Place = tuple[int, int]  # (pass, row of its inputs or weights)


def _feeds(array: Array, passes: Sequence[Pass]) -> tuple[dict[int, Place], dict[int, Place]]:
    """Return which row of inputs and which row of weights enters in which cycle, at the array's first cell."""
    rows, loads = dict[int, Place](), dict[int, Place]()
    high, size = array.rows, array.element_bytes
    for p, it in enumerate(passes):
        for i, at in enumerate(entries(it.m, it.m * it.k * size, array.read)):
            rows[it.start + at] = (p, i)
        for j, at in enumerate(entries(high, it.k * it.n * size, array.weight_read, first=high - it.k)):
            loads[it.load + at] = (p, high - 1 - j)
    return rows, loads


def _weights_at(weights: Sequence[Cells], at_top: Sequence[Place | None], units: int) -> Cells:
    """Return the weights that enter the columns in a cycle, [units, columns]."""
    row = [[0 if e is None else int(weights[e[0]][u, e[1], c]) for c, e in enumerate(at_top)] for u in range(units)]
    return np.array(row)


def _padded(b: Cells, it: Pass, array: Array) -> Cells:
    """Return a pass's weights [units, rows, columns], zero beyond k and n."""
    high, units, wide = array.rows, array.units, array.columns
    part = b[it.k_begin : it.k_begin + it.k, it.n_begin : it.n_begin + it.n]
    whole = np.pad(part, ((0, high - it.k), (0, units * wide - it.n)))
    return whole.reshape(high, units, wide).transpose(1, 0, 2)


def _collect(out: Cells, token: Cells, sums: Cells, passes: Sequence[Pass]) -> None:
    """Add the sums that leave the bottom row to the accumulator."""
    for u, c in np.argwhere(token != IDLE).tolist():
        number, i = divmod(int(token[u, c]), len(out))
        it, j = passes[number], u * token.shape[1] + c
        if j < it.n:
            out[i, it.n_begin + j] += sums[u, c]


# --- output-stationary ------------------------------------------------------------------------------------------------
def _play_moving(array: Array, it: Pass, a: Cells, b: Cells) -> Played:
    high, wide = array.rows, array.columns
    across = -(-it.n // array.wide)
    blocks = [(i, j) for i in range(-(-it.m // high)) for j in range(across)]
    steps, n_bytes = len(blocks) * it.k, (it.m * it.k + it.k * it.n) * array.element_bytes
    at = {it.start + entry: step for step, entry in enumerate(entries(steps, n_bytes, array.read))}
    left = np.pad(a, ((0, -it.m % high), (0, 0)))
    upper = np.pad(b, ((0, 0), (0, -it.n % array.wide))).reshape(it.k, across, array.units, wide)
    shape = (array.units, high, wide)
    token, x, w, sums = (np.full(shape, v, np.int64) for v in (IDLE, 0, 0, 0))
    from_above = token.copy()
    out, frames, cycles = np.zeros((len(blocks), *shape), np.int64), list[tuple[Cells, ...]](), 0
    for now in range(max(at) + high + wide - 1):
        at_left = [at.get(now - r, IDLE) for r in range(high)]
        at_top = [at.get(now - c, IDLE) for c in range(wide)]
        token = _right(token, at_left)
        x = _right(x, [int(left[blocks[s // it.k][0] * high + r, s % it.k]) if s >= 0 else 0
                       for r, s in enumerate(at_left)])  # fmt: skip
        row = [[int(upper[s % it.k, blocks[s // it.k][1], u, c]) if s >= 0 else 0 for c, s in enumerate(at_top)]
               for u in range(array.units)]  # fmt: skip
        w = _down(w, np.array(row))
        from_above = _down(from_above, np.array([at_top] * array.units))
        assert (token == from_above).all()  # both operands of a step meet
        sums = np.where(token == IDLE, sums, np.where(token % it.k == 0, 0, sums) + x * w)
        for u, r, c in np.argwhere((token != IDLE) & (token % it.k == it.k - 1)).tolist():
            out[token[u, r, c] // it.k, u, r, c] = sums[u, r, c]
        shown = np.where(token == IDLE, 0, sums)
        frames.append(tuple(map(_flat, (token, x, w, shown, np.zeros_like(w)))))
        cycles = now + 1 if token[-1, -1, -1] != IDLE else cycles
    whole = out.reshape(-1, across, array.units, high, wide).transpose(0, 3, 1, 2, 4)
    sums = whole.reshape(whole.shape[0] * high, across * array.wide)[: it.m, : it.n]
    return Played(sums, cycles, *(np.array(f) for f in zip(*frames, strict=True)))


def _right(cells: NDArray[Any], edge: Sequence[int]) -> NDArray[Any]:
    """Return what each cell gets from its left neighbour; `edge` feeds the first column of every unit."""
    moved = np.roll(cells, 1, axis=2)
    moved[:, :, 0] = edge
    return moved


def _down(cells: NDArray[Any], edge: NDArray[Any]) -> NDArray[Any]:
    """Return what each cell gets from its upper neighbour; `edge` [units, columns] feeds the first row."""
    moved = np.roll(cells, 1, axis=1)
    moved[:, 0] = edge
    return moved


def _flat(cells: Cells) -> Cells:
    """Return cells [units, rows, columns] as one array of rows x (units * columns)."""
    return cells.transpose(1, 0, 2).reshape(cells.shape[1], -1).copy()
