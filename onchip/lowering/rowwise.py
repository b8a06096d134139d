"""Softmax and layer norm on the vector unit, the instructions of ops/rowwise.py one for one.

In: the node's step on a tile of whole rows. Out: vector instructions. Values of which there is one a row lie in
accumulator words behind the scratch tiles, and are worked on as lanes of one row; `Words` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported
from onchip.isa.memory import I32
from onchip.lowering.code import Rows, VectorCode, View, per_row
from onchip.lowering.context import Context, as_bytes, attributes
from onchip.lowering.tree import Expr
from onchip.numerics import softmax_table
from onchip.ops.rownorm import rms_norm_constants
from onchip.ops.rowwise import (
    DIFFERENCE_BITS,
    NEWTON_32_17,
    NEWTON_48_17,
    RESULT_BITS,
    SEED_A,
    SEED_B,
    LayerNormConstants,
    layer_norm_constants,
)
from onchip.ops.types import Refusal

if TYPE_CHECKING:
    from onchip.ir.graph import Node
    from onchip.lowering.steps import Step

TABLE_OPS = {"softmax"}
NORMS = ("layer_norm", "rms_norm")
LOWEST, HIGHEST = -(2**31), 2**31 - 1


@dataclass(slots=True)
class Words:
    """Named values of which there is one a row: `lane(name)` to work on them, `row(name)` to use them along a row."""

    start: Expr
    rows: Rows
    code: VectorCode
    names: list[str] = field(default_factory=list[str])

    def _views(self, name: str) -> tuple[View, View]:
        if name not in self.names:
            self.names.append(name)
        count = self.rows.counts[0] * self.rows.counts[1] * self.rows.counts[2]
        return per_row(self.start + self.names.index(name) * count, self.rows)

    def lane(self, name: str) -> View:
        return self._views(name)[0]

    def row(self, name: str) -> View:
        return self._views(name)[1]

    def do(self, op: str, d: str, a: str, b: str | int = 0) -> None:
        """d = a op b on every row's value."""
        operand = self.lane(b) if isinstance(b, str) else b
        self.code.lanes(op, self.lane(d), self.lane(a), operand, rows=self.rows.one_lane())

    def from_constant(self, d: str, minus: str, constant: int) -> None:
        """d = constant - minus."""
        self.do("mul", d, minus, -1)
        self.do("add", d, d, constant)

    def requantize(self, d: str, a: str, pair: tuple[int, int]) -> None:
        self.code.requantize(
            self.lane(d), self.lane(a), multiplier=pair[0], shift=pair[1], rows=self.rows.one_lane(),
            low=LOWEST, high=HIGHEST,
        )  # fmt: skip


def softmax(step: Step) -> None:
    """int8 softmax of whole rows."""
    words = Words(step.tile.row_words(step.free + 2), step.tile.rows, step.code)
    table = step.tile.tables + step.tile.stored.table_offset(step.node.name)
    softmax_tile(step.code, words, step.a, step.d, (step.scratch(0), step.scratch(1)), table)


def softmax_tile(
    code: VectorCode, words: Words, a: View, d: View, tiles: tuple[View, View], table: Expr, keep: View | None = None,
    drop: View | None = None,
) -> None:  # fmt: skip
    """d = softmax(a) - 128 for rows of int8 values; `keep` holds 1 or 0 and `a` may then not be d.

    Where `drop` holds -128, `a` is -128 already and the weight is 0.
    """
    e, t = tiles
    if keep is not None:
        code.lanes("add", e, a, 128)
        code.lanes("mul", e, e, keep)
        code.lanes("sub", e, e, 128)
        a = e
    code.reduce("max", words.row("top"), a)
    code.lanes("sub", e, words.row("top"), a)
    code.look_up(e, e, table, 0)
    if drop is not None:
        code.lanes("gt", t, drop, -128)
        keep = t
    if keep is not None:
        code.lanes("mul", e, e, keep)
    code.lanes("rshr", t, e, 12)
    code.reduce("sum", words.row("total"), t)
    _softmax_reciprocal(words)
    code.lanes("mulh32", e, e, words.row("factor"))
    code.lanes("rshr", e, e, words.row("shift"))
    code.lanes("sub", d, e, 128)


def _softmax_reciprocal(words: Words) -> None:
    words.do("clz", "zeros", "total")
    words.do("sub", "half", "zeros", 1)
    words.do("min", "half", "half", 31)
    words.do("shl", "half", "total", "half")
    words.do("mulh32", "x", "half", NEWTON_32_17)
    words.do("add", "x", "x", NEWTON_48_17)
    for _ in range(3):
        words.do("mulh32", "error", "half", "x")
        words.from_constant("error", "error", 1 << 29)
        words.do("mulh32", "error", "x", "error")
        words.do("shls", "error", "error", 2)
        words.do("add", "x", "x", "error")
    words.do("shls", "factor", "x", 1)
    words.from_constant("shift", "zeros", 4)
    words.do("max", "shift", "shift", 0)
    words.do("sra", "factor", "factor", "shift")
    words.from_constant("shift", "zeros", 35)
    words.do("min", "shift", "shift", 31)


def layer_norm(step: Step) -> None:
    """int8 layer norm of whole rows."""
    code, k = step.code, constants_of(step.node, step.context)
    words = Words(step.tile.row_words(step.free + 2), step.tile.rows, code)
    c, d = step.scratch(0), step.scratch(1)
    code.reduce("sum", words.row("mean"), step.a)
    words.requantize("mean", "mean", k.inverse)
    code.lanes("sub", c, step.a, words.row("mean"))
    code.reduce("sum", words.row("rest"), c)
    code.reduce("sumsq", words.row("squares"), c)
    _layer_norm_factor(words, k)
    words.requantize("mean", "rest", k.fraction)
    code.lanes("shl", d, c, DIFFERENCE_BITS)
    code.lanes("sub", d, d, words.row("mean"))
    code.lanes("mulh32", d, d, words.row("y"))
    code.lanes("shl", d, d, words.row("up"))
    code.lanes("rshr", d, d, words.row("down"))
    lanes = step.tile.rows.lanes
    parameters, stored = step.tile.parameters, step.tile.stored
    code.requantize(d, d, table=parameters + stored.offset("gamma", lanes), low=LOWEST, high=HIGHEST)
    code.lanes("add", d, d, View(I32, parameters + stored.offset("beta", lanes)))
    code.lanes("rshr", step.d, d, RESULT_BITS)


def _layer_norm_factor(w: Words, k: LayerNormConstants) -> None:
    w.do("mul", "h", "rest", "rest")
    w.do("clz", "z", "h")
    w.do("sub", "z", "z", 1)
    w.do("shl", "h", "h", "z")
    w.do("mulh32", "share", "h", k.inverse[0])
    w.do("clz", "sh", "squares")
    w.do("sub", "sh", "sh", 3)
    w.do("min", "sh", "sh", k.epsilon_shift)
    w.do("sub", "z", "z", k.inverse[1])
    w.do("sub", "z", "z", "sh")
    w.do("max", "z", "z", 0)
    w.do("min", "z", "z", 31)
    w.do("rshr", "share", "share", "z")
    w.do("shl", "w", "squares", "sh")
    w.do("sub", "w", "w", "share")
    inverse_root(w, k)


def inverse_root(w: Words, k: LayerNormConstants) -> None:
    """Give y, up and down with y 2^(up - down - 10) = 1 / sqrt(sum + n eps / sx^2), where w = sum << sh."""
    w.from_constant("z", "sh", k.epsilon_shift)
    w.do("and", "h", "h", 0)
    w.do("add", "h", "h", k.epsilon)
    w.do("rshr", "h", "h", "z")
    w.do("add", "w", "w", "h")
    w.do("max", "w", "w", 1)
    w.do("clz", "z", "w")
    w.do("sub", "z", "z", 1)
    w.do("add", "t", "z", "sh")
    w.do("and", "odd", "t", 1)
    w.do("sub", "odd", "odd", 1)
    w.do("add", "z", "z", "odd")
    w.do("add", "t", "t", "odd")
    w.do("shl", "w", "w", "z")
    w.do("mulh32", "y", "w", SEED_B)
    w.from_constant("y", "y", SEED_A)
    for _ in range(3):
        w.do("mulh32", "h", "y", "y")
        w.do("mulh32", "h", "w", "h")
        w.from_constant("h", "h", 3 << 27)
        w.do("shl", "h", "h", 2)
        w.do("mulh32", "y", "y", "h")
        w.do("shl", "y", "y", 1)
    w.do("sub", "t", "t", 11)
    w.do("sra", "t", "t", 1)
    w.do("max", "up", "t", 0)
    w.do("mul", "down", "t", -1)
    w.do("max", "down", "down", 0)


def constants_of(node: Node, context: Context) -> LayerNormConstants:
    """Return the constants of an int8 norm; without values, gamma is 1 and beta 0 (they change no instruction)."""
    n = int(context.graph.tensor(node.inputs[0]).shape[-1])
    px, py = context.quantization(node.inputs[0]), context.quantization(node.outputs[0])
    names = (*node.inputs[1:], "", "")
    gamma = context.array(names[0]) if context.with_data and names[0] else np.ones(n, np.float32)
    beta = context.array(names[1]) if context.with_data and names[1] else np.zeros(n, np.float32)
    eps = attributes(node).number("eps")
    try:
        if node.op == "rms_norm":
            return rms_norm_constants(gamma, eps, px, py)
        return layer_norm_constants(gamma, beta, eps, px.scale[0], py.scale[0], py.zero_point[0])
    except Refusal as refusal:
        raise NotSupported(refusal.code, node.name, refusal.fact, next=refusal.next) from None


LaneConstant = tuple[str, int, int, int, Callable[[], NDArray[np.uint8]]]


def lane_constants(nodes: list[Node], context: Context) -> list[LaneConstant]:
    """Return (name, bytes per lane, rows, bytes, how to build) of an int8 norm's gamma and beta."""
    found: list[LaneConstant] = []
    for node in nodes:
        if node.op in NORMS:
            n = int(context.graph.tensor(node.inputs[0]).shape[-1])

            def gamma(node: Node = node) -> NDArray[np.uint8]:
                k = constants_of(node, context)
                return _words(np.stack([np.zeros_like(k.gamma_q), k.gamma_q, k.gamma_e], axis=1))

            def beta(node: Node = node) -> NDArray[np.uint8]:
                return _words(constants_of(node, context).beta)

            found.append(("gamma", 12, 1, 12 * n, gamma))
            found += [("beta", 4, 1, 4 * n, beta)] if node.op == "layer_norm" else []
    return found


def _words(values: NDArray[Any]) -> NDArray[np.uint8]:
    return as_bytes((values.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32))


def table(node: Node, context: Context) -> NDArray[np.uint8]:
    """Return the table of exponentials of a softmax."""
    return as_bytes(softmax_table(context.quantization(node.inputs[0]).scale[0]))


def float_softmax(step: Step) -> None:
    """Float softmax of whole rows: max, subtract, exp, sum, reciprocal, multiply."""
    words = Words(step.tile.row_words(step.free + 1), step.tile.rows, step.code)
    float_softmax_tile(step.code, words, step.a, step.d, step.scratch(0))


def float_softmax_tile(code: VectorCode, words: Words, a: View, d: View, e: View) -> None:
    """The same on views."""
    code.reduce("max", words.row("top"), a)
    code.lanes("sub", e, a, words.row("top"))
    code.lanes("exp", e, e, 0)
    code.reduce("sum", words.row("total"), e)
    words.do("recip", "total", "total")
    code.lanes("mul", d, e, words.row("total"))
