"""Integer sequences over whole int8 rows: rms_norm, l2 norms, variance, lp_normalize, log_softmax.

In: int8 rows [M, n] and quantizations. Out: int8.
Promises: only 32-bit vector instructions (add, sub, mul, mulh32, shl, rshr, clz, row sums, rq, lut), one per line and
named beside it where that is not plain; within 1 of the rounded float result. `l2_normalize_litert` and
`log_softmax_rows` are LiteRT's reference kernels, bit for bit.
Rows have 8,192 entries at most (sums of squares below 2^29), log_softmax 4,095 (sums of exp have 12 integer bits).
Sources: LiteRT integer_ops/l2normalization.h, integer_ops/log_softmax.h, common.h
(log_x_for_x_greater_than_or_equal_to_1_impl); rowwise.py for 1 / sqrt.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import (
    SOFTMAX_MAX_ROW,
    Integers,
    clamp,
    clz,
    multiply_by_quantized_multiplier,
    one_over_one_plus_x,
    quantize_multiplier,
    requantize,
    rounding_divide_by_pot,
    softmax_table,
    srdhm32,
    wide,
    wrap32,
)
from onchip.ops.rowwise import (
    DIFFERENCE_BITS,
    RESULT_BITS,
    SEED_A,
    SEED_B,
    LayerNormConstants,
    layer_norm_constants,
    layer_norm_factor,
)
from onchip.ops.types import Array, Quantization, Refusal
from onchip.ops.unary_litert import inverse_sqrt_litert

MAX_ROW = 8192
LOG_SOFTMAX_SCALE, LOG_SOFTMAX_ZERO_POINT = 16.0 / 256.0, 127


def _short(rows: Array, what: str) -> int:
    n = rows.shape[-1]
    if n > MAX_ROW:
        raise Refusal("OC1333", f"int8 {what} over {n} entries; its sums hold {MAX_ROW}")
    return n


# --- x / sqrt(sum of squares) -----------------------------------------------------------------------------------------


def rms_norm_constants(gamma: Array, eps: float, given: Quantization, made: Quantization) -> LayerNormConstants:
    """Prepare the constants of rms_norm_rows; they are those of layer norm without beta."""
    _short(gamma, "rms_norm")
    zeros = np.zeros(gamma.shape[0], np.float32)
    return layer_norm_constants(gamma, zeros, eps, given.scale[0], made.scale[0], made.zero_point[0])


def l2_normalize_constants(n: int, given: Quantization, made: Quantization) -> LayerNormConstants:
    """Prepare rms_norm_rows to divide by the norm itself: gamma = 1 / sqrt(n), eps = 0."""
    return rms_norm_constants(np.full(n, n**-0.5), 0.0, given, made)


def rms_norm_rows(x: Array, zero_point: int, constants: LayerNormConstants) -> NDArray[np.int8]:
    """Give x / sqrt(mean(x^2) + eps) * gamma of int8 rows [M, n]: layer_norm_rows about 0 instead of the mean."""
    k, v = constants, wide(x) - zero_point
    squares = (v * v).sum(axis=-1, keepdims=True)  # red sumsq
    y, up, down = layer_norm_factor(np.zeros_like(squares), squares, k)
    p = srdhm32(v << DIFFERENCE_BITS, y)  # shl, mulh32 by row: 20 fraction bits
    p = rounding_divide_by_pot(p << up, down)  # shl, rshr by row: v / sqrt(sum of squares) in Q1.30
    t = requantize(p, k.gamma_q, k.gamma_e) + k.beta  # rq per lane, add: 12 fraction bits
    return clamp(rounding_divide_by_pot(t, RESULT_BITS), -128, 127).astype(np.int8)


def l2_normalize_litert(x: Array, zero_point: int) -> NDArray[np.int8]:
    """Give x / sqrt(sum of x^2) at scale 1/128, zero point 0 (LiteRT L2_NORMALIZATION)."""
    v = wide(x) - zero_point
    q, e = inverse_sqrt_litert((v * v).sum(axis=-1, keepdims=True))
    return clamp(multiply_by_quantized_multiplier(v, q, e + 7), -128, 127).astype(np.int8)


# --- sqrt and variance ------------------------------------------------------------------------------------------------


def root(w: Integers) -> tuple[Integers, Integers]:
    """Give (r, e) with sqrt(w) = r 2^(e - 29), r in Q2.29, for w in 0..2^31 - 1; 0 gives 0.

    w is shifted into [1/4, 1), its exponent even; r = w times 1 / sqrt(w), by three Newton steps.
    """
    z = (clz(np.maximum(w, 1)) & -2) - 1  # clz, and, sub: odd, so that w = m 2^(31 - z) with an even exponent
    m = w << np.maximum(z, 0)  # shl
    m = np.where(z < 0, w >> 1, m)  # sra: only from 2^29 up
    y = SEED_A - srdhm32(m, SEED_B)
    for _ in range(3):
        y = srdhm32(y, ((3 << 27) - srdhm32(m, srdhm32(y, y))) << 2) << 1
    return srdhm32(m, y), (31 - z) >> 1


def l2_norm_rows(x: Array, given: Quantization, made: Quantization) -> NDArray[np.int8]:
    """Give sqrt(sum of x^2) of int8 rows, one value per row."""
    _short(x, "l2_norm")
    v = wide(x) - given.zero_point[0]
    r, e = root((v * v).sum(axis=-1))
    q, exponent = quantize_multiplier(given.scale[0] / made.scale[0])
    p = srdhm32(r, q)  # mulh32: 29 fraction bits at exponent e + exponent
    y = _shifted(p, 29 - e - exponent) + made.zero_point[0]
    return clamp(y, -128, 127).astype(np.int8)


def _shifted(p: Integers, right: Integers) -> Integers:
    """Shift right with rounding, or left and saturate far above int8."""
    down = rounding_divide_by_pot(p, clamp(right, 0, 31))
    return np.where(right >= 0, down, clamp(p, -(1 << 20), 1 << 20) << clamp(-right, 0, 10))


def variance_rows(x: Array, given: Quantization, made: Quantization, correction: int) -> NDArray[np.int8]:
    """Give sum((x - mean)^2) / (n - correction) of int8 rows, one value per row."""
    n = _short(x, "variance")
    if n <= correction:
        raise Refusal("OC1315", f"correction {correction} needs more than {n} values")
    v = wide(x)
    mean = requantize(v.sum(axis=-1, keepdims=True), *quantize_multiplier(1.0 / n))  # red sum, row rq
    c = v - mean
    rest = c.sum(axis=-1)  # red sum: at most n / 2
    squares = (c * c).sum(axis=-1)  # red sumsq
    share = requantize(rest * rest, *quantize_multiplier(1.0 / n))  # row mul, row rq: at most n / 4
    factor = given.scale[0] ** 2 / ((n - correction) * made.scale[0])
    y = requantize(squares - share, *quantize_multiplier(factor)) + made.zero_point[0]
    return clamp(y, -128, 127).astype(np.int8)


# --- log softmax ------------------------------------------------------------------------------------------------------

LOG_2, SQRT_SQRT_HALF, SQRT_HALF = 1488522236, 1805811301, 1518500250  # Q0.31
ALPHA_N, ALPHA_D, ALPHA_I, ALPHA_F = 117049297, 127690142, 1057819769, 638450708  # Q0.31: of the rational function
QUARTER = 1 << 23  # 1/4 in Q6.25


def _saturating_shift(x: Integers, bits: Integers | int) -> Integers:
    return clamp(x << np.asarray(bits), -(2**31), 2**31 - 1)


def log_q5(x: Integers) -> Integers:
    """Give log(x) as Q5.26 of x >= 1 in Q12.19 (LiteRT log_x_for_x_greater_than_or_equal_to_1_impl)."""
    zeros = clz(x)
    high = _saturating_shift(x, zeros - 1)
    r_a = _saturating_shift(srdhm32(high, SQRT_HALF), 1)
    power_a = ((12 - zeros) << 25) + QUARTER
    zeros_b = clz(srdhm32(x, SQRT_HALF)) - 1
    r_b = _saturating_shift(x, zeros_b)
    power_b = ((12 - zeros_b) << 25) - QUARTER
    r, power = np.minimum(r_a, r_b), np.maximum(power_a, power_b)
    total = r + SQRT_SQRT_HALF
    p = np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))  # RoundingHalfSum
    q = wrap32((r - SQRT_SQRT_HALF) * 2)
    square = srdhm32(q, q)
    numerator = srdhm32(q, r) + srdhm32(srdhm32(q, square), ALPHA_N)
    inner = wrap32(ALPHA_I + q + srdhm32(ALPHA_D, square))
    reciprocal = one_over_one_plus_x(srdhm32(p, inner) + srdhm32(ALPHA_F, q))
    scaled = rounding_divide_by_pot(numerator, 6)
    return _saturating_shift(srdhm32(power, LOG_2) + srdhm32(scaled, reciprocal), 1)


def log_softmax_rows(x: Array, scale: float) -> NDArray[np.int8]:
    """Give log softmax of int8 rows at scale 1/16, zero point 127 (LiteRT LOG_SOFTMAX, reference)."""
    if x.shape[-1] > SOFTMAX_MAX_ROW:
        raise Refusal("OC1333", f"int8 log_softmax over {x.shape[-1]} entries; its sum holds {SOFTMAX_MAX_ROW}")
    q, left = quantize_multiplier(min(scale * 2.0**26, 2.0**31 - 1.0))
    left = max(left, 0)
    diff_min = -floor(31.0 * 2.0**26 / 2.0**left)
    d = wide(x) - wide(x).max(axis=-1, keepdims=True)  # red max, sub
    e = rounding_divide_by_pot(wide(softmax_table(scale))[-d], 12)  # lut, rshr
    log_sum = log_q5(e.sum(axis=-1, keepdims=True))  # red sum, then by row
    reverse_q, reverse_e = quantize_multiplier(2.0 ** (31 - left) / q)
    limit = multiply_by_quantized_multiplier(log_sum - 2**31, reverse_q, reverse_e)
    limit = np.maximum(diff_min - 1, limit)
    scaled = srdhm32(wrap32(np.maximum(d, diff_min) << left), q)  # lut: one of 256 values
    y = rounding_divide_by_pot(scaled - log_sum, 22) + LOG_SOFTMAX_ZERO_POINT
    return np.where(d > limit, clamp(y, -128, 127), -128).astype(np.int8)
