"""The ONNX operators that normalise: BatchNormalization to RMSNormalization, LRN, and the softmax family.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: a norm over the trailing axes is one over the last axis of a reshaped tensor. Before opset 13 softmax takes
          everything from `axis` on as one axis.
Does not: train. What asks for statistics as outputs is read as its definition (bodies.py).
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.walk import Known, Value, Walk
from onchip.ops.types import Array, axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def label(walk: Walk, node: NodeProto, place: int) -> str:
    """Give the name of a constant input."""
    value = walk.value(node, place)
    return value.name if isinstance(value, Known) else ""


def _batch_norm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    if walk.attributes(node).get("training_mode", 0) or walk.has_more(node):
        raise walk.refuse(node, "in training mode")
    if not walk.attributes(node).get("spatial", 1):
        raise walk.refuse(node, "with statistics for each position")
    values: list[tuple[str, Array]] = []
    for place, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        array = walk.known(node, place, what)
        assert array is not None  # the checker wants all five inputs
        values.append((label(walk, node, place), array))
    eps = float(walk.attributes(node).get("epsilon", 1e-5))
    return (walk.canvas.batch_norm(walk.tensor(node, 0), walk.name(node), values, eps),)


def _last_norm(op: str) -> Rule:
    """Make the rule of layer_norm and rms_norm, over the axes from `axis` on."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        canvas, a, x = walk.canvas, walk.attributes(node), walk.tensor(node, 0)
        shape, name = canvas.shape(x), walk.name(node)
        axis = axis_of(int(a.get("axis", -1)), len(shape))
        tail = shape[axis:]
        if walk.has_more(node):
            raise walk.refuse(node, "with its statistics as outputs")
        parts = [walk.tensor(node, i) for i in range(1, len(node.input))]
        if any(p and canvas.shape(p) != tail for p in parts):
            raise walk.refuse(node, "with a scale or bias of another shape than what is normalised")
        eps = float(a.get("epsilon", 1e-5))
        if len(tail) == 1:
            return (canvas.node(op, (x, *parts), name, eps=eps),)
        if any(isinstance(d, str) for d in tail):
            raise walk.refuse(node, "over symbolic dimensions", code="OC1353")
        size = prod(int(d) for d in tail)
        flat = canvas.reshape(x, (*shape[:axis], size), f"{name}.flat")
        own = [canvas.reshape(p, (size,), f"{p}.flat") if p else "" for p in parts]
        return (canvas.reshape(canvas.node(op, (flat, *own), name, eps=eps), shape, f"{name}.apart"),)

    return rule


def _channel_norm(op: str) -> Rule:
    """Make the rule of instance_norm and group_norm."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        canvas, a, x = walk.canvas, walk.attributes(node), walk.tensor(node, 0)
        channels = canvas.shape(x)[1]
        parts = [walk.tensor(node, 1), walk.tensor(node, 2)]
        if any(canvas.shape(p) != (channels,) for p in parts):
            raise walk.refuse(node, f"a scale of shape {canvas.shape(parts[0])} for {channels} channels")
        more = {"groups": int(a["num_groups"])} if op == "group_norm" else {}
        eps = float(a.get("epsilon", 1e-5))
        y = canvas.node(op, (canvas.channels_last(x), *parts), walk.name(node), eps=eps, **more)
        return (canvas.channels_first(y),)

    return rule


def _lrn(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, canvas = walk.attributes(node), walk.canvas
    values = {k: float(a.get(k, d)) for k, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))}
    x = canvas.channels_last(walk.tensor(node, 0))
    return (canvas.channels_first(canvas.node("lrn", (x,), walk.name(node), size=int(a["size"]), **values)),)


def _lp_normalize(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x = walk.attributes(node), walk.tensor(node, 0)
    axis = axis_of(int(a.get("axis", -1)), len(walk.canvas.shape(x)))
    return (walk.canvas.node("lp_normalize", (x,), walk.name(node), axis=axis, p=int(a.get("p", 2))),)


def _softmax(op: str) -> Rule:
    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        canvas, x, a = walk.canvas, walk.tensor(node, 0), walk.attributes(node)
        shape, name = canvas.shape(x), walk.name(node)
        if walk.opset >= 13:
            return (canvas.along_last(op, x, int(a.get("axis", -1)), name),)
        axis = axis_of(int(a.get("axis", 1)), len(shape))
        tail = shape[axis:]
        if len(tail) == 1:
            return (canvas.node(op, (x,), name),)
        if any(isinstance(d, str) for d in tail):
            raise walk.refuse(node, "over symbolic dimensions", code="OC1353")
        size = int(np.prod([int(d) for d in tail]))
        flat = canvas.reshape(x, (*shape[:axis], size), f"{name}.flat")
        return (canvas.reshape(canvas.node(op, (flat,), name), shape, f"{name}.apart"),)

    return rule


NORMS: dict[str, Rule] = {
    "BatchNormalization": _batch_norm, "LayerNormalization": _last_norm("layer_norm"),
    "RMSNormalization": _last_norm("rms_norm"), "InstanceNormalization": _channel_norm("instance_norm"),
    "GroupNormalization": _channel_norm("group_norm"), "LRN": _lrn, "LpNormalization": _lp_normalize,
    "Softmax": _softmax("softmax"), "LogSoftmax": _softmax("log_softmax"),
}  # fmt: skip
