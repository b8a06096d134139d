"""The operators of torch that compute, one function each; those that only arrange values are in arrange.py.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the value of the node: a tensor of the canvas, a tuple of them, or a tensor that is known or stretched.
Promises: `TABLE` is the whole list. An operator that is not in it, or a form of one that has no counterpart, is refused
          with the path of its module.
Sources:  aten/src/ATen/native/native_functions.yaml for names, arguments and defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from onchip.errors import NotSupported
from onchip.frontends.torch.arrange import ARRANGING, Arguments, Rule
from onchip.frontends.torch.promote import PROMOTED, number
from onchip.frontends.torch.quantized import QUANTIZED
from onchip.frontends.torch.recurrent import RECURRENT
from onchip.frontends.torch.reduce import REDUCED
from onchip.frontends.torch.walk import Known, Value, Walk
from onchip.frontends.torch.windows import WINDOWS, constant
from onchip.ops.types import Array, AttributeValue


def write(walk: Walk, node: fx.Node) -> Value:
    """Write one node on the canvas."""
    name = str(node.target)
    if "getitem" in name:
        parts = walk.value(node.args[0])
        assert isinstance(parts, tuple)
        return parts[cast("int", node.args[1])]
    rule = TABLE.get(name.removeprefix("aten."))
    if rule is None:
        where = f"{walk.label}: {walk.path(node) or node.name}"
        raise NotSupported("OC1350", where, f"operator {name} is not read", next="Replace it, or cut the network there")
    return rule(walk, node, _bind(node))


def _bind(node: fx.Node) -> dict[str, Any]:
    """Give the arguments by name, defaults included."""
    schema = cast("Any", node.target)._schema  # torch has no public door to it
    names = [a.name for a in schema.arguments]
    bound = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return {**bound, **dict(zip(names, node.args, strict=False)), **node.kwargs}


def _batch_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    mean, name = constant(walk, node, a["running_mean"], "running mean"), walk.name(node)
    ones, zeros = torch.ones_like(mean.tensor), torch.zeros_like(mean.tensor)
    scale = Known(ones, f"{name}.weight") if a["weight"] is None else constant(walk, node, a["weight"], "weight")
    bias = Known(zeros, f"{name}.bias") if a["bias"] is None else constant(walk, node, a["bias"], "bias")
    parts = (scale, bias, mean, constant(walk, node, a["running_var"], "running variance"))
    values = [(p.name, walk.array(p)) for p in parts]
    y = walk.canvas.batch_norm(walk.tensor(node, a["input"]), name, values, float(a["eps"]))
    return y if isinstance(node.meta["val"], Tensor) else (y, None, None)


def _gelu(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node("gelu", (walk.tensor(node, a["self"]),), walk.name(node), approximate=str(a["approximate"]))


def _clamp(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    low, high = a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))
    return walk.canvas.node(
        "clip", (walk.tensor(node, a["self"]),), walk.name(node),
        low=float("-inf") if low is None else float(low), high=float("inf") if high is None else float(high),
    )  # fmt: skip


def _linear(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    constant(walk, node, a["weight"], "weight")
    inputs = [walk.tensor(node, a["input"]), walk.tensor(node, a["weight"])]
    if a["bias"] is not None:
        inputs.append(walk.tensor(node, a["bias"]))
    return walk.canvas.node("linear", inputs, walk.name(node))


def _matmul(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """Products with a known right side are linear, with the matrix turned."""
    left, right = a.get("self", a.get("mat1")), a.get("other", a.get("mat2"))
    matrix, name = walk.value(right), walk.name(node)
    x = walk.tensor(node, left)
    if isinstance(matrix, Known) and matrix.tensor.dim() == 2:
        return walk.canvas.node("linear", (x, _turned(walk, matrix)), name)
    return walk.canvas.node("matmul", (x, walk.tensor(node, right)), name)


def _turned(walk: Walk, matrix: Known) -> str:
    turned: Array = np.ascontiguousarray(walk.array(matrix).T)
    return walk.canvas.constant(matrix.name, turned)


def _addmm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    matrix, bias = constant(walk, node, a["mat2"], "matrix"), constant(walk, node, a["self"], "bias")
    if a["alpha"] != 1 or a["beta"] != 1 or bias.tensor.dim() != 1:
        raise walk.refuse(node, "addmm with factors")
    inputs = (walk.tensor(node, a["mat1"]), _turned(walk, matrix), walk.tensor(node, a["self"]))
    return walk.canvas.node("linear", inputs, walk.name(node))


def _baddbmm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """beta C + alpha A B."""
    canvas, name = walk.canvas, walk.name(node)
    y = canvas.node("matmul", (walk.tensor(node, a["batch1"]), walk.tensor(node, a["batch2"])), name)
    if a["alpha"] != 1:
        y = canvas.node("mul", (y, number(walk, node, a["alpha"])), f"{name}.scaled")
    if a["beta"] == 0:
        return y
    c = walk.operand(node, a["self"])
    if a["beta"] != 1:
        c = canvas.node("mul", (c, number(walk, node, a["beta"])), f"{name}.shift")
    return canvas.node("add", (y, c), f"{name}.sum")


def _attention(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["dropout_p"]:
        raise walk.refuse(node, "attention with dropout at inference")
    q, k, v = (walk.tensor(node, a[part]) for part in ("query", "key", "value"))
    shapes = [walk.canvas.shape(t) for t in (q, k, v)]
    if shapes[1][:-1] != shapes[2][:-1] or (
        len(shapes[0]) == 4 and not a["enable_gqa"] and shapes[0][1] != shapes[1][1]
    ):
        raise walk.refuse(node, f"attention over shapes {shapes}")
    mask = "" if a["attn_mask"] is None else walk.operand(node, a["attn_mask"])
    return walk.canvas.attention(q, k, v, walk.name(node), mask=mask, scale=a["scale"], is_causal=bool(a["is_causal"]))


def _layer_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    y = _last_norm(walk, node, a, "layer_norm", ("weight", "bias"))
    return y if isinstance(node.meta["val"], Tensor) else (y, None, None)


def _rms_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return _last_norm(walk, node, a, "rms_norm", ("weight",))


def _last_norm(walk: Walk, node: fx.Node, a: Arguments, op: str, keys: Sequence[str]) -> str:
    """Normalise over the last axes, which become one."""
    canvas, x, name = walk.canvas, walk.tensor(node, a["input"]), walk.name(node)
    parts = [walk.tensor(node, a[key]) if a[key] is not None else "" for key in keys]
    eps = float(torch.finfo(torch.float32).eps if a["eps"] is None else a["eps"])
    shape, n = canvas.shape(x), len(a["normalized_shape"])
    if n == 1:
        return canvas.node(op, (x, *parts), name, eps=eps)
    size = int(np.prod([int(d) for d in a["normalized_shape"]]))
    flat = canvas.reshape(x, (*shape[: len(shape) - n], size), f"{name}.flat")
    own = [canvas.reshape(p, (size,), f"{p}.flat") if p else "" for p in parts]
    return canvas.reshape(canvas.node(op, (flat, *own), name, eps=eps), shape, f"{name}.apart")


def _group_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return _channel_norm(walk, node, a, "group_norm", groups=int(a["num_groups"]))


def _instance_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["running_mean"] is not None and not a["use_input_stats"]:
        raise walk.refuse(node, "instance norm by running statistics", limit="Those of the input are read")
    return _channel_norm(walk, node, a, "instance_norm")


def _channel_norm(walk: Walk, node: fx.Node, a: Arguments, op: str, **more: AttributeValue) -> str:
    canvas, x = walk.canvas, walk.tensor(node, a["input"])
    parts = [walk.tensor(node, a[key]) if a[key] is not None else "" for key in ("weight", "bias")]
    y = canvas.node(op, (canvas.channels_last(x), *parts), walk.name(node), eps=float(a["eps"]), **more)
    return canvas.channels_first(y)


def _softmax(op: str) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        return walk.canvas.along_last(op, walk.tensor(node, a["self"]), int(a["dim"]), walk.name(node))

    return rule


def _embedding(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node(
        "gather", (walk.tensor(node, a["weight"]), walk.tensor(node, a["indices"])), walk.name(node)
    )


__all__ = ["TABLE", "write"]

TABLE: dict[str, Rule] = {
    **PROMOTED, **WINDOWS, **REDUCED, **RECURRENT, **QUANTIZED,
    "batch_norm.default": _batch_norm, "_native_batch_norm_legit_no_training.default": _batch_norm,
    "gelu.default": _gelu, "clamp.default": _clamp, "hardtanh.default": _clamp, "clamp_min.default": _clamp,
    "clamp_max.default": _clamp, "linear.default": _linear, "addmm.default": _addmm, "mm.default": _matmul,
    "bmm.default": _matmul, "matmul.default": _matmul, "baddbmm.default": _baddbmm,
    "scaled_dot_product_attention.default": _attention,
    "layer_norm.default": _layer_norm, "native_layer_norm.default": _layer_norm, "rms_norm.default": _rms_norm,
    "group_norm.default": _group_norm, "instance_norm.default": _instance_norm,
    "softmax.int": _softmax("softmax"), "_softmax.default": _softmax("softmax"),
    "log_softmax.int": _softmax("log_softmax"), "_log_softmax.default": _softmax("log_softmax"),
    "embedding.default": _embedding,
    **ARRANGING,
}  # fmt: skip
