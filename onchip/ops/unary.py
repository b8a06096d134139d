"""Functions of one tensor beyond elementwise.py: rounding, logarithm, sine, and the activations of newer networks.

In: one tensor (prelu: and a slope per channel). Out: one tensor of the same shape.
Promises: in floats each is computed in float32 by its formula, without overflow where the result is finite.
In int8 each is one 256-entry table, `unary_table`: the float64 result rounded, halves away from zero, saturated
(log of 0 and less is -128, rsqrt of 0 and less 127). With rounding "double" the tables of abs, leaky_relu,
hard_swish and rsqrt are LiteRT's reference kernels, bit for bit; LiteRT's own table of log is made in
float32, and 0 of 76,800 entries differed from ours; elu has no reference kernel.
prelu is x * m1 or x * slope * m2, by the sign of x; "double" is LiteRT's.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import clamp, quantize_multiplier, requantize, wide
from onchip.ops.requantizing import f32_multipliers, rounding_of
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
    f32,
    present,
    ranked,
    same,
)
from onchip.ops.unary_litert import abs_litert, f32_quotient, hard_swish_litert, leaky_relu_litert, rsqrt_litert

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805  # Klambauer 2017, section 2


def _unary_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (present(shapes[0], "x"),)


def _prelu_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, slope = present(shapes[0], "x"), ranked(shapes[1], 1, "slope")
    if slope != (1,):
        same(slope[0], x[-1] if x else 1, "length of slope and channels")
    return (x,)


def softplus(x: Array) -> Array:
    """Give log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _expm1_below(x: Array) -> Array:
    """Give exp(x) - 1 for x < 0, else 0."""
    return np.expm1(np.minimum(x, 0))


def _leaky_relu(attributes: Attributes, x: Array) -> Array:
    return np.where(x >= 0, x, x * x.dtype.type(attributes.number("alpha")))


def _elu(attributes: Attributes, x: Array) -> Array:
    return np.maximum(x, 0) + x.dtype.type(attributes.number("alpha")) * _expm1_below(x)


def _celu(attributes: Attributes, x: Array) -> Array:
    alpha = x.dtype.type(attributes.number("alpha"))
    return np.maximum(x, 0) + alpha * _expm1_below(x / alpha)


def _selu(attributes: Attributes, x: Array) -> Array:
    alpha, gamma = (x.dtype.type(attributes.number(k)) for k in ("alpha", "gamma"))
    return gamma * (np.maximum(x, 0) + alpha * _expm1_below(x))


def _hard_sigmoid(attributes: Attributes, x: Array) -> Array:
    alpha, beta = (x.dtype.type(attributes.number(k)) for k in ("alpha", "beta"))
    return np.clip(alpha * x + beta, x.dtype.type(0), x.dtype.type(1))


def _hard_swish(_attributes: Attributes, x: Array) -> Array:
    return x * np.clip(x + x.dtype.type(3), x.dtype.type(0), x.dtype.type(6)) / x.dtype.type(6)


def _plain(function: Callable[[Array], Array]) -> Callable[[Attributes, Array], Array]:
    return lambda _attributes, x: function(x)


# name -> (defaults, function of floats); every one of them has a table in int8
FUNCTIONS: dict[str, tuple[dict[str, AttributeValue], Callable[[Attributes, Array], Array]]] = {
    "abs": ({}, _plain(np.abs)),
    "ceil": ({}, _plain(lambda x: np.ceil(x).astype(x.dtype))),
    "floor": ({}, _plain(lambda x: np.floor(x).astype(x.dtype))),
    "round": ({}, _plain(lambda x: np.rint(x).astype(x.dtype))),  # halves to even (ONNX Round)
    "sign": ({}, _plain(np.sign)),
    "log": ({}, _plain(np.log)),
    "sin": ({}, _plain(np.sin)),
    "cos": ({}, _plain(np.cos)),
    "reciprocal": ({}, _plain(np.reciprocal)),
    "rsqrt": ({}, _plain(lambda x: 1 / np.sqrt(x))),
    "hard_sigmoid": ({"alpha": 1 / 6, "beta": 0.5}, _hard_sigmoid),
    "hard_swish": ({}, _hard_swish),
    "leaky_relu": ({"alpha": 0.01}, _leaky_relu),
    "elu": ({"alpha": 1.0}, _elu),
    "celu": ({"alpha": 1.0}, _celu),
    "selu": ({"alpha": SELU_ALPHA, "gamma": SELU_GAMMA}, _selu),
    "softplus": ({}, _plain(softplus)),
    "softsign": ({}, _plain(lambda x: x / (1 + np.abs(x)))),
    "mish": ({}, _plain(lambda x: x * np.tanh(softplus(x)))),  # Misra 2019, eq. 1
}
KEEPS_INTEGERS = ("abs", "sign", "ceil", "floor", "round")


def _reference(name: str) -> Callable[..., tuple[Array]]:
    function = FUNCTIONS[name][1]

    def reference(attributes: Attributes, x: Array) -> tuple[Array]:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return (np.asarray(function(attributes, x if name in KEEPS_INTEGERS and x.dtype.kind != "f" else f32(x))),)

    return reference


def _prelu(_attributes: Attributes, x: Array, slope: Array) -> tuple[Array]:
    v = f32(x)
    return (np.where(v >= 0, v, v * f32(slope)),)


def quantized(params: Quantization | None, what: str) -> Quantization:
    """Take the quantization of a tensor that has to have one."""
    if params is None:
        raise Refusal("OC1322", f"{what} has no quantization")
    return params


def unary_table(name: str, attributes: Attributes, given: Quantization, made: Quantization) -> NDArray[np.int32]:
    """Tabulate an int8 unary op: entry i is the output for input i - 128."""
    v = np.arange(-128, 128, dtype=np.int64) - given.zero_point[0]
    zero, sx, sy = made.zero_point[0], given.scale[0], made.scale[0]
    if rounding_of(attributes) == "double":
        match name:
            case "abs":
                return clamp(abs_litert(v, sx, sy) + zero, -128, 127).astype(np.int32)
            case "leaky_relu":
                y = leaky_relu_litert(v, sx, sy, attributes.number("alpha"))
                return clamp(y + zero, -128, 127).astype(np.int32)
            case "hard_swish" if sx <= 128 * sy and sy <= 256 * sx:
                return clamp(hard_swish_litert(v, sx, sy) + zero, -128, 127).astype(np.int32)
            case "rsqrt":
                return clamp(rsqrt_litert(v, sx, sy) + zero, -128, 127).astype(np.int32)
            case _:
                pass
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        real = FUNCTIONS[name][1](attributes, v * sx) / sy
    real = np.nan_to_num(real, nan=np.inf if name == "rsqrt" else -np.inf, posinf=512.0, neginf=-512.0)
    rounded = np.clip(np.copysign(np.floor(np.abs(real) + 0.5), real), -512, 512)
    return clamp(rounded.astype(np.int64) + zero, -128, 127).astype(np.int32)


def _integer(name: str) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
        px, py = quantized(given[0], "the input"), quantized(made[0], "the output")
        return (unary_table(name, attributes, px, py)[wide(x) + 128].astype(np.int8),)

    return integer


def _prelu_integer(attributes: Attributes, given: Params, made: Params, x: Array, slope: Array) -> tuple[Array]:
    px, ps, py = quantized(given[0], "x"), quantized(given[1], "slope"), quantized(made[0], "the output")
    v, mode = wide(x) - px.zero_point[0], rounding_of(attributes)
    product = v * (wide(slope) - ps.zero_point[0])
    if mode == "fp32":
        above = np.rint(v.astype(np.float32) * f32_multipliers((px,), py)).astype(np.int64)
        below = np.rint(product.astype(np.float32) * f32_multipliers((px, ps), py)).astype(np.int64)
    elif mode == "double":
        above = requantize(v, *quantize_multiplier(f32_quotient(px.scale[0], py.scale[0])), "double")
        real = f32_quotient(px.scale[0], ps.scale[0], py.scale[0])
        below = requantize(product, *quantize_multiplier(real), "double")
    else:
        above = requantize(v, *quantize_multiplier(px.scale[0] / py.scale[0]))
        below = requantize(product, *quantize_multiplier(px.scale[0] * ps.scale[0] / py.scale[0]))
    return (clamp(np.where(v >= 0, above, below) + py.zero_point[0], -128, 127).astype(np.int8),)


OPS: tuple[Op, ...] = (
    *(
        Op(name, ("x",), _unary_shape, _reference(name), defaults=FUNCTIONS[name][0], integer=_integer(name))
        for name in FUNCTIONS
    ),
    Op("prelu", ("x", "slope"), _prelu_shape, _prelu, integer=_prelu_integer),
)
