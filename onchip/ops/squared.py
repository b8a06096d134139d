"""squared_difference: (a - b)^2 with broadcasting, as layer norms are written in pieces.

In: a, b of one dtype. Out: the broadcast shape.
Integers: LiteRT's int8 kernel: both operands are brought to one scale with 7 more bits, their difference is squared
exactly and requantized.
Source: LiteRT squared_difference.cc.
"""

import numpy as np

from onchip.numerics import clamp, quantize_multiplier, requantize, wide
from onchip.ops.requantizing import rounding_of
from onchip.ops.types import Array, Attributes, Op, Params, Refusal, Shape, Shapes, broadcast, present

LEFT_SHIFT = 7  # squared_difference.cc


def _shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (broadcast((present(shapes[0], "a"), present(shapes[1], "b"))),)


def _reference(_attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
    d = np.subtract(a, b)
    return (d * d,)


def _integer(attributes: Attributes, given: Params, made: Params, a: Array, b: Array) -> tuple[Array]:
    pa, pb, py = given[0], given[1], made[0]
    if pa is None or pb is None or py is None:
        raise Refusal("OC1322", "an operand or the output has no quantization")
    mode = "double" if rounding_of(attributes) == "double" else "single"
    twice = 2.0 * max(pa.scale[0], pb.scale[0])
    left = requantize((wide(a) - pa.zero_point[0]) << LEFT_SHIFT, *quantize_multiplier(pa.scale[0] / twice), mode)
    right = requantize((wide(b) - pb.zero_point[0]) << LEFT_SHIFT, *quantize_multiplier(pb.scale[0] / twice), mode)
    real = twice * twice / (float(1 << (2 * LEFT_SHIFT)) * py.scale[0])
    y = requantize((left - right) ** 2, *quantize_multiplier(real), mode)
    return (clamp(y + py.zero_point[0], -128, 127).astype(np.int8),)


OPS: tuple[Op, ...] = (Op("squared_difference", ("a", "b"), _shape, _reference, integer=_integer),)
