"""The int8 unary kernels of LiteRT that are fixed point, as the function of one integer v = x - zero point.

In: v, any integers of -255..255, and the scales. Out: y - zero point of the output, before the clamp.
Promises: equal to LiteRT's reference kernels bit for bit (tests/ops/test_unary_int8.py, whole tables). Multipliers
are computed from float32 scales with float32 products and quotients where LiteRT does so.
Sources: LiteRT elementwise.cc (abs, rsqrt), activations.cc (leaky_relu, hard_swish), reference/hard_swish.h,
common.h (GetInvSqrtQuantizedMultiplierExp).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from onchip.numerics import (
    INT16_MAX,
    INT16_MIN,
    INT32_MAX,
    Integers,
    clamp,
    clz,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    srdhm16,
    srdhm32,
    wide,
)

HALF_SQRT_2 = 1518500250  # sqrt(1/2) * 2^31


def f32_quotient(*scales: float) -> float:
    """Give s0 * s1 * ... / sn, every step rounded to float32."""
    value = np.float32(scales[0])
    for s in scales[1:-1]:
        value = value * np.float32(s)
    return float(value / np.float32(scales[-1]))


def signed_multiplier(real: float) -> tuple[int, int]:
    """Do quantize_multiplier for a number of either sign."""
    q, e = quantize_multiplier(abs(real))
    return (q if real >= 0 else -q), e


def abs_litert(v: Integers, scale_in: float, scale_out: float) -> Integers:
    """Give |v| at the scale of the output; equal scales take no multiplier."""
    if scale_in == scale_out:
        return np.abs(v)
    return multiply_by_quantized_multiplier(np.abs(v), *quantize_multiplier(f32_quotient(scale_in, scale_out)))


def leaky_relu_litert(v: Integers, scale_in: float, scale_out: float, alpha: float) -> Integers:
    """Multiply by one of two multipliers, by the sign."""
    above = multiply_by_quantized_multiplier(v, *quantize_multiplier(f32_quotient(scale_in, scale_out)))
    below = multiply_by_quantized_multiplier(v, *signed_multiplier(f32_quotient(scale_in, alpha, scale_out)))
    return np.where(v >= 0, above, below)


def _multiplier16(real: float) -> tuple[int, int]:
    """Give a multiplier of 16 bits (DownScaleInt32ToInt16Multiplier)."""
    q, e = quantize_multiplier(real)
    return min((q + (1 << 15)) >> 16, INT16_MAX), e


def hard_swish_litert(v: Integers, scale_in: float, scale_out: float) -> Integers:
    """Give v * relu6(v + 3) / 6 in 16-bit fixed point; the output scale is 1/128 to 256 times the input's.

    LiteRT refuses smaller ones, and shifts its 16 bits by 16 and more for larger ones, which C++ leaves open.
    """
    fine_scale = np.float32(1.0 / 128.0) * np.float32(scale_in)
    out_q, out_e = _multiplier16(float(fine_scale / np.float32(scale_out)))
    gate_q, gate_e = _multiplier16(float(fine_scale / (np.float32(3.0) / np.float32(32768.0))))
    fine = v << 7
    gate = clamp(fine << max(gate_e - 1, 0), INT16_MIN, INT16_MAX)
    gate = srdhm16(gate, gate_q)
    gate = clamp(gate << 1, INT16_MIN, INT16_MAX) if gate_e > 0 else rounding_divide_by_pot(gate, -gate_e)
    gate = (gate + (1 << 15)) >> 1  # [-1, 1] to [0, 1]
    product = gate * srdhm16(fine, out_q)
    high = np.where(product >= 0, product >> 15, -((-product) >> 15))  # truncating division
    return rounding_divide_by_pot(high, -out_e)


def inverse_sqrt_litert(value: ArrayLike) -> tuple[Integers, Integers]:
    """Give (multiplier, left shift) of 1 / sqrt(value), value in 0..2^31 - 1; 0 counts as 1.

    Five Newton steps from 1 in Q3.28 (GetInvSqrtQuantizedMultiplierExp).
    """
    v = np.maximum(wide(value), 2)
    big = np.maximum(0, (31 - clz(v)) - 27) >> 1  # while v >= 2^29: v / 4
    v = v >> (2 * big)
    pairs = ((clz(v) - 1) >> 1) - 1
    shift = 11 + big - pairs
    v = v << (2 * pairs)
    half = rounding_divide_by_pot(v >> 1, 1)
    x = np.full_like(v, 1 << 28)
    for _ in range(5):
        cube = clamp(srdhm32(srdhm32(x, x), x) << 6, -(2**31), INT32_MAX)
        x = clamp((srdhm32(x, (1 << 28) + (1 << 27)) - srdhm32(half, cube)) << 3, -(2**31), INT32_MAX)
    x = srdhm32(x, HALF_SQRT_2) << np.maximum(-shift, 0)
    is_one = wide(value) <= 1
    return np.where(is_one, INT32_MAX, x), np.where(is_one, 0, -np.maximum(shift, 0))


def rsqrt_litert(v: Integers, scale_in: float, scale_out: float) -> Integers:
    """Give 1 / sqrt(v) at the scale of the output, with 20 fraction bits in between; v <= 0 gives the largest value."""
    q, e = inverse_sqrt_litert(np.maximum(v, 1))
    data = multiply_by_quantized_multiplier(np.ones_like(v), q, e + 20)
    scale = 1.0 / float(np.float32(sqrt(np.float32(scale_in))) * np.float32(scale_out))
    out_q, out_e = quantize_multiplier(scale)
    return np.where(v > 0, multiply_by_quantized_multiplier(data, out_q, out_e - 20), INT32_MAX)
