"""Functions of one tensor beyond elementwise.py: rounding, logarithm, sine, and the activations of newer networks.

In: one tensor (prelu: and a slope per channel). Out: one tensor of the same shape.
Promises: in floats each is computed in float32 by its formula, without overflow where the result is finite.
"""

from collections.abc import Callable

import numpy as np

from onchip.ops.types import Array, Attributes, AttributeValue, Op, Shape, Shapes, f32, present, ranked, same

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


OPS: tuple[Op, ...] = (
    *(Op(name, ("x",), _unary_shape, _reference(name), defaults=FUNCTIONS[name][0]) for name in FUNCTIONS),
    Op("prelu", ("x", "slope"), _prelu_shape, _prelu),
)
