"""The ONNX operators that work element by element: functions of one tensor, of two, of many, and Cast.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: integers of 8 and 16 bits are computed in 32 and wrap around, as ONNX has them; floats in float32.
          A function that our op set does not have is written by those it has, where that loses no digits.
Does not: read unsigned integers of 16 bits and more, 4-bit types and strings: no tensor of ours holds them.
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from onchip.frontends.onnx.walk import DTYPES, Dims, Known, Value, Walk
from onchip.ops.types import FLOAT_DTYPES, AttributeValue, axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
NARROW = ("i8", "u8", "i16")


def arithmetic(walk: Walk, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> str:
    """Write an op whose result has the dtype of its first input; narrow integers go through 32 bits."""
    canvas, dtype = walk.canvas, walk.canvas.dtype(inputs[0])
    if dtype not in NARROW:
        return canvas.node(op, inputs, name, **attributes)
    wide = [canvas.node("cast", (i,), f"{i}.wide", dtype="i32") if canvas.dtype(i) in NARROW else i for i in inputs]
    return canvas.node("cast", (canvas.node(op, wide, f"{name}.wide", **attributes),), name, dtype=dtype)


def scalar(walk: Walk, like: str, value: float, name: str) -> str:
    """Give a constant of one number, in the dtype of another tensor."""
    dtype = walk.canvas.dtype(like)
    kinds = {"i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8, "u8": np.uint8, "bool": np.bool_}
    return walk.canvas.constant(f"{name}.number", np.array(value, kinds.get(dtype, np.float32)))


def unary(op: str, **defaults: float) -> Rule:
    """Make the rule of a function of one tensor; `defaults` are ONNX' own."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        a = walk.attributes(node)
        attributes = {k: float(a.get(k, v)) for k, v in defaults.items()}
        return (arithmetic(walk, op, (walk.tensor(node, 0),), walk.name(node), **attributes),)

    return rule


def binary(op: str) -> Rule:
    """Make the rule of a function of two tensors."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        inputs = (walk.tensor(node, 0), walk.tensor(node, 1))
        if "axis" in walk.attributes(node):
            raise walk.refuse(node, "with an axis, as before opset 7")
        return (arithmetic(walk, op, inputs, walk.name(node)),)

    return rule


def compare(op: str) -> Rule:
    """Make the rule of a comparison; its result is bool, so integers stay as they are."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        return (walk.canvas.node(op, (walk.tensor(node, 0), walk.tensor(node, 1)), walk.name(node)),)

    return rule


def _pow(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """The result has the dtype of the base, whatever the exponent is."""
    base, exponent, name = walk.tensor(node, 0), walk.tensor(node, 1), walk.name(node)
    dtype, other = walk.canvas.dtype(base), walk.canvas.dtype(exponent)
    if dtype in FLOAT_DTYPES or other not in FLOAT_DTYPES:
        return (arithmetic(walk, "pow", (base, exponent), name),)
    real = walk.canvas.node("cast", (base,), f"{base}.real", dtype="f32")
    power = walk.canvas.node("pow", (real, exponent), f"{name}.real")
    return (walk.canvas.node("cast", (power,), name, dtype=dtype),)


def _mod(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    inputs, is_c = (walk.tensor(node, 0), walk.tensor(node, 1)), bool(walk.attributes(node).get("fmod", 0))
    return (arithmetic(walk, "mod", inputs, walk.name(node), fmod=is_c),)


def variadic(op: str) -> Rule:
    """Make the rule of a function of any number of tensors, taken two at a time."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        name = walk.name(node)
        made = walk.tensor(node, 0)
        for place in range(1, len(node.input)):
            made = arithmetic(walk, op, (made, walk.tensor(node, place)), name)
        return (made,)

    return rule


def _mean(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    (total,) = variadic("add")(walk, node)
    assert isinstance(total, str)
    count = scalar(walk, total, len(node.input), walk.name(node))
    return (walk.canvas.node("div", (total, count), walk.name(node)) if len(node.input) > 1 else total,)


def _clip(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Bounds were attributes before opset 11."""
    a, x, name = walk.attributes(node), walk.tensor(node, 0), walk.name(node)
    places = {"min": 1, "max": 2}
    values = {k: walk.value(node, p) for k, p in places.items()}
    if all(v is None or isinstance(v, Known) for v in values.values()):
        bounds = [_bound(v, float(a.get(k, d))) for (k, v), d in zip(values.items(), (-np.inf, np.inf), strict=True)]
        return (arithmetic(walk, "clip", (x,), name, low=bounds[0], high=bounds[1]),)
    for key, op in (("min", "maximum"), ("max", "minimum")):
        if values[key] is not None:
            x = arithmetic(walk, op, (x, walk.tensor(node, places[key])), name)
    return (x,)


def _bound(value: Value, default: float) -> float:
    return float(value.array.reshape(-1)[0]) if isinstance(value, Known) else default


def _gelu(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    form = walk.attributes(node).get("approximate", b"none")
    return (walk.canvas.node("gelu", (walk.tensor(node, 0),), walk.name(node), approximate=str(form, "ascii")),)


def _swish(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    if walk.attributes(node).get("alpha", 1.0) != 1.0:
        raise walk.refuse(node, f"alpha {walk.attributes(node)['alpha']}", limit="Only an alpha of 1 is read")
    return (walk.canvas.node("silu", (walk.tensor(node, 0),), walk.name(node)),)


def _prelu(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """One slope per channel is prelu; any other shape is a choice between x and its product."""
    canvas, x, slope, name = walk.canvas, walk.tensor(node, 0), walk.value(node, 1), walk.name(node)
    rank = len(canvas.shape(x))
    if isinstance(slope, Known) and canvas.dtype(x) == "f32":
        array = slope.array.reshape(-1).astype(np.float32)
        is_per_channel = rank > 1 and slope.array.shape == (canvas.shape(x)[1], *(1,) * (rank - 2))
        if array.size == 1 or is_per_channel:
            own = canvas.constant(slope.name, array)
            return (canvas.channels_first(canvas.node("prelu", (canvas.channels_last(x), own), name)),)
    scaled = arithmetic(walk, "mul", (x, walk.tensor(node, 1)), f"{name}.scaled")
    is_below = canvas.node("less", (x, scalar(walk, x, 0, name)), f"{name}.below")
    return (arithmetic_where(walk, is_below, scaled, x, name),)


def arithmetic_where(walk: Walk, condition: str, a: str, b: str, name: str) -> str:
    """Choose between two tensors; narrow integers go through 32 bits."""
    canvas, dtype = walk.canvas, walk.canvas.dtype(a)
    if dtype not in NARROW:
        return canvas.node("where", (condition, a, b), name)
    wide = [canvas.node("cast", (i,), f"{i}.wide", dtype="i32") for i in (a, b)]
    return canvas.node("cast", (canvas.node("where", (condition, *wide), f"{name}.wide"),), name, dtype=dtype)


def _where(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    parts = [walk.tensor(node, i) for i in range(3)]
    return (arithmetic_where(walk, parts[0], parts[1], parts[2], walk.name(node)),)


def _is_nan(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    x, name = walk.tensor(node, 0), walk.name(node)
    return (walk.canvas.node("logical_not", (walk.canvas.node("equal", (x, x), f"{name}.number"),), name),)


def _is_inf(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x, name = walk.attributes(node), walk.tensor(node, 0), walk.name(node)
    is_up, is_down = bool(a.get("detect_positive", 1)), bool(a.get("detect_negative", 1))
    if is_up and is_down:
        x = walk.canvas.node("abs", (x,), f"{name}.size")
    limit = np.inf if is_up else -np.inf if is_down else np.nan
    return (walk.canvas.node("equal", (x, scalar(walk, x, limit, name)), name),)


def cast(walk: Walk, node: NodeProto, value: Value, wanted: int) -> tuple[Value, ...]:
    """Convert a value to an element type of ONNX."""
    if isinstance(value, Dims) and wanted in (TensorProto.INT64, TensorProto.INT32):
        return (value,)
    tensor = walk.held(node, value)
    dtype = DTYPES.get(wanted, "fp8" if wanted == TensorProto.FLOAT8E4M3FN else "")
    is_saturated = bool(walk.attributes(node).get("saturate", 1))
    if not dtype or (dtype == "fp8" and not is_saturated):
        kind = TensorProto.DataType.Name(wanted) if wanted in TensorProto.DataType.values() else wanted
        raise walk.refuse(node, f"from {walk.canvas.dtype(tensor)} to {kind}", limit=f"There are {', '.join(LISTED)}")
    if walk.canvas.dtype(tensor) == dtype:
        return (tensor,)
    return (walk.canvas.node("cast", (tensor,), walk.name(node), dtype=dtype),)


LISTED = tuple(dict.fromkeys(DTYPES.values()))


def _cast(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    return cast(walk, node, walk.value(node, 0), int(walk.attributes(node)["to"]))


def _cast_like(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    from onnx import helper

    like = walk.value(node, 1)
    if isinstance(like, Known):
        return cast(walk, node, walk.value(node, 0), helper.np_dtype_to_tensor_dtype(like.array.dtype))
    dtype = walk.canvas.dtype(walk.tensor(node, 1))
    return cast(walk, node, walk.value(node, 0), next(k for k, v in DTYPES.items() if v == dtype))


def _hardmax(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """1 at the first largest value along an axis; before opset 13 everything from `axis` on was one axis."""
    canvas, x, name = walk.canvas, walk.tensor(node, 0), walk.name(node)
    shape = canvas.shape(x)
    axis = axis_of(int(walk.attributes(node).get("axis", -1 if walk.opset >= 13 else 1)), len(shape))
    if walk.opset < 13 and axis != len(shape) - 1:
        raise walk.refuse(node, "over several axes, as before opset 13")
    depth = shape[axis]
    if isinstance(depth, str):
        raise walk.refuse(node, f"along the symbolic dimension '{depth}'", code="OC1353")
    ids = canvas.node("argmax", (x,), f"{name}.ids", axis=axis)
    return (canvas.node("one_hot", (ids,), name, depth=depth, axis=axis),)


ELEMENTWISE: dict[str, Rule] = {
    "Add": binary("add"), "Sub": binary("sub"), "Mul": binary("mul"), "Div": binary("div"), "Pow": _pow, "Mod": _mod,
    "Relu": unary("relu"), "Sigmoid": unary("sigmoid"), "Tanh": unary("tanh"), "Exp": unary("exp"),
    "Sqrt": unary("sqrt"), "Erf": unary("erf"), "Neg": unary("neg"), "Abs": unary("abs"), "Ceil": unary("ceil"),
    "Floor": unary("floor"), "Round": unary("round"), "Sign": unary("sign"), "Log": unary("log"), "Sin": unary("sin"),
    "Cos": unary("cos"), "Reciprocal": unary("reciprocal"), "Softplus": unary("softplus"), "Mish": unary("mish"),
    "Softsign": unary("softsign"), "HardSwish": unary("hard_swish"), "Elu": unary("elu", alpha=1.0),
    "Celu": unary("celu", alpha=1.0), "LeakyRelu": unary("leaky_relu", alpha=0.01),
    "HardSigmoid": unary("hard_sigmoid", alpha=0.2, beta=0.5),
    "Selu": unary("selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Gelu": _gelu, "Swish": _swish, "PRelu": _prelu, "Clip": _clip, "Hardmax": _hardmax,
    "Not": unary("logical_not"), "And": compare("logical_and"), "Or": compare("logical_or"),
    "Xor": compare("logical_xor"), "Equal": compare("equal"), "Greater": compare("greater"), "Less": compare("less"),
    "GreaterOrEqual": compare("greater_equal"), "LessOrEqual": compare("less_equal"),
    "Where": _where, "IsNaN": _is_nan, "IsInf": _is_inf, "Cast": _cast, "CastLike": _cast_like,
    "Sum": variadic("add"), "Max": variadic("maximum"), "Min": variadic("minimum"), "Mean": _mean,
}  # fmt: skip
