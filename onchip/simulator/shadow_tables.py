"""What shadow.py knows while it follows a kernel: where the bytes and words of one core come from.

In: sizes of the memories, and for each kernel the bytes it may store to. Out: tables, and the names of their columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onchip.simulator.code import Ints
from onchip.simulator.operands import borrowed, inner

# a tag: box << 56 | i0 << 48 | (i1 + 1024) << 32 | (i2 + 1024) << 16 | i3; 0 is nothing, 1 is something unknown
BOX, UNKNOWN, ORIGIN = 56, 1, 1024
BAD, RAW, SUM, FIRST_STEP = -1, 0, 1, 2  # stages of a value; 0 in the accumulator is nothing
LEARNED, TAPS, STEPS, LEFTOVER, BOXES, HEAD, STORED, LOST, FACTS = 0, 1, 2, 3, 4, 5, 6, 7, 8
LIMIT_STEPS, LIMIT_BOXES, LIMIT_TAPS = 8, 63, 1 << 16
OP, SUB, RECORD, A_STAGE, B_STAGE, PARAMETERS, STEP = 0, 1, 2, 3, 4, 5, 6
PLAIN = (4, 8, 9, 13, 14, 15, 16, 17, 18, 19, 20)  # fields of RQ that are no counts or strides
PLAIN_VOP = (4, 8, 9, 13, 17, 18, 19)


class Shadow(NamedTuple):
    """What is known of local memory, the accumulator, the kept weights, the kernel, and the bytes that it stored."""

    tag: Ints
    stage: NDArray[np.int16]
    column: NDArray[np.int32]
    beside: Ints
    acc_stage: NDArray[np.int16]
    acc_first: Ints
    acc_column: NDArray[np.int32]
    acc_beside: Ints
    acc_taps: NDArray[np.int32]
    state: Ints  # of kept weights: rows, columns, first tap, first column, is good
    columns: NDArray[np.int32]
    distances: Ints
    facts: Ints
    boxes: Ints
    steps: Ints
    out_base: Ints
    out_column: NDArray[np.int32]
    out_first: Ints
    out_beside: Ints


@inner
def borrowed_shadow(s):  # type: ignore[no-untyped-def]
    return Shadow(
        borrowed(s.tag), borrowed(s.stage), borrowed(s.column), borrowed(s.beside), borrowed(s.acc_stage),
        borrowed(s.acc_first), borrowed(s.acc_column), borrowed(s.acc_beside), borrowed(s.acc_taps), borrowed(s.state),
        borrowed(s.columns), borrowed(s.distances), borrowed(s.facts), borrowed(s.boxes), borrowed(s.steps),
        borrowed(s.out_base), borrowed(s.out_column), borrowed(s.out_first), borrowed(s.out_beside),
    )  # fmt: skip


@inner
def unchanged(stage):  # type: ignore[no-untyped-def]
    return stage


def make_shadow(local_bytes: int, words: int, lanes: int) -> Shadow:
    """Return tables for the memories of one core; those of what is stored are made for each kernel."""
    i64 = np.int64
    return Shadow(
        np.zeros(local_bytes, i64), np.zeros(local_bytes, np.int16), np.zeros(local_bytes, np.int32),
        np.zeros(local_bytes, i64), np.zeros(words, np.int16), np.zeros(words, i64), np.zeros(words, np.int32),
        np.zeros(words, i64), np.zeros(words, np.int32), np.zeros(5, i64), np.zeros(lanes, np.int32),
        np.zeros(LIMIT_TAPS, i64), np.zeros(FACTS, i64), np.zeros((LIMIT_BOXES + 1, 9), i64),
        np.zeros((LIMIT_STEPS, STEP), i64), np.zeros(1, i64), np.zeros(0, np.int32), np.zeros(0, i64), np.zeros(0, i64),
    )  # fmt: skip


def cleared(shadow: Shadow, out_base: int, out_bytes: int) -> Shadow:
    """Return the tables as they are when a kernel starts; it stores to `out_bytes` bytes from `out_base` on."""
    for part in (shadow.tag, shadow.acc_stage, shadow.state, shadow.facts, shadow.steps):
        part[:] = 0
    shadow.out_base[0] = out_base
    made = np.full(out_bytes, -1, np.int32), np.zeros(out_bytes, np.int64), np.zeros(out_bytes, np.int64)
    return shadow._replace(out_column=made[0], out_first=made[1], out_beside=made[2])
