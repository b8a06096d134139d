"""blend: along one axis, each output is a weighted sum of a few cells; what is left of `resize` on a machine.

In: x, weights [taps, n] and one vector [n] of cell numbers per tap. Out: x with n cells along `axis`.
y[.., i, ..] = sum over taps t of x[.., cells_t[i], ..] weights[t, i].
In integers the sum is of the integers as they are (weights that sum to 2^k keep a zero point z as z 2^k), divided by
2^shift with halves away from zero, and saturated to i8 or i16 (`dtype`).
"""

from collections.abc import Sequence

import numpy as np

from onchip.numerics import clamp, rounding_divide_by_pot, wide
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    axis_of,
    elements,
    present,
    ranked,
    same,
    show,
)


def _shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, weights = present(shapes[0], "x"), ranked(shapes[1], 2, "weights")
    axis = axis_of(attributes.integer("axis"), len(x))
    if len(shapes) - 2 != weights[0]:
        raise Refusal("OC1314", f"weights {show(weights)} for {len(shapes) - 2} taps")
    for cells in shapes[2:]:
        same(ranked(cells, 1, "cells")[0], weights[1], "lengths of cells and weights")
    return ((*x[:axis], weights[1], *x[axis + 1 :]),)


def _terms(attributes: Attributes, x: Array, weights: Array, cells: Sequence[Array]) -> Array:
    axis = axis_of(attributes.integer("axis"), x.ndim)
    along = (-1, *(1,) * (x.ndim - axis - 1))
    total = np.zeros((), x.dtype)
    for own, weight in zip(cells, weights, strict=True):
        total = total + x.take(own, axis=axis) * weight.reshape(along)
    return np.asarray(total)


def _reference(attributes: Attributes, x: Array, weights: Array, *cells: Array) -> tuple[Array]:
    return (_terms(attributes, x.astype(np.float64), weights.astype(np.float64), cells).astype(np.float32),)


def _integer(
    attributes: Attributes, _given: Params, _made: Params, x: Array, weights: Array, *cells: Array
) -> tuple[Array]:
    total = rounding_divide_by_pot(_terms(attributes, wide(x), wide(weights), cells), attributes.integer("shift"))
    kind = np.int16 if attributes.text("dtype") == "i16" else np.int8
    limits = np.iinfo(kind)
    return (clamp(total, int(limits.min), int(limits.max)).astype(kind),)


def _dtypes(attributes: Attributes, dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return (attributes.text("dtype") or dtypes[0] or "f32",)


def _sums(_attributes: Attributes, inputs: Shapes, outputs: Shapes) -> int:
    return (len(inputs) - 2) * elements(outputs[0])


OPS: tuple[Op, ...] = (
    Op(
        "blend",
        ("x", "weights", "cells"),
        _shape,
        _reference,
        variadic=True,
        needs=("axis",),
        defaults={"shift": 0, "dtype": ""},
        integer=_integer,
        dtypes=_dtypes,
        vector_ops=_sums,
    ),
)
