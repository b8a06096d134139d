"""Scaled dot-product attention as one op: y = softmax(q k^T * scale + mask) v, per head.

In: q[B,Lq,H*D], k[B,Lk,G*D], v[B,Lk,G*Dv], mask [B or 1, H or 1, Lq, Lk] or absent. Out: [B,Lq,H*Dv].
H query heads share G key and value heads (G divides H). H*D need not be the model's width: the projections are linear
nodes outside.
A bool mask keeps where true; a float mask is added to the scores. `causal` keeps column j <= row i + Lk - Lq.
scale 0.0 stands for 1/sqrt(D). A row that keeps nothing gives 0.
In integers: scores -> int8 at `score_scale`, `score_zero_point`; masked scores count as -128 and as exp 0; weights ->
int8 (1/256, -128); times v -> int8. An int8 mask is added to the scores at their scale, saturating; its -128 drops.

The bilinear score e_ij = v_i^T W h_j / sqrt(d_k) is a composition, not an op: `linear(h, W)` gives W h_j, and that is
`k` of attention with heads = 1, q = v_i. See `bilinear_scores` in tests/ops/test_attention.py and docs/arithmetic.md.
Source: Vaswani 2017, eq. 1; Luong 2015, eq. 8 ("general").
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import clamp, wide
from onchip.ops.matmul import matmul_accumulate
from onchip.ops.norm import SOFTMAX_SCALE, SOFTMAX_ZERO_POINT, softmax
from onchip.ops.requantizing import activate, scale_down
from onchip.ops.rowwise import softmax_rows
from onchip.ops.types import (
    Array,
    Attributes,
    Dimension,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    elements,
    f32,
    number,
    positive,
    ranked,
    same,
    show,
)


def head_widths(attributes: Attributes, shapes: Shapes) -> tuple[int, int, int, int]:
    """Give (H, G, D, Dv)."""
    h, g = attributes.integer("heads"), attributes.integer("kv_heads") or attributes.integer("heads")
    positive((h, g), "heads and kv_heads")
    q, k, v = (number(ranked(shapes[i], 3, n)[2], f"the width of {n}") for i, n in enumerate("qkv"))
    if h % g or q % h or k % g or v % g:
        raise Refusal("OC1314", f"widths {q}, {k}, {v} do not split into {h} heads over {g} key heads")
    same(q // h, k // g, "head widths of q and k")
    return h, g, q // h, v // g


def _shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    q, k, v = (ranked(shapes[i], 3, n) for i, n in enumerate("qkv"))
    same(q[0], same(k[0], v[0], "batches of k and v"), "batches of q and k")
    same(k[1], v[1], "lengths of k and v")
    h, _g, _d, dv = head_widths(attributes, shapes)
    mask = shapes[3] if len(shapes) > 3 else None
    if mask is not None:
        full: tuple[Dimension, ...] = (q[0], h, q[1], k[1])
        if len(mask) != 4 or any(m not in (1, f) for m, f in zip(mask, full, strict=True)):
            raise Refusal("OC1314", f"mask {show(mask)} does not broadcast to {show(full)}")
    return ((q[0], q[1], h * dv),)


def _macs(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    h, _g, d, dv = head_widths(attributes, inputs)
    q, k = ranked(inputs[0], 3, "q"), ranked(inputs[1], 3, "k")
    return elements((q[0], h, q[1], k[1])) * (d + dv)


def _vector_ops(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    h = attributes.integer("heads")
    q, k = ranked(inputs[0], 3, "q"), ranked(inputs[1], 3, "k")
    return 5 * elements((q[0], h, q[1], k[1]))


def score_factor(attributes: Attributes, head_width: int) -> float:
    """Give the factor of the scores: the attribute `scale`, or 1/sqrt(D) for 0.0."""
    return attributes.number("scale") or 1.0 / float(head_width) ** 0.5


def split_heads(x: Array, heads: int, repeat: int = 1) -> Array:
    """Turn [B,L,heads*D] into [B,heads*repeat,L,D]."""
    b, length, width = x.shape
    parts = x.reshape(b, length, heads, width // heads).transpose(0, 2, 1, 3)
    return parts if repeat == 1 else np.repeat(parts, repeat, axis=1)


def merge_heads(x: Array) -> Array:
    """Turn [B,H,L,D] into [B,L,H*D]."""
    b, h, length, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, length, h * d)


def keep_mask(attributes: Attributes, mask: Array | None, shape: tuple[int, int, int, int]) -> NDArray[np.bool_] | None:
    """Give what the causal flag and a bool mask keep, or None for everything."""
    keep: NDArray[np.bool_] | None = None
    if attributes.flag("causal"):
        lq, lk = shape[2:]
        keep = np.tri(lq, lk, lk - lq, dtype=np.bool_)[None, None]
    if mask is not None and mask.dtype == np.bool_:
        keep = mask if keep is None else keep & mask
    return None if keep is None else np.broadcast_to(keep, shape)


def attention_weights(attributes: Attributes, q: Array, k: Array, mask: Array | None = None) -> Array:
    """Give softmax(q k^T * scale + mask) [B,H,Lq,Lk] in floats."""
    h, g, d, _ = head_widths(attributes, (q.shape, k.shape, k.shape))
    heads, keys = split_heads(f32(q), h), split_heads(f32(k), g, h // g)
    scores = (heads @ keys.swapaxes(-1, -2)) * np.float32(score_factor(attributes, d))
    if mask is not None and mask.dtype != np.bool_:
        scores = scores + f32(mask)
    keep = keep_mask(attributes, mask, cast("tuple[int, int, int, int]", scores.shape))
    if keep is not None:
        scores = np.where(keep, scores, np.float32(-np.inf))
    return softmax(scores)


def _reference(attributes: Attributes, q: Array, k: Array, v: Array, mask: Array | None = None) -> tuple[Array]:
    h, g, *_ = head_widths(attributes, (q.shape, k.shape, v.shape))
    return (merge_heads(attention_weights(attributes, q, k, mask) @ split_heads(f32(v), g, h // g)),)


DROPPED = -128  # of an int8 mask: stands for minus infinity


def _add_mask(attributes: Attributes, scores: Array, mask: Array, given: Quantization, made: Quantization) -> Array:
    """Add an int8 mask to int8 scores at the scores' scale."""
    more = scale_down(attributes, wide(mask) - given.zero_point[0], (given,), made)
    return clamp(wide(scores) + more, -128, 127).astype(np.int8)


def integer_attention_weights(
    attributes: Attributes, given: Params, q: Array, k: Array, mask: Array | None = None
) -> Array:
    """Give the weights [B,H,Lq,Lk] of int8 attention: int8, w = (value + 128) / 256."""
    pq, pk = given[0], given[1]
    if pq is None or pk is None:
        raise Refusal("OC1322", "q or k has no quantization")
    if mask is not None and mask.dtype.name not in ("bool", "int8"):
        raise Refusal("OC1328", "int8 attention takes a bool or an int8 mask", next="Quantize the mask")
    h, g, d, _ = head_widths(attributes, (q.shape, k.shape, k.shape))
    keys = split_heads(k, g, h // g)
    acc = matmul_accumulate(split_heads(q, h), keys.swapaxes(-1, -2), pq.zero_point[0], pk.zero_point[0])
    ps = Quantization((attributes.number("score_scale"),), (attributes.integer("score_zero_point"),))
    scores = activate(attributes, acc, pq.scale[0] * pk.scale[0] * score_factor(attributes, d), ps)
    if mask is not None and mask.dtype == np.int8:
        if given[3] is None:
            raise Refusal("OC1322", "the additive mask has no quantization")
        scores, mask = _add_mask(attributes, scores, mask, given[3], ps), mask != DROPPED
    keep = keep_mask(attributes, mask, cast("tuple[int, int, int, int]", scores.shape))
    lk = scores.shape[-1]
    rows = softmax_rows(scores.reshape(-1, lk), ps.scale[0], None if keep is None else keep.reshape(-1, lk))
    return rows.reshape(scores.shape)


def _integer(
    attributes: Attributes, given: Params, made: Params, q: Array, k: Array, v: Array, mask: Array | None = None
) -> tuple[Array]:
    pv, py = given[2], made[0]
    if pv is None or py is None:
        raise Refusal("OC1322", "v or the output has no quantization")
    h, g, *_ = head_widths(attributes, (q.shape, k.shape, v.shape))
    weights = integer_attention_weights(attributes, given, q, k, mask)
    mixed = matmul_accumulate(weights, split_heads(v, g, h // g), SOFTMAX_ZERO_POINT, pv.zero_point[0])
    return (merge_heads(activate(attributes, mixed, SOFTMAX_SCALE * pv.scale[0], py)),)


OPS: tuple[Op, ...] = (
    Op(
        "attention",
        ("q", "k", "v", "mask"),
        _shape,
        _reference,
        required=3,
        needs=("heads",),
        defaults={"kv_heads": 0, "scale": 0.0, "causal": False, "score_scale": 0.0625, "score_zero_point": 0},
        integer=_integer,
        macs=_macs,
        vector_ops=_vector_ops,
    ),
)
