"""Reductions: along `axes` to one value, or along one `axis` to positions, running sums or the k largest.

In: one tensor. Out: one tensor; top_k gives values and ids. The reduced axes stay as 1 with `keepdims`.
Promises: float sums are taken in float64 and rounded once; integers stay integers of their dtype.
variance divides by the count minus `correction` (0: of the population, as in norms; 1: torch's default).
argmax, argmin and top_k give the first of equal values; argmax and argmin the last one with `select_last`.
top_k is sorted, the largest first (the smallest with `largest` = False).
In int8: sum, sum_squares and cumsum are exact sums, requantized once (sum "double" is LiteRT SUM of uint8 and unequal
scales: its int8 form reads the bytes as uint8);
reduce_max and reduce_min bring the extreme to the output's scale (none at equal scales, as LiteRT); prod is LiteRT's
chain of requantized products; variance and l2_norm are the sequences of rownorm.py, within 1 of the rounded float.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from onchip.numerics import INT32_MAX, INT32_MIN, clamp, quantize_multiplier, wide
from onchip.ops.copying import copied
from onchip.ops.requantizing import activate
from onchip.ops.rownorm import l2_norm_rows, variance_rows
from onchip.ops.types import (
    Array,
    Attributes,
    AttributeValue,
    Dimension,
    Op,
    Params,
    Quantization,
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


def _both(given: Params, made: Params) -> tuple[Quantization, Quantization]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    return px, py


def _sum_integer(power: int) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
        px, py = _both(given, made)
        v = (wide(x) - px.zero_point[0]) ** power
        acc = v.sum(axis=reduced_axes(attributes, x.ndim), keepdims=attributes.flag("keepdims"))
        return (activate(attributes, np.asarray(acc), px.scale[0] ** power, py),)

    return integer


def _extreme_integer(name: str) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
        y = REDUCTIONS[name](x, reduced_axes(attributes, x.ndim), attributes.flag("keepdims"))
        if given[0] == made[0]:
            return (np.asarray(y),)
        px, py = _both(given, made)
        return (activate(attributes, np.asarray(wide(y) - px.zero_point[0]), px.scale[0], py),)

    return integer


def as_rows(attributes: Attributes, x: Array) -> tuple[Array, tuple[int, ...]]:
    """Give the values to reduce as rows [M, n], and the shape of the result."""
    axes = reduced_axes(attributes, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose(*kept, *axes).reshape(prod(x.shape[i] for i in kept), -1)
    return rows, tuple(int(n) for n in _without(x.shape, axes, is_kept=attributes.flag("keepdims")))


def _prod_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    """Multiply one by one, rescaled by sx / sy^(1/n) each time, with a multiplier of 16 bits that rounds once.

    LiteRT QuantizedReduceProd in every rounding mode; where its 32 bits would overflow, ours saturate.
    """
    px, py = _both(given, made)
    rows, shape = as_rows(attributes, x)
    q, e = quantize_multiplier(px.scale[0] / py.scale[0] ** (1.0 / rows.shape[1]))
    q = min((q + (1 << 15)) >> 16, 0x7FFF)
    v = wide(rows) - px.zero_point[0]
    total = v[:, 0]
    for i in range(1, rows.shape[1] + 1):
        product = total * v[:, i] if i < rows.shape[1] else total
        total = clamp((product * q + (1 << (14 - e))) >> (15 - e), INT32_MIN, INT32_MAX)
    return (clamp(total + py.zero_point[0], -128, 127).astype(np.int8).reshape(shape),)


def _cumsum_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = _both(given, made)
    (acc,) = _cumsum(attributes, wide(x) - px.zero_point[0])
    return (activate(attributes, acc, px.scale[0], py),)


RowSequence: TypeAlias = Callable[[Attributes, Array, Quantization, Quantization], Array]


def _rows_integer(function: RowSequence) -> Callable[..., tuple[Array]]:
    def integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
        px, py = _both(given, made)
        rows, shape = as_rows(attributes, x)
        return (function(attributes, rows, px, py).reshape(shape),)

    return integer


INTEGER: dict[str, Callable[..., tuple[Array]]] = {
    "sum": _sum_integer(1),
    "sum_squares": _sum_integer(2),
    "prod": _prod_integer,
    "reduce_max": _extreme_integer("reduce_max"),
    "reduce_min": _extreme_integer("reduce_min"),
    "l2_norm": _rows_integer(lambda _attributes, rows, px, py: l2_norm_rows(rows, px, py)),
    "variance": _rows_integer(lambda a, rows, px, py: variance_rows(rows, px, py, a.integer("correction"))),
}
_AXES: dict[str, AttributeValue] = {"axes": (), "keepdims": False}
_AXIS: dict[str, AttributeValue] = {"keepdims": False, "select_last": False}

OPS: tuple[Op, ...] = (
    *(
        Op(name, ("x",), _axes_shape, _over_axes(f), defaults=_AXES, integer=INTEGER[name], vector_ops=_input_elements)
        for name, f in REDUCTIONS.items()
    ),
    Op(
        "variance",
        ("x",),
        _axes_shape,
        _variance,
        defaults={**_AXES, "correction": 0},
        integer=INTEGER["variance"],
        vector_ops=_input_elements,
    ),
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
    Op(
        "cumsum",
        ("x",),
        _cumsum_shape,
        _cumsum,
        needs=("axis",),
        defaults={"exclusive": False, "reverse": False},
        integer=_cumsum_integer,
    ),
    Op(
        "top_k",
        ("x",),
        _top_k_shape,
        _top_k,
        integer=copied(_top_k),
        needs=("k",),
        defaults={"axis": -1, "largest": True},
        dtypes=_values_and_ids,
        vector_ops=_input_elements,
        outputs=("values", "ids"),
    ),
)
