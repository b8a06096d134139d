"""The program, instruction by instruction, on one core's memory: values bit for bit, no time.

In: the records of one kernel and the memories. Out: the memories changed. Streams run in turns, each until it has to
wait; `order` gives the turn's order, so that a test can try many: a correct program gives the same bytes in all of them.
The meaning of every instruction is defined by its class in `isa/`; this is the same, compiled.
"""

# pyright: basic

from __future__ import annotations

import numpy as np
from numba import njit

from onchip.simulator.engine import ACC, affine
from onchip.simulator.lanes import lane, scale, wrap

BLOCK = 16  # columns of a weight block: the widest vector register holds 16 float32
LIMIT = 1 << 40


@njit
def load(kind, address, l8, l16, l32, acc):
    if kind == 0:
        return np.int64(l8[address])
    if kind == ACC:
        return np.int64(acc[address])
    if kind == 1:
        return np.int64(l16[address >> 1])
    return np.int64(l32[address >> 2])


@njit
def store(kind, address, value, l8, l16, l32, acc):
    if kind == 0:
        l8[address] = min(max(value, -128), 127)
    elif kind == ACC:
        acc[address] = wrap(value)
    elif kind == 1:
        l16[address >> 1] = min(max(value, -32768), 32767)
    else:
        l32[address >> 2] = wrap(value)


@njit
def place(row, index, core0, core1):
    return affine(row, index) + row[5] * core0 + row[6] * core1


@njit
def remaining(size, row, has, index, core0, core1):
    if not has:
        return size
    return max(0, min(size, place(row, index, core0, core1)))


@njit
def transfer(is_load, sub, ints, affs, index, core0, core1, far, local):
    base, near = place(affs[0], index, core0, core1), place(affs[1], index, core0, core1)
    c0, c1 = place(affs[2], index, core0, core1), place(affs[3], index, core0, core1)
    c2, c3 = place(affs[4], index, core0, core1), place(affs[5], index, core0, core1)
    low, high = max(0, -c3), max(0, min(ints[3], ints[7] - c3))
    fill = np.uint8(ints[14] & 0xFF)
    for i in range(ints[0]):
        for j in range(ints[1]):
            for r in range(ints[2]):
                at = near + i * ints[11] + j * ints[12] + r * ints[13]
                inside = 0 <= c0 + i < ints[4] and 0 <= c1 + j < ints[5] and 0 <= c2 + r < ints[6]
                if is_load:
                    if not inside:
                        local[at : at + ints[3]] = fill
                        continue
                    if low > 0 or high < ints[3]:
                        local[at : at + ints[3]] = fill
                if inside and high > low:
                    row = c2 + r
                    if sub == 1:
                        p = place(affs[6], index, core0, core1) + 4 * row
                        row = (
                            np.int64(far[p])
                            | np.int64(far[p + 1]) << 8
                            | np.int64(far[p + 2]) << 16
                            | np.int64(far[p + 3]) << 24
                        )
                    source = base + (c0 + i) * ints[8] + (c1 + j) * ints[9] + row * ints[10] + c3
                    if is_load:
                        local[at + low : at + high] = far[source + low : source + high]
                    else:
                        far[source + low : source + high] = local[at + low : at + high]


@njit
def load_weights(sub, ints, affs, has, index, core0, core1, l8, weights):
    k, n = (
        remaining(ints[0], affs[1], has[1], index, core0, core1),
        remaining(ints[1], affs[2], has[2], index, core0, core1),
    )
    base = place(affs[0], index, core0, core1)
    wide, deep = (n + BLOCK - 1) // BLOCK * BLOCK, (k + BLOCK - 1) // BLOCK * BLOCK
    if wide != n or deep != k:
        weights[:deep, :wide] = 0
    for i in range(k):
        for j in range(n):
            weights[i, j] = l8[base + (j * ints[2] + i if sub == 1 else i * ints[2] + j)]


@njit(fastmath={"reassoc", "contract"})
def add_block(x, weights, row, column, total):
    """total[:16] += x[:16] @ weights[row:row + 16, column:column + 16], written out so that it becomes 16 vector products."""
    for j in range(BLOCK):
        c = column + j
        total[j] += (
            x[0] * weights[row, c] + x[1] * weights[row + 1, c] + x[2] * weights[row + 2, c] + x[3] * weights[row + 3, c]
            + x[4] * weights[row + 4, c] + x[5] * weights[row + 5, c] + x[6] * weights[row + 6, c]
            + x[7] * weights[row + 7, c] + x[8] * weights[row + 8, c] + x[9] * weights[row + 9, c]
            + x[10] * weights[row + 10, c] + x[11] * weights[row + 11, c] + x[12] * weights[row + 12, c]
            + x[13] * weights[row + 13, c] + x[14] * weights[row + 14, c] + x[15] * weights[row + 15, c]
        )  # fmt: skip


@njit
def multiply(sub, ints, affs, has, index, core0, core1, l8, acc, weights, x, total):
    """Exact: float32 sums of at most 1,024 int8 products stay below 2**24, longer ones are added up in integers."""
    n, k = (
        remaining(ints[4], affs[7], has[7], index, core0, core1),
        remaining(ints[3], affs[6], has[6], index, core0, core1),
    )
    source, sums = place(affs[0], index, core0, core1), place(affs[1], index, core0, core1)
    begin, run_length, run_stride = place(affs[2], index, core0, core1), ints[5], ints[6]
    replaces = sub == 0
    for level in range(4):
        if ints[14] >> level & 1 and index[level] != 0:
            replaces = False
    n_blocks = (k + BLOCK - 1) // BLOCK
    x[k : n_blocks * BLOCK] = 0
    for a in range(remaining(ints[0], affs[3], has[3], index, core0, core1)):
        for b in range(remaining(ints[1], affs[4], has[4], index, core0, core1)):
            for c in range(remaining(ints[2], affs[5], has[5], index, core0, core1)):
                base = source + a * ints[7] + b * ints[8] + c * ints[9]
                at = sums + a * ints[10] + b * ints[11] + c * ints[12]
                tap = begin
                i = 0
                while i < k:
                    run = min(k - i, run_length - tap % run_length)
                    start = base + tap // run_length * run_stride + tap % run_length
                    for j in range(run):
                        x[i + j] = np.float32(l8[start + j])
                    i += run
                    tap += run
                for column in range(0, n, BLOCK):
                    width = min(BLOCK, n - column)
                    fresh = replaces
                    for part in range(0, n_blocks, 64):
                        total[:] = 0
                        for block in range(part, min(part + 64, n_blocks)):
                            add_block(x[block * BLOCK :], weights, block * BLOCK, column, total)
                        if fresh:
                            for j in range(width):
                                acc[at + column + j] = np.int32(total[j])
                        else:
                            for j in range(width):
                                acc[at + column + j] += np.int32(total[j])
                        fresh = False


@njit
def vector(op, sub, ints, affs, has, index, core0, core1, l8, l16, l32, acc):
    n = remaining(ints[3], affs[6], has[6], index, core0, core1)
    a, d, b = (
        place(affs[0], index, core0, core1),
        place(affs[1], index, core0, core1),
        place(affs[2], index, core0, core1),
    )
    a_type, d_type = ints[4], ints[9]
    a_size, d_size = step_of(a_type) * ints[8], step_of(d_type)
    b_type, b_size = (ints[13], step_of(ints[13]) * ints[17]) if op == 6 else (np.int64(2), np.int64(0))
    mode, per_lane = sub & 3, sub & 4
    real = np.empty(1, np.int32)
    for r0 in range(remaining(ints[0], affs[3], has[3], index, core0, core1)):
        for r1 in range(remaining(ints[1], affs[4], has[4], index, core0, core1)):
            for r2 in range(remaining(ints[2], affs[5], has[5], index, core0, core1)):
                pa = a + r0 * ints[5] + r1 * ints[6] + r2 * ints[7]
                pd = d + r0 * ints[10] + r1 * ints[11] + r2 * ints[12]
                if op == 5:
                    bias, multiplier, shift = ints[15], ints[16], ints[17]
                    for j in range(n):
                        if per_lane:
                            word = (b >> 2) + 3 * j
                            bias, multiplier, shift = (
                                np.int64(l32[word]),
                                np.int64(l32[word + 1]),
                                np.int64(l32[word + 2]),
                            )
                        x = wrap(load(a_type, pa + j * a_size, l8, l16, l32, acc) - ints[13] + bias)
                        x = wrap(x << ints[14])
                        m = np.float32(0)
                        if mode == 2:
                            real[0] = multiplier
                            m = real.view(np.float32)[0]
                        y = scale(x, multiplier, shift, mode, m) + ints[18]
                        store(d_type, pd + j * d_size, min(max(y, ints[19]), ints[20]), l8, l16, l32, acc)
                elif op == 6:
                    pb = b + r0 * ints[14] + r1 * ints[15] + r2 * ints[16]
                    for j in range(n):
                        x = load(a_type, pa + j * a_size, l8, l16, l32, acc)
                        y = ints[18] if ints[19] else load(b_type, pb + j * b_size, l8, l16, l32, acc)
                        if sub == 11:
                            z = wrap(load(d_type, pd + j * d_size, l8, l16, l32, acc) + x * y)
                        else:
                            z = lane(sub, x, y)
                        store(d_type, pd + j * d_size, z, l8, l16, l32, acc)
                elif op == 7:
                    total = np.int64(0) if sub != 1 else np.int64(-LIMIT)
                    for j in range(n):
                        x = load(a_type, pa + j * a_size, l8, l16, l32, acc)
                        if sub == 1:
                            total = max(total, x)
                        else:
                            total += x if sub == 0 else x * x
                    if n > 0:
                        store(d_type, pd, wrap(total), l8, l16, l32, acc)
                else:
                    for j in range(n):
                        x = load(a_type, pa + j * a_size, l8, l16, l32, acc) + ints[13]
                        y = np.int64(l32[(b >> 2) + min(max(x, 0), 255)])
                        store(d_type, pd + j * d_size, y, l8, l16, l32, acc)


@njit
def step_of(kind):
    return np.int64(2 if kind == 1 else (4 if kind == 2 else 1))


@njit(cache=True)
def run(
    ops, waits, signals, subs, integers, affines, has, starts, initial, order, core0, core1, far, local, acc, weights
):
    """Run one kernel on one core; returns 0, or 1 where no stream can go on."""
    l8, l16, l32 = local.view(np.int8), local.view(np.int16), local.view(np.int32)
    x, total = np.zeros(weights.shape[0] + BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    pc, depth, counts = starts[:4].copy(), np.zeros(4, np.int64), initial.copy()
    loop_start, loop_end = np.zeros((4, 5), np.int64), np.zeros((4, 5), np.int64)
    loop_count, index = np.zeros((4, 5), np.int64), np.zeros((4, 5), np.int64)
    while True:
        moved = False
        for turn in range(4):
            s = order[turn]
            while pc[s] < starts[s + 1]:
                i = pc[s]
                ready, mask = True, waits[i]
                for q in range(8):
                    if mask >> q & 1 and counts[q] == 0:
                        ready = False
                if not ready:
                    break
                moved = True
                for q in range(8):
                    if mask >> q & 1:
                        counts[q] -= 1
                op, idx = ops[i], index[s]
                if op == 1 or op == 2:
                    transfer(op == 1, subs[i], integers[i], affines[i], idx, core0, core1, far, local)
                elif op == 3:
                    load_weights(subs[i], integers[i], affines[i], has[i], idx, core0, core1, l8, weights)
                elif op == 4:
                    multiply(subs[i], integers[i], affines[i], has[i], idx, core0, core1, l8, acc, weights, x, total)
                elif op >= 5 and op <= 8:
                    vector(op, subs[i], integers[i], affines[i], has[i], idx, core0, core1, l8, l16, l32, acc)
                elif op == 9:
                    d = depth[s]
                    loop_start[s, d], loop_end[s, d] = i + 1, i + 1 + integers[i, 1]
                    loop_count[s, d], index[s, d] = integers[i, 0], 0
                    depth[s] += 1
                for q in range(8):
                    if signals[i] >> q & 1:
                        counts[q] += 1
                pc[s] = i + 1
                while depth[s] > 0 and pc[s] == loop_end[s, depth[s] - 1]:
                    d = depth[s] - 1
                    if index[s, d] + 1 < loop_count[s, d]:
                        index[s, d] += 1
                        pc[s] = loop_start[s, d]
                        break
                    index[s, d] = 0
                    depth[s] -= 1
        if not moved:
            break
    for s in range(4):
        if pc[s] < starts[s + 1]:
            return 1
    return 0
