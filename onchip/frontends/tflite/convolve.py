"""Convolutions, pools and matrix products.

In:       an operator.
Out:      its node, with LiteRT's rounding: `double` for convolutions of int8, `real` for FULLY_CONNECTED, `reduced`
          for convolutions of int16 (16x8), as measured against the reference kernels.
Promises: SAME padding is what the reference computes (more at the far end); a PAD before it is taken over.
          Float activations by integer weights ("dynamic range") are refused: the reference quantizes them at run time.
Sources:  LiteRT tflite/kernels/padding.h (ComputePaddingHeightWidth)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onchip.frontends.tflite.call import Call, More
from onchip.frontends.tflite.schema import SAME, VALID
from onchip.frontends.tflite.walk import Known, Padded, Value, params_of
from onchip.ops.types import AttributeValue, Quantization

ACTIVATION_DTYPES = ("f32", "i8", "i16")
Pads = tuple[int, int, int, int]


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Give the padding before and after one axis."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def _strides(call: Call, width: int, height: int) -> tuple[int, int]:
    stride = (call.option(height), call.option(width))
    if min(stride) < 1:
        raise call.contradiction(f"has stride {stride}")
    return stride


def _padding(
    call: Call, shape: Sequence[int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Pads:
    """Give top, bottom, left, right of the padding option."""
    kind = call.option(0, "b")
    if kind == VALID:
        return 0, 0, 0, 0
    if kind != SAME:
        raise call.contradiction(f"has padding {kind}")
    sides = [same_padding(shape[1 + i], kernel[i], stride[i], dilation[i]) for i in range(2)]
    return (*sides[0], *sides[1])


def _rank(call: Call, place: int, rank: int) -> tuple[int, ...]:
    shape = call.shape(place)
    if len(shape) != rank:
        raise call.contradiction(f"has an operand of {len(shape)} dimensions, needs {rank}")
    return shape


def _taken(call: Call) -> tuple[str, tuple[int, ...], Pads]:
    """Give the input, its shape with borders, and the borders of a PAD that is taken over."""
    value = call.value(0)
    if not isinstance(value, Padded) or any(value.pads[0]) or any(value.pads[-1]) or len(value.pads) != 4:
        return call.tensor(0), _rank(call, 0, 4), (0, 0, 0, 0)
    return value.tensor, value.shape(call.walk.sheet), (*value.pads[1], *value.pads[2])


def weights_of(call: Call, place: int, perm: Sequence[int] | None, axis: int) -> tuple[str, int]:
    """Add the weights as the op wants them, their scales along axis 0; give their name and the count of outputs."""
    known = call.known(place, "weight")
    array = call.data(place, "weight")
    if call.dtype(0) == "f32" and array.dtype != np.float32:
        raise call.refuse(
            f"float activations by {known.info.kind} weights (dynamic range)", code="OC1362",
            next="Quantize the activations too, or keep float weights",
        )  # fmt: skip
    if call.dtype(0) != "f32" and array.dtype != np.int8:
        raise call.refuse(f"{call.info(0).kind} activations by {known.info.kind} weights")
    turned = array if perm is None else np.ascontiguousarray(array.transpose(perm))
    q = params_of(known.info)
    if q is not None and q.axis is not None:
        if q.axis != axis:
            raise call.contradiction(f"has scales along axis {q.axis} of its weights")
        q = Quantization(q.scale, q.zero_point, 0)
    if array.dtype != np.float32 and q is None:
        raise call.contradiction("has weights without scale")
    name = known.info.name or f"{call.name}.weight"
    return call.walk.sheet.constant(name, turned, q if array.dtype != np.float32 else None), turned.shape[0]


def bias_of(call: Call, place: int, n: int) -> str:
    """Add the bias, "" where there is none."""
    if not call.has(place):
        return ""
    known = call.known(place, "bias")
    array = known.array.reshape(-1)
    wanted = {"f32": ("float32", "float16"), "i8": ("int32",), "i16": ("int32", "int64")}[call.dtype(0)]
    if known.info.kind not in wanted or array.size != n:
        raise call.contradiction(f"has a bias of {known.info.kind} {list(known.array.shape)} for {n} outputs")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return call.walk.sheet.constant(known.info.name or f"{call.name}.bias", array, params_of(known.info))


def _rounding(call: Call, int8: str, int16: str) -> More:
    given: dict[str, More] = {"f32": {}, "i8": {"rounding": int8}, "i16": {"rounding": int16}}
    return given[call.dtype(0)]


def _convolve(call: Call) -> list[Value]:
    call.only(*ACTIVATION_DTYPES)
    x, shape, taken = _taken(call)
    w_shape = _rank(call, 1, 4)
    stride, dilation = _strides(call, 1, 2), (call.option(5, default=1), call.option(4, default=1))
    if min(dilation) < 1 or w_shape[3] < 1 or shape[3] % w_shape[3]:
        raise call.contradiction(f"has dilation {dilation} and weights {list(w_shape)} for {shape[3]} channels")
    pads = _padding(call, shape, (w_shape[1], w_shape[2]), stride, dilation)
    w, n = weights_of(call, 1, None, 0)
    return [
        call.activated(
            "conv2d", (x, w, bias_of(call, 2, n)), call.activation(3), stride=stride, dilation=dilation,
            padding=tuple(a + b for a, b in zip(pads, taken, strict=True)), groups=shape[3] // w_shape[3],
            more=_rounding(call, "double", "reduced"),
        )
    ]  # fmt: skip


def _depthwise(call: Call) -> list[Value]:
    """Weights [1,R,S,C*m] become [C*m,R,S,1] in C groups."""
    call.only(*ACTIVATION_DTYPES)
    x, shape, taken = _taken(call)
    w_shape = _rank(call, 1, 4)
    stride, dilation = _strides(call, 1, 2), (call.option(6, default=1), call.option(5, default=1))
    if min(dilation) < 1 or w_shape[0] != 1 or w_shape[3] % shape[3]:
        raise call.contradiction(f"has dilation {dilation} and weights {list(w_shape)} for {shape[3]} channels")
    pads = _padding(call, shape, (w_shape[1], w_shape[2]), stride, dilation)
    w, n = weights_of(call, 1, (3, 1, 2, 0), 3)
    return [
        call.activated(
            "conv2d", (x, w, bias_of(call, 2, n)), call.activation(4), stride=stride, dilation=dilation,
            padding=tuple(a + b for a, b in zip(pads, taken, strict=True)), groups=shape[3],
            more=_rounding(call, "double", "reduced"),
        )
    ]  # fmt: skip


def _transpose_conv(call: Call) -> list[Value]:
    """Operands: output shape, weights [O,R,S,I], input, bias. Padding is that of the convolution the other way."""
    call.only(*ACTIVATION_DTYPES, place=2)
    if call.info(2).kind == "uint8":
        raise call.refuse("of uint8")
    x, shape, w_shape = call.tensor(2), _rank(call, 2, 4), _rank(call, 1, 4)
    out = call.integers(0, "shape")
    stride = _strides(call, 1, 2)
    if len(out) != 4 or out[3] != w_shape[0] or w_shape[3] != shape[3]:
        raise call.contradiction(f"makes {list(out)} of {list(shape)} with weights {list(w_shape)}")
    pads, extra = [0, 0, 0, 0], [0, 0]
    for i in range(2):
        full = (shape[1 + i] - 1) * stride[i] + w_shape[1 + i]
        total = max(0, full - out[1 + i]) if call.option(0, "b") == SAME else 0
        pads[2 * i] = total // 2
        rest = full - out[1 + i] - pads[2 * i]
        pads[2 * i + 1], extra[i] = max(0, rest), max(0, -rest)
    swapped = _Swapped(call.walk, call.operator)
    w, n = weights_of(swapped, 1, None, 0)
    rounding = _rounding(swapped, "double", "reduced")
    return [
        call.activated(
            "conv_transpose2d", (x, w, bias_of(swapped, 3, n)), call.activation(3), stride=stride,
            padding=tuple(pads), output_padding=tuple(extra), more=rounding,
        )
    ]  # fmt: skip


class _Swapped(Call):
    """TRANSPOSE_CONV has its activations at place 2."""

    __slots__ = ()

    def dtype(self, place: int = 0) -> str:
        return Call.dtype(self, 2 if place == 0 else place)


def _pool(call: Call) -> list[Value]:
    dtype = call.only(*ACTIVATION_DTYPES)
    is_average = call.kind == "AVERAGE_POOL_2D"
    stride, kernel = _strides(call, 1, 2), (call.option(4), call.option(3))
    if min(kernel) < 1:
        raise call.contradiction(f"has a window of {kernel}")
    x, shape, taken = _pool_input(call, is_average=is_average)
    pads = _padding(call, shape, kernel, stride, (1, 1))
    if any(taken) and any(pads):
        x, shape, taken = call.tensor(0), call.shape(0), (0, 0, 0, 0)
    more: dict[str, AttributeValue] = {}
    if is_average:
        more = {"count_include_pad": any(taken)}
        if call.is_quantized and call.is_uint8:
            more["ties"] = "up"
    if dtype != "f32" and call.params(0) != call.out_params:
        raise call.contradiction("changes the scale")
    padding = tuple(a + b for a, b in zip(pads, taken, strict=True))
    activation, op = call.activation(5), "avg_pool2d" if is_average else "max_pool2d"
    if activation == "none":
        return [call.write(op, (x,), kernel=kernel, stride=stride, padding=padding, more=more)]
    q = call.walk.made_params(call.output(0))
    inner = call.helper(
        op, (x,), "pool", quantization=q, dtype=dtype, kernel=kernel, stride=stride, padding=padding, more=more
    )
    return [call.clipped(inner, activation)]


def _pool_input(call: Call, *, is_average: bool) -> tuple[str, tuple[int, ...], Pads]:
    """Take over a PAD where its zeros count for nothing in a maximum, or are counted in a float average."""
    value = call.value(0)
    if isinstance(value, Padded):
        q = call.walk.sheet.quantization(value.tensor)
        is_lowest = q is not None and q.zero_point[0] == -128
        if (q is None and is_average) or (is_lowest and not is_average and call.dtype() == "i8"):
            return _taken(call)
    return call.tensor(0), _rank(call, 0, 4), (0, 0, 0, 0)


def _linear(call: Call) -> list[Value]:
    """[..., I] by [O, I]; without keep_num_dims the leading dimensions become one."""
    dtype = call.only(*ACTIVATION_DTYPES)
    if call.option(1, "b"):
        raise call.refuse("with shuffled weights")
    w_shape, shape = _rank(call, 1, 2), call.shape(0)
    size = int(np.prod(shape, dtype=np.int64))
    if w_shape[1] < 1 or size % w_shape[1]:
        raise call.contradiction(f"has weights {list(w_shape)} for an input of {list(shape)}")
    rows = (*shape[:-1], w_shape[1]) if call.flag(2) else (size // w_shape[1], w_shape[1])
    x = call.tensor(0)
    if rows != shape:
        q = call.walk.sheet.quantization(x)
        x = call.helper("reshape", (x,), "flat", quantization=q, dtype=dtype, shape=rows)
    if not isinstance(call.value(1), Known):
        return [_linear_by_activations(call, x)]
    w, n = weights_of(call, 1, None, 0)
    rounding = _rounding(call, "real", "real")
    return [call.activated("linear", (x, w, bias_of(call, 2, n)), call.activation(0), rounding)]


def _linear_by_activations(call: Call, x: str) -> str:
    """FULLY_CONNECTED by weights that are computed: a matmul."""
    if call.has(2) or call.activation(0) != "none":
        raise call.refuse("computed weights with a bias or an activation")
    call.only(call.dtype(), place=1)
    return call.write("matmul", (x, call.tensor(1)), _rounding(call, "real", "real"), transpose_b=True)


def _batch_matmul(call: Call) -> list[Value]:
    dtype = call.only(*ACTIVATION_DTYPES)
    if call.dtype(1) != dtype or call.is_uint8:
        raise call.refuse(f"{call.info(0).kind} by {call.info(1).kind}", code="OC1362")
    a, b = call.tensor(0), call.tensor(1)
    if call.flag(0):
        rank = len(call.shape(0))
        if rank < 2:
            raise call.contradiction("has an operand of one dimension")
        q = call.walk.sheet.quantization(a)
        perm = (*range(rank - 2), rank - 1, rank - 2)
        a = call.helper("transpose", (a,), "transposed", quantization=q, dtype=dtype, perm=perm)
    rounding = _rounding(call, "double", "reduced")
    return [call.write("matmul", (a, b), rounding, transpose_b=call.flag(1))]


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "CONV_2D": _convolve, "DEPTHWISE_CONV_2D": _depthwise, "TRANSPOSE_CONV": _transpose_conv,
    "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "FULLY_CONNECTED": _linear, "BATCH_MATMUL": _batch_matmul,
}  # fmt: skip
