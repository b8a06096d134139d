"""Exact integer arithmetic: the primitives from which every int8 result in onchip is made.

In: integers (NumPy arrays of any shape, or Python ints). Out: integers as int64 arrays unless said otherwise, always
in the range that is stated.
Promises: no result depends on the machine. All values fit 32-bit two's complement, except inside `srdhm32` and
`requantize`, whose product has 64 bits.
Sources: ARM gemmlowp fixedpoint.h (Apache-2.0) for srdhm, rounding_divide_by_pot, exp, logistic, tanh, reciprocal;
LiteRT quantization_util.cc for quantize_multiplier and MultiplyByQuantizedMultiplier; TOSA 1.0 RESCALE for single
and double rounding.
docs/arithmetic.md specifies each of them bit by bit.
"""

from collections.abc import Callable
from functools import cache
from math import erf, exp, floor, frexp, tanh
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers: TypeAlias = NDArray[np.int64]
Rounding: TypeAlias = Literal["single", "double", "fp32"]
ROUNDINGS: tuple[Rounding, ...] = ("single", "double", "fp32")
INT32_MAX, INT32_MIN = 2**31 - 1, -(2**31)
INT16_MAX, INT16_MIN = 2**15 - 1, -(2**15)


def wide(x: ArrayLike) -> Integers:
    """View as int64."""
    return np.asarray(x, dtype=np.int64)


def clamp(x: ArrayLike, low: int, high: int) -> Integers:
    """Limit to [low, high]."""
    return np.minimum(np.maximum(wide(x), low), high)


def wrap32(x: ArrayLike) -> Integers:
    """Keep the low 32 bits, two's complement."""
    return ((wide(x) + 2**31) & 0xFFFFFFFF) - 2**31


# --- requantization ---------------------------------------------------------------------------------------------------


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Write real >= 0 as q * 2^(e-31) with q in [2^30, 2^31), or (0, 0) (LiteRT QuantizeMultiplier)."""
    if real <= 0.0:
        return 0, 0
    f, e = frexp(real)
    q = floor(f * 2.0**31 + 0.5)
    if q == 2**31:
        q, e = q // 2, e + 1
    return (0, 0) if e < -31 else (q, e)


def quantize_multipliers(real: ArrayLike) -> tuple[Integers, Integers]:
    """Do `quantize_multiplier` for each entry of an array."""
    f, e = np.frexp(np.asarray(real, dtype=np.float64))
    q = np.floor(f * 2.0**31 + 0.5).astype(np.int64)
    e = e.astype(np.int64)
    full = q == 2**31
    q, e = np.where(full, q // 2, q), e + full
    dead = (q <= 0) | (e < -31)
    return np.where(dead, 0, q), np.where(dead, 0, e)


def srdhm32(a: ArrayLike, b: ArrayLike) -> Integers:
    """Multiply and keep the high half doubled: (2ab + 2^31) / 2^32, halves up, saturating -2^31 * -2^31.

    gemmlowp SaturatingRoundingDoublingHighMul, int32: truncating division of ab + (2^30 or 1 - 2^30) by 2^31.
    That is the same integer as (ab + 2^30) >> 31 with an arithmetic shift, which is how hardware does it.
    """
    return np.minimum((wide(a) * wide(b) + 2**30) >> 31, INT32_MAX)


def srdhm16(a: ArrayLike, b: ArrayLike) -> Integers:
    """Multiply two int16 and keep (ab + 2^14) >> 15, saturating -2^15 * -2^15 (gemmlowp, int16)."""
    return np.minimum((wide(a) * wide(b) + 2**14) >> 15, INT16_MAX)


def rounding_divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> Integers:
    """Divide by 2^exponent, exponent in [0, 31], halves away from zero (gemmlowp RoundingDivideByPOT)."""
    v, n = wide(x), wide(exponent)
    mask = (wide(1) << n) - 1
    return (v >> n) + ((v & mask) > (mask >> 1) + (v < 0))


def rounding_shift_right(x: ArrayLike, n: ArrayLike) -> Integers:
    """Divide by 2^n, n in [0, 31], halves up: (x + 2^(n-1)) >> n."""
    v, s = wide(x), wide(n)
    return (v + ((wide(1) << s) >> 1)) >> s


def requantize(acc: ArrayLike, q: ArrayLike, e: ArrayLike, mode: Rounding = "single") -> Integers:
    """Multiply by q * 2^(e-31) and round: once, halves up ("single"), or twice as LiteRT ("double").

    acc int32; |q| < 2^31; e in [-31, 30]; q and e are scalars or broadcast over the last axis.
    In mode "fp32" q holds the 32 bits of a float32 multiplier and e is not read.
    """
    a, m, n = wide(acc), wide(q), wide(e)
    if mode == "fp32":
        return requantize_f32(a, m.astype(np.int32).view(np.float32))
    if mode == "single":
        s = 31 - n
        out = a * m
        out += wide(1) << (s - 1)
        out >>= s
        return out
    high = srdhm32(wrap32(a << np.maximum(n, 0)), m)
    return rounding_divide_by_pot(high, np.maximum(-n, 0))


def requantize_f32(acc: ArrayLike, multiplier: ArrayLike) -> Integers:
    """Multiply float32(acc) by a float32 and round half to even (ONNX Runtime, XNNPACK)."""
    scaled = np.asarray(acc).astype(np.float32) * np.asarray(multiplier, dtype=np.float32)
    return np.rint(scaled).astype(np.int64)


def multiply_by_quantized_multiplier(x: ArrayLike, q: ArrayLike, e: ArrayLike) -> Integers:
    """Requantize with double rounding (LiteRT MultiplyByQuantizedMultiplier)."""
    return requantize(x, q, e, "double")


# --- matrix products --------------------------------------------------------------------------------------------------


def integer_matmul(a: NDArray[Any], b: NDArray[Any], a_zero_point: int = 0) -> NDArray[np.int32]:
    """Multiply int8 [..., M, K] by int8 [..., K, N] exactly: sum (a - a_zero_point) b, as int32.

    float32 BLAS is exact while a sum stays within 2^24: 1,024 products of two int8 values; longer sums are cut.
    """
    k = a.shape[-1]
    left, right = a.astype(np.float32), b.astype(np.float32)
    out = np.matmul(left[..., :1024], right[..., :1024, :]).astype(np.int32)
    for start in range(1024, k, 1024):
        stop = start + 1024
        out += np.matmul(left[..., start:stop], right[..., start:stop, :]).astype(np.int32)
    if a_zero_point:
        out -= (a_zero_point * b.sum(axis=-2, dtype=np.int32, keepdims=True)).astype(np.int32)
    return out


# --- fixed point: exp, reciprocal, logistic, tanh ---------------------------------------------------------------------


def clz(x: ArrayLike) -> Integers:
    """Count the leading zero bits of a 32-bit unsigned value; 32 for 0."""
    _, e = np.frexp((wide(x) & 0xFFFFFFFF).astype(np.float64))
    return 32 - e.astype(np.int64)


def _high(bits: int) -> Callable[[ArrayLike, ArrayLike], Integers]:
    return srdhm32 if bits == 32 else srdhm16


def q31_constant(raw: int, bits: int) -> int:
    """Give a Q31 constant in 32 or 16 bits (gemmlowp rounds it to int16)."""
    return raw if bits == 32 else int(rounding_divide_by_pot(raw, 16))


def _limit(x: ArrayLike, bits: int) -> Integers:
    return clamp(x, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _exp_interval(a: Integers, bits: int) -> Integers:
    """Give exp(a) for a in [-1/4, 0), Q0: Taylor around -1/8 (gemmlowp exp_on_interval_...)."""
    mul = _high(bits)
    term = q31_constant(1895147668, bits)  # exp(-1/8) * 2^31
    third = q31_constant(715827883, bits)  # 2^31 / 3
    x = a + (1 << (bits - 1 - 3))
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    inner = mul(rounding_divide_by_pot(x4, 2) + x3, third) + x2
    return _limit(term + mul(term, x + rounding_divide_by_pot(inner, 1)), bits)


# exp(-2^k) * 2^31, k = -2..4 (gemmlowp GEMMLOWP_EXP_BARREL_SHIFTER)
EXP_STEPS = ((-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242))


def exp_on_negative_values(a: ArrayLike, *, integer_bits: int = 5, bits: int = 32) -> Integers:
    """Give exp(a) as Q0 (Q0.31 or Q0.15) for a <= 0 with `integer_bits` integer bits (gemmlowp).

    Default: Q5.26 in, Q0.31 out. exp(0) is 2^31 - 1.
    """
    v = wide(a)
    fraction = bits - 1 - integer_bits
    quarter = 1 << (fraction - 2)
    rest = (v & (quarter - 1)) - quarter
    result = _exp_interval(rest << integer_bits, bits)
    remainder = rest - v
    for exponent, factor in EXP_STEPS:
        if integer_bits > exponent:
            stepped = _high(bits)(result, q31_constant(factor, bits))
            result = np.where((remainder & (1 << (fraction + exponent))) != 0, stepped, result)
    if integer_bits > 5:
        result = np.where(v < -(1 << (fraction + 5)), 0, result)
    return np.where(v == 0, 2 ** (bits - 1) - 1, result)


def _newton_reciprocal(a: ArrayLike, bits: int) -> Integers:
    """Give 2 / (1 + a) for a in [0, 1) Q0, as Q2: three Newton steps from 48/17 - 32/17 d (gemmlowp)."""
    mul, one = _high(bits), (2 ** (bits - 1)) - 1
    total = wide(a) + one
    half = np.where(total >= 0, (total + 1) >> 1, -((1 - total) >> 1))  # RoundingHalfSum
    x = q31_constant(1515870810, bits) + mul(half, q31_constant(-1010580540, bits))  # 48/17 and -32/17, Q2
    for _ in range(3):
        error = (1 << (bits - 3)) - mul(half, x)
        x = x + _limit(mul(x, error) << 2, bits)
    return x


def one_over_one_plus_x(a: ArrayLike, *, bits: int = 32) -> Integers:
    """Give 1 / (1 + a) for a in [0, 1), Q0 in, Q0 out (gemmlowp one_over_one_plus_x_for_x_in_0_1)."""
    return _limit(_newton_reciprocal(a, bits) << 1, bits)


def one_minus_x_over_one_plus_x(a: ArrayLike, *, bits: int = 32) -> Integers:
    """Give (1 - a) / (1 + a) for a in [0, 1), Q0 in, Q0 out (gemmlowp)."""
    return _limit((_newton_reciprocal(a, bits) - (1 << (bits - 3))) << 2, bits)


def logistic16(a: ArrayLike, *, integer_bits: int = 3) -> Integers:
    """Give 1 / (1 + exp(-a)) as Q0.15 of an int16 with `integer_bits` integer bits (gemmlowp logistic)."""
    v = wide(a)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(v), integer_bits=integer_bits, bits=16), bits=16)
    return np.where(v == 0, 1 << 14, np.where(v > 0, positive, INT16_MAX - positive))


def tanh16(a: ArrayLike, *, integer_bits: int = 3) -> Integers:
    """Give tanh(a) as Q0.15 of an int16 with `integer_bits` integer bits (gemmlowp tanh)."""
    v = wide(a)
    t = one_minus_x_over_one_plus_x(exp_on_negative_values(-np.abs(v), integer_bits=integer_bits + 1, bits=16), bits=16)
    return np.where(v == 0, 0, np.where(v < 0, -t, t))


# --- tables of 256 entries --------------------------------------------------------------------------------------------

UNARY: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "sigmoid": lambda x: 1.0 / (1.0 + exp(-x)) if x > -700.0 else 0.0,
    "tanh": tanh,
    "gelu": lambda x: 0.5 * x * (1.0 + erf(x / 2.0**0.5)),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + tanh((2.0 / 3.141592653589793) ** 0.5 * (x + 0.044715 * x * x * x))),
    "silu": lambda x: x / (1.0 + exp(-x)) if x > -700.0 else 0.0,
    "exp": lambda x: exp(min(x, 700.0)),
    "erf": erf,
    "sqrt": lambda x: x**0.5 if x > 0.0 else 0.0,
    "neg": lambda x: -x,
}


@cache
def int8_table(op: str, scale_in: float, zero_in: int, scale_out: float, zero_out: int) -> NDArray[np.int32]:
    """Tabulate an int8 unary op: entry i is the output for input i - 128; float64, halves away from zero, clamped."""
    function = UNARY[op]
    real = [function(scale_in * (i - 128 - zero_in)) / scale_out for i in range(256)]
    rounded = [floor(abs(r) + 0.5) * (1 if r >= 0 else -1) for r in real]
    table = np.array([min(max(r + zero_out, -128), 127) for r in rounded], dtype=np.int32)
    table.flags.writeable = False
    return table


SOFTMAX_MAX_ROW = 4095  # sums of exp have 12 integer bits


@cache
def softmax_table(scale: float) -> NDArray[np.int32]:
    """Tabulate exp(-d * scale) as Q0.31 for d = max - x in 0..255 (LiteRT PreprocessSoftmaxScaling, reference Softmax).

    Entries farther away than the reference's diff_min are 0.
    """
    real = min(scale * 2.0**26, 2.0**31 - 1.0)
    q, left = quantize_multiplier(real)
    d = -np.arange(256, dtype=np.int64)
    left = max(left, 0)  # only a scale under 2^-26 has less; LiteRT asserts there
    diff_min = -floor(31.0 * 2.0**26 / 2.0**left)
    near = d >= diff_min
    scaled = srdhm32(wrap32(np.where(near, d, 0) << left), q)
    table = np.where(near, exp_on_negative_values(scaled), 0).astype(np.int32)
    table.flags.writeable = False
    return table


# --- narrow floats ----------------------------------------------------------------------------------------------------

_MANTISSA = {"bf16": 7, "tf32": 10, "fp8": 3}
FP8_MAX = 448.0  # E4M3 (OCP 8-bit floating point specification 1.0)


def round_float(x: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Round float32 values to those that `dtype` has (ties to even), kept in float32."""
    v = np.asarray(x, dtype=np.float32)
    if dtype == "f32":
        return v
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return v.astype(np.float16).astype(np.float32)
    drop = 23 - _MANTISSA[dtype]
    raw = np.ascontiguousarray(v).view(np.uint32).astype(np.uint64)
    raw = (raw + ((1 << (drop - 1)) - 1) + ((raw >> drop) & 1)) >> drop << drop
    out = np.where(np.isfinite(v), raw.astype(np.uint32).view(np.float32), v)
    if dtype == "fp8":
        tiny = np.rint(v * 2.0**9) / 2.0**9  # subnormals: multiples of 2^-9
        out = np.clip(np.where(np.abs(v) < 2.0**-6, tiny, out), -FP8_MAX, FP8_MAX)
    return out.astype(np.float32)
