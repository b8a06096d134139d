"""Matrix products: linear (activations by weights) and matmul (activations by activations).

In: linear x[...,I], w[O,I], b[O]; matmul a[...,M,K], b[...,K,N] (or [...,N,K] with transpose_b).
Out: [...,O] or [...,M,N].
Promises: batch dimensions of matmul broadcast; integer results are exact accumulators, requantized once at the end.
Integer matmul subtracts both zero points: sum (a - za)(b - zb), through row and column sums; so does linear where its
weights have zero points. int16 activations (zero point 0) have 64-bit accumulators.
"""

import numpy as np

from onchip.numerics import integer_matmul
from onchip.ops.requantizing import apply_activation, requantize_accumulator
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    broadcast,
    elements,
    f32,
    present,
    ranked,
    same,
    show,
)
from onchip.ops.wide import wide_matmul


def _linear_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, w = present(shapes[0], "x"), ranked(shapes[1], 2, "w")
    if not x:
        raise Refusal("OC1312", "'x' has no dimension")
    same(x[-1], w[1], "last dimension of x and input features of w")
    if len(shapes) > 2 and shapes[2] is not None:
        same(ranked(shapes[2], 1, "b")[0], w[0], "bias length and output features")
    return ((*x[:-1], w[0]),)


def _linear(attributes: Attributes, x: Array, w: Array, b: Array | None = None) -> tuple[Array]:
    y = f32(x) @ f32(w).T
    return (apply_activation(attributes, y if b is None else y + f32(b)),)


def linear_accumulate(x: Array, w: Array, b: Array | None, zero_point: int) -> Array:
    """Give the int32 accumulators [..., O] of an int8 linear layer."""
    acc = integer_matmul(x.reshape(-1, x.shape[-1]), w.T, zero_point).reshape(*x.shape[:-1], w.shape[0])
    return acc if b is None else acc + b.astype(acc.dtype)


def _linear_integer(
    attributes: Attributes, given: Params, made: Params, x: Array, w: Array, b: Array | None = None
) -> tuple[Array]:
    px, pw = given[0], given[1]
    zero = px.zero_point[0] if px else 0
    if x.dtype == np.int16:
        wide = wide_matmul(x, w.T)
        return (requantize_accumulator(attributes, wide if b is None else wide + b, given, made),)
    acc = linear_accumulate(x, w, b, zero)
    if pw is not None and any(pw.zero_point):
        rows = x.sum(axis=-1, dtype=acc.dtype, keepdims=True) - zero * x.shape[-1]
        acc = acc - rows * np.array(pw.zero_point, acc.dtype)
    return (requantize_accumulator(attributes, acc, given, made),)


def _linear_macs(_attributes: Attributes, inputs: Shapes, outputs: Shapes) -> int:
    return elements(outputs[0]) * elements(ranked(inputs[1], 2, "w")[1:])


def _matmul_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    a, b = present(shapes[0], "a"), present(shapes[1], "b")
    if len(a) < 2 or len(b) < 2:
        raise Refusal("OC1312", f"shapes {show(a)} and {show(b)} need two dimensions or more")
    n, k = (b[-2], b[-1]) if attributes.flag("transpose_b") else (b[-1], b[-2])
    same(a[-1], k, "inner dimensions")
    return ((*broadcast((a[:-2], b[:-2]), "batch dimensions"), a[-2], n),)


def _matmul(attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
    return (f32(a) @ (f32(b).swapaxes(-1, -2) if attributes.flag("transpose_b") else f32(b)),)


def matmul_accumulate(a: Array, b: Array, zero_a: int, zero_b: int) -> Array:
    """Give sum (a - zero_a)(b - zero_b) as int32, of int8 a[...,M,K] and b[...,K,N]."""
    acc = integer_matmul(a, b, zero_a)
    if zero_b:
        acc -= zero_b * (a.sum(axis=-1, dtype=acc.dtype, keepdims=True) - zero_a * a.shape[-1])
    return acc


def _matmul_integer(attributes: Attributes, given: Params, made: Params, a: Array, b: Array) -> tuple[Array]:
    right = b.swapaxes(-1, -2) if attributes.flag("transpose_b") else b
    if a.dtype == np.int16:
        return (requantize_accumulator(attributes, wide_matmul(a, right), given, made),)
    zero_a, zero_b = (p.zero_point[0] if p else 0 for p in given[:2])
    return (requantize_accumulator(attributes, matmul_accumulate(a, right, zero_a, zero_b), given, made),)


def _matmul_macs(_attributes: Attributes, inputs: Shapes, outputs: Shapes) -> int:
    return elements(outputs[0]) * elements(present(inputs[0], "a")[-1:])


OPS: tuple[Op, ...] = (
    Op(
        "linear",
        ("x", "w", "b"),
        _linear_shape,
        _linear,
        required=2,
        defaults={"activation": "none", "out": "same"},
        integer=_linear_integer,
        macs=_linear_macs,
    ),
    Op(
        "matmul",
        ("a", "b"),
        _matmul_shape,
        _matmul,
        defaults={"transpose_b": False},
        integer=_matmul_integer,
        macs=_matmul_macs,
    ),
)
