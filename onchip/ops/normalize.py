"""Normalisations beyond norm.py: rms_norm, group_norm, instance_norm, lp_normalize, log_softmax, lrn.

In: x with channels last, and per-channel scale and bias. Out: the same shape.
Promises: means and sums of squares are taken in float64, the result is float32.
rms_norm: x / sqrt(mean(x^2) + eps) * scale over the last axis (Zhang and Sennrich 2019, eq. 4).
group_norm: (x - mean) / sqrt(var + eps) * scale + bias, mean and variance over all positions and the C / groups
channels of a group, per image (Wu and He 2018, eq. 7); instance_norm is one group per channel.
lp_normalize: x / max(norm, eps), the norm being (sum |x|^p)^(1/p) along `axis`, p 1 or 2; a norm of 0 gives 0.
log_softmax: x - log(sum(exp(x))) over the last axis.
lrn: x / (bias + alpha / size * sum of x^2 over channels c - (size-1)//2 .. c + size//2)^beta (ONNX LRN).
"""

import numpy as np

from onchip.ops.types import (
    Array,
    Attributes,
    Op,
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
        required=1,
        defaults={"eps": 1e-5},
        vector_ops=_three_passes,
    ),
    Op(
        "group_norm",
        ("x", "scale", "bias"),
        _group_shape,
        _group_norm,
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
        required=1,
        defaults={"eps": 1e-5},
        vector_ops=_five_passes,
    ),
    Op(
        "lp_normalize",
        ("x",),
        _axis_shape,
        _lp_normalize,
        defaults={"axis": -1, "p": 2, "eps": 0.0},
        vector_ops=_three_passes,
    ),
    Op("log_softmax", ("x",), _channels_shape, _log_softmax, vector_ops=_five_passes),
    Op(
        "lrn",
        ("x",),
        _lrn_shape,
        _lrn,
        needs=("size",),
        defaults={"alpha": 1e-4, "beta": 0.75, "bias": 1.0},
        vector_ops=_lrn_ops,
    ),
)
