"""Normalisations over the last axis: batch_norm, layer_norm, softmax.

In: x [..., C] with per-channel parameters. Out: the same shape.
Promises: float references compute in float32 with the mean and variance in float64 where that is cheap.
int8 softmax equals LiteRT's reference kernel bit for bit; its output has scale 1/256 and zero point -128.
int8 layer_norm lies within 1 of the rounded float result; both are the instruction sequences of rowwise.py.
batch_norm has no integer form: fold it into the producing conv2d or linear.
"""

import numpy as np

from onchip.ops.curves16 import OUTPUT_SCALE, softmax16
from onchip.ops.rowwise import layer_norm_constants, layer_norm_rows, softmax_rows
from onchip.ops.types import Array, Attributes, Op, Params, Refusal, Shape, Shapes, elements, f32, present, ranked, same

SOFTMAX_SCALE, SOFTMAX_ZERO_POINT = 1.0 / 256.0, -128


def _norm_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    if not x:
        raise Refusal("OC1312", "'x' has no dimension")
    for s in shapes[1:]:
        if s is not None:
            same(ranked(s, 1, "a parameter")[0], x[-1], "parameter length and channels")
    return (x,)


def _batch_norm(attributes: Attributes, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> tuple[Array]:
    factor = f32(scale) / np.sqrt(f32(var) + np.float32(attributes.number("eps")))
    return (((f32(x) - f32(mean)) * factor + f32(bias)).astype(np.float32),)


def _layer_norm(
    attributes: Attributes, x: Array, scale: Array | None = None, bias: Array | None = None
) -> tuple[Array]:
    v = f32(x).astype(np.float64)
    v = v - v.mean(axis=-1, keepdims=True)
    v = v / np.sqrt((v * v).mean(axis=-1, keepdims=True) + attributes.number("eps"))
    v = v if scale is None else v * f32(scale)
    return ((v if bias is None else v + f32(bias)).astype(np.float32),)


def _layer_norm_integer(
    attributes: Attributes, given: Params, made: Params, x: Array, scale: Array | None = None, bias: Array | None = None
) -> tuple[Array]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    n = x.shape[-1]
    gamma = np.ones(n, np.float32) if scale is None else f32(scale)
    beta = np.zeros(n, np.float32) if bias is None else f32(bias)
    constants = layer_norm_constants(gamma, beta, attributes.number("eps"), px.scale[0], py.scale[0], py.zero_point[0])
    return (layer_norm_rows(x.reshape(-1, n), constants).reshape(x.shape),)


def _softmax_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    if not x:
        raise Refusal("OC1312", "'x' has no dimension")
    return (x,)


def softmax(x: Array) -> Array:
    """Give softmax over the last axis; a row of -inf alone gives zeros."""
    v = f32(x)
    top = v.max(axis=-1, keepdims=True)
    e = np.exp(v - np.where(np.isfinite(top), top, 0))
    total = e.sum(axis=-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0)


def _softmax(_attributes: Attributes, x: Array) -> tuple[Array]:
    return (softmax(x),)


def _softmax_integer(_attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    if x.dtype == np.int16 and py.scale == (OUTPUT_SCALE,):
        return (softmax16(x, px.scale[0]),)
    if py.scale != (SOFTMAX_SCALE,) or py.zero_point != (SOFTMAX_ZERO_POINT,):
        raise Refusal("OC1327", "int8 softmax gives scale 1/256 and zero point -128, the output says otherwise")
    return (softmax_rows(x.reshape(-1, x.shape[-1]), px.scale[0]).reshape(x.shape),)


def _five_passes(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Count 5 per element: max, exp, sum, multiply, store; or sum, squares, scale, shift, store."""
    return 5 * elements(inputs[0])


OPS: tuple[Op, ...] = (
    Op("batch_norm", ("x", "scale", "bias", "mean", "var"), _norm_shape, _batch_norm, defaults={"eps": 1e-5}),
    Op(
        "layer_norm",
        ("x", "scale", "bias"),
        _norm_shape,
        _layer_norm,
        required=1,
        defaults={"eps": 1e-5},
        integer=_layer_norm_integer,
        vector_ops=_five_passes,
    ),
    Op("softmax", ("x",), _softmax_shape, _softmax, integer=_softmax_integer, vector_ops=_five_passes),
)
