"""The vector unit's instructions: requantize, lane operations, reductions and table lookups.

All walk rows of n lanes with up to three operands: a and b are read, d is written; each has a type (bytes, 16-bit or
32-bit words of local memory, or accumulator words), a stride for each of the three row counters in its memory's own
unit (bytes or words), and a step along the lanes: 1, or 0 for one value that serves the whole row. Lanes are 32-bit
two's complement; a write to a narrower type saturates. Rows are done in order and the lanes of a row at once, so an
instruction may read what an earlier row of it wrote. The unit works on one instruction at a time.

In a float program lanes are float32, and there are no RQ and LUT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip import numerics
from onchip.isa import floats
from onchip.isa.fields import VECTOR, Affine
from onchip.isa.instructions import ZERO, Indices, Instruction, extent
from onchip.isa.memory import I32, Memory, row_offsets, wrap32

Lanes = NDArray[np.int64]
PARAMETER_BYTES = 12  # bias, multiplier, shift: three 32-bit words a channel
SINGLE, DOUBLE, FP32 = 0, 1, 2  # rounding modes, in the low bits of RQ's `sub`
PER_LANE = 4  # bit of RQ's `sub`: parameters stand in local memory, one triple a lane
ROUNDING = {"single": SINGLE, "double": DOUBLE, "fp32": FP32}

VOPS = {
    name: code
    for code, name in enumerate(
        (
            "add",
            "sub",
            "mul",
            "mulh32",
            "mulh16",
            "max",
            "min",
            "shl",
            "sra",
            "rshr",
            "copy",
            "mac",
            "clz",
            "gt",
            "and",
            "shls",
        )
    )
}
FLOAT_VOPS = {
    name: 64 + code
    for code, name in enumerate(
        ("exp", "erf", "tanh", "sigmoid", "rsqrt", "recip", "div", "gelu", "silu", "sqrt", "pow", "log", "floor",
         "ceil", "round", "sin", "cos")
    )
}  # fmt: skip
NAMES = {code: name for name, code in (VOPS | FLOAT_VOPS).items()}
REDUCTIONS = {"sum": 0, "max": 1, "sumsq": 2}
RQ_RATE, RED_RATE, LUT_RATE = 200, 201, 202  # where their rates stand in the machine array


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorInstruction(Instruction):
    """What the vector instructions share; see the module docstring.

    Fields:
        rows0 rows1 rows2: row counts
        n: lanes a row
        a_type d_type b_type: types of the operands
        a0 a1 a2: strides of a
        d0 d1 d2: strides of d
        b0 b1 b2: strides of b
        a_step b_step: 1, or 0 for one value a row
        a d b: addresses of the operands
        left0 left1 left2: what is left of rows0, rows1, rows2
        n_left: what is left of n
    """

    QUEUES = (VECTOR,)
    rows0: int = 1
    rows1: int = 1
    rows2: int = 1
    n: int = 0
    a_type: int = 0
    a0: int = 0
    a1: int = 0
    a2: int = 0
    a_step: int = 1
    d_type: int = 0
    d0: int = 0
    d1: int = 0
    d2: int = 0

    def shape(
        self, at: Indices, core: tuple[int, int, int], left: tuple[Affine, ...]
    ) -> tuple[tuple[int, int, int], int]:
        """Return the clipped row counts and lanes."""
        rows = (
            extent(self.rows0, left[0], at, core),
            extent(self.rows1, left[1], at, core),
            extent(self.rows2, left[2], at, core),
        )
        return rows, extent(self.n, left[3], at, core)


def in_integers(x: Instruction, memory: Memory) -> None:
    """Refuse an instruction that a float program does not have."""
    if memory.is_float:
        raise ValueError(f"{x.NAME} in a float program")


@dataclass(frozen=True, slots=True, kw_only=True)
class RQ(VectorInstruction):
    """Requantize: d = clamp(scale(((a - zero_in) + bias) << left) + zero_out, low, high).

    The sum and the shift wrap at 32 bits. `scale` multiplies by multiplier * 2**(shift - 31) in the rounding mode sub &
    3: 0 single, 1 double, 2 float32 (the multiplier is the bits of a float32); see arithmetic.md. With bit 2 of sub
    (value 4) bias, multiplier and shift of lane j stand as three 32-bit words at local address b + 12*j; otherwise they
    are the fields. ReLU and ReLU6 are `low` and `high`.

    Fields:
        zero_in: subtracted from a
        left: left shift before scaling, 0 to 31
        bias: added to a
        multiplier shift: the scale, -31 <= shift <= 30
        zero_out: added after scaling
        low high: limits of the result
        b: address of the parameters of lane 0, for sub & 4
    """

    OP, NAME = 5, "RQ"
    zero_in: int = 0
    left: int = 0
    bias: int = 0
    multiplier: int = 0
    shift: int = 0
    zero_out: int = 0
    low: int = -128
    high: int = 127
    a: Affine = ZERO
    d: Affine = ZERO
    b: Affine = ZERO
    left0: Affine = ZERO
    left1: Affine = ZERO
    left2: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        counts, n = self.shape(at, memory.core, (self.left0, self.left1, self.left2, self.n_left))
        if n == 0:
            return
        in_integers(self, memory)
        bias, multiplier, shift = self.parameters(memory, at, n)
        mode = ("single", "double", "fp32")[self.sub & 3]
        a, d = self.a.at(at, memory.core), self.d.at(at, memory.core)
        for da, dd in row_offsets(counts, (self.a0, self.a1, self.a2), (self.d0, self.d1, self.d2)):
            value = memory.load(self.a_type, a + da, n, self.a_step) - self.zero_in + bias
            value = wrap32(wrap32(value).astype(np.int64) << self.left).astype(np.int64)
            scaled = numerics.requantize(value, multiplier, shift, mode)
            memory.store(self.d_type, d + dd, np.clip(scaled + self.zero_out, self.low, self.high))

    def parameters(self, memory: Memory, at: Indices, n: int) -> tuple[Lanes, Lanes, Lanes]:
        if self.sub & PER_LANE:
            table = memory.load(I32, self.b.at(at, memory.core), 3 * n).reshape(n, 3)
            return table[:, 0], table[:, 1], table[:, 2]
        return np.full(n, self.bias), np.full(n, self.multiplier), np.full(n, self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class VOP(VectorInstruction):
    """Lane operation d = a op b; b is an operand, or the field `immediate` where `has_immediate` is 1.

    In an integer program all wrap at 32 bits, shift counts are 0 to 31, and there are no subs from 64.

    In a float program there are add, sub, mul, max, min, copy, mac, gt (1.0 or 0.0), `and` on the bits of the float32
    numbers, and the functions from 64. max is b where a <= b, otherwise a; min is b where a >= b, otherwise a: a NaN
    in a stays, one in b is lost. mac rounds the product and then the sum. The functions are computed in float64 and
    rounded to float32: sigmoid 1/(1+exp(-a)), recip 1/a, div a/b, gelu a/2*erfc(-a/sqrt(2)), silu a/(1+exp(-a)), pow a
    to the power of b, log the natural one, round to the nearest integer, halves to even.

    Operations:
        add: a + b
        sub: a - b
        mul: low 32 bits of a * b
        mulh32: saturating rounding doubling high multiply, (a*b + 2^30) >> 31
        mulh16: the same on 16-bit values, (a*b + 2^14) >> 15
        max: the larger of both, signed
        min: the smaller of both, signed
        shl: a << b
        sra: a >> b, rounds down
        rshr: a / 2^b, halves away from zero
        copy: a
        mac: d + a * b; d is read as well
        clz: leading zero bits of a, 32 for 0
        gt: 1 where a > b, otherwise 0
        and: bit by bit
        shls: a << b, saturated to 32 bits

    Fields:
        immediate: b, the same for all lanes
        has_immediate: 1 where b is the immediate
    """

    OP, NAME = 6, "VOP"
    b_type: int = 0
    b0: int = 0
    b1: int = 0
    b2: int = 0
    b_step: int = 1
    immediate: int = 0
    has_immediate: int = 0
    a: Affine = ZERO
    d: Affine = ZERO
    b: Affine = ZERO
    left0: Affine = ZERO
    left1: Affine = ZERO
    left2: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        counts, n = self.shape(at, memory.core, (self.left0, self.left1, self.left2, self.n_left))
        if n == 0:
            return
        a, b, d = (operand.at(at, memory.core) for operand in (self.a, self.b, self.d))
        strides = ((self.a0, self.a1, self.a2), (self.b0, self.b1, self.b2), (self.d0, self.d1, self.d2))
        for da, db, dd in row_offsets(counts, *strides):
            x = memory.load(self.a_type, a + da, n, self.a_step)
            y = self.constant(memory, n) if self.has_immediate else memory.load(self.b_type, b + db, n, self.b_step)
            z = memory.load(self.d_type, d + dd, n) if self.sub == VOPS["mac"] else x
            result = _float_lanes(self.sub, x, y, z) if memory.is_float else _integer_lanes(self.sub, x, y, z)
            memory.store(self.d_type, d + dd, result)

    def constant(self, memory: Memory, n: int) -> NDArray[Any]:
        """Return the immediate for n lanes."""
        words = np.full(n, self.immediate)
        return wrap32(words).view(np.float32) if memory.is_float else words


def _integer_lanes(sub: int, x: Lanes, y: Lanes, z: Lanes) -> Lanes:
    return wrap32(z + x * y if sub == VOPS["mac"] else MEANINGS[sub](x, y)).astype(np.int64)


def _float_lanes(sub: int, x: floats.Floats, y: floats.Floats, z: floats.Floats) -> floats.Floats:
    if sub == VOPS["mac"]:
        return floats.operate("add", z, floats.operate("mul", x, y))
    return floats.operate(NAMES[sub], x, y)


def _rounding_shift(x: Lanes, y: Lanes) -> Lanes:
    return numerics.rounding_divide_by_pot(x, y)


MEANINGS: dict[int, Callable[[Lanes, Lanes], Lanes]] = {
    VOPS["add"]: lambda x, y: x + y,
    VOPS["sub"]: lambda x, y: x - y,
    VOPS["mul"]: lambda x, y: x * y,
    VOPS["mulh32"]: numerics.srdhm32,
    VOPS["mulh16"]: numerics.srdhm16,
    VOPS["max"]: np.maximum,
    VOPS["min"]: np.minimum,
    VOPS["shl"]: lambda x, y: x << y,
    VOPS["sra"]: lambda x, y: x >> y,
    VOPS["rshr"]: _rounding_shift,
    VOPS["copy"]: lambda x, y: x,
    VOPS["clz"]: lambda x, y: numerics.clz(x),
    VOPS["gt"]: lambda x, y: (x > y).astype(np.int64),
    VOPS["and"]: lambda x, y: x & y,
    VOPS["shls"]: lambda x, y: np.clip(x << y, -(2**31), 2**31 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RED(VectorInstruction):
    """Reduction across the lanes of each row: one value a row, wrapping at 32 bits, to lane 0 of d. sub 0 sum, 1
    maximum, 2 sum of squares.

    In integers the order of the lanes does not matter. In a float program the sums start at 0 and take lane after lane
    in ascending order, the square rounded first; the maximum starts at lane 0 and takes lane j where it is not less.
    `b` is not used.
    """

    OP, NAME = 7, "RED"
    a: Affine = ZERO
    d: Affine = ZERO
    b: Affine = ZERO
    left0: Affine = ZERO
    left1: Affine = ZERO
    left2: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        counts, n = self.shape(at, memory.core, (self.left0, self.left1, self.left2, self.n_left))
        if n == 0:
            return
        a, d = self.a.at(at, memory.core), self.d.at(at, memory.core)
        for da, dd in row_offsets(counts, (self.a0, self.a1, self.a2), (self.d0, self.d1, self.d2)):
            x = memory.load(self.a_type, a + da, n, self.a_step)
            if memory.is_float:
                memory.store(self.d_type, d + dd, floats.reduce(self.sub, x))
                continue
            value = (x.sum(), x.max(), (x * x).sum())[self.sub]
            memory.store(self.d_type, d + dd, wrap32(np.array([value])).astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class LUT(VectorInstruction):
    """Table lookup: d = table[clamp(a + offset, 0, 255)], a table of 256 32-bit words at local address b.

    Fields:
        offset: added to a: 128 for a table over int8
        b: address of the table in local memory
    """

    OP, NAME = 8, "LUT"
    offset: int = 0
    a: Affine = ZERO
    d: Affine = ZERO
    b: Affine = ZERO
    left0: Affine = ZERO
    left1: Affine = ZERO
    left2: Affine = ZERO
    n_left: Affine = ZERO

    def run(self, memory: Memory, at: Indices) -> None:
        counts, n = self.shape(at, memory.core, (self.left0, self.left1, self.left2, self.n_left))
        if n == 0:
            return
        in_integers(self, memory)
        table = memory.load(I32, self.b.at(at, memory.core), 256)
        a, d = self.a.at(at, memory.core), self.d.at(at, memory.core)
        for da, dd in row_offsets(counts, (self.a0, self.a1, self.a2), (self.d0, self.d1, self.d2)):
            x = memory.load(self.a_type, a + da, n, self.a_step)
            memory.store(self.d_type, d + dd, table[np.clip(x + self.offset, 0, 255)])
