"""The wire format of protocol buffers, for one message and for columns of equal messages.

In: field numbers and values. Out: bytes. A varint of a column is as wide for all rows as for the largest (the high bit
marks that more follows, so padding is legal); thus all rows have one layout and are written as a matrix of bytes.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES = 0, 1, 2
CHUNK = 4096  # rows that are placed at a time
Rows = NDArray[np.uint8]  # one message a row


def varint(value: int) -> bytes:
    """Return a non-negative integer, seven bits a byte, the low ones first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """Return an integer field."""
    return varint(field << 3 | VARINT) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    """Return a field that holds a message of these parts."""
    body = b"".join(parts)
    return varint(field << 3 | BYTES) + varint(len(body)) + body


def text(field: int, value: str) -> bytes:
    return message(field, value.encode())


def width_of(values: NDArray[np.int64]) -> int:
    """Return the bytes that the largest of the values takes as a varint."""
    return len(varint(int(values.max(initial=0))))


def number_rows(field: int, values: NDArray[np.int64], width: int) -> Rows:
    """Return an integer field a row, all `width` bytes wide."""
    shifts = np.arange(width, dtype=np.int64) * 7
    digits = (values[:, None] >> shifts & 127) | np.where(np.arange(width) < width - 1, 128, 0)
    return _tagged(field, VARINT, digits.astype(np.uint8))


def fixed_rows(field: int, values: NDArray[np.int64]) -> Rows:
    """Return a fixed64 field a row."""
    return _tagged(field, FIXED64, np.ascontiguousarray(values, "<i8").view(np.uint8).reshape(-1, 8))


def double_rows(field: int, values: NDArray[np.float64]) -> Rows:
    return _tagged(field, FIXED64, np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8))


def message_rows(field: int, parts: Sequence[Rows]) -> Rows:
    """Return a field a row that holds a message of these parts."""
    body = np.concatenate(parts, axis=1)
    length = np.frombuffer(varint(body.shape[1]), np.uint8)
    return _tagged(field, BYTES, np.concatenate([np.broadcast_to(length, (len(body), len(length))), body], axis=1))


def same_rows(part: bytes, n: int) -> Rows:
    """Return one part for every row."""
    return np.broadcast_to(np.frombuffer(part, np.uint8), (n, len(part)))


def _tagged(field: int, wire: int, body: Rows) -> Rows:
    tag = np.frombuffer(varint(field << 3 | wire), np.uint8)
    return np.concatenate([np.broadcast_to(tag, (len(body), len(tag))), body], axis=1)


def joined(groups: Sequence[tuple[NDArray[np.int64], Rows]]) -> bytes:
    """Return all rows behind each other in the order of their keys; keys are 0, 1, 2 .. shared out over the groups."""
    sizes = np.zeros(sum(len(keys) for keys, _ in groups), np.int64)
    for keys, rows in groups:
        sizes[keys] = rows.shape[1]
    starts = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for keys, rows in groups:
        columns = np.arange(rows.shape[1])
        for at in range(0, len(keys), CHUNK):
            out[starts[keys[at : at + CHUNK], None] + columns] = rows[at : at + CHUNK]
    return out.tobytes()
