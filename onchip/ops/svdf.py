"""SVDF: one step of a linear layer over time, factored into features and their last M values.

In: x[B,I], w_feature[F,I], w_time[F,M], b[F/rank] or absent, state[B,F*M] (absent: zeros), oldest value first.
Out: y[B,F/rank], the next state[B,F*M].
y[b, u] = b[u] + sum over the `rank` filters f of unit u, and over m, of w_time[f, m] state'[b, f, m], where state'
is the state moved on by one, with w_feature x as its newest value.
Integers (LiteRT): x, w_feature, y int8; state and w_time int16, symmetric; both sums int32, requantized (features to
the state's scale).
Source: Nakkiran 2015, "Compressing deep neural networks using a rank-constrained topology"; LiteRT svdf.h.
"""

from collections.abc import Sequence

import numpy as np

from onchip.numerics import INT16_MAX, INT16_MIN, clamp, integer_matmul, wrap32
from onchip.ops.requantizing import activate, scale_down
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    elements,
    f32,
    ranked,
    same,
)


def _shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, w, t = ranked(shapes[0], 2, "x"), ranked(shapes[1], 2, "w_feature"), ranked(shapes[2], 2, "w_time")
    rank = attributes.integer("rank")
    same(x[1], w[1], "features of x and w_feature")
    same(w[0], t[0], "filters of w_feature and w_time")
    filters, memory = elements(w[:1]), elements(t[1:])
    if rank < 1 or filters % rank:
        raise Refusal("OC1314", f"{filters} filters do not split into ranks of {rank}")
    if len(shapes) > 3 and shapes[3] is not None:
        same(ranked(shapes[3], 1, "b")[0], filters // rank, "bias length and units")
    if len(shapes) > 4 and shapes[4] is not None and shapes[4] != (x[0], filters * memory):
        raise Refusal("OC1314", f"state has shape {shapes[4]}, needs {(x[0], filters * memory)}")
    return (x[0], filters // rank), (x[0], filters * memory)


def _next(state: Array | None, newest: Array, memory: int) -> Array:
    """Move the state [B,F*M] on by one and append the newest values [B,F]; gives [B,F,M]."""
    batch, filters = newest.shape
    old = np.zeros((batch, filters, memory), newest.dtype) if state is None else state.reshape(batch, filters, memory)
    return np.concatenate((old[:, :, 1:], newest[:, :, None].astype(old.dtype)), axis=2)


def _reference(
    attributes: Attributes, x: Array, w: Array, t: Array, b: Array | None = None, state: Array | None = None
) -> tuple[Array, Array]:
    moved = _next(None if state is None else f32(state), f32(x) @ f32(w).T, t.shape[1])
    sums = np.einsum("bfm,fm->bf", moved, f32(t))
    y = sums.reshape(x.shape[0], -1, attributes.integer("rank")).sum(axis=2, dtype=np.float32)
    return (y if b is None else y + f32(b)), moved.reshape(x.shape[0], -1)


def _integer(
    attributes: Attributes, given: Params, made: Params, x: Array, w: Array, t: Array, b: Array | None = None,
    state: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    px, pw, pt, py, ps = given[0], given[1], given[2], made[0], made[1]
    if px is None or pw is None or pt is None or py is None or ps is None:
        raise Refusal("OC1322", "x, a weight, y or the state has no quantization")
    features = integer_matmul(x, w.T, px.zero_point[0])
    newest = clamp(scale_down(attributes, features, (px, pw), ps), INT16_MIN, INT16_MAX).astype(np.int16)
    moved = _next(state, newest, t.shape[1])
    sums = wrap32(np.einsum("bfm,fm->bf", moved.astype(np.int64), t.astype(np.int64)))
    acc = sums.reshape(x.shape[0], -1, attributes.integer("rank")).sum(axis=2)
    acc = wrap32(acc if b is None else acc + b)
    return activate(attributes, acc, _product(ps, pt), py), moved.reshape(x.shape[0], -1)


def _product(a: Quantization, b: Quantization) -> float:
    return a.scale[0] * b.scale[0]


def _macs(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    x, w, t = (ranked(s, 2, "an operand") for s in inputs[:3])
    return elements(x[:1]) * (elements(w) + elements(t))


def _dtypes(_attributes: Attributes, dtypes: Sequence[str | None]) -> tuple[str, ...]:
    first = dtypes[0] or "f32"
    return (first, "i16") if first == "i8" else (first, first)


OPS: tuple[Op, ...] = (
    Op(
        "svdf",
        ("x", "w_feature", "w_time", "b", "state"),
        _shape,
        _reference,
        required=3,
        needs=("rank",),
        integer=_integer,
        macs=_macs,
        dtypes=_dtypes,
        outputs=("y", "state"),
    ),
)
