"""Operators whose operands are all known: shape arithmetic, and constants in another form.

In:       an operator.
Out:      the array that it makes, or None where it has to be a node.
Promises: quantized arrays are only moved (reshaped, transposed), never computed with; DEQUANTIZE of a constant gives
          the float32 values that the reference gives. Nothing larger than `LIMIT` elements is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from onchip.frontends.tflite.call import Call
from onchip.frontends.tflite.schema import DTYPES
from onchip.frontends.tflite.walk import Known
from onchip.ops.types import Array

LIMIT = 1 << 28
Fold = Callable[[Call, list[Array]], Array]


def compute(call: Call) -> Known | None:
    """Compute an operator of one output."""
    if len(call.operator.outputs) != 1:
        return None
    if call.kind in ("SHAPE", "RANK"):
        return _made(call, _shape(call))
    fold = FOLDS.get(call.kind)
    values = [call.value(i) for i in range(len(call.operator.inputs)) if call.has(i)]
    known = [v for v in values if isinstance(v, Known)]
    if fold is None or not known or len(known) != len(values):
        return None
    if call.kind not in MOVING and any(v.info.quantization is not None for v in known):
        return None
    if sum(v.array.size for v in known) > LIMIT:
        return None
    return _made(call, fold(call, [v.array for v in known]))


def _made(call: Call, array: Array) -> Known:
    info = call.made()
    code = DTYPES_BY_NAME.get(info.kind, "")
    if not code:
        raise call.refuse(f"makes a constant of {info.kind}")
    array = np.ascontiguousarray(array).astype(np.dtype(code), copy=False).reshape(np.shape(array))
    return Known(array, replace(info, shape=tuple(int(d) for d in array.shape), array=array))


DTYPES_BY_NAME = {name: code for name, code in DTYPES.values() if code}


def _shape(call: Call) -> Array:
    shape = call.shape(0)
    return np.array(len(shape) if call.kind == "RANK" else shape)


def _dequantize(call: Call, arrays: list[Array]) -> Array:
    """Halves become floats; integers (x - zero point) * scale, in float32."""
    x, q = arrays[0], call.info(0).quantization
    if x.dtype == np.float16:
        return x.astype(np.float32)
    if q is None:
        raise call.contradiction("has an operand without scale")
    shape = [1] * x.ndim
    if q.axis is not None:
        shape[q.axis] = -1
    zero = np.array(q.zero_point, np.int64).reshape(shape if q.axis is not None else ())
    scale = np.array(q.scale, np.float32).reshape(shape if q.axis is not None else ())
    return (x.astype(np.int64) - zero).astype(np.float32) * scale


def _reshape(call: Call, arrays: list[Array]) -> Array:
    table = call.operator.options
    if len(arrays) > 1:
        target = [int(d) for d in arrays[1].reshape(-1)]
    else:
        target = list(table.integers(0)) if table is not None else list(call.made().shape)
    return arrays[0].reshape(target)


def _expand_dims(call: Call, arrays: list[Array]) -> Array:
    return np.expand_dims(arrays[0], int(arrays[1].reshape(-1)[0]))


def _squeeze(call: Call, arrays: list[Array]) -> Array:
    table = call.operator.options
    axes = table.integers(0) if table is not None else ()
    return np.squeeze(arrays[0], axis=axes or None)


def _pack(call: Call, arrays: list[Array]) -> Array:
    return np.stack(arrays, axis=call.option(1))


def _concat(call: Call, arrays: list[Array]) -> Array:
    return np.concatenate(arrays, axis=call.option(0))


def _gather(call: Call, arrays: list[Array]) -> Array:
    if call.option(1):
        raise call.refuse("with batch dimensions")
    return np.take(arrays[0], arrays[1], axis=call.option(0))


def _strided_slice(call: Call, arrays: list[Array]) -> Array:
    from onchip.frontends.tflite.slicing import slices_of

    return arrays[0][slices_of(call, arrays[0].shape)]


def _slice(_call: Call, arrays: list[Array]) -> Array:
    x, begin, size = arrays
    starts, sizes = ([int(v) for v in a.reshape(-1)] for a in (begin, size))
    return x[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(starts, sizes, strict=True))]


def _limited(call: Call, shape: Array) -> tuple[int, ...]:
    """Read a shape that an array is made of."""
    dims = tuple(int(d) for d in shape.reshape(-1))
    if any(d < 0 for d in dims) or np.prod(dims, dtype=np.float64) > LIMIT:
        raise call.contradiction(f"makes an array of shape {list(dims[:8])}")
    return dims


def _fill(call: Call, arrays: list[Array]) -> Array:
    return np.full(_limited(call, arrays[0]), arrays[1].reshape(-1)[0])


def _broadcast(call: Call, arrays: list[Array]) -> Array:
    return np.broadcast_to(arrays[0], _limited(call, arrays[1])).copy()


def _range(call: Call, arrays: list[Array]) -> Array:
    start, limit, step = (a.reshape(-1)[0] for a in arrays)
    if step == 0 or abs((float(limit) - float(start)) / float(step)) > LIMIT:
        raise call.contradiction("never ends")
    return np.arange(start, limit, step)


def _binary(function: Callable[[Array, Array], Array]) -> Fold:
    def fold(call: Call, arrays: list[Array]) -> Array:
        if call.operator.options is not None and call.kind in ("ADD", "SUB", "MUL", "DIV") and call.option(0, "b"):
            raise call.refuse("a fused activation of constants")
        a, b = arrays
        _limited(call, np.array(np.broadcast_shapes(a.shape, b.shape)))
        with np.errstate(all="ignore"):
            return function(a, b)

    return fold


def _product(_call: Call, arrays: list[Array]) -> Array:
    axes = tuple(int(a) for a in arrays[1].reshape(-1))
    return np.prod(arrays[0], axis=axes, keepdims=_call.flag(0))


FOLDS: dict[str, Fold] = {
    "DEQUANTIZE": _dequantize, "RESHAPE": _reshape, "EXPAND_DIMS": _expand_dims, "SQUEEZE": _squeeze, "PACK": _pack,
    "CONCATENATION": _concat, "GATHER": _gather, "STRIDED_SLICE": _strided_slice, "SLICE": _slice, "FILL": _fill,
    "BROADCAST_TO": _broadcast, "RANGE": _range, "REDUCE_PROD": _product,
    "TRANSPOSE": lambda _c, a: a[0].transpose([int(p) for p in a[1].reshape(-1)]),
    "CAST": lambda _c, a: a[0],
    "ADD": _binary(np.add), "SUB": _binary(np.subtract), "MUL": _binary(np.multiply),
    "FLOOR_DIV": _binary(np.floor_divide), "MAXIMUM": _binary(np.maximum), "MINIMUM": _binary(np.minimum),
    "NEG": lambda _c, a: np.negative(a[0]),
}  # fmt: skip
MOVING = ("DEQUANTIZE", "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE")
