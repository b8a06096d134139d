"""Ops on truth values: what masks are made of.

In: bool tensors; for `where` also two tensors to choose from. Out: a tensor of the broadcast shape.
Promises: the same in a float and in an integer graph, since a bool has no quantization; `where` is float only.
"""

from collections.abc import Sequence

import numpy as np

from onchip.ops.types import Array, Attributes, Op, Shape, Shapes, broadcast, present


def _same_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (present(shapes[0], "x"),)


def _broadcast_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (broadcast((present(shapes[0], "a"), present(shapes[1], "b"))),)


def _not(_attributes: Attributes, x: Array) -> tuple[Array]:
    return (np.logical_not(x),)


def _and(_attributes: Attributes, a: Array, b: Array) -> tuple[Array]:
    return (np.logical_and(a, b),)


def _where_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    return (broadcast([present(s, n) for s, n in zip(shapes, ("condition", "a", "b"), strict=True)]),)


def _where(_attributes: Attributes, condition: Array, a: Array, b: Array) -> tuple[Array]:
    return (np.where(condition, a, b),)


def _second_dtype(_attributes: Attributes, dtypes: Sequence[str | None]) -> tuple[str, ...]:
    return (dtypes[1] or "f32",)


OPS: tuple[Op, ...] = (
    Op("logical_not", ("x",), _same_shape, _not),
    Op("logical_and", ("a", "b"), _broadcast_shape, _and),
    Op("where", ("condition", "a", "b"), _where_shape, _where, dtypes=_second_dtype),
)
