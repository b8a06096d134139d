"""Integer primitives against exact rational arithmetic, worked examples, and the functions they approximate."""

# pyright: basic

from fractions import Fraction
from math import exp, floor, tanh

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip import numerics

INT32 = st.integers(-(2**31), 2**31 - 1)
INT16 = st.integers(-(2**15), 2**15 - 1)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(INT32, INT32)
def test_srdhm32(a, b):
    assert int(numerics.srdhm32(a, b)) == min(half_up(Fraction(a * b, 2**31)), 2**31 - 1)


@given(INT16, INT16)
def test_srdhm16(a, b):
    assert int(numerics.srdhm16(a, b)) == min(half_up(Fraction(a * b, 2**15)), 2**15 - 1)


@given(INT32, st.integers(0, 31))
def test_shifts(x, n):
    assert int(numerics.rounding_divide_by_pot(x, n)) == half_away(Fraction(x, 2**n))
    assert int(numerics.rounding_shift_right(x, n)) == half_up(Fraction(x, 2**n))


def test_halves():
    """Values half way between two results, of both signs: random ones hardly ever are."""
    for n in range(1, 32):
        for odd in (-5, -3, -1, 1, 3, 5):
            x = odd * 2 ** (n - 1)
            if -(2**31) <= x < 2**31:
                assert int(numerics.rounding_divide_by_pot(x, n)) == half_away(Fraction(odd, 2))
                assert int(numerics.rounding_shift_right(x, n)) == half_up(Fraction(odd, 2))


@given(st.floats(1e-9, 1e9))
def test_quantize_multiplier(real):
    q, e = numerics.quantize_multiplier(real)
    assert 2**30 <= q < 2**31
    assert abs(Fraction(q) * Fraction(2) ** (e - 31) - Fraction(real)) <= Fraction(real) / 2**31
    many_q, many_e = numerics.quantize_multipliers([real, real])
    assert (many_q.tolist(), many_e.tolist()) == ([q, q], [e, e])


def test_quantize_multiplier_edges():
    """Worked examples: 0.5 is 2^30 at exponent 0; a mantissa that rounds up to 1 moves to the next power of two."""
    assert numerics.quantize_multiplier(0.0) == (0, 0)
    assert numerics.quantize_multiplier(0.5) == (2**30, 0)
    assert numerics.quantize_multiplier(1.0) == (2**30, 1)
    assert numerics.quantize_multiplier(1.0 - 2.0**-40) == (2**30, 1)
    assert numerics.quantize_multiplier(2.0**-40) == (0, 0)


@given(INT32, st.integers(2**30, 2**31 - 1), st.integers(-31, 30))
def test_requantize_single_rounds_once(acc, q, e):
    want = half_up(Fraction(acc * q) * Fraction(2) ** (e - 31))
    assert int(numerics.requantize(acc, q, e, "single")) == want


@given(st.integers(-(2**26), 2**26), st.integers(2**30, 2**31 - 1), st.integers(-31, 4))
def test_requantize_double_rounds_twice(acc, q, e):
    high = half_up(Fraction((acc << max(e, 0)) * q, 2**31))
    assert int(numerics.requantize(acc, q, e, "double")) == half_away(Fraction(high, 2 ** max(-e, 0)))


@given(INT32, st.floats(2.0**-20, 1.0, width=32))
def test_requantize_fp32_reads_the_bits_of_the_multiplier(acc, real):
    bits = int(np.float32(real).view(np.int32))
    assert int(numerics.requantize(acc, bits, 0, "fp32")) == int(np.rint(np.float32(acc) * np.float32(real)))


@given(st.integers(0, 2**32 - 1))
def test_clz(x):
    assert int(numerics.clz(x)) == 32 - x.bit_length()


def test_exp_on_negative_values():
    x = np.concatenate([-np.logspace(0, 31, 2000, base=2).astype(np.int64), [0, -1, -(2**31)]])
    x = np.maximum(x, -(2**31))
    want = np.exp(x / 2.0**26)
    assert np.abs(numerics.exp_on_negative_values(x) / 2.0**31 - want).max() < 3e-7
    assert int(numerics.exp_on_negative_values(0)) == 2**31 - 1


def test_one_over_one_plus_x():
    a = np.linspace(0, 2**31 - 1, 4001).astype(np.int64)
    assert np.abs(numerics.one_over_one_plus_x(a) / 2.0**31 - 1 / (1 + a / 2.0**31)).max() < 3e-9


@pytest.mark.parametrize("integer_bits", range(7))
def test_int16_functions(integer_bits):
    """All 65,536 inputs; gemmlowp's own tests allow a few LSB of int16."""
    x = np.arange(-(2**15), 2**15)
    real = x / 2.0 ** (15 - integer_bits)
    assert np.abs(numerics.logistic16(x, integer_bits=integer_bits) / 2.0**15 - 1 / (1 + np.exp(-real))).max() < 3e-4
    assert np.abs(numerics.tanh16(x, integer_bits=integer_bits) / 2.0**15 - np.tanh(real)).max() < 6e-4


def test_int8_table():
    table = numerics.int8_table("tanh", 0.05, 10, 1 / 128, 0)
    assert table[128 + 10] == 0
    assert table[128 + 30] == round(tanh(1.0) * 128)
    assert not table.flags.writeable


def test_softmax_table():
    table = numerics.softmax_table(0.1)
    assert table[0] == 2**31 - 1
    assert abs(table[10] / 2.0**31 - exp(-1.0)) < 3e-7
    assert (np.diff(table.astype(np.int64)) <= 0).all()


@pytest.mark.parametrize("dtype", ["f16", "bf16", "tf32", "fp8"])
def test_round_float(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 5000), 10.0 ** rng.uniform(-6, 2, 5000), [0.0, -0.0, 1.0]]).astype(np.float32)
    got = numerics.round_float(x, dtype)
    if dtype == "tf32":  # 10 bits of mantissa: no torch dtype; the rounding error says it
        assert (np.abs(got - x) <= np.abs(x) * 2.0**-11).all()
        assert (got.view(np.int32) & 0x1FFF == 0).all()
        return
    kind = {"f16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}[dtype]
    np.testing.assert_array_equal(got, torch.tensor(x).to(kind).to(torch.float32).numpy())
