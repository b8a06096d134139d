"""The vector unit's instructions for ops of pictures: averages over windows, local response norms, PReLU.

In: a Step. Out: instructions, appended to the step's code; and the tables that they read, which stay in local memory
for the whole kernel. Integer sequences follow docs/arithmetic.md one for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Node
from onchip.isa.floats import F32
from onchip.isa.memory import I32
from onchip.lowering.code import VectorCode, View, float_bits
from onchip.lowering.context import Context, as_bytes, attributes
from onchip.lowering.rowwise import HIGHEST, LOWEST
from onchip.lowering.tree import Expr, Loop, Op
from onchip.numerics import quantize_multiplier, requantize
from onchip.ops.conv import uneven_counts
from onchip.ops.response import ResponseConstants, response_constants

if TYPE_CHECKING:
    from onchip.lowering.step import Step

Build = Callable[[], NDArray[np.uint8]]
WORD, ENTRIES = 4, 256


def picture_tables(node: Node, context: Context, *, integer: bool) -> tuple[int, Build] | None:
    """Return the bytes of a node's tables and what builds them, None for a node without any."""
    if node.op == "avg_pool2d":
        counts = _counts(node, context)
        if counts is None:
            return None
        return counts.size * (2 * WORD if integer else WORD), lambda: divisors(counts, integer=integer)
    if node.op == "blend":
        taps, n = (int(d) for d in context.graph.tensor(node.inputs[1]).shape)
        return WORD * taps * n, lambda: as_bytes(context.array(node.inputs[1]))
    if node.op == "lrn" and integer:
        return 2 * ENTRIES * WORD, lambda: _response_tables(node, context)
    return None


def _scaled(step: Step, d: View, a: View, multiplier: int, shift: int) -> None:
    """d = a times a multiplier, in 32 bits."""
    step.code.requantize(d, a, multiplier=multiplier, shift=shift, low=LOWEST, high=HIGHEST)


def _stored(step: Step, a: View, zero: int) -> None:
    """Write a as int8 around a zero point."""
    step.code.requantize(step.d, a, multiplier=1 << 30, shift=1, zero_out=zero)  # times 1


# --- averages ---------------------------------------------------------------------------------------------------------


def _counts(node: Node, context: Context) -> NDArray[np.int64] | None:
    size, out = (tuple(map(int, context.graph.tensor(n).shape[1:3])) for n in (node.inputs[0], node.outputs[0]))
    return uneven_counts(attributes(node), (size[0], size[1]), (out[0], out[1]))


def divisors(counts: NDArray[np.int64], *, integer: bool) -> NDArray[np.uint8]:
    """Give what divides by each position's count: floats, or multipliers of 31 bits and the shifts behind them."""
    if not integer:
        return as_bytes(counts.astype(np.float32))
    bits, most = _bits(counts), int(_bits(counts.max(keepdims=True)).max())
    multipliers = -(-(np.int64(1) << (30 + bits)) // counts)
    return as_bytes(np.stack([multipliers, 22 - most + bits]).astype(np.int32))


def _bits(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([(int(c) - 1).bit_length() for c in counts.reshape(-1)], np.int64).reshape(counts.shape)


def _per_position(step: Step, number: int, type_: int) -> View:
    """Return the words of table `number` as one value for all lanes of a position (p, q)."""
    _, p, q, _ = step.kernel.shape.grid
    _, rows, columns = step.tile.first
    at = step.tile.tables + step.tile.stored.table_offset(step.node.name) + number * p * q * WORD
    return View(type_, at + rows.times(q * WORD) + columns.times(WORD), (0, q * WORD, WORD), step=0)


def _window_sum(step: Step, zero: int) -> View:
    """Sum the window into a scratch tile, minus `zero` for each of its cells."""
    total, source = step.scratch(0), step.tile.source
    assert source is not None
    shape = step.kernel.shape
    step.code.lanes("and", total, total, 0)

    def body(offset: Expr) -> Op | Loop:
        single = VectorCode(step.tile.rows)
        single.lanes("add", total, total, source.moved(offset))
        return single.ops[0]

    step.window(body)
    if zero:
        step.code.lanes("sub", total, total, zero * shape.window[0] * shape.window[1])
    return total


def average(step: Step) -> None:
    """Divide by the count, halves away from 0: of |x|, and the sign again.

    Averages that leave the padding out are rounded around 0, those that count it around the zero point.
    """
    includes = bool(step.node.attribute("count_include_pad", True))
    zero = step.made.zero_point[0] if includes else 0
    total, size, sign = _window_sum(step, zero), step.scratch(1), step.scratch(2)
    step.code.lanes("mul", size, total, -1)
    step.code.lanes("max", size, total, size)
    counts = _counts(step.node, step.context)
    if counts is None:
        _divide_by_one_count(step, size)
    else:
        most = int(_bits(counts.max(keepdims=True)).max())
        step.code.lanes("shl", size, size, 23 - most)
        step.code.lanes("mulh32", size, size, _per_position(step, 0, I32))
        step.code.lanes("rshr", size, size, _per_position(step, 1, I32))
    step.code.lanes("gt", sign, total, 0)
    step.code.lanes("shl", sign, sign, 1)
    step.code.lanes("sub", sign, sign, 1)
    step.code.lanes("mul", size, size, sign)
    _stored(step, size, zero)


def _divide_by_one_count(step: Step, size: View) -> None:
    """|x| * ceil(2**s / count), rounded once.

    Exact for |x| <= 255 * count: the quotient's error is below 2**-s * |x|, its distance from a half is 0 or at least
    1 / (2 * count), and s = 30 + bits of the count.
    """
    count = step.kernel.shape.window[0] * step.kernel.shape.window[1]
    bits = (count - 1).bit_length()
    multiplier = -(-(1 << 30 + bits) // count)
    step.code.requantize(size, size, multiplier=multiplier, shift=1 - bits, low=LOWEST, high=HIGHEST)


def float_average(step: Step) -> None:
    total, count = _window_sum(step, 0), step.kernel.shape.window[0] * step.kernel.shape.window[1]
    if _counts(step.node, step.context) is None:
        step.code.lanes("mul", step.d, total, float_bits(1 / count))
    else:
        step.code.lanes("div", step.d, total, _per_position(step, 0, F32))


# --- local response norm ----------------------------------------------------------------------------------------------


def _response(node: Node, context: Context) -> ResponseConstants:
    return response_constants(
        attributes(node), context.quantization(node.inputs[0]), context.quantization(node.outputs[0])
    )


def _response_tables(node: Node, context: Context) -> NDArray[np.uint8]:
    k = _response(node, context)
    return as_bytes(np.concatenate([k.power, k.slope]).astype(np.int32))


def _sum_neighbours(step: Step, total: View, squares: View) -> None:
    """Add to each channel the squares of those around it, as far as there are any."""
    size, n = attributes(step.node).integer("size"), step.tile.rows.lanes
    step.code.lanes("and", total, total, 0)
    for offset in range(-((size - 1) // 2), size // 2 + 1):
        if n > abs(offset):
            at, own = total.moved(max(0, -offset)), squares.moved(max(0, offset))
            step.code.lanes("add", at, at, own, rows=replace(step.tile.rows, lanes=n - abs(offset)))


def response(step: Step) -> None:
    """x (bias + alpha / size sum of x^2)^-beta: see onchip/ops/response.py, line by line."""
    k, code = _response(step.node, step.context), step.code
    v, squares, u, place, power, slope = (step.scratch(i) for i in range(6))
    code.lanes("sub", v, step.a, step.given().zero_point[0])
    code.lanes("mul", squares, v, v)
    _sum_neighbours(step, u, squares)
    code.requantize(u, u, multiplier=k.square[0], shift=k.square[1], zero_out=1 << k.fraction, low=LOWEST, high=HIGHEST)
    zeros = squares
    code.lanes("clz", zeros, u)
    code.lanes("sub", place, zeros, 1)
    code.lanes("shl", u, u, place)
    code.lanes("sub", u, u, 1 << 30)
    code.lanes("sra", place, u, 22)
    table = step.tile.tables + step.tile.stored.table_offset(step.node.name)
    code.look_up(power, place, table, 0)
    code.look_up(slope, place, table + ENTRIES * WORD, 0)
    code.lanes("and", u, u, (1 << 22) - 1)
    code.lanes("shl", u, u, 9)
    code.lanes("mulh32", slope, slope, u)
    code.lanes("add", power, power, slope)
    code.lanes("shl", v, v, 22)
    code.lanes("mulh32", v, v, power)
    _scaled_by_exponent(step, k, v, (zeros, u, place, power))


def _scaled_by_exponent(step: Step, k: ResponseConstants, v: View, tiles: tuple[View, View, View, View]) -> None:
    """Scale by the multiplier of u's exponent: one after the other, each where the exponent is at least that."""
    (zeros, y, other, is_above), code = tiles, step.code
    _scaled(step, y, v, int(k.gain_q[0]), int(k.gain_e[0]))
    code.lanes("mul", zeros, zeros, -1)
    for exponent in range(1, _largest_exponent(step, k) + 1):
        _scaled(step, other, v, int(k.gain_q[exponent]), int(k.gain_e[exponent]))
        code.lanes("sub", other, other, y)
        code.lanes("gt", is_above, zeros, exponent + k.fraction - 32)  # 31 - fraction - zeros >= exponent
        code.lanes("mac", y, other, is_above)
    _stored(step, y, step.made.zero_point[0])


def _largest_exponent(step: Step, k: ResponseConstants) -> int:
    size = attributes(step.node).integer("size")
    most = int(requantize(size * 255**2, *k.square)) + (1 << k.fraction)
    return most.bit_length() - 1 - k.fraction


def float_response(step: Step) -> None:
    total, squares, a = step.scratch(0), step.scratch(1), attributes(step.node)
    step.code.lanes("mul", squares, step.a, step.a)
    _sum_neighbours(step, total, squares)
    step.code.lanes("mul", total, total, float_bits(a.number("alpha") / a.integer("size")))
    step.code.lanes("add", total, total, float_bits(a.number("bias")))
    step.code.lanes("pow", total, total, float_bits(-a.number("beta")))
    step.code.lanes("mul", step.d, step.a, total)


# --- PReLU ------------------------------------------------------------------------------------------------------------


def parametric(step: Step) -> None:
    """x where it is 0 or more, x * slope elsewhere, each brought to the output's scale."""
    assert step.b is not None
    (px, ps), py, code = (step.given(0), step.given(1)), step.made, step.code
    above, below, mask = (step.scratch(i) for i in range(3))
    code.lanes("sub", above, step.a, px.zero_point[0])
    code.lanes("sub", below, step.b, ps.zero_point[0])
    code.lanes("mul", below, below, above)
    code.lanes("gt", mask, above, -1)
    for tile, scale in ((above, px.scale[0]), (below, px.scale[0] * ps.scale[0])):
        q, e = quantize_multiplier(scale / py.scale[0])
        _scaled(step, tile, tile, q, e)
    code.lanes("sub", above, above, below)
    code.lanes("mac", below, above, mask)
    _stored(step, below, py.zero_point[0])


def float_parametric(step: Step) -> None:
    assert step.b is not None
    below, above = step.scratch(0), step.scratch(1)
    step.code.lanes("min", below, step.a, float_bits(0.0))
    step.code.lanes("mul", below, below, step.b)
    step.code.lanes("max", above, step.a, float_bits(0.0))
    step.code.lanes("add", step.d, above, below)


# --- blend ------------------------------------------------------------------------------------------------------------


def _weighted_sum(step: Step, d: View, type_: int) -> None:
    """Sum the rows of cells, each times its weight, into `d`."""
    source, rows = step.tile.source, step.kernel.shape.window[0]
    assert source is not None
    for tap in range(rows):
        weights = _per_position(step, tap, type_)
        step.code.lanes("mac" if tap else "mul", d, source.moved(tap * source.strides[1]), weights)


def blend(step: Step) -> None:
    total = step.scratch(0)
    _weighted_sum(step, total, I32)
    step.code.lanes("rshr", step.d, total, attributes(step.node).integer("shift"))


def float_blend(step: Step) -> None:
    total = step.scratch(0)
    _weighted_sum(step, total, F32)
    step.code.lanes("copy", step.d, total, 0)


INTEGER: dict[str, Callable[[Step], None]] = {
    "avg_pool2d": average,
    "lrn": response,
    "prelu": parametric,
    "blend": blend,
}
FLOAT: dict[str, Callable[[Step], None]] = {
    "avg_pool2d": float_average,
    "lrn": float_response,
    "prelu": float_parametric,
    "blend": float_blend,
}
