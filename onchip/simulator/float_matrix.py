"""A float program's matrix instructions: weights kept as float32, sums input by input, compiled.

In: a WLD or MM, the loop indices, local memory and accumulator. Out: weights kept, accumulator words changed; False
where an address leaves the memory. For each input in order: product rounded, sum rounded (isa/floats.py); the sums of
a row lie side by side, so the inner loop is vector code over columns and the order of each sum stays.
"""

# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onchip.isa import MM, WLD
from onchip.simulator.code import Code, Ints
from onchip.simulator.float_lanes import bits, from_bf16, from_f16, from_fp8, number, to_tf32
from onchip.simulator.float_vectors import fetch
from onchip.simulator.nests import KEPT_K, KEPT_N, STATE
from onchip.simulator.operands import extent, inner, place, span, step_of
from onchip.simulator.products import MARGIN

TF32 = 8
ROWS = 4  # rows of inputs that share a look at the weights


class FloatScratch(NamedTuple):
    """The weights that WLD kept, rows of inputs and sums under way, places of the inputs of a row."""

    kept: NDArray[np.float32]
    inputs: NDArray[np.float32]
    sums: NDArray[np.float32]
    places: Ints
    state: Ints


def make_float_scratch(codes: Sequence[Code]) -> FloatScratch:
    """Return memory for the largest product of the program."""
    kept = k = n = 1
    for code in codes:
        loads, products = code.integers[code.ops == WLD.OP], code.integers[code.ops == MM.OP]
        kept = max(kept, int((loads[:, 0] * loads[:, 1]).max(initial=0)))
        k, n = max(k, int(products[:, 3].max(initial=0))), max(n, int(products[:, 4].max(initial=0)))
    return FloatScratch(
        np.zeros(kept, np.float32), np.zeros(ROWS * k, np.float32), np.zeros(ROWS * n, np.float32),
        np.zeros(k, np.int64), np.full(STATE, -1, np.int64),
    )  # fmt: skip


@inner
def keep_floats(sub, ints, affs, has, index, core, memory, scratch):
    """Run a WLD: rows of n weights behind each other. Returns whether its addresses exist."""
    k, n = extent(ints[0], affs[1], has[1], index, core), extent(ints[1], affs[2], has[2], index, core)
    base, pitch, kind = place(affs[0], index, core), ints[2], ints[3]
    size, kept, inputs = step_of(kind), scratch.kept, scratch.inputs
    scratch.state[KEPT_K], scratch.state[KEPT_N] = k, n
    if k == 0 or n == 0:
        return True
    lines, lanes = (n, k) if sub == 1 else (k, n)
    low, high = span(base, (lines, 1, 1), (pitch, 0, 0), lanes * size)
    if low < 0 or high > len(memory.local) - MARGIN:
        return False
    for i in range(lines):
        if sub != 1:
            fetch(kind, base + i * pitch, lanes, memory, kept[i * n : (i + 1) * n])
            continue
        for start in range(0, lanes, len(inputs)):
            m = min(len(inputs), lanes - start)
            fetch(kind, base + i * pitch + start * size, m, memory, inputs)
            for j in range(m):
                kept[(start + j) * n + i] = inputs[j]
    if kind == TF32:
        for j in range(k * n):
            kept[j] = to_tf32(kept[j])
    return True


@inner
def read_inputs(kind, base, k, places, memory, first, inputs):
    """Read the inputs of one row."""
    if kind == 4:
        for j in range(k):
            inputs[first + j] = from_bf16(memory.l16[(base + places[j]) >> 1])
    elif kind == 5:
        for j in range(k):
            inputs[first + j] = from_f16(memory.l16[(base + places[j]) >> 1])
    elif kind == 7:
        for j in range(k):
            inputs[first + j] = from_fp8(memory.l8[base + places[j]])
    else:
        for j in range(k):
            x = number(memory.l32[(base + places[j]) >> 2])
            inputs[first + j] = to_tf32(x) if kind == TF32 else x


@inner
def add_products(k, n, rows, inputs, kept, sums):
    """Add inputs x weights to each row of sums, one input after the other."""
    if rows == ROWS:
        for kk in range(k):
            x0, x1, x2, x3 = inputs[kk], inputs[k + kk], inputs[2 * k + kk], inputs[3 * k + kk]
            at = np.uint64(kk * n)
            s1, s2, s3 = np.uint64(n), np.uint64(2 * n), np.uint64(3 * n)
            for j in range(np.uint64(n)):
                w = kept[at + j]
                sums[j] += x0 * w
                sums[s1 + j] += x1 * w
                sums[s2 + j] += x2 * w
                sums[s3 + j] += x3 * w
        return
    for row in range(rows):
        first = np.uint64(row * n)
        for kk in range(k):
            x, at = inputs[row * k + kk], np.uint64(kk * n)
            for j in range(np.uint64(n)):
                sums[first + j] += x * kept[at + j]


@inner
def float_product(ints, affs, has, sub, index, core, memory, scratch):
    """Run an MM. Returns whether all its addresses exist."""
    c0, c1 = extent(ints[0], affs[3], has[3], index, core), extent(ints[1], affs[4], has[4], index, core)
    c2 = extent(ints[2], affs[5], has[5], index, core)
    k, n = extent(ints[3], affs[6], has[6], index, core), extent(ints[4], affs[7], has[7], index, core)
    if min(c0, c1, c2) <= 0 or n <= 0:
        return True
    source, first, begin, kind = (
        place(affs[0], index, core),
        place(affs[1], index, core),
        place(affs[2], index, core),
        ints[13],
    )
    size, places, sums, pitch = step_of(kind), scratch.places, scratch.sums, scratch.state[KEPT_N]
    if k > scratch.state[KEPT_K] or n > pitch:
        return False
    low, high = span(first, (c0, c1, c2), (ints[10], ints[11], ints[12]), n)
    if low < 0 or high > len(memory.acc):
        return False
    least, most = np.int64(1 << 62), -np.int64(1 << 62)
    for kk in range(k):
        tap = begin + kk
        places[kk] = tap // ints[5] * ints[6] + tap % ints[5] * size
        least, most = min(least, places[kk]), max(most, places[kk])
    if k:
        low, high = span(source + least, (c0, c1, c2), (ints[7], ints[8], ints[9]), most - least + size)
        if low < 0 or high > len(memory.local) - MARGIN:
            return False
    replaces = sub == 0
    for level in range(4):
        if ints[14] >> level & 1 and index[level] != 0:
            replaces = False
    total = c0 * c1 * c2
    apart = is_apart_rows(n, (c0, c1, c2), (ints[10], ints[11], ints[12]))
    step = ROWS if apart and pitch == n else 1
    for row in range(0, total, step):
        rows = min(step, total - row)
        for r in range(rows):
            q, c = (row + r) // c2, (row + r) % c2
            base = source + q // c1 * ints[7] + q % c1 * ints[8] + c * ints[9]
            read_inputs(kind, base, k, places, memory, r * k, scratch.inputs)
            at = first + q // c1 * ints[10] + q % c1 * ints[11] + c * ints[12]
            for j in range(n):
                sums[r * n + j] = np.float32(0) if replaces else number(memory.acc[at + j])
        if pitch == n:
            add_products(k, n, rows, scratch.inputs, scratch.kept, sums)
        else:
            for kk in range(k):
                for j in range(n):
                    sums[j] += scratch.inputs[kk] * scratch.kept[kk * pitch + j]
        for r in range(rows):
            q, c = (row + r) // c2, (row + r) % c2
            at = first + q // c1 * ints[10] + q % c1 * ints[11] + c * ints[12]
            for j in range(n):
                memory.acc[at + j] = bits(sums[r * n + j])
    return True


@inner
def is_apart_rows(n, counts, strides):
    """Return whether rows of sums do not overlap: strides that step over what lies inside, the last one smallest."""
    reach = n
    for d in range(2, -1, -1):
        if counts[d] > 1:
            if strides[d] < reach:
                return False
            reach += strides[d] * (counts[d] - 1)
    return True
