"""Sigmoid and tanh of 16-bit lanes by polynomial, for recurrent gates: logistic16 and tanh16 as instructions.

In: views of a tile whose lanes hold int16 values in 32-bit words. Out: Q0.15 in place. Source: gemmlowp fixedpoint.h
(exp_on_negative_values, one_over_one_plus_x_for_x_in_0_1), in the 16-bit form; docs/arithmetic.md has the tables.
"""

from __future__ import annotations

from collections.abc import Callable

from onchip.lowering.code import VectorCode, View
from onchip.numerics import EXP_STEPS, q31_constant

Tiles = Callable[[str], View]
MAXIMUM, MINIMUM = 32767, -32768
EXP_TERM, EXP_THIRD = q31_constant(1895147668, 16), q31_constant(715827883, 16)  # exp(-1/8), 1/3
NEWTON_48_17, NEWTON_32_17 = q31_constant(1515870810, 16), q31_constant(-1010580540, 16)


def limit(code: VectorCode, d: View) -> None:
    """Saturate to 16 bits in place."""
    code.lanes("max", d, d, MINIMUM)
    code.lanes("min", d, d, MAXIMUM)


def limit8(code: VectorCode, d: View) -> None:
    """Saturate to 8 bits in place."""
    code.lanes("max", d, d, -128)
    code.lanes("min", d, d, 127)


def _exp(code: VectorCode, tile: Tiles, integer_bits: int) -> None:
    """r = exp(a) for tile a <= 0 with so many integer bits."""
    a, r, x, x2, t, rest, bit = (tile(n) for n in ("a", "r", "x", "x2", "t", "rest", "bit"))
    fraction = 15 - integer_bits
    quarter = 1 << (fraction - 2)
    code.lanes("and", rest, a, quarter - 1)
    code.lanes("sub", rest, rest, quarter)
    code.lanes("shl", x, rest, integer_bits)
    code.lanes("add", x, x, 1 << 12)
    code.lanes("mulh16", x2, x, x)
    code.lanes("mulh16", r, x2, x)
    code.lanes("mulh16", t, x2, x2)
    code.lanes("rshr", t, t, 2)
    code.lanes("add", t, t, r)
    code.lanes("mulh16", t, t, EXP_THIRD)
    code.lanes("add", t, t, x2)
    code.lanes("rshr", t, t, 1)
    code.lanes("add", t, t, x)
    code.lanes("mulh16", t, t, EXP_TERM)
    code.lanes("add", r, t, EXP_TERM)
    limit(code, r)
    code.lanes("sub", rest, rest, a)
    for exponent, factor in EXP_STEPS:
        if integer_bits > exponent:
            code.lanes("sra", bit, rest, fraction + exponent)
            code.lanes("and", bit, bit, 1)
            code.lanes("mulh16", t, r, q31_constant(factor, 16))
            _select(code, r, bit, t)
    if integer_bits > 5:
        code.lanes("gt", bit, a, -(1 << (fraction + 5)) - 1)
        code.lanes("mul", r, r, bit)
    code.lanes("gt", bit, a, -1)
    code.lanes("and", t, t, 0)
    code.lanes("add", t, t, MAXIMUM)
    _select(code, r, bit, t)


def _select(code: VectorCode, d: View, bit: View, other: View) -> None:
    """d = other where bit is 1; `other` is used up."""
    code.lanes("sub", other, other, d)
    code.lanes("mul", other, other, bit)
    code.lanes("add", d, d, other)


def _reciprocal(code: VectorCode, tile: Tiles) -> None:
    """x = 2 / (1 + r) in Q2."""
    r, x, half, t = tile("r"), tile("x"), tile("x2"), tile("t")
    code.lanes("add", half, r, MAXIMUM + 1)
    code.lanes("sra", half, half, 1)
    code.lanes("mulh16", x, half, NEWTON_32_17)
    code.lanes("add", x, x, NEWTON_48_17)
    for _ in range(3):
        code.lanes("mulh16", t, half, x)
        code.lanes("mul", t, t, -1)
        code.lanes("add", t, t, 1 << 13)
        code.lanes("mulh16", t, x, t)
        code.lanes("shl", t, t, 2)
        limit(code, t)
        code.lanes("add", x, x, t)


def _negative_magnitude(code: VectorCode, tile: Tiles, v: View) -> None:
    code.lanes("mul", tile("a"), v, -1)
    code.lanes("min", tile("a"), tile("a"), v)


def _is_zero(code: VectorCode, tile: Tiles, v: View) -> None:
    """bit = 1 where v is 0; rest = 1 where v > 0."""
    code.lanes("gt", tile("bit"), v, -1)
    code.lanes("gt", tile("rest"), v, 0)
    code.lanes("sub", tile("bit"), tile("bit"), tile("rest"))


def logistic(code: VectorCode, tile: Tiles, v: View) -> None:
    """v = 1 / (1 + exp(-v)), Q3.12 to Q0.15."""
    _negative_magnitude(code, tile, v)
    _exp(code, tile, 3)
    _reciprocal(code, tile)
    positive, negative, t = tile("x"), tile("r"), tile("t")
    code.lanes("shl", positive, positive, 1)
    limit(code, positive)
    code.lanes("mul", negative, positive, -1)
    code.lanes("add", negative, negative, MAXIMUM)
    _is_zero(code, tile, v)
    _select(code, negative, tile("rest"), positive)
    code.lanes("and", t, t, 0)
    code.lanes("add", t, t, 1 << 14)
    _select(code, negative, tile("bit"), t)
    code.lanes("copy", v, negative, 0)


def tanh(code: VectorCode, tile: Tiles, v: View, d: View, integer_bits: int = 3) -> None:
    """d = tanh(v), `integer_bits` integer bits to Q0.15; d may be v."""
    _negative_magnitude(code, tile, v)
    _exp(code, tile, integer_bits + 1)
    _reciprocal(code, tile)
    x, sign = tile("x"), tile("rest")
    code.lanes("sub", x, x, 1 << 13)
    code.lanes("shl", x, x, 2)
    limit(code, x)
    _is_zero(code, tile, v)
    code.lanes("shl", sign, sign, 1)
    code.lanes("sub", sign, sign, 1)
    code.lanes("add", sign, sign, tile("bit"))
    code.lanes("mul", d, x, sign)
