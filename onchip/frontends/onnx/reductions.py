"""The ONNX operators that reduce, order and accumulate along axes.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: axes and counts have to be known. Integers stay integers; those of 8 and 16 bits are summed in 32 and wrap.
Does not: reduce an empty tensor, or over no axis where that would still compute.
Sources:  https://onnx.ai/onnx/operators/ (axes were attributes before opset 18, of ReduceSum before 13).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.elementwise import arithmetic, scalar
from onchip.frontends.onnx.walk import Known, Value, Walk
from onchip.ops.types import FLOAT_DTYPES, axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def _axes(walk: Walk, node: NodeProto) -> tuple[tuple[int, ...], bool]:
    """Give the axes, none for a tensor that stays as it is, and whether they are kept."""
    a, rank = walk.attributes(node), len(walk.canvas.shape(walk.tensor(node, 0)))
    given = walk.integers(node, 1, "axes")
    if not given and a.get("noop_with_empty_axes", 0):
        return (), True
    return tuple(sorted({axis_of(d, rank) for d in (given or range(rank))})), bool(a.get("keepdims", 1))


def _reduce(op: str, before: str = "", after: str = "") -> Rule:
    """Make the rule of a reduction, with a function of each value before it and one of the result after it."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        x, name = walk.tensor(node, 0), walk.name(node)
        axes, is_kept = _axes(walk, node)
        x = arithmetic(walk, before, (x,), f"{name}.{before}") if before else x
        if axes:
            x = _over(walk, op, x, f"{name}.{op}" if after else name, axes, is_kept=is_kept)
        elif op in ("sum_squares", "l2_norm"):
            raise walk.refuse(node, "over no axis")
        return (arithmetic(walk, after, (x,), name) if after else x,)

    return rule


def _over(walk: Walk, op: str, x: str, name: str, axes: tuple[int, ...], *, is_kept: bool) -> str:
    if op in ("reduce_max", "reduce_min") or walk.canvas.dtype(x) in FLOAT_DTYPES:
        return walk.canvas.node(op, (x,), name, axes=axes, keepdims=is_kept)
    if op == "l2_norm":  # of integers: the root of the exact sum, its fraction dropped
        real = walk.canvas.node("cast", (x,), f"{name}.real", dtype="f32")
        root = walk.canvas.node(op, (real,), f"{name}.root", axes=axes, keepdims=is_kept)
        return walk.canvas.node("cast", (root,), name, dtype=walk.canvas.dtype(x))
    return arithmetic(walk, op, (x,), name, axes=axes, keepdims=is_kept)


def _mean(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    x = walk.tensor(node, 0)
    axes, is_kept = _axes(walk, node)
    if not axes:
        return (x,)
    if walk.canvas.dtype(x) in FLOAT_DTYPES:
        return (walk.canvas.node("mean", (x,), walk.name(node), axes=axes, keepdims=is_kept),)
    sizes = [walk.canvas.shape(x)[a] for a in axes]
    if any(isinstance(s, str) for s in sizes):
        raise walk.refuse(node, "of integers over symbolic dimensions", code="OC1353")
    total = _over(walk, "sum", x, f"{walk.name(node)}.sum", axes, is_kept=is_kept)
    count = scalar(walk, total, prod(int(s) for s in sizes), walk.name(node))
    return (arithmetic(walk, "div", (total, count), walk.name(node)),)


def _log_sum_exp(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """The largest value is taken out before exp, and comes back after log."""
    canvas, x, name = walk.canvas, walk.tensor(node, 0), walk.name(node)
    axes, is_kept = _axes(walk, node)
    if not axes:
        return (x,)
    top = canvas.node("reduce_max", (x,), f"{name}.max", axes=axes, keepdims=True)
    small = canvas.node("exp", (canvas.node("sub", (x, top), f"{name}.sub"),), f"{name}.exp")
    total = canvas.node("sum", (small,), f"{name}.sum", axes=axes, keepdims=True)
    y = canvas.node("add", (canvas.node("log", (total,), f"{name}.log"), top), name)
    shape = canvas.shape(x)
    return (y if is_kept else canvas.reshape(y, tuple(d for i, d in enumerate(shape) if i not in axes), f"{name}.out"),)


def _arg(op: str) -> Rule:
    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        a, x = walk.attributes(node), walk.tensor(node, 0)
        axis = axis_of(int(a.get("axis", 0)), len(walk.canvas.shape(x)))
        last, keep = bool(a.get("select_last_index", 0)), bool(a.get("keepdims", 1))
        return (walk.canvas.node(op, (x,), walk.name(node), axis=axis, keepdims=keep, select_last=last),)

    return rule


def _cumsum(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x, axes = walk.attributes(node), walk.tensor(node, 0), walk.integers(node, 1, "axis")
    axis = axis_of((axes or [0])[0], len(walk.canvas.shape(x)))
    flags = {k: bool(a.get(k, 0)) for k in ("exclusive", "reverse")}
    return (arithmetic(walk, "cumsum", (x,), walk.name(node), axis=axis, **flags),)


def _top_k(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """k was an attribute before opset 10."""
    a, x = walk.attributes(node), walk.tensor(node, 0)
    count = [int(a["k"])] if "k" in a else walk.integers(node, 1, "k")
    assert count is not None  # the checker wants it
    axis, largest = axis_of(int(a.get("axis", -1)), len(walk.canvas.shape(x))), bool(a.get("largest", 1))
    return walk.canvas.nodes("top_k", (x,), walk.name(node), k=count[0], axis=axis, largest=largest)


def _one_hot(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    depth, values = walk.known(node, 1, "depth"), walk.value(node, 2)
    if depth is None or not isinstance(values, Known):
        raise walk.refuse(node, "its depth and values are not constant")
    ids, name, kind = walk.tensor(node, 0), walk.name(node), values.array.dtype
    dtypes = {"f": "f32", "i": "i64" if kind.itemsize == 8 else "i32", "b": "bool"}
    if kind.kind not in dtypes or (kind.kind == "i" and kind.itemsize < 4):
        raise walk.refuse(node, f"of values of {kind}")
    off, on = (float(v) for v in values.array.reshape(-1))
    if walk.canvas.dtype(ids) in FLOAT_DTYPES:
        ids = walk.canvas.node("cast", (ids,), f"{name}.ids", dtype="i64")
    rank = len(walk.canvas.shape(ids)) + 1
    axis, size = axis_of(int(walk.attributes(node).get("axis", -1)), rank), int(np.reshape(depth, -1)[0])
    y = walk.canvas.node("one_hot", (ids,), name, depth=size, axis=axis, on=on, off=off, dtype=dtypes[kind.kind])
    return (y,)


REDUCTIONS: dict[str, Rule] = {
    "ReduceSum": _reduce("sum"), "ReduceProd": _reduce("prod"), "ReduceMax": _reduce("reduce_max"),
    "ReduceMin": _reduce("reduce_min"), "ReduceSumSquare": _reduce("sum_squares"), "ReduceL2": _reduce("l2_norm"),
    "ReduceL1": _reduce("sum", before="abs"), "ReduceLogSum": _reduce("sum", after="log"), "ReduceMean": _mean,
    "ReduceLogSumExp": _log_sum_exp, "ArgMax": _arg("argmax"), "ArgMin": _arg("argmin"), "CumSum": _cumsum,
    "TopK": _top_k, "OneHot": _one_hot,
}  # fmt: skip
