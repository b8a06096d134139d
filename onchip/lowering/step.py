"""One node on one tile: where its operands lie, and what its instructions need to know.

In: the tile's views, the node, the context. Out: `Tile` and `Step`, which the instruction sequences of
`integer_steps.py` and `float_steps.py` read; `Step.window` and `fused_max_pool` are the parts that both share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from onchip.ir.graph import Node, Quantization
from onchip.ir.plan import Kernel
from onchip.isa.memory import ACC
from onchip.lowering.code import Rows, VectorCode, View
from onchip.lowering.context import Context
from onchip.lowering.tree import Expr, Loop, Op
from onchip.lowering.weights import Stored
from onchip.numerics import quantize_multiplier
from onchip.ops.requantizing import f32_multipliers, output_limits, real_multipliers
from onchip.ops.types import Attributes


@dataclass(frozen=True, slots=True)
class Tile:
    """The views of one tile; `rows` is what is computed, `stored_rows` what is stored (fewer with a fused pool)."""

    rows: Rows
    stored_rows: Rows
    sums: View | None
    source: View | None
    sides: tuple[View, ...]
    output: View
    scratch: Expr
    parameters: Expr
    tables: Expr
    type: int
    stored: Stored
    first: tuple[Expr, Expr, Expr] = (Expr(), Expr(), Expr())  # coordinates b, p, q of the tile's first row

    def scratch_tile(self, number: int) -> View:
        """Return the view of a scratch tile of the rows' shape."""
        b, p, q = self.rows.counts
        return self.rows.packed(self.scratch + number * b * p * q * self.rows.lanes, ACC, 1)

    def row_words(self, tiles: int) -> Expr:
        """Return where the words kept per row start: behind the scratch tiles."""
        b, p, q = self.rows.counts
        return self.scratch + tiles * b * p * q * self.rows.lanes


@dataclass(slots=True)
class Step:
    """One node on one tile: inputs `a` and `b`, output `d`, and the first scratch tile that is free."""

    node: Node
    context: Context
    kernel: Kernel
    tile: Tile
    code: VectorCode
    a: View
    b: View | None
    d: View
    free: int

    def attributes(self) -> Attributes:
        return Attributes(dict(self.node.attributes))

    def given(self, number: int = 0) -> Quantization:
        return self.context.quantization(self.node.inputs[number])

    @property
    def made(self) -> Quantization:
        return self.context.quantization(self.node.outputs[0])

    @property
    def rounding(self) -> str:
        return str(self.node.attribute("rounding", "single"))

    def limits(self) -> tuple[int, int]:
        return output_limits(str(self.node.attribute("activation", "none")), self.made)

    def scratch(self, number: int) -> View:
        return self.tile.scratch_tile(self.free + number)

    def scale_to(
        self, d: View, a: View, *scales: float, zero_in: int = 0, bias: int = 0, rows: Rows | None = None
    ) -> None:
        """d = clamp((a - zero_in + bias) * product of the scales / output scale + zero point)."""
        multiplier, shift = self._multiplier(scales)
        low, high = self.limits()
        self.code.requantize(
            d, a, multiplier=multiplier, shift=shift, rounding=self.rounding, zero_out=self.made.zero_point[0],
            low=low, high=high, zero_in=zero_in, bias=bias, rows=rows,
        )  # fmt: skip

    def _multiplier(self, scales: tuple[float, ...]) -> tuple[int, int]:
        """Return (q, e), or the bits of a float32 and 0, as the node rounds."""
        given = tuple(Quantization((scale,), (0,)) for scale in scales)
        if self.rounding == "fp32":
            return int(f32_multipliers(given, self.made).view(np.int32)[0]), 0
        return quantize_multiplier(float(real_multipliers(given, self.made)[0]))

    def window(self, body: Callable[[Expr], Op | Loop]) -> None:
        """Run one instruction for each tap of the kernel's window; `body` gets the tap's offset in the source tile."""
        shape, source = self.kernel.shape, self.tile.source
        assert source is not None
        size = shape.element_bytes
        line = source.strides[2] // shape.stride[1] if source.strides[2] else self.tile.rows.lanes * size
        height = source.strides[1] // shape.stride[0]
        offset = Expr(0, (("r", shape.dilation[0] * height), ("s", shape.dilation[1] * line)))
        inner = Loop("s", shape.window[1], (body(offset),))
        self.code.ops.append(Loop("r", shape.window[0], (inner,)))


def fused_max_pool(step: Step) -> None:
    """The window's elements lie in the accumulator: rows (p, q) of the tile, pooled ph x pw.

    The maximum so far stays in the accumulator: a bank of local memory that STORE reads has no second read port.
    """
    ph, pw = step.kernel.shape.pool
    b, p, q = step.a.strides
    rows = step.tile.stored_rows
    view = replace(step.a, strides=(b, p * ph, q * pw))
    taps = [view.moved(i * p + j * q) for i in range(ph) for j in range(pw)]
    total = rows.packed(step.scratch(0).at, ACC, 1)
    found = taps[0]
    for tap in taps[1:-1]:
        step.code.lanes("max", total, found, tap, rows=rows)
        found = total
    if len(taps) == 1:
        step.code.lanes("copy", step.d, found, 0, rows=rows)
    else:
        step.code.lanes("max", step.d, found, taps[-1], rows=rows)


def joined(step: Step) -> None:
    """Put the inputs of a concat together: each lies at its place in a tile that is zero elsewhere."""
    assert step.tile.source is not None
    a, total = step.tile.source, step.scratch(0)
    for side in step.tile.sides[:-1]:
        step.code.lanes("add", total, a, side)
        a = total
    step.code.lanes("add", step.d, a, step.tile.sides[-1])
