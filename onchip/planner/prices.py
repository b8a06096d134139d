"""The formula that ranks mappings, as one compiled loop over the table of candidates.

In: numbers of the shape and the chip (`tile.price` lists them), the machine array, and columns of candidates. Out: the
predicted cycles of each. Loaded as kept machine code (isa/native.py).
Everything is float64: sizes are whole numbers below 2**50, so that quotients round up exactly (`up`), and the lanes of
one vector instruction work on as many candidates. The same in NumPy, integers as integers, stands in the tests.
"""

# pyright: basic

from __future__ import annotations

import math

from numba import njit

from onchip.isa import timing
from onchip.isa.native import OPTIONS
from onchip.planner.tile import (
    ACCUMULATOR_WORDS,
    BATCHES,
    BLOCKS,
    CHANNELS,
    DEPTH,
    DILATION,
    ELEMENT_BYTES,
    FAR_OUTPUT,
    FAR_SOURCE,
    FILL,
    HAS_SHARED,
    IS_MATMUL,
    IS_ROW_PACKED,
    LANE_BYTES,
    LOADS_SOURCE,
    MAC,
    ONES,
    PASSES,
    POOL,
    ROW_INSTRUCTIONS,
    ROW_SUMS,
    SCRATCH,
    SIDE_BYTES,
    SIDE_INPUTS,
    SLOTS,
    SOURCE_CHANNELS,
    STRIDE,
    TABLE_BYTES,
    TAP_BYTES,
    VECTOR_TAPS,
    WHOLE_LANES,
    WINDOW,
    B,
    N,
    P,
    Q,
)  # fmt: skip

inner = njit(**OPTIONS)
NEST = 4.0  # cycles in which a step's loops are entered: no weights are loaded meanwhile


@inner
def up(a, b):
    return math.ceil(a / b)


@inner
def covered(extent, tiles):
    """Return the share of whole tiles that lies inside the extent."""
    return min(extent, tiles) / tiles


@inner
def weight_cycles(x, m):
    """Cycles of one load of an array's weights; 0 where the array reads them while it multiplies."""
    if m[timing.DATAFLOW] != timing.WEIGHT_STATIONARY:
        return 0.0
    height, width = 1.0 * m[timing.ROWS], 1.0 * m[timing.COLUMNS] * m[timing.UNITS]
    return max(height, height * width * x[ELEMENT_BYTES] * m[timing.WEIGHT_DEN] / m[timing.WEIGHT_NUM])


@inner
def array_cycles(x, m, tb, tp, tq, tn, tc, step):
    """Cycles of the array for one tile and one depth tile."""
    taps, es = x[WINDOW] * x[WINDOW + 1], x[ELEMENT_BYTES]
    reading, read_rate = m[timing.READ_DEN], m[timing.READ_NUM]
    if m[timing.DATAFLOW] == timing.WEIGHT_STATIONARY:
        height, width = 1.0 * m[timing.ROWS], 1.0 * m[timing.COLUMNS] * m[timing.UNITS]
        load = weight_cycles(x, m)
        outside, depth = (1.0, taps) if x[IS_ROW_PACKED] else (taps, 1.0)
        serial = m[timing.SERIAL] != 0
        for i in range(len(step)):
            rows = 1.0 * tb[i] * tp[i] * tq[i] + x[ONES]
            folds = outside * up(depth * tc[i], height)
            rows = max(rows, rows * min(taps * tc[i], height) * es * reading / read_rate)
            passes = folds * (up(tn[i], width) + x[ROW_SUMS])
            step[i] = (
                passes * (rows + load + height + width - 2) if serial else max(passes * rows, passes * load + NEST)
            )
        return
    stationary = m[timing.DATAFLOW] == timing.OUTPUT_STATIONARY
    height = 1.0 * (m[timing.ROWS] if stationary else m[timing.NATIVE_M])
    width = 1.0 * (m[timing.COLUMNS] * m[timing.UNITS] if stationary else m[timing.NATIVE_N])
    deep = 1.0 if stationary else 1.0 * m[timing.NATIVE_K]
    units = 1.0 if stationary else 1.0 * m[timing.UNITS]
    for i in range(len(step)):
        rows, k = 1.0 * tb[i] * tp[i] * tq[i] + x[ONES], taps * tc[i]
        read = (rows * k + k * tn[i]) * es * reading / read_rate
        step[i] = max(up(up(rows, height) * (up(tn[i], width) + x[ROW_SUMS]) * up(k, deep), units), read)


@inner
def vector_cycles(x, m, rows, n):
    """Cycles of the vector unit on one tile: passes over its lanes, taps of a window, words per row.

    An instruction takes as long as its operands need on the ports: the source where the vector unit reads it, each side
    input once, the taps' weights, and the output.
    """
    lanes, one = 1.0 * m[timing.LANES], rows * n * x[ELEMENT_BYTES]
    each, read = rows * up(n, lanes), one * m[timing.READ_DEN] / m[timing.READ_NUM]
    written = one * m[timing.WRITE_DEN] / m[timing.WRITE_NUM]
    operands = 2.0 if x[LANE_BYTES] > 0 else 1.0
    taps = x[VECTOR_TAPS] * (max(rows * up(n, m[MAC]), operands * read) + timing.VECTOR_LATENCY)
    cycles = x[PASSES] * (each + timing.VECTOR_LATENCY) + 4 + taps
    cycles += x[WHOLE_LANES] * ROW_INSTRUCTIONS * (up(rows, lanes) + timing.VECTOR_LATENCY)
    reads = x[SIDE_INPUTS] + (x[LOADS_SOURCE] if x[IS_MATMUL] == 0 and x[VECTOR_TAPS] == 0 else 0.0)
    return cycles + reads * max(0.0, read - each) + max(0.0, written - each)


@inner
def far_cycles(m, dram, shared, active):
    rate = min(m[timing.DRAM_NUM] / m[timing.DRAM_DEN] / active, m[timing.CORE_NUM] / m[timing.CORE_DEN])
    cycles = dram / rate
    if m[timing.SHARED_NUM] != 0:
        cycles = max(cycles, shared * active * m[timing.SHARED_DEN] / m[timing.SHARED_NUM])
    return cycles


@inner
def far_bytes(x, loads, weights, down, along, images):
    """Bytes of a core that come from far: what a shared memory keeps for other cores counts once."""
    if x[HAS_SHARED] == 0:
        return x[FAR_SOURCE] * loads + weights
    alike = down * images if x[BATCHES] == 0 else (down if x[BATCHES] == 1 else 1.0)
    return x[FAR_SOURCE] * loads / along + weights / alike


def price_table(x, m, tb, tp, tq, tn, tc, outer, rows_cores, channel_cores, batch_cores, step, cycles):
    """Write the predicted cycles of each candidate; `step` is room. See `tile.price` for what they mean."""
    matmul, slots, latency, fill = x[IS_MATMUL] != 0, x[SLOTS], 1.0 * m[timing.DRAM_LATENCY], x[FILL]
    if matmul:
        array_cycles(x, m, tb, tp, tq, tn, tc, step)
    else:
        fill = 0.0
        step[:] = 0.0
    # beside the array a slot is held while its weights are loaded; a serial array's own cycles have that
    shadow = weight_cycles(x, m) if matmul and m[timing.SERIAL] == 0 else 0.0
    shared, es, taps = x[HAS_SHARED] != 0, x[ELEMENT_BYTES], x[WINDOW] * x[WINDOW + 1]
    for i in range(len(cycles)):
        b, p, q, n, c, down, along, images = (
            1.0 * tb[i], 1.0 * tp[i], 1.0 * tq[i], 1.0 * tn[i], 1.0 * tc[i],
            1.0 * rows_cores[i], 1.0 * channel_cores[i], 1.0 * batch_cores[i],
        )  # fmt: skip
        active, rows = down * along * images, b * p * q
        nb, np_ = up(up(x[B], b), images), up(up(x[P], p), down)
        deep, again = outer[i] == DEPTH, outer[i] == CHANNELS
        nq, whole_n, nk = up(x[Q], q), up(up(x[N], n), along), up(x[SOURCE_CHANNELS], c) if matmul else 1.0
        # what one tile moves
        height = (p - 1) * x[STRIDE] + (x[WINDOW] - 1) * x[DILATION] + 1
        width = (q - 1) * x[STRIDE + 1] + (x[WINDOW + 1] - 1) * x[DILATION + 1] + 1
        source = (b * height * width + x[ONES]) * (c if matmul else n) * es * x[LOADS_SOURCE]
        weight, parameters = taps * c * n * es if matmul else 0.0, n * (x[LANE_BYTES] + x[TAP_BYTES])
        sums, scratch = (
            (rows + x[ONES]) * n + rows * x[ROW_SUMS] if matmul else 0.0,
            rows * n * x[SCRATCH] + 16 * rows * x[WHOLE_LANES],
        )
        run = whole_n if deep else 1.0  # tiles that get done one behind the other
        # the last tile along an axis is cut: the average tile moves less than a whole one
        whole_rows = covered(x[B], nb * b) * covered(x[P], np_ * p) * covered(x[Q], nq * q)
        nn, whole_n, whole_k = x[BLOCKS] * whole_n, covered(x[N], whole_n * n), covered(x[SOURCE_CHANNELS], nk * c)
        tiles = nb * np_ * nq
        outputs = tiles * nn
        steps = outputs * nk
        source_loads = (
            (tiles * x[BLOCKS] * nk if deep else steps)
            if nk > 1
            else (x[BLOCKS] if tiles == 1 else (outputs if again else tiles * x[BLOCKS]))
        )
        batches = 1.0 if x[BATCHES] == 0 else (nb if x[BATCHES] == 1 else nb * np_)  # each has weights of its own
        weight_loads = steps if nk > 1 else (nn * batches if again or nn == 1 else outputs)
        loads = source * source_loads * whole_rows * (whole_k if matmul else whole_n)
        weights = weight * weight_loads * whole_n * whole_k
        from_far = far_bytes(x, loads, weights, down, along, images)
        ahead = far_cycles(m, from_far, loads + weights, active) / steps
        box = far_cycles(m, far_bytes(x, 0.0, weights, down, along, images), weights, active) / steps if deep else ahead
        whole = whole_rows * whole_n
        sides = rows * n * x[SIDE_BYTES] * x[SIDE_INPUTS] * whole
        sides += parameters * (weight_loads / steps if matmul and nk == 1 else 1.0)
        output = up(p, x[POOL]) * b * up(q, x[POOL + 1]) * n * es * whole
        beside, back = far_cycles(m, sides, sides, active), far_cycles(m, x[FAR_OUTPUT] * output, output, active)
        # how long each unit takes for it
        array = step[i]
        vector = vector_cycles(x, m, rows, n)
        often = max(source_loads, weight_loads * matmul) / steps
        with_sums = (ahead + latency * often + shadow * weight_loads / steps + array + fill) / slots
        period = max(array, with_sums) if matmul else (ahead + beside + latency + vector) / slots
        sum_slots = 2.0 if slots == 2 and 2 * sums * run + scratch <= x[ACCUMULATOR_WORDS] else 1.0
        late, gap = max(vector, (vector + back) / slots), period if deep else nk * period
        behind = (run - 1) * max(0.0, late - gap)  # finished tiles wait for the vector unit
        last = shadow + array + fill + vector + behind
        together = nk * array + (fill + vector + behind) / run if matmul else 0.0
        busy = max(nk * period, late, together / sum_slots)
        busy = max(busy, (beside + latency + vector) / slots) if x[SIDE_INPUTS] > 0 else busy
        near = weight + sides + x[TABLE_BYTES] / (active if shared else 1.0)
        first = far_cycles(m, x[FAR_SOURCE] * source + near, source + near, active) + latency
        units = first + (outputs - 1) * busy + (nk - 1) * period + last + back
        # far memory behind its last load: it stores the tiles that got done since that began, at their pace
        pace = max(gap, late, box + beside if deep else nk * ahead + beside + back, 1.0)
        stored = min((run if deep else outputs) - 1, math.floor((last + box) / pace))
        idle = max(0.0, last - stored * min(pace, back))
        # with the depth outermost nothing is stored before the last depth tile, but tiles of the rows before
        idle += run * max(0.0, nk * (period - ahead) - (back if tiles > 1 else 0.0)) if deep else 0.0
        cycles[i] = math.ceil(max(units, outputs * (nk * ahead + beside + back) + latency + idle))
    return 0
