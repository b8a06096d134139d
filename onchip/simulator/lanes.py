"""The machine's arithmetic on one 32-bit lane, compiled: what `Instruction.run` defines, at speed.

In: 64-bit integers that hold 32-bit values. Out: the same. Sources: docs/arithmetic.md; the tests compare every
function with the NumPy definition in `numerics.py` and with outside witnesses.
"""

# pyright: basic

from __future__ import annotations

import numpy as np

from onchip.simulator.operands import inner

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


@inner
def wrap(x):
    return np.int64(np.int32(x & 0xFFFFFFFF))


@inner
def high_multiply(a, b):
    """Saturating rounding doubling high multiply, 32 bits."""
    if a == INT_MIN and b == INT_MIN:
        return np.int64(INT_MAX)
    p = a * b
    p += (1 << 30) if p >= 0 else (1 - (1 << 30))
    return p >> 31 if p >= 0 else -((-p) >> 31)


@inner
def high_multiply_16(a, b):
    if a == -32768 and b == -32768:
        return np.int64(32767)
    p = a * b
    p += (1 << 14) if p >= 0 else (1 - (1 << 14))
    return p >> 15 if p >= 0 else -((-p) >> 15)


@inner
def rounding_shift(x, exponent):
    """Divide by 2**exponent, halves away from zero."""
    mask = (np.int64(1) << exponent) - 1
    rest = x & mask
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if rest > threshold else 0)


@inner
def leading_zeros(x):
    """Count leading zeros of the 32-bit pattern."""
    u, n = x & 0xFFFFFFFF, 32
    while u:
        u >>= 1
        n -= 1
    return np.int64(n)


@inner
def lane(sub, x, y):
    """One lane of a VOP; see isa/vector.py."""
    if sub == 0:
        r = x + y
    elif sub == 1:
        r = x - y
    elif sub == 2:
        r = x * y
    elif sub == 3:
        r = high_multiply(x, y)
    elif sub == 4:
        r = high_multiply_16(x, y)
    elif sub == 5:
        r = max(x, y)
    elif sub == 6:
        r = min(x, y)
    elif sub == 7:
        r = x << (y & 63)
    elif sub == 8:
        r = x >> (y & 63)
    elif sub == 9:
        r = rounding_shift(x, y & 63)
    elif sub == 10:
        r = x
    elif sub == 12:
        r = leading_zeros(x)
    elif sub == 13:
        r = np.int64(1 if x > y else 0)
    elif sub == 14:
        r = x & y
    else:
        r = min(max(x << (y & 31), INT_MIN), INT_MAX)
    return wrap(r)
