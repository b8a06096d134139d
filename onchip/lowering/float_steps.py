"""The vector unit's instructions for each op in floats: the shape of the sequence, for timing.

In: a Step. Out: instructions, appended to the step's code. Values of float programs are not run.
"""

from __future__ import annotations

from collections.abc import Callable

from onchip.lowering import norms, picture_steps, rotary, rowwise
from onchip.lowering.code import VectorCode, View
from onchip.lowering.step import Step, fused_max_pool, joined
from onchip.lowering.tree import Expr, Loop, Op
from onchip.ops.cost import SEQUENCES


def _float_unary(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        step.code.lanes(name, step.d, step.a, 0)

    return emit


def _float_sequence(names: tuple[str, ...]) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        a = step.a
        for number, name in enumerate(names):
            d = step.d if number == len(names) - 1 else step.scratch(0)
            step.code.lanes(name, d, a, 0)
            a = d

    return emit


def _float_binary(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        step.code.lanes(name, step.d, step.a, step.b if step.b is not None else 0)

    return emit


def _float_conv(step: Step) -> None:
    if step.tile.sums is not None:
        step.code.lanes("add", step.d, step.a, View(step.tile.type, step.tile.parameters))
        return
    total, source = step.scratch(0), step.tile.source
    assert source is not None

    def body(offset: Expr) -> Op | Loop:
        single = VectorCode(step.tile.rows)
        single.lanes("mac", total, source.moved(offset), View(step.tile.type, step.tile.parameters))
        return single.ops[0]

    step.window(body)
    step.code.lanes("add", step.d, total, View(step.tile.type, step.tile.parameters))


def _float_window(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        if step.a is not step.tile.source:
            fused_max_pool(step)
            return
        source, total = step.a, step.scratch(0)

        def body(offset: Expr) -> Op | Loop:
            single = VectorCode(step.tile.rows)
            single.lanes(name, total, total, source.moved(offset))
            return single.ops[0]

        step.window(body)
        step.code.lanes("copy", step.d, total, 0)

    return emit


FLOAT: dict[str, Callable[[Step], None]] = {
    "conv2d": _float_conv,
    "linear": _float_conv,
    **{name: _float_binary(name) for name in ("add", "sub", "mul")},
    **{name: _float_unary("max") for name in ("relu", "relu6", "clip")},
    **{name: _float_sequence(names) for name, names in SEQUENCES.items()},
    **{
        name: _float_unary("copy")
        for name in ("identity", "slice", "pad", "gather", "transpose", "requantize", "matmul")
    },
    "concat": joined,
    "max_pool2d": _float_window("max"),
    **picture_steps.FLOAT,
    "softmax": rowwise.float_softmax,
    "layer_norm": rowwise.float_layer_norm,
    "rms_norm": norms.float_rms_norm,
    "rotary": rotary.float_rotary,
}
