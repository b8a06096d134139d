"""What the instructions act on when they are run one by one: the naive machine state of one core.

In: sizes. Out: byte arrays for DRAM and local memory, 32-bit words for the accumulator, and the two weight registers of
the matrix unit; `is_float` for a float program (floats.py). This is the definition of the machine's memory, used by
`Instruction.run` and by the slow interpreter that is the witness of the fast one; nothing here knows about time.

Far memory (DRAM and what cores share) and local memory are bytes, little-endian. A 16-bit or 32-bit word of local
memory stands at a multiple of its size. The accumulator is 32-bit words with addresses of its own, counted in words.
The matrix unit has two sets of weights: `shadow`, which WLD fills, and `weights`, which MM multiplies by.

In an integer program reads extend the sign to 32 bits. A write to i8 or i16 saturates; a write to i32 or to the
accumulator keeps the low 32 bits. Float types are for float programs.

**Banks.** Local memory is `banks` equal banks, one behind the other, each with one read port and one write port.
Nothing arbitrates: the planner puts what different units read, or different units write, at the same time on different
banks. A memory of fewer than four banks has no such rule. The accumulator serves the matrix unit (a read and a write a
column) and the vector unit (up to three reads and a write a lane) in every cycle; its ports limit no duration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.isa.floats import read_floats, write_floats

I8, I16, I32, ACC = 0, 1, 2, 3  # operand types: bytes, 16-bit and 32-bit words in local memory; accumulator words
TYPE_NAMES = ("i8", "i16", "i32", "acc", "bf16", "f16", "f32", "fp8", "tf32")
TYPE_BYTES = (1, 2, 4, 4, 2, 2, 4, 1, 4)
NUMPY_TYPES = {I8: np.dtype(np.int8), I16: np.dtype(np.int16), I32: np.dtype(np.int32)}
LIMITS = {I8: (-128, 127), I16: (-32768, 32767), I32: (-(2**31), 2**31 - 1), ACC: (-(2**31), 2**31 - 1)}


@dataclass(slots=True)
class Memory:
    """One core's view: `dram` is shared by all cores, the rest is the core's own."""

    dram: NDArray[np.uint8]
    local: NDArray[np.uint8]
    accumulator: NDArray[np.int32]
    core: tuple[int, int, int] = (0, 0, 0)
    shadow: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    weights: NDArray[Any] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    is_float: bool = False

    def load(self, kind: int, address: int, count: int, step: int = 1) -> NDArray[Any]:
        """Return `count` elements from `address` (bytes in local memory, words in the accumulator).

        They are int64 in an integer program, float32 in a float program.
        """
        n = count if step else 1
        if kind == ACC:
            words = self.accumulator[address : address + n]
            values = words.view(np.float32).copy() if self.is_float else words.astype(np.int64)
        else:
            size = TYPE_BYTES[kind]
            data = self.local[address : address + n * size]
            values = read_floats(kind, data) if self.is_float else data.view(NUMPY_TYPES[kind]).astype(np.int64)
        if len(values) != n:
            raise IndexError(f"read of {n} {TYPE_NAMES[kind]} at {address} leaves the memory")
        return values if step else np.repeat(values, count)

    def gather(self, kind: int, addresses: NDArray[np.int64]) -> NDArray[Any]:
        """Return the elements at any addresses of local memory."""
        data = self.local[addresses[:, None] + np.arange(TYPE_BYTES[kind])].reshape(-1)
        return read_floats(kind, data) if self.is_float else data.view(NUMPY_TYPES[kind]).astype(np.int64)

    def store(self, kind: int, address: int, values: NDArray[Any]) -> None:
        """Write elements to `address`: integers saturate to the type (accumulator words wrap), floats are rounded."""
        if kind == ACC:
            words = values.view(np.int32) if self.is_float else wrap32(values)
            self.accumulator[address : address + len(values)] = words
            return
        if self.is_float:
            data = write_floats(kind, values)
        else:
            data = np.clip(values, *LIMITS[kind]).astype(NUMPY_TYPES[kind]).view(np.uint8)
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
