"""The ONNX operators on pictures and borders: Pad, Resize, Upsample, DepthToSpace, SpaceToDepth.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: sizes, scales and pads are known; a negative pad is a slice. Resize scales height and width of [N,C,H,W], or
          the last dimension of [N,C,W].
Does not: antialias, crop, or leave cells outside out of the weights.
Sources:  https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor

from onnx import NodeProto

from onchip.frontends.onnx.elementwise import arithmetic
from onchip.frontends.onnx.walk import Known, Value, Walk
from onchip.frontends.onnx.windows import as_before, as_picture
from onchip.ops.types import axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


def _text(walk: Walk, node: NodeProto, key: str, default: str) -> str:
    return str(walk.attributes(node).get(key, default.encode()), "ascii")


def _pad(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Pads were an attribute before opset 11."""
    canvas, x, name, mode = walk.canvas, walk.tensor(node, 0), walk.name(node), _text(walk, node, "mode", "constant")
    rank = len(canvas.shape(x))
    pads, axes = walk.integers(node, 1, "pads") or [], walk.integers(node, 3, "axes")
    places = [axis_of(i, rank) for i in (range(rank) if axes is None else axes)]
    if len(pads) != 2 * len(places):
        raise walk.refuse(node, f"{len(pads)} pads for {len(places)} axes")
    value = walk.value(node, 2)
    if value is not None and not isinstance(value, Known):
        raise walk.refuse(node, "a value that is computed from data")
    fill = float(walk.attributes(node).get("value", 0.0))
    fill = float(value.array.reshape(-1)[0]) if isinstance(value, Known) and value.array.size else fill
    pairs = [0] * (2 * rank)
    for i, place in enumerate(places):
        begin, end = pads[i], pads[len(places) + i]
        if begin < 0 or end < 0:
            size = canvas.shape(x)[place]
            x = canvas.slice(x, f"{name}.cut", axis=place, start=max(0, -begin), stop=_stop(walk, node, size, end))
        pairs[2 * place], pairs[2 * place + 1] = max(0, begin), max(0, end)
    return (arithmetic(walk, "pad", (x,), name, pads=tuple(pairs), mode=mode, value=fill) if any(pairs) else x,)


def _stop(walk: Walk, node: NodeProto, size: int | str, end: int) -> int:
    if isinstance(size, str):
        raise walk.refuse(node, f"cuts the symbolic dimension '{size}'", code="OC1353")
    return size + min(0, end)


def _resize(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Inputs are x, roi, scales, sizes; Upsample has x and scales, and copies from the left."""
    a, given = walk.attributes(node), walk.tensor(node, 0)
    rank = len(walk.canvas.shape(given))
    is_old = node.op_type == "Upsample" or walk.opset < 11
    mode = MODES.get(_text(walk, node, "mode", "nearest"), "")
    at = _text(walk, node, "coordinate_transformation_mode", "asymmetric" if is_old else "half_pixel")
    if a.get("antialias", 0) or a.get("exclude_outside", 0) or at in ("tf_crop_and_resize", "half_pixel_symmetric"):
        raise walk.refuse(node, f"antialias, exclude_outside, or coordinates '{at}'")
    if not mode:
        raise walk.refuse(node, f"mode '{_text(walk, node, 'mode', 'nearest')}'", limit=f"There are {', '.join(MODES)}")
    axes = [axis_of(int(i), rank) for i in a.get("axes", range(rank))]
    x = as_picture(walk, node, given)
    sizes, scales = _sizes(walk, node, given, axes, at)
    if rank == 3:
        sizes, scales = [1, *sizes], [1.0, *scales]
    rounding = "floor" if is_old else _text(walk, node, "nearest_mode", "round_prefer_floor")
    y = walk.canvas.node(
        "resize", (walk.canvas.channels_last(x),), walk.name(node), sizes=tuple(sizes), scales=tuple(scales), mode=mode,
        coordinates=at, nearest=rounding, cubic=float(a.get("cubic_coeff_a", -0.75)),
    )  # fmt: skip
    return (as_before(walk, walk.canvas.channels_first(y), rank),)


def _sizes(walk: Walk, node: NodeProto, x: str, axes: Sequence[int], at: str) -> tuple[list[int], list[float]]:
    """Give the new sizes of the dimensions behind the channels, and their scales; 0 stands for the ratio of sizes."""
    shape = walk.canvas.shape(x)
    place = 1 if node.op_type == "Upsample" or walk.opset < 11 else 2
    factors = walk.attributes(node).get("scales")
    known = walk.value(node, place) if factors is None else None
    if factors is None and isinstance(known, Known) and known.array.size:
        factors = [float(v) for v in known.array.reshape(-1)]
    wanted = None if factors is not None else walk.integers(node, 3, "sizes")
    if factors is None and wanted is None:
        raise walk.refuse(node, "its scales are not constant", code="OC1353")
    sizes, scales = [*shape], [1.0] * len(shape)
    ratios = _ratios(walk, node, [shape[i] for i in axes], wanted) if wanted is not None else [*(factors or [])]
    for i, place in enumerate(axes):
        size = shape[place]
        if isinstance(size, int):
            keeps = wanted is not None and _text(walk, node, "keep_aspect_ratio_policy", "stretch") != "stretch"
            made = (
                floor(ratios[i] * size + 0.5) if keeps else wanted[i] if wanted is not None else floor(size * ratios[i])
            )
            sizes[place], scales[place] = made, 0.0 if wanted is not None and not keeps else ratios[i]
        elif ratios[i] != 1:
            raise walk.refuse(node, f"scales the symbolic dimension '{size}'", code="OC1353")
        if at == "align_corners" and isinstance(size, int) and scales[place] and size * scales[place] != sizes[place]:
            raise walk.refuse(node, f"align_corners with a scale of {scales[place]} over {size} cells")
    if tuple(sizes[:2]) != shape[:2] or any(isinstance(d, str) for d in sizes[2:]):
        raise walk.refuse(node, f"{shape} to {tuple(sizes)}", limit="Height and width are scaled")
    return [int(d) for d in sizes[2:]], scales[2:]


def _ratios(walk: Walk, node: NodeProto, given: Sequence[int | str], wanted: Sequence[int]) -> list[float]:
    """Give the ratio of each size, or the one ratio of a policy that keeps the aspect."""
    own = [w / g if isinstance(g, int) else 1.0 for g, w in zip(given, wanted, strict=True)]
    policy = _text(walk, node, "keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return own
    return [min(own) if policy == "not_larger" else max(own)] * len(own)


def _blocks(op: str) -> Rule:
    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        x, block = walk.canvas.channels_last(walk.tensor(node, 0)), int(walk.attributes(node)["blocksize"])
        mode = _text(walk, node, "mode", "DCR")
        return (walk.canvas.channels_first(walk.canvas.node(op, (x,), walk.name(node), block=block, mode=mode)),)

    return rule


PICTURES: dict[str, Rule] = {
    "Pad": _pad, "Resize": _resize, "Upsample": _resize, "DepthToSpace": _blocks("depth_to_space"),
    "SpaceToDepth": _blocks("space_to_depth"),
}  # fmt: skip
