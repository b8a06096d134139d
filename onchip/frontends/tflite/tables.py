"""Functions of one value: in float an op of ours, in int8 and uint8 the 256 results that the reference gives.

In:       an operator of one operand, or an operand that has to take the scale of another tensor.
Out:      its node: our own op where its int8 table is the reference's, else `lookup` with the table as a constant.
Promises: the tables are LiteRT's arithmetic, float32 and fixed point, written in NumPy; they are compared with the
          reference kernels over all 256 values and many scales (tests/frontends/test_tflite_tables.py).
Sources:  LiteRT tflite/kernels/activations.cc, elementwise.cc, internal/common.h (LUTPopulate), reference/*.h
"""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onchip.frontends.tflite.call import Call, More
from onchip.frontends.tflite.walk import Value, params_of
from onchip.numerics import clamp, quantize_multiplier, requantize, rounding_divide_by_pot, srdhm16, srdhm32
from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, AttributeValue, Quantization, Refusal

Ints = NDArray[np.int64]
Table = Callable[[Call, Quantization, Quantization], Ints]
VALUES: Ints = np.arange(-128, 128, dtype=np.int64)
F = np.float32
CURVES, POINTS = ("sigmoid", "tanh"), ("exp", "log", "rsqrt")  # those of int16, too
NO_UINT8 = ("exp", "log", "rsqrt", "abs")  # LiteRT has no kernel


def away(x: ArrayLike) -> NDArray[np.float32]:
    """Round float32 halves away from zero (std::round)."""
    v = np.asarray(x, F)
    return np.sign(v) * np.floor(np.abs(v) + F(0.5))


def _populated(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Table:
    """Give the table of a real function: float32 in, function, float32 times the inverse scale, rounded."""

    def table(_call: Call, px: Quantization, py: Quantization) -> Ints:
        real = F(px.scale[0]) * (VALUES - px.zero_point[0]).astype(F)
        made = function(real.astype(np.float64)).astype(F)
        inverse = F(1.0) / F(py.scale[0])
        with np.errstate(over="ignore", invalid="ignore"):
            steps = away(made * inverse) + F(py.zero_point[0])
        return np.clip(steps, -128, 127).astype(np.int64)

    return table


def ratio(px: Quantization, py: Quantization, factor: float = 1.0) -> tuple[int, int]:
    """Give the multiplier of two scales as LiteRT prepares it, in float32."""
    return quantize_multiplier(float(F(px.scale[0]) * F(factor) / F(py.scale[0])))


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), each step in float32."""
    with np.errstate(over="ignore"):
        return (F(1) / (F(1) + np.exp(-x).astype(F))).astype(np.float64)


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.5 x erfc(-x / sqrt 2), each step in float32 (GeluTransform)."""
    v = x.astype(F)
    inner = v * F(-(0.5**0.5))
    return (F(0.5) * v * np.array([erfc(float(i)) for i in inner], F)).astype(np.float64)


def _gelu_tanh(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0.5 x (1 + tanh(sqrt(2 / pi) x (1 + 0.044715 x^2))), each step in float32 (GeluTransformApproximate)."""
    v = x.astype(F)
    inner = F((2 / np.pi) ** 0.5) * v * (F(1) + F(0.044715) * v * v)
    return (F(0.5) * v * (F(1) + np.tanh(inner.astype(np.float64)).astype(F))).astype(np.float64)


def _gelu_table(call: Call, px: Quantization, py: Quantization) -> Ints:
    return _populated(_gelu_tanh if call.flag(0) else _gelu)(call, px, py)


def _log_table(call: Call, px: Quantization, py: Quantization) -> Ints:
    lowest = float((-128 - py.zero_point[0]) * F(py.scale[0]))

    def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > 0, np.log(np.maximum(x, 1e-300)), lowest)

    return _populated(log)(call, px, py)


def _clamped(steps: Ints, py: Quantization, low: int = -128, high: int = 127) -> Ints:
    return clamp(steps + py.zero_point[0], low, high)


def _leaky_table(call: Call, px: Quantization, py: Quantization) -> Ints:
    x, alpha = VALUES - px.zero_point[0], call.real(0)
    if alpha < 0:
        raise call.refuse(f"with slope {alpha:g}")
    slope = quantize_multiplier(float(F(F(px.scale[0]) * F(alpha)) / F(py.scale[0])))
    near = requantize(x, *ratio(px, py), "double")
    return _clamped(np.where(x >= 0, near, requantize(x, *slope, "double")), py)


def _abs_table(_call: Call, px: Quantization, py: Quantization) -> Ints:
    x = np.abs(VALUES - px.zero_point[0])
    return _clamped(x if px.scale == py.scale else requantize(x, *ratio(px, py), "double"), py)


def _short(multiplier: int) -> int:
    """Give a 31-bit multiplier in 15 bits (DownScaleInt32ToInt16Multiplier)."""
    return min((multiplier + (1 << 15)) >> 16, 0x7FFF)


def _saturate16(x: Ints) -> Ints:
    return clamp(x, -(1 << 15), (1 << 15) - 1)


def _hard_swish_table(call: Call, px: Quantization, py: Quantization) -> Ints:
    """reference_ops::HardSwish: 16-bit fixed point."""
    fine = F(1 / 128) * F(px.scale[0])
    mo, eo = quantize_multiplier(float(fine / F(py.scale[0])))
    mr, er = quantize_multiplier(float(fine / F(3.0 / 32768.0)))
    if eo > 0:
        raise call.refuse("to an output scale below 1/128 of the input's")
    x = (VALUES - px.zero_point[0]) << 7
    scaled = srdhm16(x, _short(mo))
    gate = _saturate16(x << (er - 1)) if er > 0 else x
    gate = srdhm16(gate, _short(mr))
    if er > 0:
        gate = _saturate16(gate << 1)
    elif er < 0:
        gate = rounding_divide_by_pot(gate, -er)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    product = np.sign(product) * (np.abs(product) >> 15)
    return _clamped(rounding_divide_by_pot(product, -eo), py)


def _inverse_root(value: int) -> tuple[int, int]:
    """Give 1/sqrt(value) as a multiplier (GetInvSqrtQuantizedMultiplierExp, reverse_shift -1)."""
    if value <= 1:
        return (1 << 31) - 1, 0
    shift = 11
    while value >= 1 << 29:
        value, shift = value >> 2, shift + 1
    room = 31 - value.bit_length()  # leading zeros of 32 bits, less one
    pairs = room // 2 - 1
    shift -= pairs
    value <<= 2 * pairs
    half = int(rounding_divide_by_pot(value >> 1, 1))
    x, three_halves = 1 << 28, (1 << 28) + (1 << 27)
    for _ in range(5):
        square = srdhm32(x, x)
        cube = clamp(int(srdhm32(square, x)) << 6, -(2**31), 2**31 - 1)
        step = int(srdhm32(three_halves, x)) - int(srdhm32(half, cube))
        x = int(clamp(step << 3, -(2**31), 2**31 - 1))
    x = int(srdhm32(x, 1518500250))  # sqrt(1/2) in Q0.31
    if shift < 0:
        x, shift = x << -shift, 0
    return x, -shift


def _rsqrt_table(_call: Call, px: Quantization, py: Quantization) -> Ints:
    """Values below the zero point stop the reference; they are given as the largest here."""
    q, e = quantize_multiplier(1.0 / float(np.float64(F(np.sqrt(F(px.scale[0])))) * np.float64(F(py.scale[0]))))
    made = np.full(256, 127, np.int64)
    for place, x in enumerate(int(v) for v in VALUES - px.zero_point[0]):
        if x > 0:
            m, shift = _inverse_root(x)
            inner = requantize(1, m, shift + 20, "double")
            made[place] = int(_clamped(requantize(inner, q, e - 20, "double"), py))
    return made


def _relu_table(kind: str) -> Table:
    def table(call: Call, px: Quantization, py: Quantization) -> Ints:
        q, e = quantize_multiplier(float(F(px.scale[0]) / F(py.scale[0])))
        low, high = call.limits(kind)
        return _clamped(requantize(VALUES - px.zero_point[0], q, e, "double"), py, low, high)

    return table


def _dtypes(op: str, table: Table | None) -> tuple[str, ...]:
    if table is None:
        return ("f32",)
    return ("f32", "i8", "i16") if op in (*CURVES, *POINTS) else ("f32", "i8")


def _unary(op: str, table: Table | None, **attributes: AttributeValue) -> Callable[[Call], list[Value]]:
    """Make the rule of a function; without a table it is read in float only."""

    def rule(call: Call) -> list[Value]:
        dtype = call.only(*_dtypes(op, table))
        if call.is_uint8 and dtype == "i8" and op in NO_UINT8:
            raise call.refuse("of uint8")
        if dtype == "i16":
            return [_curve(call, op) if op in CURVES else _by_points(call, _point_function(call))]
        if dtype == "f32" or table is None:
            return [call.write(op, (call.tensor(0),), attributes)]
        wanted = table(call, call.params(0), call.out_params)
        return [by_table(call, op, wanted, attributes)]

    return rule


def _points(function: Callable[[float], float], px: Quantization, py: Quantization) -> Ints:
    """Give the 513 points of a curve of int16, in float32 (LiteRT LUTPopulateInt16)."""
    low, high = F(px.scale[0]) * F(-32768), F(px.scale[0]) * F(32767)
    step = (high - low) / F(512)
    half, inverse = step / F(2), F(65536) / (F(py.scale[0]) * F(32767) - F(py.scale[0]) * F(-32768))

    def at(x: np.float32) -> np.float32:
        return F(function(float(x))) * inverse

    made: list[float] = []
    for i in range(512):
        here, after = at(low + F(i) * step), at(low + F(i + 1) * step)
        middle = at(low + F(i) * step + half)
        error = away((after + away(here)) / F(2)) - away(middle)
        made.append(float(away(here) - away(error / F(2))))
    made.append(float(away(at(high))))
    return np.clip(np.array(made), -32768, 32767).astype(np.int64)


def _by_points(call: Call, function: Callable[[float], float]) -> str:
    px, py = call.params(0), call.out_params
    table = _points(function, px, py).astype(np.int16)
    constant = call.walk.sheet.constant(f"{call.made().name or call.kind}.table", table)
    return call.write("lookup", (call.tensor(0), constant))


def _point_function(call: Call) -> Callable[[float], float]:
    """Give the function that the reference tabulates for int16."""
    py = call.out_params
    lowest, highest = float(F(-32768) * F(py.scale[0])), float(F(32767) * F(py.scale[0]))
    functions: dict[str, Callable[[float], float]] = {
        "EXP": lambda x: exp(min(x, 700.0)),
        "LOG": lambda x: log(x) if x > 0 else lowest,
        "RSQRT": lambda x: float(F(1) / F(x**0.5)) if x > 0 else highest,
    }
    return functions[call.kind]


def _curve(call: Call, op: str) -> str:
    """Sigmoid and tanh of int16 have one output scale."""
    if call.out_params.scale[0] != 1 / 32768:
        raise call.refuse(f"of int16 to scale {call.out_params.scale[0]:g}", limit="2^-15 is read")
    return call.write(op, (call.tensor(0),))


def by_table(call: Call, op: str, table: Ints, attributes: More) -> str:
    """Write our op where it gives this table between these scales, else a lookup."""
    x = call.tensor(0)
    for more in (attributes, {**attributes, "rounding": "double"}):
        own = _own_table(op, more, call.params(0), call.out_params)
        if own is not None and np.array_equal(own, table):
            return call.write(op, (x,), more)
    constant = call.walk.sheet.constant(f"{call.made().name or call.kind}.table", table.astype(np.int8))
    return call.write("lookup", (x, constant))


def _own_table(op: str, attributes: More, px: Quantization, py: Quantization) -> Ints | None:
    entry = OPS.get(op)
    if entry is None or entry.integer is None:
        return None
    try:
        (made,) = entry.integer(Attributes({**entry.defaults, **attributes}), (px,), (py,), VALUES.astype(np.int8))
    except Refusal:
        return None
    return made.astype(np.int64)


def _leaky(call: Call) -> list[Value]:
    return _unary("leaky_relu", _leaky_table, alpha=call.real(0))(call)


def _gelu_rule(call: Call) -> list[Value]:
    return _unary("gelu", _gelu_table, approximate="tanh" if call.flag(0) else "none")(call)


def _relu(call: Call) -> list[Value]:
    """int16 goes through requantize and clip; the others through their table."""
    kind = call.kind.lower()
    if call.dtype() == "i16":
        q = call.out_params
        if kind not in ("relu", "relu6"):
            raise call.refuse("of int16")
        name = f"{call.made().name or call.kind}.rescaled"
        more: More = {"dtype": "i16", "rounding": "double", "multiplier": "f32"}
        x = call.write("requantize", (call.tensor(0),), more, name=name, quantization=q)
        return [call.clipped(x, kind)]
    if kind in ("relu", "relu6"):
        return _unary(kind, _relu_table(kind))(call)
    if call.dtype() == "f32":
        low = -1.0 if kind == "relu_n1_to_1" else 0.0
        return [call.write("clip", (call.tensor(0),), low=low, high=1.0)]
    return _unary("clip", _relu_table(kind))(call)


def matched(call: Call, place: int, suffix: str) -> str:
    """Give an operand at the scale of the output; uint8 is rescaled by a table as CONCATENATION does it."""
    x = call.tensor(place)
    if not call.is_quantized:
        return x
    px, py = params_of(call.info(place)), call.out_params
    if px is None or call.info(place).kind != call.made().kind:
        raise call.contradiction(f"joins {call.info(place).kind} and {call.made().kind}")
    if px == py:
        return x
    if not call.is_uint8 or call.kind != "CONCATENATION":
        raise call.refuse(f"operands of other scales than the output: {px.scale[0]:g} and {py.scale[0]:g}")
    scale = F(px.scale[0]) * (F(1.0) / F(py.scale[0]))
    bias = -F(px.zero_point[0] + 128) * scale
    steps = away((VALUES + 128).astype(F) * scale + bias).astype(np.int64) + py.zero_point[0] + 128
    table = (np.clip(steps, 0, 255) - 128).astype(np.int8)
    name = f"{call.made().name or call.kind}.{suffix}"
    constant = call.walk.sheet.constant(f"{name}.table", table)
    return call.walk.sheet.node("lookup", (x, constant), name, quantization=py, out_dtype="i8")


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "LOGISTIC": _unary("sigmoid", _populated(_logistic)), "TANH": _unary("tanh", _populated(np.tanh)),
    "ELU": _unary("elu", None),
    "EXP": _unary("exp", _populated(lambda x: np.exp(np.minimum(x, 700)))), "LOG": _unary("log", _log_table),
    "GELU": _gelu_rule, "LEAKY_RELU": _leaky, "HARD_SWISH": _unary("hard_swish", _hard_swish_table),
    "ABS": _unary("abs", _abs_table), "RSQRT": _unary("rsqrt", _rsqrt_table),
    "RELU": _relu, "RELU6": _relu, "RELU_N1_TO_1": _relu, "RELU_0_TO_1": _relu,
    "SQRT": _unary("sqrt", None), "NEG": _unary("neg", None), "SIN": _unary("sin", None), "COS": _unary("cos", None),
    "FLOOR": _unary("floor", None), "CEIL": _unary("ceil", None), "ROUND": _unary("round", None),
    "SIGN": _unary("sign", None),
}  # fmt: skip
