"""conv_transpose2d: the convolution that enlarges, the adjoint of conv2d over the same taps.

In: x [N,H,W,C], w [K,R,S,C/groups] as conv2d has them (not flipped), b [K]; padding (top, bottom, left, right) is cut
off the output, output_padding (height, width) is added at its far ends. Out: [N,P,Q,K].
y[p, q, k] = b[k] + sum of x[h, w, c] w[k, r, s, c] over all h, w, r, s with h stride + r dilation - top = p, and
likewise for q. P = (H - 1) stride - top - bottom + dilation (R - 1) + output_padding + 1 (torch ConvTranspose2d).
In integers the accumulators are exact and requantized once per channel; "double" is LiteRT's reference kernel.
MACs are counted per input cell and tap, the cut-off ones too, as the machine would do them.
"""

from typing import cast

import numpy as np

from onchip.numerics import integer_matmul
from onchip.ops.requantizing import apply_activation, requantize_accumulator
from onchip.ops.types import (
    Array,
    Attributes,
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
from onchip.ops.wide import wide_matmul


def _side(attributes: Attributes, x: Shape, w: Shape, i: int) -> int:
    """Give the output height (i = 0) or width (i = 1)."""
    axis = ("height", "width")[i]
    stride, dilation, extra = (attributes.integers(k)[i] for k in ("stride", "dilation", "output_padding"))
    padding = attributes.integers("padding")[2 * i : 2 * i + 2]
    if extra >= max(stride, dilation):
        raise Refusal("OC1315", f"output_padding {extra} has to be below the stride or the dilation")
    size, taps = number(x[1 + i], axis), number(w[1 + i], "a weight dimension")
    out = (size - 1) * stride - sum(padding) + dilation * (taps - 1) + extra + 1
    if out < 1:
        raise Refusal("OC1317", f"{axis} {size} gives an output of {out}: the padding is too large")
    return out


def transposed_shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    """Give the output shape, and refuse weights that do not go with x."""
    x, w = ranked(shapes[0], 4, "x"), ranked(shapes[1], 4, "w")
    groups, channels, k = attributes.integer("groups"), number(x[3], "channels"), number(w[0], "output channels")
    positive((groups,), "groups")
    positive((*attributes.integers("stride"), *attributes.integers("dilation")), "stride and dilation")
    positive((*attributes.integers("padding"), *attributes.integers("output_padding")), "padding", 0)
    if number(w[3], "a weight dimension") * groups != channels or k % groups:
        raise Refusal("OC1314", f"weights {show(w)} with {groups} groups do not take {channels} channels")
    if len(shapes) > 2 and shapes[2] is not None:
        same(ranked(shapes[2], 1, "b")[0], k, "bias length and output channels")
    return ((x[0], _side(attributes, x, w, 0), _side(attributes, x, w, 1), k),)


def _overlap(attributes: Attributes, tap: int, size: int, out: int, i: int) -> tuple[slice, slice]:
    """Give the input cells that a tap reads, and the output cells to which it adds."""
    stride, dilation = attributes.integers("stride")[i], attributes.integers("dilation")[i]
    shift = tap * dilation - attributes.integers("padding")[2 * i]
    first = max(0, -(shift // stride))
    last = min(size - 1, (out - 1 - shift) // stride)
    n = max(0, last - first + 1)
    start = first * stride + shift
    return slice(first, first + n), slice(start, start + n * stride, stride)


def scatter_taps(attributes: Attributes, x: Array, w: Array, products: Array) -> Array:
    """Add products [R,S,N,H,W,K], one plane per tap, into the output [N,P,Q,K]."""
    _n, p, q, _k = shape = cast("tuple[int, int, int, int]", transposed_shape(attributes, (x.shape, w.shape))[0])
    y = np.zeros(shape, products.dtype)
    for r in range(w.shape[1]):
        rows, to_rows = _overlap(attributes, r, x.shape[1], p, 0)
        for s in range(w.shape[2]):
            columns, to_columns = _overlap(attributes, s, x.shape[2], q, 1)
            if rows.start < rows.stop and columns.start < columns.stop:
                y[:, to_rows, to_columns] += products[r, s][:, rows, columns]
    return y


def _reference(attributes: Attributes, x: Array, w: Array, b: Array | None = None) -> tuple[Array]:
    groups, (k, r, s, per_group) = attributes.integer("groups"), w.shape
    split = f32(x).reshape(*x.shape[:3], groups, per_group)
    kernels = f32(w).reshape(groups, k // groups, r, s, per_group)
    products = np.einsum("nhwgc,gkrsc->rsnhwgk", split, kernels, optimize=True).reshape(r, s, *x.shape[:3], k)
    y = scatter_taps(attributes, x, w, products)
    return (apply_activation(attributes, y if b is None else y + f32(b)),)


def transposed_accumulate(attributes: Attributes, x: Array, w: Array, b: Array | None, zero_point: int) -> Array:
    """Give the int32 (of int16: int64) accumulators [N,P,Q,K]: sum (x - zero_point) w + b, exactly."""
    groups, (k, r, s, per_group) = attributes.integer("groups"), w.shape
    n = k // groups
    kind = np.int64 if x.dtype == np.int16 else np.int32
    products = np.empty((r, s, *x.shape[:3], k), kind)
    for g in range(groups):
        rows = x[..., g * per_group : (g + 1) * per_group].reshape(-1, per_group)
        taps = w[g * n : (g + 1) * n].transpose(3, 1, 2, 0).reshape(per_group, r * s * n)
        planes = wide_matmul(rows, taps) if kind is np.int64 else integer_matmul(rows, taps, zero_point)
        products[..., g * n : (g + 1) * n] = planes.reshape(*x.shape[:3], r, s, n).transpose(3, 4, 0, 1, 2, 5)
    acc = scatter_taps(attributes, x, w, products)
    return acc if b is None else acc + b.astype(kind)


def _integer(
    attributes: Attributes, given: Params, made: Params, x: Array, w: Array, b: Array | None = None
) -> tuple[Array]:
    px = given[0]
    acc = transposed_accumulate(attributes, x, w, b, px.zero_point[0] if px else 0)
    return (requantize_accumulator(attributes, acc, given, made),)


def _macs(_attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    return elements(ranked(inputs[0], 4, "x")[:3]) * elements(inputs[1])


OPS: tuple[Op, ...] = (
    Op(
        "conv_transpose2d",
        ("x", "w", "b"),
        transposed_shape,
        _reference,
        required=2,
        integer=_integer,
        macs=_macs,
        defaults={
            "stride": (1, 1),
            "padding": (0, 0, 0, 0),
            "output_padding": (0, 0),
            "dilation": (1, 1),
            "groups": 1,
            "activation": "none",
        },
    ),
)
