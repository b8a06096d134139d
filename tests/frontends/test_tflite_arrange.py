"""TFLite operators that move values, and those of integers without scale, against LiteRT's reference kernels."""

# pyright: basic

from __future__ import annotations

import numpy as np
import pytest

from onchip.errors import NotSupported, OnchipError
from onchip.frontends.tflite import read_bytes
from tests.frontends.test_tflite_operators import QUANTIZED, scale_of, values
from tests.frontends.tflite_models import Writer, compare, f32, options

DTYPES = ("float32", *QUANTIZED)


def moved(builtin, dtype, shape, outs, *, consts=(), opts=None, version=2, first=False, absent=(), names=("y",)):
    """Hold an operator whose tensors share one scale against the reference; `first`: constants stand before x."""
    rng = np.random.default_rng(len(builtin))
    scale, zero = scale_of(rng, dtype)
    w = Writer()
    x = w.tensor("x", shape, dtype, scale=scale, zero=zero)
    extra = [w.constant(f"c{i}", np.asarray(c)) for i, c in enumerate(consts)]
    made = [w.tensor(f"y{i}", s, dtype, scale=scale, zero=zero) for i, s in enumerate(outs)]
    w.op(builtin, [*extra, x] if first else [x, *extra], made, opts, version=version)
    w.io([x], made)
    return compare(w.bytes(), [{"x": values(rng, dtype, *shape)}], absent=absent, atol=1e-5)


def i32(*numbers):
    return np.array(numbers, np.int32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype):
    moved(
        "RESHAPE", dtype, (2, 3, 4), [(6, 4)], consts=[i32(-1, 4)], opts=options("Reshape", newShape=[-1, 4]), version=1
    )
    moved("RESHAPE", dtype, (2, 3, 4), [(4, 6)], opts=options("Reshape", newShape=[4, 6]), version=1)
    moved("SQUEEZE", dtype, (2, 1, 4, 1), [(2, 4)], opts=options("Squeeze", squeezeDims=[1, 3]), version=1)
    moved("SQUEEZE", dtype, (2, 1, 4), [(2, 4)], opts=options("Squeeze"), version=1)
    moved("EXPAND_DIMS", dtype, (2, 4), [(2, 1, 4)], consts=[i32(1)], version=1)
    moved("TRANSPOSE", dtype, (2, 3, 4), [(4, 2, 3)], consts=[i32(2, 0, 1)], version=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuts(dtype):
    moved("SLICE", dtype, (4, 5, 6), [(2, 5, 3)], consts=[i32(1, 0, 2), i32(2, -1, 3)], version=3)
    fields = {"beginMask": 1, "endMask": 2}
    bounds = [i32(9, 1, -2), i32(3, 0, -5), i32(1, 2, -1)]
    moved(
        "STRIDED_SLICE", dtype, (4, 5, 6), [(3, 2, 3)], consts=bounds, opts=options("StridedSlice", **fields), version=4
    )
    shrunk = options("StridedSlice", shrinkAxisMask=2, beginMask=5, endMask=5)
    moved(
        "STRIDED_SLICE",
        dtype,
        (4, 5, 6),
        [(4, 6)],
        consts=[i32(0, -2, 0), i32(0, 0, 0), i32(1, 1, 1)],
        opts=shrunk,
        version=4,
    )
    moved(
        "SPLIT", dtype, (4, 6), [(4, 2)] * 3, consts=[i32(1)], opts=options("Split", numSplits=3), first=True, version=4
    )
    moved("UNPACK", dtype, (4, 2, 3), [(4, 3)] * 2, opts=options("Unpack", num=2, axis=1), version=4)


def test_split_v():
    moved(
        "SPLIT_V",
        "float32",
        (4, 6),
        [(4, 1), (4, 5)],
        consts=[i32(1, -1), i32(-1)],
        opts=options("SplitV", numSplits=2),
    )
    moved("SPLIT_V", "int8", (4, 6), [(4, 2), (4, 4)], consts=[i32(2, 4), i32(1)], opts=options("SplitV", numSplits=2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_borders(dtype):
    pads = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)
    moved("PAD", dtype, (1, 4, 5, 2), [(1, 7, 8, 2)], consts=[pads])
    if dtype != "int16":
        moved("MIRROR_PAD", dtype, (1, 4, 5, 2), [(1, 7, 8, 2)], consts=[pads], opts=options("MirrorPad", mode=1))
        moved("MIRROR_PAD", dtype, (1, 4, 5, 2), [(1, 7, 8, 2)], consts=[pads], opts=options("MirrorPad", mode=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_padv2(dtype):
    rng = np.random.default_rng(3)
    scale, zero = scale_of(rng, dtype)
    w = Writer()
    x = w.tensor("x", (2, 3, 4), dtype, scale=scale, zero=zero)
    pads = w.constant("pads", np.array([[1, 0], [0, 2], [1, 1]], np.int32))
    fill = w.constant("fill", values(rng, dtype, 1), scale=scale, zero=zero)
    y = w.tensor("y", (3, 5, 6), dtype, scale=scale, zero=zero)
    w.op("PADV2", [x, pads, fill], [y], version=2)
    w.io([x], [y])
    compare(w.bytes(), [{"x": values(rng, dtype, 2, 3, 4)}])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("builtin", ["CONCATENATION", "PACK"])
def test_joins(builtin, dtype):
    """uint8 parts may have scales of their own in a CONCATENATION."""
    rng = np.random.default_rng(4)
    for has_own_scales in (False, True) if (builtin, dtype) == ("CONCATENATION", "uint8") else (False,):
        w = Writer()
        scale, zero = scale_of(rng, dtype)
        params = [scale_of(rng, dtype) if has_own_scales else (scale, zero) for _ in range(3)]
        parts = [w.tensor(f"x{i}", (2, 3, 4), dtype, scale=s, zero=z) for i, (s, z) in enumerate(params)]
        shape = (2, 9, 4) if builtin == "CONCATENATION" else (2, 3, 3, 4)
        y = w.tensor("y", shape, dtype, scale=scale, zero=zero)
        opts = (
            options("Concatenation", axis=-2) if builtin == "CONCATENATION" else options("Pack", axis=1, valuesCount=3)
        )
        w.op(builtin, parts, [y], opts, version=3)
        w.io(parts, [y])
        compare(w.bytes(), [{f"x{i}": values(rng, dtype, 2, 3, 4) for i in range(3)}])


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_sizes(dtype):
    for fields in ({}, {"alignCorners": True}, {"halfPixelCenters": True}):
        for size in ((7, 11), (3, 2), (8, 10)):
            opts = options("ResizeNearestNeighbor", **fields)
            moved(
                "RESIZE_NEAREST_NEIGHBOR",
                dtype,
                (1, 4, 5, 2),
                [(1, *size, 2)],
                consts=[i32(*size)],
                opts=opts,
                version=4,
            )
            if dtype in ("float32", "int8"):
                opts = options("ResizeBilinear", **fields)
                moved(
                    "RESIZE_BILINEAR", dtype, (1, 4, 5, 2), [(1, *size, 2)], consts=[i32(*size)], opts=opts, version=4
                )
    moved("DEPTH_TO_SPACE", dtype, (1, 2, 3, 8), [(1, 4, 6, 2)], opts=options("DepthToSpace", blockSize=2), version=1)
    moved("SPACE_TO_DEPTH", dtype, (1, 4, 6, 2), [(1, 2, 3, 8)], opts=options("SpaceToDepth", blockSize=2), version=1)
    moved("TILE", dtype, (2, 3), [(4, 9)], consts=[i32(2, 3)], version=1)
    moved("REVERSE_V2", dtype, (2, 3, 4), [(2, 3, 4)], consts=[i32(1)], version=3)


def test_broadcast_to():
    moved("BROADCAST_TO", "float32", (1, 3), [(4, 3)], consts=[i32(4, 3)])
    moved("BROADCAST_TO", "int8", (1, 3), [(4, 3)], consts=[i32(4, 3)], version=3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(dtype):
    moved("GATHER", dtype, (5, 3, 4), [(5, 2, 4)], consts=[i32(2, 0)], opts=options("Gather", axis=1), version=4)
    moved(
        "GATHER",
        dtype,
        (5, 3, 4),
        [(2, 2, 3, 4)],
        consts=[np.array([[2, 0], [4, 4]], np.int32)],
        opts=options("Gather"),
        version=4,
    )


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16"])
@pytest.mark.parametrize("padding", [0, 1])
def test_transpose_conv(dtype, padding):
    rng = np.random.default_rng(6)
    for stride, taps in (((2, 2), (3, 3)), ((1, 2), (2, 4)), ((3, 1), (2, 1))):
        n_in, n_out, h, wd = 5, 4, 6, 7
        x_scale, x_zero = scale_of(rng, dtype)
        y_scale, y_zero = scale_of(rng, dtype, 0.5, 2.0)
        w = Writer()
        x = w.tensor("x", (2, h, wd, n_in), dtype, scale=x_scale, zero=x_zero)
        if padding == 0:
            out = (h * stride[0], wd * stride[1])
        else:
            out = tuple((d - 1) * s + max(t, s) for d, s, t in zip((h, wd), stride, taps, strict=True))
        if dtype == "float32":
            kernel = w.constant("w", rng.normal(size=(n_out, *taps, n_in)).astype(np.float32))
            bias = w.constant("b", rng.normal(size=n_out).astype(np.float32))
        else:
            scales = [f32(v) for v in rng.uniform(0.005, 0.05, n_out)]
            kernel = w.constant("w", rng.integers(-127, 128, (n_out, *taps, n_in)).astype(np.int8), scale=scales)
            numbers = rng.integers(-9999, 9999, n_out).astype(np.int64 if dtype == "int16" else np.int32)
            bias = w.constant("b", numbers, scale=[x_scale * v for v in scales])
        shape = w.constant("shape", i32(2, *out, n_out))
        y = w.tensor("y", (2, *out, n_out), dtype, scale=y_scale, zero=y_zero)
        opts = options("TransposeConv", padding=padding, strideH=stride[0], strideW=stride[1])
        w.op("TRANSPOSE_CONV", [shape, kernel, x, bias], [y], opts, version=3)
        w.io([x], [y])
        feeds = {"x": values(rng, dtype, 2, h, wd, n_in)}
        compare(w.bytes(), [feeds], atol=1e-4)


@pytest.mark.parametrize(("builtin", "kind"), [("ARG_MAX", "ArgMax"), ("ARG_MIN", "ArgMin")])
def test_arguments(builtin, kind):
    w, rng = Writer(), np.random.default_rng(7)
    x = w.tensor("x", (4, 9), "int8", scale=0.1, zero=3)
    y = w.tensor("y", (4,), "int32")
    w.op(builtin, [x, w.constant("axis", i32(1))], [y], options(kind, outputType=2), version=2)
    w.io([x], [y])
    compare(w.bytes(), [{"x": values(rng, "int8", 4, 9)}])


def test_masks_and_choices():
    """Comparisons, logic, SELECT_V2 and CAST, as attention masks are made of."""
    w, rng = Writer(), np.random.default_rng(8)
    a, b = w.tensor("a", (4, 5)), w.tensor("b", (4, 5))
    bools = []
    for builtin in ("GREATER", "LESS_EQUAL", "NOT_EQUAL", "EQUAL", "LESS", "GREATER_EQUAL"):
        bools.append(w.tensor(builtin, (4, 5), "bool"))
        w.op(builtin, [a, b], [bools[-1]])
    both, other, no = (w.tensor(n, (4, 5), "bool") for n in ("both", "other", "no"))
    w.op("LOGICAL_AND", [bools[1], bools[2]], [both])
    w.op("LOGICAL_OR", [both, bools[0]], [other])
    w.op("LOGICAL_NOT", [other], [no])
    y, z, i = w.tensor("y", (4, 5)), w.tensor("z", (4, 5)), w.tensor("i", (4, 5), "int32")
    w.op("SELECT_V2", [no, a, b], [y])
    w.op("CAST", [bools[5]], [z], options("Cast", inDataType=6, outDataType=0))
    w.op("CAST", [a], [i], options("Cast", inDataType=0, outDataType=2))
    w.io([a, b], [y, z, i, bools[3], bools[4]])
    numbers = rng.integers(-3, 3, (2, 4, 5)).astype(np.float32)
    compare(w.bytes(), [{"a": numbers[0], "b": numbers[1]}])


def test_float_arithmetic_and_reductions():
    w, rng = Writer(), np.random.default_rng(9)
    a, b = w.tensor("a", (4, 5, 6)), w.tensor("b", (4, 1, 6))
    q, p, s, m, t = (w.tensor(n, shape) for n, shape in (
        ("q", (4, 5, 6)), ("p", (4, 5, 6)), ("s", (4, 6)), ("m", (4, 5, 1)), ("t", (4, 5, 6))))  # fmt: skip
    w.op("DIV", [a, b], [q], options("Div", fusedActivationFunction=1))
    w.op("POW", [q, w.constant("two", np.array(2, np.float32))], [p])
    w.op("SUM", [p, w.constant("one", i32(1))], [s], options("Reducer"))
    w.op("REDUCE_MAX", [a, w.constant("last", i32(-1))], [m], options("Reducer", keepDims=True))
    w.op("CUMSUM", [a, w.constant("axis", np.array(1, np.int32))], [t], options("Cumsum", exclusive=True))
    w.io([a, b], [s, m, t])
    compare(
        w.bytes(),
        [{"a": rng.normal(size=(4, 5, 6)).astype(np.float32), "b": rng.uniform(1, 2, (4, 1, 6)).astype(np.float32)}],
    )


def test_a_pad_goes_into_the_convolution():
    """PAD, then CONV_2D with VALID padding: one node, no pad; a pool of zeros keeps it where zero counts."""
    w, rng = Writer(), np.random.default_rng(10)
    x = w.tensor("x", (1, 8, 9, 3), "int8", scale=0.05, zero=-11)
    padded = w.tensor("padded", (1, 11, 10, 3), "int8", scale=0.05, zero=-11)
    y = w.tensor("y", (1, 5, 4, 4), "int8", scale=0.4, zero=3)
    kernel = w.constant("w", rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8), scale=[0.01, 0.02, 0.03, 0.04])
    bias = w.constant("b", np.arange(4, dtype=np.int32), scale=[0.0005, 0.001, 0.0015, 0.002])
    pads = w.constant("pads", np.array([[0, 0], [2, 1], [0, 1], [0, 0]], np.int32))
    w.op("PAD", [x, pads], [padded])
    opts = options("Conv2D", padding=1, strideH=2, strideW=2)
    w.op("CONV_2D", [padded, kernel, bias], [y], opts, version=3)
    w.io([x], [y])
    graph = compare(w.bytes(), [{"x": values(rng, "int8", 1, 8, 9, 3)}], absent=("padded",))
    assert [n.op for n in graph.nodes] == ["quantize", "conv2d", "dequantize"]
    assert graph.nodes[1].attribute("padding", ()) == (2, 1, 0, 1)


def test_a_shape_is_arithmetic_and_half_weights_are_floats():
    """SHAPE, STRIDED_SLICE, PACK to RESHAPE leave no node; DEQUANTIZE of float16 gives the weights."""
    w, rng = Writer(), np.random.default_rng(11)
    x = w.tensor("x", (2, 3, 4), signature=(-1, 3, 4))
    shape, first, packed = (
        w.tensor("shape", (3,), "int32"),
        w.tensor("first", (), "int32"),
        w.tensor("packed", (2,), "int32"),
    )
    flat, y = w.tensor("flat", (2, 12)), w.tensor("y", (2, 5))
    half = w.constant("half", rng.normal(size=(5, 12)).astype(np.float16))
    kernel = w.tensor("kernel", (5, 12))
    w.op("SHAPE", [x], [shape], options("Shape", outType=2))
    bounds = [w.constant(n, i32(v)) for n, v in (("begin", 0), ("end", 1), ("strides", 1))]
    w.op("STRIDED_SLICE", [shape, *bounds], [first], options("StridedSlice", shrinkAxisMask=1))
    w.op("PACK", [first, w.constant("rest", np.array(12, np.int32))], [packed], options("Pack", valuesCount=2))
    w.op("RESHAPE", [x, packed], [flat])
    w.op("DEQUANTIZE", [half], [kernel], version=3)
    w.op("FULLY_CONNECTED", [flat, kernel, -1], [y], options("FullyConnected"))
    w.io([x], [y])
    data = w.bytes()
    feeds = {"x": rng.normal(size=(2, 3, 4)).astype(np.float32)}
    graph = compare(data, [feeds], absent=("shape", "first", "packed", "kernel"), atol=1e-5)
    assert [n.op for n in graph.nodes] == ["reshape", "linear"]
    assert read_bytes(data, batch=7).tensor("y").shape == (7, 5)


def test_names_are_kept():
    w = Writer()
    x = w.tensor("serving_default_x:0", (1, 4))
    y, z = w.tensor("StatefulPartitionedCall:0", (1, 4)), w.tensor("StatefulPartitionedCall:0", (1, 4))
    w.op("RELU", [x], [y])
    w.op("TANH", [y], [z])
    w.io([x], [z])
    graph = read_bytes(w.bytes())
    assert graph.inputs == ("serving_default_x:0",)
    assert [n.name for n in graph.nodes] == ["StatefulPartitionedCall:0", "StatefulPartitionedCall:0.2"]


def test_an_input_and_a_constant_may_be_outputs():
    w = Writer()
    x, c = w.tensor("x", (1, 4), "int8", scale=0.5, zero=1), w.constant("c", np.ones(3, np.float32))
    w.io([x], [x, c])
    graph = read_bytes(w.bytes())
    assert graph.outputs == ("x.output", "c.output")
    assert issubclass(NotSupported, OnchipError)
