"""The ONNX operators that pick, place and repeat values by indices: Gather*, Scatter*, Expand, Tile, Trilu, Compress.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: indices may be data, except where the shape of the result depends on them; known negative ones are turned.
Does not: gather with batch dimensions (GatherND), or find what is not zero in data.
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import cast

import numpy as np
from onnx import NodeProto, numpy_helper

from onchip.frontends.onnx.arrange import dims_of, settle
from onchip.frontends.onnx.elementwise import arithmetic
from onchip.frontends.onnx.walk import DTYPES, Dims, Fill, Known, Value, Walk
from onchip.ops.types import Shape, axis_of, broadcast

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def _gather(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Take a table's rows, one index of an axis, or a dimension out of a shape."""
    value, indices = walk.value(node, 0), walk.value(node, 1)
    axis = int(walk.attributes(node).get("axis", 0))
    if isinstance(value, Dims) and isinstance(indices, Known):
        picked = tuple(value.dims[int(i)] for i in indices.array.reshape(-1))
        return (settle(picked, is_scalar=indices.array.ndim == 0, name=node.output[0]),)
    x = walk.tensor(node, 0)
    shape = walk.canvas.shape(x)
    axis = axis_of(axis, len(shape))
    if isinstance(indices, Known) and indices.array.ndim == 0:
        return (walk.canvas.select(x, walk.name(node), axis=axis, index=int(indices.array)),)
    size = shape[axis]
    if isinstance(indices, Known) and (indices.array < 0).any() and isinstance(size, int):
        turned = np.where(indices.array < 0, indices.array + size, indices.array)  # from the end
        ids = walk.canvas.constant(indices.name, turned)
    else:
        ids = walk.tensor(node, 1)
    axes = {"axis": axis} if axis else {}
    return (walk.canvas.node("gather", (x, ids), walk.name(node), **axes),)


def _elements(op: str) -> Rule:
    """Make the rule of GatherElements and ScatterElements."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        a, inputs = walk.attributes(node), [walk.tensor(node, i) for i in range(len(node.input))]
        axis = axis_of(int(a.get("axis", 0)), len(walk.canvas.shape(inputs[0])))
        more = {"reduction": str(a.get("reduction", b"none"), "ascii")} if op == "scatter_elements" else {}
        return (walk.canvas.node(op, inputs, walk.name(node), axis=axis, **more),)

    return rule


def _gather_nd(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    if walk.attributes(node).get("batch_dims", 0):
        raise walk.refuse(node, f"batch_dims {walk.attributes(node)['batch_dims']}")
    return (walk.canvas.node("gather_nd", (walk.tensor(node, 0), walk.tensor(node, 1)), walk.name(node)),)


def _scatter_nd(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    form = str(walk.attributes(node).get("reduction", b"none"), "ascii")
    inputs = [walk.tensor(node, i) for i in range(3)]
    return (walk.canvas.node("scatter_nd", inputs, walk.name(node), reduction=form),)


def _compress(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Keep what a known condition keeps, along an axis or of the flat tensor."""
    condition = walk.known(node, 1, "condition")
    assert condition is not None  # the checker wants it
    x, name, axis = walk.tensor(node, 0), walk.name(node), walk.attributes(node).get("axis")
    shape = walk.canvas.shape(x)
    if axis is None:
        if any(isinstance(d, str) for d in shape):
            raise walk.refuse(node, "of a tensor with a symbolic dimension", code="OC1353")
        x, axis = walk.canvas.reshape(x, (prod(int(d) for d in shape),), f"{name}.flat"), 0
    kept = np.flatnonzero(condition)
    if not kept.size:
        raise walk.refuse(node, "keeps nothing", code="OC1353")
    ids = walk.canvas.constant(f"{name}.ids", kept.astype(np.int64))
    return (walk.canvas.node("gather", (x, ids), name, axis=axis_of(int(axis), len(walk.canvas.shape(x)))),)


def _expand(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    value, wanted = walk.value(node, 0), dims_of(walk, node, 1)
    if isinstance(value, Known) and value.array.size == 1 and any(isinstance(d, str) for d in wanted):
        return (Fill(float(value.array.reshape(-1)[0]), wanted),)
    x = walk.tensor(node, 0)
    shape = walk.canvas.shape(x)
    aligned = (1,) * (len(shape) - len(wanted)) + wanted
    if len(shape) == len(aligned) and all(w in (1, d) for w, d in zip(aligned, shape, strict=True)):
        return (x,)
    return (spread(walk, x, broadcast((shape, wanted)), walk.name(node)),)


def spread(walk: Walk, x: str, shape: Shape, name: str) -> str:
    """Broadcast a tensor to a shape, symbols included."""
    if walk.canvas.shape(x) == shape:
        return x
    is_known = all(isinstance(d, int) for d in shape)
    target = cast("tuple[int, ...]", shape) if is_known else tuple(map(str, shape))
    return walk.canvas.node("broadcast_to", (x,), name, shape=target)


def _tile(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    repeats = walk.integers(node, 1, "repeats")
    assert repeats is not None  # the checker wants it
    return (walk.canvas.node("tile", (walk.tensor(node, 0),), walk.name(node), repeats=tuple(repeats)),)


def _trilu(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    k, is_upper = walk.integers(node, 1, "k") or [0], bool(walk.attributes(node).get("upper", 1))
    return (arithmetic(walk, "trilu", (walk.tensor(node, 0),), walk.name(node), k=k[0], upper=is_upper),)


def _reverse_sequence(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Turn the first `lengths` steps of each sequence: a gather by indices that are known."""
    a, x, lengths = walk.attributes(node), walk.tensor(node, 0), walk.known(node, 1, "sequence_lens")
    shape, time, batch = walk.canvas.shape(x), int(a.get("time_axis", 0)), int(a.get("batch_axis", 1))
    if lengths is None or any(isinstance(d, str) for d in shape):
        raise walk.refuse(node, "over symbolic dimensions", code="OC1353")
    sizes = [int(d) for d in shape]
    walk.spend(node, prod(sizes))
    steps = np.arange(sizes[time])[:, None]
    own = np.where(steps < lengths, lengths - 1 - steps, steps)  # [time, batch]
    grid = own if time < batch else own.T
    full = np.broadcast_to(grid.reshape(*grid.shape, *(1,) * (len(sizes) - 2)), sizes).astype(np.int64)
    ids = walk.canvas.constant(f"{walk.name(node)}.ids", np.ascontiguousarray(full))
    return (walk.canvas.node("gather_elements", (x, ids), walk.name(node), axis=time),)


def _constant_of_shape(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    given = walk.attributes(node).get("value")
    value = np.zeros(1, np.float32) if given is None else numpy_helper.to_array(given)
    shape = dims_of(walk, node, 0)
    if all(isinstance(d, int) for d in shape):
        walk.spend(node, prod(int(d) for d in shape))
        return (Known(np.full([int(d) for d in shape], value.reshape(-1)[0]), node.output[0]),)
    return (Fill(float(value.reshape(-1)[0]), shape),)


def _eye_like(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Only the shape of the input counts, and its dtype where none is given."""
    from onnx import helper

    x, a = walk.tensor(node, 0), walk.attributes(node)
    shape = walk.canvas.shape(x)
    if len(shape) != 2 or any(isinstance(d, str) for d in shape):
        raise walk.refuse(node, f"of shape {shape}", code="OC1353")
    kind = a.get("dtype") or next(k for k, v in DTYPES.items() if v == walk.canvas.dtype(x))
    rows, columns = int(shape[0]), int(shape[1])
    walk.spend(node, rows * columns)
    array = np.eye(rows, columns, int(a.get("k", 0)), helper.tensor_dtype_to_np_dtype(kind))
    return (Known(array, node.output[0]),)


INDEXED: dict[str, Rule] = {
    "Gather": _gather, "GatherElements": _elements("gather_elements"), "GatherND": _gather_nd,
    "ScatterElements": _elements("scatter_elements"), "Scatter": _elements("scatter_elements"),
    "ScatterND": _scatter_nd, "Compress": _compress, "Expand": _expand, "Tile": _tile, "Trilu": _trilu,
    "ReverseSequence": _reverse_sequence, "ConstantOfShape": _constant_of_shape, "EyeLike": _eye_like,
}  # fmt: skip
