"""Ops as PyTorch runs them on the machine at hand: one maker a kind, which prepares constants and returns a call.

In:       a node, its attributes over the op's defaults, the constants among its inputs as tensors (None elsewhere).
Out:      a function of the node's inputs, tensors of the graph's own shapes (images channels last).
Promises: the values are those of the graph's op within float rounding (tests compare with `evaluate`); weights are
          packed before the clock runs, and what follows a convolution is done inside of it where the build of torch
          has oneDNN's fused convolutions, the ones that torch.compile writes.
Does not: have every op: what is not in MAKERS is told as not measured.
"""

# pyright: reportUnknownLambdaType=false
# (what is timed are lambdas over torch's tensors, which are Any here)
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes, AttributeValue

Call = Callable[..., Any]
Maker = Callable[[Any, Attributes, Sequence[Any]], Call]  # torch, attributes, constants
NCHW, NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
# an activation as oneDNN's fused operations name it, with its scalars
FUSED: dict[str, tuple[str, list[float]]] = {"none": ("none", []), "relu": ("relu", []), "relu6": ("hardtanh", [0, 6])}


def attributes(op: str, **given: AttributeValue) -> Attributes:
    """Return attributes over the op's defaults."""
    return Attributes({**look_up_op(op, op).defaults, **given})


def has_fused(torch: Any, x: Any) -> bool:
    """Return whether this build of torch has fused convolutions for such a tensor."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return there and x.device.type == "cpu" and (x.dtype is torch.float32 or _has_bf16(torch))


def _has_bf16(torch: Any) -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def activate(torch: Any, name: str) -> Call:
    """Return an activation that may overwrite its input."""
    calls: dict[str, Call] = {"none": lambda x: x, "relu": torch.relu_, "relu6": lambda x: x.clamp_(0, 6)}
    return calls[name]


def conv2d(torch: Any, a: Attributes, constants: Sequence[Any], sums: str = "") -> Call:
    """Return a convolution of x; with `sums`, of x and of what is added to it, before that activation."""
    weight = constants[1].permute(NCHW).contiguous(memory_format=torch.channels_last)
    bias = constants[2] if len(constants) > 2 else None
    (top, bottom, left, right), stride, dilation = a.integers("padding"), a.integers("stride"), a.integers("dilation")
    groups, pad, around = a.integer("groups"), torch.nn.functional.pad, [left, right, top, bottom]
    even = [top, left] if top == bottom and left == right else None
    padding = even or [0, 0]

    def padded(x: Any) -> Any:
        image = x.permute(NCHW)
        return image if even else pad(image, around).contiguous(memory_format=torch.channels_last)

    if not has_fused(torch, weight):
        plain, after = torch.nn.functional.conv2d, activate(torch, sums or a.text("activation"))
        if sums:
            return lambda x, other: after(plain(padded(x), weight, bias, stride, padding, dilation, groups).permute(NHWC).add_(other))  # fmt: skip  # noqa: E501
        return lambda x, *_: after(plain(padded(x), weight, bias, stride, padding, dilation, groups)).permute(NHWC)
    ops, sizes = torch.ops.mkldnn, (list(padding), list(stride), list(dilation))
    packed = ops._reorder_convolution_weight(weight, *sizes, groups, None)
    name, scalars = FUSED[sums or a.text("activation")]
    if sums:
        both = ops._convolution_pointwise.binary
        last = (*sizes, groups, "add", 1.0, None if name == "none" else name, scalars, None)
        return lambda x, other: both(padded(x), other.permute(NCHW), packed, bias, *last).permute(NHWC)
    call, rest = ops._convolution_pointwise, (*sizes, groups, name, scalars, "")
    return lambda x, *_: call(padded(x), packed, bias, *rest).permute(NHWC)


def linear(torch: Any, a: Attributes, constants: Sequence[Any]) -> Call:
    bias = constants[2] if len(constants) > 2 else None
    call, weight, after = torch.nn.functional.linear, constants[1], activate(torch, a.text("activation"))
    if weight is None:
        return lambda x, w, *_: after(call(x, w, bias))
    return lambda x, *_: after(call(x, weight, bias))


def matmul(torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    return (lambda x, y: x @ y.mT) if a.flag("transpose_b") else torch.matmul


def pool(torch: Any, a: Attributes, _constants: Sequence[Any], *, kind: str) -> Call:
    """Return a pooling; uneven padding is done ahead (for means only where padding does not count)."""
    (top, bottom, left, right), kernel = a.integers("padding"), list(a.integers("kernel"))
    f, stride, ceil = torch.nn.functional, list(a.integers("stride")), a.flag("ceil_mode")
    if top != bottom or left != right:
        if kind != "max":
            raise KeyError("uneven padding of a mean")
        around = [left, right, top, bottom]
        return lambda x: f.max_pool2d(f.pad(x.permute(NCHW), around, value=float("-inf")), kernel, stride).permute(NHWC)
    if kind == "max":
        return lambda x: f.max_pool2d(x.permute(NCHW), kernel, stride, [top, left], 1, ceil).permute(NHWC)
    counted = a.flag("count_include_pad")
    return lambda x: f.avg_pool2d(x.permute(NCHW), kernel, stride, [top, left], ceil, counted).permute(NHWC)


def both(torch: Any, a: Attributes, constants: Sequence[Any], *, name: str) -> Call:
    """Return an operation of two tensors, with its activation."""
    call, after = getattr(torch, name), activate(torch, a.text("activation"))
    first, second = constants
    if second is not None:
        return lambda x, _=None: after(call(x, second))
    if first is not None:
        return lambda _, y: after(call(first, y))
    return lambda x, y: after(call(x, y))


def _global_mean(torch: Any) -> Call:
    call = torch.nn.functional.adaptive_avg_pool2d
    return lambda x: call(x.permute(NCHW), 1).permute(NHWC)


def one(function: Callable[[Any], Call]) -> Maker:
    """Return the maker of a function of one tensor."""
    return lambda torch, _attributes, _constants: function(torch)


def gelu(torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    return functools.partial(torch.nn.functional.gelu, approximate=a.text("approximate"))


def layer_norm(torch: Any, a: Attributes, constants: Sequence[Any]) -> Call:
    scale, shift, eps = constants[1], constants[2], a.number("eps")
    call, shape = torch.nn.functional.layer_norm, list(scale.shape)
    return lambda x, *_: call(x, shape, scale, shift, eps)


def rms_norm(torch: Any, a: Attributes, constants: Sequence[Any]) -> Call:
    scale, eps, call = constants[1], a.number("eps"), torch.nn.functional.rms_norm
    return lambda x, *_: call(x, list(scale.shape), scale, eps)


def attention(torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    heads, groups = a.integer("heads"), a.integer("kv_heads") or a.integer("heads")
    scale, causal, call = a.number("scale") or None, a.flag("causal"), torch.nn.functional.scaled_dot_product_attention

    def run(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        q, k, v = (x.unflatten(-1, (n, -1)).transpose(1, 2) for x, n in ((q, heads), (k, groups), (v, groups)))
        rows, columns = q.shape[2], k.shape[2]
        is_plain = causal and mask is None and rows == columns
        if causal and not is_plain:
            keep = torch.ones(rows, columns, dtype=torch.bool, device=q.device).tril(columns - rows)
            mask = keep if mask is None else mask & keep if mask.dtype is torch.bool else mask.masked_fill(~keep, -1e30)
        y = call(q, k, v, mask, is_causal=is_plain, scale=scale, enable_gqa=heads != groups)
        return y.transpose(1, 2).flatten(-2)

    return run


def rotary(torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    if a.flag("interleaved"):
        raise KeyError("interleaved")
    heads = a.integer("heads")

    def run(x: Any, cos: Any, sin: Any) -> Any:
        half, parts = cos.shape[-1], x.unflatten(-1, (heads, -1))
        near, far, rest = parts[..., :half], parts[..., half : 2 * half], parts[..., 2 * half :]
        c, s = cos[..., None, :], sin[..., None, :]
        return torch.cat((near * c - far * s, far * c + near * s, rest), -1).flatten(-2)

    return run


def reshape(_torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    target = tuple(int(d) for d in a.integers("shape"))

    def run(x: Any) -> Any:
        return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(target)])

    return run


def transpose(_torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    perm = a.integers("perm")
    return lambda x: x.permute(perm)


def concat(torch: Any, a: Attributes, constants: Sequence[Any]) -> Call:
    axis = a.integer("axis")
    return lambda *parts: torch.cat([c if c is not None else p for c, p in zip(constants, parts, strict=True)], axis)


def cut(_torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    axis, part = a.integer("axis"), slice(a.integer("start"), a.integer("stop"), a.integer("step"))
    if a.integer("step") < 1:
        raise KeyError("a negative step")

    def run(x: Any) -> Any:
        return x[(slice(None),) * (axis % x.ndim) + (part,)]

    return run


def gather(torch: Any, a: Attributes, constants: Sequence[Any]) -> Call:
    table, ids, axis = constants[0], constants[1], a.integer("axis")

    def run(x: Any, where: Any) -> Any:
        x, where = table if table is not None else x, ids if ids is not None else where
        return torch.index_select(x, axis, where.reshape(-1).long()).unflatten(axis, tuple(where.shape) or (1,))

    return run


def mean(torch: Any, a: Attributes, _constants: Sequence[Any]) -> Call:
    axes, keep = a.integers("axes"), a.flag("keepdims")
    return lambda x: torch.mean(x, axes, keepdim=keep)


MAKERS: dict[str, Maker] = {
    "conv2d": conv2d,
    "linear": linear,
    "matmul": matmul,
    "max_pool2d": functools.partial(pool, kind="max"),
    "avg_pool2d": functools.partial(pool, kind="mean"),
    "global_avg_pool": one(_global_mean),
    **{name: functools.partial(both, name=name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    **{name: one(lambda torch, n=name: getattr(torch, n)) for name in ("relu", "sigmoid", "tanh", "exp", "sqrt")},
    "relu6": one(lambda torch: torch.nn.functional.relu6),
    "silu": one(lambda torch: torch.nn.functional.silu),
    "hard_swish": one(lambda torch: torch.nn.functional.hardswish),
    "gelu": gelu,
    "softmax": one(lambda torch: lambda x: torch.softmax(x, -1)),
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "attention": attention,
    "rotary": rotary,
    "reshape": reshape,
    "identity": one(lambda _torch: lambda x: x),
    "transpose": transpose,
    "concat": concat,
    "slice": cut,
    "gather": gather,
    "mean": mean,
}
