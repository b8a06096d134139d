"""Transfers: boxes between far and local memory, compiled.

In: an LD or ST, the loop indices, far and local memory. Out: bytes moved. A box that lies inside its tensor is moved
row by row without a look at coordinates; any other one as the instruction's text says it.
"""

# pyright: basic

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from onchip.simulator.matrix import touch
from onchip.simulator.operands import inner, place, span
from onchip.simulator.products import I8, I64, MARGIN, pointer_to, read, write


def _rows_of(builder, size, source, target, pitches, n_bytes, rows):
    """Move rows whose bytes are a multiple of `size`, as vectors of that size."""
    kind = ir.VectorType(I8, size)
    parts = builder.sdiv(n_bytes, ir.Constant(I64, size))
    with cgutils.for_range(builder, rows) as row:
        start = builder.gep(source, [builder.mul(row.index, pitches[0])])
        end = builder.gep(target, [builder.mul(row.index, pitches[1])])
        with cgutils.for_range(builder, parts) as part:
            offset = builder.mul(part.index, ir.Constant(I64, size))
            write(builder, read(builder, builder.gep(start, [offset]), kind), builder.gep(end, [offset]))


def _move_rows(typingctx, source, at, pitch, target, to, target_pitch, n_bytes, rows):
    """move_rows(source u8[], at, pitch, target u8[], to, pitch, n_bytes, rows): the arrays do not overlap."""
    i64 = types.int64
    signature = types.void(source, i64, i64, target, i64, i64, i64, i64)

    def generate(context, builder, signature, arguments):
        start = pointer_to(context, builder, signature.args[0], arguments[0], arguments[1])
        end = pointer_to(context, builder, signature.args[3], arguments[3], arguments[4])
        pitches, n_bytes, rows = (arguments[2], arguments[5]), arguments[6], arguments[7]

        def divides(size):
            return builder.icmp_signed("==", builder.srem(n_bytes, ir.Constant(I64, size)), ir.Constant(I64, 0))

        with builder.if_then(builder.icmp_signed("==", n_bytes, ir.Constant(I64, 16))):
            _rows_of(builder, 16, start, end, pitches, ir.Constant(I64, 16), rows)
        rows = builder.select(builder.icmp_signed("==", n_bytes, ir.Constant(I64, 16)), ir.Constant(I64, 0), rows)
        with builder.if_else(divides(64)) as (wide, other):
            with wide:
                _rows_of(builder, 64, start, end, pitches, n_bytes, rows)
            with other, builder.if_else(divides(16)) as (narrow, odd):
                with narrow:
                    _rows_of(builder, 16, start, end, pitches, n_bytes, rows)
                with odd, cgutils.for_range(builder, rows) as row:
                    cgutils.raw_memcpy(
                        builder, builder.gep(end, [builder.mul(row.index, pitches[1])]),
                        builder.gep(start, [builder.mul(row.index, pitches[0])]), n_bytes, 1,
                    )  # fmt: skip
        return context.get_dummy_value()

    return signature, generate


move_rows: Any = intrinsic(_move_rows)


@inner
def move_box(is_load, base, near, ints, first, far, local):
    """Move a box that lies inside its tensor."""
    rows, far_pitch, near_pitch, n_bytes = ints[2], ints[10], ints[13], ints[3]
    if far_pitch == n_bytes and near_pitch == n_bytes:
        rows, n_bytes = 1, n_bytes * rows
    for i in range(ints[0]):
        for j in range(ints[1]):
            there = base + (first[0] + i) * ints[8] + (first[1] + j) * ints[9] + first[2] * ints[10] + first[3]
            here = near + i * ints[11] + j * ints[12]
            if is_load:
                move_rows(far, there, far_pitch, local, here, near_pitch, n_bytes, rows)
            else:
                move_rows(local, here, near_pitch, far, there, far_pitch, n_bytes, rows)


@inner
def word_at(far, at):
    return np.int64(far[at]) | np.int64(far[at + 1]) << 8 | np.int64(far[at + 2]) << 16 | np.int64(far[at + 3]) << 24


@inner
def fill_row(fill, at, size, local):
    """Write the bytes of a word in turn."""
    first = np.uint8(fill & 0xFF)
    if (fill ^ fill >> 8) & 0xFFFFFF == 0:  # all the same
        local[at : at + size] = first
        return
    for j in range(size):
        local[at + j] = np.uint8(fill >> 8 * (j & 3) & 0xFF)


@inner
def move_row(is_load, is_inside, there, here, low, high, size, fill, far, local):
    """Move what of a row lies inside its tensor; a load fills the rest. Returns whether its addresses exist."""
    if is_load and (not is_inside or low > 0 or high < size):
        fill_row(fill, here, size, local)
    if is_inside and high > low:
        if there + low < 0 or there + high > len(far) - MARGIN:
            return False
        if is_load:
            move_rows(far, there + low, 0, local, here + low, 0, high - low, 1)
        else:
            move_rows(local, here + low, 0, far, there + low, 0, high - low, 1)
    return True


@inner
def move_clipped(is_load, base, near, ints, first, low, high, fill, far, local):
    """Move what of a box lies inside its tensor, runs of rows at a time; a load fills the rest.

    Rows of a load do not overlap in local memory. Returns whether the addresses exist.
    """
    begin, end = min(max(0, -first[2]), ints[2]), max(0, min(ints[2], ints[6] - first[2]))
    for i in range(ints[0]):
        for j in range(ints[1]):
            here = near + i * ints[11] + j * ints[12]
            is_inside = 0 <= first[0] + i < ints[4] and 0 <= first[1] + j < ints[5] and begin < end
            if is_load and (not is_inside or low > 0 or high < ints[3]):
                for r in range(ints[2]):
                    fill_row(fill, here + r * ints[13], ints[3], local)
            elif is_load:
                for r in range(begin):
                    fill_row(fill, here + r * ints[13], ints[3], local)
                for r in range(end, ints[2]):
                    fill_row(fill, here + r * ints[13], ints[3], local)
            if not is_inside:
                continue
            there = base + (first[0] + i) * ints[8] + (first[1] + j) * ints[9] + first[3] + low
            there, here = there + (first[2] + begin) * ints[10], here + begin * ints[13] + low
            rows, n_bytes = end - begin, high - low
            least, most = span(there, (1, 1, rows), (0, 0, ints[10]), n_bytes)
            if least < 0 or most > len(far) - MARGIN:
                return False
            if ints[10] == n_bytes and ints[13] == n_bytes:
                rows, n_bytes = 1, n_bytes * rows
            if is_load:
                move_rows(far, there, ints[10], local, here, ints[13], n_bytes, rows)
            else:
                move_rows(local, here, ints[13], far, there, ints[10], n_bytes, rows)
    return True


@inner
def transfer(is_load, sub, ints, affs, index, core, far, local, state):
    """Run an LD or ST. Returns whether all its addresses exist."""
    base, near = place(affs[0], index, core), place(affs[1], index, core)
    first = (
        place(affs[2], index, core),
        place(affs[3], index, core),
        place(affs[4], index, core),
        place(affs[5], index, core),
    )
    if min(ints[0], ints[1], ints[2], ints[3]) <= 0:
        return True
    counts = (ints[0], ints[1], ints[2])
    least, most = span(near, counts, (ints[11], ints[12], ints[13]), ints[3])
    if least < 0 or most > len(local) - MARGIN:
        return False
    if is_load:
        touch(state, least, most)
    whole = sub != 1
    for d in range(4):
        whole = whole and first[d] >= 0 and first[d] + ints[d] <= ints[4 + d]
    if whole:
        there = base + first[0] * ints[8] + first[1] * ints[9] + first[2] * ints[10] + first[3]
        least, most = span(there, counts, (ints[8], ints[9], ints[10]), ints[3])
        if least < 0 or most > len(far) - MARGIN:
            return False
        move_box(is_load, base, near, ints, first, far, local)
        return True
    low, high, fill = max(0, -first[3]), min(ints[3], ints[7] - first[3]), ints[14]
    if sub != 1 and (ints[13] >= ints[3] or not is_load) and low < high:
        return move_clipped(is_load, base, near, ints, first, low, high, fill, far, local)
    table = place(affs[6], index, core)
    for i in range(ints[0]):
        for j in range(ints[1]):
            for r in range(ints[2]):
                row, here = first[2] + r, near + i * ints[11] + j * ints[12] + r * ints[13]
                is_inside = 0 <= first[0] + i < ints[4] and 0 <= first[1] + j < ints[5] and 0 <= row < ints[6]
                if sub == 1 and is_inside:
                    at = table + 4 * row
                    if at < 0 or at + 4 > len(far) - MARGIN:
                        return False
                    row = word_at(far, at)
                there = base + (first[0] + i) * ints[8] + (first[1] + j) * ints[9] + row * ints[10] + first[3]
                if not move_row(is_load, is_inside, there, here, low, high, ints[3], fill, far, local):
                    return False
    return True
