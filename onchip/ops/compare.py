"""Two tensors, element by element: larger, smaller, remainder, comparisons, logic; and the change of dtype.

In: two tensors that broadcast (cast: one). Out: one tensor; comparisons and logic give bool.
Promises: mod has the sign of the divisor, as ONNX Mod and Python's %; with `fmod` that of the dividend, as C's fmod.
cast to an integer drops the fraction; cast to bool is x != 0.
In integers maximum and minimum bring both operands to the output's scale first, where it differs (equal scales: no
arithmetic, as LiteRT MAXIMUM). Comparisons of equal quantizations compare the integers; of others, the values at 20
fraction bits of the larger scale. With rounding "double" they are LiteRT's: values rounded to 1/256 first, whatever
the scales, so that close ones count as equal.
"""

from collections.abc import Callable, Sequence

import numpy as np

from onchip.numerics import Integers, clamp, quantize_multiplier, requantize, wide
from onchip.ops.requantizing import rounding_of, scale_down
from onchip.ops.types import (
    BITS,
    FLOAT_DTYPES,
    Array,
    Attributes,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    broadcast,
    present,
)

NUMPY_TYPES = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32, "i64": np.int64}


def _binary_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (broadcast((present(shapes[0], "a"), present(shapes[1], "b"))),)


def _unary_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (present(shapes[0], "x"),)


def _to_bool(_attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return ("bool",)


def _named_dtype(attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    dtype = attributes.text("dtype")
    if dtype not in BITS:
        raise Refusal("OC1336", f"dtype '{dtype}' is none of {', '.join(BITS)}")
    return (dtype,)


def _pair(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def reference(_attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
        return (np.asarray(function(a, b)),)

    return reference


def _mod(attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((np.fmod if attributes.flag("fmod") else np.mod)(a, b),)


def cast_array(x: Array, dtype: str) -> Array:
    """Turn an array into a dtype; narrow floats stay in float32."""
    if dtype in FLOAT_DTYPES:
        return x.astype(np.float32)
    if dtype == "bool":
        return x != 0
    with np.errstate(invalid="ignore"):
        return x.astype(np.int64).astype(NUMPY_TYPES[dtype])


def _cast(attributes: Attributes, x: Array) -> tuple[Array]:
    return (cast_array(x, attributes.text("dtype")),)


def _cast_integer(attributes: Attributes, _given: Params, _made: Params, x: Array) -> tuple[Array]:
    return _cast(attributes, x)


def _at_output_scale(attributes: Attributes, x: Array, given: Quantization | None, made: Quantization | None) -> Array:
    if given == made:
        return x
    if given is None or made is None:
        raise Refusal("OC1322", "an operand or the output has no quantization")
    y = scale_down(attributes, wide(x) - given.zero_point[0], (given,), made) + made.zero_point[0]
    return clamp(y, -128, 127).astype(np.int8)


def _pick_integer(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, a: Array, b: Array) -> tuple[Array]:
        left, right = (_at_output_scale(attributes, v, g, made[0]) for v, g in zip((a, b), given, strict=True))
        return (function(left, right),)

    return integer


def _comparable(attributes: Attributes, x: Array, given: Quantization, larger: float) -> Integers:
    v = wide(x) - given.zero_point[0]
    if rounding_of(attributes) == "double":
        return requantize(v << 8, *quantize_multiplier(given.scale[0]), "double")
    return requantize(v << 20, *quantize_multiplier(given.scale[0] / larger))


def _compare_integer(function: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, _made: Params, a: Array, b: Array) -> tuple[Array]:
        pa, pb = given
        if pa == pb and (pa is None or rounding_of(attributes) != "double"):
            return (function(a, b),)
        if pa is None or pb is None:
            raise Refusal("OC1322", "an operand has no quantization")
        larger = max(pa.scale[0], pb.scale[0])
        return (function(_comparable(attributes, a, pa, larger), _comparable(attributes, b, pb, larger)),)

    return integer


COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}

OPS: tuple[Op, ...] = (
    Op("maximum", ("a", "b"), _binary_shape, _pair(np.maximum), integer=_pick_integer(np.maximum)),
    Op("minimum", ("a", "b"), _binary_shape, _pair(np.minimum), integer=_pick_integer(np.minimum)),
    Op("mod", ("a", "b"), _binary_shape, _mod, defaults={"fmod": False}),
    *(
        Op(name, ("a", "b"), _binary_shape, _pair(f), dtypes=_to_bool, integer=_compare_integer(f))
        for name, f in COMPARISONS.items()
    ),
    Op("logical_or", ("a", "b"), _binary_shape, _pair(np.logical_or), dtypes=_to_bool),
    Op("logical_xor", ("a", "b"), _binary_shape, _pair(np.logical_xor), dtypes=_to_bool),
    Op("cast", ("x",), _unary_shape, _cast, needs=("dtype",), dtypes=_named_dtype, integer=_cast_integer),
)
