"""Operators of TFLite, one model each: what we evaluate is what LiteRT's reference kernels give, bit for bit."""

# pyright: basic

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onchip.errors import NotSupported
from tests.frontends.tflite_models import ACTIVATIONS, Writer, compare, f32, options

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
QUANTIZED = ("int8", "uint8", "int16")
ALL = ("float32", *QUANTIZED)


def values(rng, dtype, *shape):
    if dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    low, high = LIMITS[dtype]
    return rng.integers(low, high + 1, shape).astype(dtype)


def scale_of(rng, dtype, low=0.01, high=0.1) -> tuple[Any, int]:
    """Draw a scale and a zero point; none for floats, symmetric for int16."""
    if dtype == "float32":
        return None, 0
    zero = 0 if dtype == "int16" else int(rng.integers(LIMITS[dtype][0], LIMITS[dtype][1] + 1))
    scale = rng.uniform(low, high) / (256 if dtype == "int16" else 1)
    if rng.random() < 0.3:  # powers of two: many results lie half way between integers
        scale = 2.0 ** np.round(np.log2(scale))
    return f32(scale), zero


def one(builtin, dtype, shapes, out_shape, opts=None, *, rng, version=2, same=False, out=None, consts=(), atol=0.0):
    """Hold one operator of quantized or float operands against the reference; `out` = (scale, zero point)."""
    w = Writer()
    first = scale_of(rng, dtype)
    inputs, feeds = [], {}
    for i, shape in enumerate(shapes):
        scale, zero = first if same else scale_of(rng, dtype)
        inputs.append(w.tensor(f"x{i}", shape, dtype, scale=scale, zero=zero))
        feeds[f"x{i}"] = values(rng, dtype, *shape)
    scale, zero = first if same else scale_of(rng, dtype)
    if out is not None:
        scale, zero = out
    y = w.tensor("y", out_shape, dtype, scale=scale, zero=zero)
    extra = [w.constant(f"c{i}", c) for i, c in enumerate(consts)]
    w.op(builtin, [*inputs, *extra], [y], opts, version=version)
    w.io(inputs, [y])
    return compare(w.bytes(), [feeds], atol=atol)


def convolution(rng, dtype, *, kind="CONV_2D", activation="none", stride=(1, 1), dilation=(1, 1), padding=0, bias=True):
    """Write a random convolution and compare it."""
    is_depthwise = kind == "DEPTHWISE_CONV_2D"
    h, wd, c = (int(v) for v in rng.integers(5, 12, 3))
    r, s, m = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, 3))
    k = c * m if is_depthwise else int(rng.integers(2, 9))
    x_scale, x_zero = scale_of(rng, dtype)
    y_scale, y_zero = scale_of(rng, dtype, 0.5, 2.0)
    kernel = (1, r, s, k) if is_depthwise else (k, r, s, c)
    w = Writer()
    x = w.tensor("x", (2, h, wd, c), dtype, scale=x_scale, zero=x_zero)
    if dtype == "float32":
        kernels = w.constant("w", rng.normal(size=kernel).astype(np.float32))
        b = w.constant("b", rng.normal(size=k).astype(np.float32))
    elif dtype == "uint8":
        scale = f32(rng.uniform(0.005, 0.05))
        kernels = w.constant("w", values(rng, "uint8", *kernel), scale=scale, zero=int(rng.integers(60, 190)))
        b = w.constant("b", rng.integers(-9999, 9999, k).astype(np.int32), scale=x_scale * scale)
    else:
        scales = [f32(v) for v in (*rng.uniform(0.005, 0.05, k - 1), 1 / 64)]
        axis = 3 if is_depthwise else 0
        kernels = w.constant("w", rng.integers(-127, 128, kernel).astype(np.int8), scale=scales, axis=axis)
        numbers = rng.integers(-9999, 9999, k).astype(np.int64 if dtype == "int16" else np.int32)
        b = w.constant("b", numbers, scale=[x_scale * v for v in scales])
    sizes = []
    for size, taps, step, spread in ((h, r, stride[0], dilation[0]), (wd, s, stride[1], dilation[1])):
        sizes.append(-(-size // step) if padding == 0 else -(-(size - (taps - 1) * spread) // step))
    y = w.tensor("y", (2, *sizes, k), dtype, scale=y_scale, zero=y_zero)
    fields = {
        "padding": padding, "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1], "fusedActivationFunction": ACTIVATIONS[activation],
    }  # fmt: skip
    more = {"depthMultiplier": m} if is_depthwise else {}
    w.op(
        kind,
        [x, kernels, *([b] if bias or not is_depthwise else [])],
        [y],
        options(kind_of(kind), **fields, **more),
        version=3,
    )
    w.io([x], [y])
    return compare(w.bytes(), [{"x": values(rng, dtype, 2, h, wd, c)}], atol=1e-4)


def kind_of(builtin):
    return {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D"}[builtin]


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize("dtype", ALL)
def test_convolutions(kind, dtype):
    rng = np.random.default_rng(3)
    for activation in ("none", "relu", "relu6", "relu_n1_to_1"):
        for stride, dilation, padding in (((1, 1), (1, 1), 0), ((2, 1), (1, 1), 0), ((1, 1), (2, 1), 1)):
            convolution(
                rng, dtype, kind=kind, activation=activation, stride=stride, dilation=dilation, padding=padding,
                bias=activation != "relu",
            )  # fmt: skip


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("is_per_channel", [False, True])
def test_fully_connected(dtype, is_per_channel):
    rng = np.random.default_rng(5)
    if is_per_channel and dtype in ("uint8", "float32"):
        pytest.skip("per-channel weights are int8")
    for keeps, activation in ((False, "none"), (True, "relu"), (False, "relu6")):
        n_in, n_out = int(rng.integers(3, 400)), int(rng.integers(1, 40))
        x_scale, x_zero = scale_of(rng, dtype)
        y_scale, y_zero = scale_of(rng, dtype, 0.5, 2.0)
        w = Writer()
        x = w.tensor("x", (4, 6, n_in), dtype, scale=x_scale, zero=x_zero)
        if dtype == "float32":
            kernel = w.constant("w", rng.normal(size=(n_out, n_in)).astype(np.float32))
            bias = w.constant("b", rng.normal(size=n_out).astype(np.float32))
        else:
            scale = [f32(v) for v in rng.uniform(0.002, 0.02, n_out if is_per_channel else 1)]
            scale[0] = 1 / 128 if activation == "none" else scale[0]
            data = rng.integers(-127, 128, (n_out, n_in)).astype(np.int8)
            if dtype == "uint8":
                kernel = w.constant("w", values(rng, "uint8", n_out, n_in), scale=scale[0], zero=117)
            else:
                kernel = w.constant("w", data, scale=scale if is_per_channel else scale[0])
            numbers = rng.integers(-9999, 9999, n_out).astype(np.int64 if dtype == "int16" else np.int32)
            bias = w.constant("b", numbers, scale=[x_scale * v for v in scale])
        y = w.tensor("y", (4, 6, n_out) if keeps else (24, n_out), dtype, scale=y_scale, zero=y_zero)
        fields = {"keepNumDims": keeps, "fusedActivationFunction": ACTIVATIONS[activation]}
        w.op("FULLY_CONNECTED", [x, kernel, bias], [y], options("FullyConnected", **fields), version=4)
        w.io([x], [y])
        compare(w.bytes(), [{"x": values(rng, dtype, 4, 6, n_in)}], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16"])
@pytest.mark.parametrize("is_turned", [False, True])
def test_batch_matmul(dtype, is_turned):
    rng = np.random.default_rng(6)
    for _ in range(3):
        m, k, n = (int(v) for v in rng.integers(3, 40, 3))
        out = scale_of(rng, dtype, 0.2, 0.9)
        one(
            "BATCH_MATMUL", dtype, [(2, 3, m, k), (2, 3, n, k) if is_turned else (2, 3, k, n)], (2, 3, m, n),
            options("BatchMatMul", adjY=is_turned), rng=rng, version=3 if dtype != "float32" else 1, out=out, atol=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize("builtin", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("dtype", ALL)
def test_arithmetic(builtin, dtype):
    rng = np.random.default_rng(7)
    for activation in ("none", "relu", "relu6", "relu_n1_to_1"):
        fields = {"fusedActivationFunction": ACTIVATIONS[activation]}
        if builtin != "MUL" and dtype == "int16":
            fields["potScaleInt16"] = False
        opts = options(builtin.capitalize(), **fields)
        out = scale_of(rng, dtype, 0.02, 0.2)
        version = {"ADD": 4, "SUB": 5, "MUL": 4}[builtin] if dtype == "int16" else 2
        one(builtin, dtype, [(2, 5, 6, 7), (2, 5, 6, 7)], (2, 5, 6, 7), opts, rng=rng, version=version, out=out)
        one(builtin, dtype, [(2, 5, 6, 7), (7,)], (2, 5, 6, 7), opts, rng=rng, version=version, out=out)


@pytest.mark.parametrize("builtin", ["MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("dtype", ALL)
def test_extremes(builtin, dtype):
    rng = np.random.default_rng(8)
    one(builtin, dtype, [(3, 4, 5), (3, 1, 5)], (3, 4, 5), options("MaximumMinimum"), rng=rng, same=True)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_squared_difference(dtype):
    rng = np.random.default_rng(9)
    for _ in range(4):
        out = scale_of(rng, dtype, 0.1, 0.9)
        one("SQUARED_DIFFERENCE", dtype, [(3, 8, 16), (3, 8, 1)], (3, 8, 16), rng=rng, out=out, atol=1e-5)


@pytest.mark.parametrize("builtin", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("dtype", ALL)
def test_pools(builtin, dtype):
    rng = np.random.default_rng(10)
    for padding, activation in ((0, "none"), (1, "relu"), (0, "relu6")):
        fields = {
            "padding": padding, "strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 2,
            "fusedActivationFunction": ACTIVATIONS[activation],
        }  # fmt: skip
        out = (2, 5, 7, 4) if padding == 0 else (2, 4, 6, 4)
        version = {"float32": 1, "int16": 3}.get(dtype, 2)
        one(builtin, dtype, [(2, 9, 7, 4)], out, options("Pool2D", **fields), rng=rng, version=version, same=True)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("keeps", [False, True])
def test_mean(dtype, keeps):
    rng = np.random.default_rng(11)
    for axes in ((1, 2), (2,), (3,), (-1, 1)):
        for same in (False, True):
            made = [1 if i in {a % 4 for a in axes} else d for i, d in enumerate((2, 7, 6, 9))]
            shape = made if keeps else [d for i, d in enumerate(made) if i not in {a % 4 for a in axes}]
            consts = (np.array(axes, np.int32),)
            opts = options("Reducer", keepDims=keeps)
            one("MEAN", dtype, [(2, 7, 6, 9)], shape, opts, rng=rng, consts=consts, same=same, atol=1e-5)


@pytest.mark.parametrize("builtin", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("dtype", ALL)
def test_extreme_of_axes(builtin, dtype):
    rng = np.random.default_rng(12)
    axes, version = np.array([1, 2], np.int32), 3 if dtype == "int16" else 2
    one(builtin, dtype, [(2, 7, 6, 9)], (2, 9), options("Reducer"), rng=rng, consts=(axes,), same=True, version=version)


@pytest.mark.parametrize("dtype", ALL)
def test_softmax(dtype):
    rng = np.random.default_rng(13)
    out = {"int8": (1 / 256, -128), "uint8": (1 / 256, 0), "int16": (1 / 32768, 0), "float32": (None, 0)}[dtype]
    for length in (1, 10, 300):
        opts = options("Softmax", beta=1.0)
        one("SOFTMAX", dtype, [(40, length)], (40, length), opts, rng=rng, out=out)


@pytest.mark.parametrize("given", [*ALL, "float16"])
@pytest.mark.parametrize("made", QUANTIZED)
def test_quantize(given, made):
    rng = np.random.default_rng(14)
    if given == "float16" or (given == "int16" and made == "uint8") or (given == "int8" and made == "float32"):
        pytest.skip("the reference has no such kernel")
    for _ in range(4):
        w = Writer()
        scale, zero = scale_of(rng, given, 0.01, 0.3)
        x = w.tensor("x", (4, 500), given, scale=scale, zero=zero)
        scale, zero = scale_of(rng, made, 0.01, 0.1)
        y = w.tensor("y", (4, 500), made, scale=scale, zero=zero)
        w.op("QUANTIZE", [x], [y], version=2)
        w.io([x], [y])
        compare(w.bytes(), [{"x": values(rng, given, 4, 500)}])


@pytest.mark.parametrize("given", QUANTIZED)
def test_dequantize(given):
    rng = np.random.default_rng(15)
    w = Writer()
    scale, zero = scale_of(rng, given)
    x = w.tensor("x", (4, 500), given, scale=scale, zero=zero)
    y, z = w.tensor("y", (4, 500)), w.tensor("z", (4, 500))
    w.op("DEQUANTIZE", [x], [y], version=2)
    w.op("EXP", [y], [z])
    w.io([x], [z])
    compare(w.bytes(), [{"x": values(rng, given, 4, 500)}])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_prelu(dtype):
    """The slopes are constants, one per channel or one in all, with a scale of their own."""
    rng = np.random.default_rng(16)
    for shape in ((1, 1, 9), (1,)):
        w = Writer()
        scale, zero = scale_of(rng, dtype)
        x = w.tensor("x", (2, 3, 4, 9), dtype, scale=scale, zero=zero)
        slopes = w.constant("slopes", values(rng, dtype, *shape), scale=f32(0.007), zero=zero)
        scale, zero = scale_of(rng, dtype)
        y = w.tensor("y", (2, 3, 4, 9), dtype, scale=scale, zero=zero)
        w.op("PRELU", [x, slopes], [y])
        w.io([x], [y])
        compare(w.bytes(), [{"x": values(rng, dtype, 2, 3, 4, 9)}])


def test_norms():
    """LOG_SOFTMAX and L2_NORMALIZATION have one output scale each."""
    rng = np.random.default_rng(17)
    one("LOG_SOFTMAX", "int8", [(300, 12)], (300, 12), rng=rng, out=(16 / 256, 127))
    one("LOG_SOFTMAX", "uint8", [(300, 12)], (300, 12), rng=rng, out=(16 / 256, 255))
    one("L2_NORMALIZATION", "int8", [(300, 12)], (300, 12), options("L2Norm"), rng=rng, out=(1 / 128, 0))
    with pytest.raises(NotSupported, match="L2_NORMALIZATION: with an activation, or of uint8"):
        one("L2_NORMALIZATION", "uint8", [(3, 12)], (3, 12), options("L2Norm"), rng=rng, out=(1 / 128, 128))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_halves_of_fully_connected_go_away_from_zero(dtype):
    x = np.arange(-100, 101).reshape(-1, 1).astype(dtype)
    w = Writer()
    i, k = w.tensor("x", x.shape, dtype, scale=0.25), w.constant("w", np.ones((1, 1), np.int8), scale=0.5)
    y = w.tensor("y", (201, 1), dtype, scale=1.0)
    w.op("FULLY_CONNECTED", [i, k, -1], [y], options("FullyConnected"), version=4)
    w.io([i], [y])
    compare(w.bytes(), [{"x": x}])


def test_the_multiplier_of_mul_is_made_in_float32():
    rng = np.random.default_rng(18)
    for _ in range(3):
        scale = f32(rng.uniform(0.2, 0.4))
        shapes = [(2000, 64), (2000, 64)]
        one("MUL", "int16", shapes, shapes[0], options("Mul"), rng=rng, version=4, out=(scale / 256, 0))


def test_the_limit_of_relu6_is_made_in_float32():
    """A scale for which 6 / scale is a half in float32, and less in float64."""
    scales = [f32(6 / (k + 0.5)) for k in range(20, 250)]
    scale = next(
        s for s in scales if np.floor(np.float32(6) / np.float32(s) + np.float32(0.5)) != np.floor(6 / s + 0.5)
    )
    rng = np.random.default_rng(19)
    graph = one(
        "ADD", "int8", [(40, 40)] * 2, (40, 40), options("Add", fusedActivationFunction=3), rng=rng, out=(scale, -128)
    )
    assert [n.op for n in graph.nodes[2:]] == ["add", "clip", "dequantize"]


@pytest.mark.parametrize("zero", [-128, 0])
def test_a_pad_before_a_maximum(zero):
    """Zeros are the lowest values only where the zero point is the lowest integer."""
    w, rng = Writer(), np.random.default_rng(20)
    x = w.tensor("x", (1, 5, 5, 2), "int8", scale=0.1, zero=zero)
    padded, y = (w.tensor(n, s, "int8", scale=0.1, zero=zero) for n, s in (("p", (1, 7, 7, 2)), ("y", (1, 3, 3, 2))))
    w.op("PAD", [x, w.constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))], [padded])
    fields = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 3}
    w.op("MAX_POOL_2D", [padded], [y], options("Pool2D", **fields), version=2)
    w.io([x], [y])
    numbers = rng.integers(-128, -100, (1, 5, 5, 2)).astype(np.int8)
    graph = compare(w.bytes(), [{"x": numbers}], absent=("p",) if zero == -128 else ())
    assert ("pad" in {n.op for n in graph.nodes}) == (zero == 0)
