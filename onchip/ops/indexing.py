"""Ops that repeat, pick and place: broadcast_to, tile, gather_elements, gather_nd, scatter_*, one_hot, trilu.

In: data, and for most ids (any integer dtype; negative ones count from the end). Out: one tensor.
Promises: bits are copied, so in integers data, updates and output share one quantization; add and mul are refused.
broadcast_to broadcasts x with `shape` both ways (ONNX Expand); tile repeats whole axes.
gather_elements: y[i][j] = x[ids[i][j]][j] along `axis` 0; scatter_elements writes the same way.
gather_nd: the last dimension of ids indexes the first ones of x; scatter_nd writes there.
`reduction` none overwrites (ids must not repeat), add, mul, max, min combine (ONNX 18).
one_hot: `depth` values along a new `axis`, `on` where the id is, else `off`; ids outside give all `off`.
trilu keeps the triangle of the last two axes above (`upper`) or below diagonal `k`, zeros elsewhere.
"""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from onchip.ops.compare import cast_array
from onchip.ops.copying import copied, integer_of, same_quantization
from onchip.ops.picture import one_of
from onchip.ops.types import (
    Array,
    Attributes,
    Dimension,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    axis_of,
    broadcast,
    number,
    positive,
    present,
    show,
)

REDUCTIONS: dict[str, np.ufunc] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _target(attributes: Attributes) -> Shape:
    """Read a shape: integers, or texts that are integers or symbols."""
    given = cast("tuple[Dimension, ...]", attributes.integers("shape"))
    return tuple(int(d) if isinstance(d, str) and d.isdigit() else d for d in given)


def _broadcast_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    target = _target(attributes)
    positive([d for d in target if isinstance(d, int)], "shape")
    return (broadcast((present(shapes[0], "x"), target)),)


def _broadcast_to(attributes: Attributes, x: Array) -> tuple[Array]:
    target = _target(attributes)
    if any(isinstance(d, str) for d in target):
        raise Refusal("OC1325", "a target with symbols has to be bound before it runs")
    shape = cast("tuple[int, ...]", broadcast((x.shape, target)))
    return (np.ascontiguousarray(np.broadcast_to(x, shape)),)


def _tile_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, repeats = present(shapes[0], "x"), attributes.integers("repeats")
    positive(repeats, "repeats")
    if len(repeats) != len(x):
        raise Refusal("OC1315", f"{len(repeats)} repeats for {len(x)} dimensions")
    return (tuple(d if n == 1 else number(d, "a repeated dimension") * n for d, n in zip(x, repeats, strict=True)),)


def _tile(attributes: Attributes, x: Array) -> tuple[Array]:
    return (np.tile(x, attributes.integers("repeats")),)


def _checked(ids: Array, size: int) -> NDArray[np.int64]:
    """Refuse ids outside; NumPy counts negative ones from the end."""
    index = ids.astype(np.int64)
    if index.size and not (index.min() >= -size and index.max() < size):
        raise Refusal("OC1406", f"an index lies outside of {-size}..{size - 1}: {index.min()} to {index.max()}")
    return index


def _elements_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, ids = present(shapes[0], "x"), present(shapes[1], "ids")
    axis = axis_of(attributes.integer("axis"), len(x))
    if len(ids) != len(x):
        raise Refusal("OC1314", f"shapes {show(x)} and {show(ids)} differ in rank")
    for i, (a, b) in enumerate(zip(x, ids, strict=True)):
        if i != axis and a != b and not (isinstance(a, int) and isinstance(b, int) and b < a):
            raise Refusal("OC1314", f"ids {show(ids)} reach outside of {show(x)}")
    return (ids,)


def _element_index(attributes: Attributes, x: Array, ids: Array) -> tuple[Array, ...]:
    axis = axis_of(attributes.integer("axis"), x.ndim)
    checked = _checked(ids, x.shape[axis])
    grid = np.indices(ids.shape, sparse=True)
    return tuple(checked if i == axis else g for i, g in enumerate(grid))


def _gather_elements(attributes: Attributes, x: Array, ids: Array) -> tuple[Array]:
    return (x[_element_index(attributes, x, ids)],)


def _nd_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, ids = present(shapes[0], "x"), present(shapes[1], "ids")
    depth = number(ids[-1], "the last dimension of ids") if ids else 0
    if not 1 <= depth <= len(x):
        raise Refusal("OC1312", f"ids {show(ids)} do not index {show(x)}")
    return ((*ids[:-1], *x[depth:]),)


def _nd_index(x: Array, ids: Array) -> tuple[Array, ...]:
    return tuple(_checked(ids[..., i], x.shape[i]) for i in range(ids.shape[-1]))


def _gather_nd(_attributes: Attributes, x: Array, ids: Array) -> tuple[Array]:
    return (x[_nd_index(x, ids)],)


def _scatter_shape(attributes: Attributes, shapes: Shapes, want: Shape) -> tuple[Shape, ...]:
    one_of(attributes, "reduction", ("none", *REDUCTIONS))
    x, updates = present(shapes[0], "x"), present(shapes[2], "updates")
    if updates != want:
        raise Refusal("OC1314", f"updates have shape {show(updates)}, need {show(want)}")
    return (x,)


def _scatter_nd_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return _scatter_shape(attributes, shapes, _nd_shape(attributes, shapes)[0])


def _scatter_elements_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return _scatter_shape(attributes, shapes, _elements_shape(attributes, shapes)[0])


def _write(attributes: Attributes, x: Array, index: tuple[Array, ...], updates: Array) -> Array:
    y, reduction = x.copy(), attributes.text("reduction")
    if reduction == "none":
        y[index] = updates
    else:
        REDUCTIONS[reduction].at(y, index, updates)
    return y


def _scatter_nd(attributes: Attributes, x: Array, ids: Array, updates: Array) -> tuple[Array]:
    return (_write(attributes, x, _nd_index(x, ids), updates),)


def _scatter_elements(attributes: Attributes, x: Array, ids: Array, updates: Array) -> tuple[Array]:
    return (_write(attributes, x, _element_index(attributes, x, ids), updates),)


def _one_hot_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    ids, depth = present(shapes[0], "ids"), attributes.integer("depth")
    positive((depth,), "depth")
    axis = axis_of(attributes.integer("axis"), len(ids) + 1)
    return ((*ids[:axis], depth, *ids[axis:]),)


def _one_hot(attributes: Attributes, ids: Array) -> tuple[Array]:
    depth, axis = attributes.integer("depth"), axis_of(attributes.integer("axis"), ids.ndim + 1)
    index = ids.astype(np.int64)
    index = np.where(index < 0, index + depth, index)
    hit = np.moveaxis(index[..., None] == np.arange(depth), -1, axis)
    on, off = attributes.number("on"), attributes.number("off")
    return (cast_array(np.where(hit, on, off), attributes.text("dtype")),)


def _named_dtype(attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return (attributes.text("dtype"),)


def _trilu_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    if len(x) < 2:
        raise Refusal("OC1312", f"'x' has shape {show(x)}, needs two dimensions or more")
    return (x,)


def triangle(attributes: Attributes, x: Array, zero: int) -> Array:
    """Keep the triangle, `zero` elsewhere."""
    k, (rows, columns) = attributes.integer("k"), x.shape[-2:]
    lower = np.tri(rows, columns, k - 1 if attributes.flag("upper") else k, dtype=np.bool_)
    return np.where(lower != attributes.flag("upper"), x, x.dtype.type(zero))


def _trilu(attributes: Attributes, x: Array) -> tuple[Array]:
    return (triangle(attributes, x, 0),)


def _one_hot_integer(attributes: Attributes, _given: Params, made: Params, ids: Array) -> tuple[Array]:
    on, off = (integer_of(attributes.number(k), made[0]) for k in ("on", "off"))
    values = {"on": on, "off": off, "dtype": attributes.text("dtype")}
    return _one_hot(Attributes({**values, **{k: attributes.integer(k) for k in ("depth", "axis")}}), ids)


def _trilu_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    same_quantization(given, made)
    return (triangle(attributes, x, integer_of(0.0, given[0])),)


def _scattered(reference: Callable[..., tuple[Array]]) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, *arrays: Array) -> tuple[Array]:
        same_quantization(given, made, (0, 2))
        if made[0] is not None and attributes.text("reduction") in ("add", "mul"):
            raise Refusal("OC1335", f"reduction '{attributes.text('reduction')}' has no integer meaning")
        return reference(attributes, *arrays)

    return integer


OPS: tuple[Op, ...] = (
    Op("broadcast_to", ("x",), _broadcast_shape, _broadcast_to, needs=("shape",), integer=copied(_broadcast_to)),
    Op("tile", ("x",), _tile_shape, _tile, needs=("repeats",), integer=copied(_tile)),
    Op(
        "gather_elements",
        ("x", "ids"),
        _elements_shape,
        _gather_elements,
        needs=("axis",),
        integer=copied(_gather_elements),
    ),
    Op("gather_nd", ("x", "ids"), _nd_shape, _gather_nd, integer=copied(_gather_nd)),
    Op(
        "scatter_nd",
        ("x", "ids", "updates"),
        _scatter_nd_shape,
        _scatter_nd,
        defaults={"reduction": "none"},
        integer=_scattered(_scatter_nd),
    ),
    Op(
        "scatter_elements",
        ("x", "ids", "updates"),
        _scatter_elements_shape,
        _scatter_elements,
        integer=_scattered(_scatter_elements),
        needs=("axis",),
        defaults={"reduction": "none"},
    ),
    Op(
        "one_hot",
        ("ids",),
        _one_hot_shape,
        _one_hot,
        integer=_one_hot_integer,
        needs=("depth",),
        defaults={"axis": -1, "on": 1.0, "off": 0.0, "dtype": "f32"},
        dtypes=_named_dtype,
    ),
    Op("trilu", ("x",), _trilu_shape, _trilu, defaults={"k": 0, "upper": True}, integer=_trilu_integer),
)
