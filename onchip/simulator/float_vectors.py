"""A float program's vector instructions: lane operations and reductions, compiled.

In: a vector instruction, the loop indices, local memory and accumulator. Out: lanes written; False where an address
leaves the memory. The way is that of vectors.py: rows go through a stage of float32 lanes, read by type, computed,
written by type. What lanes mean is defined in isa/floats.py.
"""

# pyright: basic

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onchip.simulator.float_lanes import (
    bits,
    from_bf16,
    from_f16,
    from_fp8,
    number,
    operate,
    reduce_row,
    to_bf16,
    to_f16,
    to_fp8,
    to_integer,
)
from onchip.simulator.operands import ACC, extent, inner, place, span, step_of
from onchip.simulator.vectors import MAC, PART, RED, VOP, exists, is_apart, merged


class FloatStage(NamedTuple):
    """Lanes under way: operands and result."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    z: NDArray[np.float32]


def make_float_stage(longest_row: int) -> FloatStage:
    """Return room for rows of so many lanes, at least PART."""
    n = max(PART, longest_row)
    return FloatStage(*(np.zeros(n, np.float32) for _ in range(3)))


@inner
def fetch(kind, at, n, memory, out):
    """Read n lanes of one row."""
    start = np.uint64(at)
    if kind == ACC:
        for j in range(np.uint64(n)):
            out[j] = number(memory.acc[start + j])
    elif kind == 4:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            out[j] = from_bf16(memory.l16[start + j])
    elif kind == 5:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            out[j] = from_f16(memory.l16[start + j])
    elif kind == 6 or kind == 8:
        start >>= np.uint64(2)
        for j in range(np.uint64(n)):
            out[j] = number(memory.l32[start + j])
    elif kind == 7:
        for j in range(np.uint64(n)):
            out[j] = from_fp8(memory.l8[start + j])
    elif kind == 0:
        for j in range(np.uint64(n)):
            out[j] = memory.l8[start + j]
    elif kind == 1:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            out[j] = memory.l16[start + j]
    else:
        start >>= np.uint64(2)
        for j in range(np.uint64(n)):
            out[j] = np.float32(memory.l32[start + j])


@inner
def fetch_row(kind, at, step, n, memory, out):
    """Read n lanes of one row; step 0 repeats the first."""
    if step != 0:
        fetch(kind, at, n, memory, out)
        return
    fetch(kind, at, 1, memory, out)
    out[1:n] = out[0]


@inner
def put(kind, at, n, memory, z):
    """Write n lanes, rounded to the operand's type."""
    start = np.uint64(at)
    if kind == ACC:
        for j in range(np.uint64(n)):
            memory.acc[start + j] = bits(z[j])
    elif kind == 4:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            memory.l16[start + j] = to_bf16(z[j])
    elif kind == 5:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            memory.l16[start + j] = to_f16(z[j])
    elif kind == 6 or kind == 8:
        start >>= np.uint64(2)
        for j in range(np.uint64(n)):
            memory.l32[start + j] = bits(z[j])
    elif kind == 7:
        for j in range(np.uint64(n)):
            memory.l8[start + j] = to_fp8(z[j])
    elif kind == 0:
        for j in range(np.uint64(n)):
            memory.l8[start + j] = np.int8(to_integer(z[j], -128.0, 127.0))
    elif kind == 1:
        start >>= np.uint64(1)
        for j in range(np.uint64(n)):
            memory.l16[start + j] = np.int16(to_integer(z[j], -32768.0, 32767.0))
    else:
        start >>= np.uint64(2)
        for j in range(np.uint64(n)):
            memory.l32[start + j] = np.int32(to_integer(z[j], -2147483648.0, 2147483647.0))


@inner
def float_vector(op, sub, ints, affs, has, index, core, memory, stage):
    """Run one VOP or RED. Returns whether all its addresses exist."""
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
    if reads_b:
        b0, b1, b2 = ints[14], ints[15], ints[16]
        b_low, b_high = span(b, (c0, c1, c2), (b0, b1, b2), b_size * (n if ints[17] else 1))
        if not exists(b_type, b_low, b_high, memory):
            return False
        dense = dense and ints[17] == 1 and is_apart(b_type, b, b_low, b_high, d_type, d, d_low, d_high)
    c1, c2, line = merged(dense, reads_b, ints, b1, b2, a_size, d_size, b_size, c1, c2, n)
    part = min(line, n * max(1, PART // n))
    if op == VOP and not reads_b:
        stage.y[:part] = number(np.int32(ints[18]))
    for r0 in range(c0):
        for r1 in range(c1):
            for r2 in range(c2):
                pa = a + r0 * ints[5] + r1 * ints[6] + r2 * ints[7]
                pd = d + r0 * ints[10] + r1 * ints[11] + r2 * ints[12]
                pb = b + r0 * b0 + r1 * b1 + r2 * b2
                for start in range(0, line, part):
                    m = min(part, line - start)
                    fetch_row(a_type, pa + start * a_size, ints[8], m, memory, stage.x)
                    if op == RED:
                        reduce_row(sub, m, stage.x, stage.z)
                        m = 1
                    else:
                        if reads_b:
                            fetch_row(b_type, pb + start * b_size, ints[17], m, memory, stage.y)
                        if sub == MAC:
                            fetch_row(d_type, pd + start * d_size, 1, m, memory, stage.z)
                        operate(sub, m, stage.x, stage.y, stage.z)
                    put(d_type, pd + start * d_size, m, memory, stage.z)
    return True
