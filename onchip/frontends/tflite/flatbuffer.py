"""Flatbuffers, read with every step checked.

In:       the bytes of a file, and the name of the file for messages.
Out:      `Table`, whose fields are read by their place in the schema: numbers, texts, vectors and further tables.
Promises: no offset leaves the file, no vector is longer than what is left of it, and all reads together are bounded by
          `BUDGET_PER_BYTE` elements per byte of the file, so that tables that share their parts cannot take forever.
          Whatever is wrong raises BadFile (OC1260). Nothing is recursive.
Does not: know the schema of TFLite (schema.py), or copy vectors of bytes.
Sources:  https://flatbuffers.dev/internals/ (vtables, little-endian, offsets of 32 bits)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from onchip.errors import BadFile
from onchip.ops.types import Array

BUDGET_PER_BYTE, BUDGET_FLOOR = 16, 1 << 20
SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


@dataclass(slots=True)
class Source:
    """The bytes, and how much reading is still allowed."""

    data: bytes
    where: str
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = BUDGET_PER_BYTE * len(self.data) + BUDGET_FLOOR

    def refuse(self, fact: str) -> BadFile:
        """Make the error that names the file."""
        return BadFile("OC1260", self.where, fact, next="Copy the file again, or convert the model once more")

    def spend(self, n: int) -> None:
        """Count elements that are read; refuse a file that asks for far more than it holds."""
        self.left -= n
        if self.left < 0:
            raise self.refuse("its tables repeat one another without end")

    def number(self, kind: str, at: int) -> int | float:
        """Read one little-endian number."""
        self.spend(1)
        if at < 0 or at + SIZES[kind] > len(self.data):
            raise self.refuse(f"an offset points to byte {at} of {len(self.data)}")
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def integer(self, kind: str, at: int) -> int:
        return int(self.number(kind, at))

    def follow(self, at: int) -> int:
        """Follow an offset to a table, a vector or a text; it always points forward."""
        step = self.integer("I", at)
        if step == 0:
            raise self.refuse(f"the offset at byte {at} points to itself")
        return at + step

    def span(self, at: int, width: int) -> tuple[int, int]:
        """Give where the elements of a vector start, and how many they are."""
        count = self.integer("I", at)
        if count * width > len(self.data) - at - 4:
            raise self.refuse(f"a vector of {count} elements at byte {at} of {len(self.data)}")
        return at + 4, count


@dataclass(frozen=True, slots=True)
class Table:
    """One table; a field that is absent has its default."""

    source: Source
    at: int

    @staticmethod
    def root(source: Source) -> Table:
        """Give the table that the file starts with."""
        return Table(source, source.follow(0))

    def _place(self, index: int) -> int:
        """Find a field; 0 where it is absent."""
        s = self.source
        vtable = self.at - s.integer("i", self.at)
        size = s.integer("H", vtable)
        entry = 4 + 2 * index
        if size < 4 or entry + 2 > size:
            if size < 4:
                raise s.refuse(f"a table at byte {self.at} without a layout")
            return 0
        step = s.integer("H", vtable + entry)
        return self.at + step if step else 0

    def integer(self, index: int, kind: str = "i", default: int = 0) -> int:
        place = self._place(index)
        return self.source.integer(kind, place) if place else default

    def flag(self, index: int, *, default: bool = False) -> bool:
        return bool(self.integer(index, "B", int(default)))

    def real(self, index: int, default: float = 0.0) -> float:
        place = self._place(index)
        return float(self.source.number("f", place)) if place else default

    def text(self, index: int) -> str:
        """Read a text; bytes that are no UTF-8 and control characters become question marks."""
        place = self._place(index)
        if not place:
            return ""
        start, count = self.source.span(self.source.follow(place), 1)
        self.source.spend(count)
        raw = self.source.data[start : start + min(count, 1000)].decode("utf-8", "replace")
        return "".join(c if c.isprintable() else "?" for c in raw)

    def table(self, index: int) -> Table | None:
        place = self._place(index)
        return Table(self.source, self.source.follow(place)) if place else None

    def tables(self, index: int) -> tuple[Table, ...]:
        """Read a vector of tables."""
        place = self._place(index)
        if not place:
            return ()
        start, count = self.source.span(self.source.follow(place), 4)
        return tuple(Table(self.source, self.source.follow(start + 4 * i)) for i in range(count))

    def vector(self, index: int, kind: str) -> Array | None:
        """View a vector of numbers; None where it is absent."""
        place = self._place(index)
        if not place:
            return None
        start, count = self.source.span(self.source.follow(place), SIZES[kind])
        if kind != "B":  # bytes are viewed, never walked
            self.source.spend(count)
        return np.frombuffer(self.source.data, dtype=np.dtype(f"<{kind}"), count=count, offset=start)

    def integers(self, index: int, kind: str = "i") -> tuple[int, ...]:
        found = self.vector(index, kind)
        return () if found is None else tuple(int(v) for v in found)
