"""A kernel's instructions on where values come from, instead of on values: the evidence that it is one product.

In: the records of one kernel, walked in the same order as values are. Out: tables (Shadow) that say of every byte
stored which sum of products it is, through which vector instructions it went and what was added.
Every byte of local memory carries a tag, the far box and coordinates it was loaded from; every accumulator word a sum:
the first input, the column of the weights, how many taps it has. A sum counts only if it starts at tap 0, takes the
taps in order and each exactly once, at the same distances from its first input as every other sum. Whatever is not
understood becomes BAD and stays it. What is read before the kernel wrote it is noted as a leftover.
Addresses do not depend on data, so what holds for one run holds for all. Does not: check that addresses exist; the
values have been run before (whole.py).
"""

# pyright: basic

from __future__ import annotations

import numpy as np
from numba import njit

from onchip.simulator.interpreter import DEADLOCK, inlined, walk_function
from onchip.simulator.operands import ACC, extent, inner, place, stamp, step_of
from onchip.simulator.shadow_tables import (
    A_STAGE,
    B_STAGE,
    BAD,
    BOX,
    BOXES,
    FIRST_STEP,
    HEAD,
    LEARNED,
    LEFTOVER,
    LIMIT_BOXES,
    LIMIT_STEPS,
    LIMIT_TAPS,
    LOST,
    OP,
    ORIGIN,
    PARAMETERS,
    PLAIN,
    PLAIN_VOP,
    RAW,
    RECORD,
    STEPS,
    STORED,
    SUB,
    SUM,
    TAPS,
    UNKNOWN,
    borrowed_shadow,
    unchanged,
)  # fmt: skip


@inner
def box_of(sub, base, ints, s):
    """Return the number of a far box, from 1 up; 0 where it is none that is followed."""
    if sub == 1:
        return np.int64(0)
    for number in range(1, s.facts[BOXES] + 1):
        box = s.boxes[number]
        same = box[0] == base and box[8] == ints[14]
        for d in range(7):
            same = same and box[1 + d] == ints[4 + d]
        if same:
            return np.int64(number)
    if s.facts[BOXES] == LIMIT_BOXES:
        return np.int64(0)
    s.facts[BOXES] += 1
    box = s.boxes[s.facts[BOXES]]
    box[0], box[8] = base, ints[14]
    for d in range(7):
        box[1 + d] = ints[4 + d]
    return s.facts[BOXES]


@inner
def load(sub, ints, affs, index, core, s):
    base, near = place(affs[0], index, core), place(affs[1], index, core)
    c0, c1 = place(affs[2], index, core), place(affs[3], index, core)
    c2, c3 = place(affs[4], index, core), place(affs[5], index, core)
    box = box_of(sub, base, ints, s)
    fits = box > 0 and c0 >= 0 and c0 + ints[0] <= 256 and c1 >= -ORIGIN and c1 + ints[1] <= 60000
    fits = fits and c2 >= -ORIGIN and c2 + ints[2] <= 60000 and c3 >= 0 and c3 + ints[3] <= 65536
    for i in range(ints[0]):
        for j in range(ints[1]):
            for r in range(ints[2]):
                at = near + i * ints[11] + j * ints[12] + r * ints[13]
                tag = box << BOX | (c0 + i) << 48 | (c1 + j + ORIGIN) << 32 | (c2 + r + ORIGIN) << 16 | c3
                for c in range(ints[3]):
                    s.tag[at + c] = tag + c if fits else UNKNOWN
                    s.stage[at + c] = RAW if fits else BAD


@inner
def store(ints, affs, index, core, s):
    base, near = place(affs[0], index, core) - s.out_base[0], place(affs[1], index, core)
    c0, c1 = place(affs[2], index, core), place(affs[3], index, core)
    c2, c3 = place(affs[4], index, core), place(affs[5], index, core)
    low, high = max(0, -c3), min(ints[3], ints[7] - c3)
    for i in range(max(0, -c0), min(ints[0], ints[4] - c0)):
        for j in range(max(0, -c1), min(ints[1], ints[5] - c1)):
            for r in range(max(0, -c2), min(ints[2], ints[6] - c2)):
                at = near + i * ints[11] + j * ints[12] + r * ints[13]
                to = base + (c0 + i) * ints[8] + (c1 + j) * ints[9] + (c2 + r) * ints[10] + c3
                for c in range(low, high):
                    stage, there = s.stage[at + c], to + c
                    if s.tag[at + c] == 0:
                        s.facts[LEFTOVER] = 1
                    if there < 0 or there >= len(s.out_column):
                        s.facts[LOST] = 1
                        continue
                    if s.facts[STORED] == 0:
                        s.facts[STORED] = stage
                    good = s.out_column[there] == -1 and stage >= FIRST_STEP and stage == s.facts[STORED]
                    s.out_column[there] = s.column[at + c] if good and s.tag[at + c] != 0 else -2
                    s.out_first[there], s.out_beside[there] = s.tag[at + c], s.beside[at + c]


@inner
def keep(sub, ints, affs, has, index, core, s):
    k, n = extent(ints[0], affs[1], has[1], index, core), extent(ints[1], affs[2], has[2], index, core)
    base, pitch = place(affs[0], index, core), ints[2]
    down, right = (1, pitch) if sub == 1 else (pitch, 1)
    s.state[0], s.state[1], s.state[4] = k, n, 0
    if k == 0 or n == 0:
        return
    first, good = s.tag[base], ints[3] == 0
    for i in range(k):
        for j in range(n):
            at = base + i * down + j * right
            if s.tag[at] == 0:
                s.facts[LEFTOVER] = 1
            good = good and s.stage[at] == RAW and s.tag[at] == first + (i << 16) + j
    if s.facts[HEAD] == 0:
        s.facts[HEAD] = first >> 32
    s.state[2], s.state[3] = (first >> 16 & 0xFFFF) - ORIGIN, first & 0xFFFF
    s.state[4] = good and first > UNKNOWN and s.facts[HEAD] == first >> 32 and s.state[2] >= 0


@inner
def row_of_sums(source, at, k, n, first_tap, run_length, run_stride, replaces, good, s):
    """Follow one row: k inputs, n sums."""
    facts, tap, first_column, row = s.facts, s.state[2], s.state[3], np.int64(0)
    if replaces:
        good = good and tap == 0
    else:
        good = good and n > 0 and s.acc_stage[at] == SUM
        row = s.acc_first[at]
    for i in range(k):
        number = first_tap + i
        there = source + number // run_length * run_stride + number % run_length
        tag, t = s.tag[there], tap + i
        if tag == 0:
            facts[LEFTOVER] = 1
        good = good and tag > UNKNOWN and s.stage[there] == RAW and t < LIMIT_TAPS
        if not good:
            continue
        if replaces and i == 0:
            row = tag
        if t == facts[LEARNED]:
            s.distances[t] = tag - row
            facts[LEARNED] += 1
        good = t < facts[LEARNED] and s.distances[t] == tag - row
    for j in range(n):
        word = at + j
        if replaces:
            s.acc_taps[word], s.acc_column[word], s.acc_first[word] = k, first_column + j, row
            s.acc_stage[word] = SUM if good else BAD
            continue
        if s.acc_stage[word] == 0:
            facts[LEFTOVER] = 1
        same = s.acc_stage[word] == SUM and s.acc_first[word] == row and s.acc_column[word] == first_column + j
        if good and same and s.acc_taps[word] == tap:
            s.acc_taps[word] += k
        else:
            s.acc_stage[word] = BAD


@inner
def multiply(sub, ints, affs, has, index, core, s):
    c0, c1 = extent(ints[0], affs[3], has[3], index, core), extent(ints[1], affs[4], has[4], index, core)
    c2 = extent(ints[2], affs[5], has[5], index, core)
    k, n = extent(ints[3], affs[6], has[6], index, core), extent(ints[4], affs[7], has[7], index, core)
    source, sums, tap = place(affs[0], index, core), place(affs[1], index, core), place(affs[2], index, core)
    replaces = sub == 0
    for level in range(4):
        if ints[14] >> level & 1 and index[level] != 0:
            replaces = False
    if n <= 0:
        return
    good = s.state[4] == 1 and k > 0 and k <= s.state[0] and n <= s.state[1] and ints[13] == 0
    for i in range(c0):
        for j in range(c1):
            for r in range(c2):
                x = source + i * ints[7] + j * ints[8] + r * ints[9]
                row_of_sums(
                    x, sums + i * ints[10] + j * ints[11] + r * ints[12], k, n, tap, ints[5], ints[6], replaces, good, s
                )


@inner
def step_number(op, sub, record, ints, code, s):
    """Return which step of the kernel's chain a vector instruction is; -1 where it is none that is followed."""
    reads_b = op == 6 and ints[19] == 0
    known = ints[8] == 1 and (ints[4] == 0 or ints[4] == ACC) and (ints[9] == 0 or ints[9] == ACC)
    if op == 6:
        known = known and sub != 11 and (not reads_b or (ints[17] == 1 and (ints[13] == 0 or ints[13] == ACC)))
    elif op != 5:
        return np.int64(-1)
    if not known:
        return np.int64(-1)
    for number in range(s.facts[STEPS]):
        step = s.steps[number]
        other, same = code.integers[step[RECORD]], step[OP] == op and step[SUB] == sub
        if op == 5:
            for field in PLAIN:
                same = same and other[field] == ints[field]
        else:
            for field in PLAIN_VOP:
                same = same and other[field] == ints[field]
        if same:
            return np.int64(number)
    if s.facts[STEPS] == LIMIT_STEPS:
        return np.int64(-1)
    number = s.facts[STEPS]
    s.facts[STEPS] += 1
    step = s.steps[number]
    step[OP], step[SUB], step[RECORD], step[A_STAGE], step[B_STAGE], step[PARAMETERS] = op, sub, record, -9, -9, 0
    return number


@inner
def seen(kind, at, lanes, s):
    """Note a leftover among lanes that are read and not followed."""
    size = step_of(kind)
    for i in range(lanes * size):
        if (kind == ACC and s.acc_stage[at + i] == 0) or (kind != ACC and s.tag[at + i] == 0):
            s.facts[LEFTOVER] = 1


@inner
def spoil(kind, at, lanes, s):
    size = step_of(kind)
    for i in range(lanes * size):
        if kind == ACC:
            s.acc_stage[at + i] = BAD
        else:
            s.tag[at + i], s.stage[at + i] = UNKNOWN, BAD


@inner
def value_at(kind, at, s):
    """Return stage, first input, column and what is beside of a lane; a sum that is not complete is BAD."""
    if kind == ACC:
        stage = s.acc_stage[at]
        if stage == 0:
            s.facts[LEFTOVER] = 1
            stage = np.int16(BAD)
        if stage == SUM:
            if s.facts[TAPS] == 0:
                s.facts[TAPS] = s.acc_taps[at]
            if s.facts[TAPS] != s.acc_taps[at]:
                stage = np.int16(BAD)
            return np.int64(stage), s.acc_first[at], np.int64(s.acc_column[at]), np.int64(0)
        return np.int64(stage), s.acc_first[at], np.int64(s.acc_column[at]), s.acc_beside[at]
    if s.tag[at] == 0:
        s.facts[LEFTOVER] = 1
        return np.int64(BAD), np.int64(0), np.int64(-1), np.int64(0)
    if s.stage[at] == RAW:
        return np.int64(RAW), np.int64(0), np.int64(-1), s.tag[at]
    return np.int64(s.stage[at]), s.tag[at], np.int64(s.column[at]), s.beside[at]


@inner
def parameters_of(step, b, n, s):
    """Return whether the parameters of each lane are those of its column."""
    good = True
    for j in range(n):
        for e in range(12):
            at = b + 12 * j + e
            if s.tag[at] == 0:
                s.facts[LEFTOVER] = 1
            start = s.tag[at] - 12 * s.columns[j] - e
            if step[PARAMETERS] == 0:
                step[PARAMETERS] = start
            good = good and s.stage[at] == RAW and s.tag[at] > UNKNOWN and step[PARAMETERS] == start
    return good


@inner
def vector(op, sub, record, ints, affs, has, index, core, code, s):
    n = extent(ints[3], affs[6], has[6], index, core)
    c0, c1 = extent(ints[0], affs[3], has[3], index, core), extent(ints[1], affs[4], has[4], index, core)
    c2 = extent(ints[2], affs[5], has[5], index, core)
    if n <= 0 or c0 <= 0 or c1 <= 0 or c2 <= 0:
        return
    a, d, b = place(affs[0], index, core), place(affs[1], index, core), place(affs[2], index, core)
    reads_b, a_type, d_type, b_type = op == 6 and ints[19] == 0, ints[4], ints[9], ints[13]
    number, first_row = step_number(op, sub, record, ints, code, s), True
    step = s.steps[max(number, 0)]
    clears = op == 6 and ints[19] != 0 and ints[18] == 0 and (sub == 2 or sub == 14)  # times 0, and 0
    if clears:
        number = np.int64(-1)
    if op == 8:
        seen(0, b, 1024, s)
    if op == 5 and sub & 4:
        seen(0, b, 12 * n, s)
    for i in range(c0):
        for j in range(c1):
            for r in range(c2):
                pa, pd = a + i * ints[5] + j * ints[6] + r * ints[7], d + i * ints[10] + j * ints[11] + r * ints[12]
                pb = b + i * ints[14] + j * ints[15] + r * ints[16] if reads_b else b
                shifted = (a_type == ACC) == (d_type == ACC) and pa != pd and abs(pa - pd) < n
                if reads_b:
                    shifted = shifted or ((b_type == ACC) == (d_type == ACC) and pb != pd and abs(pb - pd) < n)
                if number < 0 or shifted:
                    if not clears:
                        seen(a_type, pa, n if ints[8] else 1, s)
                    if reads_b:
                        seen(b_type, pb, n if ints[17] else 1, s)
                    if op == 6 and sub == 11:
                        seen(d_type, pd, n, s)
                    spoil(d_type, pd, 1 if op == 7 else n, s)
                    continue
                good = True
                if op == 5 and sub & 4:
                    for lane in range(n):
                        column = value_at(a_type, pa + lane, s)[2]
                        good = good and column >= 0 and (first_row or s.columns[lane] == column)
                        s.columns[lane] = column
                    if first_row:
                        good = parameters_of(step, b, n, s) and good
                    if not good:
                        number = np.int64(-1)
                        spoil(d_type, pd, n, s)
                        continue
                    first_row = False
                for lane in range(n):
                    stage, first, column, beside = value_at(a_type, pa + lane, s)
                    fine = stage != BAD
                    if step[A_STAGE] == -9:
                        step[A_STAGE] = stage
                    fine = fine and step[A_STAGE] == stage
                    if reads_b:
                        other, first2, column2, beside2 = value_at(b_type, pb + lane, s)
                        if step[B_STAGE] == -9:
                            step[B_STAGE] = other
                        fine = fine and other != BAD and step[B_STAGE] == other
                        if column >= 0 and column2 >= 0:
                            fine = fine and column == column2 and first == first2
                        elif column < 0:
                            column, first = column2, first2
                        if beside != 0 and beside2 != 0:
                            fine = fine and beside == beside2
                        elif beside == 0:
                            beside = beside2
                    if not fine:
                        spoil(d_type, pd + lane, 1, s)
                    elif d_type == ACC:
                        s.acc_stage[pd + lane], s.acc_first[pd + lane] = FIRST_STEP + number, first
                        s.acc_column[pd + lane], s.acc_beside[pd + lane] = column, beside
                    else:
                        s.tag[pd + lane], s.stage[pd + lane] = max(first, UNKNOWN), FIRST_STEP + number
                        s.column[pd + lane], s.beside[pd + lane] = column, beside


@inlined
def follow(i, level, index, core, code, nests, far, memory, s, stage):
    """Run a record on the tables."""
    op, sub, ints, affs, has = code.ops[i], code.subs[i], code.integers[i], code.affines[i], code.has[i]
    if op == 1:
        load(sub, ints, affs, index, core, s)
    elif op == 2:
        store(ints, affs, index, core, s)
    elif op == 3:
        keep(sub, ints, affs, has, index, core, s)
    elif op == 4:
        multiply(sub, ints, affs, has, index, core, s)
    elif op >= 5 and op <= 8:
        vector(op, sub, i, ints, affs, has, index, core, code, s)
    return True


walk = walk_function(follow, borrowed_shadow, unchanged)


def _make(sources):
    @njit(cache=True, error_model="numpy")
    def trace(code, nests, initial, order, core, far, memory, shadow, control):
        """Follow one kernel on one core. Compiled anew when `sources` change."""
        if len(sources) == 0:
            return DEADLOCK
        return walk(code, nests, initial, order, core, far, memory, shadow, 0, control)

    return trace


trace = _make(stamp())
