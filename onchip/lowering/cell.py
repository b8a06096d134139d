"""What the cells of recurrent kernels share: the state's way into a tile, through its steps and out.

In: the kernel's Steps. Out: `Cell`, whose subclasses (cells.py) say what one step computes. Past its length a sequence
keeps its state: the old one is taken by a product with 0 or 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onchip.isa.floats import F32
from onchip.lowering.code import VectorCode, View, float_bits
from onchip.lowering.context import as_bytes, attributes
from onchip.lowering.lanes import Lanes, Steps
from onchip.lowering.tree import Loop, Op
from onchip.ops.cells import GATES

Code = list[Op | Loop]
Ints = NDArray[np.int64]


class Cell:
    """See the module docstring."""

    def __init__(self, s: Steps) -> None:
        self.s = s
        self.has_lengths = any(buffer == "lengths" for buffer, _, _ in s.states)
        self.given = [s.context.graph.tensor(n).quantization if n else None for n in s.node.inputs]
        self.made = [s.context.graph.tensor(n).quantization for n in s.node.outputs]
        self.one = 1 if s.is_integer else float_bits(1.0)

    # what the cells differ in
    def parameters(self) -> NDArray[np.uint8]:
        raise NotImplementedError

    def begin(self, code: VectorCode, lanes: Lanes) -> None:
        raise NotImplementedError

    def step(self, code: VectorCode, lanes: Lanes) -> list[VectorCode]:
        raise NotImplementedError

    def finish(self, code: VectorCode, lanes: Lanes) -> None:
        raise NotImplementedError

    # the frame
    def start(self, lanes: Lanes) -> Code:
        """Fill the states, and count down from each sequence's length (reverse: up to it)."""
        code = VectorCode(lanes.rows)
        self.begin(code, lanes)
        if self.has_lengths:
            code.lanes("copy", lanes("inside"), lanes.lengths(), 0)
            if attributes(self.s.node).flag("reverse"):
                code.lanes("sub", lanes("inside"), lanes("inside"), self.number(self.s.steps - 1))
        return code.ops

    def steps(self, lanes: Lanes) -> list[Code]:
        """Return the parts of a step; the products between them wait for the part before."""
        parts = self.step(VectorCode(lanes.rows), lanes)
        if self.has_lengths:
            name = "add" if attributes(self.s.node).flag("reverse") else "sub"
            parts[-1].lanes(name, lanes("inside"), lanes("inside"), self.one)
        return [part.ops for part in parts]

    def end(self, lanes: Lanes) -> Code:
        code = VectorCode(lanes.rows)
        self.finish(code, lanes)
        return code.ops

    def number(self, value: int) -> int:
        return value if self.s.is_integer else float_bits(float(value))

    def keep(self, code: VectorCode, lanes: Lanes, new: View, old: View) -> None:
        """old = new where the sequence has this step; `new` is used up where there are lengths."""
        if not self.has_lengths:
            code.lanes("copy", old, new, 0)
            return
        bit = lanes("bit")
        code.lanes("gt", bit, lanes("inside"), 0)
        code.lanes("mul", new, new, bit)
        code.lanes("mul", bit, bit, self.number(-1))
        code.lanes("add", bit, bit, self.one)
        code.lanes("mul", old, old, bit)
        code.lanes("add", old, old, new)

    def inside(self, code: VectorCode, lanes: Lanes, value: View) -> None:
        """value = 0 where the sequence has no such step."""
        if self.has_lengths:
            code.lanes("gt", lanes("bit"), lanes("inside"), 0)
            code.lanes("mul", value, value, lanes("bit"))

    def float_parameters(self) -> NDArray[np.uint8]:
        """Two lines of float32: the biases of both products."""
        s, n = self.s, GATES[self.s.node.op] * self.s.hidden
        lines = [s.context.array(s.given(i)) if s.given(i) else np.zeros(n) for i in (3, 4)]
        return as_bytes(np.stack(lines).astype(np.float32))

    def add_biases(self, code: VectorCode, lanes: Lanes, product: str, lane: int = 0) -> None:
        """Add a line of biases from a lane on."""
        line = (product != "x") * GATES[self.s.node.op] * self.s.hidden + lane
        words = View(F32, self.s.at("parameters") + 4 * line)
        code.lanes("add", lanes.product(product), lanes.product(product), words, rows=lanes.wide(product))

    def bias(self, number: int, zero: int) -> Ints:
        """Return the bias of a product minus what the zero point of its input adds."""
        s = self.s
        w = s.context.array(s.given(1 + number)).astype(np.int64)
        own = s.context.array(s.given(3 + number)).astype(np.int64) if s.given(3 + number) else np.zeros(len(w))
        return own.astype(np.int64) - zero * w.sum(axis=1)

    def zero(self, code: VectorCode, d: View, value: int = 0) -> None:
        code.lanes("and", d, d, 0)
        if value:
            code.lanes("add", d, d, value)
