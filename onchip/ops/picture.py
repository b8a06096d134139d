"""Pictures and borders: pad, resize, depth_to_space, space_to_depth.

In: pad takes a tensor of any rank, the others x [B,H,W,C]. Out: one tensor.
pad: `pads` = (begin, end) per axis, in order of the axes; mode constant (`value`), reflect (without the border cell),
symmetric (with it), edge, wrap.
resize: `sizes` = (height, width); mode nearest, bilinear, bicubic (`cubic` = a of Keys 1981, -0.75 as torch and ONNX);
the source coordinate of output i is, with s = output size / input size or the `scales` given:
half_pixel (i + 0.5) / s - 0.5; pytorch_half_pixel the same, 0 where the output has one cell; asymmetric i / s;
align_corners i (in - 1) / (out - 1). `nearest` rounds it: floor, ceil, round_prefer_floor, round_prefer_ceil.
Cells outside are those of the border (ONNX Resize; torch interpolate).
depth_to_space: channel (i block + j) C' + c goes to cell (i, j) with mode DCR (ONNX, LiteRT), channel
c block^2 + i block + j with mode CRD (torch pixel_shuffle); space_to_depth is the way back.
In integers all of them keep scale and zero point; see interpolate.py for resize.
"""

from typing import Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from onchip.ops.copying import copied, integer_of, same_quantization
from onchip.ops.interpolate import nearest_litert, resize_bilinear_litert, resize_integer
from onchip.ops.requantizing import rounding_of
from onchip.ops.types import (
    Array,
    Attributes,
    AttributeValue,
    Dimension,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    elements,
    number,
    positive,
    present,
    ranked,
    show,
)

PadMode: TypeAlias = Literal["constant", "reflect", "symmetric", "edge", "wrap"]
PAD_MODES = ("constant", "reflect", "symmetric", "edge", "wrap")
RESIZE_MODES = ("nearest", "bilinear", "bicubic")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def one_of(attributes: Attributes, key: str, known: tuple[str, ...]) -> str:
    """Read an attribute that has one of a few values."""
    value = attributes.text(key)
    if value not in known:
        raise Refusal("OC1336", f"{key} '{value}' is none of {', '.join(known)}")
    return value


def _pairs(attributes: Attributes, rank: int) -> list[tuple[int, int]]:
    pads = attributes.integers("pads")
    positive(pads, "pads", 0)
    if len(pads) != 2 * rank:
        raise Refusal("OC1315", f"{len(pads)} pads for {rank} dimensions, needs {2 * rank}")
    return list(zip(pads[::2], pads[1::2], strict=True))


def _pad_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, mode = present(shapes[0], "x"), one_of(attributes, "mode", PAD_MODES)
    return (tuple(_padded(d, pair, mode) for d, pair in zip(x, _pairs(attributes, len(x)), strict=True)),)


def _padded(dimension: Dimension, pair: tuple[int, int], mode: str) -> Dimension:
    if not any(pair):
        return dimension
    n = number(dimension, "a padded dimension")
    most = {"reflect": n - 1, "symmetric": n, "wrap": n}.get(mode)
    if most is not None and max(pair) > most:
        raise Refusal("OC1315", f"mode {mode} pads a dimension of {n} by {most} at most")
    return n + sum(pair)


def pad_array(attributes: Attributes, x: Array, value: float) -> Array:
    """Pad by the attributes; constant mode fills with `value`."""
    pairs, mode = _pairs(attributes, x.ndim), cast("PadMode", attributes.text("mode"))
    if mode == "constant":
        return np.pad(x, pairs, constant_values=x.dtype.type(value))
    return np.pad(x, pairs, mode=mode)


def _pad(attributes: Attributes, x: Array) -> tuple[Array]:
    return (pad_array(attributes, x, attributes.number("value")),)


def _resize_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, sizes = ranked(shapes[0], 4, "x"), attributes.integers("sizes")
    positive(sizes, "sizes")
    for key, known in (("mode", RESIZE_MODES), ("coordinates", COORDINATES), ("nearest", NEAREST)):
        one_of(attributes, key, known)
    if len(sizes) != 2 or len(attributes.integers("scales")) != 2:
        raise Refusal("OC1315", "sizes and scales have a height and a width")
    return ((x[0], sizes[0], sizes[1], x[3]),)


def coordinates(attributes: Attributes, size: int, i: int) -> NDArray[np.float64]:
    """Give the source coordinate of each output row (i = 0) or column (i = 1), one rounding from the exact ratio."""
    out, kind = attributes.integers("sizes")[i], attributes.text("coordinates")
    scale = float(cast("tuple[float, ...]", attributes.integers("scales"))[i])
    at = np.arange(out, dtype=np.float64)
    match kind:
        case "asymmetric":
            return at / scale if scale else at * size / out
        case "align_corners":
            return at * (size - 1) / (out - 1) if out > 1 else at
        case "pytorch_half_pixel" if out == 1:
            return at
        case _:
            return (at + 0.5) / scale - 0.5 if scale else ((2 * at + 1) * size - out) / (2 * out)


def nearest_index(attributes: Attributes, size: int, i: int) -> NDArray[np.int64]:
    """Give the source cell of each output row or column."""
    at = coordinates(attributes, size, i)
    match attributes.text("nearest"):
        case "floor":
            cell = np.floor(at)
        case "ceil":
            cell = np.ceil(at)
        case "round_prefer_floor":
            cell = np.ceil(at - 0.5)
        case _:
            cell = np.floor(at + 0.5)
    return np.clip(cell, 0, size - 1).astype(np.int64)


def _bilinear_weights(t: NDArray[np.float64], _a: float) -> list[Array]:
    return [1 - t, t]


def _bicubic_weights(t: NDArray[np.float64], a: float) -> list[Array]:
    """Weigh the cells -1, 0, 1, 2 around a fraction t (Keys 1981, eq. 4)."""

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def taps_of(attributes: Attributes, size: int, i: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give cells and weights [out, taps] along the height (i = 0) or the width (i = 1)."""
    is_cubic = attributes.text("mode") == "bicubic"
    at = coordinates(attributes, size, i)
    at = at if is_cubic else np.clip(at, 0, size - 1)
    base = np.floor(at)
    weights = (_bicubic_weights if is_cubic else _bilinear_weights)(at - base, attributes.number("cubic"))
    offsets = np.arange(len(weights)) - (1 if is_cubic else 0)
    cells = np.clip(base[:, None] + offsets, 0, size - 1).astype(np.int64)
    return cells, np.stack(weights, axis=1)


def _pick(x: Array, rows: Array, columns: Array) -> Array:
    return x[:, rows][:, :, columns]


def _resize(attributes: Attributes, x: Array) -> tuple[Array]:
    if attributes.text("mode") == "nearest":
        return (_pick(x, *(nearest_index(attributes, x.shape[1 + i], i) for i in range(2))),)
    (rows, ry), (columns, rx) = (taps_of(attributes, x.shape[1 + i], i) for i in range(2))
    along = np.einsum("botwc,ot->bowc", x.astype(np.float64)[:, rows], ry)
    return (np.einsum("bhotc,ot->bhoc", along[:, :, columns], rx).astype(np.float32),)


def _resize_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    same_quantization(given, made)
    mode, is_litert = attributes.text("mode"), rounding_of(attributes) == "double"
    if mode == "nearest":
        index = nearest_litert if is_litert else nearest_index
        return (_pick(x, *(index(attributes, x.shape[1 + i], i) for i in range(2))),)
    if mode == "bilinear" and is_litert:
        return (resize_bilinear_litert(attributes, x),)
    return (resize_integer(attributes, x, taps_of),)


def _pad_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    same_quantization(given, made)
    return (pad_array(attributes, x, integer_of(attributes.number("value"), given[0], 8 * x.dtype.itemsize)),)


def _resize_ops(attributes: Attributes, _inputs: Shapes, outputs: Shapes) -> int:
    """Count the cells that each output mixes: 1, 4 or 16."""
    return {"nearest": 1, "bilinear": 4}.get(attributes.text("mode"), 16) * elements(outputs[0])


def _block(attributes: Attributes) -> int:
    one_of(attributes, "mode", ("DCR", "CRD"))
    positive((attributes.integer("block"),), "block")
    return attributes.integer("block")


def _to_space_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, n = ranked(shapes[0], 4, "x"), _block(attributes)
    h, w, c = (number(d, "height, width and channels") for d in x[1:])
    if c % (n * n):
        raise Refusal("OC1314", f"{c} channels do not split into {n} x {n} cells")
    return ((x[0], h * n, w * n, c // (n * n)),)


def _to_depth_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, n = ranked(shapes[0], 4, "x"), _block(attributes)
    h, w, c = (number(d, "height, width and channels") for d in x[1:])
    if h % n or w % n:
        raise Refusal("OC1314", f"{show(x)} does not split into blocks of {n} x {n}")
    return ((x[0], h // n, w // n, c * n * n),)


def _depth_to_space(attributes: Attributes, x: Array) -> tuple[Array]:
    n, (b, h, w, c) = attributes.integer("block"), x.shape
    if attributes.text("mode") == "DCR":
        parts = x.reshape(b, h, w, n, n, c // (n * n)).transpose(0, 1, 3, 2, 4, 5)
    else:
        parts = x.reshape(b, h, w, c // (n * n), n, n).transpose(0, 1, 4, 2, 5, 3)
    return (np.ascontiguousarray(parts).reshape(b, h * n, w * n, c // (n * n)),)


def _space_to_depth(attributes: Attributes, x: Array) -> tuple[Array]:
    n, (b, h, w, c) = attributes.integer("block"), x.shape
    parts = x.reshape(b, h // n, n, w // n, n, c)
    parts = parts.transpose((0, 1, 3, 2, 4, 5) if attributes.text("mode") == "DCR" else (0, 1, 3, 5, 2, 4))
    return (np.ascontiguousarray(parts).reshape(b, h // n, w // n, c * n * n),)


_RESIZE: dict[str, AttributeValue] = {
    "mode": "nearest",
    "coordinates": "half_pixel",
    "nearest": "round_prefer_floor",
    "scales": (0.0, 0.0),
    "cubic": -0.75,
}

OPS: tuple[Op, ...] = (
    Op(
        "pad",
        ("x",),
        _pad_shape,
        _pad,
        needs=("pads",),
        defaults={"mode": "constant", "value": 0.0},
        integer=_pad_integer,
    ),
    Op(
        "resize",
        ("x",),
        _resize_shape,
        _resize,
        needs=("sizes",),
        defaults=_RESIZE,
        integer=_resize_integer,
        vector_ops=_resize_ops,
    ),
    Op(
        "depth_to_space",
        ("x",),
        _to_space_shape,
        _depth_to_space,
        needs=("block",),
        defaults={"mode": "DCR"},
        integer=copied(_depth_to_space),
    ),
    Op(
        "space_to_depth",
        ("x",),
        _to_depth_shape,
        _space_to_depth,
        needs=("block",),
        defaults={"mode": "DCR"},
        integer=copied(_space_to_depth),
    ),
)
