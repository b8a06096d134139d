"""Operators of torch that work element by element, with torch's type promotion.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the value of the node, as in ops.py.
Promises: operands are brought to one dtype first, as torch.result_type says; a number takes the dtype of the tensor.
Does not: divide integers by a rounding mode other than floor and trunc.
Sources:  https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from onchip.frontends.torch.arrange import Arguments, Rule
from onchip.frontends.torch.walk import DTYPES, Value, Walk, Wide
from onchip.ops.types import AttributeValue

KINDS = {"f32": np.float32, "i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8, "u8": np.uint8,
         "bool": np.bool_}  # fmt: skip


def number(walk: Walk, node: fx.Node, value: float, dtype: str = "f32") -> str:
    """Give a constant of one number."""
    return walk.canvas.constant(f"{walk.name(node)}.scalar", np.array(value, KINDS.get(dtype, np.float32)))


def to_dtype(walk: Walk, x: str, dtype: str) -> str:
    """Convert a tensor where it has another dtype."""
    return x if walk.canvas.dtype(x) == dtype else walk.canvas.node("cast", (x,), f"{x}.{dtype}", dtype=dtype)


def promoted(walk: Walk, node: fx.Node, arg: Any, dtype: str) -> str:
    """Give an operand in a dtype; numbers become constants."""
    value = walk.value(arg)
    if isinstance(value, (int, float)) and not isinstance(arg, fx.Node):
        return number(walk, node, value, dtype)
    return to_dtype(walk, walk.operand(node, arg), dtype)


def _result_type(node: fx.Node, args: tuple[Any, ...]) -> torch.dtype:
    values: list[Any] = [a.meta["val"] if isinstance(a, fx.Node) else a for a in args]
    return torch.result_type(values[0], values[1])


def made_dtype(walk: Walk, node: fx.Node) -> str:
    """Give the dtype that torch inferred for a node."""
    return walk.dtype(node, cast("Tensor", node.meta["val"]).dtype)


def finished(walk: Walk, node: fx.Node, made: str) -> Value:
    """Give a tensor, as one that is stretched where torch inferred a larger shape."""
    return made if walk.canvas.shape(made) == walk.shape(node) else Wide(made)


def arithmetic(op: str, *, is_reversed: bool = False) -> Rule:
    """Make the rule of add, sub, mul, div, pow, maximum, minimum."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        dtype, other = made_dtype(walk, node), a.get("other", a.get("exponent"))
        left, right = (promoted(walk, node, arg, dtype) for arg in (a["self"], other))
        if is_reversed:
            left, right = right, left
        if a.get("alpha", 1) != 1:
            factor = number(walk, node, a["alpha"], dtype)
            if is_reversed:
                right = walk.canvas.node("mul", (right, factor), f"{walk.name(node)}.scaled")
            else:
                right = walk.canvas.node("mul", (right, factor), f"{walk.name(node)}.scaled")
        if a.get("rounding_mode") is not None:
            return _divided(walk, node, left, right, str(a["rounding_mode"]))
        return finished(walk, node, walk.canvas.node(op, (left, right), walk.name(node)))

    return rule


def _divided(walk: Walk, node: fx.Node, left: str, right: str, mode: str) -> Value:
    """Divide to a whole number."""
    name, dtype = walk.name(node), walk.canvas.dtype(left)
    if dtype in DTYPES.values() and dtype not in ("f32", "f16", "bf16"):
        if mode == "trunc":
            return finished(walk, node, walk.canvas.node("div", (left, right), name))
        rest = walk.canvas.node("mod", (left, right), f"{name}.rest")
        whole = walk.canvas.node("sub", (left, rest), f"{name}.whole")
        return finished(walk, node, walk.canvas.node("div", (whole, right), name))
    if mode != "floor":
        raise walk.refuse(node, f"division of floats with rounding_mode '{mode}'")
    ratio = walk.canvas.node("div", (left, right), f"{name}.ratio")
    return finished(walk, node, walk.canvas.node("floor", (ratio,), name))


def comparison(op: str, *, is_negated: bool = False) -> Rule:
    """Make the rule of eq, ne, lt, le, gt, ge."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        dtype = walk.dtype(node, _result_type(node, (a["self"], a["other"])))
        inputs = [promoted(walk, node, arg, dtype) for arg in (a["self"], a["other"])]
        made = walk.canvas.node(op, inputs, f"{walk.name(node)}.equal" if is_negated else walk.name(node))
        return finished(walk, node, walk.canvas.node("logical_not", (made,), walk.name(node)) if is_negated else made)

    return rule


def logical(op: str) -> Rule:
    """Make the rule of an operator on truth values; other values are compared with 0 first."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        if str(node.target).startswith("aten.bitwise") and made_dtype(walk, node) != "bool":
            raise walk.refuse(node, f"{node.target!s} of integers", limit="It takes truth values")
        inputs = [to_dtype(walk, walk.operand(node, a[key]), "bool") for key in ("self", "other") if key in a]
        return finished(walk, node, walk.canvas.node(op, inputs, walk.name(node)))

    return rule


def unary(op: str, **names: str) -> Rule:
    """Make the rule of a function of one tensor; `names` are our attributes and the arguments they come from."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = to_dtype(walk, walk.operand(node, node.args[0]), made_dtype(walk, node))
        attributes: dict[str, AttributeValue] = {ours: float(a[theirs]) for ours, theirs in names.items()}
        return finished(walk, node, walk.canvas.node(op, (x,), walk.name(node), **attributes))

    return rule


def fixed(op: str, **attributes: AttributeValue) -> Rule:
    """Make the rule of a function of one tensor with attributes of its own."""

    def rule(walk: Walk, node: fx.Node, _a: Arguments) -> Value:
        x = walk.operand(node, node.args[0])
        return finished(walk, node, walk.canvas.node(op, (x,), walk.name(node), **attributes))

    return rule


def _elu(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """elu(x, alpha, scale, input_scale); selu and celu are forms of it."""
    x, name, alpha = walk.tensor(node, a["self"]), walk.name(node), float(a["alpha"])
    scale, given = float(a["scale"]), float(a["input_scale"])
    if given != 1 and math.isclose(given * alpha, 1) and scale == 1:
        return walk.canvas.node("celu", (x,), name, alpha=alpha)
    if given != 1:
        raise walk.refuse(node, f"elu with input_scale {given}")
    if scale != 1:
        return walk.canvas.node("selu", (x,), name, alpha=alpha, gamma=scale)
    return walk.canvas.node("elu", (x,), name, alpha=alpha)


def _softplus(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """Above `threshold` torch takes x itself, which float32 cannot tell apart from 20 on."""
    if float(a["beta"]) != 1 or float(a["threshold"]) < 20:
        raise walk.refuse(node, f"softplus with beta {a['beta']} and threshold {a['threshold']}")
    return walk.canvas.node("softplus", (walk.tensor(node, a["self"]),), walk.name(node))


def _log_sigmoid(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    name = walk.name(node)
    turned = walk.canvas.node("neg", (walk.tensor(node, a["self"]),), f"{name}.neg")
    return walk.canvas.node("neg", (walk.canvas.node("softplus", (turned,), f"{name}.softplus"),), name)


def _prelu(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, slope = walk.tensor(node, a["self"]), walk.tensor(node, a["weight"])
    canvas = walk.canvas
    return canvas.channels_first(canvas.node("prelu", (canvas.channels_last(x), slope), walk.name(node)))


def _clamp_tensor(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    made, dtype = promoted(walk, node, a["self"], made_dtype(walk, node)), made_dtype(walk, node)
    for key, op in (("min", "maximum"), ("max", "minimum")):
        if a[key] is not None:
            made = walk.canvas.node(op, (made, promoted(walk, node, a[key], dtype)), walk.name(node))
    return finished(walk, node, made)


def _shifted(op: str, shift: float, *, is_after: bool) -> Rule:
    """Make the rule of log1p (log of x + 1) and expm1 (exp of x, minus 1)."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x, name = walk.tensor(node, a["self"]), walk.name(node)
        if is_after:
            made = walk.canvas.node(op, (x,), f"{name}.{op}")
            return walk.canvas.node("add", (made, number(walk, node, shift)), name)
        moved = walk.canvas.node("add", (x, number(walk, node, shift)), f"{name}.moved")
        return walk.canvas.node(op, (moved,), name)

    return rule


def _pow_scalar(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """A number to the power of a tensor."""
    dtype = made_dtype(walk, node)
    inputs = (promoted(walk, node, a["self"], dtype), promoted(walk, node, a["exponent"], dtype))
    return walk.canvas.node("pow", inputs, walk.name(node))


def _where(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    dtype = made_dtype(walk, node)
    parts = [promoted(walk, node, a[key], dtype) for key in ("self", "other")]
    return finished(
        walk, node, walk.canvas.node("where", (walk.operand(node, a["condition"]), *parts), walk.name(node))
    )


def _masked_fill(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    dtype = made_dtype(walk, node)
    parts = [promoted(walk, node, a[key], dtype) for key in ("value", "self")]
    return finished(walk, node, walk.canvas.node("where", (walk.operand(node, a["mask"]), *parts), walk.name(node)))


def _is_nan(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    made = walk.canvas.node("equal", (x, x), f"{walk.name(node)}.number")
    return walk.canvas.node("logical_not", (made,), walk.name(node))


def _both(names: tuple[str, ...], rule: Rule) -> dict[str, Rule]:
    return {f"{name}.{form}": rule for name in names for form in ("Tensor", "Scalar")}


PROMOTED: dict[str, Rule] = {
    **_both(("add",), arithmetic("add")), **_both(("sub",), arithmetic("sub")), **_both(("mul",), arithmetic("mul")),
    **_both(("div",), arithmetic("div")), **_both(("rsub",), arithmetic("sub", is_reversed=True)),
    "div.Tensor_mode": arithmetic("div"), "div.Scalar_mode": arithmetic("div"), "pow.Tensor_Scalar": arithmetic("pow"),
    "pow.Tensor_Tensor": arithmetic("pow"), "pow.Scalar": _pow_scalar, "maximum.default": arithmetic("maximum"),
    "minimum.default": arithmetic("minimum"), **_both(("remainder",), arithmetic("mod")),
    **_both(("eq",), comparison("equal")), **_both(("ne",), comparison("equal", is_negated=True)),
    **_both(("lt",), comparison("less")), **_both(("le",), comparison("less_equal")),
    **_both(("gt",), comparison("greater")), **_both(("ge",), comparison("greater_equal")),
    "logical_not.default": logical("logical_not"), "bitwise_not.default": logical("logical_not"),
    "logical_and.default": logical("logical_and"), "bitwise_and.Tensor": logical("logical_and"),
    "logical_or.default": logical("logical_or"), "bitwise_or.Tensor": logical("logical_or"),
    "logical_xor.default": logical("logical_xor"), "bitwise_xor.Tensor": logical("logical_xor"),
    "relu.default": unary("relu"), "relu6.default": unary("relu6"), "sigmoid.default": unary("sigmoid"),
    "tanh.default": unary("tanh"), "silu.default": unary("silu"), "exp.default": unary("exp"),
    "sqrt.default": unary("sqrt"), "erf.default": unary("erf"), "neg.default": unary("neg"),
    "abs.default": unary("abs"), "ceil.default": unary("ceil"), "floor.default": unary("floor"),
    "round.default": unary("round"), "sign.default": unary("sign"), "log.default": unary("log"),
    "sin.default": unary("sin"), "cos.default": unary("cos"), "reciprocal.default": unary("reciprocal"),
    "rsqrt.default": unary("rsqrt"), "mish.default": unary("mish"), "hardswish.default": unary("hard_swish"),
    "hardsigmoid.default": unary("hard_sigmoid"), "leaky_relu.default": unary("leaky_relu", alpha="negative_slope"),
    "elu.default": _elu, "softplus.default": _softplus, "log_sigmoid_forward.default": _log_sigmoid,
    "log_sigmoid.default": _log_sigmoid, "prelu.default": _prelu, "_prelu_kernel.default": _prelu,
    "log1p.default": _shifted("log", 1.0, is_after=False), "expm1.default": _shifted("exp", -1.0, is_after=True),
    "clamp.Tensor": _clamp_tensor, "isnan.default": _is_nan, "where.self": _where, "where.ScalarOther": _where,
    "where.ScalarSelf": _where, "where.Scalar": _where, "masked_fill.Scalar": _masked_fill,
    "masked_fill.Tensor": _masked_fill,
}  # fmt: skip
