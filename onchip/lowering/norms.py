"""Norms by the root of a mean square on the vector unit: rms_norm in integers and in floats, layer_norm in floats.

In: the node's step on a tile of whole rows. Out: vector instructions; in integers those of ops/rownorm.py one for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onchip.isa.floats import F32
from onchip.lowering.code import View, float_bits
from onchip.lowering.context import Context, as_bytes, attributes
from onchip.lowering.rowwise import HIGHEST, LOWEST, LaneConstant, Words, constants_of, inverse_root
from onchip.ops.rowwise import DIFFERENCE_BITS, RESULT_BITS

if TYPE_CHECKING:
    from onchip.ir.graph import Node
    from onchip.lowering.step import Step

Bytes = NDArray[np.uint8]


def rms_norm(step: Step) -> None:
    """int8 rms norm of whole rows."""
    code, k = step.code, constants_of(step.node, step.context)
    words, v = Words(step.tile.row_words(step.free + 1), step.tile.rows, code), step.scratch(0)
    code.lanes("sub", v, step.a, step.given().zero_point[0])
    code.reduce("sumsq", words.row("squares"), v)
    words.do("clz", "sh", "squares")
    words.do("sub", "sh", "sh", 3)
    words.do("min", "sh", "sh", k.epsilon_shift)
    words.do("shl", "w", "squares", "sh")
    inverse_root(words, k)
    code.lanes("shl", v, v, DIFFERENCE_BITS)
    code.lanes("mulh32", v, v, words.row("y"))
    code.lanes("shl", v, v, words.row("up"))
    code.lanes("rshr", v, v, words.row("down"))
    table = step.tile.parameters + step.tile.stored.offset("gamma", step.tile.rows.lanes)
    code.requantize(v, v, table=table, low=LOWEST, high=HIGHEST)
    code.lanes("add", v, v, step.made.zero_point[0] << RESULT_BITS)
    code.lanes("rshr", step.d, v, RESULT_BITS)


def float_rms_norm(step: Step) -> None:
    """a / sqrt(mean(a^2) + eps) * gamma."""
    code, lanes = step.code, step.tile.rows.lanes
    words = Words(step.tile.row_words(step.free + 1), step.tile.rows, code)
    code.reduce("sumsq", words.row("y"), step.a)
    words.do("mul", "y", "y", float_bits(1.0 / lanes))
    words.do("add", "y", "y", float_bits(attributes(step.node).number("eps")))
    words.do("rsqrt", "y", "y")
    if not _scale(step.node):
        code.lanes("mul", step.d, step.a, words.row("y"))
        return
    gamma = View(F32, step.tile.parameters + step.tile.stored.offset("gamma", lanes))
    code.lanes("mul", step.scratch(0), step.a, words.row("y"))
    code.lanes("mul", step.d, step.scratch(0), gamma)


def float_layer_norm(step: Step) -> None:
    """(a - mean) / sqrt(mean((a - mean)^2) + eps) * gamma + beta."""
    code, lanes, tile = step.code, step.tile.rows.lanes, step.tile
    words, e = Words(tile.row_words(step.free + 1), tile.rows, code), step.scratch(0)
    code.reduce("sum", words.row("mean"), step.a)
    words.do("mul", "mean", "mean", float_bits(1.0 / lanes))
    code.lanes("sub", e, step.a, words.row("mean"))
    code.reduce("sumsq", words.row("y"), e)
    words.do("mul", "y", "y", float_bits(1.0 / lanes))
    words.do("add", "y", "y", float_bits(attributes(step.node).number("eps")))
    words.do("rsqrt", "y", "y")
    code.lanes("mul", e, e, words.row("y"))
    gamma, beta = (View(F32, tile.parameters + tile.stored.offset(name, lanes)) for name in ("gamma", "beta"))
    code.lanes("mul", e, e, gamma)
    code.lanes("add", step.d, e, beta)


def _input(node: Node, number: int) -> str:
    return node.inputs[number] if len(node.inputs) > number else ""


def _scale(node: Node) -> str:
    return _input(node, 1)


def float_lane_constants(nodes: list[Node], context: Context) -> list[LaneConstant]:
    """Return (name, bytes per lane, rows, bytes, how to build) of the float32 gamma and beta of norms."""
    found: list[LaneConstant] = []
    for node in nodes:
        n = int(context.graph.tensor(node.inputs[0]).shape[-1]) if node.op in ("layer_norm", "rms_norm") else 0
        names = {"layer_norm": ("gamma", "beta"), "rms_norm": ("gamma",) if _scale(node) else ()}.get(node.op, ())
        for number, name in enumerate(names):

            def build(tensor: str = _input(node, 1 + number), absent: int = 1 - number, n: int = n) -> Bytes:
                return as_bytes((context.array(tensor) if tensor else np.full(n, absent)).astype(np.float32))

            found.append((name, 4, 1, 4 * n, build))
    return found
