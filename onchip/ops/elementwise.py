"""Elementwise ops: arithmetic of two tensors with broadcasting, and functions of one.

In: one or two tensors. Out: one tensor of the broadcast shape.
Promises: int8 unary ops are one 256-entry table, exact to the rounded float64 value (halves away from zero);
relu, relu6, clip and neg too. int8 add and sub follow LiteRT ADD (left shift 20, two requantizations, then one);
int8 mul requantizes the exact product once; `multiplier` f32 makes the ratio of scales in float32, as LiteRT does.
int16 add, sub and mul do the same on 16 bits (left shift 15).
add and mul with `multiplier` onnxruntime are its QLinearAdd and QLinearMul of int8, with onnxruntime_uint8 those of
uint8 held as int8.
`rounding` of add, sub is always that of MultiplyByQuantizedMultiplier in mode double, and of requantize in mode single;
both agree with LiteRT ADD (0 of 294,272 outputs differ, either way).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import Rounding, clamp, int8_table, quantize_multiplier, requantize, wide
from onchip.ops.curves16 import OUTPUT_SCALE, sigmoid16, tanh16_table
from onchip.ops.requantizing import (
    apply_activation,
    f32_multipliers,
    output_bits,
    output_limits,
    rounding_of,
    scale_down,
)
from onchip.ops.types import (
    Array,
    Attributes,
    AttributeValue,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    broadcast,
    f32,
    present,
)

RUNTIME = {"onnxruntime": 0, "onnxruntime_uint8": 128}  # multiplier: what is added to the integers first
ADD_LEFT_SHIFT, ADD_LEFT_SHIFT_16 = 20, 15  # LiteRT add.cc, int8 and int16


def _binary_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (broadcast((present(shapes[0], "a"), present(shapes[1], "b"))),)


def _unary_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (present(shapes[0], "x"),)


def _quantized(params: Quantization | None, what: str) -> Quantization:
    if params is None:
        raise Refusal("OC1322", f"{what} has no quantization")
    return params


def add_multipliers(
    a: Quantization, b: Quantization, y: Quantization, left: int = ADD_LEFT_SHIFT
) -> tuple[tuple[int, int], ...]:
    """Give (q, e) of the first operand, the second and the output, as LiteRT ADD prepares them."""
    twice = 2.0 * max(a.scale[0], b.scale[0])
    return (
        quantize_multiplier(a.scale[0] / twice),
        quantize_multiplier(b.scale[0] / twice),
        quantize_multiplier(twice / (2.0**left * y.scale[0])),
    )


def _sum_runtime(shift: int, params: tuple[Quantization, Quantization, Quantization], a: Array, b: Array) -> Array:
    """Give a sa/sy + (b sb/sy + c), each step one float32 rounding (a fused multiply-add), c holding the zero points.

    ONNX Runtime, qladd.cpp, on CPUs with FMA; uint8 is added as it is, so int8 that was uint8 is shifted back.
    """
    (pa, pb, py), f = params, np.float32
    za, zb, zy = (np.float64(p.zero_point[0] + shift) for p in params)
    ra, rb = (np.float64(f32_multipliers((p,), py)[0]) for p in (pa, pb))
    c = np.float64(f(zy - np.float64(f(za * ra + np.float64(f(rb * zb))))))
    inner = ((wide(b) + shift) * rb + c).astype(f)  # products of 24 by 9 bits are exact in float64
    return np.rint(((wide(a) + shift) * ra + inner.astype(np.float64)).astype(f)).astype(np.int64) - shift


def _sum_integer(sign: int) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, a: Array, b: Array) -> tuple[Array]:
        pa, pb, py = _quantized(given[0], "a"), _quantized(given[1], "b"), _quantized(made[0], "the output")
        shift, bits = (ADD_LEFT_SHIFT_16, 16) if a.dtype == np.int16 else (ADD_LEFT_SHIFT, 8)
        bits = output_bits(attributes, bits)
        low, high = output_limits(attributes.text("activation"), py, bits)
        mode = rounding_of(attributes)
        left, right = wide(a) - pa.zero_point[0], wide(b) - pb.zero_point[0]
        if sign == 1 and attributes.text("multiplier") in RUNTIME:
            y = _sum_runtime(RUNTIME[attributes.text("multiplier")], (pa, pb, py), a, b) - py.zero_point[0]
        elif mode == "fp32":
            real = left.astype(np.float32) * f32_multipliers((pa,), py)
            real = real + np.float32(sign) * (right.astype(np.float32) * f32_multipliers((pb,), py))
            y = np.rint(real).astype(np.int64)
        else:
            exact: Rounding = "double" if mode == "double" else "single"
            ma, mb, my = add_multipliers(pa, pb, py, shift)
            total = requantize(left << shift, *ma, exact) + sign * requantize(right << shift, *mb, exact)
            y = requantize(total, *my, exact)
        return (clamp(y + py.zero_point[0], low, high).astype(np.int8 if bits == 8 else np.int16),)

    return integer


def _mul_integer(attributes: Attributes, given: Params, made: Params, a: Array, b: Array) -> tuple[Array]:
    pa, pb, py = _quantized(given[0], "a"), _quantized(given[1], "b"), _quantized(made[0], "the output")
    bits = output_bits(attributes, 8 * a.dtype.itemsize)
    low, high = output_limits(attributes.text("activation"), py, bits)
    product = (wide(a) - pa.zero_point[0]) * (wide(b) - pb.zero_point[0])
    if attributes.text("multiplier") in RUNTIME:  # the zero point is added before the rounding, qlmul.cpp
        shift = RUNTIME[attributes.text("multiplier")]
        real = product.astype(np.float32) * f32_multipliers((pa, pb), py) + np.float32(py.zero_point[0] + shift)
        y = np.rint(real).astype(np.int64) - shift - py.zero_point[0]
    elif attributes.text("multiplier") == "f32":
        q, e = quantize_multiplier(float(f32_multipliers((pa, pb), py)[0]))
        y = requantize(product, q, e, "double" if rounding_of(attributes) == "double" else "single")
    else:
        y = scale_down(attributes, product, (pa, pb), py)
    return (clamp(y + py.zero_point[0], low, high).astype(np.int8 if bits == 8 else np.int16),)


def _fused(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def reference(attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
        if a.dtype.kind != "f" and b.dtype.kind != "f":
            return (function(a, b),)
        return (apply_activation(attributes, function(f32(a), f32(b))),)

    return reference


def _binary(name: str, function: Callable[[Array, Array], Array], integer: Callable[..., tuple[Array]] | None) -> Op:
    return Op(name, ("a", "b"), _binary_shape, _fused(function), defaults={"activation": "none"}, integer=integer)


def look_up(name: str, x: Array, given: Quantization, made: Quantization) -> NDArray[np.int8]:
    """Apply an int8 unary op by its table."""
    table = int8_table(name, given.scale[0], given.zero_point[0], made.scale[0], made.zero_point[0])
    return table[wide(x) + 128].astype(np.int8)


def _table(name: str) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
        px, py = _quantized(given[0], "the input"), _quantized(made[0], "the output")
        if x.dtype == np.int16:
            return (_curve16(name, x, px, py),)
        key = "gelu_tanh" if name == "gelu" and attributes.text("approximate") == "tanh" else name
        return (look_up(key, x, px, py),)

    return integer


def _curve16(name: str, x: Array, px: Quantization, py: Quantization) -> NDArray[np.int16]:
    """Apply sigmoid or tanh of int16."""
    curve = {"sigmoid": sigmoid16, "tanh": tanh16_table}.get(name)
    if curve is None or py.scale != (OUTPUT_SCALE,):
        raise Refusal("OC1335", f"int16 {name} to scale {py.scale[0]:g}", next="sigmoid and tanh have 2^-15")
    return curve(x, px.scale[0])


def _clip_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = _quantized(given[0], "the input"), _quantized(made[0], "the output")
    if px != py:
        raise Refusal("OC1319", "clip needs equal quantization of input and output")
    low, high = (attributes.number(k) / px.scale[0] + px.zero_point[0] for k in ("low", "high"))
    limits = np.iinfo(x.dtype)
    return (np.clip(x, round(max(low, limits.min)), round(min(high, limits.max))),)


def erf32(x: Array) -> NDArray[np.float32]:
    """Give erf in float64, rounded to float32 (Abramowitz and Stegun are not enough: Python's own erf)."""
    from math import erf

    flat = np.fromiter(map(erf, np.asarray(x, np.float64).ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape).astype(np.float32)


def sigmoid(x: Array) -> Array:
    """Give 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(f32(x)))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def _gelu(attributes: Attributes, x: Array) -> tuple[Array]:
    v = f32(x)
    if attributes.text("approximate") == "tanh":
        inner = np.float32((2 / np.pi) ** 0.5) * (v + np.float32(0.044715) * v**3)
        return (np.float32(0.5) * v * (1 + np.tanh(inner)),)
    return (np.float32(0.5) * v * (1 + erf32(v * np.float32(0.5**0.5))),)


def _unary(name: str, function: Callable[[Array], Array], *, integer: bool = True) -> Op:
    def reference(_attributes: Attributes, x: Array) -> tuple[Array]:
        return (function(f32(x) if x.dtype.kind == "f" else x),)

    return Op(name, ("x",), _unary_shape, reference, integer=_table(name) if integer else None)


def _clip(attributes: Attributes, x: Array) -> tuple[Array]:
    low, high = attributes.number("low"), attributes.number("high")
    if x.dtype.kind != "f":
        limits = np.iinfo(x.dtype)
        return (np.clip(x, int(max(low, limits.min)), int(min(high, limits.max))),)
    return (np.clip(x, np.float32(low), np.float32(high)),)


def _power(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return np.power(a, b)


def _divide(a: Array, b: Array) -> Array:
    """Divide; integers towards zero (ONNX Div)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if a.dtype.kind == "f":
            return np.divide(a, b)
        quotient = a // b
        return quotient + ((quotient < 0) & (quotient * b != a)).astype(quotient.dtype)


def _exp(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(x)


def _sqrt(x: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


_ROUNDED: dict[str, AttributeValue] = {"activation": "none", "out": "same"}
_CLIP: dict[str, AttributeValue] = {"low": float("-inf"), "high": float("inf")}

OPS: tuple[Op, ...] = (
    Op(
        "add",
        ("a", "b"),
        _binary_shape,
        _fused(np.add),
        defaults={**_ROUNDED, "multiplier": "exact"},
        integer=_sum_integer(1),
    ),
    Op("sub", ("a", "b"), _binary_shape, _fused(np.subtract), defaults=_ROUNDED, integer=_sum_integer(-1)),
    Op(
        "mul",
        ("a", "b"),
        _binary_shape,
        _fused(np.multiply),
        defaults={**_ROUNDED, "multiplier": "exact"},
        integer=_mul_integer,
    ),
    _binary("div", _divide, None),
    _binary("pow", _power, None),
    _unary("relu", lambda x: np.maximum(x, x.dtype.type(0))),
    _unary("relu6", lambda x: np.clip(x, x.dtype.type(0), x.dtype.type(6))),
    Op("clip", ("x",), _unary_shape, _clip, defaults=_CLIP, integer=_clip_integer),
    _unary("sigmoid", sigmoid),
    _unary("tanh", np.tanh),
    Op("gelu", ("x",), _unary_shape, _gelu, defaults={"approximate": "none"}, integer=_table("gelu")),
    _unary("silu", lambda x: x * sigmoid(x)),
    _unary("exp", _exp),
    _unary("sqrt", _sqrt),
    _unary("erf", erf32),
    _unary("neg", np.negative),
)

__all__ = ["OPS", "add_multipliers", "erf32", "look_up", "sigmoid"]
