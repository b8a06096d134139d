"""Ops that move values (reshape, transpose, concat, slice, gather, identity), mean, and the three that quantize.

In: one or more tensors. Out: one tensor.
Promises: reshape, transpose, concat, slice, gather and identity copy bits, so in integers their inputs and output share
one quantization.
A reshape target has one -1 at most; 0 keeps the dimension at the same place; a symbol stays where it is named.
quantize rounds half to even (ONNX QuantizeLinear), or with `ties` away from zero (LiteRT).
requantize multiplies once by the ratio of the scales; `multiplier` f32 takes that in float32, as LiteRT's RELU.
int8 mean requantizes the exact sum; with `multiplier` truncated it divides the multiplier instead, as LiteRT does.
"""

from collections.abc import Sequence
from math import prod
from typing import cast

import numpy as np

from onchip.numerics import quantize_multiplier, requantize
from onchip.ops.requantizing import activate, rounding_of
from onchip.ops.types import (
    Array,
    Attributes,
    Dimension,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    axis_of,
    elements,
    f32,
    number,
    present,
    same,
    show,
)


def _no_work(_attributes: Attributes, _inputs: Shapes, _outputs: Shapes) -> int:
    return 0


def _one(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (present(shapes[0], "x"),)


def _split(shape: Sequence[Dimension]) -> tuple[int, list[str]]:
    """Give the product of the numbers and the sorted symbols."""
    return prod(d for d in shape if isinstance(d, int)), sorted(d for d in shape if isinstance(d, str))


def _target(attributes: Attributes) -> tuple[Dimension, ...]:
    """Read a reshape target: integers, or texts that are integers or symbols."""
    given = cast("tuple[Dimension, ...]", attributes.integers("shape"))
    return tuple(int(d) if isinstance(d, str) and d.lstrip("-").isdigit() else d for d in given)


def reshape_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    """Follow a reshape: at most one -1, 0 keeps the dimension, symbols match symbols."""
    x, target = present(shapes[0], "x"), list(_target(attributes))
    for i, d in enumerate(target):
        if d == 0:
            if i >= len(x):
                raise Refusal("OC1323", f"dimension 0 at place {i} keeps nothing of {show(x)}")
            target[i] = x[i]
    if target.count(-1) > 1:
        raise Refusal("OC1323", f"target {tuple(target)} has more than one -1")
    size, symbols = _split(x)
    want, named = _split([d for d in target if d != -1])
    if -1 in target:
        left = list(symbols)
        for name in named:
            if name not in left:
                raise Refusal("OC1323", f"{show(x)} does not reshape to {tuple(target)}")
            left.remove(name)
        place = target.index(-1)
        if len(left) > 1 or (left and size != want) or (not left and (want == 0 or size % want)):
            raise Refusal("OC1323", f"{show(x)} does not reshape to {tuple(target)}")
        target[place] = left[0] if left else size // want
    elif (size, symbols) != (want, named):
        raise Refusal("OC1323", f"{show(x)} does not reshape to {show(tuple(target))}")
    return (tuple(target),)


def _reshape(attributes: Attributes, x: Array) -> tuple[Array]:
    target = _target(attributes)
    if any(isinstance(d, str) for d in target):
        numbers = [d for d in target if isinstance(d, int)]
        if sum(isinstance(d, str) for d in target) > 1 or -1 in numbers:
            raise Refusal("OC1325", "a reshape target with symbols has to be bound before it runs")
        target = tuple(-1 if isinstance(d, str) else d for d in target)
    shape = reshape_shape(Attributes({"shape": cast("tuple[int, ...]", target)}), (x.shape,))[0]
    return (x.reshape(cast("tuple[int, ...]", shape)),)


def _transpose_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, perm = present(shapes[0], "x"), attributes.integers("perm")
    if sorted(perm) != list(range(len(x))):
        raise Refusal("OC1316", f"perm {perm} does not permute {len(x)} axes")
    return (tuple(x[p] for p in perm),)


def _transpose(attributes: Attributes, x: Array) -> tuple[Array]:
    return (np.ascontiguousarray(x.transpose(attributes.integers("perm"))),)


def _concat_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    parts = [present(s, "x") for s in shapes]
    axis = axis_of(attributes.integer("axis"), len(parts[0]))
    total: Dimension = parts[0][axis]
    for p in parts[1:]:
        if len(p) != len(parts[0]):
            raise Refusal("OC1314", f"shapes {show(parts[0])} and {show(p)} differ in rank")
        for i, (a, b) in enumerate(zip(parts[0], p, strict=True)):
            if i != axis:
                same(a, b, f"dimensions {i}")
        total = number(total, "the concatenated dimension") + number(p[axis], "the concatenated dimension")
    return ((*parts[0][:axis], total, *parts[0][axis + 1 :]),)


def _concat(attributes: Attributes, *parts: Array) -> tuple[Array]:
    return (np.concatenate(parts, axis=attributes.integer("axis")),)


def _slice_bounds(attributes: Attributes, size: int) -> tuple[int, int, int]:
    step = attributes.integer("step")
    if step == 0:
        raise Refusal("OC1315", "step is 0")
    return slice(attributes.integer("start"), attributes.integer("stop"), step).indices(size)


def _slice_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    axis = axis_of(attributes.integer("axis"), len(x))
    n = len(range(*_slice_bounds(attributes, number(x[axis], "the sliced dimension"))))
    if n == 0:
        raise Refusal("OC1324", f"nothing is left of axis {axis} of {show(x)}")
    return ((*x[:axis], n, *x[axis + 1 :]),)


def _slice(attributes: Attributes, x: Array) -> tuple[Array]:
    axis = axis_of(attributes.integer("axis"), x.ndim)
    start, stop, step = _slice_bounds(attributes, x.shape[axis])
    index = (slice(None),) * axis + (slice(start, stop if stop >= 0 else None, step),)
    return (np.ascontiguousarray(x[index]),)


def _gather_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    table, ids = present(shapes[0], "table"), present(shapes[1], "ids")
    if not table:
        raise Refusal("OC1312", "'table' has no dimension")
    axis = axis_of(attributes.integer("axis"), len(table))
    return ((*table[:axis], *ids, *table[axis + 1 :]),)


def _gather(attributes: Attributes, table: Array, ids: Array) -> tuple[Array]:
    index, axis = ids.astype(np.int64), axis_of(attributes.integer("axis"), table.ndim)
    size = table.shape[axis]
    if index.size and not (index.min() >= 0 and index.max() < size):
        raise Refusal("OC1406", f"an index lies outside of 0..{size - 1}: {index.min()} to {index.max()}")
    return (np.take(table, index, axis=axis),)


def _identity(_attributes: Attributes, x: Array) -> tuple[Array]:
    return (x,)


def _mean_axes(attributes: Attributes, rank: int) -> tuple[int, ...]:
    return tuple(sorted({axis_of(a, rank) for a in attributes.integers("axes")}))


def _mean_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    axes = _mean_axes(attributes, len(x))
    if attributes.flag("keepdims"):
        return (tuple(1 if i in axes else d for i, d in enumerate(x)),)
    return (tuple(d for i, d in enumerate(x) if i not in axes),)


def _mean(attributes: Attributes, x: Array) -> tuple[Array]:
    axes = _mean_axes(attributes, x.ndim)
    return (np.asarray(f32(x).mean(axis=axes, keepdims=attributes.flag("keepdims"), dtype=np.float32)),)


def _mean_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    axes = _mean_axes(attributes, x.ndim)
    count = prod(x.shape[a] for a in axes)
    total = x.astype(np.int64).sum(axis=axes, keepdims=attributes.flag("keepdims"))
    if attributes.text("multiplier") == "truncated":
        return (_mean_truncated(np.asarray(total - px.zero_point[0] * count), count, px, py, 8 * x.dtype.itemsize),)
    return (activate(attributes, np.asarray(total - px.zero_point[0] * count), px.scale[0] / count, py),)


def _mean_truncated(acc: Array, count: int, px: Quantization, py: Quantization, bits: int) -> Array:
    """Divide the multiplier by the count, dropping the remainder, then requantize (LiteRT QuantizedMeanOrSum)."""
    q, e = quantize_multiplier(px.scale[0] / py.scale[0])
    shift = min(count.bit_length() - 1, 32, 31 + e)
    y = requantize(acc, (q << shift) // count, e - shift, "double") + py.zero_point[0]
    top = 127 if bits == 8 else 32767
    return np.clip(y, -top - 1, top).astype(np.int8 if bits == 8 else np.int16)


def _quantize_dtypes(attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return (attributes.text("dtype"),)


def _float_dtypes(_attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return ("f32",)


def _by_params(values: tuple[float, ...] | tuple[int, ...], axis: int | None, rank: int) -> Array:
    """Give scales or zero points so that they broadcast along their axis."""
    array = np.array(values)
    return array if axis is None else array.reshape(-1, *(1,) * (rank - 1 - axis % rank))


def _quantize(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    p = made[0]
    if p is None:
        raise Refusal("OC1322", "the output has no quantization")
    if x.dtype.kind != "f":
        raise Refusal("OC1322", "quantize takes floats")
    scale = _by_params(p.scale, p.axis, x.ndim).astype(np.float32)
    zero = _by_params(p.zero_point, p.axis, x.ndim)
    real = x / scale
    is_away = attributes.text("ties") == "away"
    steps = np.copysign(np.floor(np.abs(real) + np.float32(0.5)), real) if is_away else np.rint(real)
    bits = _bits(attributes)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return (np.clip(steps.astype(np.float64) + zero, low, high).astype(np.int8 if bits == 8 else np.int16),)


def _bits(attributes: Attributes) -> int:
    return 16 if attributes.text("dtype") == "i16" else 8


def _dequantize(_attributes: Attributes, given: Params, _made: Params, x: Array) -> tuple[Array]:
    p = given[0]
    if p is None:
        raise Refusal("OC1322", "the input has no quantization")
    scale = _by_params(p.scale, p.axis, x.ndim).astype(np.float32)
    zero = _by_params(p.zero_point, p.axis, x.ndim).astype(np.int64)
    return (((x.astype(np.int64) - zero).astype(np.float32) * scale).astype(np.float32),)


def _requantize(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    acc = x.astype(np.int64) - px.zero_point[0]
    if attributes.text("multiplier") == "f32":
        q, e = quantize_multiplier(float(np.float32(px.scale[0]) / np.float32(py.scale[0])))
        y = requantize(acc, q, e, "double" if rounding_of(attributes) == "double" else "single") + py.zero_point[0]
        top = (1 << (_bits(attributes) - 1)) - 1
        return (np.clip(y, -top - 1, top).astype(np.int8 if top == 127 else np.int16),)
    return (activate(attributes, acc, px.scale[0], py, bits=_bits(attributes)),)


def _only_integer(_attributes: Attributes, *_arrays: Array) -> tuple[Array]:
    raise Refusal("OC1326", "has no meaning without quantization")


def _reshape_integer(a: Attributes, _g: Params, _m: Params, x: Array) -> tuple[Array]:
    return _reshape(a, x)


def _transpose_integer(a: Attributes, _g: Params, _m: Params, x: Array) -> tuple[Array]:
    return _transpose(a, x)


def _concat_integer(a: Attributes, given: Params, made: Params, *parts: Array) -> tuple[Array]:
    if any(p != made[0] for p in given):
        raise Refusal("OC1319", "concat needs equal quantization of inputs and output", next="Insert requantize")
    return _concat(a, *parts)


def _slice_integer(a: Attributes, _g: Params, _m: Params, x: Array) -> tuple[Array]:
    return _slice(a, x)


def _gather_integer(a: Attributes, _g: Params, _m: Params, table: Array, ids: Array) -> tuple[Array]:
    return _gather(a, table, ids)


def _identity_integer(a: Attributes, _g: Params, _m: Params, x: Array) -> tuple[Array]:
    return _identity(a, x)


OPS: tuple[Op, ...] = (
    Op("reshape", ("x",), reshape_shape, _reshape, needs=("shape",), integer=_reshape_integer, vector_ops=_no_work),
    Op("transpose", ("x",), _transpose_shape, _transpose, needs=("perm",), integer=_transpose_integer),
    Op("concat", ("x",), _concat_shape, _concat, variadic=True, needs=("axis",), integer=_concat_integer),
    Op(
        "slice",
        ("x",),
        _slice_shape,
        _slice,
        needs=("axis", "start", "stop"),
        defaults={"step": 1},
        integer=_slice_integer,
    ),
    Op("gather", ("table", "ids"), _gather_shape, _gather, defaults={"axis": 0}, integer=_gather_integer),
    Op("identity", ("x",), _one, _identity, integer=_identity_integer, vector_ops=_no_work),
    Op(
        "mean",
        ("x",),
        _mean_shape,
        _mean,
        needs=("axes",),
        defaults={"keepdims": False, "multiplier": "exact"},
        integer=_mean_integer,
        vector_ops=lambda _a, inputs, _o: elements(inputs[0]),
    ),
    Op(
        "quantize",
        ("x",),
        _one,
        _only_integer,
        integer=_quantize,
        dtypes=_quantize_dtypes,
        defaults={"dtype": "i8", "ties": "even"},
    ),
    Op("dequantize", ("x",), _one, _only_integer, integer=_dequantize, dtypes=_float_dtypes),
    Op(
        "requantize",
        ("x",),
        _one,
        _only_integer,
        integer=_requantize,
        dtypes=_quantize_dtypes,
        defaults={"dtype": "i8", "multiplier": "exact"},
    ),
)
