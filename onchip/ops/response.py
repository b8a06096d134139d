"""int8 local response normalisation: y = x (bias + alpha / size sum of x^2)^-beta with two tables.

In: int8 x [..., C], attributes of lrn, quantizations. Out: int8.
Promises: within 1 of the rounded float result; 32-bit vector instructions. The sum of squares S is exact;
u = 1 + S alpha sx^2 / (size bias) has as many fraction bits, 15 at most, as keep its largest value below 2^30; with
u = 2^k m and m in [1, 2), m^-beta comes from a table of 256 entries with linear interpolation,
2^(-beta k) is part of the multiplier.
Does not: take a bias of 0 or less, or a window of more than 256 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import (
    Integers,
    clamp,
    clz,
    quantize_multiplier,
    quantize_multipliers,
    requantize,
    srdhm32,
    wide,
)
from onchip.ops.types import Array, Attributes, Quantization, Refusal

FRACTION = 15  # fraction bits of u, at most
MAX_WINDOW = 256  # squares below 2^16 each: sums below 2^24


@dataclass(frozen=True, slots=True, eq=False)
class ResponseConstants:
    """What response_rows needs: the multiplier of S, two tables of 256, and a multiplier per exponent of u."""

    fraction: int  # fraction bits of u
    square: tuple[int, int]
    power: Integers  # m^-beta at m = 1 + i / 256, Q1.30
    slope: Integers  # to the next entry
    gain_q: Integers  # sx / sy bias^-beta 2^(-beta k) 2^-21, k = 0..30
    gain_e: Integers


def response_constants(attributes: Attributes, given: Quantization, made: Quantization) -> ResponseConstants:
    """Prepare the constants of response_rows."""
    size, alpha, beta, bias = (attributes.number(k) for k in ("size", "alpha", "beta", "bias"))
    if size > MAX_WINDOW or bias <= 0.0 or alpha < 0.0 or not 0.0 <= beta <= 8.0:
        raise Refusal("OC1334", "size, alpha, beta or bias is out of the range of int8 lrn")
    square = alpha * given.scale[0] ** 2 / (size * bias)
    largest = 1.0 + square * size * 255.0**2
    if largest >= 2.0**29:
        raise Refusal("OC1334", "alpha is out of the range of int8 lrn for this scale")
    fraction = min(FRACTION, 30 - frexp(largest)[1])
    power = np.rint((1.0 + np.arange(257) / 256.0) ** -beta * 2.0**30).astype(np.int64)
    gain = given.scale[0] / made.scale[0] * bias**-beta * 2.0 ** (-beta * np.arange(31.0)) * 2.0**-21
    q, e = quantize_multipliers(gain)
    square_q = quantize_multiplier(square * 2.0**fraction)
    return ResponseConstants(fraction, square_q, power[:-1], np.diff(power), q, e)


def response_rows(v: Integers, squares: Integers, constants: ResponseConstants, zero_out: int) -> NDArray[np.int8]:
    """Scale v = x - zero point by the sums of squares over its window."""
    k = constants
    u = requantize(squares, *k.square) + (1 << k.fraction)  # rq, add: at most 2^30
    zeros = clz(u)  # clz
    m = (u << (zeros - 1)) - (1 << 30)  # sub, shl, sub: the fraction of m, 30 bits
    place = m >> 22  # sra: 0..255
    part = (m & ((1 << 22) - 1)) << 9  # and, shl: Q0.31
    factor = k.power[place] + srdhm32(k.slope[place], part)  # lut, lut, mulh32, add: Q1.30
    p = srdhm32(v << 22, factor)  # shl, mulh32: v m^-beta, 21 fraction bits
    exponent = 31 - k.fraction - zeros  # sub
    y = requantize(p, k.gain_q[exponent], k.gain_e[exponent])  # lut, lut, rq
    return clamp(y + zero_out, -128, 127).astype(np.int8)


def lrn_integer(
    attributes: Attributes, x: Array, squares: Integers, given: Quantization, made: Quantization
) -> NDArray[np.int8]:
    """Normalise x by the window sums of (x - zero point)^2."""
    constants = response_constants(attributes, given, made)
    return response_rows(wide(x) - given.zero_point[0], squares, constants, made.zero_point[0])
