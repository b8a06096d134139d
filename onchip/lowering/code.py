"""The vector unit's code for one tile: operands as views, and one method per instruction.

In: views of buffers and the tile's row counts. Out: a list of Ops in order, without semaphores (the template adds
them). A view is where an operand lies: its element type, its address, a stride for each of the three row counters
(bytes in local memory, words in the accumulator) and its step along the lanes (0: one value serves all lanes of a row).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from onchip.isa import LUT, RED, RQ, VOP
from onchip.isa.memory import ACC
from onchip.isa.vector import FLOAT_VOPS, PER_LANE, REDUCTIONS, ROUNDING, VOPS
from onchip.lowering.tree import Expr, Loop, Op, op

NOTHING = Expr()


@dataclass(frozen=True, slots=True)
class View:
    """An operand; see the module docstring."""

    type: int
    at: Expr
    strides: tuple[int, int, int] = (0, 0, 0)
    step: int = 1

    def moved(self, offset: int | Expr) -> View:
        return replace(self, at=self.at + offset)


@dataclass(frozen=True, slots=True)
class Rows:
    """Row counts and lanes of a tile, and what is left of each where the last tile is smaller."""

    counts: tuple[int, int, int]
    lanes: int
    left: tuple[Expr, Expr, Expr] = (NOTHING, NOTHING, NOTHING)
    lanes_left: Expr = NOTHING

    def fields(self) -> dict[str, int | Expr]:
        names = ("rows0", "rows1", "rows2", "n", "left0", "left1", "left2", "n_left")
        return dict(zip(names, (*self.counts, self.lanes, *self.left, self.lanes_left), strict=True))

    def packed(self, start: Expr, type_: int, size: int, lanes: int | None = None) -> View:
        """Return the view of a buffer that holds these rows one behind the other."""
        width = self.lanes if lanes is None else lanes
        _, p, q = self.counts
        return View(type_, start, (p * q * width * size, q * width * size, width * size))

    def one_lane(self) -> Rows:
        """Return the rows with their row counter as lanes: for values of which there is one a row."""
        _, p, q = self.counts
        left = self.left[1] if p > 1 and q == 1 else NOTHING  # only rows along p are cut
        return Rows((1, 1, 1), self.counts[0] * p * q, lanes_left=left)


@dataclass(slots=True)
class VectorCode:
    """Collects the instructions of a tile; `rows` is what they run over unless a call says otherwise."""

    rows: Rows
    ops: list[Op | Loop] = field(default_factory=list[Op | Loop])

    def _operands(self, d: View, a: View) -> dict[str, int | Expr]:
        return {
            "a_type": a.type, "a0": a.strides[0], "a1": a.strides[1], "a2": a.strides[2], "a_step": a.step, "a": a.at,
            "d_type": d.type, "d0": d.strides[0], "d1": d.strides[1], "d2": d.strides[2], "d": d.at,
        }  # fmt: skip

    def requantize(
        self, d: View, a: View, *, table: Expr | None = None, multiplier: int = 0, shift: int = 0, bias: int = 0,
        zero_in: int = 0, left: int = 0, zero_out: int = 0, low: int = -128, high: int = 127, rounding: str = "single",
        rows: Rows | None = None,
    ) -> None:  # fmt: skip
        """d = clamp(scale(((a - zero_in) + bias) << left) + zero_out), parameters per lane where a table is given."""
        sub = ROUNDING[rounding] | (PER_LANE if table is not None else 0)
        fields = self._operands(d, a) | (rows or self.rows).fields() | {"b": table or NOTHING}
        fields |= {"multiplier": multiplier, "shift": shift, "bias": bias, "zero_in": zero_in, "left": left}
        self.ops.append(op(RQ, sub=sub, zero_out=zero_out, low=low, high=high, **fields))

    def lanes(self, name: str, d: View, a: View, b: View | int = 0, *, rows: Rows | None = None) -> None:
        """d = a name b, where b is a view or an immediate."""
        fields = self._operands(d, a) | (rows or self.rows).fields()
        if isinstance(b, View):
            fields |= {"b_type": b.type, "b0": b.strides[0], "b1": b.strides[1], "b2": b.strides[2]}
            fields |= {"b_step": b.step, "b": b.at}
        else:
            fields |= {"immediate": b, "has_immediate": 1}
        self.ops.append(op(VOP, sub=(VOPS | FLOAT_VOPS)[name], **fields))

    def reduce(self, name: str, d: View, a: View, *, rows: Rows | None = None) -> None:
        """d = one value a row."""
        self.ops.append(op(RED, sub=REDUCTIONS[name], **self._operands(d, a), **(rows or self.rows).fields()))

    def look_up(self, d: View, a: View, table: Expr, offset: int, *, rows: Rows | None = None) -> None:
        """d = table[a + offset]."""
        fields = self._operands(d, a) | (rows or self.rows).fields()
        self.ops.append(op(LUT, offset=offset, b=table, **fields))


def per_row(start: Expr, rows: Rows) -> tuple[View, View]:
    """Return two views of one accumulator word a row: as lanes of one row, and as a value for all lanes of its row."""
    _, p, q = rows.counts
    return View(ACC, start), View(ACC, start, (p * q, q, 1), step=0)


def float_bits(value: float) -> int:
    """Return the bits of a float32 as a signed word: what an immediate of a float instruction is."""
    return int(np.float32(value).view(np.int32))
