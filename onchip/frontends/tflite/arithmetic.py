"""Arithmetic of two tensors, reductions, comparisons, softmax, and changes of type.

In:       an operator.
Out:      its node, with LiteRT's rounding: `double`, MUL with its multiplier made in float32.
Promises: what is of integers without scale (ids, shapes) is exact; what is quantized is the reference's, or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from onchip.frontends.tflite.arrange import axis_in
from onchip.frontends.tflite.call import Call, More
from onchip.frontends.tflite.walk import Value, dtype_of, params_of
from onchip.ops.types import AttributeValue

NUMBERS = ("f32", "i8", "i16", "i32", "i64")
Rule = Callable[[Call], list[Value]]


def _same_types(call: Call, *dtypes: str) -> str:
    dtype = call.only(*dtypes)
    if call.dtype(1) != dtype or call.info(0).kind != call.info(1).kind:
        raise call.refuse(f"of {call.info(0).kind} and {call.info(1).kind}")
    return dtype


def _is_power_of_two(scale: float) -> bool:
    return bool(np.frexp(scale)[0] == 0.5)


def _sum(call: Call) -> list[Value]:
    """ADD and SUB. int16 tensors whose scales are all powers of two have a kernel of their own, which is not read."""
    dtype = _same_types(call, *NUMBERS)
    activation = call.activation(0)
    more: dict[str, AttributeValue] = {}
    if call.is_quantized:
        more["rounding"] = "double"
        params = (call.params(0), call.params(1), call.out_params)
        if dtype == "i16" and call.flag(1, default=True) and all(_is_power_of_two(p.scale[0]) for p in params):
            raise call.refuse("of int16 at scales that are powers of two", limit="pot_scale_int16 = false is read")
    elif dtype in ("i8", "i16"):
        raise call.refuse(f"of {call.info(0).kind} without scale")
    op = {"ADD": "add", "SUB": "sub"}[call.kind]
    return [call.activated(op, (call.tensor(0), call.tensor(1)), activation, more)]


def _mul(call: Call) -> list[Value]:
    dtype = _same_types(call, *NUMBERS)
    more: dict[str, AttributeValue] = {}
    if call.is_quantized:
        more = {"rounding": "double", "multiplier": "f32"}
    elif dtype in ("i8", "i16"):
        raise call.refuse(f"of {call.info(0).kind} without scale")
    return [call.activated("mul", (call.tensor(0), call.tensor(1)), call.activation(0), more)]


def _float_binary(op: str, *dtypes: str, is_fused: bool = False) -> Rule:
    def rule(call: Call) -> list[Value]:
        _same_types(call, *dtypes)
        inputs = (call.tensor(0), call.tensor(1))
        return [call.activated(op, inputs, call.activation(0)) if is_fused else call.write(op, inputs)]

    return rule


def _extreme(op: str) -> Rule:
    """MAXIMUM and MINIMUM compare bits; the scales of operands and output are one."""

    def rule(call: Call) -> list[Value]:
        _same_types(call, *NUMBERS)
        if call.is_quantized and not call.params(0) == call.params(1) == call.out_params:
            raise call.refuse("of tensors of different scales")
        return [call.write(op, (call.tensor(0), call.tensor(1)))]

    return rule


def _squared_difference(call: Call) -> list[Value]:
    dtype = _same_types(call, "f32", "i32", "i8")
    inputs = (call.tensor(0), call.tensor(1))
    if dtype == "i8":
        if call.is_uint8:
            raise call.refuse("of uint8")
        return [call.write("squared_difference", inputs, rounding="double")]
    d = call.helper("sub", inputs, "difference")
    return [call.write("mul", (d, d))]


def _square(call: Call) -> list[Value]:
    call.only("f32")
    return [call.write("mul", (call.tensor(0), call.tensor(0)))]


def _axes(call: Call) -> tuple[int, ...]:
    rank = len(call.shape(0))
    given = call.integers(1, "axes")
    if any(not -rank <= a < rank for a in given):
        raise call.contradiction(f"reduces axes {list(given)} of {rank}")
    return tuple(sorted({a % rank for a in given}))


def _mean(call: Call) -> list[Value]:
    """int8: the reference divides the multiplier, not the sum, and drops the remainder."""
    dtype = call.only("f32", "i8", "i16")
    axes = _axes(call)
    if not axes:
        return [call.write("identity", (call.tensor(0),))]
    more: dict[str, AttributeValue] = {}
    if dtype != "f32":
        count = prod(call.shape(0)[a] for a in axes)
        if count > (1 << 23 if dtype == "i8" else 1 << 15):
            raise call.refuse(f"of {call.info(0).kind} over {count} values")
        more = {"rounding": "double", "multiplier": "truncated"}
    return [call.write("mean", (call.tensor(0),), more, axes=axes, keepdims=call.flag(0))]


def _reduce(op: str, *dtypes: str) -> Rule:
    def rule(call: Call) -> list[Value]:
        call.only(*dtypes)
        if call.is_quantized and call.params(0) != call.out_params:
            raise call.refuse("of tensors of different scales")
        axes = _axes(call)
        if not axes:
            return [call.write("identity", (call.tensor(0),))]
        return [call.write(op, (call.tensor(0),), axes=axes, keepdims=call.flag(0))]

    return rule


def _softmax(call: Call) -> list[Value]:
    dtype, beta = call.only("f32", "i8", "i16"), call.real(0)
    x = call.tensor(0)
    if dtype == "i16":
        if beta != 1.0 or call.out_params.scale[0] != 1 / 32768:
            raise call.refuse(f"of int16 with beta {beta:g} to scale {call.out_params.scale[0]:g}")
        return [call.write("softmax", (x,))]
    if dtype == "i8":
        q = call.out_params
        if beta != 1.0 or q.scale[0] != 1 / 256 or q.zero_point[0] != -128 or dtype_of(call.made()) != "i8":
            raise call.refuse(f"of int8 with beta {beta:g} to scale {q.scale[0]:g}", limit="beta 1 and 1/256 are read")
        return [call.write("softmax", (x,))]
    if beta != 1.0:
        factor = call.walk.sheet.constant(f"{call.name}.beta", np.array(beta, np.float32))
        x = call.helper("mul", (x, factor), "scaled")
    return [call.write("softmax", (x,))]


def _compare(op: str, *, is_negated: bool = False) -> Rule:
    def rule(call: Call) -> list[Value]:
        _same_types(call, "f32", "i32", "i64", "bool")
        inputs = (call.tensor(0), call.tensor(1))
        if not is_negated:
            return [call.write(op, inputs)]
        return [call.write("logical_not", (call.helper(op, inputs, "same", dtype="bool"),))]

    return rule


def _logical(op: str, n: int) -> Rule:
    def rule(call: Call) -> list[Value]:
        for place in range(n):
            call.only("bool", place=place)
        return [call.write(op, tuple(call.tensor(i) for i in range(n)))]

    return rule


def _where(call: Call) -> list[Value]:
    """SELECT, with a condition of the operands' rank; SELECT_V2 broadcasts."""
    call.only("bool")
    if call.dtype(1) != call.dtype(2) or call.is_quantized:
        raise call.refuse(f"of {call.info(1).kind}", limit="Read in float and in integers without scale")
    if call.kind == "SELECT" and len(call.shape(0)) != len(call.shape(1)):
        raise call.refuse("with a condition of another rank")
    return [call.write("where", (call.tensor(0), call.tensor(1), call.tensor(2)))]


def _cast(call: Call) -> list[Value]:
    call.only("f32", "i32", "i64", "bool", "u8")
    made = dtype_of(call.made())
    if not made or params_of(call.made()) is not None:
        raise call.refuse(f"from {call.info(0).kind} to {call.made().kind}")
    if made == call.dtype():
        return [call.write("identity", (call.tensor(0),))]
    return [call.write("cast", (call.tensor(0),), dtype=made)]


def _arg(op: str) -> Rule:
    def rule(call: Call) -> list[Value]:
        call.only("f32", "i8", "i32")
        axis = axis_in(call, call.integers(1, "axis"), len(call.shape(0)))
        return [call.write(op, (call.tensor(0),), axis=axis)]

    return rule


def _quantize(call: Call) -> list[Value]:
    """QUANTIZE of floats rounds halves away from zero; of integers it requantizes."""
    made, given = dtype_of(call.made()), call.only("f32", "i8", "i16")
    if made not in ("i8", "i16"):
        raise call.refuse(f"to {call.made().kind}")
    q = call.out_params
    if given == "f32":
        return [call.write("quantize", (call.tensor(0),), quantization=q, dtype=made, ties="away")]
    call.params(0)
    return [call.write("requantize", (call.tensor(0),), quantization=q, dtype=made, rounding="double")]


def _dequantize(call: Call) -> list[Value]:
    call.only("i8", "i16")
    call.params(0)
    return [call.write("dequantize", (call.tensor(0),))]


def _l2_normalize(call: Call) -> list[Value]:
    dtype = call.only("f32", "i8")
    if call.activation(0) != "none" or (call.is_uint8 and dtype == "i8"):
        raise call.refuse("with an activation, or of uint8")
    return [call.write("lp_normalize", (call.tensor(0),), _exact(dtype), axis=-1, p=2, eps=1e-6)]


def _exact(dtype: str) -> More:
    """Ask the op for LiteRT's own arithmetic, where the tensors are integers."""
    return {"rounding": "double"} if dtype == "i8" else {}


def _prelu(call: Call) -> list[Value]:
    """A slope per channel, or one."""
    dtype = call.only("f32", "i8")
    call.only(dtype, place=1)
    known = call.known(1, "slope")
    channels = call.shape(0)[-1]
    if known.array.size not in (1, channels) or (known.array.size > 1 and known.array.shape[-1] != channels):
        raise call.refuse(f"with slopes {list(known.array.shape)} for {channels} channels")
    slope = call.walk.sheet.constant(
        known.info.name or f"{call.name}.slope", call.data(1, "slope").reshape(-1), params_of(known.info)
    )
    return [call.write("prelu", (call.tensor(0), slope), _exact(dtype))]


def _log_softmax(call: Call) -> list[Value]:
    call.only("f32", "i8")
    return [call.write("log_softmax", (call.tensor(0),))]


def _cumsum(call: Call) -> list[Value]:
    call.only("f32", "i32", "i64")
    axis = axis_in(call, call.integers(1, "axis"), len(call.shape(0)))
    return [call.write("cumsum", (call.tensor(0),), axis=axis, exclusive=call.flag(0), reverse=call.flag(1))]


RULES: dict[str, Rule] = {
    "ADD": _sum, "SUB": _sum, "MUL": _mul, "DIV": _float_binary("div", "f32", is_fused=True),
    "POW": _float_binary("pow", "f32"), "MAXIMUM": _extreme("maximum"), "MINIMUM": _extreme("minimum"),
    "SQUARED_DIFFERENCE": _squared_difference, "SQUARE": _square, "MEAN": _mean,
    "SUM": _reduce("sum", "f32", "i32"), "REDUCE_PROD": _reduce("prod", "f32", "i32"),
    "REDUCE_MAX": _reduce("reduce_max", *NUMBERS), "REDUCE_MIN": _reduce("reduce_min", *NUMBERS),
    "SOFTMAX": _softmax, "LOG_SOFTMAX": _log_softmax, "L2_NORMALIZATION": _l2_normalize, "PRELU": _prelu,
    "EQUAL": _compare("equal"), "NOT_EQUAL": _compare("equal", is_negated=True), "GREATER": _compare("greater"),
    "GREATER_EQUAL": _compare("greater_equal"), "LESS": _compare("less"), "LESS_EQUAL": _compare("less_equal"),
    "LOGICAL_AND": _logical("logical_and", 2), "LOGICAL_OR": _logical("logical_or", 2),
    "LOGICAL_NOT": _logical("logical_not", 1), "SELECT": _where, "SELECT_V2": _where, "CAST": _cast,
    "ARG_MAX": _arg("argmax"), "ARG_MIN": _arg("argmin"), "QUANTIZE": _quantize, "DEQUANTIZE": _dequantize,
    "CUMSUM": _cumsum,
}  # fmt: skip
