"""Resizing int8 pictures: cells copied or mixed, with integer weights.

In: x [B,H,W,C] int8 and the attributes of resize. Out: int8 at the same scale and zero point.
Promises: rounding "single" and "fp32": weights of 13 bits that sum to 2^13 exactly, along the width (8 fraction bits
kept), then along the height; within 1 of the rounded float result, all sums in 32 bits. Rounding "double" is LiteRT's
reference kernels RESIZE_BILINEAR (10-bit steps) and RESIZE_NEAREST_NEIGHBOR (float32 coordinates), bit for bit, for
the coordinates that LiteRT has: half_pixel, asymmetric, align_corners (bicubic has no LiteRT kernel, and stays ours).
Sources: LiteRT resize_bilinear.h, resize_nearest_neighbor.h.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import Integers, clamp, rounding_divide_by_pot, wide
from onchip.ops.types import Array, Attributes, Refusal

WEIGHT_BITS, KEPT_BITS = 13, 8
Taps = tuple[Integers, Integers]  # source cells and weights, [out, taps] each


def integer_weights(weights: NDArray[np.float64]) -> Integers:
    """Round weights [out, taps] to 13 bits so that they sum to 2^13: the largest takes the rest."""
    w = np.rint(weights * 2.0**WEIGHT_BITS).astype(np.int64)
    rest = (1 << WEIGHT_BITS) - w.sum(axis=1)
    w[np.arange(len(w)), w.argmax(axis=1)] += rest
    return w


def mix(x: Array, rows: Taps, columns: Taps) -> Array:
    """Mix columns, then rows."""
    v = wide(x)
    along = np.einsum("bhotc,ot->bhoc", v[:, :, columns[0]], columns[1])
    along = rounding_divide_by_pot(along, WEIGHT_BITS - KEPT_BITS)
    total = np.einsum("botwc,ot->bowc", along[:, rows[0]], rows[1])
    return clamp(rounding_divide_by_pot(total, WEIGHT_BITS + KEPT_BITS), -128, 127).astype(np.int8)


def _litert_kind(attributes: Attributes, size: int, out: int) -> tuple[bool, bool, int]:
    """Give whether corners align, whether centres count, and the step in 1/1024 cells."""
    kind = attributes.text("coordinates")
    if kind not in ("half_pixel", "asymmetric", "align_corners") or any(attributes.integers("scales")):
        raise Refusal("OC1338", f"rounding 'double' is LiteRT's, and LiteRT has no coordinates '{kind}' or own scales")
    is_aligned = kind == "align_corners"
    a, b = (size - 1, out - 1) if is_aligned and out > 1 else (size, out)
    return is_aligned, kind == "half_pixel", (1024 * a + b // 2) // b


def _litert_taps(attributes: Attributes, size: int, i: int) -> Taps:
    out = attributes.integers("sizes")[i]
    _, is_centred, step = _litert_kind(attributes, size, out)
    at = np.arange(out, dtype=np.int64) * step
    at = at + step // 2 - 512 if is_centred else at
    low = np.maximum(at, 0) // 1024  # truncating division, then max with 0
    high = np.minimum((np.maximum(at, -1023) + 1023) // 1024, size - 1)
    part = at - 1024 * low
    return np.stack([low, high], axis=1), np.stack([1024 - part, part], axis=1)


def resize_bilinear_litert(attributes: Attributes, x: Array) -> Array:
    """Resize as LiteRT's reference kernel."""
    (rows, ry), (columns, rx) = (_litert_taps(attributes, x.shape[1 + i], i) for i in range(2))
    total: Integers = np.zeros(1, np.int64)
    for i in range(2):
        for j in range(2):
            cells = wide(x[:, rows[:, i]][:, :, columns[:, j]])
            total = total + cells * ry[None, :, i, None, None] * rx[None, None, :, j, None]
    half = 1 << 19
    return np.where(total > 0, (total + half) >> 20, -((half - total) >> 20)).astype(np.int8)


def nearest_litert(attributes: Attributes, size: int, i: int) -> Integers:
    """Give the source cell of each output as LiteRT does, in float32; halves up where corners align."""
    out = attributes.integers("sizes")[i]
    is_aligned, is_centred, _ = _litert_kind(attributes, size, out)
    a, b = (size - 1, out - 1) if is_aligned and out > 1 else (size, out)
    scaled = (np.arange(out, dtype=np.float32) + np.float32(0.5 * is_centred)) * (np.float32(a) / np.float32(b))
    cell = np.floor(scaled + np.float32(0.5)) if is_aligned else np.floor(scaled)
    return np.clip(cell, 0, size - 1).astype(np.int64)


def resize_integer(
    attributes: Attributes,
    x: Array,
    taps: Callable[[Attributes, int, int], tuple[Integers, NDArray[np.float64]]],
) -> Array:
    """Resize by the float taps (cells, weights) of each axis, in integer weights."""
    (rows, ry), (columns, rx) = (taps(attributes, x.shape[1 + i], i) for i in range(2))
    return mix(x, (rows, integer_weights(ry)), (columns, integer_weights(rx)))
