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
from tests.frontends.tflite_models import Writer, compare, f32, options, reference, shifted


class Net:
    """A network that grows layer by layer, with scales under which its activations fill their range."""

    def __init__(self, dtype="int8", seed=0, shape=(1, 16, 16, 3)):
        self.w, self.dtype, self.rng = Writer(), dtype, np.random.default_rng(seed)
        self.is_wide = dtype == "int16"
        self.scales, self.shapes, self.n = {}, {}, 0
        scale = f32(2.0 / 32768) if self.is_wide else f32(1 / 64)
        self.input = self.add("input", shape, scale, self.zero(3))

    def zero(self, value=0):
        return 0 if self.is_wide else value + (128 if self.dtype == "uint8" else 0)

    def add(self, name, shape, scale, zero):
        i = self.w.tensor(name, shape, self.dtype, scale=scale, zero=zero)
        self.scales[i], self.shapes[i] = (scale, zero), tuple(shape)
        return i

    def weights(self, name, shape, n, axis, x):
        """Add weights and bias; gives them and the scale of an output of about 40 steps of deviation."""
        is_u8 = self.dtype == "uint8"
        scales = [f32(v) for v in self.rng.uniform(0.5, 1.5, 1 if is_u8 else n) / np.prod(shape) ** 0.5 / 20]
        if is_u8:
            data = np.clip(self.rng.normal(121, 45, shape), 0, 255).astype(np.uint8)
            w = self.w.constant(f"{name}/w", data, scale=scales[0], zero=121)
        else:
            data = np.clip(self.rng.normal(0, 45, shape), -127, 127).astype(np.int8)
            w = self.w.constant(f"{name}/w", data, scale=scales, axis=axis)
        sx = self.scales[x][0]
        bias = (self.rng.normal(0, 0.05, n) / sx / scales[0]).astype(np.int64 if self.is_wide else np.int32)
        b = self.w.constant(f"{name}/b", bias, scale=[sx * s for s in scales])
        taps = np.prod(shape) / n
        spread = float(np.mean(scales)) * 45 * taps**0.5 * sx * (9000 if self.is_wide else 55)
        return [w, b], f32(max(spread, 1e-5) / (9000 if self.is_wide else 40))

    def name(self, kind):
        self.n += 1
        return f"{kind}{self.n}"

    def conv(self, x, k, size=3, stride=1, activation=3, padding=0):
        n, h, w, c = self.shapes[x]
        name = self.name("conv")
        wb, scale = self.weights(name, (k, size, size, c), k, 0, x)
        y = self.add(name, (n, -(-h // stride), -(-w // stride), k), scale, self.zero(-128 if activation else 4))
        opts = options("Conv2D", strideH=stride, strideW=stride, fusedActivationFunction=activation, padding=padding)
        self.w.op("CONV_2D", [x, *wb], [y], opts, version=5 if self.is_wide else 3)
        return y

    def depthwise(self, x, size=3, stride=1, activation=3):
        n, h, w, c = self.shapes[x]
        name = self.name("depthwise")
        wb, scale = self.weights(name, (1, size, size, c), c, 3, x)
        y = self.add(name, (n, -(-h // stride), -(-w // stride), c), scale, self.zero(-128 if activation else 4))
        opts = options(
            "DepthwiseConv2D", strideH=stride, strideW=stride, fusedActivationFunction=activation, depthMultiplier=1
        )
        self.w.op("DEPTHWISE_CONV_2D", [x, *wb], [y], opts, version=3)
        return y

    def binary(self, kind, a, b):
        name = self.name(kind.lower())
        scale = f32(max(self.scales[a][0], self.scales[b][0]) * 1.4)
        if kind == "MUL":
            scale = f32(self.scales[a][0] * self.scales[b][0] * (8000 if self.is_wide else 40))
        y = self.add(name, self.shapes[a], scale, self.zero(-5))
        opts = options(kind.capitalize(), **({"potScaleInt16": False} if self.is_wide and kind != "MUL" else {}))
        self.w.op(kind, [a, b], [y], opts, version=2 if not self.is_wide else 4)
        return y

    def unary(self, kind, x, scale, zero, opts=None, version=2):
        y = self.add(self.name(kind.lower()), self.shapes[x], scale, self.zero(zero))
        self.w.op(kind, [x], [y], opts, version=version)
        return y

    def mean(self, x, *, keeps=False):
        n, _, _, c = self.shapes[x]
        scale, zero = self.scales[x]
        y = self.add(self.name("mean"), (n, 1, 1, c) if keeps else (n, c), f32(scale * 0.6), zero)
        axes = self.w.constant(f"{self.name('axes')}", np.array([1, 2], np.int32))
        self.w.op("MEAN", [x, axes], [y], options("Reducer", keepDims=keeps), version=2)
        return y

    def pool(self, kind, x, size=2):
        n, h, w, c = self.shapes[x]
        y = self.add(self.name("pool"), (n, -(-h // size), -(-w // size), c), *self.scales[x])
        opts = options("Pool2D", strideH=size, strideW=size, filterHeight=size, filterWidth=size)
        self.w.op(kind, [x], [y], opts, version=3 if self.is_wide else 2)
        return y

    def reshape(self, x, shape):
        y = self.add(self.name("reshape"), shape, *self.scales[x])
        self.w.op("RESHAPE", [x], [y], options("Reshape", newShape=list(shape)))
        return y

    def linear(self, x, k, activation=0):
        *batch, c = self.shapes[x]
        name = self.name("fc")
        wb, scale = self.weights(name, (k, c), k, 0, x)
        y = self.add(name, (*batch, k), scale, self.zero(6))
        opts = options("FullyConnected", fusedActivationFunction=activation, keepNumDims=True)
        self.w.op("FULLY_CONNECTED", [x, *wb], [y], opts, version=11 if self.is_wide else 5)
        return y

    def softmax(self, x):
        scale, zero = (1 / 256, 0 if self.dtype == "uint8" else -128)
        y = self.add(self.name("softmax"), self.shapes[x], scale, zero)
        self.w.op("SOFTMAX", [x], [y], options("Softmax", beta=1.0), version=2)
        return y

    def check(self, y, *, runs=1, absent=()):
        self.w.io([self.input], [y])
        low, high = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}[self.dtype]
        shape = self.shapes[self.input]
        feeds = [{"input": self.rng.integers(low, high + 1, shape).astype(self.dtype)} for _ in range(runs)]
        return compare(self.w.bytes(), feeds, absent=absent)


def bottleneck(net, x, k, stride, *, has_gate=False):
    """An inverted residual, with the squeeze of MobileNet v3 where asked for."""
    wide = net.conv(x, net.shapes[x][3] * 3, 1)
    deep = net.depthwise(wide, 3, stride)
    if has_gate:
        gate = net.conv(net.conv(net.mean(deep, keeps=True), 8, 1, activation=1), net.shapes[deep][3], 1, activation=0)
        gate = net.unary("LOGISTIC", gate, 1 / 256, -128)
        deep = net.binary("MUL", deep, gate)
    y = net.conv(deep, k, 1, activation=0)
    return net.binary("ADD", y, x) if stride == 1 and net.shapes[y] == net.shapes[x] else y


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


def lstm_operands(w, rng, features, hidden, dtype):
    """Add the 20 operands of an LSTM behind its input; gives them, the intermediates and the output's scale."""
    bits = 11
    sx, sh, zh = f32(1 / 64), f32(1 / 128), 3
    operands, gates = [], []
    if dtype == "float32":
        for rows, first in ((features, "input"), (hidden, "recurrent")):
            for g in range(4):
                data = rng.normal(0, rows**-0.5, (hidden, rows)).astype(np.float32)
                operands.append(w.constant(f"{first}{g}", data))
        biases = [w.constant(f"bias{g}", rng.normal(size=hidden).astype(np.float32)) for g in range(4)]
        state, cell = w.tensor("h", (1, hidden), is_variable=True), w.tensor("c", (1, hidden), is_variable=True)
        return [*operands, -1, -1, -1, *biases, -1, -1, state, cell, -1, -1, -1, -1], [], (None, 0)
    scales = [f32(v) for v in rng.uniform(0.004, 0.01, 8)]
    for rows, first, own in ((features, "input", scales[:4]), (hidden, "recurrent", scales[4:])):
        for g in range(4):
            data = np.clip(rng.normal(0, 45, (hidden, rows)), -127, 127).astype(np.int8)
            operands.append(w.constant(f"{first}{g}", data, scale=own[g]))
    biases = [
        w.constant(f"bias{g}", rng.integers(-3000, 3000, hidden).astype(np.int32), scale=sx * scales[g])
        for g in range(4)
    ]
    state = w.tensor("h", (1, hidden), "int8", scale=sh, zero=zh, is_variable=True)
    cell = w.tensor("c", (1, hidden), "int16", scale=2.0**-bits, is_variable=True)
    gates = [w.tensor(f"gate{g}", (), "int16", scale=2.0**-12) for g in range(4)] + [
        w.tensor("gate4", (), scale=sh, zero=zh)
    ]
    return [*operands, -1, -1, -1, *biases, -1, -1, state, cell, -1, -1, -1, -1], gates, (sh, zh)


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


def variables(initial=None):
    """A running window in a variable: VAR_HANDLE, READ_VARIABLE, CONCATENATION, ASSIGN_VARIABLE, CALL_ONCE."""
    w = Writer()
    init = w.subgraph()
    x = w.tensor("x", (1, 1, 4), "int8", scale=0.5, zero=2)
    opts = options("VarHandle", container="", sharedName="window")
    handle = w.tensor("handle", (), "resource")
    old = w.tensor("old", (1, 2, 4), "int8", scale=0.5, zero=2)
    both = w.tensor("both", (1, 3, 4), "int8", scale=0.5, zero=2)
    new = w.tensor("new", (1, 2, 4), "int8", scale=0.5, zero=2)
    y = w.tensor("y", (1, 4), "int8", scale=0.4, zero=-3)
    w.op("CALL_ONCE", [], [], options("CallOnce", initSubgraphIndex=init))
    w.op("VAR_HANDLE", [], [handle], opts)
    w.op("READ_VARIABLE", [handle], [old])
    w.op("CONCATENATION", [old, x], [both], options("Concatenation", axis=1), version=2)
    bounds = [w.constant(n, np.array(v, np.int32)) for n, v in (("b", [0, 1, 0]), ("e", [1, 3, 4]), ("s", [1, 1, 1]))]
    w.op("STRIDED_SLICE", [both, *bounds], [new], options("StridedSlice"), version=2)
    w.op("ASSIGN_VARIABLE", [handle, new], [])
    w.op("MEAN", [both, w.constant("axes", np.array([1], np.int32))], [y], options("Reducer"), version=2)
    w.io([x], [y])
    inner = w.tensor("handle2", (), "resource", graph=init)
    start = np.full((1, 2, 4), 2, np.int8) if initial is None else initial
    value = w.tensor("start", start.shape, "int8", scale=0.5, zero=2, data=start, graph=init)
    w.op("VAR_HANDLE", [], [inner], options("VarHandle", container="", sharedName="window"), graph=init)
    w.op("ASSIGN_VARIABLE", [inner, value], [], graph=init)
    return w


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
