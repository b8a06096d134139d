"""Softmax, layer norm and the LSTM step in integers: straight sequences of vector instructions, one row after another.

In: int8 rows (softmax_rows, layer_norm_rows) or int32 accumulators (lstm_cell), and constants prepared from scales.
Out: int8 rows; lstm_cell also the int16 cell.
Promises: every line below is one instruction of the vector unit on 32-bit lanes (the word behind it names it), or on
one value per row ("row"); nothing else is used, so that the lowering mirrors it line by line. docs/arithmetic.md holds
the same tables.
softmax_rows equals LiteRT's reference Softmax (reference_ops, int8 to int8) where that is defined: sums of exp < 512.
lstm_cell equals LiteRT's integer LSTM 8x8_16. layer_norm_rows is our own: within 1 of the rounded float result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import (
    INT16_MAX,
    INT16_MIN,
    SOFTMAX_MAX_ROW,
    Integers,
    clamp,
    clz,
    logistic16,
    quantize_multiplier,
    quantize_multipliers,
    requantize,
    rounding_divide_by_pot,
    softmax_table,
    srdhm32,
    tanh16,
    wide,
    wrap32,
)
from onchip.ops.types import Array, Refusal

# --- softmax ----------------------------------------------------------------------------------------------------------

NEWTON_48_17, NEWTON_32_17 = 1515870810, -1010580540  # 48/17 and -32/17 in Q2.29 (gemmlowp)


def softmax_rows(x: Array, scale: float, keep: Array | None = None) -> NDArray[np.int8]:
    """Give softmax of int8 rows [M, L] at scale 1/256, zero point -128; `keep` (bool [M, L]) drops the others.

    A row that keeps nothing gives -128 (weight 0) everywhere. L is at most 4,095, where the sum fits 31 bits.
    """
    if x.shape[-1] > SOFTMAX_MAX_ROW:
        raise Refusal("OC1333", f"int8 softmax over {x.shape[-1]} entries; its sum holds {SOFTMAX_MAX_ROW}")
    v = wide(x)
    k = None if keep is None else keep.astype(np.int64)
    if k is not None:
        v = (v + 128) * k - 128  # add, mul, sub
    top = v.max(axis=-1, keepdims=True)  # red max
    e = wide(softmax_table(scale))[top - v]  # sub, lut
    if k is not None:
        e = e * k  # mul
    total = rounding_divide_by_pot(e, 12).sum(axis=-1, keepdims=True)  # rshr, red sum: Q12.19
    factor, shift = softmax_reciprocal(total)
    y = rounding_divide_by_pot(srdhm32(e, factor), shift)  # mulh32, rshr by row
    return np.minimum(y - 128, 127).astype(np.int8)  # sub, saturating store


def softmax_reciprocal(total: Integers) -> tuple[Integers, Integers]:
    """Give (factor Q0.31, right shift) of a row's sum in Q12.19, both one value per row."""
    zeros = clz(total)  # row clz
    half = wrap32(total << np.minimum(zeros - 1, 31))  # row sub, shl: (1 + a) / 2 in Q0.31
    x = NEWTON_48_17 + srdhm32(half, NEWTON_32_17)  # row mulh32, add: Q2.29
    for _ in range(3):
        error = (1 << 29) - srdhm32(half, x)  # row mulh32, sub
        x = wrap32(x + clamp(srdhm32(x, error) << 2, -(2**31), 2**31 - 1))  # row mulh32, shls, add
    factor = clamp(x << 1, -(2**31), 2**31 - 1)  # row shls
    factor = factor >> np.maximum(4 - zeros, 0)  # row sub, max, sra: only for sums of 512 and more
    return factor, np.minimum(35 - zeros, 31)  # row sub, min


# --- layer norm -------------------------------------------------------------------------------------------------------

LAYER_NORM_MAX_ROW = 1 << 14  # the sum of squares about the mean stays below 2^28
SEED_A, SEED_B = 1145027544, 654300687  # 2.13278 and 1.21873 in Q2.29: 1/sqrt(w) is within 8.6 % on [1/4, 1)
DIFFERENCE_BITS, RESULT_BITS = 22, 12  # fraction bits of x - mean, and of the result before its last rounding


@dataclass(frozen=True, slots=True, eq=False)
class LayerNormConstants:
    """What layer_norm_rows needs besides the row: immediates, and three int32 vectors of n lanes."""

    n: int
    inverse: tuple[int, int]  # 1/n as (q, e)
    fraction: tuple[int, int]  # 2^22/n as (q, e)
    epsilon: int  # n eps / sx^2, shifted left by epsilon_shift
    epsilon_shift: int
    gamma_q: Integers  # gamma sqrt(n) / sy * 2^(12-30), signed multiplier
    gamma_e: Integers
    beta: Integers  # (beta / sy + zy) * 2^12


def layer_norm_constants(
    gamma: Array, beta: Array, eps: float, scale_in: float, scale_out: float, zero_out: int
) -> LayerNormConstants:
    """Prepare the constants of layer_norm_rows; the zero point of the input drops out."""
    n = int(gamma.shape[0])
    if n > LAYER_NORM_MAX_ROW:
        raise Refusal("OC1333", f"int8 layer_norm over {n} entries; its sums hold {LAYER_NORM_MAX_ROW}")
    real = n * eps / scale_in**2
    shift = next((s for s in range(30, -1, -1) if real * 2.0**s < 2.0**28), None)
    gain = gamma.astype(np.float64) * n**0.5 / scale_out
    offset = beta.astype(np.float64) / scale_out
    if shift is None or np.abs(gain).max() >= 2.0**16 or np.abs(offset).max() >= 2.0**16:
        raise Refusal("OC1334", "eps, scale or bias is out of the range of int8 layer_norm for these scales")
    q, e = quantize_multipliers(np.abs(gain) * 2.0 ** (RESULT_BITS - 30))
    return LayerNormConstants(
        n,
        quantize_multiplier(1.0 / n),
        quantize_multiplier(2.0**DIFFERENCE_BITS / n),
        round(real * 2.0**shift),
        shift,
        np.where(gain < 0, -q, q),
        e,
        np.rint((offset + zero_out) * 2.0**RESULT_BITS).astype(np.int64),
    )


def layer_norm_rows(x: Array, constants: LayerNormConstants) -> NDArray[np.int8]:
    """Normalise int8 rows [M, n]."""
    k, v = constants, wide(x)
    mean = requantize(v.sum(axis=-1, keepdims=True), *k.inverse)  # red sum, row rq: rounded mean
    c = v - mean  # sub
    rest = c.sum(axis=-1, keepdims=True)  # red sum: n * (true mean - rounded mean)
    squares = (c * c).sum(axis=-1, keepdims=True)  # red sumsq
    y, up, down = layer_norm_factor(rest, squares, k)
    d = (c << DIFFERENCE_BITS) - requantize(rest, *k.fraction)  # row rq, shl, sub: x - mean, 22 fraction bits
    p = srdhm32(d, y)  # mulh32 by row: 20 fraction bits
    p = rounding_divide_by_pot(p << up, down)  # shl, rshr by row: (x - mean) / (std sqrt(n)) in Q1.30
    t = requantize(p, k.gamma_q, k.gamma_e) + k.beta  # rq per lane, add: 12 fraction bits
    return clamp(rounding_divide_by_pot(t, RESULT_BITS), -128, 127).astype(np.int8)  # rshr, saturating store


def layer_norm_factor(
    rest: Integers, squares: Integers, constants: LayerNormConstants
) -> tuple[Integers, Integers, Integers]:
    """Give, per row, (y in Q2.29, left shift, right shift): y 2^(left - right - 10) = 1 / sqrt(n var + n eps / sx^2).

    `rest` = n (mean - rounded mean), `squares` = sum of squares about the rounded mean; n var = squares - rest^2 / n.
    """
    k = constants
    r2 = rest * rest  # row mul: at most 2^26
    zeros = clz(r2) - 1  # row clz, sub
    share = srdhm32(r2 << zeros, k.inverse[0])  # row shl, mulh32: rest^2 / n at exponent inverse_e - zeros
    sh = np.minimum(clz(squares) - 3, k.epsilon_shift)  # row clz, sub, min
    right = clamp(zeros - k.inverse[1] - sh, 0, 31)  # row sub, sub, max, min
    w = (squares << sh) - rounding_divide_by_pot(share, right)  # row shl, rshr, sub
    w = w + rounding_divide_by_pot(k.epsilon, k.epsilon_shift - sh)  # row sub, rshr, add
    w = np.maximum(w, 1)  # row max
    z = clz(w) - 1  # row clz, sub
    t = z + sh  # row add
    odd = t & 1  # row and
    z, t = z - 1 + odd, t - 1 + odd  # row sub, add; sub, add: t is odd now
    w = w << z  # row shl: Q0.31 in [1/4, 1)
    y = SEED_A - srdhm32(w, SEED_B)  # row mulh32, sub
    for _ in range(3):
        h = (3 << 27) - srdhm32(w, srdhm32(y, y))  # row mulh32, mulh32, sub: 3 - w y^2 in Q4.27
        y = srdhm32(y, h << 2) << 1  # row shl, mulh32, shl
    g = (t - 11) >> 1  # row sub, sra
    return y, np.maximum(g, 0), np.maximum(-g, 0)  # row max; sub, max


# --- LSTM -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LstmConstants:
    """What lstm_cell needs: multipliers of both accumulators per lane (4H of them), and of the hidden state."""

    input_q: Integers
    input_e: Integers
    hidden_q: Integers
    hidden_e: Integers
    cell_bits: int  # the cell's scale is 2^-cell_bits
    output: tuple[int, int]  # 2^-30 / sh as (q, e)
    hidden_zero_point: int


def lstm_constants(
    scale_x: float, scale_w_ih: Array, scale_w_hh: Array, scale_h: float, zero_h: int, cell_bits: int
) -> LstmConstants:
    """Prepare the constants of lstm_cell; gates have 12 fraction bits."""
    iq, ie = quantize_multipliers(scale_x * np.asarray(scale_w_ih, np.float64) * 2.0**12)
    hq, he = quantize_multipliers(scale_h * np.asarray(scale_w_hh, np.float64) * 2.0**12)
    return LstmConstants(iq, ie, hq, he, cell_bits, quantize_multiplier(2.0**-30 / scale_h), zero_h)


def lstm_cell(
    input_acc: Array, hidden_acc: Array, cell: Array, constants: LstmConstants
) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Do one step: accumulators [B, 4H] (i, f, g, o; biases inside) and the cell [B, H] -> (h int8, c int16)."""
    k = constants
    gates = clamp(requantize(input_acc, k.input_q, k.input_e, "double"), INT16_MIN, INT16_MAX)  # rq per lane
    gates = clamp(gates + requantize(hidden_acc, k.hidden_q, k.hidden_e, "double"), INT16_MIN, INT16_MAX)  # rq, add
    i, f, g, o = np.split(gates, 4, axis=-1)
    i, f, g, o = logistic16(i), logistic16(f), tanh16(g), logistic16(o)  # see docs/arithmetic.md, logistic and tanh
    kept = rounding_divide_by_pot(f * wide(cell), 15)  # mul, rshr
    added = rounding_divide_by_pot(i * g, 30 - k.cell_bits)  # mul, rshr
    c = clamp(kept + added, INT16_MIN, INT16_MAX)  # add, saturating store
    squashed = tanh16(c, integer_bits=15 - k.cell_bits)
    h = requantize(o * squashed, *k.output, "double") + k.hidden_zero_point  # mul, rq
    return clamp(h, -128, 127).astype(np.int8), c.astype(np.int16)
