"""Reductions: along `axes` to one value, or along one `axis` to positions, running sums or the k largest.

In: one tensor. Out: one tensor; top_k gives values and ids. The reduced axes stay as 1 with `keepdims`.
Promises: float sums are taken in float64 and rounded once; integers stay integers of their dtype.
variance divides by the count minus `correction` (0: of the population, as in norms; 1: torch's default).
argmax, argmin and top_k give the first of equal values; argmax and argmin the last one with `select_last`.
top_k is sorted, the largest first (the smallest with `largest` = False).
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from onchip.ops.types import (
    Array,
    Attributes,
    AttributeValue,
    Dimension,
    Op,
    Refusal,
    Shape,
    Shapes,
    axis_of,
    elements,
    number,
    present,
)


def reduced_axes(attributes: Attributes, rank: int) -> tuple[int, ...]:
    """Give the sorted axes; none named stands for all of them."""
    axes = attributes.integers("axes")
    return tuple(sorted({axis_of(a, rank) for a in axes})) if axes else tuple(range(rank))


def _without(shape: Shape, axes: Sequence[int], *, is_kept: bool) -> Shape:
    kept: list[Dimension] = [1 if i in axes else d for i, d in enumerate(shape) if is_kept or i not in axes]
    return tuple(kept)


def _axes_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    return (_without(x, reduced_axes(attributes, len(x)), is_kept=attributes.flag("keepdims")),)


def _axis_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    axis = axis_of(attributes.integer("axis"), len(x))
    return (_without(x, (axis,), is_kept=attributes.flag("keepdims")),)


def _cumsum_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    axis_of(attributes.integer("axis"), len(x))
    return (x,)


def _top_k_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, k = present(shapes[0], "x"), attributes.integer("k")
    axis = axis_of(attributes.integer("axis"), len(x))
    n = number(x[axis], "the axis of top_k")
    if not 1 <= k <= n:
        raise Refusal("OC1315", f"k is {k}, has to be from 1 to {n}")
    made = (*x[:axis], k, *x[axis + 1 :])
    return made, made


def _ids(_attributes: Attributes, _dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return ("i64",)


def _values_and_ids(_attributes: Attributes, dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return (dtypes[0] or "f32", "i64")


def _input_elements(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    return elements(inputs[0])


def _over_axes(function: Callable[[Array, tuple[int, ...], bool], Array]) -> Callable[..., tuple[Array]]:
    def reference(attributes: Attributes, x: Array) -> tuple[Array]:
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        y = function(wide, reduced_axes(attributes, x.ndim), attributes.flag("keepdims"))
        return (np.asarray(y).astype(x.dtype),)

    return reference


REDUCTIONS: dict[str, Callable[[Array, tuple[int, ...], bool], Array]] = {
    "sum": lambda x, axes, keep: x.sum(axis=axes, keepdims=keep),
    "prod": lambda x, axes, keep: x.prod(axis=axes, keepdims=keep),
    "reduce_max": lambda x, axes, keep: x.max(axis=axes, keepdims=keep),
    "reduce_min": lambda x, axes, keep: x.min(axis=axes, keepdims=keep),
    "sum_squares": lambda x, axes, keep: (x * x).sum(axis=axes, keepdims=keep),
    "l2_norm": lambda x, axes, keep: np.sqrt((x * x).sum(axis=axes, keepdims=keep)),
}


def _variance(attributes: Attributes, x: Array) -> tuple[Array]:
    axes, correction = reduced_axes(attributes, x.ndim), attributes.integer("correction")
    count = prod(x.shape[a] for a in axes)
    if count <= correction:
        raise Refusal("OC1315", f"correction {correction} needs more than {count} values")
    v = x.astype(np.float64)
    c = v - v.mean(axis=axes, keepdims=True)
    y = (c * c).sum(axis=axes, keepdims=attributes.flag("keepdims")) / (count - correction)
    return (np.asarray(y, np.float32),)


def _arg(function: Callable[..., Array]) -> Callable[..., tuple[Array]]:
    def reference(attributes: Attributes, x: Array) -> tuple[Array]:
        axis, keep = axis_of(attributes.integer("axis"), x.ndim), attributes.flag("keepdims")
        if attributes.flag("select_last"):
            return (x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=keep).astype(np.int64),)
        return (np.asarray(function(x, axis=axis, keepdims=keep), np.int64),)

    return reference


def _cumsum(attributes: Attributes, x: Array) -> tuple[Array]:
    axis = axis_of(attributes.integer("axis"), x.ndim)
    v = np.flip(x, axis) if attributes.flag("reverse") else x
    wide = np.moveaxis(v.astype(np.float64 if x.dtype.kind == "f" else np.int64), axis, 0)
    y = np.cumsum(wide, axis=0)
    if attributes.flag("exclusive"):
        y = np.concatenate([np.zeros_like(y[:1]), y[:-1]])
    y = np.moveaxis(y, 0, axis)
    return (np.ascontiguousarray(np.flip(y, axis) if attributes.flag("reverse") else y).astype(x.dtype),)


def _top_k(attributes: Attributes, x: Array) -> tuple[Array, Array]:
    axis, k = axis_of(attributes.integer("axis"), x.ndim), attributes.integer("k")
    wide = x if x.dtype.kind == "f" else x.astype(np.int64)
    order = np.argsort(-wide if attributes.flag("largest") else wide, axis=axis, kind="stable")
    ids = np.take(order, np.arange(k), axis=axis).astype(np.int64)
    return np.take_along_axis(x, ids, axis), ids


_AXES: dict[str, AttributeValue] = {"axes": (), "keepdims": False}
_AXIS: dict[str, AttributeValue] = {"keepdims": False, "select_last": False}

OPS: tuple[Op, ...] = (
    *(
        Op(name, ("x",), _axes_shape, _over_axes(f), defaults=_AXES, vector_ops=_input_elements)
        for name, f in REDUCTIONS.items()
    ),
    Op("variance", ("x",), _axes_shape, _variance, defaults={**_AXES, "correction": 0}, vector_ops=_input_elements),
    Op(
        "argmax",
        ("x",),
        _axis_shape,
        _arg(np.argmax),
        needs=("axis",),
        defaults=_AXIS,
        dtypes=_ids,
        vector_ops=_input_elements,
    ),
    Op(
        "argmin",
        ("x",),
        _axis_shape,
        _arg(np.argmin),
        needs=("axis",),
        defaults=_AXIS,
        dtypes=_ids,
        vector_ops=_input_elements,
    ),
    Op("cumsum", ("x",), _cumsum_shape, _cumsum, needs=("axis",), defaults={"exclusive": False, "reverse": False}),
    Op(
        "top_k",
        ("x",),
        _top_k_shape,
        _top_k,
        needs=("k",),
        defaults={"axis": -1, "largest": True},
        dtypes=_values_and_ids,
        vector_ops=_input_elements,
        outputs=("values", "ids"),
    ),
)
