"""Columns of numbers as text for a page: differences as varints, deflated, in base64.

In: named columns of non-negative integers, and lines of text. Out: one base64 text and the length of each column. The
page reads it with its browser's own inflate (`DecompressionStream("deflate")`); `unpacked` is the same in Python.
A varint has seven bits a byte, the low ones first, and the high bit where more follow. `signed` columns are zigzag:
0, -1, 1, -2 become 0, 1, 2, 3.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onchip.ir.report import Json

Ints = NDArray[np.int64]
LEVEL = 9  # of deflate


def packed(columns: Mapping[str, Ints], lines: Sequence[str]) -> Json:
    """Return {"columns": [[name, count, bytes], ..], "data": base64}; the lines stand behind the columns, in UTF-8."""
    parts = {name: varints(values) for name, values in columns.items()}
    data = b"".join([*parts.values(), "\n".join(lines).encode()])
    heads = [[name, len(columns[name]), len(part)] for name, part in parts.items()]
    return {"columns": heads, "data": base64.b64encode(zlib.compress(data, LEVEL)).decode()}


def unpacked(part: Json) -> tuple[dict[str, Ints], list[str]]:
    """Read it back."""
    data = zlib.decompress(base64.b64decode(part["data"]))
    at, found = 0, dict[str, Ints]()
    for name, count, n_bytes in part["columns"]:
        found[name] = read_varints(data[at : at + n_bytes])
        assert len(found[name]) == count, name
        at += n_bytes
    return found, data[at:].decode().split("\n") if at < len(data) else []


def varints(values: Ints) -> bytes:
    """Return the values as varints behind each other."""
    if not len(values):
        return b""
    assert values.min() >= 0
    widths = np.ones(len(values), np.int64)
    for shift in range(7, 63, 7):
        widths += values >> shift > 0
    starts = np.cumsum(widths) - widths
    out = np.zeros(int(widths.sum()), np.uint8)
    for i in range(int(widths.max())):
        there = widths > i
        more = np.where(widths[there] > i + 1, 128, 0)
        out[starts[there] + i] = (values[there] >> 7 * i & 127) | more
    return out.tobytes()


def read_varints(data: bytes) -> Ints:
    raw = np.frombuffer(data, np.uint8).astype(np.int64)
    last = np.flatnonzero(raw < 128)
    first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    within = np.arange(len(raw)) - np.repeat(first, last - first + 1)
    return np.add.reduceat((raw & 127) << 7 * within, first) if len(first) else np.zeros(0, np.int64)


def zigzag(values: Ints) -> Ints:
    return np.where(values < 0, -2 * values - 1, 2 * values)


def unzigzag(values: Ints) -> Ints:
    return np.where(values & 1 == 1, -(values + 1) // 2, values // 2)
