"""What the instructions act on when they are run one by one: the naive machine state of one core.

In: sizes. Out: byte arrays for DRAM and local memory, 32-bit words for the accumulator, and the two weight registers of
the matrix unit. This is the definition of the machine's memory, used by `Instruction.run` and by the slow interpreter
that is the witness of the fast one; nothing here knows about time.

Far memory (DRAM and what cores share) and local memory are bytes, little-endian. A 16-bit or 32-bit word of local
memory stands at a multiple of its size. The accumulator is 32-bit words with addresses of its own, counted in words.
The matrix unit has two sets of weights: `shadow`, which WLD fills, and `weights`, which MM multiplies by.

Reads extend the sign to 32 bits. A write to i8 or i16 saturates; a write to i32 or to the accumulator keeps the low 32
bits.

**Banks.** Local memory is `banks` equal banks, one behind the other, each with one read port and one write port.
Nothing arbitrates: the planner puts what different units read, or different units write, at the same time on different
banks. A memory of fewer than four banks has no such rule. The accumulator serves the matrix unit (a read and a write a
column) and the vector unit (up to three reads and a write a lane) in every cycle; its ports limit no duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

I8, I16, I32, ACC = 0, 1, 2, 3  # operand types: bytes, 16-bit and 32-bit words in local memory; accumulator words
BF16, F16, F32, F8 = 4, 5, 6, 7  # float operands: timed, values come with the float programs
TYPE_NAMES = ("i8", "i16", "i32", "acc", "bf16", "f16", "f32", "fp8")
TYPE_BYTES = (1, 2, 4, 4, 2, 2, 4, 1)
NUMPY_TYPES = {I8: np.dtype(np.int8), I16: np.dtype(np.int16), I32: np.dtype(np.int32)}
LIMITS = {I8: (-128, 127), I16: (-32768, 32767), I32: (-(2**31), 2**31 - 1), ACC: (-(2**31), 2**31 - 1)}


@dataclass(slots=True)
class Memory:
    """One core's view: `dram` is shared by all cores, the rest is the core's own."""

    dram: NDArray[np.uint8]
    local: NDArray[np.uint8]
    accumulator: NDArray[np.int32]
    core: tuple[int, int] = (0, 0)
    shadow: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    weights: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def load(self, kind: int, address: int, count: int, step: int = 1) -> NDArray[np.int64]:
        """Return `count` elements from `address` (bytes in local memory, words in the accumulator)."""
        n = count if step else 1
        if kind == ACC:
            values = self.accumulator[address : address + n]
        else:
            size = TYPE_BYTES[kind]
            values = self.local[address : address + n * size].view(NUMPY_TYPES[kind])
        if len(values) != n:
            raise IndexError(f"read of {n} {TYPE_NAMES[kind]} at {address} leaves the memory")
        wide = values.astype(np.int64)
        return wide if step else np.repeat(wide, count)

    def store(self, kind: int, address: int, values: NDArray[np.int64]) -> None:
        """Write elements to `address`, saturating to the operand's type (accumulator words wrap)."""
        if kind == ACC:
            self.accumulator[address : address + len(values)] = wrap32(values)
            return
        low, high = LIMITS[kind]
        data = np.clip(values, low, high).astype(NUMPY_TYPES[kind]).view(np.uint8)
        if address < 0 or address + len(data) > len(self.local):
            raise IndexError(f"write of {len(data)} bytes at {address} leaves local memory")
        self.local[address : address + len(data)] = data


def wrap32(values: NDArray[np.int64]) -> NDArray[np.int32]:
    return (values & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def row_offsets(counts: tuple[int, int, int], *strides: tuple[int, int, int]) -> Iterator[tuple[int, ...]]:
    """Walk rows in order, yielding each operand's offset from its own base."""
    for i in range(counts[0]):
        for j in range(counts[1]):
            for k in range(counts[2]):
                yield tuple(i * s[0] + j * s[1] + k * s[2] for s in strides)
