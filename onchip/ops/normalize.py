"""Normalisations beyond norm.py: rms_norm, group_norm, instance_norm, lp_normalize, log_softmax, lrn.

In: x with channels last, and per-channel scale and bias. Out: the same shape.
Promises: means and sums of squares are taken in float64, the result is float32.
rms_norm: x / sqrt(mean(x^2) + eps) * scale over the last axis (Zhang and Sennrich 2019, eq. 4).
group_norm: (x - mean) / sqrt(var + eps) * scale + bias, mean and variance over all positions and the C / groups
channels of a group, per image (Wu and He 2018, eq. 7); instance_norm is one group per channel.
lp_normalize: x / max(norm, eps), the norm being (sum |x|^p)^(1/p) along `axis`, p 1 or 2; a norm of 0 gives 0.
log_softmax: x - log(sum(exp(x))) over the last axis.
lrn: x / (bias + alpha / size * sum of x^2 over channels c - (size-1)//2 .. c + size//2)^beta (ONNX LRN).
int8: the sequences of rownorm.py and response.py, within 1 of the rounded float result; a group's values are one row of
rowwise.layer_norm_rows. log_softmax gives scale 1/16 and zero point 127, as LiteRT's reference kernel, bit for bit;
lp_normalize with rounding "double" is LiteRT's L2_NORMALIZATION (scale 1/128, zero point 0).
"""

import numpy as np

from onchip.numerics import wide
from onchip.ops.requantizing import rounding_of
from onchip.ops.response import lrn_integer
from onchip.ops.rownorm import (
    LOG_SOFTMAX_SCALE,
    LOG_SOFTMAX_ZERO_POINT,
    l2_normalize_constants,
    l2_normalize_litert,
    log_softmax_rows,
    rms_norm_constants,
    rms_norm_rows,
)
from onchip.ops.rowwise import layer_norm_constants, layer_norm_rows
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    axis_of,
    elements,
    f32,
    number,
    positive,
    present,
    ranked,
    same,
    show,
)


def _channels_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    if not x:
        raise Refusal("OC1312", "'x' has no dimension")
    for s, name in zip(shapes[1:], ("scale", "bias"), strict=False):
        if s is not None:
            same(ranked(s, 1, name)[0], x[-1], f"length of {name} and channels")
    return (x,)


def _group_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    (x,) = _channels_shape(attributes, shapes)
    if len(x) < 2:
        raise Refusal("OC1312", f"'x' has shape {show(x)}, needs a batch and channels")
    if "groups" in attributes:
        groups, channels = attributes.integer("groups"), number(x[-1], "channels")
        positive((groups,), "groups")
        if channels % groups:
            raise Refusal("OC1314", f"{channels} channels do not split into {groups} groups")
    return (x,)


def _axis_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = present(shapes[0], "x")
    axis_of(attributes.integer("axis"), len(x))
    if attributes.integer("p") not in (1, 2):
        raise Refusal("OC1315", f"p is {attributes.integer('p')}, has to be 1 or 2")
    return (x,)


def _lrn_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    positive((attributes.integer("size"),), "size")
    return _channels_shape(attributes, shapes[:1])


def _affine(v: Array, scale: Array | None, bias: Array | None) -> Array:
    v = v if scale is None else v * f32(scale)
    return (v if bias is None else v + f32(bias)).astype(np.float32)


def _rms_norm(attributes: Attributes, x: Array, scale: Array | None = None) -> tuple[Array]:
    v = f32(x).astype(np.float64)
    v = v / np.sqrt((v * v).mean(axis=-1, keepdims=True) + attributes.number("eps"))
    return (_affine(v, scale, None),)


def groups_of(attributes: Attributes, x: Array) -> int:
    """Give the number of groups; instance_norm has one per channel."""
    return attributes.integer("groups") if "groups" in attributes else x.shape[-1]


def _group_norm(
    attributes: Attributes, x: Array, scale: Array | None = None, bias: Array | None = None
) -> tuple[Array]:
    groups = groups_of(attributes, x)
    v = f32(x).astype(np.float64).reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    v = v - v.mean(axis=(1, 3), keepdims=True)
    v = v / np.sqrt((v * v).mean(axis=(1, 3), keepdims=True) + attributes.number("eps"))
    return (_affine(v.reshape(x.shape), scale, bias),)


def _lp_normalize(attributes: Attributes, x: Array) -> tuple[Array]:
    axis, v = attributes.integer("axis"), f32(x).astype(np.float64)
    size = np.abs(v).sum(axis, keepdims=True) if attributes.integer("p") == 1 else None
    size = np.sqrt((v * v).sum(axis, keepdims=True)) if size is None else size
    size = np.maximum(size, attributes.number("eps"))
    return (np.divide(v, size, out=np.zeros_like(v), where=size > 0).astype(np.float32),)


def _log_softmax(_attributes: Attributes, x: Array) -> tuple[Array]:
    v = f32(x).astype(np.float64)
    v = v - v.max(axis=-1, keepdims=True)
    return ((v - np.log(np.exp(v).sum(axis=-1, keepdims=True))).astype(np.float32),)


def window_sums(squares: Array, size: int) -> Array:
    """Sum over channels c - (size-1)//2 .. c + size//2, those that exist."""
    before, after, n = (size - 1) // 2, size // 2, squares.shape[-1]
    padded = np.pad(squares, [(0, 0)] * (squares.ndim - 1) + [(before, after)])
    total = np.zeros_like(squares)
    for i in range(size):
        total += padded[..., i : i + n]
    return total


def _lrn(attributes: Attributes, x: Array) -> tuple[Array]:
    v, size = f32(x).astype(np.float64), attributes.integer("size")
    total = attributes.number("bias") + attributes.number("alpha") / size * window_sums(v * v, size)
    return ((v * total ** -attributes.number("beta")).astype(np.float32),)


def _both(given: Params, made: Params) -> tuple[Quantization, Quantization]:
    px, py = given[0], made[0]
    if px is None or py is None:
        raise Refusal("OC1322", "input or output has no quantization")
    return px, py


def _rms_norm_integer(
    attributes: Attributes, given: Params, made: Params, x: Array, scale: Array | None = None
) -> tuple[Array]:
    (px, py), n = _both(given, made), x.shape[-1]
    gamma = np.ones(n, np.float32) if scale is None else f32(scale)
    constants = rms_norm_constants(gamma, attributes.number("eps"), px, py)
    return (rms_norm_rows(x.reshape(-1, n), px.zero_point[0], constants).reshape(x.shape),)


def _group_norm_integer(
    attributes: Attributes, given: Params, made: Params, x: Array, scale: Array | None = None, bias: Array | None = None
) -> tuple[Array]:
    (px, py), channels, groups = _both(given, made), x.shape[-1], groups_of(attributes, x)
    gamma = np.ones(channels, np.float32) if scale is None else f32(scale)
    beta = np.zeros(channels, np.float32) if bias is None else f32(bias)
    parts, y = x.reshape(x.shape[0], -1, groups, channels // groups), []
    for g in range(groups):
        own = slice(g * (channels // groups), (g + 1) * (channels // groups))
        lanes = tuple(np.tile(p[own], parts.shape[1]) for p in (gamma, beta))
        constants = layer_norm_constants(
            lanes[0], lanes[1], attributes.number("eps"), px.scale[0], py.scale[0], py.zero_point[0]
        )
        y.append(layer_norm_rows(parts[:, :, g].reshape(x.shape[0], -1), constants).reshape(parts[:, :, g].shape))
    return (np.stack(y, axis=2).reshape(x.shape),)


def _lp_normalize_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = _both(given, made)
    if attributes.integer("p") != 2 or attributes.number("eps") >= px.scale[0]:
        raise Refusal("OC1335", "lp_normalize has an integer meaning for p = 2 and an eps below the scale only")
    moved = np.moveaxis(x, attributes.integer("axis"), -1)
    rows = moved.reshape(-1, moved.shape[-1])
    if rounding_of(attributes) == "double":
        if py.scale != (1.0 / 128.0,) or py.zero_point != (0,):
            raise Refusal(
                "OC1337", "LiteRT's int8 L2 norm gives scale 1/128 and zero point 0, the output says otherwise"
            )
        y = l2_normalize_litert(rows, px.zero_point[0])
    else:
        y = rms_norm_rows(rows, px.zero_point[0], l2_normalize_constants(rows.shape[1], px, py))
    return (np.ascontiguousarray(np.moveaxis(y.reshape(moved.shape), -1, attributes.integer("axis"))),)


def _log_softmax_integer(_attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = _both(given, made)
    if py.scale != (LOG_SOFTMAX_SCALE,) or py.zero_point != (LOG_SOFTMAX_ZERO_POINT,):
        raise Refusal("OC1337", "int8 log_softmax gives scale 1/16 and zero point 127, the output says otherwise")
    return (log_softmax_rows(x.reshape(-1, x.shape[-1]), px.scale[0]).reshape(x.shape),)


def _lrn_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = _both(given, made)
    squares = window_sums((wide(x) - px.zero_point[0]) ** 2, attributes.integer("size"))
    return (lrn_integer(attributes, x, squares, px, py),)


def _five_passes(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Count 5 per element, as layer_norm: sum, squares, scale, shift, store."""
    return 5 * elements(inputs[0])


def _three_passes(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Count 3 per element: squares, scale, store."""
    return 3 * elements(inputs[0])


def _lrn_ops(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Count a square, `size` additions, a power and a product per element."""
    return (attributes.integer("size") + 3) * elements(inputs[0])


OPS: tuple[Op, ...] = (
    Op(
        "rms_norm",
        ("x", "scale"),
        _channels_shape,
        _rms_norm,
        integer=_rms_norm_integer,
        required=1,
        defaults={"eps": 1e-5},
        vector_ops=_three_passes,
    ),
    Op(
        "group_norm",
        ("x", "scale", "bias"),
        _group_shape,
        _group_norm,
        integer=_group_norm_integer,
        required=1,
        needs=("groups",),
        defaults={"eps": 1e-5},
        vector_ops=_five_passes,
    ),
    Op(
        "instance_norm",
        ("x", "scale", "bias"),
        _group_shape,
        _group_norm,
        integer=_group_norm_integer,
        required=1,
        defaults={"eps": 1e-5},
        vector_ops=_five_passes,
    ),
    Op(
        "lp_normalize",
        ("x",),
        _axis_shape,
        _lp_normalize,
        integer=_lp_normalize_integer,
        defaults={"axis": -1, "p": 2, "eps": 0.0},
        vector_ops=_three_passes,
    ),
    Op("log_softmax", ("x",), _channels_shape, _log_softmax, integer=_log_softmax_integer, vector_ops=_five_passes),
    Op(
        "lrn",
        ("x",),
        _lrn_shape,
        _lrn,
        integer=_lrn_integer,
        needs=("size",),
        defaults={"alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        vector_ops=_lrn_ops,
    ),
)
