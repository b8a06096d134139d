"""The mappings that the formula ranks first, played tile by tile: when each is loaded, multiplied, finished and stored.

In: numbers of the shape and the chip (`tile.py` lists them), the machine array, and columns of a few candidates with
their predicted cycles. Out: the cycles of each, in place of the prediction. Kept machine code (isa/native.py).
Promises: the same four streams as the program's, with its loads at their loop levels, its slots and credits, the last
tiles cut, far memory served in order of requests. What is longer than STEPS steps is played so far and goes on at the
same pace. Does not: know every instruction: a step's products and a tile's vector code are one piece each, a gather is
the box that it would be, and other inputs lie where the source lies.
"""

# pyright: basic

from __future__ import annotations

import math

import numpy as np
from numba import njit

from onchip.isa import timing
from onchip.isa.native import OPTIONS
from onchip.planner.prices import up, vector_cycles, weight_cycles
from onchip.planner.streams import (
    AB,
    AK,
    AN,
    AP,
    AQ,
    AXIS,
    COUNT,
    CREDITS,
    DONE,
    FINISHED,
    GROUPS,
    ITEMS,
    LEVEL,
    LOADED,
    MULTIPLIED,
    OUT,
    PARAMETERS,
    READER,
    SHARES,
    SIDES,
    SIGNALS,
    SOURCE,
    SPAN,
    STORED,
    SUMMED,
    TABLES,
    TILES,
    VOLUME,
    WEIGHTS,
    advance,
    credit,
    first_of,
    inside,
    own,
    part,
    set_groups,
    set_loops,
)  # fmt: skip
from onchip.planner.tile import (
    ACCUMULATOR_WORDS,
    BATCHES,
    DEPTH,
    DILATION,
    ELEMENT_BYTES,
    FAR_OUTPUT,
    FAR_SOURCE,
    FILL,
    HAS_SHARED,
    IS_JOINED,
    IS_MATMUL,
    IS_ROW_PACKED,
    LANE_BYTES,
    LOADS_SOURCE,
    ONES,
    PADDING,
    POOL,
    ROW_SUMS,
    SCRATCH,
    SIDE_BYTES,
    SIDE_INPUTS,
    SLOTS,
    SOURCE_CHANNELS,
    SOURCE_ROWS,
    STEPS,
    STRIDE,
    TABLE_BYTES,
    TAP_BYTES,
    WHOLE_LANES,
    WINDOW,
)  # fmt: skip

inner = njit(**OPTIONS)
RATE_FAR, RATE_NEAR = 0, 1


@inner
def far_rates(m, active, rates):
    """Write cycles per byte of both ports; the shared one is 0 where there is none."""
    rate = min(m[timing.DRAM_NUM] / m[timing.DRAM_DEN] / active, m[timing.CORE_NUM] / m[timing.CORE_DEN])
    rates[RATE_FAR] = 1.0 / rate
    rates[RATE_NEAR] = 0.0
    if m[timing.SHARED_NUM] != 0:
        rates[RATE_NEAR] = active * m[timing.SHARED_DEN] / m[timing.SHARED_NUM]


@inner
def move(rates, free, far, near):
    """Serve a request at time `free`; returns when its bytes have moved. Ports stand behind the rates."""
    finish = free
    if far > 0:
        rates[2] = max(rates[2], free) + far * rates[RATE_FAR]
        finish = max(finish, rates[2])
    if near > 0 and rates[RATE_NEAR] > 0:
        rates[3] = max(rates[3], free) + near * rates[RATE_NEAR]
        finish = max(finish, rates[3])
    return max(free + 1, math.ceil(finish))


@inner
def source_bytes(x, counts, row, matmul):
    """Bytes of a source tile that lie in the tensor; other cores than the first one have no padding in front."""
    tp, tq = counts[TILES, AP], counts[TILES, AQ]
    high = (tp - 1) * int(x[STRIDE]) + (int(x[WINDOW]) - 1) * int(x[DILATION]) + 1
    wide = (tq - 1) * int(x[STRIDE + 1]) + (int(x[WINDOW + 1]) - 1) * int(x[DILATION + 1]) + 1
    p = first_of(counts, row, AP) * int(x[STRIDE]) - int(x[PADDING])
    q = first_of(counts, row, AQ) * int(x[STRIDE + 1]) - int(x[PADDING + 1])
    p = max(p, 0) if counts[SHARES, AP] > 1 else p
    cells = inside(p, high, int(x[SOURCE_ROWS])) * inside(q, wide, int(x[SOURCE_ROWS + 1]))
    n = part(counts, row, AK)
    if not matmul:
        n = inside(first_of(counts, row, AN), counts[TILES, AN], int(x[SOURCE_CHANNELS]))
    return part(counts, row, AB) * cells * n * x[ELEMENT_BYTES]


@inner
def load(x, counts, rates, free, items, is_first):
    """Load a group's boxes; returns when the load unit is free again."""
    matmul, shared = x[IS_MATMUL] != 0, x[HAS_SHARED] != 0
    down, along, images = 1.0 * counts[SHARES, AP], 1.0 * counts[SHARES, AN], 1.0 * counts[SHARES, AB]
    row = LOADED
    if items & SOURCE or (items & WEIGHTS and is_first):
        size = source_bytes(x, counts, row, matmul) * x[LOADS_SOURCE]
        sharers = along if shared and matmul else 1.0
        free = move(rates, free, size / sharers * x[FAR_SOURCE], size) if size > 0 else free
    if items & WEIGHTS:
        size = x[WINDOW] * x[WINDOW + 1] * part(counts, row, AK) * part(counts, row, AN) * x[ELEMENT_BYTES]
        alike = down * images if x[BATCHES] == 0 else (down if x[BATCHES] == 1 else 1.0)
        free = move(rates, free, size / (alike if shared else 1.0), size)
    lanes = part(counts, row, AN)
    if items & PARAMETERS:
        size = lanes * (x[LANE_BYTES] + x[TAP_BYTES])
        free = move(rates, free, size / (down * images if shared else 1.0), size)
    if items & TABLES:
        free = move(rates, free, x[TABLE_BYTES] / (down * along * images if shared else 1.0), x[TABLE_BYTES])
    if items & SIDES:
        rows = part(counts, row, AB) * part(counts, row, AP) * part(counts, row, AQ)
        size = rows * lanes * x[SIDE_BYTES]
        if x[IS_JOINED] != 0:
            size = max(0.0, size - source_bytes(x, counts, row, matmul)) / x[SIDE_INPUTS]
        for _ in range(int(x[SIDE_INPUTS])):
            far = size * x[FAR_SOURCE]  # assumed: they lie where the source lies
            free = move(rates, free, far, size) if size > 0 else free + 1
    return free


@inner
def multiply(x, m, counts, units, start):
    """Multiply one step's tiles from `start`; `units` are when the array and its shadow are free. Returns the end."""
    row, taps, es = MULTIPLIED, x[WINDOW] * x[WINDOW + 1], x[ELEMENT_BYTES]
    rows = part(counts, row, AB) * part(counts, row, AP) * part(counts, row, AQ) + x[ONES]
    n, k = part(counts, row, AN), part(counts, row, AK)
    ready = max(start, units[1]) + 4  # of the instructions between two steps' products
    if m[timing.DATAFLOW] != timing.WEIGHT_STATIONARY:
        stationary = m[timing.DATAFLOW] == timing.OUTPUT_STATIONARY
        high = m[timing.ROWS] if stationary else m[timing.NATIVE_M]
        wide = m[timing.COLUMNS] * m[timing.UNITS] if stationary else m[timing.NATIVE_N]
        deep, beside = 1 if stationary else m[timing.NATIVE_K], 1 if stationary else m[timing.UNITS]
        read = (rows * taps * k + taps * k * n) * es * m[timing.READ_DEN] / m[timing.READ_NUM]
        blocks = up(rows, high) * (up(n, wide) + x[ROW_SUMS]) * up(taps * k, deep)
        units[1] = max(units[0], ready + 1)
        units[0] = units[1] + max(up(blocks, beside), read)
        return units[0] + x[FILL]
    height, width = 1.0 * m[timing.ROWS], 1.0 * m[timing.COLUMNS] * m[timing.UNITS]
    folds = up(taps * k, height) if x[IS_ROW_PACKED] else taps * up(k, height)
    passes, weights = folds * (up(n, width) + x[ROW_SUMS]), weight_cycles(x, m)
    each = max(rows, rows * min(taps * k, height) * es * m[timing.READ_DEN] / m[timing.READ_NUM])
    if m[timing.SERIAL] != 0:
        begin = max(ready, units[3])
        units[0] = begin + passes * (weights + each) + (passes - 1) * x[FILL]
        units[1], units[3] = units[0] - each, units[0] + x[FILL]
        return units[3]
    units[2] = max(ready, units[2]) + weights
    units[1] = max(units[0], units[2]) + (passes - 1) * max(each, weights)
    units[2] = max(units[2], units[1])
    units[0] = units[1] + each
    return units[0] + x[FILL]


@inner
def finish(x, m, counts):
    """Return the cycles of the vector unit on one tile."""
    rows = part(counts, FINISHED, AB) * part(counts, FINISHED, AP) * part(counts, FINISHED, AQ)
    return vector_cycles(x, m, rows, part(counts, FINISHED, AN))


@inner
def store(x, counts, rates, free):
    """Store a tile at the time `free`; returns when the store unit is free again."""
    row = STORED
    rows = part(counts, row, AB) * up(part(counts, row, AP), x[POOL]) * up(part(counts, row, AQ), x[POOL + 1])
    size = rows * part(counts, row, AN) * x[ELEMENT_BYTES]
    return move(rates, free, size * x[FAR_OUTPUT], size)


@inner
def play(x, m, counts, times, rates, units, is_deep, played, sum_slots):
    """Play so many output tiles; returns the cycles, or -1 where a stream waits for what never comes."""
    slots, matmul = int(x[SLOTS]), x[IS_MATMUL] != 0
    run, nk, k_axis = 1, 1, 5
    for d in range(6):
        nk = counts[COUNT, d] if counts[AXIS, d] == AK else nk
        run = counts[COUNT, d] if counts[AXIS, d] == AN and is_deep else run
        k_axis = d if counts[AXIS, d] == AK else k_axis
    around, steps = run * nk, played * nk
    n_groups = set_groups(x, counts, is_deep)
    near_credit = credit(counts, n_groups, 0, steps, slots) if slots > 1 else 0
    far_credit = credit(counts, n_groups, 1, played, slots) if slots > 1 else 0
    times[SUMMED, :played] = -1.0
    t_load, g_load, t_matrix, o_vector, o_store = 0, 0, 0, 0, 0
    free_load, free_matrix, free_vector, free_store, landed = 0.0, 0.0, 0.0, 0.0, 0.0
    end, waits0, waits1, made0, made1, taken0, taken1, given0, given1 = 0.0, 0, 0, 0, 0, 0, 0, 0, 0
    while o_store < played:
        moved = True
        while moved:
            moved = False
            if matmul and t_matrix < steps:
                rest = t_matrix % around
                tile = t_matrix // around * run + (rest % run if is_deep else 0)
                before = (t_matrix // around - sum_slots + 1) * run - 1 if rest == 0 else -1
                need = taken0
                for g in range(n_groups):
                    need += counts[GROUPS + g, READER] == 0 and t_matrix % counts[GROUPS + g, SPAN] == 0
                if need <= made0 and before < o_vector:
                    start = max(free_matrix, times[SIGNALS, need]) if need > taken0 else free_matrix
                    start = max(start, times[DONE, before]) if before >= 0 else start
                    taken0 = need
                    free_matrix = units[1]
                    end = max(end, multiply(x, m, counts, units, start))
                    if rest // run == nk - 1 if is_deep else rest == nk - 1:
                        times[SUMMED, tile] = end
                    for g in range(n_groups - 1, -1, -1):
                        span = counts[GROUPS + g, SPAN]
                        if counts[GROUPS + g, READER] == 0 and t_matrix % span == span - 1:
                            given0 += 1
                            times[CREDITS, given0] = end
                    advance(counts, MULTIPLIED, -1)
                    t_matrix += 1
                    moved = True
            if o_vector < played:
                need = taken1
                for g in range(n_groups):
                    need += counts[GROUPS + g, READER] == 1 and o_vector % counts[GROUPS + g, SPAN] == 0
                is_summed = not matmul or times[SUMMED, o_vector] >= 0
                if need <= made1 and is_summed and o_vector - slots < o_store:
                    start = max(free_vector, times[SIGNALS + 1, need]) if need > taken1 else free_vector
                    start = max(start, times[SUMMED, o_vector]) if matmul else start
                    start = max(start, times[OUT, o_vector - slots]) if o_vector >= slots else start
                    taken1 = need
                    free_vector = start + finish(x, m, counts)
                    times[DONE, o_vector] = free_vector
                    for g in range(n_groups - 1, -1, -1):
                        span = counts[GROUPS + g, SPAN]
                        if counts[GROUPS + g, READER] == 1 and o_vector % span == span - 1:
                            given1 += 1
                            times[CREDITS + 1, given1] = free_vector
                    advance(counts, FINISHED, k_axis)
                    o_vector += 1
                    moved = True
        # the next request of the load unit, and when it is made
        can_load, ask, reader = False, 0.0, 0
        while t_load < steps:
            rest = t_load % around
            tile = t_load // around * run + (rest % run if is_deep else 0)
            is_end = rest // run == nk - 1 if is_deep else rest == nk - 1
            at = g_load if g_load < n_groups else 2 * n_groups - 1 - g_load
            if g_load == 2 * n_groups or (g_load == n_groups and slots > 1):
                advance(counts, LOADED, -1)
                t_load, g_load = t_load + 1, 0
                continue
            reader, span = counts[GROUPS + at, READER], counts[GROUPS + at, SPAN]
            place = t_load if reader == 0 else tile
            if g_load < n_groups:
                is_early = rest == 0 if not is_deep or counts[GROUPS + at, LEVEL] < 5 else is_end
                due = place % span == 0 and (reader == 0 or is_early)
            else:
                due = place % span == span - 1 and (reader == 0 or is_end)
            if due:
                break
            g_load += 1
        if t_load < steps:
            waits = (waits0 if reader == 0 else waits1) + 1
            is_wait = slots > 1 or g_load >= n_groups
            need = waits - (near_credit if reader == 0 else far_credit) if is_wait else 0
            can_load = need <= (given0 if reader == 0 else given1)
            ask = free_load
            if can_load and need > 0:
                ask = max(ask, times[CREDITS + reader, need])
            ask += 1
        can_store = o_store < o_vector
        asks = max(free_store, times[DONE, o_store]) if can_store else 0.0
        if can_load and (not can_store or ask <= asks):
            if slots > 1 or g_load >= n_groups:
                waits0, waits1 = waits0 + (reader == 0), waits1 + (reader == 1)
            free_load = ask
            if g_load < n_groups:
                is_first = is_deep and t_load % run == 0
                free_load = load(x, counts, rates, ask, counts[GROUPS + g_load, ITEMS], is_first)
                made0, made1 = made0 + (reader == 0), made1 + (reader == 1)
                near = counts[GROUPS + g_load, ITEMS] == SOURCE and x[FAR_SOURCE] == 0
                late = m[timing.SHARED_LATENCY] if near else m[timing.DRAM_LATENCY]
                landed = max(landed, free_load + late)  # what was loaded before completes before
                times[SIGNALS + reader, made0 if reader == 0 else made1] = landed
            g_load += 1
        elif can_store:
            times[VOLUME, o_store] = part(counts, STORED, AB) * part(counts, STORED, AP)
            times[VOLUME, o_store] *= part(counts, STORED, AQ) * part(counts, STORED, AN)
            free_store = store(x, counts, rates, asks)
            times[OUT, o_store] = free_store
            advance(counts, STORED, k_axis)
            o_store += 1
        else:
            return -1.0
    return free_store


def replay_table(
    x, m, tb, tp, tq, tn, tc, outer, rows_cores, channel_cores, batch_cores, counts, times, rates, units, cycles
):  # fmt: skip
    """Write the cycles of each candidate over its prediction; the arrays before are room. See `tile.replay`."""
    for i in range(len(cycles)):
        is_deep = outer[i] == DEPTH
        down, along, images = rows_cores[i], channel_cores[i], batch_cores[i]
        set_loops(x, counts, outer[i], tb[i], tp[i], tq[i], tn[i], tc[i], down, along, images)
        far_rates(m, down * along * images, rates)
        rates[2:4] = 0.0
        units[:] = 0.0
        steps, nk, run, volume = 1, 1, 1, 1.0
        for d in range(6):
            n, axis = counts[COUNT, d], counts[AXIS, d]
            steps *= n
            nk = n if axis == AK else nk
            run = n if axis == AN and is_deep else run
            volume *= 1.0 if axis == AK else own(counts, axis, n)
        outputs = steps // nk
        played = outputs if steps <= STEPS else STEPS // (run * nk) * run
        if played == 0:
            continue
        rows = tb[i] * tp[i] * tq[i]
        sums = (rows + x[ONES]) * tn[i] * run + rows * x[ROW_SUMS]
        words = 2 * sums + rows * tn[i] * x[SCRATCH] + 16 * rows * x[WHOLE_LANES]
        sum_slots = 2 if x[SLOTS] == 2 and words <= x[ACCUMULATOR_WORDS] else 1
        end = play(x, m, counts, times, rates, units, is_deep, played, sum_slots)
        if end < 0:
            continue
        if played < outputs:
            rounds = played // run  # tiles get done one by one, or those of a round together
            a, b = rounds // 4 * run, 3 * rounds // 4 * run
            between = np.sum(times[VOLUME, a:b])
            pace = (times[OUT, b] - times[OUT, a]) / between if b > a else end / np.sum(times[VOLUME, :played])
            end += pace * max(0.0, volume - np.sum(times[VOLUME, :played]))
        cycles[i] = math.ceil(end)
    return 0
