"""Parts of TFLite networks for tests: layers with random weights and scales that suit them."""

# pyright: basic

from __future__ import annotations

import numpy as np

from tests.frontends.tflite_models import Writer, compare, f32, options


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
