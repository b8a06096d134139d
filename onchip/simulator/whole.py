"""Kernels that are one product and one chain of vector instructions, run whole.

In: a kernel's code after it has run once (so its addresses exist), and what shadow.py found on its way through it.
Out: a Whole, which reads and writes far memory as all of the kernel's instructions together do; or None.
The evidence is in the records: every stored byte comes from one complete sum over the same distances, through the
same instructions, with the parameters of its own column. Then inputs, weights and parameters may be read straight from
far memory: nothing that the kernel stores is something it loads, and no kernel stores into constants. One product by
torch (int8 x int8 -> int32, exact) takes the place of all MM, and the vector instructions run on rows of the whole
tensor, by the same compiled code that they have else. A kernel that reads what an earlier one left in local memory
keeps all others as they are. Does not: choose; a Runner is asked for it, because finding the evidence takes the time of
some twenty runs.
"""

# pyright: basic

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.isa import RQ, ST, VOP
from onchip.simulator import shadow_tables as shadow
from onchip.simulator.code import Code, Ints
from onchip.simulator.nests import NEST
from onchip.simulator.operands import ACC
from onchip.simulator.shadow import trace
from onchip.simulator.vectors import Memory

BLOCK_WORDS = 1 << 12  # lanes of a block of rows: its words stay in the second-level cache
SHIFTS = -31, 30  # of RQ; what the machine gives for others is not defined
LARGEST_LOCAL = 1 << 22  # bytes of local memory up to which evidence is looked for: a tag takes 22 bytes
Span = tuple[int, int]  # first byte and the first behind
Operand = tuple[int, int, int]  # type, place of the first row, and the way to the next; rooms of a block have none


@dataclass(frozen=True, slots=True)
class Steps:
    """The chain as instructions on far memory and accumulator; index 0 is the first row of a block."""

    ops: Ints
    subs: Ints
    integers: Ints
    affines: Ints
    has: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the inputs of each row are, in a copy of the far tensor that has its padding around it.

    Without padding there is no copy, and places count from the tensor's base in far memory.
    """

    box: Ints  # base, sizes of the four dimensions, strides of three
    low: tuple[int, int, int]  # first coordinates of the copy
    sizes: tuple[int, int, int]
    fill: int
    is_padded: bool
    places: Ints  # [segments, 4]: first row, rows, first byte, bytes from row to row
    runs: Ints  # [runs, 3]: bytes from a row's first input on, first tap, taps

    @property
    def n_bytes(self) -> int:
        """Return the bytes of the copy."""
        return int(np.prod(self.sizes)) * int(self.box[4]) if self.is_padded else 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A kernel as one product: inputs [rows, taps], weights [taps, columns], and the chain."""

    rows: int
    taps: int
    columns: int
    inputs: Inputs
    weights: NDArray[np.int8]
    steps: Steps

    @property
    def pitch(self) -> int:
        """Return the bytes from row to row where the inputs lie in far memory as a matrix, else 0."""
        x = self.inputs
        is_one = len(x.runs) == 1 and len(x.places) == 1 and not x.is_padded
        return int(x.places[0, 3]) if is_one and x.places[0, 3] >= self.taps else 0


def find(
    codes: Sequence[Code], initial: Sequence[Any], grids: Sequence[Sequence[tuple[int, ...]]], order: Ints, far: Any,
    memory: Memory, control: Any, constants: Iterable[Span],
) -> list[Whole | None]:  # fmt: skip
    """Return each kernel as a Whole where the evidence holds; all None where it does not matter."""
    nothing: list[Whole | None] = [None] * len(codes)
    spans = [_stored(code) for code in codes]
    fixed = list(constants)
    if len(memory.local) > LARGEST_LOCAL or any(s is None for s in spans):
        return nothing
    if any(_meet(s, f) for s in spans if s is not None for f in fixed):
        return nothing
    lanes = max((int(code.integers[:, 3].max(initial=1)) for code in codes), default=1)
    tables = shadow.make_shadow(len(memory.local), len(memory.acc), max(1, lanes))
    found = list[Whole | None]()
    for code, counts, cores, span in zip(codes, initial, grids, spans, strict=True):
        low, high = span or (0, 0)
        tables = shadow.cleared(tables, low, high - low)
        nests = np.zeros((len(code.ops), NEST), np.int64)
        for core in cores:
            trace(code, nests, counts, order, core, far, memory, tables, control)
        if tables.facts[shadow.LEFTOVER]:
            return nothing
        found.append(_whole(code, tables, far, fixed))
    return found


def _stored(code: Code) -> Span | None:
    """Return what a kernel may store to; None where that is not plain."""
    low, high = 1 << 62, 0
    for at in np.flatnonzero(code.ops == ST.OP):
        ints, base = code.integers[at], code.affines[at, 0]
        if base[1:].any() or (ints[8:11] < 0).any():
            return None
        low = min(low, int(base[0]))
        high = max(high, int(base[0] + ((ints[4:7] - 1) * ints[8:11]).sum() + ints[7]))
    return (low, high) if low < high else (0, 0)


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _one_behind_the_other(tags: Ints, boxes: Ints, stored: Span) -> int | None:
    """Return the far address of the first of bytes that lie behind each other inside of one tensor, else None."""
    number = int(tags[0] >> shadow.BOX)
    if (tags >> shadow.BOX != number).any() or number == 0:
        return None
    box, parts = boxes[number], _coordinates(tags)
    if any(((i < 0) | (i >= limit)).any() for i, limit in zip(parts, box[1:5], strict=True)):
        return None
    at = box[0] + parts[3] + sum(i * s for i, s in zip(parts[:3], box[5:8], strict=True))
    first = int(at[0])
    return None if (np.diff(at) != 1).any() or _meet((first, first + len(at)), stored) else first


def _coordinates(tags: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    origin = shadow.ORIGIN
    return tags >> 48 & 0xFF, (tags >> 32 & 0xFFFF) - origin, (tags >> 16 & 0xFFFF) - origin, tags & 0xFFFF


def _inputs(first: Ints, distances: Ints, boxes: Ints, stored: Span) -> Inputs | None:
    """Write where inputs are as runs of bytes; None where rows differ in more than their place."""
    starts = np.flatnonzero(np.diff(distances, prepend=distances[0] - 2) != 1)
    lengths = np.diff(starts, append=len(distances))
    tags = first[:, None] + distances[starts][None, :]
    number = int(tags[0, 0] >> shadow.BOX)
    if (tags >> shadow.BOX != number).any():
        return None
    box, (i0, i1, i2, i3) = boxes[number], _coordinates(tags)
    if (i3 + lengths > box[4]).any() or (box[1:4] < 1).any():
        return None
    low, high = [int(i.min()) for i in (i0, i1, i2)], [int(i.max()) + 1 for i in (i0, i1, i2)]
    is_padded = any(a < 0 or b > limit for a, b, limit in zip(low, high, box[1:4], strict=True))
    if is_padded and box[8] & 0xFFFFFFFF != (box[8] & 0xFF) * 0x01010101:
        return None
    sizes = [b - a for a, b in zip(low, high, strict=True)]
    strides = [sizes[1] * sizes[2] * int(box[4]), sizes[2] * int(box[4]), int(box[4])] if is_padded else list(box[5:8])
    origin = low if is_padded else [0, 0, 0]
    at = i3 + sum((i - o) * s for i, o, s in zip((i0, i1, i2), origin, strides, strict=True))
    span = (int(box[0]), int(box[0] + ((box[1:4] - 1) * box[5:8]).sum() + box[4]))
    if (at - at[:, :1] != at[:1] - at[0, 0]).any() or _meet(span, stored) or (box[5:8] < 0).any():
        return None
    runs = list[list[int]]()
    for offset, tap, length in zip((at[0] - at[0, 0]).tolist(), starts.tolist(), lengths.tolist(), strict=True):
        if runs and runs[-1][0] + runs[-1][2] == offset:
            runs[-1][2] += length
        else:
            runs.append([offset, tap, length])
    row_at = at[:, 0]
    steps = np.diff(row_at)
    cuts = [0, *(np.flatnonzero(np.diff(steps)) + 2).tolist(), len(row_at)] if len(row_at) > 2 else [0, len(row_at)]
    places = list[tuple[int, int, int, int]]()
    for a, b in itertools.pairwise(cuts):
        if b > a:
            step = int(row_at[a + 1] - row_at[a]) if b - a > 1 else len(distances)
            places.append((a, b - a, int(row_at[a]), step))
    made = np.array(places, np.int64)
    rows = np.concatenate([a[2] + a[3] * np.arange(a[1]) for a in made])
    if len(rows) != len(row_at) or (rows != row_at).any():
        return None
    return Inputs(
        box[:8].copy(), (low[0], low[1], low[2]), (sizes[0], sizes[1], sizes[2]), int(box[8]) & 0xFF, is_padded, made,
        np.array(runs, np.int64),
    )  # fmt: skip


def _whole(code: Code, tables: shadow.Shadow, far: Any, constants: list[Span]) -> Whole | None:
    """Judge what was found about a kernel."""
    facts, boxes = tables.facts, tables.boxes
    taps, out = int(facts[shadow.TAPS]), tables.out_column
    head = int(facts[shadow.HEAD])
    if taps == 0 or taps != facts[shadow.LEARNED] or facts[shadow.LOST] or head & 0xFFFFFF != shadow.ORIGIN:
        return None
    box = boxes[head >> 24]
    columns = int(box[4])
    if columns == 0 or len(out) == 0 or len(out) % columns or taps > box[3] or box[7] < columns or min(box[1:3]) < 1:
        return None
    rows = len(out) // columns
    first = tables.out_first.reshape(rows, columns)
    if (out.reshape(rows, columns) != np.arange(columns)).any() or (first != first[:, :1]).any():
        return None
    stored = (int(tables.out_base[0]), int(tables.out_base[0]) + len(out))
    weights_span = (int(box[0]), int(box[0] + (taps - 1) * box[7] + columns))
    if not any(low <= weights_span[0] and weights_span[1] <= high for low, high in constants):
        return None
    inputs = _inputs(first[:, 0], tables.distances[:taps], boxes, stored)
    steps = _steps(code, tables, rows, columns, stored, far, constants)
    if inputs is None or steps is None:
        return None
    signed = np.lib.stride_tricks.as_strided(far.view(np.int8)[box[0] :], (taps, columns), (int(box[7]), 1))
    return Whole(rows, taps, columns, inputs, signed.copy(), steps)


def _steps(
    code: Code, tables: shadow.Shadow, rows: int, columns: int, stored: Span, far: Any, constants: list[Span]
) -> Steps | None:  # fmt: skip
    """Write the chain for rows of the whole tensor; None where it is not plain."""
    n = int(tables.facts[shadow.STEPS])
    if n == 0 or tables.facts[shadow.STORED] != shadow.FIRST_STEP + n - 1:
        return None
    block, found = min(rows, max(1, BLOCK_WORDS // columns)), tables.steps[:n]
    integers = code.integers[found[:, shadow.RECORD]].copy()
    affines = np.zeros((n, *code.affines.shape[1:]), np.int64)
    has = np.zeros((n, code.has.shape[1]), np.bool_)
    places: dict[int, Operand] = {shadow.SUM: (ACC, 0, columns)}
    if (found[:, (shadow.A_STAGE, shadow.B_STAGE)] == shadow.RAW).any():
        beside = _one_behind_the_other(tables.out_beside, tables.boxes, stored)
        if beside is None:
            return None
        places[shadow.RAW] = (0, beside, columns)
    for i, room in enumerate(_rooms(found)):
        ints, affs, step, made = integers[i], affines[i], found[i], (ACC, (rows + room * block) * columns, 0)
        a, d = places.get(int(step[shadow.A_STAGE])), (0, stored[0], columns) if i == n - 1 else made
        b = places.get(int(step[shadow.B_STAGE])) if step[shadow.OP] == VOP.OP and ints[19] == 0 else (ints[13], 0, 0)
        if a is None or b is None or (a[0], d[0], b[0]) != (ints[4], ints[9], ints[13]):
            return None
        if step[shadow.OP] == RQ.OP and step[shadow.SUB] & 4:
            at = _one_behind_the_other(step[shadow.PARAMETERS] + np.arange(12 * columns), tables.boxes, stored)
            if at is None or not _are_parameters(at, columns, far, constants):
                return None
            b = (0, at, 0)
        ints[:4], ints[5:8], ints[10:13] = (1, 1, block, columns), (0, 0, columns), (0, 0, columns)
        if step[shadow.OP] == VOP.OP:
            ints[14:17] = 0, 0, columns
        affs[0, :2], affs[1, :2], affs[2, :2], affs[5, :2], has[i, 5] = a[1:], d[1:], b[1:], (rows, -1), True
        places[shadow.FIRST_STEP + i] = made
    return Steps(found[:, shadow.OP].copy(), found[:, shadow.SUB].copy(), integers, affines, has)


def _are_parameters(at: int, columns: int, far: Any, constants: list[Span]) -> bool:
    """Return whether a bias, a multiplier and a shift of each column are constants, with shifts that are defined."""
    if at % 4 or not any(low <= at and at + 12 * columns <= high for low, high in constants):
        return False
    shifts = far[at : at + 12 * columns].view(np.int32).reshape(columns, 3)[:, 2]
    return bool(((shifts >= SHIFTS[0]) & (shifts <= SHIFTS[1])).all())


def _rooms(steps: Ints) -> list[int]:
    """Number the room of each step's result: that of what it reads first, if nobody reads that later, else its own."""
    rooms = list[int]()
    for i, step in enumerate(steps):
        read, later = int(step[shadow.A_STAGE]), steps[i + 1 :, [shadow.A_STAGE, shadow.B_STAGE]]
        own = shadow.FIRST_STEP <= read < shadow.FIRST_STEP + i and step[shadow.B_STAGE] != read and read not in later
        rooms.append(rooms[read - shadow.FIRST_STEP] if own else i)
    return rooms
