"""The ONNX operators that slide a window: convolutions and pools over one or two dimensions.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: one dimension is two, of which the first has one cell. Weights are constants.
Does not: read three dimensions, or pools that give their indices.
Sources:  https://onnx.ai/onnx/operators/ (Conv, ConvTranspose, AveragePool, MaxPool; auto_pad stands there).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.norms import label
from onchip.frontends.onnx.walk import Value, Walk
from onchip.ops.types import AttributeValue, Dimension

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True)
class Window:
    """A 2-D window; padding is top, bottom, left, right."""

    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]


def two(values: Sequence[int], fill: int) -> tuple[int, int]:
    """Give two values; one value is that of the second dimension."""
    numbers = [int(v) for v in values]
    return (fill, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def window_of(walk: Walk, node: NodeProto, kernel: tuple[int, int], size: Sequence[Dimension]) -> Window:
    """Read stride, dilation and padding of a window over `size` cells."""
    a = walk.attributes(node)
    stride, dilation = two(a.get("strides", (1, 1)), 1), two(a.get("dilations", (1, 1)), 1)
    mode = auto_pad(walk, node)
    if mode in ("NOTSET", "VALID"):
        pads = [int(p) for p in a.get("pads", (0, 0, 0, 0))] if mode == "NOTSET" else [0, 0, 0, 0]
        top, left, bottom, right = (0, pads[0], 0, pads[1]) if len(pads) == 2 else pads
        return Window(stride, dilation, (top, bottom, left, right))
    padding: list[int] = []
    for i in range(2):
        extent = size[i]
        if isinstance(extent, str):
            raise walk.refuse(node, f"auto_pad {mode} over the symbolic dimension '{extent}'", code="OC1353")
        reach = (-(-extent // stride[i]) - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        padding += halves(max(0, reach - extent), mode)
    return Window(stride, dilation, (padding[0], padding[1], padding[2], padding[3]))


def auto_pad(walk: Walk, node: NodeProto) -> str:
    """Read the attribute, and refuse what it may not be."""
    mode = str(walk.attributes(node).get("auto_pad", b"NOTSET"), "ascii")
    if mode not in PADS:
        raise walk.refuse(node, f"auto_pad '{mode}'", limit=f"There are {', '.join(PADS)}")
    return mode


def halves(total: int, mode: str) -> tuple[int, int]:
    """Split padding into begin and end; the odd cell is at the end for SAME_UPPER."""
    less, more = total // 2, total - total // 2
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def as_picture(walk: Walk, node: NodeProto, x: str) -> str:
    """Give [N,C,H,W] of [N,C,W]; other ranks than 3 and 4 are refused."""
    shape = walk.canvas.shape(x)
    if len(shape) not in (3, 4):
        raise walk.refuse(node, f"over {len(shape) - 2} dimensions", limit="One or two dimensions are read")
    return x if len(shape) == 4 else walk.canvas.reshape(x, (*shape[:2], 1, shape[2]), f"{x}.picture")


def as_before(walk: Walk, y: str, rank: int) -> str:
    """Undo as_picture."""
    shape = walk.canvas.shape(y)
    return y if rank == 4 else walk.canvas.reshape(y, (*shape[:2], shape[3]), f"{y}.line")


def _conv(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    weight, bias = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
    if weight is None or weight.ndim not in (3, 4):
        fact = f"over {0 if weight is None else weight.ndim - 2} dimensions"
        raise walk.refuse(node, fact, limit="One or two dimensions are read")
    given = walk.tensor(node, 0)
    x = as_picture(walk, node, given)
    weight = weight if weight.ndim == 4 else weight[:, :, None]
    w = window_of(walk, node, (weight.shape[2], weight.shape[3]), walk.canvas.shape(x)[2:])
    y = walk.canvas.conv2d(
        x, walk.name(node), weight=weight, bias=bias, names=(label(walk, node, 1), label(walk, node, 2)),
        stride=w.stride, padding=w.padding, dilation=w.dilation, groups=int(walk.attributes(node).get("group", 1)),
    )  # fmt: skip
    return (as_before(walk, y, len(walk.canvas.shape(given))),)


def _conv_transpose(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Weights come as [C,K/groups,R,S] and go as [K,R,S,C/groups]."""
    canvas, a, name = walk.canvas, walk.attributes(node), walk.name(node)
    weight, bias = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
    given = walk.tensor(node, 0)
    if weight is None or weight.ndim not in (3, 4):
        raise walk.refuse(node, "over three dimensions", limit="One or two dimensions are read")
    x = as_picture(walk, node, given)
    weight = weight if weight.ndim == 4 else weight[:, :, None]
    groups = int(a.get("group", 1))
    c, k, r, s = weight.shape
    turned = weight.reshape(groups, c // groups, k, r, s).transpose(0, 2, 3, 4, 1).reshape(groups * k, r, s, -1)
    window, extra = _enlarged(walk, node, (r, s), canvas.shape(x)[2:])
    inputs = [canvas.channels_last(x), canvas.constant(label(walk, node, 1), np.ascontiguousarray(turned))]
    if bias is not None:
        inputs.append(canvas.constant(label(walk, node, 2), bias))
    y = canvas.node(
        "conv_transpose2d", inputs, name, stride=window.stride, padding=window.padding, dilation=window.dilation,
        output_padding=extra, groups=groups,
    )  # fmt: skip
    return (as_before(walk, canvas.channels_first(y), len(canvas.shape(given))),)


def _enlarged(
    walk: Walk, node: NodeProto, kernel: tuple[int, int], size: Sequence[Dimension]
) -> tuple[Window, tuple[int, int]]:
    """Give the window of a transposed convolution, and the cells to add at its far ends."""
    a, mode = walk.attributes(node), auto_pad(walk, node)
    stride, dilation = two(a.get("strides", (1, 1)), 1), two(a.get("dilations", (1, 1)), 1)
    extra = two(a.get("output_padding", (0, 0)), 0)
    wanted = [int(v) for v in a.get("output_shape", ())]
    if not wanted and mode in ("NOTSET", "VALID"):
        return window_of(walk, node, kernel, size), extra
    padding: list[int] = []
    for i in range(2):
        extent = size[i]
        if isinstance(extent, str):
            raise walk.refuse(node, f"a fixed output over the symbolic dimension '{extent}'", code="OC1353")
        whole = two(wanted, 1)[i] if wanted else extent * stride[i]
        total = stride[i] * (extent - 1) + extra[i] + dilation[i] * (kernel[i] - 1) + 1 - whole
        padding += halves(max(0, total), "SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER")
        if total < 0:
            raise walk.refuse(node, f"an output of {whole} cells where {whole + total} are made")
    return Window(stride, dilation, (padding[0], padding[1], padding[2], padding[3])), extra


def _pool(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, given = walk.attributes(node), walk.tensor(node, 0)
    if walk.has_more(node):
        raise walk.refuse(node, "with its indices as an output")
    x = as_picture(walk, node, given)
    kernel = two(a["kernel_shape"], 1)
    w = window_of(walk, node, kernel, walk.canvas.shape(x)[2:])
    more: dict[str, AttributeValue] = {}
    if node.op_type == "AveragePool":
        more["count_include_pad"] = bool(a.get("count_include_pad", 0))
        if w.dilation != (1, 1):
            raise walk.refuse(node, f"dilation {w.dilation}")
    elif w.dilation != (1, 1):
        more["dilation"] = w.dilation
    more["ceil_mode"] = bool(a.get("ceil_mode", 0))
    op = "avg_pool2d" if node.op_type == "AveragePool" else "max_pool2d"
    y = walk.canvas.pool2d(
        op, x, walk.name(node), kernel=kernel, stride=w.stride, padding=w.padding, **more,
    )  # fmt: skip
    return (as_before(walk, y, len(walk.canvas.shape(given))),)


def _global_pool(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    given = walk.tensor(node, 0)
    x = as_picture(walk, node, given)
    if node.op_type == "GlobalAveragePool":
        y = walk.canvas.pool2d("global_avg_pool", x, walk.name(node))
    else:
        size = walk.canvas.shape(x)[2:]
        if any(isinstance(d, str) for d in size):
            raise walk.refuse(node, "over symbolic dimensions", code="OC1353")
        kernel = (int(size[0]), int(size[1]))
        y = walk.canvas.pool2d("max_pool2d", x, walk.name(node), kernel=kernel, stride=kernel)
    return (as_before(walk, y, len(walk.canvas.shape(given))),)


WINDOWS: dict[str, Rule] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool,
}  # fmt: skip
