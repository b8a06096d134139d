"""The instructions: one class each, with its fields, its meaning and its doc in one place.

In: field values. Out: a frozen instruction that can be run on a `Memory` (its definition), written as a record, as
words and as assembler text. Durations are in `timing.py`, words and records in `fields.py`, both derived from the
tables here.

Every instruction may *wait* (it starts when every semaphore in the mask is above zero, and takes one from each) and
*signal* (at completion it adds one to each in the mask). Rows of an operand are walked by three nested counters, the
last one fastest: row (r0, r1, r2) starts at operand + r0*stride0 + r1*stride1 + r2*stride2.

**Clipping.** An extent with a *left* operand is max(0, min(size, left)); a left operand whose parts are all zero
means that nothing is clipped. An instruction with an empty extent changes nothing, and still waits, takes its time and
signals.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from onchip.isa.fields import LOAD, MATRIX, STORE, VECTOR, Affine, affine_from_row, pack
from onchip.isa.floats import matrix_operand, multiply_add
from onchip.isa.memory import ACC, TYPE_BYTES, Memory

Indices = tuple[int, ...]
Numbers = np.ndarray[Any, Any]  # int64, or float32 in a float program


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions share: `wait` and `signal` are masks over the eight semaphores, `sub` is the variant."""

    OP: ClassVar[int] = 0
    NAME: ClassVar[str] = ""
    QUEUES: ClassVar[tuple[int, ...]] = ()
    wait: int = 0
    signal: int = 0
    sub: int = 0

    def run(self, memory: Memory, at: Indices) -> None:
        """Do what the instruction means; `at` holds the indices of the loops around it, outermost first."""

    def parts(self) -> tuple[tuple[int, int, int, int], tuple[int, ...], tuple[Affine, ...]]:
        """Return (op, wait, signal, sub), the plain fields and the affine operands, in the order of the record."""
        integers, affines = operand_names(type(self))
        head = (self.OP, self.wait, self.signal, self.sub)
        return head, tuple(getattr(self, n) for n in integers), tuple(getattr(self, n) for n in affines)

    def record(self) -> Any:
        """Return the instruction as one record of the hot form."""
        return pack([self.parts()])[0]

    def __str__(self) -> str:
        from onchip.isa.text import write_line

        return write_line(self)


@functools.cache
def operand_names(kind: type[Instruction]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a class's plain and affine fields, in the order of the record."""
    own = [f for f in fields(kind) if f.name not in ("wait", "signal", "sub")]
    return (
        tuple(f.name for f in own if not isinstance(f.default, Affine)),
        tuple(f.name for f in own if isinstance(f.default, Affine)),
    )


ZERO = Affine()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Instruction):
    """A box of at most four dimensions between a tensor in far memory and local memory; the innermost is contiguous.

    Element (i0, i1, i2, i3) of the box has tensor coordinates c0+i0 .. c3+i3, local address
    near + i0*near0 + i1*near1 + i2*near2 + i3, and far address

        far + (c0+i0)*far0 + (c1+i1)*far1 + (c2+i2)*far2 + (c3+i3)

    Everything along the innermost dimension counts bytes. Coordinates outside of 0..limit-1 are outside of the tensor:
    LD writes `fill` there, its four bytes in turn (byte i of a row of the box gets byte i mod 4, the lowest first); ST
    leaves them. With sub = 1, LD gathers: for row i2 the 32-bit word at far address index + 4*(c2+i2) takes the place
    of c2+i2 in the far address (not in the check against limit2).

    Fields:
        box0 box1 box2: extents of the box
        box3: bytes of its innermost row
        limit0 limit1 limit2: extents of the tensor
        limit3: bytes of its innermost row
        far0 far1 far2: bytes between neighbours in far memory
        near0 near1 near2: bytes between neighbours in local memory
        fill: the 32-bit word whose bytes LD writes outside of the tensor
        level: 0 DRAM, 1 shared memory; decides the time only
        sharers: cores of a wave that load the same box; decides the time only
        far: address of the tensor's element (0, 0, 0, 0)
        near: address of the box in local memory
        c0 c1 c2 c3: coordinates of the box's first element, c3 in bytes; may be negative
        index: address of the row numbers, for sub = 1
    """

    box0: int = 1
    box1: int = 1
    box2: int = 1
    box3: int = 0
    limit0: int = 1
    limit1: int = 1
    limit2: int = 1
    limit3: int = 0
    far0: int = 0
    far1: int = 0
    far2: int = 0
    near0: int = 0
    near1: int = 0
    near2: int = 0
    fill: int = 0
    level: int = 0
    sharers: int = 1
    far: Affine = ZERO
    near: Affine = ZERO
    c0: Affine = ZERO
    c1: Affine = ZERO
    c2: Affine = ZERO
    c3: Affine = ZERO
    index: Affine = ZERO

    def rows(self, memory: Memory, at: Indices) -> list[tuple[int | None, int, int, int]]:
        """Return (far address or None, local address, first byte, end byte) for each row of the box."""
        far, near = self.far.at(at, memory.core), self.near.at(at, memory.core)
        start = [c.at(at, memory.core) for c in (self.c0, self.c1, self.c2, self.c3)]
        low, high = max(0, -start[3]), min(self.box3, self.limit3 - start[3])
        found: list[tuple[int | None, int, int, int]] = []
        for i in np.ndindex(self.box0, self.box1, self.box2):
            place = [start[d] + i[d] for d in range(3)]
            inside = all(
                0 <= p < limit for p, limit in zip(place, (self.limit0, self.limit1, self.limit2), strict=True)
            )
            local = near + i[0] * self.near0 + i[1] * self.near1 + i[2] * self.near2
            row = self.gathered(memory, at, place[2]) if self.sub == 1 and inside else place[2]
            address = far + place[0] * self.far0 + place[1] * self.far1 + row * self.far2 + start[3]
            found.append((address if inside else None, local, low, max(low, high)))
        return found

    def gathered(self, memory: Memory, at: Indices, row: int) -> int:
        address = self.index.at(at, memory.core) + 4 * row
        return int(memory.dram[address : address + 4].view(np.int32)[0])


class LD(Transfer):
    __doc__ = f"Load. {Transfer.__doc__}"
    __slots__ = ()
    OP, NAME, QUEUES = 1, "LD", (LOAD,)

    def run(self, memory: Memory, at: Indices) -> None:
        word = np.array([self.fill & 0xFFFFFFFF], "<u4").view(np.uint8)
        fill = np.resize(word, self.box3)
        for address, local, low, high in self.rows(memory, at):
            memory.local[local : local + self.box3] = fill
            if address is not None:
                memory.local[local + low : local + high] = memory.dram[address + low : address + high]


class ST(Transfer):
    __doc__ = f"Store. {Transfer.__doc__}"
    __slots__ = ()
    OP, NAME, QUEUES = 2, "ST", (STORE,)

    def run(self, memory: Memory, at: Indices) -> None:
        for address, local, low, high in self.rows(memory, at):
            if address is not None:
                memory.dram[address + low : address + high] = memory.local[local + low : local + high]


def extent(size: int, remaining: Affine, at: Indices, core: tuple[int, int, int]) -> int:
    """Return min(size, remaining), at least 0; a remaining operand of zero means that nothing is clipped."""
    return size if remaining == ZERO else max(0, min(size, remaining.at(at, core)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WLD(Instruction):
    """Weight load: bring k x n weights from local memory to the shadow registers of the matrix unit.

    Element (i, j) of e bytes stands at source + i*pitch + j*e (sub = 1, transposed: source + j*pitch + i*e). Rows and
    columns of the array beyond k and n hold zero. It does not hold its stream: MM or the next WLD may be looked at in
    the same cycle.

    Fields:
        k n: rows (inputs) and columns (outputs) of the weights
        pitch: bytes between neighbouring rows; transposed: columns
        type: element type
        source: address of element (0, 0) in local memory
        k_left n_left: what is left of k and n
    """

    OP, NAME, QUEUES = 3, "WLD", (MATRIX,)
    k: int = 0
    n: int = 0
    pitch: int = 0
    type: int = 0
    source: Affine = ZERO
    k_left: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        k, n = extent(self.k, self.k_left, at, memory.core), extent(self.n, self.n_left, at, memory.core)
        base = self.source.at(at, memory.core)
        if self.sub == 1:
            lines = [memory.load(self.type, base + j * self.pitch, k) for j in range(n)]
            weights: Numbers = np.stack(lines, axis=1) if lines else np.zeros((k, 0), np.int64)
        else:
            lines = [memory.load(self.type, base + i * self.pitch, n) for i in range(k)]
            weights = np.stack(lines) if lines else np.zeros((0, n), np.int64)
        memory.shadow = matrix_operand(self.type, weights) if memory.is_float else weights


@dataclass(frozen=True, slots=True, kw_only=True)
class MM(Instruction):
    """Matrix multiply: rows of k inputs through the array, n sums each, into accumulator words (wrapping at 32 bits).

    Takes the shadow weights over at its first row. Input kk of a row, for kk from k_begin to k_begin + k - 1, of e
    bytes, stands at

        source + row offset + floor(kk / run_length)*run_stride + (kk mod run_length)*e      (bytes)

    A run is what lies side by side (kernel width x channels of a convolution), so one pass may span kernel rows. Sum j
    goes to accumulator word sums + row offset + j. It is added to what is there, unless sub = 0 and every loop index in
    the mask `first` is 0 (also for an empty mask): then it replaces it. It does not hold its stream.

    In a float program the order is fixed: sum j starts at what is there (or at 0), and for each kk in ascending order
    the product is rounded to float32 and added, and the sum is rounded to float32.

    Fields:
        rows0 rows1 rows2: row counts
        k n: inputs a row, sums a row
        run_length: inputs side by side
        run_stride: bytes from one run to the next
        source0 source1 source2: bytes between rows of inputs
        sum0 sum1 sum2: words between rows of sums
        type: element type of inputs and weights
        first: mask of loop levels, bit l for level l
        source: address of the inputs in local memory
        sums: address of the sums in the accumulator
        k_begin: the first kk
        left0 left1 left2: what is left of rows0, rows1, rows2
        k_left n_left: what is left of k and n
    """

    OP, NAME, QUEUES = 4, "MM", (MATRIX,)
    rows0: int = 1
    rows1: int = 1
    rows2: int = 1
    k: int = 0
    n: int = 0
    run_length: int = 0
    run_stride: int = 0
    source0: int = 0
    source1: int = 0
    source2: int = 0
    sum0: int = 0
    sum1: int = 0
    sum2: int = 0
    type: int = 0
    first: int = 0
    source: Affine = ZERO
    sums: Affine = ZERO
    k_begin: Affine = ZERO
    left0: Affine = ZERO
    left1: Affine = ZERO
    left2: Affine = ZERO
    k_left: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        memory.weights = memory.shadow
        core = memory.core
        n, k = extent(self.n, self.n_left, at, core), extent(self.k, self.k_left, at, core)
        source, sums = self.source.at(at, core), self.sums.at(at, core)
        taps = np.arange(k) + self.k_begin.at(at, core)
        places = taps // self.run_length * self.run_stride + taps % self.run_length * TYPE_BYTES[self.type]
        replaces = self.sub == 0 and all(i == 0 for level, i in enumerate(at) if self.first >> level & 1)
        for i in range(extent(self.rows0, self.left0, at, core)):
            for j in range(extent(self.rows1, self.left1, at, core)):
                for r in range(extent(self.rows2, self.left2, at, core)):
                    base = source + i * self.source0 + j * self.source1 + r * self.source2
                    x = memory.gather(self.type, base + places)
                    address = sums + i * self.sum0 + j * self.sum1 + r * self.sum2
                    self._accumulate(memory, address, x, memory.weights[:k, :n], replaces)

    def _accumulate(self, memory: Memory, address: int, x: Numbers, weights: Numbers, replaces: bool) -> None:
        sums = memory.load(ACC, address, weights.shape[1])
        sums = np.zeros_like(sums) if replaces else sums
        if memory.is_float:
            memory.store(ACC, address, multiply_add(sums, matrix_operand(self.type, x), weights))
        else:
            memory.store(ACC, address, sums + x @ weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync(Instruction):
    """Shared by the instructions that move nothing."""


class NOP(Sync):
    """Only waits and signals; one cycle."""

    __slots__ = ()
    OP, NAME, QUEUES = 0, "NOP", (LOAD, MATRIX, VECTOR, STORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LOOP(Sync):
    """Run the next `body` instructions `count` times; the loop's index is the next level of the stack. One cycle to
    enter.

    Bodies nest and do not overlap; a stack deeper than four, a count or a body below 1 is refused.

    Fields:
        count: iterations
        body: instructions in the body, inner LOOPs included; not words
    """

    OP, NAME, QUEUES = 9, "LOOP", (LOAD, MATRIX, VECTOR, STORE)
    count: int = 1
    body: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BARRIER(Sync):
    """Starts a kernel: every stream of every core stops here until all have completed everything before it.

    Then the semaphores take the counts, and all streams go on together after the duration of the barrier. The only
    instruction that spans cores. Before it ends, the CFG words of the kernel are in the address generators.

    Fields:
        counts: the first count of semaphore s in bits 4s+3..4s, 0 to 15
        active: the number of cores that have work in the kernel; far-memory bandwidth is divided by it
    """

    OP, NAME, QUEUES = 10, "BARRIER", (LOAD, MATRIX, VECTOR, STORE)
    counts: int = 0
    active: int = 1


class HALT(Sync):
    """Ends the stream when everything before it has completed."""

    __slots__ = ()
    OP, NAME, QUEUES = 11, "HALT", (LOAD, MATRIX, VECTOR, STORE)


def from_record(record: Any, classes: dict[int, type[Instruction]]) -> Instruction:
    """Read a record back as the instruction it came from. Raises KeyError for an unknown opcode."""
    kind = classes[int(record["op"])]
    integers, affines = operand_names(kind)
    values: dict[str, Any] = {name: int(record["integers"][i]) for i, name in enumerate(integers)}
    values |= {name: affine_from_row(record["affines"][i]) for i, name in enumerate(affines)}
    return kind(wait=int(record["wait"]), signal=int(record["signal"]), sub=int(record["sub"]), **values)
