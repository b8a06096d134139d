"""The VECTOR stream's work: requantize, lane operations, reductions and lookups, compiled.

In: a vector instruction, the loop indices, local memory and accumulator. Out: lanes written; False where an address
leaves the memory. Rows go through a stage of 32-bit lanes: read by type, compute without branches, write by type,
each a loop that becomes vector code; the commonest go from memory to memory. Rows that lie one behind the other in
every operand are taken together, unless an operand that is read overlaps the one that is written: then row by row, as
the instructions' definition does.
"""

# pyright: basic

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onchip.simulator.code import Ints
from onchip.simulator.lanes import INT_MIN, lane
from onchip.simulator.matrix import touch
from onchip.simulator.operands import ACC, extent, inner, place, span, step_of
from onchip.simulator.products import MARGIN
from onchip.simulator.requantize import requantize, requantize_alike, requantize_directly, take_parameters

RQ, VOP, RED, LUT = 5, 6, 7, 8
MAC = 11
PART = 256  # lanes that go through the stage at once: all its arrays stay in the first-level cache
Words = NDArray[np.int32]


class Memory(NamedTuple):
    """Local memory as bytes and words, and the accumulator. `local` ends with a margin."""

    local: NDArray[np.uint8]
    l8: NDArray[np.int8]
    l16: NDArray[np.int16]
    l32: Words
    acc: Words


def make_memory(local_bytes: int, accumulator_words: int) -> Memory:
    """Return the memories of one core, all zero."""
    local = np.zeros(-(-local_bytes // 4) * 4 + MARGIN, np.uint8)
    views = local.view(np.int8), local.view(np.int16), local.view(np.int32)
    return Memory(local, *views, np.zeros(accumulator_words, np.int32))


class Stage(NamedTuple):
    """Lanes under way: operands, result, and RQ's parameters a lane; LUT's table."""

    x: Words
    y: Words
    z: Words
    bias: Words
    multiplier: Words
    shift: Ints
    half: Ints
    table: Words


def make_stage(longest_row: int) -> Stage:
    """Return room for rows of so many lanes, at least PART."""
    n = max(PART, longest_row)
    x, y, z, bias, multiplier = (np.zeros(n, np.int32) for _ in range(5))
    return Stage(x, y, z, bias, multiplier, np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(256, np.int32))


@inner
def fetch(kind, at, step, n, memory, out):
    """Read n lanes of one row; step 0 repeats the first."""
    start = np.uint64(at)
    if kind == 1:
        start >>= np.uint64(1)
    elif kind == 2:
        start >>= np.uint64(2)
    if step == 0:
        value = np.int32(0)
        if kind == 0:
            value = np.int32(memory.l8[start])
        elif kind == ACC:
            value = memory.acc[start]
        elif kind == 1:
            value = np.int32(memory.l16[start])
        else:
            value = memory.l32[start]
        out[:n] = value
    elif kind == 0:
        for j in range(np.uint64(n)):
            out[j] = memory.l8[start + j]
    elif kind == ACC:
        for j in range(np.uint64(n)):
            out[j] = memory.acc[start + j]
    elif kind == 1:
        for j in range(np.uint64(n)):
            out[j] = memory.l16[start + j]
    else:
        for j in range(np.uint64(n)):
            out[j] = memory.l32[start + j]


@inner
def put(kind, at, n, memory, z):
    """Write n lanes, saturating to the operand's type."""
    start = np.uint64(at)
    if kind == 0:
        for j in range(np.uint64(n)):
            memory.l8[start + j] = min(max(z[j], np.int32(-128)), np.int32(127))
    elif kind == ACC:
        for j in range(np.uint64(n)):
            memory.acc[start + j] = z[j]
    elif kind == 1:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            memory.l16[start + j] = min(max(z[j], np.int32(-32768)), np.int32(32767))
    else:
        start >>= np.uint64(2)
        for j in range(np.uint64(n)):
            memory.l32[start + j] = z[j]


# --- the others -------------------------------------------------------------------------------------------------------


@inner
def operate(sub, n, x, y, z):
    """z = x op y for n lanes; a mac finds its sum in z."""
    if sub == 0:
        for j in range(np.uint64(n)):
            z[j] = x[j] + y[j]
    elif sub == 1:
        for j in range(np.uint64(n)):
            z[j] = x[j] - y[j]
    elif sub == 2:
        for j in range(np.uint64(n)):
            z[j] = x[j] * y[j]
    elif sub == 5:
        for j in range(np.uint64(n)):
            z[j] = max(x[j], y[j])
    elif sub == 6:
        for j in range(np.uint64(n)):
            z[j] = min(x[j], y[j])
    elif sub == MAC:
        for j in range(np.uint64(n)):
            z[j] += x[j] * y[j]
    else:
        for j in range(n):
            z[j] = lane(sub, np.int64(x[j]), np.int64(y[j]))


@inner
def reduce_row(sub, n, stage):
    total = np.int64(0)
    if sub == 0:
        for j in range(np.uint64(n)):
            total += stage.x[j]
    elif sub == 1:
        most = np.int32(INT_MIN)
        for j in range(np.uint64(n)):
            most = max(most, stage.x[j])
        total = np.int64(most)
    else:
        for j in range(np.uint64(n)):
            total += np.int64(stage.x[j]) * np.int64(stage.x[j])
    stage.z[0] = np.int32(total)


@inner
def look_up(n, offset, stage):
    for j in range(np.uint64(n)):
        stage.z[j] = stage.table[np.uint64(min(max(np.int64(stage.x[j]) + offset, 0), 255))]


@inner
def exists(kind, low, high, memory):
    return low >= 0 and high <= (len(memory.acc) if kind == ACC else len(memory.local) - MARGIN)


@inner
def is_apart(kind, at, low, high, d_type, d, d_low, d_high):
    """Return whether an operand that is read may be taken several rows at a time, ahead of what is written."""
    if (kind == ACC) != (d_type == ACC) or high <= d_low or d_high <= low:
        return True
    return at == d and step_of(kind) == step_of(d_type)


@inner
def is_direct(ints, a, a_low, a_high, d, d_low, d_high):
    """Return whether lanes can be read and written one by one: words or bytes, apart or in the same places."""
    words_and_bytes = (ints[4] == ACC and ints[9] == 0) or (ints[4] == 0 and ints[9] == ACC)
    if words_and_bytes or ints[4] != ACC or ints[9] != ACC:
        return words_and_bytes and ints[8] == 1
    same = a == d and ints[5] == ints[10] and ints[6] == ints[11] and ints[7] == ints[12]
    return ints[8] == 1 and (same or a_high <= d_low or d_high <= a_low)


@inner
def add_words(n, at, more, acc):
    """Add words to others that do not overlap them."""
    at, more = np.uint64(at), np.uint64(more)
    for j in range(np.uint64(n)):
        acc[at + j] += acc[more + j]


@inner
def is_dense(count, stride, size, lanes):
    return count == 1 or stride == size * lanes


@inner
def merged(dense, reads_b, ints, b1, b2, a_size, d_size, b_size, c1, c2, n):
    """Take rows that lie one behind the other as one line; return the counts that are left, and its lanes."""
    line = n
    for level in range(2):
        stride_a, stride_d, stride_b = (ints[7], ints[12], b2) if level == 0 else (ints[6], ints[11], b1)
        count = c2 if level == 0 else c1
        dense = dense and is_dense(count, stride_a, a_size, line) and is_dense(count, stride_d, d_size, line)
        dense = dense and (not reads_b or is_dense(count, stride_b, b_size, line))
        if not dense:
            break
        line *= count
        if level == 0:
            c2 = 1
        else:
            c1 = 1
    return c1, c2, line


@inner
def vector(op, sub, ints, affs, has, index, core, memory, stage, state):
    """Run one vector instruction. Returns whether all its addresses exist."""
    n = extent(ints[3], affs[6], has[6], index, core)
    c0, c1 = extent(ints[0], affs[3], has[3], index, core), extent(ints[1], affs[4], has[4], index, core)
    c2 = extent(ints[2], affs[5], has[5], index, core)
    if n <= 0 or c0 <= 0 or c1 <= 0 or c2 <= 0:
        return True
    a, d, b = place(affs[0], index, core), place(affs[1], index, core), place(affs[2], index, core)
    a_type, d_type, b_type, reads_b = ints[4], ints[9], ints[13], op == VOP and ints[19] == 0
    a_size, d_size, b_size = step_of(a_type), step_of(d_type), step_of(b_type)
    a_low, a_high = span(a, (c0, c1, c2), (ints[5], ints[6], ints[7]), a_size * (n if ints[8] else 1))
    d_low, d_high = span(d, (c0, c1, c2), (ints[10], ints[11], ints[12]), d_size * (1 if op == RED else n))
    if not exists(a_type, a_low, a_high, memory) or not exists(d_type, d_low, d_high, memory):
        return False
    dense = op != RED and ints[8] == 1 and is_apart(a_type, a, a_low, a_high, d_type, d, d_low, d_high)
    b0, b1, b2 = np.int64(0), np.int64(0), np.int64(0)
    b_low, b_high = np.int64(0), np.int64(0)
    if reads_b:
        b0, b1, b2 = ints[14], ints[15], ints[16]
        b_low, b_high = span(b, (c0, c1, c2), (b0, b1, b2), b_size * (n if ints[17] else 1))
        if not exists(b_type, b_low, b_high, memory):
            return False
        dense = dense and ints[17] == 1 and is_apart(b_type, b, b_low, b_high, d_type, d, d_low, d_high)
    elif (op == LUT or (op == RQ and sub & 4)) and not exists(0, b, b + (1024 if op == LUT else 12 * n), memory):
        return False
    if d_type != ACC:
        touch(state, d_low, d_high)
    direct = is_direct(ints, a, a_low, a_high, d, d_low, d_high) and op == RQ and sub & 3 == 0
    adds = op == VOP and sub == 0 and reads_b and b_type == ACC and a_type == ACC and d_type == ACC and a == d
    if adds:
        same = ints[5] == ints[10] and ints[6] == ints[11] and ints[7] == ints[12] and ints[8] == 1 and ints[17] == 1
        adds = same and (b_high <= d_low or d_high <= b_low)
    c1, c2, line = merged(dense, reads_b, ints, b1, b2, a_size, d_size, b_size, c1, c2, n)
    part = min(line, n * max(1, PART // n))
    alike = direct and not sub & 4
    if alike:
        part = line
    elif op == RQ:
        take_parameters(sub, ints, b, n, part, memory, stage)
    elif op == LUT:
        fetch(2, b, 1, 256, memory, stage.table)
    elif op == VOP and not reads_b:
        stage.y[:part] = np.int32(ints[18])
    for r0 in range(c0):
        for r1 in range(c1):
            for r2 in range(c2):
                pa = a + r0 * ints[5] + r1 * ints[6] + r2 * ints[7]
                pd = d + r0 * ints[10] + r1 * ints[11] + r2 * ints[12]
                pb = b + r0 * b0 + r1 * b1 + r2 * b2
                for start in range(0, line, part):
                    m = min(part, line - start)
                    if alike:
                        requantize_alike(ints, m, pa + start * a_size, pd + start * d_size, memory)
                        continue
                    if direct:
                        requantize_directly(ints, m, pa + start * a_size, pd + start * d_size, memory, stage)
                        continue
                    if adds:
                        add_words(m, pd + start, pb + start, memory.acc)
                        continue
                    fetch(a_type, pa + start * a_size, ints[8], m, memory, stage.x)
                    if op == RQ:
                        requantize(sub, ints, m, stage)
                    elif op == VOP:
                        if reads_b:
                            fetch(b_type, pb + start * b_size, ints[17], m, memory, stage.y)
                        if sub == MAC:
                            fetch(d_type, pd + start * d_size, 1, m, memory, stage.z)
                        operate(sub, m, stage.x, stage.y, stage.z)
                    elif op == LUT:
                        look_up(m, ints[13], stage)
                    else:
                        reduce_row(sub, m, stage)
                        m = 1
                    put(d_type, pd + start * d_size, m, memory, stage.z)
    return True
