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
from onchip.frontends.canvas import Canvas
from onchip.frontends.torch.arrange import ARRANGING, Arguments, Rule
from onchip.frontends.torch.walk import Fill, Known, Value, Walk, Wide
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


def _pair(values: Any) -> tuple[int, int]:
    numbers = [values] if isinstance(values, int) else list(cast("Sequence[int]", values))
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _constant(walk: Walk, node: fx.Node, arg: Any, what: str) -> Known:
    value = walk.value(arg)
    if not isinstance(value, Known):
        raise walk.refuse(node, f"its {what} is not a parameter", limit="Weights have to be constants")
    return value


def _conv(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    weight = walk.array(_constant(walk, node, a["weight"], "weight"))
    if weight.ndim != 4 or a.get("transposed", False):
        raise walk.refuse(node, f"{node.target!s} over {weight.ndim - 2} dimensions", limit="Only 2-D convolution")
    bias = None if a.get("bias") is None else _constant(walk, node, a["bias"], "bias")
    dilation = _pair(a["dilation"])
    stride, name = _pair(a["stride"]), walk.name(node)
    if isinstance(a["padding"], str):
        total = [0 if a["padding"] == "valid" else d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    else:
        rows, columns = _pair(a["padding"])
        padding = (rows, rows, columns, columns)
    names = (_constant(walk, node, a["weight"], "weight").name, "" if bias is None else bias.name)
    return walk.canvas.conv2d(
        walk.tensor(node, a["input"]), name, weight=weight, bias=None if bias is None else walk.array(bias),
        names=names, stride=stride, padding=padding, dilation=dilation, groups=int(a["groups"]),
    )  # fmt: skip


def _batch_norm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    mean, name = _constant(walk, node, a["running_mean"], "running mean"), walk.name(node)
    ones, zeros = torch.ones_like(mean.tensor), torch.zeros_like(mean.tensor)
    scale = Known(ones, f"{name}.weight") if a["weight"] is None else _constant(walk, node, a["weight"], "weight")
    bias = Known(zeros, f"{name}.bias") if a["bias"] is None else _constant(walk, node, a["bias"], "bias")
    parts = (scale, bias, mean, _constant(walk, node, a["running_var"], "running variance"))
    values = [(p.name, walk.array(p)) for p in parts]
    y = walk.canvas.batch_norm(walk.tensor(node, a["input"]), name, values, float(a["eps"]))
    return y if isinstance(node.meta["val"], Tensor) else (y, None, None)


def _unary(op: str, **attributes: AttributeValue) -> Rule:
    def rule(walk: Walk, node: fx.Node, _a: Arguments) -> Value:
        return walk.canvas.node(op, (walk.tensor(node, node.args[0]),), walk.name(node), **attributes)

    return rule


def _gelu(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node("gelu", (walk.tensor(node, a["self"]),), walk.name(node), approximate=str(a["approximate"]))


def _clamp(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    low, high = a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))
    return walk.canvas.node(
        "clip", (walk.tensor(node, a["self"]),), walk.name(node),
        low=float("-inf") if low is None else float(low), high=float("inf") if high is None else float(high),
    )  # fmt: skip


def _binary(op: str) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        left, right = walk.operand(node, a["self"]), walk.operand(node, a.get("other", a.get("exponent")))
        if a.get("alpha", 1) != 1:
            factor = walk.canvas.constant(f"{walk.name(node)}.alpha", np.array(a["alpha"], np.float32))
            right = walk.canvas.node("mul", (right, factor), f"{walk.name(node)}.scaled")
        made = walk.canvas.node(op, (left, right), walk.name(node))
        return made if walk.canvas.shape(made) == walk.shape(node) else Wide(made)

    return rule


def _max_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if _pair(a["dilation"]) != (1, 1):
        raise walk.refuse(node, f"max pooling with dilation {a['dilation']}")
    y = _pool(walk, node, a, "max_pool2d")
    return y if isinstance(node.meta["val"], Tensor) else (y, None)


def _avg_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["divisor_override"] is not None:
        raise walk.refuse(node, "average pooling with divisor_override")
    return _pool(walk, node, a, "avg_pool2d", count_include_pad=bool(a["count_include_pad"]))


def _pool(walk: Walk, node: fx.Node, a: Arguments, op: str, **attributes: AttributeValue) -> str:
    kernel, (rows, columns) = _pair(a["kernel_size"]), _pair(a["padding"])
    stride = _pair(a["stride"]) if a["stride"] else kernel
    return walk.canvas.pool2d(
        op, walk.tensor(node, a["self"]), walk.name(node), kernel=kernel, stride=stride,
        padding=(rows, rows, columns, columns), ceil_mode=bool(a["ceil_mode"]), **attributes,
    )  # fmt: skip


def _adaptive_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    size, want = walk.canvas.shape(x)[2:], _pair(a["output_size"])
    if want == (1, 1):
        return walk.canvas.pool2d("global_avg_pool", x, walk.name(node))
    if any(isinstance(s, str) or s % w for s, w in zip(size, want, strict=True)):
        raise walk.refuse(node, f"adaptive pooling of {size} to {want}", limit="The output has to divide the input")
    kernel = (int(size[0]) // want[0], int(size[1]) // want[1])
    return walk.canvas.pool2d("avg_pool2d", x, walk.name(node), kernel=kernel, stride=kernel)


def _linear(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    weight = walk.value(a["weight"])
    if not isinstance(weight, Known):
        raise walk.refuse(node, "its weight is not a parameter")
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
    matrix, bias = _constant(walk, node, a["mat2"], "matrix"), _constant(walk, node, a["self"], "bias")
    if a["alpha"] != 1 or a["beta"] != 1 or bias.tensor.dim() != 1:
        raise walk.refuse(node, "addmm with factors")
    inputs = (walk.tensor(node, a["mat1"]), _turned(walk, matrix), walk.tensor(node, a["self"]))
    return walk.canvas.node("linear", inputs, walk.name(node))


def _lstm(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["bidirectional"]:
        raise walk.refuse(node, "a bidirectional LSTM", limit="One direction is read")
    if len(walk.canvas.shape(x := walk.tensor(node, a["input"]))) != 3:
        raise walk.refuse(node, "an LSTM over an unbatched sequence")
    name, layers = walk.name(node), int(a["num_layers"])
    parameters = [_constant(walk, node, p, "weight") for p in a["params"]]
    per_layer = len(parameters) // layers
    if per_layer != (4 if a["has_biases"] else 2):
        raise walk.refuse(node, "an LSTM with projections")
    y = x if a["batch_first"] else walk.canvas.transpose(x, (1, 0, 2))
    last: list[tuple[str, str]] = []
    for layer in range(layers):
        own = parameters[per_layer * layer : per_layer * (layer + 1)]
        weights = [(p.name, walk.array(p)) for p in own]
        states = [_state(walk, node, s, layer) for s in a["hx"]]
        label = name if layers == 1 else f"{name}.{layer}"
        y, h, c = walk.canvas.lstm_layer(
            y, label, weights=[*weights, *(None,) * (4 - per_layer)], hidden=own[1].tensor.shape[1],
            h0=states[0], c0=states[1],
        )  # fmt: skip
        last.append((h, c))
    y = y if a["batch_first"] else walk.canvas.transpose(y, (1, 0, 2))
    return (
        y,
        _stack(walk.canvas, [h for h, _ in last], f"{name}.h"),
        _stack(walk.canvas, [c for _, c in last], f"{name}.c"),
    )


def _state(walk: Walk, node: fx.Node, arg: Any, layer: int) -> str:
    """Give the initial state of a layer [B,H]; "" for zeros."""
    value = walk.value(arg)
    if (isinstance(value, Fill) and value.value == 0) or (isinstance(value, Known) and not value.tensor.any()):
        return ""
    return walk.canvas.select(walk.tensor(node, arg), f"{walk.name(node)}.state", axis=0, index=layer)


def _stack(canvas: Canvas, parts: Sequence[str], name: str) -> str:
    """[B,H] of every layer -> [layers,B,H]."""
    rows = [canvas.reshape(p, (1, *canvas.shape(p)), f"{p}.stack") for p in parts]
    return rows[0] if len(rows) == 1 else canvas.node("concat", rows, name, axis=0)


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
    if len(a["normalized_shape"]) != 1:
        raise walk.refuse(node, f"layer norm over {len(a['normalized_shape'])} axes", limit="Only the last axis")
    x = walk.tensor(node, a["input"])
    parts = [walk.tensor(node, a[key]) if a[key] is not None else "" for key in ("weight", "bias")]
    y = walk.canvas.node("layer_norm", (x, *parts), walk.name(node), eps=float(a["eps"]))
    return y if isinstance(node.meta["val"], Tensor) else (y, None, None)


def _softmax(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.along_last("softmax", walk.tensor(node, a["self"]), int(a["dim"]), walk.name(node))


def _embedding(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node(
        "gather", (walk.tensor(node, a["weight"]), walk.tensor(node, a["indices"])), walk.name(node)
    )


def _mean(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    rank = len(walk.canvas.shape(x))
    axes = tuple(sorted(d % rank for d in (a.get("dim") or range(rank))))
    return walk.canvas.node("mean", (x,), walk.name(node), axes=axes, keepdims=bool(a.get("keepdim", False)))


def _logical(op: str) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        inputs = [walk.tensor(node, a[key]) for key in ("self", "other") if key in a]
        return walk.canvas.node(op, inputs, walk.name(node))

    return rule


__all__ = ["TABLE", "write"]

TABLE: dict[str, Rule] = {
    "conv2d.default": _conv, "conv2d.padding": _conv, "convolution.default": _conv,
    "batch_norm.default": _batch_norm, "_native_batch_norm_legit_no_training.default": _batch_norm,
    "relu.default": _unary("relu"), "relu6.default": _unary("relu6"), "sigmoid.default": _unary("sigmoid"),
    "tanh.default": _unary("tanh"), "silu.default": _unary("silu"), "exp.default": _unary("exp"),
    "sqrt.default": _unary("sqrt"), "erf.default": _unary("erf"), "neg.default": _unary("neg"),
    "gelu.default": _gelu, "clamp.default": _clamp, "hardtanh.default": _clamp,
    "add.Tensor": _binary("add"), "add.Scalar": _binary("add"), "sub.Tensor": _binary("sub"),
    "sub.Scalar": _binary("sub"), "mul.Tensor": _binary("mul"), "mul.Scalar": _binary("mul"),
    "div.Tensor": _binary("div"), "div.Scalar": _binary("div"), "pow.Tensor_Scalar": _binary("pow"),
    "max_pool2d.default": _max_pool, "max_pool2d_with_indices.default": _max_pool, "avg_pool2d.default": _avg_pool,
    "adaptive_avg_pool2d.default": _adaptive_pool, "_adaptive_avg_pool2d.default": _adaptive_pool,
    "linear.default": _linear, "addmm.default": _addmm, "mm.default": _matmul, "bmm.default": _matmul,
    "matmul.default": _matmul,
    "lstm.input": _lstm, "scaled_dot_product_attention.default": _attention,
    "layer_norm.default": _layer_norm, "native_layer_norm.default": _layer_norm,
    "softmax.int": _softmax, "_softmax.default": _softmax, "embedding.default": _embedding,
    "mean.dim": _mean, "mean.default": _mean,
    "logical_not.default": _logical("logical_not"), "bitwise_not.default": _logical("logical_not"),
    "logical_and.default": _logical("logical_and"), "bitwise_and.Tensor": _logical("logical_and"),
    **ARRANGING,
}  # fmt: skip
