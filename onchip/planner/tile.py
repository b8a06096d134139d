"""The mapping search: tile sizes, loop order, cores and buffering of one kernel.

In: a kernel's Shape, the chip, an effort (how many mappings are priced). Out: the Mapping that the formula ranks first,
ties broken by the order of the candidates, so the same input gives the same Program.
The formula is the longest of array, vector and memory time plus what cannot overlap; it only ranks. The cycles that are
reported come from running the chosen program.
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
from onchip.planner.buffers import local_bytes, sizes

EFFORT = 1000  # mappings priced per kernel; `full` prices every candidate
EXACT = 8  # mappings of a kernel that are priced exactly where the effort allows it (docs/decisions/0008)
ROW_INSTRUCTIONS = 40  # of softmax and layer norm on one value a row: they only rank
Ints = NDArray[np.int64]


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

    def take(self, keep: Any) -> Candidates:
        return Candidates(*(getattr(self, name)[keep] for name in self.__slots__))


def tile(shape: Shape, chip: Chip, effort: int = EFFORT) -> Mapping:
    """Return the best mapping of a kernel. Raises DoesNotFit when not even the smallest tile fits."""
    return ranked(shape, chip, effort)[0]


@functools.lru_cache(maxsize=4096)
def ranked(shape: Shape, chip: Chip, effort: int = EFFORT) -> tuple[Mapping, ...]:
    """Return the best mappings by the formula, at most EXACT of them; ties in the order of the candidates."""
    m = machine_of(chip, shape.dtype)
    table = candidates(shape, chip, m)
    found: list[Mapping] = []
    for slots in (2, 1):
        size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc)
        fits = local_bytes(shape, size, slots, chip) <= chip.local.size_bytes
        fits &= size.sums + size.scratch <= chip.local.accumulator_bytes // 4
        if fits.any():
            found += _best(shape, chip, m, table.take(fits), slots, effort)
    if not found:
        raise _does_not_fit(shape, chip, table)
    return tuple(sorted(found, key=lambda mapping: mapping.predicted_cycles)[:EXACT])


def _best(shape: Shape, chip: Chip, m: Ints, table: Candidates, slots: int, effort: int) -> list[Mapping]:
    if len(table.tb) > effort:
        volume = table.tb * table.tp * table.tq * table.tn * table.tc
        table = table.take(np.sort(np.argsort(-volume, kind="stable")[:effort]))
    cycles = price(shape, chip, m, table, slots)
    axis = "b" if shape.grid[0] > 1 else "p"
    return [
        Mapping(
            tb=int(table.tb[i]), tp=int(table.tp[i]), tq=int(table.tq[i]), tn=int(table.tn[i]), tc=int(table.tc[i]),
            channels_outer=bool(table.outer[i]), rows_cores=int(table.rows_cores[i]),
            channel_cores=int(table.channel_cores[i]), core_axis=axis, slots=slots, predicted_cycles=int(cycles[i]),
        )
        for i in np.argsort(cycles, kind="stable")[:EXACT]
    ]  # fmt: skip


def candidates(shape: Shape, chip: Chip, m: Ints) -> Candidates:
    """Return every legal combination of tile sizes, order and cores as columns."""
    b, p, q, n = shape.grid
    rows = _row_tiles(b, p, q, shape.pool)
    channels = [n] if shape.whole_lanes else _channel_tiles(n, m, shape)
    depths = _depth_tiles(shape, depth(m) or 1)
    orders = (1, 0) if shape.kind == "matmul" else (0,)
    shares = _core_grids(chip.cores.count)
    tb, tp, tq = np.array(rows, np.int64).T
    axes = np.meshgrid(np.arange(len(rows)), channels, depths, orders, np.arange(len(shares)), indexing="ij")
    row, tn, tc, outer, share = (axis.reshape(-1) for axis in axes)
    tb, tp, tq = tb[row], tp[row], tq[row]
    rows_cores, channel_cores = np.array(shares, np.int64).T[:, share]
    tiles = -(-b // tb) if b > 1 else -(-p // tp)
    legal = (rows_cores <= tiles) & (channel_cores <= -(-n // tn))
    if shape.unshared:
        legal &= (channel_cores == 1) if shape.unshared == "n" else (rows_cores == 1) | (b > 1)
    return Candidates(tb, tp, tq, tn, tc, outer, rows_cores, channel_cores).take(legal)


def _row_tiles(b: int, p: int, q: int, pool: tuple[int, int]) -> list[tuple[int, int, int]]:
    heights = {min(p, max(1, t)) for t in (*(1 << i for i in range(14)), *(ceil_div(p, d) for d in range(1, 9)))}
    heights = {p if t >= p else ceil_div(t, pool[0]) * pool[0] for t in heights}
    heights = {t for t in heights if t <= p and t % pool[0] == 0} or {p}
    widths = {q} | {ceil_div(ceil_div(q, 1 << d), pool[1]) * pool[1] for d in range(1, 15) if q >> d}
    found = [(1, tp, tq) for tp in heights for tq in widths if tq <= q]
    found += [(tb, p, q) for i in range(1, 11) if (tb := min(b, 1 << i)) > 1 and p % pool[0] == 0]
    return sorted(set(found))


def _channel_tiles(n: int, m: Ints, shape: Shape) -> list[int]:
    step = columns(m) or int(m[timing.NATIVE_N]) or int(m[timing.COLUMNS])
    step = step if shape.kind == "matmul" else int(m[timing.LANES])
    return sorted({n, *(step << i for i in range(14) if step << i < n)})


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
    used once in n periods. The first tile passes all units one after the other.
    """
    b, p, q, n = shape.grid
    batch_cores = table.rows_cores if b > 1 else 1
    row_cores = table.rows_cores if b == 1 else 1
    nb, np_ = _up(_up(b, table.tb), batch_cores), _up(_up(p, table.tp), row_cores)
    nq, nn, nk = _up(q, table.tq), _up(_up(n, table.tn), table.channel_cores), _up(shape.source[3], table.tc)
    nk = nk if shape.kind == "matmul" else 1
    outputs, rows = nb * np_ * nq * nn, table.tb * table.tp * table.tq
    size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc, line=1)
    step, vector = _array_cycles(shape, chip, m, rows, table.tn, table.tc), _vector_cycles(shape, m, rows, table.tn)
    # the last tile along an axis is cut: the average tile moves less than a whole one
    whole_rows = _covered(b, nb * table.tb) * _covered(p, np_ * table.tp) * _covered(q, nq * table.tq)
    whole_n, whole_k = _covered(n, nn * table.tn), _covered(shape.source[3], nk * table.tc)
    tiles = nb * np_ * nq
    steps = outputs * nk
    source_loads = np.where(nk > 1, steps, np.where(tiles == 1, 1, np.where(table.outer == 1, outputs, tiles)))
    weight_loads = np.where(nk > 1, steps, np.where(nn == 1, 1, np.where(table.outer == 1, nn, outputs)))
    source_share, weight_share = (table.channel_cores, table.rows_cores) if chip.shared else (1, 1)
    loads = size.source * source_loads * whole_rows * (whole_k if shape.kind == "matmul" else whole_n)
    weights = size.weights * weight_loads * whole_n * whole_k
    active = table.rows_cores * table.channel_cores
    far_source, far_output = (int(level == 0) for level in shape.levels)
    ahead = _far_cycles(m, far_source * loads / source_share + weights / weight_share, loads + weights, active) / steps
    whole = whole_rows * whole_n
    sides = size.sides * whole + (size.parameters if shape.kind != "matmul" else 0)
    output = size.output * whole
    beside, back = _far_cycles(m, sides, sides, active), _far_cycles(m, far_output * output, output, active)
    latency, fill = int(m[timing.DRAM_LATENCY]), timing.matmul_latency(m)
    often = np.maximum(source_loads, weight_loads * (shape.kind == "matmul")) / steps
    period = np.maximum(np.maximum(step, ahead), (ahead + latency * often + step + fill) / slots)
    if shape.kind != "matmul":
        period = np.maximum(ahead, (ahead + beside + latency + vector) / slots)
    words = chip.local.accumulator_bytes // 4
    sum_slots = np.where((slots == 2) & (2 * size.sums + size.scratch <= words), 2, 1)
    together = nk * step + fill + vector if shape.kind == "matmul" else 0 * vector
    busy = np.maximum(np.maximum(nk * period, vector), nk * ahead + beside + back)
    busy = np.maximum(busy, np.maximum((vector + back) / slots, together / sum_slots))
    busy = np.maximum(busy, (beside + latency + vector) / slots) if shape.side_inputs else busy
    near = size.weights + sides + size.parameters + shape.table_bytes / (active if chip.shared else 1)
    first = _far_cycles(m, far_source * size.source + near, size.source + near, active) + latency
    once = first + (nk - 1) * period + step + fill * (shape.kind == "matmul") + vector + back
    return np.ceil((outputs - 1) * busy + once).astype(np.int64)


def _vector_cycles(shape: Shape, m: Ints, rows: Any, tn: Any) -> Any:
    """Cycles of the vector unit for one tile: passes over its lanes, one per tap of a window, words per row."""
    taps = shape.window[0] * shape.window[1] if shape.kind == "vector" and shape.window != (1, 1) else 0
    lanes, one = int(m[timing.LANES]), timing.VECTOR_LATENCY
    cycles = (shape.passes + taps) * (rows * _up(tn, lanes) + one) + 4
    return cycles + shape.whole_lanes * ROW_INSTRUCTIONS * (_up(rows, lanes) + one)


def _covered(extent: int, tiles: Any) -> Any:
    """Return the share of whole tiles that lies inside the extent."""
    return np.minimum(extent, tiles) / tiles


def _up(a: Any, b: Any) -> Any:
    return -(-a // b)


def _far_cycles(m: Ints, dram: Any, shared: Any, active: Any) -> Any:
    rate = np.minimum(m[timing.DRAM_NUM] / m[timing.DRAM_DEN] / active, m[timing.CORE_NUM] / m[timing.CORE_DEN])
    cycles = dram / rate
    if m[timing.SHARED_NUM]:
        cycles = np.maximum(cycles, shared * active * m[timing.SHARED_DEN] / m[timing.SHARED_NUM])
    return cycles


def _array_cycles(shape: Shape, chip: Chip, m: Ints, rows: Any, tn: Any, tc: Any) -> Any:
    """Cycles of the array for one tile and one depth tile."""
    if shape.kind != "matmul":
        return 0 * rows
    taps = shape.window[0] * shape.window[1]
    k, es = taps * tc, shape.element_bytes
    if m[timing.DATAFLOW] == timing.WEIGHT_STATIONARY:
        height, width = depth(m), columns(m)
        folds = _up(k, height) if chip.matrix.row_packing == "CRS" else taps * _up(tc, height)
        read = rows * np.minimum(k, height) * es * m[timing.READ_DEN] / m[timing.READ_NUM]
        load = height * width * es * m[timing.WEIGHT_DEN] / m[timing.WEIGHT_NUM]
        one = np.maximum(np.maximum(rows, read), np.maximum(height, load))
        if m[timing.SERIAL]:
            one = np.maximum(rows, read) + np.maximum(height, load) + height + width - 2
        return folds * _up(tn, width) * one
    read = (rows * k + k * tn) * es * m[timing.READ_DEN] / m[timing.READ_NUM]
    if m[timing.DATAFLOW] == timing.OUTPUT_STATIONARY:
        blocks = _up(rows, int(m[timing.ROWS])) * _up(tn, int(m[timing.COLUMNS] * m[timing.UNITS]))
        return np.maximum(blocks * k, read)
    native = _up(rows, int(m[timing.NATIVE_M])) * _up(tn, int(m[timing.NATIVE_N])) * _up(k, int(m[timing.NATIVE_K]))
    return np.maximum(_up(native, int(m[timing.UNITS])), read)


def _does_not_fit(shape: Shape, chip: Chip, table: Candidates) -> DoesNotFit:
    size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc)
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
