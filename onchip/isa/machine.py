"""A chip as the flat array of integers that durations are computed from.

In: a Chip and a dtype. Out: an int64 array, indexed as `timing.py` says. Rates are rational (numerator and
denominator), everything counts cycles of the core clock. Vector operations are looked up by the name that chip files
use.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import NotSupported
from onchip.isa import timing
from onchip.isa.vector import FLOAT_VOPS, LUT_RATE, RED_RATE, RQ_RATE, VOPS

DATAFLOWS = {"weight_stationary": 0, "output_stationary": 1, "dot_product": 2}
RATE_NAMES = {  # the operation of a chip file whose rate a vector operation runs at
    "add": "add", "sub": "sub", "mul": "mul", "mulh32": "mulh", "mulh16": "mulh", "max": "max", "min": "min",
    "shl": "shift", "sra": "shift", "rshr": "shift", "shls": "shift", "copy": "copy", "mac": "mac", "clz": "clz",
    "gt": "max", "and": "add", "exp": "exp", "erf": "erf", "tanh": "tanh", "sigmoid": "sigmoid", "rsqrt": "sqrt",
    "recip": "div", "div": "div", "gelu": "erf", "silu": "sigmoid", "sqrt": "sqrt", "pow": "exp", "log": "exp",
    "floor": "copy", "ceil": "copy", "round": "copy", "sin": "exp", "cos": "exp",
}  # fmt: skip


@functools.cache
def machine_of(chip: Chip, dtype: str) -> NDArray[np.int64]:
    """Return the machine array of one core for a dtype (`int8`, `bf16` ...). Raises NotSupported for an absent one."""
    m = np.zeros(timing.MACHINE_SIZE, np.int64)
    array, matrix = chip.matrix.array(dtype, chip.name), chip.matrix
    if matrix.dataflow not in DATAFLOWS:
        raise NotSupported("OC1304", chip.name, f"dataflow {matrix.dataflow} has no durations yet")
    m[timing.DATAFLOW] = DATAFLOWS[matrix.dataflow]
    m[timing.UNITS], m[timing.SERIAL] = matrix.units, matrix.weight_load == "serial"
    if array.unit == "vector":
        m[timing.DATAFLOW] = timing.DOT_PRODUCT
        m[timing.NATIVE_M], m[timing.NATIVE_N], m[timing.NATIVE_K] = 1, int(chip.vector.rate("mac")), 1
        m[timing.UNITS] = 1
    elif array.native is not None:
        m[timing.NATIVE_M], m[timing.NATIVE_N], m[timing.NATIVE_K] = array.native
    else:
        m[timing.ROWS], m[timing.COLUMNS] = array.rows or 0, array.cols or 0
    local = chip.local
    for at, rate in (
        (timing.READ_NUM, Fraction(local.read_bytes_per_cycle)),
        (timing.WRITE_NUM, Fraction(local.write_bytes_per_cycle)),
        (timing.WEIGHT_NUM, Fraction(local.weight_read_bytes_per_cycle)),
        (timing.DRAM_NUM, chip.dram_bytes_per_cycle),
    ):
        m[at], m[at + 1] = rate.numerator, rate.denominator
    _shared(chip, m)
    m[timing.DRAM_LATENCY] = chip.latency_cycles()
    in_flight = chip.cores.bytes_in_flight
    cap = Fraction(in_flight, max(1, chip.latency_cycles())) if in_flight else Fraction(1 << 20)
    m[timing.CORE_NUM], m[timing.CORE_DEN] = cap.numerator, cap.denominator
    m[timing.BARRIER_CYCLES] = chip.cycles(chip.launch.in_graph_s) + chip.cycles(chip.sync.all_cores_s)
    m[timing.LANES], m[timing.CORES] = chip.vector.lanes, chip.cores.count
    m[timing.RATES :] = chip.vector.lanes
    for name, code in (VOPS | FLOAT_VOPS).items():
        m[timing.RATES + code] = max(1, int(chip.vector.rate(RATE_NAMES[name])))
    for name, code in (("requantize", RQ_RATE), ("reduce", RED_RATE), ("lut", LUT_RATE)):
        m[timing.RATES + code] = max(1, int(chip.vector.rate(name)))
    m.setflags(write=False)
    return m


def _shared(chip: Chip, m: NDArray[np.int64]) -> None:
    if chip.shared:
        rate = Fraction(chip.shared[0].bandwidth_bytes_per_s, chip.clock_hz)
        m[timing.SHARED_NUM], m[timing.SHARED_DEN] = rate.numerator, rate.denominator
    else:
        m[timing.SHARED_NUM], m[timing.SHARED_DEN] = 0, 1


def columns(m: NDArray[np.int64]) -> int:
    """Return how many output channels one matmul instruction may have; 0 is no limit."""
    return int(m[timing.COLUMNS] * m[timing.UNITS]) if m[timing.DATAFLOW] == timing.WEIGHT_STATIONARY else 0


def depth(m: NDArray[np.int64]) -> int:
    """Return how many inputs one matmul instruction may sum over; 0 is no limit."""
    return int(m[timing.ROWS]) if m[timing.DATAFLOW] == timing.WEIGHT_STATIONARY else 0
