"""The operators of torch that only arrange values: views, slices, joins, and tensors of one number.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the value of the node, as in ops.py.
Promises: shapes are those that torch inferred; a tensor of one number over a symbolic shape stays a number (Fill).
Does not: copy where torch copies (clone, contiguous): a value is a value.
Sources:  aten/src/ATen/native/native_functions.yaml for names, arguments and defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch import fx

from onchip.frontends.torch.walk import Fill, Value, Walk, Wide

Arguments = Mapping[str, Any]
Rule = Callable[[Walk, fx.Node, Arguments], Value]


def _reshape(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    value = walk.value(a["self"])
    if isinstance(value, Fill):
        return Fill(value.value, walk.shape(node))
    return walk.canvas.reshape(walk.tensor(node, a["self"]), walk.shape(node), walk.name(node))


def _permute(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    rank = len(walk.canvas.shape(x))
    return walk.canvas.transpose(x, [d % rank for d in a["dims"]], walk.name(node))


def _transpose(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    perm = list(range(len(walk.canvas.shape(x))))
    first, second = a.get("dim0", 0), a.get("dim1", 1)
    if perm:
        perm[first], perm[second] = perm[second], perm[first]
    return walk.canvas.transpose(x, perm, walk.name(node))


def _same(walk: Walk, node: fx.Node, _a: Arguments) -> Value:
    return walk.value(node.args[0])


def _cast(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    source = a["self"]
    if isinstance(source, fx.Node) and source.meta["val"].dtype == node.meta["val"].dtype:
        return walk.value(source)
    value = walk.value(source)
    if isinstance(value, Fill):
        return value
    x = walk.operand(node, source)
    made = walk.canvas.node("cast", (x,), walk.name(node), dtype=walk.dtype(node, node.meta["val"].dtype))
    return made if walk.canvas.shape(made) == walk.shape(node) else Wide(made)


def _cat(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    parts = [walk.tensor(node, t) for t in a["tensors"]]
    return walk.canvas.node("concat", parts, walk.name(node), axis=int(a["dim"]) % len(walk.shape(node)))


def _stack_op(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    shape, axis = walk.shape(node), int(a["dim"]) % len(walk.shape(node))
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    parts = [walk.canvas.reshape(walk.tensor(node, t), one, f"{walk.name(node)}.row") for t in a["tensors"]]
    return walk.canvas.node("concat", parts, walk.name(node), axis=axis)


def _slice(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    start, stop = a["start"] or 0, 2**63 - 1 if a["end"] is None else a["end"]
    value = walk.value(a["self"])
    if isinstance(value, Fill):
        return Fill(value.value, walk.shape(node))
    if not isinstance(start, int) or not isinstance(stop, int):
        if walk.shape(node) == walk.shape(a["self"]):
            return value
        raise walk.refuse(node, "a slice with a bound that is no number", code="OC1353")
    x = walk.tensor(node, a["self"])
    return walk.canvas.slice(x, walk.name(node), axis=int(a["dim"]), start=start, stop=stop, step=int(a["step"]))


def _select(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    value = walk.value(a["self"])
    if isinstance(value, Fill):
        return Fill(value.value, walk.shape(node))
    x = walk.tensor(node, a["self"])
    return walk.canvas.select(x, walk.name(node), axis=int(a["dim"]), index=int(a["index"]))


def _split(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, axis = walk.tensor(node, a["self"]), int(a["dim"])
    sizes = a.get("split_sizes", a.get("split_size"))
    whole = walk.canvas.shape(x)[axis]
    if isinstance(sizes, int):
        sizes = [min(sizes, int(whole) - at) for at in range(0, int(whole), sizes)]
    ends = [int(e) for e in np.cumsum(cast("Sequence[int]", sizes))]
    starts = [0, *ends[:-1]]
    name = walk.name(node)
    return tuple(walk.canvas.slice(x, name, axis=axis, start=s, stop=e) for s, e in zip(starts, ends, strict=True))


def _expand(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    value = walk.value(a["self"])
    if isinstance(value, Fill):
        return Fill(value.value, walk.shape(node))
    if isinstance(value, Wide):
        return value
    x = walk.tensor(node, a["self"])
    return x if walk.canvas.shape(x) == walk.shape(node) else Wide(x)


def _full(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return Fill(float(a["fill_value"]), walk.shape(node))


def _filled(value: float) -> Rule:
    return lambda walk, node, _a: Fill(value, walk.shape(node))


def _arange(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """With numbers it is known, and does not come here."""
    raise walk.refuse(node, "counts up to a symbolic dimension", code="OC1353")


def _unbind(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, axis = walk.tensor(node, a["self"]), int(a["dim"])
    size = walk.canvas.shape(x)[axis]
    if isinstance(size, str):
        raise walk.refuse(node, f"takes the symbolic dimension '{size}' apart", code="OC1353")
    return tuple(walk.canvas.select(x, walk.name(node), axis=axis, index=i) for i in range(size))


ARRANGING: dict[str, Rule] = {
    "view.default": _reshape, "_unsafe_view.default": _reshape, "reshape.default": _reshape,
    "unsqueeze.default": _reshape, "squeeze.dim": _reshape, "squeeze.dims": _reshape, "squeeze.default": _reshape,
    "flatten.using_ints": _reshape,
    "permute.default": _permute, "transpose.int": _transpose, "t.default": _transpose,
    "clone.default": _same, "contiguous.default": _same, "alias.default": _same, "detach.default": _same,
    "lift_fresh_copy.default": _same, "dropout.default": _same, "_to_copy.default": _cast,
    "arange.default": _arange, "arange.start": _arange, "arange.start_step": _arange, "unbind.int": _unbind,
    "unflatten.int": _reshape, "view_as.default": _reshape,
    "expand_as.default": _expand, "to.dtype": _cast, "lift_fresh.default": _same, "new_zeros.default": _filled(0.0),
    "new_ones.default": _filled(1.0), "zeros_like.default": _filled(0.0), "ones_like.default": _filled(1.0),
    "full_like.default": _full, "new_full.default": _full,
    "cat.default": _cat, "stack.default": _stack_op,
    "slice.Tensor": _slice, "select.int": _select, "split_with_sizes.default": _split, "split.Tensor": _split,
    "expand.default": _expand, "full.default": _full, "zeros.default": _filled(0.0), "ones.default": _filled(1.0),
}  # fmt: skip
