"""Kernels that whole.py found to be one product and one chain, run so.

In: each kernel's Whole and the far memory. Out: the same bytes in it as all of the kernel's instructions give. Inputs
are gathered to a matrix where they do not lie as one, torch multiplies (int8 x int8 -> int32, exact), and the chain
runs over blocks of rows by the code that vector instructions have else.
"""

# pyright: basic

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from onchip.simulator.moves import move_rows
from onchip.simulator.nests import STATE
from onchip.simulator.operands import inner, stamp
from onchip.simulator.products import MARGIN
from onchip.simulator.vectors import Memory, Stage, make_stage, vector
from onchip.simulator.whole import Whole


@inner
def surround(box, low, sizes, fill, far, padded):
    """Copy a tensor with its padding."""
    row = box[4] * sizes[2]
    begin, end = max(0, -low[2]), min(sizes[2], box[3] - low[2])
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            to, i0, i1 = (i * sizes[1] + j) * row, i + low[0], j + low[1]
            if i0 < 0 or i0 >= box[1] or i1 < 0 or i1 >= box[2] or begin >= end:
                padded[to : to + row] = fill
                continue
            padded[to : to + begin * box[4]] = fill
            padded[to + end * box[4] : to + row] = fill
            at = box[0] + i0 * box[5] + i1 * box[6] + (begin + low[2]) * box[7]
            move_rows(far, at, box[7], padded, to + begin * box[4], box[4], box[4], end - begin)


@inner
def gather(base, places, runs, taps, source, out):
    """Write the inputs of every row side by side."""
    for p in range(len(places)):
        row, n, at, step = places[p]
        for i in range(len(runs)):
            move_rows(source, base + at + runs[i, 0], step, out, row * taps + runs[i, 1], taps, runs[i, 2], n)


@inner
def chain(ops, subs, integers, affines, has, rows, memory, stage, state, index):
    """Run the vector instructions, a block of rows at a time."""
    block = integers[0, 2]
    for row in range(0, rows, block):
        index[0] = row
        for i in range(len(ops)):
            if not vector(ops[i], subs[i], integers[i], affines[i], has[i], index, (0, 0, 0), memory, stage, state):
                return False
    return True


def _make(sources):
    @njit(cache=True, error_model="numpy")
    def gathered(box, low, sizes, fill, is_padded, places, runs, taps, far, padded, out):
        if len(sources) == 0:
            return
        if is_padded:
            surround(box, low, sizes, fill, far, padded)
            gather(0, places, runs, taps, padded, out)
        else:
            gather(box[0], places, runs, taps, far, out)

    @njit(cache=True, error_model="numpy")
    def chained(ops, subs, integers, affines, has, rows, memory, stage, state, index):
        return len(sources) > 0 and chain(ops, subs, integers, affines, has, rows, memory, stage, state, index)

    return gathered, chained


gathered, chained = _make(stamp())


def torch_or_none() -> Any:
    """Return torch where it is installed and has the product of int8 matrices."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    return torch if hasattr(torch, "_int_mm") else None


class Wholes:
    """Kernels ready to run whole on one far memory; one thread."""

    def __init__(self, kernels: Sequence[Whole | None], far: NDArray[np.uint8], torch: Any) -> None:
        found = [k for k in kernels if k is not None]
        self._torch, self._far = torch, far
        words = max((_words(k) for k in found), default=0)
        memory = np.zeros(words, np.int32)
        self._memory = Memory(far, far.view(np.int8), far.view(np.int16), far.view(np.int32), memory)
        self._stage: Stage = make_stage(max((k.columns for k in found), default=1))
        self._state, self._index = np.full(STATE, -1, np.int64), np.zeros(8, np.int64)
        inputs = np.zeros(max((k.rows * k.taps for k in found if not k.pitch), default=0) + MARGIN, np.uint8)
        self._padded = np.zeros(max((k.inputs.n_bytes for k in found), default=0) + MARGIN, np.uint8)
        self._ready = [None if k is None else self._prepare(k, inputs) for k in kernels]

    def _prepare(self, k: Whole, inputs: NDArray[np.uint8]) -> tuple[Whole, Any, Any, Any, Any]:
        torch, pitch = self._torch, k.pitch
        room = None if pitch else inputs
        start = int(k.inputs.box[0] + k.inputs.places[0, 2])
        bytes_there = self._memory.l8[start:] if room is None else room.view(np.int8)
        x = np.lib.stride_tricks.as_strided(bytes_there, (k.rows, k.taps), (pitch or k.taps, 1))
        sums = self._memory.acc[: k.rows * k.columns].reshape(k.rows, k.columns)
        weights = torch.from_numpy(np.ascontiguousarray(k.weights.T)).t()
        return k, room, torch.from_numpy(x), weights, torch.from_numpy(sums)

    @property
    def count(self) -> int:
        """Return how many kernels run whole."""
        return sum(k is not None for k in self._ready)

    def run(self, number: int) -> bool:
        """Run a kernel; False where it is not one that runs whole."""
        ready = self._ready[number]
        if ready is None:
            return False
        k, room, x, weights, sums = ready
        if room is not None:
            i = k.inputs
            gathered(
                i.box, i.low, i.sizes, np.uint8(i.fill), i.is_padded, i.places, i.runs, k.taps, self._far, self._padded,
                room,
            )  # fmt: skip
        self._torch._int_mm(x, weights, out=sums)
        s = k.steps
        return chained(
            s.ops, s.subs, s.integers, s.affines, s.has, k.rows, self._memory, self._stage, self._state, self._index
        )


def _words(k: Whole) -> int:
    return k.rows * k.columns + len(k.steps.ops) * int(k.steps.integers[0, 2]) * k.columns
