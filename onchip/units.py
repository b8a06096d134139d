"""Units, quantities and how numbers are read and written; the one place that knows them.

In:       texts such as "256 KiB", "3.2 GB/s", "32 B/cycle", "100 ns"; numbers in base units (B, B/s, Hz, s, J, W).
Out:      exact fractions from `parse`, readable texts from `format_value`, exact ones from `format_exact`, and
          `Quantity`: a value that carries its unit, band, provenance and fidelity.
Promises: parse(format_exact(v)) == v; sizes are powers of two (KiB), rates powers of ten (GB/s), MAC = 2 op; three
          significant digits; a ratio with denominator zero prints as a dash; no value is infinite or not a number.
Does not: convert between dimensions, and accepts no ambiguous unit (KB and MB of a size are refused).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from onchip.errors import InternalError, UsageError, did_you_mean

Provenance = Literal["datasheet", "measured", "calibrated", "analytic", "assumed"]
Fidelity = Literal["roofline", "estimate", "event", "rtl"]

DASH = "–"  # the dash that stands for "no such number" in every table

# base unit -> symbol -> size in base units, small to large; the first spelling of a size is the one that is written
UNITS: dict[str, dict[str, Fraction]] = {
    "B": {name: Fraction(2) ** (10 * i) for i, name in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))},
    "B/s": {name: Fraction(10) ** (3 * i) for i, name in enumerate(("B/s", "kB/s", "MB/s", "GB/s", "TB/s"))}
    | {name: Fraction(2) ** (10 * i) for i, name in enumerate(("KiB/s", "MiB/s", "GiB/s", "TiB/s"), 1)},
    "B/cycle": {"B/cycle": Fraction(1)},
    "bit/s": {name: Fraction(10) ** (3 * i) for i, name in enumerate(("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))},
    "Hz": {name: Fraction(10) ** (3 * i) for i, name in enumerate(("Hz", "kHz", "MHz", "GHz"))},
    "s": {name: Fraction(10) ** (3 * i - 12) for i, name in enumerate(("ps", "ns", "us", "ms", "s"))}
    | {"µs": Fraction(1, 10**6)},
    "J": {name: Fraction(10) ** (3 * i - 15) for i, name in enumerate(("fJ", "pJ", "nJ", "uJ", "mJ", "J"))}
    | {"µJ": Fraction(1, 10**6)},
    "J/B": {name: Fraction(10) ** (3 * i - 15) for i, name in enumerate(("fJ/B", "pJ/B", "nJ/B"))},
    "J/bit": {name: Fraction(10) ** (3 * i - 15) for i, name in enumerate(("fJ/bit", "pJ/bit", "nJ/bit"))},
    "W": {name: Fraction(10) ** (3 * i - 6) for i, name in enumerate(("uW", "mW", "W", "kW"))},
    "op/s": {name: Fraction(10) ** (3 * i) for i, name in enumerate(("OPS", "kOPS", "MOPS", "GOPS", "TOPS", "POPS"))}
    | {name: Fraction(10) ** (3 * i) for i, name in enumerate(("GFLOPS", "TFLOPS", "PFLOPS"), 3)},
    "m": {name: Fraction(10) ** (3 * i - 9) for i, name in enumerate(("nm", "um", "mm", "m"))},
}
AMBIGUOUS = {"KB": "KiB", "kB": "KiB", "MB": "MiB", "GB": "GiB", "TB": "TiB"}  # refused for sizes

_NUMBER = re.compile(r"\s*(\d[\d_]{0,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?)\s*([^\s\d][^\s]{0,15})?\s*", re.ASCII)
_TEXT_LIMIT = 80


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number that says what it is: unit, band (None = nobody has validated one), provenance and fidelity."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    provenance: Provenance = "analytic"
    fidelity: Fidelity = "estimate"

    def __post_init__(self) -> None:
        numbers = [n for n in (self.low, self.value, self.high) if n is not None]
        if not all(math.isfinite(n) for n in numbers):
            raise InternalError("OC1005", "units", f"a quantity in {self.unit or 'no unit'} is not finite")
        if numbers != sorted(numbers):
            raise InternalError("OC1005", "units", f"the band of {self.value} {self.unit} does not contain it")

    def __str__(self) -> str:
        return format_value(self.value, self.unit)

    @property
    def band(self) -> str:
        """The band as `±8 %`, as `−10/+25 %` when lopsided, or a dash when nobody has validated one."""
        if self.low is None or self.high is None or self.value == 0:
            return DASH
        down, up = (self.value - self.low) / abs(self.value), (self.high - self.value) / abs(self.value)
        if math.isclose(down, up, rel_tol=0.05, abs_tol=0.005):
            return f"±{up:.0%}".replace("%", " %")
        return f"−{down:.0%}/+{up:.0%}".replace("%", "", 1).replace("%", " %")

    def to_json(self) -> dict[str, float | str | None]:
        """Return the quantity as JSON values, every field present."""
        return {
            "value": self.value,
            "unit": self.unit,
            "low": self.low,
            "high": self.high,
            "provenance": self.provenance,
            "fidelity": self.fidelity,
        }


def parse(text: str, unit: str) -> Fraction:
    """Return `text` as an exact number of base units: `parse("256 KiB", "B") == 262144`.

    A bare number is taken for sizes and for the unit "" only. Raises `UsageError` (OC1005) with the units there are.
    """
    shown = repr(text[:_TEXT_LIMIT])
    match = _NUMBER.fullmatch(text) if len(text) <= _TEXT_LIMIT else None
    if match is None:
        raise UsageError("OC1005", "unit", f"{shown} is not a number with a unit", next=_examples(unit))
    number, symbol = Fraction(match[1].replace("_", "")), match[2] or ""
    if not symbol and unit in {"", "B"}:
        return number
    if not symbol:
        raise UsageError("OC1005", "unit", f"{shown} has no unit", next=_examples(unit))
    scale = UNITS.get(unit, {}).get(symbol)
    if scale is not None:
        return number * scale
    if unit == "B" and symbol in AMBIGUOUS:
        limit = f"{symbol} may mean 1000s or 1024s"
        raise UsageError("OC1005", "unit", f"{shown} is ambiguous", limit=limit, next=f"Write {AMBIGUOUS[symbol]}")
    hint = did_you_mean(symbol, UNITS.get(unit, {})) or _examples(unit)
    raise UsageError("OC1005", "unit", f"{shown} has an unknown unit '{symbol}' here", next=hint)


def split_number(value: object) -> tuple[float, str] | None:
    """Return a number and its symbol as a file writes them: `"2.5 us"` is (2.5, "us"), 0.9 (0.9, ""); else None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value), ""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) and len(value) <= _TEXT_LIMIT else None
    known = match is not None and any(match[2] in symbols for symbols in UNITS.values())
    return (float(match[1].replace("_", "")), match[2]) if match is not None and known else None


def _examples(unit: str) -> str:
    known = [symbol for symbol in UNITS.get(unit, {}) if symbol.isascii()]
    return f"Write a number with one of {', '.join(known)}" if known else "Write a plain number"


def format_exact(value: Fraction | int, unit: str) -> str:
    """Return `value` base units without rounding, in the largest unit that needs no more than 6 digits after the point.

    Falls back to the smallest unit; a value that is no finite decimal there cannot come from `parse` and is refused.
    """
    exact = Fraction(value)
    symbols = [symbol for symbol in UNITS.get(unit, {"": Fraction(1)}) if symbol.isascii()]
    scales = UNITS.get(unit, {"": Fraction(1)})
    ordered = sorted(symbols, key=lambda symbol: -scales[symbol])  # stable: the first spelling wins
    for symbol in ordered:
        digits = _decimal(exact / scales[symbol], max_places=6)
        if digits and (exact >= scales[symbol] or exact == 0):
            return f"{digits} {symbol}".rstrip()
    smallest = ordered[-1]
    digits = _decimal(exact / scales[smallest], max_places=60)
    if not digits:
        raise InternalError("OC1005", "units", f"{exact} {unit} is no finite decimal")
    return f"{digits} {smallest}".rstrip()


def _decimal(value: Fraction, *, max_places: int) -> str:
    """Return `value` as a plain decimal, or an empty text when it needs more than `max_places` places."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
        if places > max_places:
            return ""
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


_DECIMAL_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))
_BINARY_PREFIXES = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
# unit -> (prefixes, what follows the prefix); a unit that is not here is written as it is, without a prefix
_LADDERS: dict[str, tuple[tuple[tuple[float, str], ...], str]] = {
    "B": (_BINARY_PREFIXES, "B"),
    "B/s": (_DECIMAL_PREFIXES, "B/s"),
    "Hz": (_DECIMAL_PREFIXES, "Hz"),
    "op/s": (_DECIMAL_PREFIXES, "OPS"),
    "op": (_DECIMAL_PREFIXES, "OP"),
    "MAC": (_DECIMAL_PREFIXES, "MAC"),
    "1/s": (_DECIMAL_PREFIXES, "/s"),
    "parameters": (_DECIMAL_PREFIXES, ""),
    "s": (_SMALL_PREFIXES, "s"),
    "J": (_SMALL_PREFIXES, "J"),
    "W": (((1e3, "k"), *_SMALL_PREFIXES), "W"),
    "J/B": (_SMALL_PREFIXES, "J/B"),
    "J/bit": (_SMALL_PREFIXES, "J/bit"),
}
_EXACT_COUNTS = {"cycles", "events", "elements", "instructions"}


def format_value(value: float | Fraction | None, unit: str = "") -> str:
    """Return `value` base units for people: three significant digits and a prefix, a dash for None.

    The unit "%" takes a fraction (0.62 gives `62.0 %`); counts of cycles are written in full, in groups of three.
    """
    if value is None:
        return DASH
    number = float(value)
    if unit == "%":
        return f"{_three_digits(number * 100)} %"
    if unit in _EXACT_COUNTS:
        return f"{round(number):,} {unit}".replace(",", " ")
    if unit not in _LADDERS:
        return f"{_three_digits(number)} {unit}".rstrip()
    prefixes, suffix = _LADDERS[unit]
    scale, prefix = _rung(abs(number), prefixes)
    digits = f"{round(number)}" if unit == "B" and scale == 1.0 else _three_digits(number / scale)
    return f"{digits} {prefix}{suffix}".rstrip()


def format_ratio(numerator: float, denominator: float, unit: str = "") -> str:
    """Return numerator / denominator as `format_value` writes it; a zero denominator gives a dash."""
    return DASH if denominator == 0 else format_value(numerator / denominator, unit)


def _rung(magnitude: float, prefixes: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """Pick the largest prefix whose scale is reached after rounding to three digits (999.7 kB/s is 1.00 MB/s)."""
    if magnitude == 0:
        return next(rung for rung in prefixes if rung[0] == 1.0)
    for scale, prefix in prefixes:
        if float(f"{magnitude / scale:.3g}") >= 1.0:
            return scale, prefix
    return prefixes[-1]


def _three_digits(number: float) -> str:
    """Return three significant digits without an exponent: 323, 12.8, 3.10, 0.00123."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.3g}")
    places = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{min(places, 12)}f}"
