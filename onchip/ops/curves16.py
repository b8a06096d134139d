"""Sigmoid, tanh and softmax of int16 as LiteRT's reference kernels have them: tables and straight lines between.

In: int16 of zero point 0 and its scale. Out: int16 at scale 2^-15, zero point 0.
Promises: bit for bit LiteRT's (16x8 networks): sigmoid and tanh from one table of sigmoid at steps of 1/24; softmax
from tables of exp over [-10, 0] and of 1/(1 + x) over [0, 1], 512 steps each.
Sources: LiteRT integer_ops/logistic.h, integer_ops/tanh.h, reference/softmax.h, internal/common.h (LUTPopulate).
"""

from collections.abc import Callable
from functools import cache
from math import exp, floor, log2

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import INT16_MAX, INT16_MIN, Integers, clamp, clz, quantize_multiplier, requantize, wide
from onchip.ops.types import Array, Refusal

OUTPUT_SCALE = 1.0 / 32768.0
STEPS = 512


@cache
def _sigmoid_table() -> Integers:
    """Tabulate 2^16 sigmoid(i / 24) for i = 0..255, moved half way towards where lines between entries err least."""

    def curve(i: float) -> float:
        return 65536.0 / (1.0 + exp(-i / 24.0))

    def bend(low: float) -> float:
        return curve(low + 0.5) - (curve(low) + curve(low + 1.0)) / 2.0

    inner = [floor(curve(i) + (bend(i) + bend(i - 1)) / 4.0 + 0.5) for i in range(255)]
    return np.array([*inner, 65535], np.int64)


def _steps(x: Array, scale: float, powers: tuple[int, ...]) -> Integers:
    """Bring the input to steps of 1/12288; scales 2^-12 (and 2^-11 for tanh) by a shift, others by 15 bits."""
    nearest = round(log2(scale))
    shift = 12 + nearest
    if abs(log2(scale) - nearest) < 1e-3 and shift in powers:  # LiteRT CheckedLog2
        return wide(x) * (3 << shift)
    multiplier, left = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and left <= 30:
        multiplier, left = multiplier * 2.0, left + 1
    return (wide(x) * int(multiplier) + ((1 << left) >> 1)) >> left


def sigmoid16(x: Array, scale: float) -> NDArray[np.int16]:
    """Give sigmoid."""
    v = _steps(x, scale, (0,))
    size, table = np.abs(v), _sigmoid_table()
    cell = np.minimum(size >> 9, 254)
    line = (table[cell] << 9) + (size & 0x1FF) * (table[cell + 1] - table[cell])
    line = np.where(size >> 9 >= 255, 0x7FFF << 10, line)
    y = np.where(v >= 0, line + (1 << 9), (1 << 25) - line + (1 << 9) - 1)
    return (y >> 10).astype(np.int16)


def tanh16_table(x: Array, scale: float) -> NDArray[np.int16]:
    """Give tanh, as 2 sigmoid(2x) - 1."""
    v = _steps(x, scale, (0, 1))
    size, table = np.abs(v), _sigmoid_table()
    cell = np.minimum(size >> 8, 254)
    line = (table[cell] << 8) + (size & 0xFF) * (table[cell + 1] - table[cell])
    line = np.where(size >> 8 >= 255, 0xFFFF << 8, line)
    y = np.where(v >= 0, line - (1 << 23) + (1 << 7), -line + (1 << 23) + (1 << 7) - 1)
    return (y >> 8).astype(np.int16)


def _away(x: float) -> float:
    return floor(abs(x) + 0.5) * (1 if x >= 0 else -1)


def _table(function: Callable[[float], float], low: float, high: float) -> Integers:
    """Tabulate a function over [low, high] at 2^15, each entry moved by half the error of the line at its middle."""
    step, inverse = (high - low) / STEPS, 65536.0 / (2.0 / 65535.0 * 65535.0)
    made: list[float] = []
    for i in range(STEPS):
        here, middle, after = (function(low + i * step + d) for d in (0.0, step / 2, step))
        error = _away((after * inverse + _away(here * inverse)) / 2) - _away(middle * inverse)
        made.append(_away(here * inverse) - _away(error / 2))
    made.append(_away(function(high) * inverse))
    return clamp(np.array(made), INT16_MIN, INT16_MAX)


@cache
def softmax16_tables() -> tuple[Integers, Integers]:
    """Give the tables of exp over [-10, 0] and of 1 / (1 + x) over [0, 1]."""
    unit = 10.0 / 65535.0
    reciprocal = 1.0 / 65535.0
    return (
        _table(exp, unit * (INT16_MIN - INT16_MAX), unit * (INT16_MAX - INT16_MAX)),
        _table(lambda x: 1.0 / (1.0 + x), 0.0, reciprocal * 65535.0),
    )


def _look_up(value: Integers, table: Integers) -> Integers:
    """Read a table of 512 steps at an int16, on the line between two entries."""
    cell = 256 + (value >> 7)
    return table[cell] + (((table[cell + 1] - table[cell]) * (value & 0x7F) + 64) >> 7)


def softmax16(x: Array, scale: float) -> NDArray[np.int16]:
    """Give softmax over the last axis."""
    if x.shape[-1] > 1 << 15:
        raise Refusal("OC1333", f"int16 softmax over {x.shape[-1]} entries; its sum holds {1 << 15}")
    exps, reciprocals = softmax16_tables()
    away = wide(x) - wide(x).max(axis=-1, keepdims=True)
    steps = requantize(away, *quantize_multiplier(scale / (10.0 / 65535.0)), "double")
    e = _look_up(clamp(steps + 32767, INT16_MIN, INT16_MAX), exps)
    total = e.sum(axis=-1, keepdims=True)
    room = clz(total)
    shifted = ((total << (room - 1)) + (1 << 13)) >> 14
    factor = _look_up(clamp(shifted - (1 << 15) - (1 << 16), INT16_MIN, INT16_MAX), reciprocals)
    down = 31 - room
    return clamp((e * factor + (wide(1) << (down - 1))) >> down, 0, INT16_MAX).astype(np.int16)
