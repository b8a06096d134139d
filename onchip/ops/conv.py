"""Convolution and pooling over channels-last activations.

In: x [N,H,W,C]; weights [K,R,S,C/groups]; padding is (top, bottom, left, right). Out: [N,P,Q,K].
Promises: integer results are exact. Products go through BLAS, with float32 sums of at most 1,024 int8 products (2^24)
or in float64. Padding of an integer tensor is its zero point, so that padded cells add nothing.
max_pool2d and avg_pool2d keep the quantization of their input; avg_pool2d rounds half away from zero as LiteRT does.
"""

from typing import cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onchip.numerics import clamp, integer_matmul
from onchip.ops.requantizing import activate, apply_activation, requantize_accumulator
from onchip.ops.types import (
    Array,
    Attributes,
    Dimension,
    Op,
    Params,
    Refusal,
    Shape,
    Shapes,
    elements,
    f32,
    number,
    positive,
    ranked,
    same,
    show,
)
from onchip.ops.wide import wide_convolution


def window_output(size: int, kernel: int, stride: int, dilation: int, pad: int, *, is_ceil: bool = False) -> int:
    """Count the positions of a window; with `is_ceil` the last one may hang over the right edge, but starts inside."""
    span = size + pad - dilation * (kernel - 1) - 1
    return (-(-span // stride) if is_ceil else span // stride) + 1


def _spatial(attributes: Attributes, x: Shape, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    stride, padding = attributes.integers("stride"), attributes.integers("padding")
    positive(stride, "stride")
    positive(padding, "padding", 0)
    positive(dilation, "dilation")
    is_ceil = "ceil_mode" in attributes and attributes.flag("ceil_mode")
    out: list[int] = []
    for i, axis in enumerate(("height", "width")):
        size, before, after = number(x[1 + i], axis), padding[2 * i], padding[2 * i + 1]
        n = window_output(size, kernel[i], stride[i], dilation[i], before + after, is_ceil=is_ceil)
        if is_ceil and (n - 1) * stride[i] >= size + before:
            n -= 1
        if n < 1:
            raise Refusal("OC1317", f"{axis} {size} with padding is smaller than the window of {kernel[i]}")
        out.append(n)
    return out[0], out[1]


def _conv_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x, w = ranked(shapes[0], 4, "x"), ranked(shapes[1], 4, "w")
    groups = attributes.integer("groups")
    k, r, s, per_group = (number(d, "a weight dimension") for d in w)
    channels = number(x[3], "channels")
    positive((groups,), "groups")
    if per_group * groups != channels or k % groups:
        raise Refusal("OC1314", f"weights {show(w)} with {groups} groups do not take {channels} channels")
    if len(shapes) > 2 and shapes[2] is not None:
        same(ranked(shapes[2], 1, "b")[0], k, "bias length and output channels")
    dilation = cast("tuple[int, int]", attributes.integers("dilation"))
    p, q = _spatial(attributes, x, (r, s), dilation)
    return ((x[0], p, q, k),)


def _conv_macs(_attributes: Attributes, inputs: Shapes, outputs: Shapes) -> int:
    w = ranked(inputs[1], 4, "w")
    return elements(outputs[0]) * elements(w[1:])


def _windows(x: Array, kernel: tuple[int, int], attributes: Attributes, out: tuple[int, int], fill: float) -> Array:
    """Give the view [N,P,Q,R,S,C] of the padded input; far padding grows as far as `out` reaches."""
    stride, padding = attributes.integers("stride"), attributes.integers("padding")
    dilation = attributes.integers("dilation") if "dilation" in attributes else (1, 1)
    pads: list[tuple[int, int]] = []
    for i in range(2):
        reach = (out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
        pads.append((padding[2 * i], max(0, reach - x.shape[1 + i] - padding[2 * i])))
    if any(map(any, pads)):
        x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=x.dtype.type(fill))
    n, h, w, c = x.strides
    shape = (x.shape[0], *out, *kernel, x.shape[3])
    strides = (n, h * stride[0], w * stride[1], h * dilation[0], w * dilation[1], c)
    return as_strided(x, shape, strides, writeable=False)


def _conv_out(attributes: Attributes, x: Array, w: Array) -> tuple[int, int, int, int]:
    shape = _conv_shape(attributes, (x.shape, w.shape))[0]
    return cast("tuple[int, int, int, int]", shape)


def _conv_reference(attributes: Attributes, x: Array, w: Array, b: Array | None = None) -> tuple[Array]:
    n, p, q, k = _conv_out(attributes, x, w)
    groups, (r, s, per_group) = attributes.integer("groups"), w.shape[1:]
    view = _windows(f32(x), (r, s), attributes, (p, q), 0.0)
    if groups == 1:
        rows = view.reshape(n * p * q, r * s * per_group)
        y = rows @ f32(w).reshape(k, -1).T
    else:
        split = view.reshape(n * p * q, r * s, groups, per_group)
        y = np.einsum("mtgc,gktc->mgk", split, f32(w).reshape(groups, k // groups, r * s, per_group), optimize=True)
    y = y.reshape(n, p, q, k)
    if b is not None:
        y = y + f32(b)
    return (apply_activation(attributes, y),)


def conv_accumulate(attributes: Attributes, x: Array, w: Array, b: Array | None, zero_point: int) -> Array:
    """Give the int32 accumulators [N,P,Q,K] of an int8 convolution: sum (x - zero_point) w + b, exactly."""
    n, p, q, k = _conv_out(attributes, x, w)
    groups, (r, s, per_group) = attributes.integer("groups"), w.shape[1:]
    if groups == 1:
        rows = _windows(x, (r, s), attributes, (p, q), zero_point).reshape(n * p * q, r * s * per_group)
        acc = integer_matmul(rows, w.reshape(k, -1).T, zero_point)
    elif per_group == 1 and k == groups:
        view = _windows(x.astype(np.float32) - np.float32(zero_point), (r, s), attributes, (p, q), 0)
        acc = np.zeros((n, p, q, k), np.float32)  # |x - z| <= 255, |w| <= 127: exact up to 518 taps
        taps = w.reshape(k, r * s).T.astype(np.float32)
        for i in range(r * s):
            acc += view[:, :, :, i // s, i % s] * taps[i]
        if r * s > 512:
            raise Refusal("OC1318", f"a depthwise window of {r}x{s} has more than 512 taps")
    else:
        view = _windows(x, (r, s), attributes, (p, q), zero_point).reshape(n * p * q, r * s, groups, per_group)
        kernels = w.reshape(groups, k // groups, r * s * per_group)
        parts = [integer_matmul(view[:, :, g].reshape(n * p * q, -1), kernels[g].T, zero_point) for g in range(groups)]
        acc = np.concatenate(parts, axis=1)
    acc = acc.astype(np.int32).reshape(n, p, q, k)
    return acc if b is None else acc + b.astype(np.int32)


def _conv_integer(
    attributes: Attributes, given: Params, made: Params, x: Array, w: Array, b: Array | None = None
) -> tuple[Array]:
    px, pw = given[0], given[1]
    zero = px.zero_point[0] if px else 0
    if x.dtype == np.int16:
        return (requantize_accumulator(attributes, _conv_wide(attributes, x, w, b), given, made),)
    acc = conv_accumulate(attributes, x, w, b, zero)
    if pw is not None and any(pw.zero_point):
        acc = acc - _window_sums(attributes, x, w, zero) * np.array(pw.zero_point, np.int32)
    return (requantize_accumulator(attributes, acc, given, made),)


def _window_sums(attributes: Attributes, x: Array, w: Array, zero_point: int) -> Array:
    """Sum x - zero_point under each window, per output channel: what a weight's zero point multiplies."""
    groups = attributes.integer("groups")
    ones = np.ones((groups, *w.shape[1:]), np.int8)
    return np.repeat(conv_accumulate(attributes, x, ones, None, zero_point), w.shape[0] // groups, axis=3)


def _conv_wide(attributes: Attributes, x: Array, w: Array, b: Array | None) -> Array:
    """Give the 64-bit accumulators [N,P,Q,K] of int16 activations by int8 weights."""
    _, p, q, _ = _conv_out(attributes, x, w)
    view = _windows(x, cast("tuple[int, int]", w.shape[1:3]), attributes, (p, q), 0)
    acc = wide_convolution(view, w, attributes.integer("groups"))
    return acc if b is None else acc + b.astype(np.int64)


def _pool_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = ranked(shapes[0], 4, "x")
    kernel = cast("tuple[int, int]", attributes.integers("kernel"))
    positive(kernel, "kernel")
    dilation = attributes.integers("dilation") if "dilation" in attributes else (1, 1)
    p, q = _spatial(attributes, x, kernel, cast("tuple[int, int]", dilation))
    return ((x[0], p, q, x[3]),)


def _pool_ops(attributes: Attributes, _inputs: Shapes, outputs: Shapes) -> int:
    kernel = attributes.integers("kernel")
    return elements(outputs[0]) * kernel[0] * kernel[1]


def _max_pool(attributes: Attributes, x: Array) -> tuple[Array]:
    out = cast("tuple[int, int, int, int]", _pool_shape(attributes, (x.shape,))[0])
    kernel = cast("tuple[int, int]", attributes.integers("kernel"))
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    view = _windows(x, kernel, attributes, (out[1], out[2]), lowest)
    y = view[:, :, :, 0, 0]
    for i in range(1, kernel[0] * kernel[1]):
        y = np.maximum(y, view[:, :, :, i // kernel[1], i % kernel[1]])
    return (y.copy() if kernel == (1, 1) else y,)


def _max_pool_integer(attributes: Attributes, _given: Params, _made: Params, x: Array) -> tuple[Array]:
    return _max_pool(attributes, x)


def pool_counts(attributes: Attributes, size: tuple[int, int], out: tuple[int, int]) -> Array:
    """Count the cells under each window [P,Q]; cells of the explicit padding count if count_include_pad."""
    kernel, stride, pad = (attributes.integers(k) for k in ("kernel", "stride", "padding"))
    include = attributes.flag("count_include_pad")
    counts: list[Array] = []
    for i in range(2):
        start = np.arange(out[i]) * stride[i] - pad[2 * i]
        low, high = (-pad[2 * i], size[i] + pad[2 * i + 1]) if include else (0, size[i])
        counts.append(np.minimum(start + kernel[i], high) - np.maximum(start, low))
    return np.maximum(counts[0][:, None] * counts[1][None, :], 1)


def uneven_counts(attributes: Attributes, size: tuple[int, int], out: tuple[int, int]) -> Array | None:
    """Give the cells under each window [P,Q] of an average, None where all windows count as many as the kernel has."""
    counts, kernel = pool_counts(attributes, size, out), attributes.integers("kernel")
    return None if np.all(counts == kernel[0] * kernel[1]) else counts


def _pool_sum(attributes: Attributes, x: Array) -> tuple[Array, Array]:
    out = cast("tuple[int, int, int, int]", _pool_shape(attributes, (x.shape,))[0])
    kernel = cast("tuple[int, int]", attributes.integers("kernel"))
    view = _windows(x, kernel, attributes, (out[1], out[2]), 0)
    total = np.zeros(out, x.dtype)
    for i in range(kernel[0] * kernel[1]):
        total += view[:, :, :, i // kernel[1], i % kernel[1]]
    return total, pool_counts(attributes, (x.shape[1], x.shape[2]), (out[1], out[2]))[None, :, :, None]


def _avg_pool(attributes: Attributes, x: Array) -> tuple[Array]:
    total, counts = _pool_sum(attributes, f32(x))
    return ((total / counts).astype(np.float32),)


def _divide_away(total: Array, count: Array | int) -> Array:
    """Divide, rounding halves away from zero (LiteRT AVERAGE_POOL_2D)."""
    half = np.asarray(count) // 2
    return np.where(total > 0, (total + half) // count, -((half - total) // count))


def _avg_pool_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    if given[0] != made[0]:
        raise Refusal("OC1319", "pooling needs equal quantization of input and output")
    if x.dtype == np.int16 or attributes.text("ties") == "up":
        return (_avg_pool_like(attributes, x),)
    zero = given[0].zero_point[0] if given[0] and attributes.flag("count_include_pad") else 0
    total, counts = _pool_sum(attributes, x.astype(np.int32) - zero)
    return (clamp(_divide_away(total, counts) + zero, -128, 127).astype(np.int8),)


def _avg_pool_like(attributes: Attributes, x: Array) -> Array:
    """Average int16, or int8 that was uint8: `ties` up adds half a count to sums of values from 0 on."""
    base = 128 if attributes.text("ties") == "up" else 0
    if attributes.flag("count_include_pad") and any(attributes.integers("padding")):
        raise Refusal("OC1319", "this average cannot count its padding")
    view, counts = _pool_sum(attributes, x.astype(np.int32))
    total = view + base * counts
    y = (total + counts // 2) // counts - base if base else _divide_away(total, counts)
    return y.astype(x.dtype)


def _global_shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    x = ranked(shapes[0], 4, "x")
    return ((x[0], 1, 1, x[3]),)


def _global_avg(_attributes: Attributes, x: Array) -> tuple[Array]:
    return (f32(x).mean(axis=(1, 2), keepdims=True, dtype=np.float32),)


def _global_avg_integer(attributes: Attributes, given: Params, made: Params, x: Array) -> tuple[Array]:
    px, py = given[0], made[0]
    assert px is not None and py is not None
    count = x.shape[1] * x.shape[2]
    acc = x.astype(np.int32).sum(axis=(1, 2), keepdims=True, dtype=np.int32) - px.zero_point[0] * count
    return (activate(attributes, acc, px.scale[0] / count, py),)


_POOL = {"stride": (1, 1), "padding": (0, 0, 0, 0), "ceil_mode": False}

OPS: tuple[Op, ...] = (
    Op(
        "conv2d",
        ("x", "w", "b"),
        _conv_shape,
        _conv_reference,
        required=2,
        integer=_conv_integer,
        macs=_conv_macs,
        defaults={
            "stride": (1, 1),
            "padding": (0, 0, 0, 0),
            "dilation": (1, 1),
            "groups": 1,
            "activation": "none",
            "out": "same",
        },
    ),
    Op(
        "max_pool2d",
        ("x",),
        _pool_shape,
        _max_pool,
        needs=("kernel",),
        defaults={**_POOL, "dilation": (1, 1)},
        integer=_max_pool_integer,
        vector_ops=_pool_ops,
    ),
    Op(
        "avg_pool2d",
        ("x",),
        _pool_shape,
        _avg_pool,
        needs=("kernel",),
        defaults={**_POOL, "count_include_pad": True, "ties": "away"},
        integer=_avg_pool_integer,
        vector_ops=_pool_ops,
    ),
    Op(
        "global_avg_pool",
        ("x",),
        _global_shape,
        _global_avg,
        integer=_global_avg_integer,
        vector_ops=lambda _a, inputs, _o: elements(inputs[0]),
    ),
)

__all__ = ["OPS", "Dimension", "conv_accumulate", "pool_counts", "uneven_counts", "window_output"]
