"""Operators of torch that reduce, order, index and repeat.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the value of the node, as in ops.py.
Promises: axes and counts are numbers. An index that stands alone on one axis is a gather along it.
Does not: index by several tensors at once, or by truth values: the shape of the result depends on data.
Sources:  aten/src/ATen/native/native_functions.yaml for names, arguments and defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, fx

from onchip.frontends.torch.arrange import Arguments, Rule
from onchip.frontends.torch.promote import made_dtype, number, promoted, to_dtype
from onchip.frontends.torch.walk import Value, Walk
from onchip.ops.types import AttributeValue


def _axes(walk: Walk, x: str, dims: Any) -> tuple[int, ...]:
    rank = len(walk.canvas.shape(x))
    given: Sequence[int] = [dims] if isinstance(dims, int) else list(dims or ())
    return tuple(sorted(d % rank for d in (given or range(rank)))) if rank else ()


def reduction(op: str) -> Rule:
    """Make the rule of mean, sum, amax, amin, prod."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = to_dtype(walk, walk.tensor(node, a["self"]), made_dtype(walk, node))
        axes = _axes(walk, x, a.get("dim"))
        return walk.canvas.node(op, (x,), walk.name(node), axes=axes, keepdims=bool(a.get("keepdim", False)))

    return rule


def _truth(op: str) -> Rule:
    """Make the rule of any and all."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = to_dtype(walk, walk.tensor(node, a["self"]), "bool")
        axes = _axes(walk, x, a.get("dim"))
        return walk.canvas.node(op, (x,), walk.name(node), axes=axes, keepdims=bool(a.get("keepdim", False)))

    return rule


def _variance(*, is_root: bool) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x, name = walk.tensor(node, a["self"]), walk.name(node)
        correction = 1 if a.get("correction") is None else int(a["correction"])
        made = walk.canvas.node(
            "variance", (x,), f"{name}.variance" if is_root else name, axes=_axes(walk, x, a.get("dim")),
            keepdims=bool(a.get("keepdim", False)), correction=correction,
        )  # fmt: skip
        return walk.canvas.node("sqrt", (made,), name) if is_root else made

    return rule


def _norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, name, order = walk.tensor(node, a["self"]), walk.name(node), a.get("ord", a.get("p", 2))
    axes, keep = _axes(walk, x, a.get("dim")), bool(a.get("keepdim", False))
    if order not in (1, 2):
        raise walk.refuse(node, f"a norm of order {order}", limit="Order 1 and 2 are read")
    if order == 2:
        return walk.canvas.node("l2_norm", (x,), name, axes=axes, keepdims=keep)
    return walk.canvas.node("sum", (walk.canvas.node("abs", (x,), f"{name}.abs"),), name, axes=axes, keepdims=keep)


def _extreme(op: str, places: str) -> Rule:
    """Make the rule of max and min along one axis: values and their places."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x, name = walk.tensor(node, a["self"]), walk.name(node)
        axis, keep = _axes(walk, x, a["dim"])[0], bool(a["keepdim"])
        values = walk.canvas.node(op, (x,), name, axes=(axis,), keepdims=keep)
        return values, walk.canvas.node(places, (x,), f"{name}.places", axis=axis, keepdims=keep)

    return rule


def _arg(op: str) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = walk.tensor(node, a["self"])
        if a["dim"] is None:
            raise walk.refuse(node, "the place in the flat tensor", limit="Name an axis")
        return walk.canvas.node(
            op, (x,), walk.name(node), axis=_axes(walk, x, a["dim"])[0], keepdims=bool(a["keepdim"])
        )

    return rule


def _cumsum(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = to_dtype(walk, walk.tensor(node, a["self"]), made_dtype(walk, node))
    return walk.canvas.node("cumsum", (x,), walk.name(node), axis=_axes(walk, x, a["dim"])[0])


def _top_k(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    axis, largest = _axes(walk, x, a["dim"])[0], bool(a["largest"])
    return walk.canvas.nodes("top_k", (x,), walk.name(node), k=int(a["k"]), axis=axis, largest=largest)


def _gather(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    inputs = (x, walk.tensor(node, a["index"]))
    return walk.canvas.node("gather_elements", inputs, walk.name(node), axis=_axes(walk, x, a["dim"])[0])


def _index_select(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    return _along(walk, node, x, walk.tensor(node, a["index"]), _axes(walk, x, a["dim"])[0])


def _along(walk: Walk, node: fx.Node, x: str, ids: str, axis: int) -> str:
    more: dict[str, AttributeValue] = {"axis": axis} if axis else {}
    return walk.canvas.node("gather", (x, ids), walk.name(node), **more)


def _index(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """x[:, ids]: one tensor of integers, everything else kept."""
    x, indices = walk.tensor(node, a["self"]), list(cast("Sequence[fx.Node | None]", a["indices"]))
    used = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if any(cast("Tensor", i.meta["val"]).dtype.is_floating_point or made_bool(i) for _, i in used):
        raise walk.refuse(node, "an index of truth values", code="OC1353")
    if len(used) == 1:
        return _along(walk, node, x, walk.tensor(node, used[0][1]), used[0][0])
    if [axis for axis, _ in used] != list(range(len(used))):
        raise walk.refuse(node, "an index by several tensors, not at the front")
    return _index_many(walk, node, x, [i for _, i in used])


def made_bool(node: fx.Node) -> bool:
    """Tell whether a node makes truth values."""
    return str(cast("Tensor", node.meta["val"]).dtype) == "torch.bool"


def _index_many(walk: Walk, node: fx.Node, x: str, indices: Sequence[fx.Node]) -> str:
    """x[i, j]: the indices broadcast, and become the last dimension of those of gather_nd."""
    canvas, name, rank = walk.canvas, walk.name(node), len(canvas_shape(walk, x)) - len(indices)
    shape = walk.shape(node)[: len(walk.shape(node)) - rank]
    rows: list[str] = []
    for i in indices:
        ids = to_dtype(walk, walk.operand(node, i), "i64")
        full = tuple(map(str, shape))
        target = tuple(int(d) for d in shape if isinstance(d, int)) if all(d.isdigit() for d in full) else full
        wide = ids if canvas.shape(ids) == shape else canvas.node("broadcast_to", (ids,), f"{name}.ids", shape=target)
        rows.append(canvas.reshape(wide, (*shape, 1), f"{name}.row"))
    return canvas.node("gather_nd", (x, canvas.node("concat", rows, f"{name}.places", axis=len(shape))), name)


def canvas_shape(walk: Walk, x: str) -> tuple[int | str, ...]:
    """Give the shape of a tensor of the canvas."""
    return walk.canvas.shape(x)


def _scatter(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, ids = walk.tensor(node, a["self"]), walk.tensor(node, a["index"])
    updates = walk.tensor(node, a["src"]) if "src" in a else promoted(walk, node, a["value"], made_dtype(walk, node))
    if walk.canvas.shape(updates) != walk.canvas.shape(ids):
        shape = walk.canvas.shape(ids)
        if "src" in a or any(isinstance(d, str) for d in shape):
            raise walk.refuse(node, "updates of another shape than the index")
        target = tuple(int(d) for d in shape)
        updates = walk.canvas.node("broadcast_to", (updates,), f"{walk.name(node)}.updates", shape=target)
    reduction = "add" if str(node.target).startswith("aten.scatter_add") else "none"
    axis = _axes(walk, x, a["dim"])[0]
    return walk.canvas.node("scatter_elements", (x, ids, updates), walk.name(node), axis=axis, reduction=reduction)


def _triangle(*, is_upper: bool) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = walk.tensor(node, a["self"])
        return walk.canvas.node("trilu", (x,), walk.name(node), k=int(a["diagonal"]), upper=is_upper)

    return rule


def _repeat(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x, repeats = walk.tensor(node, a["self"]), list(a["repeats"])
    if not all(isinstance(r, int) for r in repeats):
        raise walk.refuse(node, "repeats that are no numbers", code="OC1353")
    shape = walk.canvas.shape(x)
    full = walk.canvas.reshape(x, ((1,) * (len(repeats) - len(shape)) + shape), f"{walk.name(node)}.full")
    if all(r == 1 for r in repeats):
        return full
    return walk.canvas.node("tile", (full,), walk.name(node), repeats=tuple(int(r) for r in repeats))


def _flip(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    for axis in _axes(walk, x, a["dims"]):
        x = walk.canvas.slice(x, walk.name(node), axis=axis, start=-1, stop=-(2**31), step=-1)
    return x


def _roll(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """The last `shift` come first."""
    x, name = walk.tensor(node, a["self"]), walk.name(node)
    shifts, dims = list(a["shifts"]), list(a["dims"])
    if not dims or not all(isinstance(s, int) for s in shifts):
        raise walk.refuse(node, "a roll of the flat tensor")
    for shift, dim in zip(shifts, dims, strict=True):
        axis = _axes(walk, x, dim)[0]
        size = walk.canvas.shape(x)[axis]
        if isinstance(size, str):
            raise walk.refuse(node, f"a roll of the symbolic dimension '{size}'", code="OC1353")
        at = size - shift % size
        if at < size:
            ends = (
                walk.canvas.slice(x, f"{name}.end", axis=axis, start=at, stop=size),
                walk.canvas.slice(x, f"{name}.begin", axis=axis, start=0, stop=at),
            )
            x = walk.canvas.node("concat", ends, name, axis=axis)
    return x


def _log_sum_exp(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    canvas, x, name = walk.canvas, walk.tensor(node, a["self"]), walk.name(node)
    axes = _axes(walk, x, a["dim"])
    top = canvas.node("reduce_max", (x,), f"{name}.max", axes=axes, keepdims=True)
    small = canvas.node("exp", (canvas.node("sub", (x, top), f"{name}.sub"),), f"{name}.exp")
    total = canvas.node("log", (canvas.node("sum", (small,), f"{name}.sum", axes=axes, keepdims=True),), f"{name}.log")
    return canvas.reshape(canvas.node("add", (total, top), name), walk.shape(node), f"{name}.out")


def _one_hot(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node(
        "one_hot", (walk.tensor(node, a["self"]),), walk.name(node), depth=int(a["num_classes"]), dtype="i64"
    )


REDUCED: dict[str, Rule] = {
    "mean.dim": reduction("mean"), "mean.default": reduction("mean"), "sum.dim_IntList": reduction("sum"),
    "sum.default": reduction("sum"), "amax.default": reduction("reduce_max"), "amin.default": reduction("reduce_min"),
    "max.default": reduction("reduce_max"), "min.default": reduction("reduce_min"), "prod.dim_int": reduction("prod"),
    "prod.default": reduction("prod"), "any.dim": _truth("reduce_max"), "any.dims": _truth("reduce_max"),
    "any.default": _truth("reduce_max"), "all.dim": _truth("reduce_min"), "all.default": _truth("reduce_min"),
    "var.correction": _variance(is_root=False), "std.correction": _variance(is_root=True),
    "linalg_vector_norm.default": _norm, "norm.ScalarOpt_dim": _norm, "max.dim": _extreme("reduce_max", "argmax"),
    "min.dim": _extreme("reduce_min", "argmin"), "argmax.default": _arg("argmax"), "argmin.default": _arg("argmin"),
    "cumsum.default": _cumsum, "topk.default": _top_k, "logsumexp.default": _log_sum_exp, "gather.default": _gather,
    "index_select.default": _index_select, "index.Tensor": _index, "scatter.src": _scatter,
    "scatter.value": _scatter, "tril.default": _triangle(is_upper=False),
    "scatter_add.default": _scatter, "triu.default": _triangle(is_upper=True),
    "repeat.default": _repeat, "flip.default": _flip, "roll.default": _roll, "one_hot.default": _one_hot,
}  # fmt: skip
__all__ = ["REDUCED", "number"]
