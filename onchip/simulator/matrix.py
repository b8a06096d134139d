"""The MATRIX stream's work: weights kept, and products of packed operands.

In: a nest of loops around WLD and MM (see nests.py) or one MM, and one core's memories. Out: accumulator words,
changed in place; False where an address leaves the memory. The inputs of all steps are packed side by side, a row of
the tile behind the other, the weights in blocks of 16 columns; then rows x blocks run as vector code (products.py).
Packed operands stay valid until somebody writes to the bytes they were read from; `touch` is told of every write.
"""

# pyright: basic

from __future__ import annotations

import numpy as np

from onchip.simulator.nests import (
    APART,
    BLOCKS_HIGH,
    BLOCKS_KEY,
    BLOCKS_LOW,
    COLUMN,
    KEPT_K,
    KEPT_N,
    LOOPS,
    MM_AT,
    PAIRS,
    ROWS_HIGH,
    ROWS_ID,
    ROWS_KEY,
    ROWS_LOW,
    SLACK_ROWS,
    SPAN,
)  # fmt: skip
from onchip.simulator.operands import extent, inner, place, span
from onchip.simulator.products import BLOCK, MARGIN, Form, form, multiplies_bytes

FAR = np.int64(1 << 62)


@inner
def touch(state, low, high):
    """Forget packed operands that were read from bytes low .. high - 1 of local memory."""
    if low < state[ROWS_HIGH] and state[ROWS_LOW] < high:
        state[ROWS_KEY] = -1
    if low < state[BLOCKS_HIGH] and state[BLOCKS_LOW] < high:
        state[BLOCKS_KEY] = -1


@inner
def keep_weights(sub, ints, affs, has, index, core, local, scratch):
    """Run a WLD: copy the weights, rows of n behind each other. Returns whether its addresses exist."""
    k, n = extent(ints[0], affs[1], has[1], index, core), extent(ints[1], affs[2], has[2], index, core)
    base, pitch, state = place(affs[0], index, core), ints[2], scratch.state
    down, right = (1, pitch) if sub == 1 else (pitch, 1)
    state[KEPT_K], state[KEPT_N] = k, n
    if k == 0 or n == 0:
        return True
    low, high = span(base, (k, n, 1), (down, right, 0), 1)
    if low < 0 or high > len(local) - MARGIN:
        return False
    for i in range(k):
        for j in range(n):
            scratch.kept[i * n + j] = local[base + i * down + j * right]
    return True


@inner
def list_passes(nest, code, index, core, level, passes):
    """Write (source, first tap, taps, weights) of every step that adds to the same sums; return their number."""
    at, column, loops, pairs = nest[MM_AT], nest[COLUMN], nest[LOOPS], nest[PAIRS]
    affines, integers, size = code.affines, code.integers, code.integers[at, 3]
    first_loop = at - 1 - loops
    total = pairs
    for loop in range(loops):
        if loop != column:
            total *= integers[first_loop + loop, 0]
    for number in range(total):
        this, rest = at + 2 * (number % pairs), number // pairs
        source, tap = place(affines[this, 0], index, core), place(affines[this, 2], index, core)
        weights = place(affines[this - 1, 0], index, core)
        k = place(affines[this, 6], index, core) if code.has[this, 6] else size
        for loop in range(loops - 1, -1, -1):
            if loop == column:
                continue
            count, part = integers[first_loop + loop, 0], 1 + level + loop
            digit = rest % count
            rest //= count
            source += digit * affines[this, 0, part]
            tap += digit * affines[this, 2, part]
            k += digit * affines[this, 6, part]
            weights += digit * affines[this - 1, 0, part]
        passes[number, 0], passes[number, 1] = source, tap
        passes[number, 2], passes[number, 3] = max(0, min(size, k)), weights
    return total


@inner
def list_pieces(n_passes, passes, run_length, run_stride, pieces):
    """Write (source, place in a packed row, taps) of what lies side by side; return their number, taps, low, high."""
    n, taps, low, high = 0, np.int64(0), FAR, -FAR
    for number in range(n_passes):
        tap, to = passes[number, 1], taps
        end = tap + passes[number, 2]
        while tap < end:
            length = min(end - tap, run_length - tap % run_length)
            source = passes[number, 0] + tap // run_length * run_stride + tap % run_length
            low, high = min(low, source), max(high, source + length)
            if n and pieces[n - 1, 0] + pieces[n - 1, 2] == source and pieces[n - 1, 1] + pieces[n - 1, 2] == to:
                pieces[n - 1, 2] += length
            else:
                pieces[n, 0], pieces[n, 1], pieces[n, 2] = source, to, length
                n += 1
            tap += length
            to += length
        taps += (passes[number, 2] + BLOCK - 1) // BLOCK * BLOCK
    return n, taps, low, high


@inner
def list_blocks(nest, code, left, level, block_at, widths):
    """Write where the sums of every block of 16 columns start, and how many there are; return the number of blocks."""
    at, column = nest[MM_AT], nest[COLUMN]
    operands, size = code.affines[at], code.integers[at, 4]
    count = code.integers[at - 1 - nest[LOOPS] + column, 0] if column >= 0 else 1
    part, n = 1 + level + max(column, 0), 0
    for number in range(count):
        for start in range(0, size, BLOCK):
            block_at[n] = number * operands[1, part] + start
            n_left = min(size, left + number * operands[7, part]) if column >= 0 else min(size, left)
            widths[n] = max(0, min(BLOCK, n_left - start))
            n += 1
    return n


@inner
def list_rows(first, counts, strides, row_at):
    """Write where each row's sums start."""
    n = 0
    for i in range(counts[0]):
        for j in range(counts[1]):
            for r in range(counts[2]):
                row_at[n] = first + i * strides[0] + j * strides[1] + r * strides[2]
                n += 1


@inner
def replaces_sums(code, at, index):
    """Return whether the product replaces what stands in the accumulator."""
    if code.subs[at] != 0:
        return False
    for loop in range(4):
        if code.integers[at, 14] >> loop & 1 and index[loop] != 0:
            return False
    return True


@inner
def sums_exist(first, counts, strides, n_blocks, scratch, acc):
    low, high = span(first, counts, strides, 0)
    block_at, widths = scratch.block_at, scratch.widths
    for block in range(n_blocks):
        at, width = block_at[block], widths[block]
        if width and (low + at < 0 or high + at + width > len(acc)):
            return False
    return True


@inner
def is_known(state, first, key):
    """Return whether what is packed has this key; take it over."""
    same = True
    for i in range(len(key)):
        same = same and state[first + i] == key[i]
        state[first + i] = key[i]
    return same


@inner
def weight_bytes(n_passes, n_blocks, per_step, step, down, right, scratch):
    """Return the first byte of all weights and the first behind them."""
    low, high, passes, widths = FAR, -FAR, scratch.passes, scratch.widths
    for i in range(n_passes):
        k, base = passes[i, 2], passes[i, 3]
        for block in range(n_blocks):
            n = widths[block]
            if k and n:
                at = base + block // per_step * step + block % per_step * BLOCK * right
                least, most = span(at, (k, n, 1), (down, right, 0), 1)
                low, high = min(low, least), max(high, most)
    return low, high


def product_function(chosen: Form):
    """Return `product` for one form of packed operands."""
    groups, longest, pack_inputs, pack_block = chosen.groups, chosen.longest, chosen.pack_inputs, chosen.pack_block
    unit = 4 * groups // BLOCK  # bytes of an input in a packed row

    @inner
    def pack_rows(first, last, counts, strides, local, n_pieces, pitch, scratch):
        pieces, rows = scratch.pieces, scratch.rows
        c = first % counts[2]
        b, a = first // counts[2] % counts[1], first // counts[2] // counts[1]
        for number in range(first, last):
            source, to = a * strides[0] + b * strides[1] + c * strides[2], (number - first) * pitch
            for i in range(n_pieces):
                pack_inputs(local, source + pieces[i, 0], pieces[i, 2], rows, to + unit * pieces[i, 1])
            c += 1
            if c == counts[2]:
                b, c = b + 1, 0
                if b == counts[1]:
                    a, b = a + 1, 0

    @inner
    def stage_block(weights, base, deep, width, down, right, stage):
        stage[:] = 0
        for row in range(deep):
            for column in range(width):
                stage[BLOCK * row + column] = weights[base + row * down + column * right]

    @inner
    def pack_blocks(weights, n_passes, n_blocks, per_step, step, down, right, block_pitch, scratch):
        sums, stage, passes, widths, blocks = (
            scratch.sums,
            scratch.stage,
            scratch.passes,
            scratch.widths,
            scratch.blocks,
        )
        sums[: n_blocks * BLOCK] = 0
        for block in range(n_blocks):
            width, to = widths[block], block * block_pitch
            moved = block // per_step * step + block % per_step * BLOCK * right
            for i in range(n_passes):
                base, k = passes[i, 3] + moved, passes[i, 2]
                for k0 in range(0, k, BLOCK):
                    at = base + k0 * down
                    if right == 1 and k - k0 >= BLOCK and width == BLOCK:
                        pack_block(weights, at, down, blocks, to, sums, block * BLOCK)
                    else:
                        stage_block(weights, at, min(BLOCK, k - k0), width, down, right, stage)
                        pack_block(stage, 0, BLOCK, blocks, to, sums, block * BLOCK)
                    to += 64 * groups

    def sweep_function(multiply, n_rows, n_blocks):
        @inner
        def sweep(block, blocks, first, last, pitch, block_pitch, scratch, acc, replaces):
            total, longest_part = pitch // 4, longest * groups // BLOCK
            rows, weights, sums = scratch.rows, scratch.blocks, scratch.sums
            row_at, block_at, widths = scratch.row_at, scratch.block_at, scratch.widths
            while blocks - block >= n_blocks:
                for row in range(first, last, n_rows):
                    fresh, done = replaces, 0
                    while True:
                        part = min(total - done, longest_part)
                        multiply(
                            rows, (row - first) * pitch + 4 * done, pitch, weights, block * block_pitch + 64 * done,
                            block_pitch, part, sums, acc, row_at, row, last, block_at, widths, block, fresh,
                        )  # fmt: skip
                        fresh = False
                        done += part
                        if done >= total:
                            break
                block += n_blocks
            return block

        return sweep

    sweeps = [sweep_function(m, *shape) for m, shape in zip(chosen.multiply, chosen.shapes, strict=True)]
    wide, middle, narrow = sweeps if len(sweeps) == 3 else sweeps * 3

    @inner
    def product(nest, code, index, core, level, local, scratch, acc):
        """Run a nest, or one MM with the weights kept. Returns whether all its addresses exist."""
        at, state, alone = nest[MM_AT], scratch.state, nest[SPAN] == 1
        ints, affs, has = code.integers[at], code.affines[at], code.has[at]
        counts = (
            extent(ints[0], affs[3], has[3], index, core),
            extent(ints[1], affs[4], has[4], index, core),
            extent(ints[2], affs[5], has[5], index, core),
        )
        n_rows, first_sum = counts[0] * counts[1] * counts[2], place(affs[1], index, core)
        strides, steps = (ints[10], ints[11], ints[12]), (ints[7], ints[8], ints[9])
        k_left = place(affs[6], index, core) if has[6] else ints[3]
        n_left = place(affs[7], index, core) if has[7] else ints[4]
        n_passes = list_passes(nest, code, index, core, level, scratch.passes)
        n_blocks = list_blocks(nest, code, n_left, level, scratch.block_at, scratch.widths)
        if n_rows == 0 or n_blocks == 0:
            return True
        n_pieces, taps, low, high = list_pieces(n_passes, scratch.passes, ints[5], ints[6], scratch.pieces)
        if n_pieces:
            low, high = span(low, counts, steps, high - low)
            if low < 0 or high > len(local) - MARGIN:
                return False
        if not sums_exist(first_sum, counts, strides, n_blocks, scratch, acc):
            return False
        list_rows(first_sum, counts, strides, scratch.row_at)
        per_step, block_pitch, row_pitch = (ints[4] + BLOCK - 1) // BLOCK, 4 * groups * taps, unit * taps
        if alone:
            state[BLOCKS_KEY] = -1
            scratch.passes[0, 3] = 0
            if scratch.passes[0, 2] > state[KEPT_K] or max(0, min(ints[4], n_left)) > state[KEPT_N]:
                return False
            pack_blocks(scratch.kept, 1, n_blocks, per_step, 0, state[KEPT_N], 1, block_pitch, scratch)
        elif not is_known(state, BLOCKS_KEY, (at, scratch.passes[0, 3], k_left, n_left)):
            pitch, column = code.integers[at - 1, 2], nest[COLUMN]
            down, right = (1, pitch) if code.subs[at - 1] == 1 else (pitch, 1)
            step = code.affines[at - 1, 0, 1 + level + column] if column >= 0 else 0
            least, most = weight_bytes(n_passes, n_blocks, per_step, step, down, right, scratch)
            if least < most and (least < 0 or most > len(local) - MARGIN):
                return False
            state[BLOCKS_LOW], state[BLOCKS_HIGH] = least, most
            pack_blocks(local, n_passes, n_blocks, per_step, step, down, right, block_pitch, scratch)
        known = is_known(state, ROWS_KEY, (nest[ROWS_ID], scratch.passes[0, 0], scratch.passes[0, 1], k_left, *counts))
        state[ROWS_LOW], state[ROWS_HIGH] = low, high
        replaces, slab = replaces_sums(code, at, index), n_rows
        if row_pitch:
            slab = min(n_rows, (len(scratch.rows) - MARGIN * groups) // row_pitch - SLACK_ROWS)
        if not nest[APART]:
            slab = 1
        for first in range(0, n_rows, slab):
            last = min(n_rows, first + slab)
            if not known or slab < n_rows:
                pack_rows(first, last, counts, steps, local, n_pieces, row_pitch, scratch)
            block = wide(0, n_blocks, first, last, row_pitch, block_pitch, scratch, acc, replaces)
            block = middle(block, n_blocks, first, last, row_pitch, block_pitch, scratch, acc, replaces)
            narrow(block, n_blocks, first, last, row_pitch, block_pitch, scratch, acc, replaces)
        return True

    return product


product = product_function(form(multiplies_bytes()))
