"""Rotary position embedding: pairs of a head's values turn by an angle that grows with the position.

In: x [B,L,heads*D], cos and sin [L,R/2] or [B or 1,L,R/2] with R <= D even; the first R values of a head turn, the
others stay. Out: as x.
(a, b) -> (a cos - b sin, b cos + a sin); a and b are value i and i + R/2, or 2i and 2i + 1 with `interleaved`.
Integers: x int8; cos and sin int8 or int16 of one scale and zero point 0; the exact sum of two products is requantized
once, the untouched rest at the ratio of the scales.
Source: Su 2021, eq. 34; ONNX RotaryEmbedding (opset 23).
"""

from typing import cast

import numpy as np

from onchip.numerics import clamp, wide
from onchip.ops.requantizing import scale_down
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    elements,
    f32,
    number,
    positive,
    present,
    ranked,
    same,
    show,
)


def _shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, cos, sin = ranked(shapes[0], 3, "x"), present(shapes[1], "cos"), present(shapes[2], "sin")
    heads, width = attributes.integer("heads"), number(x[2], "the width of x")
    positive((heads,), "heads")
    if cos != sin or len(cos) not in (2, 3):
        raise Refusal("OC1314", f"cos {show(cos)} and sin {show(sin)} have to be equal, [L,R/2] or [B,L,R/2]")
    if len(cos) == 3 and cos[0] not in (1, x[0]):
        raise Refusal("OC1314", f"batches differ: {x[0]} and {cos[0]}")
    same(x[1], cos[-2], "lengths of x and cos")
    if width % heads or 2 * number(cos[-1], "the width of cos") > width // heads:
        raise Refusal("OC1314", f"width {width} in {heads} heads does not take angles {show(cos)}")
    return (x,)


def turned_pairs(attributes: Attributes, x: Array, half: int) -> tuple[Array, Array, Array]:
    """Give a and b [B,L,heads,R/2], and the rest of each head [B,L,heads,D-R]."""
    b, length, width = x.shape
    heads = attributes.integer("heads")
    parts = x.reshape(b, length, heads, width // heads)
    turned, rest = parts[..., : 2 * half], parts[..., 2 * half :]
    if attributes.flag("interleaved"):
        return turned[..., ::2], turned[..., 1::2], rest
    return turned[..., :half], turned[..., half:], rest


def joined_pairs(attributes: Attributes, a: Array, b: Array, rest: Array, shape: tuple[int, ...]) -> Array:
    """Put a, b and the rest back where they came from."""
    if attributes.flag("interleaved"):
        turned = np.stack([a, b], axis=-1).reshape(*a.shape[:-1], -1)
    else:
        turned = np.concatenate([a, b], axis=-1)
    return np.concatenate([turned, rest], axis=-1).reshape(shape)


def _reference(attributes: Attributes, x: Array, cos: Array, sin: Array) -> tuple[Array]:
    a, b, rest = turned_pairs(attributes, f32(x), cos.shape[-1])
    c, s = f32(cos)[..., None, :], f32(sin)[..., None, :]
    shape = cast("tuple[int, ...]", x.shape)
    return (joined_pairs(attributes, a * c - b * s, b * c + a * s, rest, shape),)


def _integer(attributes: Attributes, given: Params, made: Params, x: Array, cos: Array, sin: Array) -> tuple[Array]:
    px, pc, ps, py = given[0], given[1], given[2], made[0]
    if px is None or pc is None or ps is None or py is None:
        raise Refusal("OC1322", "x, cos, sin or the output has no quantization")
    if pc != ps or pc.zero_point != (0,):
        raise Refusal("OC1319", "cos and sin need one scale, and zero point 0")
    a, b, rest = turned_pairs(attributes, wide(x) - px.zero_point[0], cos.shape[-1])
    c, s = wide(cos)[..., None, :], wide(sin)[..., None, :]
    left, right = (scale_down(attributes, acc, (px, pc), py) for acc in (a * c - b * s, b * c + a * s))
    y = joined_pairs(attributes, left, right, scale_down(attributes, rest, (px,), py), x.shape)
    return (clamp(y + py.zero_point[0], -128, 127).astype(np.int8),)


def _vector_ops(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Count two products and a sum per element."""
    return 3 * elements(inputs[0])


OPS: tuple[Op, ...] = (
    Op(
        "rotary",
        ("x", "cos", "sin"),
        _shape,
        _reference,
        integer=_integer,
        needs=("heads",),
        defaults={"interleaved": False},
        vector_ops=_vector_ops,
    ),
)
