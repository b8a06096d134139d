"""The formula that ranks mappings, in NumPy: the plain witness of `onchip/planner/prices.py`."""

# pyright: basic

from __future__ import annotations

from typing import Any

import numpy as np

from onchip.chip import Chip
from onchip.ir.plan import Shape
from onchip.isa import timing
from onchip.isa.machine import columns, depth
from onchip.planner.buffers import sizes
from onchip.planner.tile import CHANNELS, DEPTH, MAC, ROW_INSTRUCTIONS, Candidates, Ints


def plain_price(shape: Shape, chip: Chip, m: Ints, table: Candidates, slots: int) -> Ints:
    """Return the predicted cycles of each candidate: output tiles times the longest of what one tile keeps busy.

    Beside the time of each unit that is the way round each double buffer: a tile of n slots is loaded, waited for and
    used once in n periods. The first tile passes all units one after the other. Far memory moves all bytes, and waits
    for the units behind its last load as long as it has no finished tile to store.
    """
    b, p, q, n = shape.grid
    nb, np_ = _up(_up(b, table.tb), table.batch_cores), _up(_up(p, table.tp), table.rows_cores)
    nq, per_block, nk = _up(q, table.tq), _up(_up(n, table.tn), table.channel_cores), _up(shape.source[3], table.tc)
    nn = shape.blocks * per_block
    nk = nk if shape.kind == "matmul" else 1
    outputs, rows = nb * np_ * nq * nn, table.tb * table.tp * table.tq
    size = sizes(shape, table.tb, table.tp, table.tq, table.tn, table.tc, line=1)
    step, vector = _array_cycles(shape, chip, m, rows, table.tn, table.tc), _vector_cycles(shape, m, rows, table.tn)
    # the last tile along an axis is cut: the average tile moves less than a whole one
    whole_rows = _covered(b, nb * table.tb) * _covered(p, np_ * table.tp) * _covered(q, nq * table.tq)
    whole_n, whole_k = _covered(n, per_block * table.tn), _covered(shape.source[3], nk * table.tc)
    tiles = nb * np_ * nq
    steps = outputs * nk
    deep, run = table.outer == DEPTH, np.where(table.outer == DEPTH, per_block, 1)
    again = np.where(table.outer == CHANNELS, outputs, tiles * shape.blocks)  # a block has a source of its own
    once = np.where(deep, tiles * shape.blocks * nk, steps)
    source_loads = np.where(nk > 1, once, np.where(tiles == 1, shape.blocks, again))
    second = shape.second
    batches = 1 if second is None or not second.batch_axes else nb * (np_ if "p" in second.batch_axes else 1)
    loaded = np.where((nn == 1) | (table.outer == CHANNELS), nn * batches, outputs)
    weight_loads = np.where(nk > 1, steps, loaded)
    source_share = table.channel_cores if chip.shared else 1
    axes = () if second is None else second.batch_axes
    alike = (table.rows_cores if "p" not in axes else 1) * (table.batch_cores if not axes else 1)
    weight_share = alike if chip.shared else 1
    loads = size.source * source_loads * whole_rows * (whole_k if shape.kind == "matmul" else whole_n)
    weights = size.weights * weight_loads * whole_n * whole_k
    active = table.rows_cores * table.channel_cores * table.batch_cores
    far_source, far_output = (int(level == 0) for level in shape.levels)
    ahead = _far_cycles(m, far_source * loads / source_share + weights / weight_share, loads + weights, active) / steps
    whole = whole_rows * whole_n
    often = np.where(nk == 1, weight_loads / steps, 1) if shape.kind == "matmul" else 1
    box = np.where(deep, _far_cycles(m, weights / weight_share, weights, active) / steps, ahead)
    sides = size.sides * whole + size.parameters * often
    output = size.output * whole
    beside, back = _far_cycles(m, sides, sides, active), _far_cycles(m, far_output * output, output, active)
    latency, fill = int(m[timing.DRAM_LATENCY]), timing.matmul_latency(m)
    often = np.maximum(source_loads, weight_loads * (shape.kind == "matmul")) / steps
    shadow = 0 if shape.kind != "matmul" or m[timing.SERIAL] else _weight_cycles(shape, m)
    turn = ahead + latency * often + shadow * weight_loads / steps + step + fill
    period = np.maximum(step, turn / slots)
    if shape.kind != "matmul":
        period, fill = (ahead + beside + latency + vector) / slots, 0
    words = chip.local.accumulator_bytes // 4
    sum_slots = np.where((slots == 2) & (2 * size.sums * run + size.scratch <= words), 2, 1)
    late, gap = np.maximum(vector, (vector + back) / slots), np.where(deep, period, nk * period)
    behind = (run - 1) * np.maximum(0, late - gap)  # finished tiles wait for the vector unit
    last = shadow + step + fill + vector + behind
    together = nk * step + (fill + vector + behind) / run if shape.kind == "matmul" else 0 * vector
    busy = np.maximum(np.maximum(nk * period, late), together / sum_slots)
    busy = np.maximum(busy, (beside + latency + vector) / slots) if shape.side_inputs else busy
    near = size.weights + sides + shape.table_bytes / (active if chip.shared else 1)
    first = _far_cycles(m, far_source * size.source + near, size.source + near, active) + latency
    units = first + (outputs - 1) * busy + (nk - 1) * period + last + back
    pace = np.maximum(np.maximum(gap, late), np.where(deep, box + beside, nk * ahead + beside + back))
    pace = np.maximum(pace, 1)
    stored = np.minimum(np.where(deep, run, outputs) - 1, np.floor((last + box) / pace))
    idle = np.maximum(0, last - stored * np.minimum(pace, back))
    slack = np.maximum(0, nk * (period - ahead) - np.where(tiles > 1, back, 0))
    far = outputs * (nk * ahead + beside + back) + latency + idle + np.where(deep, run * slack, 0)
    return np.ceil(np.maximum(units, far)).astype(np.int64)


def _vector_cycles(shape: Shape, m: Ints, rows: Any, tn: Any) -> Any:
    """Cycles of the vector unit for one tile: passes over its lanes, one per tap of a window, words per row."""
    taps = shape.window[0] * shape.window[1] if shape.kind == "vector" and shape.window != (1, 1) else 0
    lanes, one = int(m[timing.LANES]), timing.VECTOR_LATENCY
    size, each = rows * tn * shape.element_bytes, rows * _up(tn, lanes)
    read = size * m[timing.READ_DEN] / m[timing.READ_NUM]
    written = size * m[timing.WRITE_DEN] / m[timing.WRITE_NUM]
    operands = 2 if shape.parameters_per_lane else 1
    cycles = shape.passes * (each + one) + 4
    cycles = cycles + taps * (np.maximum(rows * _up(tn, int(m[MAC])), operands * read) + one)
    cycles = cycles + shape.whole_lanes * ROW_INSTRUCTIONS * (_up(rows, lanes) + one)
    reads = shape.side_inputs + (shape.loads_source if shape.kind != "matmul" and not taps else 0)
    return cycles + reads * np.maximum(0, read - each) + np.maximum(0, written - each)


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


def _weight_cycles(shape: Shape, m: Ints) -> float:
    """Cycles of one load of weights into the array; other dataflows read them while they multiply."""
    if m[timing.DATAFLOW] != timing.WEIGHT_STATIONARY:
        return 0.0
    whole = depth(m) * columns(m) * shape.element_bytes
    return max(depth(m), whole * m[timing.WEIGHT_DEN] / m[timing.WEIGHT_NUM])


def _array_cycles(shape: Shape, chip: Chip, m: Ints, rows: Any, tn: Any, tc: Any) -> Any:
    """Cycles of the array for one tile and one depth tile."""
    if shape.kind != "matmul":
        return 0 * rows
    taps = shape.window[0] * shape.window[1]
    k, es = taps * tc, shape.element_bytes
    ones, row_sums = (0, 0) if shape.second is None else (shape.second.has_ones, shape.second.sums_rows)
    rows = rows + ones
    if m[timing.DATAFLOW] == timing.WEIGHT_STATIONARY:
        height, width = depth(m), columns(m)
        folds = _up(k, height) if chip.matrix.row_packing == "CRS" else taps * _up(tc, height)
        read = rows * np.minimum(k, height) * es * m[timing.READ_DEN] / m[timing.READ_NUM]
        load, passes = _weight_cycles(shape, m), folds * (_up(tn, width) + row_sums)
        if m[timing.SERIAL]:
            return passes * (np.maximum(rows, read) + load + height + width - 2)
        return np.maximum(passes * np.maximum(rows, read), passes * load + 4)
    read = (rows * k + k * tn) * es * m[timing.READ_DEN] / m[timing.READ_NUM]
    if m[timing.DATAFLOW] == timing.OUTPUT_STATIONARY:
        blocks = _up(rows, int(m[timing.ROWS])) * (_up(tn, int(m[timing.COLUMNS] * m[timing.UNITS])) + row_sums)
        return np.maximum(blocks * k, read)
    native = _up(rows, int(m[timing.NATIVE_M])) * (_up(tn, int(m[timing.NATIVE_N])) + row_sums)
    native = native * _up(k, int(m[timing.NATIVE_K]))
    return np.maximum(_up(native, int(m[timing.UNITS])), read)
