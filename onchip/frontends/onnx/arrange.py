"""The ONNX operators that only arrange values: reshapes, slices, and arithmetic on shapes.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: the result of Shape is a vector of numbers and symbols; Gather, Slice, Concat, Unsqueeze, Squeeze and Cast
          carry it on to Reshape, Expand and ConstantOfShape. No tensor is made for it.
Does not: multiply symbols: a dimension that is a product of one is refused (OC1353).
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.walk import FIX_BATCH, Dims, Fill, Known, Value, Walk
from onchip.frontends.regroup import Grouped, regroup
from onchip.ops.types import Dimension, Shape, axis_of, show

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def dims_of(walk: Walk, node: NodeProto, place: int) -> Shape:
    """Read a vector of dimensions; known arrays are one, too."""
    value = walk.value(node, place)
    if isinstance(value, Known) and value.array.ndim <= 1:
        return tuple(int(d) for d in value.array.reshape(-1))
    if isinstance(value, Dims):
        return value.dims
    raise walk.refuse(node, "a shape that is computed from data", code="OC1353")


def settle(dims: Shape, *, is_scalar: bool, name: str) -> Value:
    """Give numbers as an array, so that everything else can compute with them."""
    if all(isinstance(d, int) for d in dims):
        array = np.array(dims, np.int64)
        return Known(array.reshape(()) if is_scalar else array, name)
    return Dims(dims, is_scalar)


def _shape(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value = walk.value(node, 0)
    shape = value.shape if isinstance(value, Fill) else walk.canvas.shape(walk.tensor(node, 0))
    a = walk.attributes(node)
    return (settle(shape[a.get("start", 0) : a.get("end")], is_scalar=False, name=node.output[0]),)


def _identity(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    return (walk.value(node, 0),)


def _dropout(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    training = walk.value(node, 2)
    if training is not None and not (isinstance(training, Known) and not training.array.any()):
        raise walk.refuse(node, "in training mode")
    if not walk.has_more(node):
        return (walk.value(node, 0),)
    x = walk.tensor(node, 0)
    return (x, _all_true(walk, x, f"{walk.name(node)}.mask"))


def _all_true(walk: Walk, x: str, name: str) -> str:
    """Give the mask of a dropout that drops nothing."""
    shape = tuple(map(str, walk.canvas.shape(x)))
    one = walk.canvas.constant(f"{name}.value", np.ones((1,) * len(shape), np.bool_))
    target = shape if any(not d.isdigit() for d in shape) else tuple(map(int, shape))
    return walk.canvas.node("broadcast_to", (one,), name, shape=target)


def _reshape(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value, target = walk.value(node, 0), list(dims_of(walk, node, 1))
    if isinstance(value, Dims):
        return (value,)
    keeps_zero = bool(walk.attributes(node).get("allowzero", 0))
    factors = _factors(walk, node)
    wanted = [
        None if d == -1 else factors[i] if d == 0 and i < len(factors) and not keeps_zero else (d,)
        for i, d in enumerate(target)
    ]
    found = regroup(tuple(d for f in factors for d in f), wanted)
    if found is None:
        given = "[" + ",".join("*".join(map(str, f)) for f in factors) + "]"
        raise walk.refuse(node, f"{given} to {show(tuple(target))}", code="OC1353", limit=FIX_BATCH)
    made, sizes = found
    if isinstance(value, Fill):
        return (Fill(value.value, made),)
    tensor = value.tensor if isinstance(value, Grouped) else walk.tensor(node, 0)
    tensor = walk.canvas.reshape(tensor, made, walk.name(node))
    return (tensor if all(s == 1 for s in sizes) else Grouped(tensor, sizes),)


def _factors(walk: Walk, node: NodeProto) -> list[Shape]:
    """Give the factors of each logical dimension of the first input."""
    value = walk.value(node, 0)
    if isinstance(value, Grouped):
        rest = iter(walk.canvas.shape(value.tensor))
        return [tuple(next(rest) for _ in range(size)) for size in value.sizes]
    shape = value.shape if isinstance(value, Fill) else walk.canvas.shape(walk.tensor(node, 0))
    return [(d,) for d in shape]


def _reshaped(walk: Walk, node: NodeProto, shape: Shape) -> tuple[Value, ...]:
    value = walk.value(node, 0)
    if isinstance(value, Fill):
        return (Fill(value.value, shape),)
    return (walk.canvas.reshape(walk.tensor(node, 0), shape, walk.name(node)),)


def _flatten(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    shape = walk.canvas.shape(walk.tensor(node, 0))
    axis = int(walk.attributes(node).get("axis", 1))
    axis = len(shape) if axis == len(shape) else axis_of(axis, len(shape))
    return _reshaped(walk, node, (_product(walk, node, shape[:axis]), _product(walk, node, shape[axis:])))


def _product(walk: Walk, node: NodeProto, dims: Shape) -> Dimension:
    symbols = [d for d in dims if isinstance(d, str)]
    size = prod(d for d in dims if isinstance(d, int))
    if not symbols:
        return size
    if len(symbols) > 1 or size != 1:
        raise walk.refuse(node, f"merges the dimensions {dims}", code="OC1353")
    return symbols[0]


def _unsqueeze(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value, axes = walk.value(node, 0), walk.integers(node, 1, "axes") or []
    if isinstance(value, Dims):
        return (Dims(value.dims),)
    shape = value.shape if isinstance(value, Fill) else walk.canvas.shape(walk.tensor(node, 0))
    rank = len(shape) + len(axes)
    places = {axis_of(a, rank) for a in axes}
    rest = iter(shape)
    return _reshaped(walk, node, tuple(1 if i in places else next(rest) for i in range(rank)))


def _squeeze(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value, axes = walk.value(node, 0), walk.integers(node, 1, "axes")
    if isinstance(value, Dims):
        return (Dims(value.dims, True),)
    shape = value.shape if isinstance(value, Fill) else walk.canvas.shape(walk.tensor(node, 0))
    places = {i for i, d in enumerate(shape) if d == 1} if axes is None else {axis_of(a, len(shape)) for a in axes}
    return _reshaped(walk, node, tuple(d for i, d in enumerate(shape) if i not in places))


def _transpose(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value = walk.value(node, 0)
    if isinstance(value, Fill):
        order = walk.attributes(node).get("perm") or range(len(value.shape))[::-1]
        return (Fill(value.value, tuple(value.shape[p] for p in order)),)
    x = walk.tensor(node, 0)
    perm = walk.attributes(node).get("perm") or range(len(walk.canvas.shape(x)))[::-1]
    return (walk.canvas.transpose(x, [int(p) for p in perm], walk.name(node)),)


def _concat(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    values = [walk.value(node, i) for i in range(len(node.input))]
    if any(isinstance(v, Dims) for v in values):
        dims: list[Dimension] = []
        for place in range(len(values)):
            dims.extend(dims_of(walk, node, place))
        return (settle(tuple(dims), is_scalar=False, name=node.output[0]),)
    fills = [v for v in values if isinstance(v, Fill)]
    if len(fills) == len(values) and len({f.value for f in fills}) == 1:
        return (_concat_fills(walk, node, fills),)
    filled = [i for i, v in enumerate(values) if not (isinstance(v, Known) and v.array.size == 0)]
    parts = [walk.tensor(node, i) for i in filled or range(len(values))]
    axis = axis_of(int(walk.attributes(node)["axis"]), len(walk.canvas.shape(parts[0])))
    return (walk.canvas.node("concat", parts, walk.name(node), axis=axis) if len(parts) > 1 else parts[0],)


def _concat_fills(walk: Walk, node: NodeProto, fills: list[Fill]) -> Fill:
    shape = list(fills[0].shape)
    axis = axis_of(int(walk.attributes(node)["axis"]), len(shape))
    sizes = [f.shape[axis] for f in fills]
    if any(isinstance(s, str) for s in sizes) and len(sizes) > 1:
        raise walk.refuse(node, "along a symbolic dimension", code="OC1353")
    shape[axis] = sizes[0] if len(sizes) == 1 else sum(int(s) for s in sizes)
    return Fill(fills[0].value, tuple(shape))


def _slice_fill(walk: Walk, node: NodeProto, fill: Fill, bounds: list[tuple[int, int, int, int]]) -> Fill:
    shape = list(fill.shape)
    for start, stop, axis, step in bounds:
        size = shape[axis]
        if isinstance(size, str):
            if start != 0 or step != 1 or stop < 2**31 - 1:
                raise walk.refuse(node, f"slices the symbolic dimension '{size}'", code="OC1353")
            continue
        shape[axis] = len(range(*slice(start, stop, step).indices(size)))
    return Fill(fill.value, tuple(shape))


def _slice(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Bounds were attributes before opset 10."""
    value = walk.value(node, 0)
    starts, ends = walk.integers(node, 1, "starts") or [], walk.integers(node, 2, "ends") or []
    axes = walk.integers(node, 3, "axes") or list(range(len(starts)))
    steps = walk.integers(node, 4, "steps") or [1] * len(starts)
    if isinstance(value, Dims):
        return (settle(value.dims[slice(starts[0], ends[0], steps[0])], is_scalar=False, name=node.output[0]),)
    bounds = list(zip(starts, ends, axes, steps, strict=True))
    if isinstance(value, Fill):
        return (_slice_fill(walk, node, value, bounds),)
    x = walk.tensor(node, 0)
    name, shape = walk.name(node), [*walk.canvas.shape(x)]
    for start, stop, axis, step in bounds:
        size = shape[axis_of(axis, len(shape))]
        if isinstance(size, int):
            shape[axis] = len(range(*slice(start, stop, step).indices(size)))
    if 0 in shape and all(isinstance(d, int) for d in shape):  # only a Concat takes it
        return (Known(np.zeros([int(d) for d in shape], np.float32), name),)
    for start, stop, axis, step in bounds:
        x = walk.canvas.slice(x, name, axis=axis, start=start, stop=stop, step=step)
    return (x,)


def _split(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Sizes were an attribute before opset 13."""
    x = walk.tensor(node, 0)
    axis = axis_of(int(walk.attributes(node).get("axis", 0)), len(walk.canvas.shape(x)))
    whole = walk.canvas.shape(x)[axis]
    if isinstance(whole, str):
        raise walk.refuse(node, f"splits the symbolic dimension '{whole}'", code="OC1353")
    part = -(-whole // len(node.output))
    sizes = walk.integers(node, 1, "split") or [min(part, whole - at) for at in range(0, whole, part)]
    ends = [int(e) for e in np.cumsum(sizes)]
    name = walk.name(node)
    return tuple(walk.canvas.slice(x, name, axis=axis, start=e - s, stop=e) for s, e in zip(sizes, ends, strict=True))


def _size(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    shape = walk.canvas.shape(walk.tensor(node, 0))
    if any(isinstance(d, str) for d in shape):
        raise walk.refuse(node, f"of {show(shape)}", code="OC1353")
    return (Known(np.array(prod(int(d) for d in shape)), node.output[0]),)


def _has_element(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """A tensor that is there is an optional that has an element."""
    return (Known(np.array(walk.value(node, 0) is not None), node.output[0]),)


ARRANGING: dict[str, Rule] = {
    "Shape": _shape, "Identity": _identity, "Dropout": _dropout, "Reshape": _reshape,
    "Flatten": _flatten, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Transpose": _transpose, "Concat": _concat,
    "Slice": _slice, "Split": _split, "Size": _size, "OptionalHasElement": _has_element,
    "OptionalGetElement": _identity,
}  # fmt: skip
