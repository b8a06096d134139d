"""The sizes of a recurrent kernel, its operands, and the views of its tiles.

In: a Kernel of kind recurrent. Out: `Steps` (sizes, operands that follow the loops over rows and steps) and `Lanes`
(a tile's values as views, `rows` rows of `hidden` lanes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Node
from onchip.ir.plan import Kernel, ceil_div
from onchip.isa.floats import write_floats
from onchip.isa.memory import ACC, I16, I32
from onchip.lowering.code import NOTHING, Rows, View
from onchip.lowering.context import TYPES, Context, as_bytes, attributes
from onchip.lowering.tree import Expr
from onchip.ops.cells import has_cell, lengths_at, parameter_bytes, products


@dataclass(frozen=True, slots=True)
class Steps:
    """The kernel's sizes: `rows` of the batch at a time, `steps` of `features`, `hidden` units."""

    kernel: Kernel
    context: Context
    node: Node
    batch: int
    steps: int
    features: int
    hidden: int
    rows: int
    is_whole: bool  # the sequence stands in local memory as a whole

    @property
    def loops(self) -> list[tuple[str, int]]:
        return [("b", ceil_div(self.batch, self.rows))]

    @property
    def size(self) -> int:
        return self.kernel.shape.element_bytes

    @property
    def type(self) -> int:
        return TYPES[self.context.plan.dtype]

    @property
    def is_integer(self) -> bool:
        return self.kernel.shape.is_integer

    @property
    def parameter_bytes(self) -> int:
        return parameter_bytes(self.node.op, self.hidden, is_integer=self.is_integer)

    @property
    def states(self) -> list[tuple[str, str, int]]:
        """What is loaded for each tile of rows: buffer, tensor, bytes a row."""
        found = [(f"state{i}", self.given(5 + i), self.hidden * self.state_size(i)) for i in range(self.n_states)]
        found.append(("lengths", self.given(lengths_at(self.node.op)), 4))
        return [part for part in found if part[1]]

    @property
    def n_states(self) -> int:
        return 2 if has_cell(self.node.op) else 1

    def state_size(self, number: int) -> int:
        """Return the bytes of an element of the hidden state (0) or the cell (1) in far memory."""
        return 2 if number and self.is_integer else self.size

    def state_type(self, number: int) -> int:
        return I16 if number and self.is_integer else self.type

    def given(self, number: int) -> str:
        return self.node.inputs[number] if len(self.node.inputs) > number else ""

    def stored(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the bytes of weights as local memory holds them."""
        if self.is_integer:
            return as_bytes(values)
        return write_floats(self.type, np.ascontiguousarray(values, np.float32).reshape(-1))

    def time(self, width: int) -> Expr:
        """Return the offset of the step's `width` bytes in a row of the sequence; backwards from its last step."""
        if attributes(self.node).flag("reverse"):
            return Expr((self.steps - 1) * width, (("t", -width),))
        return Expr(0, (("t", width),))

    def left(self) -> Expr:
        return Expr(self.batch, (("b", -self.rows),)) if self.batch % self.rows else NOTHING

    def is_streamed(self, buffer: str) -> bool:
        return self.kernel.buffer(buffer).slots == 2

    def at(self, name: str, *inner: tuple[str, int]) -> Expr:
        """Return a buffer's address, its two slots in turn over the loop over rows and those inside of it."""
        b = self.kernel.buffer(name)
        double, count = list[str](), 1
        for loop, n in reversed([*self.loops, *inner]):
            if n > 1 and count % 2:
                double.append(loop)
            count *= n
        if b.slots == 1 or count == 1:
            return Expr(b.address)
        return replace(Expr(b.address), double=tuple(double), slot=b.size)

    def input_at(self) -> Expr:
        return self.at("input") if self.is_whole else self.at("input", ("t", self.steps))

    def output_at(self) -> Expr:
        return self.at("output") if self.is_whole else self.at("output", ("t", self.steps))

    def source(self, product: str) -> tuple[Expr, int]:
        """Return where a product's inputs stand, and the bytes between its rows."""
        line = self.features * self.size
        if product == "x":
            return (self.at("input") + self.time(line), self.steps * line) if self.is_whole else (self.input_at(), line)
        return self.at({"h": "hidden", "c": "reset"}[product]), self.hidden * self.size

    def columns(self, product: str) -> int:
        return next(p.columns for p in products(self.node.op, attributes(self.node), 1) if p.name == product)

    def sums(self, product: str) -> Expr:
        """Return where a product's sums stand: those of the candidate behind those of the state that they replace."""
        start = Expr(self.kernel.buffer("sums").address)
        if product == "x":
            return start
        behind = self.rows * self.columns("x")
        return start + (behind + (self.rows * self.columns("h") if product == "c" else 0))


class Lanes:
    """Views of a tile's values; the names of scratch tiles get their places in order of first use."""

    def __init__(self, s: Steps) -> None:
        self.s, self.names = s, list[str]()
        self.rows = Rows((s.rows, 1, 1), s.hidden, (s.left(), NOTHING, NOTHING))

    def __call__(self, name: str) -> View:
        """Return a scratch tile by name."""
        if name not in self.names:
            self.names.append(name)
            assert len(self.names) * self.s.rows * self.s.hidden <= self.s.kernel.buffer("scratch").size
        start = Expr(self.s.kernel.buffer("scratch").address)
        return self.rows.packed(start + self.names.index(name) * self.s.rows * self.s.hidden, ACC, 1)

    def wide(self, product: str) -> Rows:
        """Return rows of all lanes of a product."""
        return replace(self.rows, lanes=self.s.columns(product))

    def product(self, name: str) -> View:
        return self.wide(name).packed(self.s.sums(name), ACC, 1)

    def gate(self, product: str, number: int) -> View:
        """Return the lanes of one gate among a product's sums."""
        return self.product(product).moved(number * self.s.hidden)

    def hidden(self) -> View:
        return self.rows.packed(self.s.at("hidden"), self.s.type, self.s.size)

    def reset(self) -> View:
        return self.rows.packed(self.s.at("reset"), self.s.type, self.s.size)

    def given(self, number: int) -> View:
        """Return the initial hidden state (0) or cell (1)."""
        return self.rows.packed(self.s.at(f"state{number}"), self.s.state_type(number), self.s.state_size(number))

    def lengths(self) -> View:
        """Return one length for all lanes of its row."""
        return View(I32, self.s.at("lengths"), (4, 4, 4), step=0)

    def output(self) -> View:
        """Return the hidden state of step t in the output tile."""
        line = self.s.hidden * self.s.size
        if not self.s.is_whole:
            return View(self.s.type, self.s.output_at(), (line, line, line))
        return View(self.s.type, self.s.at("output") + self.s.time(line), (self.s.steps * line, 0, 0))

    def last(self, number: int) -> View:
        """Return where the last hidden state (0) and cell (1) stand: the cell first, 16-bit words at even addresses."""
        s = self.s
        start = s.at("last") + (number == 0 and s.n_states == 2) * s.rows * s.hidden * s.state_size(1)
        return self.rows.packed(start, s.state_type(number), s.state_size(number))
