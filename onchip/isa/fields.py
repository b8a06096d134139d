"""The shape of an instruction: its fields, its record in an array, its bits and its text.

In: field values by name. Out: the same instruction as a row of a structured array (the hot form), as 128-bit words (the
binary) and as one line of assembler text. Everything is derived from the field table of the instruction's class, so a
new field needs one entry and nothing else.

An *affine* operand is an address, a coordinate or a remaining extent that changes with the loops around it:

    value = base + sum(stride[l] * index[l]) + sum(core[d] * core_index[d]) + slot * parity(toggle, index)

where `parity` is the exclusive or of the lowest bits of the loop indices named by the mask `toggle` (bit l for level
l): double buffering without a counter. Three adders and one exclusive-or gate per level in hardware. The index of a
loop that does not exist is 0. In assembler text it reads `base+stride*i0+core*c0+slot^toggle`, without the terms that
are 0.

An instruction is one header word of 128 bits, and CFG words for the fields that are not zero:

    header   3..0      opcode
             11..4     wait mask, bit 4+s for semaphore s
             19..12    signal mask, bit 12+s for semaphore s
             27..20    sub
             59..28    bit 28+i is 1 where plain field i is not zero (24 of 32 are used)
             67..60    bit 60+j is 1 where a part of affine operand j is not zero
             127..68   zero
    CFG      3..0      1111
             7..4      zero
             47..8, 87..48, 127..88     three values, signed, 40 bits each

The values stand in this order: the plain fields that are marked, by number; then for each affine operand that is marked
a mask of ten bits and its parts that are not zero: base (bit 0 of the mask), strides of i0 to i3 (1 to 4), strides of
c0 to c2 (5 to 7), toggle (8), slot (9). A marked field is never zero, so the number of CFG words follows from the
header and the masks. Values left over in the last CFG word are zero. (Assembler text leaves out fields at their
default; bits leave out zeros.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 4  # depth of the loop stack of a stream (RTL: four counters per stream)
CORE_AXES = 3  # a core is named by its place in a grid of cores: rows, channels, batch
INTEGERS = 24  # plain fields in a record
AFFINES = 8  # affine operands in a record
CORES = 1 + LEVELS  # where an operand's parts stand in its row: base, strides, core strides, toggle mask, slot
TOGGLE = CORES + CORE_AXES
SLOT = TOGGLE + 1
AFFINE_PARTS = SLOT + 1
STREAMS = ("LOAD", "MATRIX", "VECTOR", "STORE")
LOAD, MATRIX, VECTOR, STORE = range(4)
# the eight semaphores: who signals, who waits (indices of STREAMS)
SEMAPHORES = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 3), (3, 2))
SEMAPHORE = {pair: number for number, pair in enumerate(SEMAPHORES)}
FIELD_BITS = 40  # signed; addresses up to 512 GiB
FIELDS_PER_WORD = 3  # 3 * 40 bits and an 8-bit CFG tag
RECORD = np.dtype(
    [
        ("op", np.uint8),
        ("wait", np.uint8),
        ("signal", np.uint8),
        ("sub", np.uint8),
        ("integers", np.int64, (INTEGERS,)),
        ("affines", np.int64, (AFFINES, AFFINE_PARTS)),
    ]
)

Record = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Affine:
    """An operand that follows the loops: see the module docstring for its value."""

    base: int = 0
    strides: tuple[int, int, int, int] = (0, 0, 0, 0)
    cores: tuple[int, int, int] = (0, 0, 0)
    toggle: int = 0
    slot: int = 0

    def row(self) -> tuple[int, ...]:
        return (self.base, *self.strides, *self.cores, self.toggle, self.slot)

    def at(self, indices: tuple[int, ...], core: tuple[int, int, int] = (0, 0, 0)) -> int:
        """Return the value for loop indices (outermost first, missing ones are 0)."""
        value = self.base + sum(stride * place for stride, place in zip(self.cores, core, strict=True))
        parity = 0
        for level, index in enumerate(indices):
            value += self.strides[level] * index
            parity ^= index & (self.toggle >> level) & 1
        return value + self.slot * parity

    def plus(self, offset: int) -> Affine:
        return Affine(self.base + offset, self.strides, self.cores, self.toggle, self.slot)

    def __str__(self) -> str:
        text = str(self.base)
        for level, stride in enumerate(self.strides):
            text += f"{stride:+d}*i{level}" if stride else ""
        for axis, stride in enumerate(self.cores):
            text += f"{stride:+d}*c{axis}" if stride else ""
        return text + (f"{self.slot:+d}^{self.toggle}" if self.slot else "")


def pack(rows: Sequence[tuple[tuple[int, int, int, int], Sequence[int], Sequence[Affine]]]) -> Record:
    """Return records from (op, wait, signal, sub), plain fields and affine operands of each, in one go."""
    return pack_rows([(head, plain, [v for a in affines for v in a.row()]) for head, plain, affines in rows])


def pack_rows(rows: Sequence[tuple[tuple[int, int, int, int], Sequence[int], Sequence[int]]]) -> Record:
    """Return records as `pack` does, from the parts of affine operands behind each other."""
    out = np.zeros(len(rows), RECORD)
    if not rows:
        return out
    heads = np.array([head for head, _, _ in rows], np.uint8)
    for i, name in enumerate(("op", "wait", "signal", "sub")):
        out[name] = heads[:, i]
    blank, nothing = (0,) * INTEGERS, Affine().row() * AFFINES
    out["integers"] = np.array([(*plain, *blank[len(plain) :]) for _, plain, _ in rows], np.int64)
    flat = [(*parts, *nothing[len(parts) :]) for _, _, parts in rows]
    out["affines"] = np.array(flat, np.int64).reshape(-1, AFFINES, AFFINE_PARTS)
    return out


def joined(parts: Sequence[Record]) -> Record:
    """Return records behind each other; NumPy's own function compares the fields of every part first."""
    out = np.empty(sum(map(len, parts)), RECORD)
    at = 0
    for part in parts:
        out[at : at + len(part)] = part
        at += len(part)
    return out


def affine_from_row(row: Any) -> Affine:
    parts = [int(v) for v in row]
    return Affine(parts[0], (parts[1], parts[2], parts[3], parts[4]), (parts[5], parts[6], parts[7]), *parts[8:])


def parse_affine(text: str) -> Affine:
    """Read what `str(Affine)` printed. Raises ValueError."""
    base, strides, cores, toggle, slot = 0, [0] * LEVELS, [0] * CORE_AXES, 0, 0
    for number, term in enumerate(_terms(text)):
        if "*i" in term:
            value, level = term.split("*i")
            strides[int(level)] = int(value)
        elif "*c" in term:
            value, axis = term.split("*c")
            cores[int(axis)] = int(value)
        elif "^" in term:
            value, mask = term.split("^")
            slot, toggle = int(value), int(mask)
        elif number == 0:
            base = int(term)
        else:
            raise ValueError(f"not an operand: {text!r}")
    return Affine(base, (strides[0], strides[1], strides[2], strides[3]), (cores[0], cores[1], cores[2]), toggle, slot)


def _terms(text: str) -> Iterator[str]:
    start = 0
    for i in range(1, len(text)):
        if text[i] in "+-":
            yield text[start:i]
            start = i
    yield text[start:]


def encode_record(record: Any) -> list[int]:
    """Return the 128-bit words of one record: header first, then only the fields that are not zero, three to a word."""
    integers = [int(v) for v in record["integers"]]
    affines = [[int(v) for v in row] for row in record["affines"]]
    present = sum(1 << i for i, v in enumerate(integers) if v)
    used = sum(1 << i for i, row in enumerate(affines) if any(row))
    header = int(record["op"]) | int(record["wait"]) << 4 | int(record["signal"]) << 12 | int(record["sub"]) << 20
    header |= present << 28 | used << 60
    fields = [v for v in integers if v]
    for row in affines:
        if any(row):
            mask = sum(1 << i for i, v in enumerate(row) if v)
            fields += [mask, *(v for v in row if v)]
    words = [header]
    for i in range(0, len(fields), FIELDS_PER_WORD):
        word = CFG_TAG
        for j, value in enumerate(fields[i : i + FIELDS_PER_WORD]):
            word |= _to_bits(value) << (8 + FIELD_BITS * j)
        words.append(word)
    return words


CFG_TAG = 0xF  # opcode of CFG, in the low four bits of a word that loads operands


def decode_record(words: list[int], at: int, record: Any) -> int:
    """Fill `record` from the words that start at `at`; return where the next instruction starts. Raises ValueError."""
    header = words[at]
    record["op"], record["wait"] = header & 0xF, header >> 4 & 0xFF
    record["signal"], record["sub"] = header >> 12 & 0xFF, header >> 20 & 0xFF
    present, used = header >> 28 & 0xFFFFFFFF, header >> 60 & 0xFF
    fields = _fields(words, at + 1)
    for i in range(INTEGERS):
        if present >> i & 1:
            record["integers"][i] = _marked(fields)
    for i in range(AFFINES):
        if used >> i & 1:
            mask = _marked(fields)
            for part in range(AFFINE_PARTS):
                if mask >> part & 1:
                    record["affines"][i][part] = _marked(fields)
    n_fields = int(np.count_nonzero(record["integers"]))
    n_fields += sum(1 + int(np.count_nonzero(row)) for row in record["affines"] if np.any(row))
    return at + 1 + -(-n_fields // FIELDS_PER_WORD)


def _marked(fields: Iterator[int]) -> int:
    """Return the next field; one that the masks name is there and is not zero."""
    value = next(fields, 0)
    if value == 0:
        raise ValueError("a field that is marked is zero or missing")
    return value


def _fields(words: list[int], at: int) -> Iterator[int]:
    while at < len(words):
        if words[at] & 0xF != CFG_TAG:
            raise ValueError(f"word {at}: expected a CFG word")
        for j in range(FIELDS_PER_WORD):
            yield _from_bits(words[at] >> (8 + FIELD_BITS * j) & ((1 << FIELD_BITS) - 1))
        at += 1


def _to_bits(value: int) -> int:
    if not -(1 << (FIELD_BITS - 1)) <= value < 1 << (FIELD_BITS - 1):
        raise ValueError(f"{value} does not fit {FIELD_BITS} bits")
    return value & ((1 << FIELD_BITS) - 1)


def _from_bits(bits: int) -> int:
    return bits - (1 << FIELD_BITS) if bits >> (FIELD_BITS - 1) else bits
