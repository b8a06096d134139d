"""Operands as compiled code reads them: records as arrays, addresses and extents from loop indices.

In: rows of a Record (see isa/fields.py) and the loop indices of a stream. Out: numbers. `Code` is a kernel's four
streams behind each other (code.py).
`stamp` names the state of the compiled sources: numba's cache looks at one file only, so each cached function closes
over the stamp and is compiled again when any of them changes.
"""

# pyright: basic

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic

from onchip.isa.fields import CORES, SLOT, TOGGLE
from onchip.simulator.code import Code

# what only compiled code calls: no entry from Python, which costs more to compile than the function; divisors are not 0
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # pyright: ignore[reportCallIssue]
ACC = 3  # the operand type of accumulator words, see isa/memory.py


@cache
def stamp() -> tuple[tuple[str, int, int], ...]:
    """Return name, time and size of every source that compiled code comes from."""
    here = Path(__file__).parent
    found = [(path, path.stat()) for path in (*sorted(here.glob("*.py")), here.parent / "isa" / "timing.py")]
    return tuple((path.name, stat.st_mtime_ns, stat.st_size) for path, stat in found)


def _borrowed(typingctx, array):
    """Return the array without its owner: numba then counts no references to it, which else costs more than the work.

    The caller keeps the array alive: only for what lives as long as the compiled call.
    """

    def generate(context, builder, signature, arguments):
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo, view.parent = cgutils.get_null_value(view.meminfo.type), cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


borrowed: Any = intrinsic(_borrowed)


@inner
def borrowed_code(code):
    return Code(
        borrowed(code.ops), borrowed(code.waits), borrowed(code.signals), borrowed(code.subs), borrowed(code.integers),
        borrowed(code.affines), borrowed(code.has), borrowed(code.starts),
    )  # fmt: skip


@inner
def affine(row, index):
    """Return an operand's value on core (0, 0, 0)."""
    value = row[0] + row[1] * index[0] + row[2] * index[1] + row[3] * index[2] + row[4] * index[3]
    if row[SLOT] != 0:
        parity = 0
        for level in range(4):
            parity ^= index[level] & (row[TOGGLE] >> level) & 1
        value += row[SLOT] * parity
    return value


@inner
def clipped(size, row, has, index):
    """Return what remains of an extent on core (0, 0, 0)."""
    if not has:
        return size
    return max(0, min(size, affine(row, index)))


@inner
def place(row, index, core):
    """Return an operand's value on a core."""
    return affine(row, index) + row[CORES] * core[0] + row[CORES + 1] * core[1] + row[CORES + 2] * core[2]


@inner
def extent(size, row, has, index, core):
    """Return what remains of an extent on a core."""
    if not has:
        return size
    return max(0, min(size, place(row, index, core)))


@inner
def step_of(kind):
    """Return bytes of an element in local memory, or 1 for accumulator words: what addresses count."""
    two, four = kind == 1 or kind == 4 or kind == 5, kind == 2 or kind == 6 or kind == 8
    return np.int64(2 if two else (4 if four else 1))


@inner
def span(at, counts, strides, lanes):
    """Return the first place that rows of `lanes` bytes or words touch, and the first behind them."""
    low, high = at, at + lanes
    for d in range(3):
        far = (counts[d] - 1) * strides[d]
        low += min(0, far)
        high += max(0, far)
    return low, high
