"""Which parts of a MATRIX stream are one product, found in the program's own instructions.

In: the code of a program's kernels. Out: a table of nests per kernel, and the scratch memory that the largest one
needs. A nest is loops around exactly one (WLD, MM) pair, without semaphores between, whose steps all add to the same
sums, or to sums of other columns that no other step touches, and of which only the very first may replace. `product`
in matrix.py runs it in one go; that is the same as running its instructions one by one, in any order of the streams,
because the pair touches nothing but the accumulator and the weight registers, and addition modulo 2**32 has no order.
An MM outside a nest is a product without loops, with the weights that the WLD before it kept; where any MM of the
program takes weights that were not loaded directly before it, there are no nests at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onchip.isa import LOOP, MATRIX, MM, WLD
from onchip.isa.fields import SLOT, TOGGLE
from onchip.isa.memory import I8
from onchip.simulator.code import Code, Ints
from onchip.simulator.products import BLOCK, MARGIN, Form

# a nest: its first MM, the loop over columns (-1: none), its loops, pairs in the innermost body, records, whether its
# sums are apart, and a number that nests share whose inputs are the same
MM_AT, COLUMN, LOOPS, PAIRS, SPAN, APART, ROWS_ID, NEST = 0, 1, 2, 3, 4, 5, 6, 7
# what is packed: bytes read from (low, high) and the operands that decide it; the size of what WLD kept
ROWS_LOW, ROWS_HIGH, ROWS_KEY, BLOCKS_LOW, BLOCKS_HIGH, BLOCKS_KEY, KEPT_K, KEPT_N, STATE = (
    0,
    1,
    2,
    9,
    10,
    11,
    15,
    16,
    17,
)
SLAB_BYTES = 1 << 20  # packed rows that are held at once: half of a large second-level cache
SLACK_ROWS = 16  # the last group of rows is read past its end
K_OPERANDS, COLUMN_OPERANDS, ROW_OPERANDS = (0, 2, 6), (1, 7), (3, 4, 5)  # of MM, by what may follow which loops


class Scratch(NamedTuple):
    """Room for packed operands, the tables of one product, the weights that WLD kept, and what is packed now."""

    rows: NDArray[np.uint8]
    blocks: NDArray[np.uint8]
    sums: NDArray[np.int32]
    kept: NDArray[np.int8]
    stage: NDArray[np.int8]
    passes: Ints
    pieces: Ints
    row_at: Ints
    block_at: Ints
    widths: Ints
    state: Ints


def find_nests(codes: Sequence[Code]) -> list[Ints]:
    """Return a table per kernel: the nest that starts at each record; its number of records is 0 where none does."""
    tables = [np.zeros((len(code.ops), NEST), np.int64) for code in codes]
    own = all(_loads_its_weights(code) for code in codes)
    numbers, known = itertools.count(), dict[bytes, int]()
    for code, table in zip(codes, tables, strict=True):
        done = 0
        for at, ends in _products(code):
            table[at] = (at, -1, 0, 1, 1, _is_apart(code, at, ()), next(numbers))
            if not own or at < done or code.ops[at - 1] != WLD.OP or not _is_pair(code, at, ends):
                continue
            pairs = _pairs(code, at, ends)
            n = max(n for n in range(len(ends) + 1) if _is_nest(code, at, ends, n, pairs))
            column, done = _column(code, at, ends, n), at - 1 + 2 * pairs
            number = known.setdefault(_inputs(code, at, n, pairs), next(numbers))
            table[at - 1 - n] = (at, column, n, pairs, n + 2 * pairs, True, number)
    return tables


def _loads_its_weights(code: Code) -> bool:
    found = np.flatnonzero(code.ops == MM.OP)
    return bool((code.ops[found - 1] == WLD.OP).all()) if len(found) else True


def _products(code: Code) -> Iterable[tuple[int, list[int]]]:
    """Yield each MM with the ends of the loops around it, outermost first."""
    ends: list[int] = []
    for at in range(int(code.starts[MATRIX]), int(code.starts[MATRIX + 1])):
        while ends and ends[-1] <= at:
            ends.pop()
        if code.ops[at] == LOOP.OP:
            ends.append(at + 1 + int(code.integers[at, 1]))
        elif code.ops[at] == MM.OP:
            yield at, list(ends)


def _is_pair(code: Code, at: int, ends: list[int]) -> bool:
    """Return whether WLD and MM run together and agree on the weights."""
    ints, rows = code.integers, code.affines
    quiet = not (code.waits[at - 1 : at + 1].any() or code.signals[at - 1 : at + 1].any())
    together = _depth(code, at - 1) == len(ends)
    types = ints[at - 1, 3] == I8 and ints[at, 13] == I8
    sizes = (ints[at - 1, :2] == ints[at, 3:5]).all()
    clips = (rows[at - 1, 1:3] == rows[at, 6:8]).all() and (code.has[at - 1, 1:3] == code.has[at, 6:8]).all()
    return bool(quiet and together and types and sizes and clips) and _is_apart(code, at, ())


def _depth(code: Code, at: int) -> int:
    """Return how many loops stand around a record."""
    loops = np.flatnonzero(code.ops[int(code.starts[MATRIX]) : at] == LOOP.OP) + int(code.starts[MATRIX])
    return int((loops + 1 + code.integers[loops, 1] > at).sum())


def _pairs(code: Code, at: int, ends: list[int]) -> int:
    """Return how many pairs from this one on add to the same sums, and differ only in where operands start."""
    n, end, first = 1, ends[-1] if ends else int(code.starts[MATRIX + 1]), code.affines[at - 1 : at + 1].copy()
    while (
        at + 2 * n < (ends[-1] if ends else end)
        and code.ops[at + 2 * n] == MM.OP
        and code.ops[at + 2 * n - 1] == WLD.OP
    ):
        other = at + 2 * n
        rows = code.affines[other - 1 : other + 1].copy()
        rows[0, :2, 0], rows[1, K_OPERANDS, 0] = first[0, :2, 0], first[1, K_OPERANDS, 0]
        same = (rows == first).all() and (code.integers[other - 1 : other + 1] == code.integers[at - 1 : at + 1]).all()
        clipped = (code.has[other - 1 : other + 1] == code.has[at - 1 : at + 1])[:, 3:].all()
        same = same and clipped and code.subs[other] == 1 and code.subs[other - 1] == code.subs[at - 1]
        if not same or not _is_pair(code, other, ends) or code.has[other, 6] != code.has[at, 6]:
            break
        n += 1
    return n


def _is_nest(code: Code, at: int, ends: list[int], n: int, pairs: int) -> bool:
    """Return whether the innermost `n` loops hold nothing but the pairs, and together are one product."""
    first, depth = at - 1 - n, len(ends) - n
    loops = range(first, at - 1)
    if any(code.ops[i] != LOOP.OP or code.waits[i] or code.signals[i] for i in loops) or any(
        end != at - 1 + 2 * pairs for end in ends[depth:]
    ):
        return False
    levels = range(depth, depth + n)
    mask = sum(1 << level for level in levels)
    rows = np.concatenate([code.affines[at - 1, :3], code.affines[at]])
    if (rows[:, TOGGLE] & mask)[rows[:, SLOT] != 0].any():
        return False
    if code.affines[at][ROW_OPERANDS, 1 + depth : 1 + depth + n].any():
        return False
    columns = [level for level in levels if code.affines[at][COLUMN_OPERANDS, 1 + level].any()]
    others = [level for level in levels if level not in columns and int(code.integers[first + level - depth, 0]) > 1]
    named, replaces = int(code.integers[at, 14]), code.subs[at] == 0
    if len(columns) > 1 or (replaces and any(not named >> level & 1 for level in others)):
        return False
    for level in columns:
        if code.affines[at][K_OPERANDS, 1 + level].any() or named >> level & 1:
            return False
        count, stride = int(code.integers[first + level - depth, 0]), int(code.affines[at, 1, 1 + level])
        return _is_apart(code, at, ((stride, count),))
    return True


def _column(code: Code, at: int, ends: list[int], n: int) -> int:
    depth = len(ends) - n
    return next((i for i in range(n) if code.affines[at][COLUMN_OPERANDS, 1 + depth + i].any()), -1)


def _inputs(code: Code, at: int, n: int, pairs: int) -> bytes:
    """Return everything that decides which inputs a nest reads, but for where the first of them is."""
    products = slice(at, at + 2 * pairs, 2)
    rows = code.affines[products].copy()
    rows[:, K_OPERANDS, 0] -= rows[0, K_OPERANDS, 0]
    rows[:, COLUMN_OPERANDS] = 0
    ints = code.integers[products].copy()
    ints[:, 4], ints[:, 10:13], ints[:, 14] = 0, 0, 0  # columns, strides of sums, what replaces
    loops = code.integers[at - 1 - n : at - 1, 0]
    return b"|".join(x.tobytes() for x in (rows, ints, loops, code.has[products, 6]))


def _is_apart(code: Code, at: int, more: tuple[tuple[int, int], ...]) -> bool:
    """Return whether all rows of sums (and copies of them) are apart: each stride steps over what lies inside."""
    ints = code.integers[at]
    sides = [(abs(int(ints[10 + d])), int(ints[d])) for d in range(3)] + [(abs(s), c) for s, c in more]
    reach = int(ints[4])
    for stride, count in sorted(side for side in sides if side[1] > 1):
        if stride < reach:
            return False
        reach += stride * (count - 1)
    return True


def make_scratch(codes: Sequence[Code], tables: Sequence[Ints], form: Form) -> Scratch:
    """Return memory for the largest product of the program."""
    passes = pieces = n_rows = n_blocks = row_bytes = block_bytes = kept = 1
    for code, table in zip(codes, tables, strict=True):
        loads = code.ops == WLD.OP
        if loads.any():
            kept = max(kept, int((code.integers[loads, 0] * code.integers[loads, 1]).max()))
        for nest in table[table[:, SPAN] > 0]:
            at, ints = int(nest[MM_AT]), code.integers[nest[MM_AT]]
            counts = [int(code.integers[at - 1 - nest[LOOPS] + i, 0]) for i in range(nest[LOOPS])]
            columns = counts[nest[COLUMN]] if nest[COLUMN] >= 0 else 1
            steps = int(np.prod(counts, dtype=np.int64)) // columns * int(nest[PAIRS])
            taps = steps * -(-int(ints[3]) // BLOCK) * BLOCK
            rows, blocks = int(ints[0] * ints[1] * ints[2]), columns * -(-int(ints[4]) // BLOCK)
            pitch = taps * form.groups * 4 // BLOCK
            passes, n_rows, n_blocks = max(passes, steps), max(n_rows, rows), max(n_blocks, blocks)
            pieces = max(pieces, steps * (int(ints[3]) // max(1, int(ints[5])) + 2))
            held = min(rows, max(1, SLAB_BYTES // max(1, pitch))) + SLACK_ROWS
            row_bytes, block_bytes = max(row_bytes, held * pitch), max(block_bytes, blocks * taps * form.groups * 4)
    more = max(blocks for _, blocks in form.shapes)
    return Scratch(
        np.zeros(row_bytes + MARGIN * form.groups, np.uint8), np.zeros(block_bytes + MARGIN, np.uint8),
        np.zeros((n_blocks + more) * BLOCK, np.int32), np.zeros(kept + MARGIN, np.int8),
        np.zeros(BLOCK * BLOCK + MARGIN, np.int8), np.zeros((passes, 4), np.int64), np.zeros((pieces, 3), np.int64),
        np.zeros(n_rows + SLACK_ROWS, np.int64), np.zeros(n_blocks + more, np.int64),
        np.zeros(n_blocks + more, np.int64), np.full(STATE, -1, np.int64),
    )  # fmt: skip
