"""The integer operators of ONNX and of ONNX Runtime: Quantize- and DequantizeLinear, QLinear*, *Integer.

In:       a node, through the walk.
Out:      the values of its outputs: a tensor of int8 with its scale and zero point (Quantized), or a float.
Promises: uint8 is int8 shifted by 128, and so are its zero points; where somebody takes the integers as they are, they
          are shifted back. Sums are exact and requantized as ONNX Runtime does, in float32 (rounding "fp32").
Does not: quantize to 4 or 2 bits, to unsigned 16, to float8, or in blocks.
Sources:  https://onnx.ai/onnx/operators/ (QLinearConv, ...); onnxruntime docs/ContribOperators.md (com.microsoft).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper

from onchip.frontends.onnx.elementwise import scalar
from onchip.frontends.onnx.norms import label
from onchip.frontends.onnx.walk import Known, Quantized, Value, Walk, called
from onchip.frontends.onnx.windows import as_before, as_picture, window_of
from onchip.ops.types import Array, AttributeValue, Quantization

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
SHIFT = 128  # uint8 to int8
EXACT = 1 << 24  # float32 adds integers exactly up to here
HELD = {"uint8": "i8", "int8": "i8", "int16": "i16"}
COPYING = frozenset(
    (
        "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Identity", "MaxPool", "Gather",
        "DepthToSpace", "SpaceToDepth", "Concat", "Tile", "Expand", "GlobalMaxPool", "Dropout",
    )
)  # fmt: skip


def carry_quantized(walk: Walk, node: NodeProto, rule: Rule) -> tuple[Value, ...] | None:
    """Let an operator that copies values work on quantized ones; None where it is another, or scales differ."""
    given = {n: v for n in node.input if n and isinstance(v := walk.values.get(n), Quantized)}
    params = {(v.params, v.is_unsigned) for v in given.values()}
    data = node.input if node.op_type == "Concat" else node.input[:1]
    if node.op_type not in COPYING or len(params) != 1 or any(n not in given for n in data) or walk.has_more(node):
        return None
    like = next(iter(given.values()))
    if like.params.axis is not None:
        return None
    kept = dict(walk.values)
    walk.values.update((n, v.tensor) for n, v in given.items())
    try:
        made = rule(walk, node)
    finally:
        walk.values.update((n, kept[n]) for n in given)
    return tuple(Quantized(v, like.params, like.is_unsigned) if isinstance(v, str) else v for v in made)


def _params(
    walk: Walk, node: NodeProto, place: int, axis: int | None = None, kind: str = ""
) -> tuple[Quantization, str]:
    """Read scale and zero point at `place` and behind it, and the type of the integers; uint8 is shifted."""
    scale, zero = walk.value(node, place), walk.value(node, place + 1)
    if not isinstance(scale, Known) or not (zero is None or isinstance(zero, Known)):
        raise walk.refuse(node, "a scale or zero point that is computed from data", limit="They have to be constants")
    kind = kind or ("uint8" if zero is None else str(zero.array.dtype))
    scales = scale.array.reshape(-1).astype(np.float64)
    zeros = np.zeros(len(scales), np.int64) if zero is None else zero.array.reshape(-1).astype(np.int64)
    if kind == "uint8":
        zeros = zeros - SHIFT
    if scale.array.ndim > 1 or len(zeros) not in (1, len(scales)):
        raise walk.refuse(node, f"scales of shape {scale.array.shape}", limit="One scale, or one per index of an axis")
    zeros = np.broadcast_to(zeros, scales.shape)
    own = axis if len(scales) > 1 else None
    return Quantization(tuple(map(float, scales)), tuple(map(int, zeros)), own), kind


def integers(walk: Walk, node: NodeProto, place: int, scale_place: int) -> Quantized:
    """Give an activation as int8 or int16 with its quantization; plain integers take that of the node."""
    value = walk.value(node, place)
    params, kind = _params(walk, node, scale_place)
    if isinstance(value, Quantized):
        if value.params == params:
            return value
        raise walk.refuse(node, "reads a tensor with another scale or zero point than it was made with")
    tensor = walk.held(node, value)
    kinds = {"u8": "uint8", "i8": "int8", "i16": "int16"}
    if walk.canvas.dtype(tensor) not in kinds or kind not in HELD:
        raise walk.refuse(node, f"integers of {walk.canvas.dtype(tensor)} with a zero point of {kind}")
    return Quantized(_shifted_in(walk, tensor, params, is_unsigned=kind == "uint8"), params, kind == "uint8")


def _shifted_in(walk: Walk, x: str, params: Quantization, *, is_unsigned: bool) -> str:
    canvas = walk.canvas
    if not is_unsigned:
        return canvas.mark(canvas.node("identity", (x,), f"{x}.quantized"), params)
    wide = canvas.node("cast", (x,), f"{x}.wide", dtype="i32")
    moved = canvas.node("sub", (wide, scalar(walk, wide, SHIFT, f"{x}.shift")), f"{x}.moved")
    return canvas.mark(canvas.node("cast", (moved,), f"{x}.int8", dtype="i8"), params)


def made(walk: Walk, node: NodeProto, op: str, inputs: Sequence[str], place: int, **more: AttributeValue) -> Quantized:
    """Write an integer op; scale and zero point of its result stand at `place`."""
    params, kind = _params(walk, node, place)
    if kind not in HELD:
        raise walk.refuse(node, f"a result of {kind}")
    y = walk.canvas.node(op, inputs, walk.name(node), rounding="fp32", **more)
    return Quantized(walk.canvas.mark(y, params), params, kind == "uint8")


def weights(walk: Walk, node: NodeProto, place: int, scale_place: int, turn: Callable[[Array], Array]) -> str:
    """Write constant weights as int8, `turn`ed so that the output channels come first."""
    value = walk.value(node, place)
    if not isinstance(value, Known) or str(value.array.dtype) not in ("int8", "uint8"):
        raise walk.refuse(node, "its weight is not a constant of 8 bits", limit="Weights have to be constants")
    params, kind = _params(walk, node, scale_place, 0, str(value.array.dtype))
    array = (value.array ^ np.uint8(SHIFT)).view(np.int8) if kind == "uint8" else value.array
    return walk.canvas.quantized_constant(label(walk, node, place), np.ascontiguousarray(turn(array)), params)


def bias(walk: Walk, node: NodeProto, place: int, x: Quantized, weight: str) -> str:
    """Write a bias of int32 at the scale of the products."""
    value = walk.value(node, place)
    if value is None:
        return ""
    if not isinstance(value, Known) or value.array.dtype != np.int32:
        raise walk.refuse(node, "its bias is not a constant of int32")
    own = walk.canvas.quantization(weight)
    scales = tuple(x.params.scale[0] * s for s in own.scale) if own else x.params.scale
    params = Quantization(scales, (0,) * len(scales), 0 if len(scales) > 1 else None)
    return walk.canvas.quantized_constant(label(walk, node, place), value.array.reshape(-1), params)


def _activation(walk: Walk, node: NodeProto) -> dict[str, AttributeValue]:
    text = walk.attributes(node).get("activation", b"")
    return {"activation": str(text, "ascii")} if text else {}


def _qlinear_conv(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """x, its two, w, its two, those of y, bias."""
    canvas, x = walk.canvas, integers(walk, node, 0, 1)
    known = walk.value(node, 3)
    if not isinstance(known, Known) or known.array.ndim not in (3, 4):
        raise walk.refuse(node, "its weight is not a constant over one or two dimensions")
    shape = known.array.shape
    picture = as_picture(walk, node, x.tensor)
    kernel = (shape[-2] if len(shape) == 4 else 1, shape[-1])
    w = window_of(walk, node, kernel, canvas.shape(picture)[2:])
    weight = weights(walk, node, 3, 4, lambda a: a.reshape(*a.shape[:2], *kernel).transpose(0, 2, 3, 1))
    inputs = [canvas.channels_last(picture), weight, bias(walk, node, 8, x, weight)]
    y = made(
        walk, node, "conv2d", inputs, 6, stride=w.stride, padding=w.padding, dilation=w.dilation,
        groups=int(walk.attributes(node).get("group", 1)), **_activation(walk, node),
    )  # fmt: skip
    back = as_before(walk, canvas.channels_first(y.tensor), len(canvas.shape(x.tensor)))
    return (Quantized(back, y.params, y.is_unsigned),)


def _qlinear_matmul(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """a, its two, b, its two, those of y."""
    x, right = integers(walk, node, 0, 1), walk.value(node, 3)
    if isinstance(right, Known) and right.array.ndim == 2:
        weight = weights(walk, node, 3, 4, lambda a: a.T)
        return (made(walk, node, "linear", (x.tensor, weight), 6, **_activation(walk, node)),)
    y = integers(walk, node, 3, 4)
    return (made(walk, node, "matmul", (x.tensor, y.tensor), 6),)


def _qgemm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """a, its two, b, its two, bias, those of y (absent: a float)."""
    a, x = walk.attributes(node), integers(walk, node, 0, 1)
    if a.get("alpha", 1.0) != 1.0 or a.get("transA", 0) or not any(node.input[7:]):
        raise walk.refuse(node, "with alpha, transA, or a float result")
    weight = weights(walk, node, 3, 4, (lambda w: w) if a.get("transB", 0) else (lambda w: w.T))
    return (
        made(walk, node, "linear", (x.tensor, weight, bias(walk, node, 6, x, weight)), 7, **_activation(walk, node)),
    )


def _pair(op: str) -> Rule:
    """Make the rule of QLinearAdd and QLinearMul: a, its two, b, its two, those of y."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        parts = [_operand(walk, node, place) for place in (0, 3)]
        _, kind = _params(walk, node, 6)
        form = "onnxruntime_uint8" if kind == "uint8" else "onnxruntime"
        return (made(walk, node, op, parts, 6, multiplier=form, **_activation(walk, node)),)

    return rule


def _operand(walk: Walk, node: NodeProto, place: int) -> str:
    value = walk.value(node, place)
    if not isinstance(value, Known):
        return integers(walk, node, place, place + 1).tensor
    params, kind = _params(walk, node, place + 1)
    array = (value.array ^ np.uint8(SHIFT)).view(np.int8) if kind == "uint8" else value.array
    return walk.canvas.quantized_constant(label(walk, node, place), array, params)


def _global_average(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    canvas, x = walk.canvas, integers(walk, node, 0, 1)
    if walk.attributes(node).get("channels_last", 0) or len(canvas.shape(x.tensor)) != 4:
        raise walk.refuse(node, "with channels last, or over other than two dimensions")
    y = made(walk, node, "global_avg_pool", (canvas.channels_last(x.tensor),), 3)
    return (Quantized(canvas.channels_first(y.tensor), y.params, y.is_unsigned),)


def _qlinear_concat(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Those of y, then each part with its two; parts of other scales are requantized."""
    params, kind = _params(walk, node, 0)
    parts: list[str] = []
    for place in range(2, len(node.input), 3):
        x = integers(walk, node, place, place + 1)
        same = x.params == params
        name = f"{walk.name(node)}.scaled"
        tensor = x.tensor if same else walk.canvas.node("requantize", (x.tensor,), name, rounding="fp32")
        parts.append(tensor if same else walk.canvas.mark(tensor, params))
    axis = int(walk.attributes(node)["axis"]) % len(walk.canvas.shape(parts[0]))
    y = walk.canvas.mark(walk.canvas.node("concat", parts, walk.name(node), axis=axis), params)
    return (Quantized(y, params, kind == "uint8"),)


def _quantize(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x = walk.attributes(node), walk.tensor(node, 0)
    wanted = int(a.get("output_dtype", 0))
    kind = helper.tensor_dtype_to_np_dtype(wanted).name if wanted else ""
    zero = walk.value(node, 2)
    if isinstance(zero, Known) or zero is None:
        kind = kind or (str(zero.array.dtype) if zero is not None else "uint8")
    else:
        kind = kind or {"u8": "uint8", "i8": "int8"}.get(walk.canvas.dtype(walk.held(node, zero)), "")
    if kind not in HELD:
        raise walk.refuse(node, f"to {kind}", limit="There are int8, uint8 and int16")
    if a.get("block_size", 0):
        raise walk.refuse(node, "in blocks")
    if not isinstance(walk.value(node, 1), Known) or not (zero is None or isinstance(zero, Known)):
        return (_quantize_by_data(walk, node, x, kind),)
    axis = int(a.get("axis", 1)) % max(1, len(walk.canvas.shape(x)))
    params, _ = _params(walk, node, 1, axis, kind)
    if walk.canvas.dtype(x) != "f32":
        x = walk.canvas.node("cast", (x,), f"{x}.real", dtype="f32")
    y = walk.canvas.node("quantize", (x,), walk.name(node), dtype=HELD[kind])
    return (Quantized(walk.canvas.mark(y, params), params, kind == "uint8"),)


def _quantize_by_data(walk: Walk, node: NodeProto, x: str, kind: str) -> str:
    """Quantize by a scale that is data, as dynamic quantization does: divide, round, add, clip, cast."""
    canvas, name, info = walk.canvas, walk.name(node), np.iinfo(kind)
    y = canvas.node("round", (canvas.node("div", (x, walk.tensor(node, 1)), f"{name}.scaled"),), f"{name}.rounded")
    zero = walk.tensor(node, 2)
    if zero:
        y = canvas.node("add", (y, canvas.node("cast", (zero,), f"{zero}.real", dtype="f32")), f"{name}.moved")
    y = canvas.node("clip", (y,), f"{name}.clipped", low=float(info.min), high=float(info.max))
    return canvas.node("cast", (y,), name, dtype="u8" if kind == "uint8" else HELD[kind])


def _dequantize(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    value, scale = walk.value(node, 0), walk.value(node, 1)
    if a.get("block_size", 0):
        raise walk.refuse(node, "in blocks")
    if not isinstance(scale, Known) or not isinstance(value, (str, Quantized)):
        raise walk.refuse(node, "a scale that is computed from data", limit="Scales have to be constants")
    dtype = "f16" if scale.array.dtype == np.float16 else "f32"
    tensor = value.tensor if isinstance(value, Quantized) else value
    axis = int(a.get("axis", 1)) % max(1, len(canvas.shape(tensor)))
    if not isinstance(value, Quantized) and canvas.dtype(tensor) not in ("i8", "u8", "i16"):
        raise walk.refuse(node, f"of {canvas.dtype(tensor)}", limit="There are int8, uint8 and int16")
    if isinstance(value, Quantized):
        unsigned = "uint8" if value.is_unsigned else "int8" if canvas.dtype(tensor) == "i8" else "int16"
    else:
        unsigned = {"u8": "uint8", "i8": "int8", "i16": "int16"}[canvas.dtype(tensor)]
    params, _ = _params(walk, node, 1, axis, unsigned)
    if not isinstance(value, Quantized):
        tensor = _shifted_in(walk, tensor, params, is_unsigned=unsigned == "uint8")
    elif value.params != params:
        raise walk.refuse(node, "reads a tensor with another scale or zero point than it was made with")
    y = canvas.node("dequantize", (tensor,), name)
    return (y if dtype == "f32" else canvas.node("cast", (y,), f"{name}.half", dtype=dtype),)


def _real(walk: Walk, node: NodeProto, place: int, zero_place: int) -> str:
    """Give integers minus their zero point, as floats that hold them exactly."""
    canvas, x, zero = walk.canvas, walk.tensor(node, place), walk.tensor(node, zero_place)
    if len(canvas.shape(zero) if zero else ()) > 1 or (zero and canvas.shape(zero) not in ((), (1,))):
        raise walk.refuse(node, "a zero point for each row or column")
    real = canvas.node("cast", (x,), f"{x}.real", dtype="f32")
    if not zero:
        return real
    return canvas.node("sub", (real, canvas.node("cast", (zero,), f"{zero}.real", dtype="f32")), f"{x}.centred")


def _matmul_integer(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Multiply in float32, 256 terms at a time, which is exact, and add up in int32."""
    canvas, name = walk.canvas, walk.name(node)
    a, b = _real(walk, node, 0, 2), _real(walk, node, 1, 3)
    inner = canvas.shape(a)[-1]
    if not isinstance(inner, int) or len(canvas.shape(a)) < 2 or len(canvas.shape(b)) < 2:
        raise walk.refuse(node, "of vectors, or over a symbolic dimension")
    total = ""
    for start in range(0, inner, 256):
        left = canvas.slice(a, f"{a}.part", axis=-1, start=start, stop=min(inner, start + 256))
        right = canvas.slice(b, f"{b}.part", axis=-2, start=start, stop=min(inner, start + 256))
        part = canvas.node("cast", (canvas.node("matmul", (left, right), f"{name}.real"),), name, dtype="i32")
        total = canvas.node("add", (total, part), f"{name}.sum") if total else part
    return (total,)


def _conv_integer(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Convolve in float32, which is exact for a few terms."""
    weight, zero = walk.known(node, 1, "weight"), walk.known(node, 3, "zero point")
    x = _real(walk, node, 0, 2)
    if weight is None or weight.ndim != 4 or int(np.prod(weight.shape[1:])) * 255 * 255 >= EXACT:
        raise walk.refuse(
            node, "over other than two dimensions, or of so many terms that float32 does not hold the sum"
        )
    real = weight.astype(np.float32) - (0 if zero is None else zero.astype(np.float32).reshape(-1, 1, 1, 1))
    w = window_of(walk, node, (weight.shape[2], weight.shape[3]), walk.canvas.shape(x)[2:])
    y = walk.canvas.conv2d(
        x, walk.name(node), weight=real.astype(np.float32), bias=None, names=(label(walk, node, 1), ""),
        stride=w.stride, padding=w.padding, dilation=w.dilation, groups=int(walk.attributes(node).get("group", 1)),
    )  # fmt: skip
    return (walk.canvas.node("cast", (y,), f"{called(node)}.integer", dtype="i32"),)


QUANTIZED: dict[str, Rule] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul, "MatMulInteger": _matmul_integer, "ConvInteger": _conv_integer,
}  # fmt: skip
QUANTIZED_MICROSOFT: dict[str, Rule] = {
    "QLinearAdd": _pair("add"), "QLinearMul": _pair("mul"), "QGemm": _qgemm, "QLinearConcat": _qlinear_concat,
    "QLinearGlobalAveragePool": _global_average, "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
}  # fmt: skip
