"""Floats on the machine: how they stand in memory, and what the lanes of a float program do with them.

In: bytes of an operand type, or float32 arrays. Out: float32 arrays, or bytes. This is the definition, used by
`Instruction.run`; compiled code is tested against it. A program is in integers or in floats as a whole: its dtype says
which.

In a float program lanes and accumulator words are IEEE float32. bf16, f16, f32, tf32 and fp8 (E4M3 without infinities)
convert to it exactly when they are read, and are rounded to nearest even when they are written: fp8 saturates at 448,
bf16 and f16 overflow to infinity, subnormal numbers are kept in all of them. i8, i16 and i32 are read as the numbers
that they are (i32 rounded to float32), and written rounded to nearest even and saturated, a NaN as 0. tf32 stands in
memory as f32; WLD and MM round it to 10 bits of mantissa, to nearest even. An immediate is the bits of a float32.
Every operation is rounded to nearest even by itself; mac and the sums of MM and RED round the product and then the sum.
Which NaN comes out of an operation is not defined; a narrow type is written as its positive quiet NaN.

Sources: IEEE 754-2019; bfloat16: Wang and Kanwar 2019; tf32: NVIDIA A100 whitepaper 2020; E4M3: OCP 8-bit floating
point specification 1.0, table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import round_float

BF16, F16, F32, F8, TF32 = 4, 5, 6, 7, 8
DTYPES = {BF16: "bf16", F16: "f16", F32: "f32", F8: "fp8"}
PROGRAM_TYPES = {"bf16": BF16, "fp16": F16, "fp32": F32, "tf32": TF32, "fp8": F8}  # of a program's dtype
FLOAT_TYPES = (BF16, F16, F32, F8, TF32)
INTEGERS = {0: np.int8, 1: np.int16, 2: np.int32}
Floats = NDArray[np.float32]


def read_floats(kind: int, data: NDArray[np.uint8]) -> Floats:
    """Return the numbers that bytes of an operand type stand for."""
    if kind in INTEGERS:
        return data.view(INTEGERS[kind]).astype(np.float32)
    if kind in (F32, TF32):
        return data.view(np.float32).copy()
    if kind == F16:
        return data.view(np.float16).astype(np.float32)
    if kind == BF16:
        return (data.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return FP8_VALUES[data]


def _fp8_value(code: int) -> float:
    exponent, mantissa = code >> 3 & 15, code & 7
    if code & 127 == 127:
        return math.nan
    size = (8 + mantissa) * 2.0 ** (exponent - 10) if exponent else mantissa * 2.0**-9
    return -size if code & 128 else size


FP8_VALUES = np.array([_fp8_value(code) for code in range(256)], np.float32)
FP8_VALUES.flags.writeable = False


def write_floats(kind: int, values: Floats) -> NDArray[np.uint8]:
    """Return the bytes of numbers in an operand type, rounded as a write rounds them."""
    if kind in (F32, TF32):
        return np.ascontiguousarray(values).view(np.uint8)
    if kind in INTEGERS:
        limits, wide = np.iinfo(INTEGERS[kind]), np.where(np.isnan(values), 0, values).astype(np.float64)
        return np.rint(np.clip(wide, limits.min, limits.max)).astype(INTEGERS[kind]).view(np.uint8)
    with np.errstate(all="ignore"):
        rounded = np.where(np.isnan(values), np.float32(math.nan), round_float(values, DTYPES[kind]))
    if kind == F16:
        return rounded.astype(np.float16).view(np.uint8)
    if kind == BF16:
        return (rounded.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
    return _fp8_codes(rounded)


def _fp8_codes(values: Floats) -> NDArray[np.uint8]:
    """Return the codes of numbers that fp8 has."""
    size = np.abs(values)
    codes = np.searchsorted(FP8_VALUES[:127], np.where(np.isnan(size), 0, size)).astype(np.uint8)
    codes = np.where(np.isnan(size), np.uint8(127), codes)
    return codes | (np.signbit(values) & ~np.isnan(size)).astype(np.uint8) << np.uint8(7)


def matrix_operand(kind: int, values: Floats) -> Floats:
    """Return what the matrix unit takes of the numbers it reads."""
    return round_float(values, "tf32") if kind == TF32 else values


def multiply_add(sums: Floats, x: Floats, weights: Floats) -> Floats:
    """Return sums + x @ weights: for each input in order the product is rounded, then the sum."""
    with np.errstate(all="ignore"):
        for one, row in zip(x, weights, strict=True):
            sums = sums + one * row
    return sums


def reduce(sub: int, x: Floats) -> Floats:
    """Return one value: the sum, the maximum or the sum of squares, lane after lane from 0 (the maximum: lane 0)."""
    with np.errstate(all="ignore"):
        if sub == 1:
            top = x[0]
            for value in x[1:]:
                top = value if top <= value else top
            return np.array([top], np.float32)
        parts = x * x if sub == 2 else x
        return np.add.accumulate(np.concatenate([np.zeros(1, np.float32), parts]))[-1:]


# --- lane operations --------------------------------------------------------------------------------------------------
def _bitwise(x: Floats, y: Floats) -> Floats:
    return (x.view(np.uint32) & y.view(np.uint32)).view(np.float32)


def _each(function: Callable[[float], float]) -> Callable[[Floats, Floats], Floats]:
    """Return a function of a in float64 (the C library's), rounded to float32."""
    many = np.frompyfunc(function, 1, 1)
    return lambda x, _y: np.asarray(many(x.astype(np.float64)), np.float64).astype(np.float32)


def _exp(x: float) -> float:
    return math.inf if x > 709.0 else math.exp(x)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def _turn(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: function(x) if math.isfinite(x) else math.nan


def _pow(x: Floats, y: Floats) -> Floats:
    return np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)


def _divide(x: Any, y: Any) -> Floats:
    return (x / y).astype(np.float32)


def _sqrt(x: Floats) -> NDArray[np.float64]:
    return np.sqrt(x.astype(np.float64))


LANES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "max": lambda x, y: np.where(x <= y, y, x),
    "min": lambda x, y: np.where(x >= y, y, x),
    "copy": lambda x, _y: x,
    "gt": lambda x, y: (x > y).astype(np.float32),
    "and": _bitwise,
    "exp": _each(_exp),
    "erf": _each(math.erf),
    "tanh": _each(math.tanh),
    "sigmoid": _each(lambda x: 1.0 / (1.0 + _exp(-x))),
    "rsqrt": lambda x, _y: _divide(1.0, _sqrt(x)),
    "recip": lambda x, _y: _divide(np.float32(1), x),
    "div": _divide,
    "gelu": _each(lambda x: 0.5 * x * math.erfc(-x * math.sqrt(0.5))),
    "silu": _each(lambda x: x / (1.0 + _exp(-x))),
    "sqrt": lambda x, _y: _sqrt(x).astype(np.float32),
    "pow": _pow,
    "log": _each(_log),
    "floor": lambda x, _y: np.floor(x),
    "ceil": lambda x, _y: np.ceil(x),
    "round": lambda x, _y: np.rint(x),
    "sin": _each(_turn(math.sin)),
    "cos": _each(_turn(math.cos)),
}


def operate(name: str, x: Floats, y: Floats) -> Floats:
    """Return x op y lane by lane. Raises KeyError for an operation that floats do not have."""
    with np.errstate(all="ignore"):
        return LANES[name](x, y)
