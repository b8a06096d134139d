"""The ONNX operators that compute, one function each; those that only arrange values are in arrange.py.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: `TABLE` is the whole list. A form that has no counterpart is refused with the node's name.
Sources:  https://onnx.ai/onnx/operators/ (defaults and layouts stand there; the opset where they changed stands here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from onchip.errors import NotSupported, did_you_mean
from onchip.frontends.onnx.arrange import ARRANGING
from onchip.frontends.onnx.grouped import carry
from onchip.frontends.onnx.walk import Known, Value, Walk, called
from onchip.frontends.regroup import Grouped
from onchip.ops.types import Array, AttributeValue, axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def write(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Write one node on the canvas."""
    rule = TABLE.get(node.op_type)
    if rule is None:
        where = f"{walk.where}: {called(node)}"
        raise NotSupported(
            "OC1350", where, f"operator {node.op_type} is not read", next=did_you_mean(node.op_type, TABLE)
        )
    carried = carry(walk, node) if any(isinstance(walk.values.get(i), Grouped) for i in node.input) else None
    return rule(walk, node) if carried is None else carried


def _unary(op: str) -> Rule:
    return lambda walk, node: (walk.canvas.node(op, (walk.tensor(node, 0),), walk.name(node)),)


def _binary(op: str) -> Rule:
    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        return (walk.canvas.node(op, (walk.tensor(node, 0), walk.tensor(node, 1)), walk.name(node)),)

    return rule


def _window(
    walk: Walk, node: NodeProto, kernel: Sequence[int], size: Sequence[int | str]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Give stride, dilation and padding (top, bottom, left, right) of a 2-D window."""
    a = walk.attributes(node)
    stride, dilation = tuple(a.get("strides", (1, 1))), tuple(a.get("dilations", (1, 1)))
    mode = str(a.get("auto_pad", b"NOTSET"), "ascii")
    if mode not in PADS:
        raise walk.refuse(node, f"auto_pad '{mode}'", limit=f"There are {', '.join(PADS)}")
    if mode in ("NOTSET", "VALID"):
        top, left, bottom, right = a.get("pads", (0, 0, 0, 0)) if mode == "NOTSET" else (0, 0, 0, 0)
        return stride, dilation, (top, bottom, left, right)
    padding: list[int] = []
    for i in range(2):
        extent = size[i]
        if isinstance(extent, str):
            raise walk.refuse(node, f"auto_pad {mode} over the symbolic dimension '{extent}'", code="OC1353")
        reach = (-(-extent // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        total = max(0, reach - extent)
        less, more = total // 2, total - total // 2
        padding += [less, more] if mode == "SAME_UPPER" else [more, less]
    return stride, dilation, (padding[0], padding[1], padding[2], padding[3])


def _conv(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    weight, bias = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
    if weight is None or weight.ndim != 4:
        raise walk.refuse(node, f"over {0 if weight is None else weight.ndim - 2} dimensions", limit="Only 2-D is read")
    x = walk.tensor(node, 0)
    stride, dilation, padding = _window(walk, node, weight.shape[2:], walk.canvas.shape(x)[2:])
    names = tuple(_label(walk, node, i) for i in (1, 2))
    y = walk.canvas.conv2d(
        x, walk.name(node), weight=weight, bias=bias, names=(names[0], names[1]), stride=stride, padding=padding,
        dilation=dilation, groups=int(walk.attributes(node).get("group", 1)),
    )  # fmt: skip
    return (y,)


def _label(walk: Walk, node: NodeProto, place: int) -> str:
    value = walk.value(node, place)
    return value.name if isinstance(value, Known) else ""


def _batch_norm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    if walk.attributes(node).get("training_mode", 0):
        raise walk.refuse(node, "in training mode")
    values: list[tuple[str, Array]] = []
    for place, what in enumerate(("scale", "bias", "mean", "variance"), 1):
        array = walk.known(node, place, what)
        assert array is not None  # the checker wants all five inputs
        values.append((_label(walk, node, place), array))
    eps = float(walk.attributes(node).get("epsilon", 1e-5))
    return (walk.canvas.batch_norm(walk.tensor(node, 0), walk.name(node), values, eps),)


def _pool(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x = walk.attributes(node), walk.tensor(node, 0)
    kernel = tuple(int(k) for k in a["kernel_shape"])
    if len(kernel) != 2 or walk.has_more(node):
        fact = "with its indices as an output" if walk.has_more(node) else f"a window {kernel}"
        raise walk.refuse(node, fact, limit="2-D without indices is read")
    stride, dilation, padding = _window(walk, node, kernel, walk.canvas.shape(x)[2:])
    if dilation != (1, 1):
        raise walk.refuse(node, f"dilation {dilation}")
    more: dict[str, AttributeValue] = {}
    if node.op_type == "AveragePool":
        more["count_include_pad"] = bool(a.get("count_include_pad", 0))
    op = "avg_pool2d" if node.op_type == "AveragePool" else "max_pool2d"
    is_ceil = bool(a.get("ceil_mode", 0))
    y = walk.canvas.pool2d(
        op, x, walk.name(node), kernel=kernel, stride=stride, padding=padding, ceil_mode=is_ceil, **more
    )
    return (y,)


def _global_pool(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    x = walk.tensor(node, 0)
    if len(walk.canvas.shape(x)) != 4:
        raise walk.refuse(node, f"over {len(walk.canvas.shape(x)) - 2} dimensions", limit="Only 2-D is read")
    return (walk.canvas.pool2d("global_avg_pool", x, walk.name(node)),)


def _gemm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a = walk.attributes(node)
    weight, bias = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
    assert weight is not None  # the checker wants it
    weight = weight if a.get("transB", 0) else weight.T
    if a.get("alpha", 1.0) != 1.0:
        weight = weight * np.float32(a["alpha"])
    x = walk.tensor(node, 0)
    x = walk.canvas.transpose(x, (1, 0)) if a.get("transA", 0) else x
    inputs = [x, walk.canvas.constant(_label(walk, node, 1), np.ascontiguousarray(weight))]
    if bias is not None:
        if bias.size not in (1, weight.shape[0]):
            raise walk.refuse(node, f"a bias of shape {bias.shape}")
        scaled = (bias.reshape(-1) * np.float32(a.get("beta", 1.0))).astype(np.float32)
        full = np.ascontiguousarray(np.broadcast_to(scaled, (weight.shape[0],)))
        inputs.append(walk.canvas.constant(_label(walk, node, 2), full))
    return (walk.canvas.node("linear", inputs, walk.name(node)),)


def _matmul(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """A known matrix on the right makes it linear."""
    left, right = walk.value(node, 0), walk.value(node, 1)
    x = walk.tensor(node, 0)
    if isinstance(right, Known) and right.array.ndim == 2 and isinstance(left, str):
        turned = np.ascontiguousarray(right.array.astype(np.float32).T)
        return (walk.canvas.node("linear", (x, walk.canvas.constant(right.name, turned)), walk.name(node)),)
    return (walk.canvas.node("matmul", (x, walk.tensor(node, 1)), walk.name(node)),)


def _lstm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Gates come as i, o, f, c and go as i, f, c (torch: g), o; the bias holds both biases."""
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    direction = a.get("direction", b"forward")
    plain = not any(a.get(k) for k in ("activations", "clip", "input_forget")) or _are_default(a.get("activations"))
    if direction != b"forward" or not plain or walk.value(node, 7) is not None or a.get("clip"):
        raise walk.refuse(node, "another form than a forward LSTM with default activations and without peepholes")
    if walk.value(node, 4) is not None:
        raise walk.refuse(node, "with sequence_lens", limit="All sequences have the full length")
    hidden = int(a["hidden_size"])
    w, r, b = walk.known(node, 1, "weight"), walk.known(node, 2, "recurrence"), walk.known(node, 3, "bias")
    assert w is not None and r is not None  # the checker wants them
    if w.ndim != 3 or r.ndim != 3 or w.shape[1] != 4 * hidden or r.shape[1:] != (4 * hidden, hidden):
        raise walk.refuse(node, f"hidden_size {hidden} with weights of {w.shape} and {r.shape}")
    order = np.concatenate([np.arange(g * hidden, (g + 1) * hidden) for g in (0, 2, 3, 1)])
    weights: list[tuple[str, Array] | None] = [
        (_label(walk, node, 1), np.ascontiguousarray(w[0][order])),
        (_label(walk, node, 2), np.ascontiguousarray(r[0][order])),
    ]
    if b is not None:
        halves = np.split(b[0], 2)
        label = _label(walk, node, 3)
        weights += [(f"{label}.input", halves[0][order]), (f"{label}.recurrent", halves[1][order])]
    else:
        weights += [None, None]
    is_batch_first = bool(a.get("layout", 0))
    x = walk.tensor(node, 0)
    x = x if is_batch_first else canvas.transpose(x, (1, 0, 2))
    states = [_state(walk, node, place, is_batch_first=is_batch_first) for place in (5, 6)]
    y, h, c = canvas.lstm_layer(x, name, weights=weights, hidden=hidden, h0=states[0], c0=states[1])
    batch, steps, _ = canvas.shape(y)
    if is_batch_first:
        wide = canvas.reshape(y, (batch, steps, 1, hidden), f"{name}.y")
        return wide, *(canvas.reshape(s, (batch, 1, hidden), f"{s}.state") for s in (h, c))
    turned = canvas.transpose(y, (1, 0, 2))
    wide = canvas.reshape(turned, (steps, 1, batch, hidden), f"{name}.y")
    return wide, *(canvas.reshape(s, (1, batch, hidden), f"{s}.state") for s in (h, c))


def _are_default(activations: Sequence[bytes] | None) -> bool:
    return activations is not None and [a.lower() for a in activations] == [b"sigmoid", b"tanh", b"tanh"]


def _state(walk: Walk, node: NodeProto, place: int, *, is_batch_first: bool) -> str:
    """Give the initial state [B,H]; "" for zeros."""
    from onchip.frontends.onnx.walk import Fill

    value = walk.value(node, place)
    if value is None or (isinstance(value, Fill) and value.value == 0):
        return ""
    if isinstance(value, Known) and not value.array.any():
        return ""
    return walk.canvas.select(walk.tensor(node, place), f"{walk.name(node)}.state", axis=int(is_batch_first), index=0)


def _softmax(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Before opset 13 everything from `axis` on was one axis."""
    x, a = walk.tensor(node, 0), walk.attributes(node)
    shape, name = walk.canvas.shape(x), walk.name(node)
    if walk.opset >= 13:
        return (walk.canvas.along_last("softmax", x, int(a.get("axis", -1)), name),)
    axis = axis_of(int(a.get("axis", 1)), len(shape))
    tail = shape[axis:]
    if len(tail) == 1:
        return (walk.canvas.node("softmax", (x,), name),)
    if any(isinstance(d, str) for d in tail):
        raise walk.refuse(node, "softmax over symbolic dimensions", code="OC1353")
    size = int(np.prod([int(d) for d in tail]))
    flat = walk.canvas.reshape(x, (*shape[:axis], size), f"{name}.flat")
    return (walk.canvas.reshape(walk.canvas.node("softmax", (flat,), name), shape, f"{name}.apart"),)


def _layer_norm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, x = walk.attributes(node), walk.tensor(node, 0)
    if int(a.get("axis", -1)) not in (-1, len(walk.canvas.shape(x)) - 1) or walk.has_more(node):
        raise walk.refuse(node, "over more than the last axis, or with its statistics as outputs")
    inputs = (x, walk.tensor(node, 1), walk.tensor(node, 2))
    return (walk.canvas.node("layer_norm", inputs, walk.name(node), eps=float(a.get("epsilon", 1e-5))),)


def _gelu(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    form = walk.attributes(node).get("approximate", b"none")
    return (walk.canvas.node("gelu", (walk.tensor(node, 0),), walk.name(node), approximate=str(form, "ascii")),)


def _swish(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    if walk.attributes(node).get("alpha", 1.0) != 1.0:
        raise walk.refuse(node, f"alpha {walk.attributes(node)['alpha']}", limit="Only an alpha of 1 is read")
    return (walk.canvas.node("silu", (walk.tensor(node, 0),), walk.name(node)),)


def _where(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    return (walk.canvas.node("where", [walk.tensor(node, i) for i in range(3)], walk.name(node)),)


def _clip(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Bounds were attributes before opset 11."""
    a = walk.attributes(node)
    bounds: list[float] = []
    for place, key, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        value = walk.known(node, place, key)
        bounds.append(float(a.get(key, default)) if value is None else float(value.reshape(-1)[0]))
    return (walk.canvas.node("clip", (walk.tensor(node, 0),), walk.name(node), low=bounds[0], high=bounds[1]),)


def _mean(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Axes were an attribute before opset 18."""
    x, a = walk.tensor(node, 0), walk.attributes(node)
    rank = len(walk.canvas.shape(x))
    given = walk.integers(node, 1, "axes")
    if not given and a.get("noop_with_empty_axes", 0):
        return (x,)
    axes = tuple(sorted({axis_of(d, rank) for d in (given or range(rank))}))
    return (walk.canvas.node("mean", (x,), walk.name(node), axes=axes, keepdims=bool(a.get("keepdims", 1))),)


def _attention(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Opset 23, with four-dimensional q, k, v and without a cache; windows are of opset 25."""
    a = walk.attributes(node)
    if walk.has_more(node) or any(node.input[4:]) or a.get("softcap", 0.0) or a.get("q_num_heads", 0):
        raise walk.refuse(node, "with a cache, softcap or three-dimensional inputs")
    if max(a.get("left_window_size", -1), a.get("right_window_size", -1)) >= 0:
        raise walk.refuse(node, "over a window")
    q, k, v = (walk.tensor(node, i) for i in range(3))
    scale, is_causal = a.get("scale"), bool(a.get("is_causal", 0))
    y = walk.canvas.attention(q, k, v, walk.name(node), mask=walk.tensor(node, 3), scale=scale, is_causal=is_causal)
    return (y,)


TABLE: dict[str, Rule] = {
    "Add": _binary("add"), "Sub": _binary("sub"), "Mul": _binary("mul"), "Div": _binary("div"), "Pow": _binary("pow"),
    "Relu": _unary("relu"), "Sigmoid": _unary("sigmoid"), "Tanh": _unary("tanh"), "Exp": _unary("exp"),
    "Sqrt": _unary("sqrt"), "Erf": _unary("erf"), "Neg": _unary("neg"), "Gelu": _gelu, "Clip": _clip,
    "Not": _unary("logical_not"), "And": _binary("logical_and"), "Swish": _swish, "Where": _where,
    "Conv": _conv, "BatchNormalization": _batch_norm, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _global_pool, "Gemm": _gemm, "MatMul": _matmul, "LSTM": _lstm, "Softmax": _softmax,
    "LayerNormalization": _layer_norm, "ReduceMean": _mean, "Attention": _attention,
    **ARRANGING,
}  # fmt: skip
