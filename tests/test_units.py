"""Units: what is read is exact, what is written reads back, what is shown has three digits."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.errors import InternalError, UsageError
from onchip.units import DASH, UNITS, Quantity, format_exact, format_ratio, format_value, parse


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("256 KiB", "B", 262144),
        ("256KiB", "B", 262144),
        ("1.5 MiB", "B", 1572864),
        ("262144", "B", 262144),
        ("1_000 B", "B", 1000),
        ("3.2 GB/s", "B/s", 3_200_000_000),
        ("14 GiB/s", "B/s", 14 * 2**30),
        ("32 B/cycle", "B/cycle", 32),
        ("500 MHz", "Hz", 500_000_000),
        ("100 ns", "s", Fraction(1, 10**7)),
        ("2.5 us", "s", Fraction(25, 10**7)),
        ("2.5 µs", "s", Fraction(25, 10**7)),
        ("0.256 TOPS", "op/s", 256 * 10**9),
        ("312 TFLOPS", "op/s", 312 * 10**12),
        ("0.3 pJ", "J", Fraction(3, 10**13)),
        ("6.25 pJ/bit", "J/bit", Fraction(625, 10**14)),
        ("1e3 mW", "W", 1),
        ("16 nm", "m", Fraction(16, 10**9)),
    ],
)
def test_parse(text: str, unit: str, value: Fraction) -> None:
    assert parse(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "words"),
    [
        ("256 KB", "B", ["ambiguous", "KiB"]),
        ("1 MB", "B", ["ambiguous", "MiB"]),
        ("500 Mhz", "Hz", ["'Mhz'", "'MHz'"]),
        ("500", "Hz", ["no unit", "MHz"]),
        ("-3 B", "B", ["'-3 B'"]),
        ("", "B", ["''"]),
        ("nan B", "B", ["'nan B'"]),
        ("inf s", "s", ["'inf s'"]),
        ("1e999999999 B", "B", ["not a number"]),
        ("9" * 1000, "B", ["not a number"]),
        ("3 GB/s", "s", ["'GB/s'"]),
        ("1 B 2", "B", ["not a number"]),
        ("３ B\x00", "B", ["not a number"]),  # noqa: RUF001 a fullwidth digit and a NUL
    ],
)
def test_parse_refuses(text: str, unit: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, unit)
    assert caught.value.code == "OC1005"
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.sampled_from(sorted(UNITS)), st.decimals(0, 10**12, places=6, allow_nan=False), st.data())
def test_what_is_written_reads_back(unit: str, number: object, data: st.DataObject) -> None:
    symbol = data.draw(st.sampled_from(sorted(UNITS[unit])))
    value = parse(f"{number} {symbol}", unit)
    assert parse(format_exact(value, unit), unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (323e-6, "s", "323 µs"),
        (0.99996e-3, "s", "1.00 ms"),
        (0, "s", "0 s"),
        (1e-17, "s", "0.0100 fs"),
        (512, "B", "512 B"),
        (1023.9 * 1024, "B", "1.00 MiB"),
        (74445, "B", "72.7 KiB"),
        (3.2e9, "B/s", "3.20 GB/s"),
        (256e9, "op/s", "256 GOPS"),
        (7.49e6, "MAC", "7.49 MMAC"),
        (3100, "1/s", "3.10 k/s"),
        (148e-6, "J", "148 µJ"),
        (0.628, "%", "62.8 %"),
        (0.0005, "%", "0.0500 %"),
        (1234567, "cycles", "1 234 567 cycles"),
        (-12.34, "", "-12.3"),
        (None, "s", DASH),
    ],
)
def test_format_value(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@given(st.floats(1e-15, 1e15), st.sampled_from(["s", "B", "B/s", "J", "op/s", "MAC", "Hz", "W", ""]))
def test_three_digits_are_within_half_a_unit_of_the_third(value: float, unit: str) -> None:
    number, _, symbol = format_value(value, unit).partition(" ")
    prefixes = {
        "P": 1e15,
        "T": 1e12,
        "G": 1e9,
        "M": 1e6,
        "k": 1e3,
        "m": 1e-3,
        "µ": 1e-6,
        "n": 1e-9,
        "p": 1e-12,
        "f": 1e-15,
    }
    if unit == "B":
        scale = {"": 1, "Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10}[symbol.removesuffix("B")]
    else:
        known = {"op/s": "OPS"}.get(unit, unit)
        scale = prefixes.get(symbol.removesuffix(known), 1)
    assert math.isclose(float(number) * scale, value, rel_tol=0.0051, abs_tol=0.5 if unit == "B" else 1e-12)


def test_a_ratio_without_a_denominator_is_a_dash() -> None:
    assert format_ratio(1, 0) == DASH
    assert format_ratio(0, 0, "%") == DASH
    assert format_ratio(1, 2, "%") == "50.0 %"


def test_quantity_shows_its_band_only_when_there_is_one() -> None:
    assert str(Quantity(323e-6, "s")) == "323 µs"
    assert Quantity(323e-6, "s").band == DASH
    assert Quantity(100.0, "s", 92.0, 108.0).band == "±8 %"
    assert Quantity(100.0, "s", 90.0, 125.0).band == "−10/+25 %"
    assert Quantity(1.0, "s").to_json()["low"] is None


@pytest.mark.parametrize("numbers", [(1.0, 2.0, 3.0), (5.0, 2.0, 3.0), (math.nan, None, None), (math.inf, None, None)])
def test_quantity_refuses_a_band_beside_the_value(numbers: tuple[float, float | None, float | None]) -> None:
    with pytest.raises(InternalError):
        Quantity(numbers[0], "s", numbers[1], numbers[2])
