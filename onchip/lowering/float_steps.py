"""The vector unit's instructions for each op in floats.

In: a Step. Out: instructions, appended to the step's code. Lanes are float32; only the last instruction of a node that
ends the kernel rounds to the program's dtype. A step of a sequence is (operation, operand): a number, a view, or the
node's own input. How many there are of each op stands in ops/cost.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, pi

from onchip.isa.floats import F32
from onchip.lowering import norms, picture_steps, rotary, rowwise
from onchip.lowering.code import VectorCode, View, float_bits
from onchip.lowering.context import attributes
from onchip.lowering.step import Step, fused_max_pool, joined
from onchip.lowering.tree import Expr, Loop, Op
from onchip.ops.cost import ACTIVATIONS

Steps = Sequence[tuple[str, float | View]]
MAGNITUDE = 0x7FFFFFFF  # the bits of a float32 without its sign
GELU_CUBIC, GELU_SCALE = 0.044715, 2.0 * (2.0 / pi) ** 0.5  # x * sigmoid(2 u) is x / 2 * (1 + tanh(u))
MISH_LIMIT = 20.0  # above it tanh(softplus(x)) rounds to 1
HUGE = 2.0**126


def run(step: Step, a: View, steps: Steps, total: View | None = None, d: View | None = None) -> None:
    """Do one step after the other, from `a` through `total` (a scratch tile) to `d` (the node's output)."""
    total = step.scratch(0) if total is None else total
    for number, (name, operand) in enumerate(steps):
        target = (step.d if d is None else d) if number == len(steps) - 1 else total
        step.code.lanes(name, target, a, operand if isinstance(operand, View) else float_bits(operand))
        a = target


def activation(step: Step) -> Steps:
    """Return the steps of the node's fused activation."""
    limits = {"max": 0.0, "min": 6.0}
    return [(name, limits[name]) for name in ACTIVATIONS[str(step.node.attribute("activation", "none"))]]


# --- products and windows ---------------------------------------------------------------------------------------------
def _binary(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        assert step.b is not None
        run(step, step.a, [(name, step.b), *activation(step)])

    return emit


def _accumulated(step: Step) -> None:
    """Add the bias to the sums in place."""
    start = step.tile.parameters + step.tile.stored.offset("scale", step.tile.rows.lanes)
    run(step, step.a, [("add", View(F32, start)), *activation(step)], step.a)


def _conv(step: Step) -> None:
    if step.tile.sums is not None:
        _accumulated(step)
        return
    tile, lanes, width = step.tile, step.tile.rows.lanes, step.kernel.shape.window[1]
    taps, line = tile.parameters + tile.stored.offset("taps", lanes), lanes * step.kernel.shape.element_bytes

    def weights(_offset: Expr) -> View:
        return View(tile.type, taps + Expr(0, (("r", width * line), ("s", line))))

    step.a = _window(step, "mac", 0.0, weights)
    _accumulated(step)


def _window(step: Step, name: str, start: float, other: Callable[[Expr], View] | None = None) -> View:
    """Return a scratch tile: `start`, and `name` with each tap of the window, or with it and another operand."""
    source, total = step.tile.source, step.scratch(0)
    assert source is not None
    step.code.lanes("and", total, total, 0)
    if start:
        step.code.lanes("add", total, total, float_bits(start))

    def body(offset: Expr) -> Op | Loop:
        single, tap = VectorCode(step.tile.rows), source.moved(offset)
        if other is None:
            single.lanes(name, total, total, tap)
        else:
            single.lanes(name, total, tap, other(offset))
        return single.ops[0]

    step.window(body)
    return total


def _max_pool(step: Step) -> None:
    if step.a is not step.tile.source:
        fused_max_pool(step)
        return
    run(step, _window(step, "max", -inf), [("copy", 0.0)])


# --- functions of one tensor ------------------------------------------------------------------------------------------
def _number(step: Step, key: str) -> float:
    return attributes(step.node).number(key)


def _one(name: str) -> Callable[[Step], Steps]:
    return lambda _step: [(name, 0.0)]


def _gelu(step: Step) -> Steps:
    if attributes(step.node).text("approximate") != "tanh":
        return [("gelu", 0.0)]
    inner = [("mul", step.a), ("mul", GELU_SCALE * GELU_CUBIC), ("add", GELU_SCALE), ("mul", step.a)]
    return [*inner, ("sigmoid", 0.0), ("mul", step.a)]


def _leaky_relu(step: Step) -> Steps:
    alpha = _number(step, "alpha")
    return [("mul", alpha), ("max" if alpha <= 1 else "min", step.a)]


def _clip(step: Step) -> Steps:
    given = attributes(step.node)
    return [("max", given.number("low")), ("min", given.number("high"))]


FUNCTIONS: dict[str, Callable[[Step], Steps]] = {
    **{name: _one(name) for name in ("sigmoid", "tanh", "silu", "exp", "sqrt", "erf", "log", "rsqrt")},
    **{name: _one(name) for name in ("ceil", "floor", "round", "sin", "cos")},
    **{name: _one("copy") for name in ("identity", "slice", "pad", "gather", "transpose", "requantize", "matmul")},
    "relu": lambda _: [("max", 0.0)],
    "relu6": lambda _: [("max", 0.0), ("min", 6.0)],
    "clip": _clip,
    "gelu": _gelu,
    "neg": lambda _: [("mul", -1.0)],
    "sign": lambda _: [("mul", HUGE), ("mul", HUGE), ("max", -1.0), ("min", 1.0)],
    "reciprocal": _one("recip"),
    "hard_sigmoid": lambda s: [
        ("mul", _number(s, "alpha")), ("add", _number(s, "beta")), ("max", 0.0), ("min", 1.0)
    ],
    "hard_swish": lambda s: [("mul", 1 / 6), ("add", 0.5), ("max", 0.0), ("min", 1.0), ("mul", s.a)],
    "leaky_relu": _leaky_relu,
}  # fmt: skip


def _function(name: str) -> Callable[[Step], None]:
    return lambda step: run(step, step.a, FUNCTIONS[name](step))


def _magnitude(step: Step, d: View) -> None:
    step.code.lanes("and", d, step.a, MAGNITUDE)


def _abs(step: Step) -> None:
    _magnitude(step, step.d)


def _softsign(step: Step) -> None:
    total = step.scratch(0)
    _magnitude(step, total)
    step.code.lanes("add", total, total, float_bits(1.0))
    step.code.lanes("div", step.d, step.a, total)


def _softplus(step: Step) -> None:
    """max(x, 0) + log(1 + exp(-|x|))."""
    low, high = step.scratch(0), step.scratch(1)
    _magnitude(step, low)
    run(step, low, [("mul", -1.0), ("exp", 0.0), ("add", 1.0), ("log", 0.0)], low, low)
    step.code.lanes("max", high, step.a, 0)
    step.code.lanes("add", step.d, high, low)


def _mish(step: Step) -> None:
    """x * (e^2 + 2 e) / (e^2 + 2 e + 2) with e = exp(x)."""
    low, high = step.scratch(0), step.scratch(1)
    run(step, step.a, [("min", MISH_LIMIT), ("exp", 0.0)], low, low)
    step.code.lanes("add", high, low, float_bits(2.0))
    step.code.lanes("mul", low, low, high)
    step.code.lanes("add", high, low, float_bits(2.0))
    step.code.lanes("div", low, low, high)
    step.code.lanes("mul", step.d, low, step.a)


def _elu(step: Step) -> None:
    """gamma * (max(x, 0) + alpha * (exp(min(x, 0) / width) - 1)): elu, celu and selu by their three numbers."""
    alpha, gamma, width = _number(step, "alpha"), 1.0, 1.0
    if step.node.op == "selu":
        gamma = _number(step, "gamma")
    elif step.node.op == "celu":
        width = alpha
    low, high = step.scratch(0), step.scratch(1)
    stretch: Steps = [] if step.node.op != "celu" else [("mul", 1.0 / width)]
    rest: Steps = [("exp", 0.0), ("sub", 1.0), ("mul", gamma * alpha)]
    run(step, step.a, [("min", 0.0), *stretch, *rest], low, low)
    step.code.lanes("max", high, step.a, 0)
    if step.node.op == "selu":
        step.code.lanes("mul", high, high, float_bits(gamma))
    step.code.lanes("add", step.d, high, low)


FLOAT: dict[str, Callable[[Step], None]] = {
    "conv2d": _conv,
    "linear": _accumulated,
    **{name: _binary(name) for name in ("add", "sub", "mul")},
    **{name: _function(name) for name in FUNCTIONS},
    **dict.fromkeys(("elu", "celu", "selu"), _elu),
    "abs": _abs,
    "softplus": _softplus,
    "softsign": _softsign,
    "mish": _mish,
    "concat": joined,
    "max_pool2d": _max_pool,
    **picture_steps.FLOAT,
    "softmax": rowwise.float_softmax,
    "layer_norm": norms.float_layer_norm,
    "rms_norm": norms.float_rms_norm,
    "rotary": rotary.float_rotary,
    "maximum": _binary("max"),
    "minimum": _binary("min"),
}
