"""Convolutions, pools and pictures of torch.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the value of the node, as in ops.py.
Promises: one dimension is two, of which the first has one cell. Weights are parameters, or follow from them.
Does not: read three dimensions, indices of pools, or a resize by scales that give no whole sizes.
Sources:  aten/src/ATen/native/native_functions.yaml for names, arguments and defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor, fx

from onchip.frontends.torch.arrange import Arguments, Rule
from onchip.frontends.torch.walk import Known, Value, Walk
from onchip.ops.types import AttributeValue


def constant(walk: Walk, node: fx.Node, arg: Any, what: str) -> Known:
    """Give an argument that has to be a parameter, or follow from some."""
    value = walk.value(arg)
    if not isinstance(value, Known):
        raise walk.refuse(node, f"its {what} is not a parameter", limit="Weights have to be constants")
    return value


def pair(values: Any, fill: int | None = None) -> tuple[int, int]:
    """Give two numbers; of one number both, or the second with `fill` as the first."""
    numbers = [values] if isinstance(values, int) else list(cast("Sequence[int]", values))
    if len(numbers) == 1:
        return (numbers[0] if fill is None else fill, numbers[0])
    return (numbers[0], numbers[1])


def _picture(walk: Walk, x: str) -> str:
    shape = walk.canvas.shape(x)
    return x if len(shape) == 4 else walk.canvas.reshape(x, (*shape[:2], 1, shape[2]), f"{x}.picture")


def _line(walk: Walk, y: str, rank: int) -> str:
    shape = walk.canvas.shape(y)
    return y if rank == 4 else walk.canvas.reshape(y, (*shape[:2], shape[3]), f"{y}.line")


def _conv(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    known = constant(walk, node, a["weight"], "weight")
    weight, given = walk.array(known), walk.tensor(node, a["input"])
    if weight.ndim not in (3, 4) or len(walk.canvas.shape(given)) != weight.ndim:
        raise walk.refuse(node, f"{node.target!s} over {weight.ndim - 2} dimensions", limit="One or two dimensions")
    weight = weight if weight.ndim == 4 else weight[:, :, None]
    bias = None if a.get("bias") is None else constant(walk, node, a["bias"], "bias")
    x, name, dilation = _picture(walk, given), walk.name(node), pair(a["dilation"], 1)
    if isinstance(a["padding"], str):
        total = [0 if a["padding"] == "valid" else d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    else:
        rows, columns = pair(a["padding"], 0) if len(walk.canvas.shape(given)) == 3 else pair(a["padding"])
        padding = (rows, rows, columns, columns)
    is_line = len(walk.canvas.shape(given)) == 3
    stride = pair(a["stride"], 1) if is_line else pair(a["stride"])
    dilation = dilation if is_line else pair(a["dilation"])
    names = (known.name, "" if bias is None else bias.name)
    shift = None if bias is None else walk.array(bias)
    if a.get("transposed", False):
        extra = pair(a["output_padding"], 0) if is_line else pair(a["output_padding"])
        y = _transposed(walk, name, x, (weight, shift), names, stride=stride, padding=padding, dilation=dilation,
                        output_padding=extra, groups=int(a["groups"]))  # fmt: skip
    else:
        y = walk.canvas.conv2d(
            x, name, weight=weight, bias=shift, names=names, stride=stride, padding=padding, dilation=dilation,
            groups=int(a["groups"]),
        )  # fmt: skip
    return _line(walk, y, len(walk.canvas.shape(given)))


def _transposed(
    walk: Walk, name: str, x: str, values: tuple[Any, Any], names: tuple[str, str], **attributes: AttributeValue
) -> str:
    """Weights come as [C,K/groups,R,S] and go as [K,R,S,C/groups]."""
    canvas, (weight, bias) = walk.canvas, values
    groups = int(cast("int", attributes["groups"]))
    c, k, r, s = weight.shape
    turned = weight.reshape(groups, c // groups, k, r, s).transpose(0, 2, 3, 4, 1).reshape(groups * k, r, s, -1)
    inputs = [canvas.channels_last(x), canvas.constant(names[0], np.ascontiguousarray(turned))]
    if bias is not None:
        inputs.append(canvas.constant(names[1], bias))
    return canvas.channels_first(canvas.node("conv_transpose2d", inputs, name, **attributes))


def _max_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    dilation = pair(a["dilation"])
    more: dict[str, AttributeValue] = {} if dilation == (1, 1) else {"dilation": dilation}
    y = _pool(walk, node, a, "max_pool2d", **more)
    return y if isinstance(node.meta["val"], Tensor) else (y, None)


def _avg_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["divisor_override"] is not None:
        raise walk.refuse(node, "average pooling with divisor_override")
    return _pool(walk, node, a, "avg_pool2d", count_include_pad=bool(a["count_include_pad"]))


def _pool(walk: Walk, node: fx.Node, a: Arguments, op: str, **attributes: AttributeValue) -> str:
    kernel, (rows, columns) = pair(a["kernel_size"]), pair(a["padding"])
    stride = pair(a["stride"]) if a["stride"] else kernel
    return walk.canvas.pool2d(
        op, walk.tensor(node, a["self"]), walk.name(node), kernel=kernel, stride=stride,
        padding=(rows, rows, columns, columns), ceil_mode=bool(a["ceil_mode"]), **attributes,
    )  # fmt: skip


def _avg_pool_depth(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    """Average along the first of three dimensions alone, as local response normalization does over channels."""
    canvas, x, name = walk.canvas, walk.tensor(node, a["self"]), walk.name(node)
    kernel, stride, padding = (list(a[k]) for k in ("kernel_size", "stride", "padding"))
    shape = canvas.shape(x)
    is_flat = kernel[1:] == [1, 1] and not any(padding[1:]) and (stride or kernel)[1:] in ([], [1, 1])
    if not is_flat or len(shape) != 5 or any(isinstance(d, str) for d in shape[3:]):
        raise walk.refuse(node, f"average pooling over {kernel}", limit="A window along the first dimension is read")
    flat = canvas.reshape(x, (*shape[:3], int(shape[3]) * int(shape[4])), f"{name}.flat")
    step, rows = (stride or kernel)[0], padding[0] if padding else 0
    y = canvas.pool2d(
        "avg_pool2d", flat, name, kernel=(kernel[0], 1), stride=(step, 1), padding=(rows, rows, 0, 0),
        ceil_mode=bool(a["ceil_mode"]), count_include_pad=bool(a["count_include_pad"]),
    )  # fmt: skip
    return canvas.reshape(y, walk.shape(node), f"{name}.apart")


def _adaptive_pool(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    x = walk.tensor(node, a["self"])
    size, want = walk.canvas.shape(x)[2:], pair(a["output_size"])
    is_max = "max" in str(node.target)
    if want == (1, 1) and not is_max:
        return walk.canvas.pool2d("global_avg_pool", x, walk.name(node))
    if any(isinstance(s, str) or s % w for s, w in zip(size, want, strict=True)):
        raise walk.refuse(node, f"adaptive pooling of {size} to {want}", limit="The output has to divide the input")
    kernel = (int(size[0]) // want[0], int(size[1]) // want[1])
    y = walk.canvas.pool2d("max_pool2d" if is_max else "avg_pool2d", x, walk.name(node), kernel=kernel, stride=kernel)
    return (y, None) if is_max else y


def _upsample(mode: str) -> Rule:
    """Make the rule of interpolate over two dimensions; sizes are those that torch inferred."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        canvas, x, made = walk.canvas, walk.tensor(node, a["input"]), walk.shape(node)
        sizes = made[2:]
        if any(isinstance(d, str) for d in (*sizes, *canvas.shape(x)[2:])):
            raise walk.refuse(node, f"to {sizes}", code="OC1353")
        factors = cast("Sequence[float] | None", a.get("scale_factors"))
        scales = (0.0, 0.0) if factors is None else (float(factors[0]), float(factors[1]))
        is_aligned = bool(a.get("align_corners", False))
        at = "asymmetric" if mode == "nearest" else "align_corners" if is_aligned else "half_pixel"
        y = canvas.node(
            "resize", (canvas.channels_last(x),), walk.name(node), sizes=(int(sizes[0]), int(sizes[1])),
            scales=(0.0, 0.0) if is_aligned else scales, mode=mode, coordinates=at, nearest="floor",
        )  # fmt: skip
        return canvas.channels_first(y)

    return rule


def _shuffle(op: str, factor: str) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = walk.canvas.channels_last(walk.tensor(node, a["self"]))
        return walk.canvas.channels_first(walk.canvas.node(op, (x,), walk.name(node), block=int(a[factor]), mode="CRD"))

    return rule


def _pad(mode: str) -> Rule:
    """Make the rule of a padding; torch counts pads from the last dimension."""

    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x, pads = walk.tensor(node, a["self"]), list(a.get("pad", a.get("padding")))
        if not all(isinstance(p, int) for p in pads):
            raise walk.refuse(node, "pads that are no numbers", code="OC1353")
        rank, name = len(walk.canvas.shape(x)), walk.name(node)
        pairs = [0] * (2 * rank)
        for i in range(len(pads) // 2):
            axis, (begin, end) = rank - 1 - i, pads[2 * i : 2 * i + 2]
            size = walk.canvas.shape(x)[axis]
            if min(begin, end) < 0 and isinstance(size, str):
                raise walk.refuse(node, f"cuts the symbolic dimension '{size}'", code="OC1353")
            if min(begin, end) < 0:
                x = walk.canvas.slice(x, f"{name}.cut", axis=axis, start=max(0, -begin), stop=int(size) + min(0, end))
            pairs[2 * axis : 2 * axis + 2] = max(0, begin), max(0, end)
        if not any(pairs):
            return x
        return walk.canvas.node("pad", (x,), name, pads=tuple(pairs), mode=mode, value=float(a.get("value") or 0.0))

    return rule


WINDOWS: dict[str, Rule] = {
    "conv1d.default": _conv, "conv1d.padding": _conv, "conv2d.default": _conv, "conv2d.padding": _conv,
    "convolution.default": _conv, "max_pool2d.default": _max_pool, "max_pool2d_with_indices.default": _max_pool,
    "avg_pool2d.default": _avg_pool, "avg_pool3d.default": _avg_pool_depth,
    "adaptive_avg_pool2d.default": _adaptive_pool,
    "_adaptive_avg_pool2d.default": _adaptive_pool, "adaptive_max_pool2d.default": _adaptive_pool,
    "upsample_nearest2d.vec": _upsample("nearest"), "upsample_bilinear2d.vec": _upsample("bilinear"),
    "upsample_bicubic2d.vec": _upsample("bicubic"),
    "pixel_shuffle.default": _shuffle("depth_to_space", "upscale_factor"),
    "pixel_unshuffle.default": _shuffle("space_to_depth", "downscale_factor"),
    "constant_pad_nd.default": _pad("constant"),
    "reflection_pad1d.default": _pad("reflect"), "reflection_pad2d.default": _pad("reflect"),
    "replication_pad1d.default": _pad("edge"), "replication_pad2d.default": _pad("edge"),
}  # fmt: skip
