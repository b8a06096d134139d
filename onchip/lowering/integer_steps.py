"""The vector unit's instructions for each op in integers.

In: a Step. Out: instructions, appended to the step's code, that follow docs/arithmetic.md one for one: their results
equal the op's integer meaning bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from onchip.ir.graph import Quantization
from onchip.lowering import matmul, norms, picture_steps, rotary, rowwise
from onchip.lowering.code import VectorCode, View
from onchip.lowering.step import Step, fused_max_pool, joined
from onchip.lowering.tree import Expr, Loop, Op
from onchip.ops.cost import TABLES
from onchip.ops.elementwise import ADD_LEFT_SHIFT, add_multipliers
from onchip.ops.requantizing import output_limits
from onchip.ops.types import Attributes


def _accumulated(step: Step) -> None:
    low, high = step.limits()
    step.code.requantize(
        step.d, step.a, table=step.tile.parameters, rounding=step.rounding, zero_out=step.made.zero_point[0],
        low=low, high=high,
    )  # fmt: skip


def _conv(step: Step) -> None:
    if step.tile.sums is None:  # depthwise: one product per tap and channel on the vector lanes
        total = step.scratch(0)
        step.code.lanes("and", total, total, 0)
        source = step.tile.source
        assert source is not None
        taps = step.tile.parameters + step.tile.stored.offset("taps", step.tile.rows.lanes)
        lanes = step.tile.rows.lanes
        width = step.kernel.shape.window[1]

        def body(offset: Expr) -> Op | Loop:
            weights = View(step.tile.type, taps + Expr(0, (("r", width * lanes), ("s", lanes))))
            single = VectorCode(step.tile.rows)
            single.lanes("mac", total, source.moved(offset), weights)
            return single.ops[0]

        step.window(body)
        step = replace(step, a=total)
    _accumulated(step)


def _sum(sign: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        assert step.b is not None
        pa, pb = _pair(step)
        ma, mb, my = add_multipliers(pa, pb, step.made)
        left, right = step.scratch(0), step.scratch(1)
        for d, a, pair, given in ((left, step.a, ma, pa), (right, step.b, mb, pb)):
            step.code.requantize(
                d, a, multiplier=pair[0], shift=pair[1], zero_in=given.zero_point[0], left=ADD_LEFT_SHIFT,
                rounding=step.rounding, low=rowwise.LOWEST, high=rowwise.HIGHEST,
            )  # fmt: skip
        step.code.lanes(sign, left, left, right)
        low, high = step.limits()
        step.code.requantize(
            step.d, left, multiplier=my[0], shift=my[1], rounding=step.rounding, zero_out=step.made.zero_point[0],
            low=low, high=high,
        )  # fmt: skip

    return emit


def _pair(step: Step) -> tuple[Quantization, Quantization]:
    """Return the quantizations of `a` and `b`; the sum's sides may stand in either order."""
    return step.given(0), step.given(1)


def _product(step: Step) -> None:
    assert step.b is not None
    pa, pb = _pair(step)
    left, right = step.scratch(0), step.scratch(1)
    step.code.lanes("sub", left, step.a, pa.zero_point[0])
    step.code.lanes("sub", right, step.b, pb.zero_point[0])
    step.code.lanes("mul", left, left, right)
    step.scale_to(step.d, left, pa.scale[0], pb.scale[0])


def _pick(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        """Bring both operands to the output's scale, where it differs, and take one."""
        assert step.b is not None
        views: list[View] = []
        for number, view in enumerate((step.a, step.b)):
            given = step.given(number)
            if given == step.made:
                views.append(view)
                continue
            step.scale_to(step.scratch(number), view, given.scale[0], zero_in=given.zero_point[0])
            views.append(step.scratch(number))
        step.code.lanes(name, step.d, views[0], views[1])

    return emit


def _table(step: Step) -> None:
    step.code.look_up(step.d, step.a, step.tile.tables + step.tile.stored.table_offset(step.node.name), 128)


def _rescale(step: Step) -> None:
    step.scale_to(step.d, step.a, step.given().scale[0], zero_in=step.given().zero_point[0])


def _copy(step: Step) -> None:
    if step.given() != step.made:
        _rescale(step)
    else:
        step.code.lanes("copy", step.d, step.a, 0)


def _clamp(step: Step) -> None:
    """relu, relu6, clip; clip only comes with equal quantizations of input and output."""
    zero, scale, op = step.given().zero_point[0], step.given().scale[0], step.node.op
    if step.given() != step.made:
        _table(step)
        return
    low, high = output_limits(op, step.made)
    if op == "clip":
        ends = Attributes({"low": -inf, "high": inf, **dict(step.node.attributes)})
        low = round(max(ends.number("low") / scale + zero, -128))
        high = round(min(ends.number("high") / scale + zero, 127))
    step.code.requantize(step.d, step.a, multiplier=1 << 30, shift=1, low=low, high=high)  # times 1


def _max_pool(step: Step) -> None:
    if step.tile.sums is not None or step.a is not step.tile.source:
        fused_max_pool(step)
        return
    source, total = step.tile.source, step.scratch(0)
    step.code.lanes("and", total, total, 0)
    step.code.lanes("min", total, total, -128)

    def body(offset: Expr) -> Op | Loop:
        single = VectorCode(step.tile.rows)
        assert source is not None
        single.lanes("max", total, total, source.moved(offset))
        return single.ops[0]

    step.window(body)
    step.code.lanes("copy", step.d, total, 0)


INTEGER: dict[str, Callable[[Step], None]] = {
    "conv2d": _conv,
    "linear": _accumulated,
    "matmul": matmul.integer_product,
    "add": _sum("add"),
    "sub": _sum("sub"),
    "mul": _product,
    "relu": _clamp,
    "relu6": _clamp,
    "clip": _clamp,
    **dict.fromkeys(TABLES, _table),
    "max_pool2d": _max_pool,
    "softmax": rowwise.softmax,
    "layer_norm": rowwise.layer_norm,
    "rms_norm": norms.rms_norm,
    "rotary": rotary.rotary,
    "maximum": _pick("max"),
    "minimum": _pick("min"),
    "requantize": _rescale,
    "identity": _copy,
    "slice": _copy,
    "pad": _copy,
    "gather": _copy,
    "concat": joined,
    "transpose": _copy,
    **picture_steps.INTEGER,
}
