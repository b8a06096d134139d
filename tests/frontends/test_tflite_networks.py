"""Whole TFLite networks with random weights: every tensor in them is what LiteRT's reference kernels give."""

# pyright: basic

from __future__ import annotations

import numpy as np
import pytest

import onchip as oc
from onchip.errors import NotSupported
from onchip.frontends.tflite import read_bytes
from onchip.ir.evaluate import evaluate
from onchip.ir.trace import RunTrace
from onchip.passes.rounding import round_as
from tests.frontends.tflite_layers import Net, bottleneck, lstm_operands, variables
from tests.frontends.tflite_models import Writer, compare, f32, options, reference, shifted


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_mobilenet_v2(dtype):
    net = Net(dtype, 1)
    x = net.conv(net.input, 8, 3, 2)
    for k, stride in ((8, 1), (12, 2), (12, 1)):
        x = bottleneck(net, x, k, stride)
    x = net.softmax(net.linear(net.mean(net.conv(x, 24, 1)), 10))
    graph = net.check(x, runs=2)
    assert {n.op for n in graph.nodes} == {"quantize", "conv2d", "add", "mean", "linear", "softmax", "dequantize"}


def test_mobilenet_v3():
    net = Net("int8", 2)
    x = net.conv(net.input, 8, 3, 2, activation=0)
    x = net.unary("HARD_SWISH", x, net.scales[x][0], -100, version=1)
    for k, stride in ((8, 1), (12, 2), (12, 1)):
        x = bottleneck(net, x, k, stride, has_gate=True)
    net.check(net.linear(net.mean(x), 10), runs=2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_resnet(dtype):
    net = Net(dtype, 3)
    x = net.pool("MAX_POOL_2D", net.conv(net.input, 8, 3))
    for _ in range(2):
        y = net.conv(net.conv(x, 8), 8, activation=0)
        x = net.unary(
            "RELU", net.binary("ADD", x, y), f32(net.scales[x][0] * 1.3), -128, version=3 if net.is_wide else 2
        )
    x = net.pool("AVERAGE_POOL_2D", x, 8)
    net.check(net.linear(net.reshape(x, (1, 8)), 10), runs=2)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_ds_cnn(dtype):
    net = Net(dtype, 4, (1, 25, 5, 1))
    x = net.conv(net.input, 16, 3, 2, activation=1)
    for _ in range(3):
        x = net.conv(net.depthwise(x, activation=1), 16, 1, activation=1)
    x = net.pool("AVERAGE_POOL_2D", x, 13)
    x = net.linear(net.reshape(x, (1, 16)), 12)
    net.check(x if dtype == "int16" else net.softmax(x), runs=3)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_autoencoder(dtype):
    net = Net(dtype, 5, (1, 64))
    x = net.input
    for width in (32, 8, 32, 64):
        x = net.linear(x, width, activation=1 if width != 64 else 0)
    net.check(x, runs=3)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("is_time_major", [False, True])
def test_lstm_remembers(dtype, is_time_major):
    """Two runs: the variables of the first are the states of the second."""
    w, rng = Writer(), np.random.default_rng(6)
    features, hidden, steps = 12, 16, 7
    shape = (steps, 1, features) if is_time_major else (1, steps, features)
    x = w.tensor(
        "input", shape, dtype, scale=f32(1 / 64) if dtype == "int8" else None, zero=-4 if dtype == "int8" else 0
    )
    operands, gates, (scale, zero) = lstm_operands(w, rng, features, hidden, dtype)
    y = w.tensor("lstm", (*shape[:2], hidden), dtype, scale=scale, zero=zero)
    fields = {"fusedActivationFunction": 4, "timeMajor": is_time_major, "cellClip": 0.0, "projClip": 0.0}
    opts = options("UnidirectionalSequenceLSTM", **fields)
    w.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *operands], [y], opts, intermediates=gates)
    kernel = rng.integers(-127, 128, (5, hidden)).astype(np.int8)
    k = w.constant("k", kernel, scale=0.01) if dtype == "int8" else w.constant("k", kernel.astype(np.float32) / 100)
    z = w.tensor("fc", (steps, 5), dtype, scale=f32(0.05) if dtype == "int8" else None, zero=0)
    w.op("FULLY_CONNECTED", [y, k, -1], [z], options("FullyConnected"), version=4)
    w.io([x], [z])
    if dtype == "int8":
        feeds = [{"input": rng.integers(-128, 128, shape).astype(np.int8)} for _ in range(3)]
    else:
        feeds = [{"input": rng.normal(size=shape).astype(np.float32)} for _ in range(3)]
    graph = compare(w.bytes(), feeds, atol=1e-5)
    assert [given for given, _ in graph.states] == ["h", "c"]
    assert graph.inputs == ("input", "h", "c")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_svdf_keyword_spotting(dtype):
    """Two SVDF layers and a classifier, over 12 steps."""
    w, rng = Writer(), np.random.default_rng(7)
    is_int = dtype == "int8"
    x = w.tensor("input", (1, 20), dtype, scale=f32(1 / 32) if is_int else None, zero=5 if is_int else 0)
    width = 20
    for layer, (units, rank, memory) in enumerate(((12, 2, 8), (6, 1, 5))):
        filters, state_scale, out_scale = units * rank, f32(1 / 2048), f32(1 / 50)
        if is_int:
            feature = np.clip(rng.normal(0, 40, (filters, width)), -127, 127).astype(np.int8)
            time = np.clip(rng.normal(0, 9000, (filters, memory)), -32767, 32767).astype(np.int16)
            f = w.constant(f"feature{layer}", feature, scale=f32(0.004))
            t = w.constant(f"time{layer}", time, scale=f32(1 / 32768))
            bias = rng.integers(-2000, 2000, units).astype(np.int32)
            b = w.constant(f"bias{layer}", bias, scale=state_scale / 32768)
            s = w.tensor(f"state{layer}", (1, filters * memory), "int16", scale=state_scale, is_variable=True)
            y = w.tensor(f"svdf{layer}", (1, units), "int8", scale=out_scale, zero=-20)
        else:
            f = w.constant(f"feature{layer}", rng.normal(0, 0.3, (filters, width)).astype(np.float32))
            t = w.constant(f"time{layer}", rng.normal(0, 0.3, (filters, memory)).astype(np.float32))
            b = w.constant(f"bias{layer}", rng.normal(size=units).astype(np.float32))
            s = w.tensor(f"state{layer}", (1, filters * memory), is_variable=True)
            y = w.tensor(f"svdf{layer}", (1, units))
        activation = 1 if layer == 0 or is_int else 0
        w.op("SVDF", [x, f, t, b, s], [y], options("SVDF", rank=rank, fusedActivationFunction=activation), version=3)
        x, width = y, units
    out = w.tensor("softmax", (1, 6), dtype, scale=1 / 256 if is_int else None, zero=-128 if is_int else 0)
    w.op("SOFTMAX", [x], [out], options("Softmax", beta=1.0), version=2)
    w.io([0], [out])
    make = (lambda: rng.integers(-128, 128, (1, 20)).astype(np.int8)) if is_int else (
        lambda: rng.normal(size=(1, 20)).astype(np.float32))  # fmt: skip
    graph = compare(w.bytes(), [{"input": make()} for _ in range(12)], atol=1e-5)
    assert len(graph.states) == 2


def test_variables_are_states():
    rng = np.random.default_rng(8)
    feeds = [{"x": rng.integers(-128, 128, (1, 1, 4)).astype(np.int8)} for _ in range(4)]
    graph = compare(variables().bytes(), feeds, absent=("old",))
    assert graph.states == (("window", "new"),)


def test_variables_start_at_zero():
    data = variables(np.full((1, 2, 4), 7, np.int8)).bytes()
    with pytest.raises(NotSupported, match="OC1351 ASSIGN_VARIABLE: variable 'window' starts at other values"):
        read_bytes(data)


def test_layer_norm_in_pieces():
    """A Transformer block of int8: projections, BATCH_MATMUL, SOFTMAX, GELU, and the pieces of a layer norm."""
    net = Net("int8", 9, (1, 6, 16))
    x = net.input
    q, k, v = (net.linear(x, 16) for _ in range(3))
    scores = net.add("scores", (1, 6, 6), f32(net.scales[q][0] * net.scales[k][0] * 16**0.5 * 40), 0)
    net.w.op("BATCH_MATMUL", [q, k], [scores], options("BatchMatMul", adjY=True), version=3)
    weights = net.softmax(scores)
    mixed = net.add("mixed", (1, 6, 16), f32(net.scales[v][0] * 0.5), 1)
    net.w.op("BATCH_MATMUL", [weights, v], [mixed], options("BatchMatMul"), version=3)
    x = net.binary("ADD", net.linear(mixed, 16), x)
    mean = net.add("mean", (1, 6, 1), f32(net.scales[x][0] * 0.3), 0)
    axes = net.w.constant("axes", np.array([2], np.int32))
    net.w.op("MEAN", [x, axes], [mean], options("Reducer", keepDims=True), version=2)
    square = net.add("square", (1, 6, 16), f32(net.scales[x][0] ** 2 * 60), -128)
    net.w.op("SQUARED_DIFFERENCE", [x, mean], [square], version=2)
    variance = net.add("variance", (1, 6, 1), f32(net.scales[square][0] * 0.7), -128)
    net.w.op("MEAN", [square, axes], [variance], options("Reducer", keepDims=True), version=2)
    inverse = net.add("inverse", (1, 6, 1), f32(1 / 60), -128)
    net.w.op("RSQRT", [variance], [inverse], version=2)
    centred = net.add("centred", (1, 6, 16), f32(net.scales[x][0] * 1.1), 0)
    net.w.op("SUB", [x, mean], [centred], options("Sub"), version=2)
    normal = net.add("normal", (1, 6, 16), f32(4 / 128), 0)
    net.w.op("MUL", [centred, inverse], [normal], options("Mul"), version=2)
    wide = net.linear(normal, 32)
    wide = net.unary("GELU", wide, net.scales[wide][0], -110, options("Gelu", approximate=True))
    graph = net.check(net.linear(wide, 16), runs=2)
    assert sum(n.op == "matmul" for n in graph.nodes) == 2


def test_floats_at_the_edges():
    """Without boundary="int" a quantized network takes and gives floats: the integers times their scales."""
    net = Net("uint8", 10)
    y = net.linear(net.mean(net.conv(net.input, 8)), 5)
    net.w.io([net.input], [y])
    data = net.w.bytes()
    graph = read_bytes(data)
    x = net.rng.integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    want = reference(data, [{"input": x}])[0]["fc4"]
    scale, zero = net.scales[net.input]
    got = evaluate(graph, {"input": (x.astype(np.float32) - zero) * np.float32(scale)})
    scale, zero = net.scales[y]
    np.testing.assert_allclose(got["fc4"], (want.astype(np.float32) - zero) * np.float32(scale), rtol=1e-6)
    cut = evaluate(graph, {"input.int8": shifted(x)}, boundary="int")
    np.testing.assert_array_equal(cut["fc4"], shifted(want))


def test_it_runs_on_a_chip_bit_for_bit():
    """The file is compiled with the chip's rounding, and simulated: the values are those of the rewritten graph."""
    net = Net("int8", 11)
    x = bottleneck(net, net.conv(net.input, 8, 3, 2), 8, 1)
    y = net.linear(net.mean(x), 10)
    net.w.io([net.input], [y])
    graph, chip = read_bytes(net.w.bytes(), name="net"), oc.Chip.load("edge-npu-16")
    with pytest.raises(NotSupported, match="OC1330 rounding 'double'"):
        oc.compile(graph, chip)
    x = net.rng.normal(size=(1, 16, 16, 3)).astype(np.float32)
    trace = oc.simulate(oc.compile(graph, chip, rounding="chip"), {"input": x})
    assert isinstance(trace, RunTrace)
    want = evaluate(round_as(graph, chip.rounding.modes), {"input": x})
    name = graph.outputs[0]
    np.testing.assert_array_equal(trace.outputs[name], want[name])
    step = net.scales[y][0]
    assert np.abs(want[name] - evaluate(graph, {"input": x})[name]).max() <= 4 * step


def test_a_chip_refuses_zero_points_of_weights():
    net = Net("uint8", 12)
    y = net.linear(net.reshape(net.conv(net.input, 8), (1, 2048)), 10)
    net.w.io([net.input], [y])
    with pytest.raises(NotSupported, match="conv1: OC1363 weights with zero point -7"):
        oc.compile(read_bytes(net.w.bytes()), "edge-npu-16", rounding="chip")
