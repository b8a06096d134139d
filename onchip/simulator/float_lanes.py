"""A float program's arithmetic on one lane, compiled: what isa/floats.py defines, at speed.

In: float32 numbers and the bits of narrow types. Out: the same. Nothing here may be reordered or fused: no fast-math.
Compiled code compares equal, bit for bit, with the NumPy definition in the tests.
"""

# pyright: basic

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from onchip.simulator.operands import inner


def _bits(typingctx, value):
    """Return the bits of a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def _number(typingctx, value):
    """Return the float32 of these bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


bits: Any = intrinsic(_bits)
number: Any = intrinsic(_number)

INFINITY, MAGNITUDE = np.int32(0x7F800000), np.int32(0x7FFFFFFF)
UP_112, UP_120 = np.float32(2.0**112), np.float32(2.0**120)  # from the exponent's bias of f16 and fp8 to float32's
HALF, STEP_FP8 = np.float32(0.5), np.float32(2.0**14)  # numbers whose last bit is the smallest f16, the smallest fp8
ONE = np.float32(1)


# --- reading ----------------------------------------------------------------------------------------------------------
@inner
def from_bf16(word):
    return number(np.int32(word) << np.int32(16))


@inner
def from_f16(word):
    w = np.int32(word)
    size = bits(number((w & np.int32(0x7FFF)) << np.int32(13)) * UP_112)
    if w & np.int32(0x7C00) == np.int32(0x7C00):
        size |= INFINITY
    return number(size | (w & np.int32(0x8000)) << np.int32(16))


@inner
def from_fp8(byte):
    w = np.int32(byte)
    size = bits(number((w & np.int32(127)) << np.int32(20)) * UP_120)
    if w & np.int32(127) == np.int32(127):
        size = np.int32(0x7FC00000)
    return number(size | (w & np.int32(128)) << np.int32(24))


# --- writing ----------------------------------------------------------------------------------------------------------
@inner
def dropped(b, drop):
    """Round bits to nearest even, without their last `drop`."""
    d = np.int32(drop)
    return (b + ((np.int32(1) << (d - np.int32(1))) - np.int32(1)) + (b >> d & np.int32(1))) >> d


@inner
def to_bf16(x):
    b = bits(x)
    size = b & MAGNITUDE
    rounded = dropped(size, 16)
    if size > INFINITY:
        return np.int16(0x7FC0)
    return np.int16(rounded | (b >> np.int32(16) & np.int32(0x8000)))


@inner
def to_tf32(x):
    b = bits(x)
    size = b & MAGNITUDE
    if size >= INFINITY:
        return x
    return number(dropped(size, 13) << np.int32(13) | (b & ~MAGNITUDE))


@inner
def to_f16(x):
    b = bits(x)
    size = b & MAGNITUDE
    if size > INFINITY:
        return np.int16(0x7E00)
    if size >= np.int32(0x477FF000):  # 65520 and more
        code = np.int32(0x7C00)
    elif size >= np.int32(0x38800000):  # 2**-14 and more
        code = dropped(size - np.int32(0x38000000), 13)
    else:
        code = bits(number(size) + HALF) - bits(HALF)
    return np.int16(code | (b >> np.int32(16) & np.int32(0x8000)))


@inner
def to_fp8(x):
    b = bits(x)
    size = b & MAGNITUDE
    if size > INFINITY:
        return np.int8(127)
    size = min(size, np.int32(0x43E00000))  # 448
    if size >= np.int32(0x3C800000):  # 2**-6 and more
        code = dropped(size - np.int32(0x3C000000), 20)
    else:
        code = bits(number(size) + STEP_FP8) - bits(STEP_FP8)
    return np.int8(code | (b >> np.int32(24) & np.int32(128)))


@inner
def to_integer(x, low, high):
    """Round to nearest even and saturate; a NaN is 0."""
    if math.isnan(x):
        return np.int64(0)
    return np.int64(np.rint(min(max(np.float64(x), low), high)))


# --- functions --------------------------------------------------------------------------------------------------------
@inner
def function(sub, a, b):
    """One lane of the operations from 64; see isa/vector.py. Computed in float64."""
    x = np.float64(a)
    if sub == 64:
        r = math.exp(x)
    elif sub == 65:
        r = math.erf(x)
    elif sub == 66:
        r = math.tanh(x)
    elif sub == 67:
        r = 1.0 / (1.0 + math.exp(-x))
    elif sub == 68:
        r = 1.0 / math.sqrt(x)
    elif sub == 69:
        r = 1.0 / x
    elif sub == 70:
        r = x / np.float64(b)
    elif sub == 71:
        r = 0.5 * x * math.erfc(-x * math.sqrt(0.5))
    elif sub == 72:
        r = x / (1.0 + math.exp(-x))
    elif sub == 73:
        r = math.sqrt(x)
    elif sub == 74:
        r = x ** np.float64(b)
    elif sub == 75:
        r = math.log(x)
    elif sub == 76:
        r = np.floor(x)
    elif sub == 77:
        r = np.ceil(x)
    elif sub == 78:
        r = np.rint(x)
    elif sub == 79:
        r = math.sin(x)
    else:
        r = math.cos(x)
    return np.float32(r)


@inner
def operate(sub, n, x, y, z):
    """z = x op y for n lanes; a mac finds its sum in z."""
    if sub == 0:
        for j in range(np.uint64(n)):
            z[j] = x[j] + y[j]
    elif sub == 1:
        for j in range(np.uint64(n)):
            z[j] = x[j] - y[j]
    elif sub == 2:
        for j in range(np.uint64(n)):
            z[j] = x[j] * y[j]
    elif sub == 5:
        for j in range(np.uint64(n)):
            z[j] = y[j] if x[j] <= y[j] else x[j]
    elif sub == 6:
        for j in range(np.uint64(n)):
            z[j] = y[j] if x[j] >= y[j] else x[j]
    elif sub == 10:
        for j in range(np.uint64(n)):
            z[j] = x[j]
    elif sub == 11:
        for j in range(np.uint64(n)):
            z[j] = z[j] + x[j] * y[j]
    elif sub == 13:
        for j in range(np.uint64(n)):
            z[j] = ONE if x[j] > y[j] else np.float32(0)
    elif sub == 14:
        for j in range(np.uint64(n)):
            z[j] = number(bits(x[j]) & bits(y[j]))
    else:
        for j in range(np.uint64(n)):
            z[j] = function(sub, x[j], y[j])


@inner
def reduce_row(sub, n, x, z):
    """z[0] = the sum, the maximum or the sum of squares, lane after lane."""
    total = np.float32(0)
    if sub == 0:
        for j in range(np.uint64(n)):
            total += x[j]
    elif sub == 1:
        total = x[0]
        for j in range(np.uint64(n)):
            total = x[j] if total <= x[j] else total
    else:
        for j in range(np.uint64(n)):
            total += x[j] * x[j]
    z[0] = total
