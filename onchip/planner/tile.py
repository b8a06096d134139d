"""The mapping search: tile sizes, loop order, cores and buffering of one kernel.

In: a kernel's Shape, the chip, an effort (how many mappings are priced). Out: the Mapping that takes the fewest cycles,
ties broken by the order of the candidates, so the same input gives the same Program.
A formula (prices.py) ranks all; those that it ranks first are played tile by tile (replay.py). Both only choose: the
cycles that are reported come from running the chosen program.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.plan import Mapping, Shape, ceil_div
from onchip.isa import timing
from onchip.isa.machine import columns, depth, machine_of
from onchip.isa.native import native
from onchip.isa.vector import VOPS
from onchip.planner.buffers import BIAS_BYTES, PARAMETER_BYTES, local_bytes, sizes, slots_of

EFFORT = 1000  # mappings priced per kernel; `full` prices every candidate
EXACT = 8  # mappings of a kernel that are priced exactly where the effort allows it (docs/decisions/0008)
ROWS, CHANNELS, DEPTH = range(3)  # what is outermost: `outer` of the table
ROW_INSTRUCTIONS = 40  # of softmax and layer norm on one value a row: they only rank
Ints = NDArray[np.int64]
# what the formula (prices.py) needs beside the machine array; pairs take two places
(B, P, Q, N, SOURCE_CHANNELS, WINDOW, _, STRIDE, _, DILATION, _, POOL, _, ELEMENT_BYTES, IS_MATMUL, LANE_BYTES,
 TAP_BYTES, VECTOR_TAPS, LOADS_SOURCE, PASSES, SCRATCH, WHOLE_LANES, SIDE_BYTES, SIDE_INPUTS, TABLE_BYTES, FAR_SOURCE,
 FAR_OUTPUT, SLOTS, FILL, HAS_SHARED, ACCUMULATOR_WORDS, IS_ROW_PACKED, BATCHES, ONES,
 ROW_SUMS, BLOCKS, PADDING, _, SOURCE_ROWS, _, IS_JOINED) = range(41)  # fmt: skip
NUMBERS = 41
COLUMNS = "q1 " * 9
MAC = timing.RATES + VOPS["mac"]
PLAYED, STEPS = 32, 512  # mappings of a kernel that are played tile by tile, and how many steps of each


@dataclass(frozen=True, slots=True)
class Candidates:
    """Columns of the candidate table."""

    tb: Ints
    tp: Ints
    tq: Ints
    tn: Ints
    tc: Ints
    outer: Ints
    rows_cores: Ints
    channel_cores: Ints
    batch_cores: Ints

    def take(self, keep: Any) -> Candidates:
        return Candidates(*(getattr(self, name)[keep] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Prices:
    """Candidates with so many slots: how many fit, which of them were priced, and their predicted cycles."""

    n_slots: int
    n_fitting: int
    table: Candidates
    cycles: Ints

    def mapping(self, i: int) -> Mapping:
        """Return a row as a Mapping."""
        t = self.table
        return Mapping(
            tb=int(t.tb[i]), tp=int(t.tp[i]), tq=int(t.tq[i]), tn=int(t.tn[i]), tc=int(t.tc[i]),
            channels_outer=int(t.outer[i]) == CHANNELS, depth_outer=int(t.outer[i]) == DEPTH,
            rows_cores=int(t.rows_cores[i]), channel_cores=int(t.channel_cores[i]), batch_cores=int(t.batch_cores[i]),
            slots=self.n_slots, predicted_cycles=int(self.cycles[i]),
        )  # fmt: skip


def tile(shape: Shape, chip: Chip, effort: int = EFFORT) -> Mapping:
    """Return the best mapping of a kernel. Raises DoesNotFit when not even the smallest tile fits."""
    return ranked(shape, chip, effort)[0]


@functools.lru_cache(maxsize=4096)
def ranked(shape: Shape, chip: Chip, effort: int = EFFORT) -> tuple[Mapping, ...]:
    """Return the best of the mappings that were played, at most EXACT of them; ties in the order of the candidates."""
    found = [table.mapping(int(i)) for table, rows in played(shape, chip, effort) for i in rows]
    return tuple(sorted(found, key=lambda mapping: mapping.predicted_cycles)[:EXACT])


def played(shape: Shape, chip: Chip, effort: int = EFFORT) -> tuple[tuple[Prices, Ints], ...]:
    """Return the tables of prices; the rows beside each, ranked first by the formula, are priced tile by tile."""
    tables = prices(shape, chip, effort)
    limit = sorted(int(c) for t in tables for c in np.sort(t.cycles)[:PLAYED])[:PLAYED][-1]
    found: list[tuple[Prices, Ints]] = []
    for table in tables:
        first = np.sort(np.argsort(table.cycles, kind="stable")[:PLAYED])
        first = first[table.cycles[first] <= limit]
        cycles = table.cycles.copy()
        cycles[first] = replay(shape, chip, table, first)
        found.append((Prices(table.n_slots, table.n_fitting, table.table, cycles), first))
    return tuple(found)


def replay(shape: Shape, chip: Chip, priced: Prices, rows: Ints) -> Ints:
    """Return the cycles of rows of a table, played tile by tile (replay.py); what is too long keeps its price."""
    m, table, cycles = machine_of(chip, shape.dtype), priced.table.take(rows), priced.cycles[rows]
    run = native("planner.replay", "replay_table", f"d1 q1 {COLUMNS}q2 d2 d1 d1 q1")
    counts, times = np.zeros((10 + 5 + 64, 6), np.int64), np.zeros((8, 3 * STEPS + 8))
    columns_of = tuple(getattr(table, name) for name in Candidates.__slots__)
    run(_numbers(shape, chip, m, priced.n_slots), m, *columns_of, counts, times, np.zeros(4), np.zeros(4), cycles)
    return cycles


def prices(shape: Shape, chip: Chip, effort: int = EFFORT) -> tuple[Prices, ...]:
    """Return the table of candidates that fit and their predicted cycles, for two slots and for one.

    Raises DoesNotFit where none fits.
    """
    m = machine_of(chip, shape.dtype)
    table = candidates(shape, chip, m)
    found: list[Prices] = []
    for slots in slots_of(chip):
        size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc, kept=kept(shape, table))
        fits = local_bytes(shape, size, slots, chip) <= chip.local.size_bytes
        fits &= size.sums + size.scratch <= chip.local.accumulator_bytes // 4
        if fits.any():
            some = _largest(table.take(fits), effort)
            found.append(Prices(slots, int(fits.sum()), some, price(shape, chip, m, some, slots)))
    if not found:
        raise _does_not_fit(shape, chip, table)
    return tuple(found)


def _largest(table: Candidates, effort: int) -> Candidates:
    """Return the `effort` candidates with the largest tiles, in their order."""
    if len(table.tb) <= effort:
        return table
    volume = table.tb * table.tp * table.tq * table.tn * table.tc
    return table.take(np.sort(np.argsort(-volume, kind="stable")[:effort]))


def kept(shape: Shape, table: Candidates) -> Ints:
    """Return of how many channel tiles the accumulator holds the sums: of all with the depth outermost."""
    own = -(-shape.grid[3] // (table.tn * table.channel_cores))
    return np.where(table.outer == DEPTH, own, 1)


def candidates(shape: Shape, chip: Chip, m: Ints) -> Candidates:
    """Return every legal combination of tile sizes, order and cores as columns."""
    b, p, q, n = shape.grid
    rows = _row_tiles(b, p, q, shape.pool)
    channels = [n] if shape.whole_lanes else _channel_tiles(n, m, shape)
    depths = _depth_tiles(shape, depth(m) or 1)
    orders = (CHANNELS, ROWS, DEPTH) if shape.kind == "matmul" else (ROWS,)
    cores = chip.cores.count
    shares = _core_grids(cores)
    tb, tp, tq = np.array(rows, np.int64).T
    axes = np.meshgrid(np.arange(len(rows)), channels, depths, orders, np.arange(len(shares)), indexing="ij")
    row, tn, tc, outer, share = (axis.reshape(-1) for axis in axes)
    tb, tp, tq = tb[row], tp[row], tq[row]
    rows_cores, channel_cores = np.array(shares, np.int64).T[:, share]
    legal = (rows_cores <= -(-p // tp)) & (channel_cores <= -(-n // tn))
    batch_cores = np.minimum(-(-b // tb), cores // (rows_cores * channel_cores))
    if shape.kind == "matmul":
        legal &= _differs(shape, outer, tn, tc, channel_cores, tb * tp * tq)
    if shape.second is not None:  # a tile has one second operand, and one row of ones
        legal &= (tb == 1) & ((tp == 1) | (not shape.second.is_nested))
    for axis, own in (("n", channel_cores), ("p", rows_cores)):
        if axis in shape.unshared:
            legal &= own == 1
    if "b" in shape.unshared:
        batch_cores[:] = 1
    if shape.one_image:
        legal &= tb == 1
    return Candidates(tb, tp, tq, tn, tc, outer, rows_cores, channel_cores, batch_cores).take(legal)


def _differs(shape: Shape, outer: Ints, tn: Ints, tc: Ints, channel_cores: Ints, rows: Ints) -> NDArray[np.bool_]:
    """Return where an order of loops is not another one again: loops of one iteration and loads in all are the same."""
    b, p, q, n = shape.grid
    has_channels, has_depth = n > tn * channel_cores, tc < shape.source[3]
    has_both = (rows < b * p * q) & (has_channels | (shape.blocks > 1))
    deep = has_channels & has_depth & (shape.second is None)
    return (outer == CHANNELS) | ((outer == ROWS) & has_both & ~has_depth) | ((outer == DEPTH) & deep)


def _row_tiles(b: int, p: int, q: int, pool: tuple[int, int]) -> list[tuple[int, int, int]]:
    heights = {min(p, max(1, t)) for t in (*(1 << i for i in range(14)), *(ceil_div(p, d) for d in range(1, 9)))}
    heights = {p if t >= p else ceil_div(t, pool[0]) * pool[0] for t in heights}
    heights = {t for t in heights if t <= p and t % pool[0] == 0} or {p}
    widths = {q} | {ceil_div(ceil_div(q, 1 << d), pool[1]) * pool[1] for d in range(1, 15) if q >> d}
    found = [(1, tp, tq) for tp in heights for tq in widths if tq <= q]
    found += [(tb, p, q) for i in range(1, 11) if (tb := min(b, 1 << i)) > 1 and p % pool[0] == 0]
    return sorted(set(found))


def _channel_tiles(n: int, m: Ints, shape: Shape) -> list[int]:
    step = _wide(m) if shape.kind == "matmul" else int(m[timing.LANES])
    return sorted({n, *(step << i for i in range(14) if step << i < n)})


def wide_of(chip: Chip, dtype: str) -> int:
    """Return how many output channels the matrix unit computes side by side."""
    return _wide(machine_of(chip, dtype))


def _wide(m: Ints) -> int:
    return columns(m) or int(m[timing.NATIVE_N]) or int(m[timing.COLUMNS])


def _depth_tiles(shape: Shape, fold: int) -> list[int]:
    """Return the channels summed at a time: any number of folds of a matrix product, divisors under a window."""
    c = shape.source[3]
    if shape.kind != "matmul":
        return [c]
    cut = [fold << i for i in range(14) if fold << i < c and fold << i >= 8]
    if shape.window != (1, 1):
        cut = [t for t in {*cut, *(c // d for d in (2, 3, 4, 6, 8, 12, 16) if c % d == 0)} if t and c % t == 0]
    return sorted({c, *cut})


def _core_grids(cores: int) -> list[tuple[int, int]]:
    """Return grids of cores: all of them with few or many along the channels, and small ones for small kernels."""
    wide = [w for w in (1, 2, 4, 6, 9, 12, 16, 32, 64) if w <= cores]
    grids = {(cores // w, w) for w in wide} | {(1, cores)}
    grids |= {(r, w) for r in (1, 4, 16, 32) for w in (1, 4, 16, 32) if r * w <= cores}
    return sorted(grids)


def price(shape: Shape, chip: Chip, m: Ints, table: Candidates, slots: int) -> Ints:
    """Return the predicted cycles of each candidate: output tiles times the longest of what one tile keeps busy.

    Beside the time of each unit that is the way round each double buffer: a tile of n slots is loaded, waited for and
    used once in n periods. The first tile passes all units one after the other. Far memory moves all bytes, and waits
    for the units behind its last load as long as it has no finished tile to store.
    """
    columns_of = tuple(getattr(table, name) for name in Candidates.__slots__)
    cycles, room = np.empty(len(table.tb), np.int64), np.empty(len(table.tb))
    run = native("planner.prices", "price_table", f"d1 q1 {COLUMNS}d1 q1")
    run(_numbers(shape, chip, m, slots), m, *columns_of, room, cycles)
    return cycles


def _numbers(shape: Shape, chip: Chip, m: Ints, slots: int) -> NDArray[np.float64]:
    """Return what the formula needs of the shape and the chip beside the machine array."""
    x = np.zeros(NUMBERS)
    matmul, (r, s) = shape.kind == "matmul", shape.window
    x[B : N + 1], x[SOURCE_CHANNELS] = shape.grid, shape.source[3]
    x[WINDOW : WINDOW + 2], x[STRIDE : STRIDE + 2] = shape.window, shape.stride
    x[DILATION : DILATION + 2], x[POOL : POOL + 2] = shape.dilation, shape.pool
    lane = PARAMETER_BYTES if shape.is_integer else BIAS_BYTES
    x[LANE_BYTES] = (lane + 4 * shape.whole_lanes) * shape.parameters_per_lane
    x[TAP_BYTES] = 0 if matmul else r * s * shape.element_bytes
    x[VECTOR_TAPS] = r * s if shape.kind == "vector" and shape.window != (1, 1) else 0
    x[ELEMENT_BYTES], x[IS_MATMUL], x[LOADS_SOURCE] = shape.element_bytes, matmul, shape.loads_source
    x[PASSES], x[SCRATCH], x[WHOLE_LANES] = shape.passes, shape.scratch, shape.whole_lanes
    x[SIDE_BYTES], x[SIDE_INPUTS], x[TABLE_BYTES] = shape.side_bytes, shape.side_inputs, shape.table_bytes
    x[FAR_SOURCE], x[FAR_OUTPUT] = (level == 0 for level in shape.levels)
    x[SLOTS], x[FILL], x[HAS_SHARED] = slots, timing.matmul_latency(m), bool(chip.shared)
    x[BLOCKS] = shape.blocks
    joins = not matmul and shape.side_inputs > 0 and shape.grid[1:] != shape.source[1:]
    x[IS_JOINED] = joins and shape.window == (1, 1)  # sides lie beside the source
    x[PADDING : PADDING + 2], x[SOURCE_ROWS : SOURCE_ROWS + 2] = shape.padding, shape.source[1:3]
    if shape.second is not None:
        axes = shape.second.batch_axes
        x[BATCHES] = 2 if "p" in axes else len(axes)
        x[ONES], x[ROW_SUMS] = shape.second.has_ones, shape.second.sums_rows
    x[ACCUMULATOR_WORDS], x[IS_ROW_PACKED] = chip.local.accumulator_bytes // 4, chip.matrix.row_packing == "CRS"
    return x


def _does_not_fit(shape: Shape, chip: Chip, table: Candidates) -> DoesNotFit:
    size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc, kept=kept(shape, table))
    need = int(np.min(local_bytes(shape, size, 1, chip)))
    words = int(np.min(size.sums + size.scratch)) * 4
    if words > chip.local.accumulator_bytes:
        fact, limit = f"smallest tile needs {words} bytes of accumulator", chip.local.accumulator_bytes
        key, value = "local.accumulator", words
    else:
        fact, limit, key, value = (
            f"smallest tile needs {need} bytes of local memory",
            chip.local.size_bytes,
            "local.size",
            need,
        )
    bigger = f"Try --set {key}={-(-value // 1024)}KiB, or int8 weights"
    return DoesNotFit("OC2101", shape.kind, fact, limit=f"chip '{chip.name}' has {limit}", next=bigger)
