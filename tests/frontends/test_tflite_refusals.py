"""What is not read is refused by name, on one line; files that are broken in any way are, too."""

# pyright: basic

from __future__ import annotations

import resource
import struct
import time

import numpy as np
import pytest

from onchip.errors import BadFile, NotSupported, OnchipError
from onchip.frontends.read import read
from onchip.frontends.tflite import read_bytes
from onchip.frontends.tflite.flatbuffer import Source
from tests.frontends.tflite_layers import Net, bottleneck, variables
from tests.frontends.tflite_models import Writer, options

SECONDS, BYTES = 10.0, 2 << 30


def small():
    """A network with most of the tables: scales per channel, options, names, several operators."""
    net = Net("int8", 1, (1, 8, 8, 3))
    x = bottleneck(net, net.conv(net.input, 4, 3, 2), 4, 1)
    x = net.softmax(net.linear(net.mean(x), 5))
    net.w.io([net.input], [x])
    return net.w.bytes()


def unary(builtin, dtype="float32", *, custom="", shape=(1, 4), opts=None, signature=(), scale=None, zero=0):
    w = Writer()
    x = w.tensor("x", shape, dtype, scale=scale, zero=zero, signature=signature)
    y = w.tensor("y", shape, dtype, scale=scale, zero=zero)
    w.op(builtin, [x], [y], opts, custom=custom)
    w.io([x], [y])
    return w.bytes()


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (unary("CUSTOM", custom="ethos-u"), "OC1360", "compiled for Arm Ethos-U"),
        (unary("CUSTOM", custom="edgetpu-custom-op"), "OC1360", "compiled for the Edge TPU"),
        (unary("CUSTOM", custom="TFLite_Detection"), "OC1352", "custom operator 'TFLite_Detection'"),
        (unary("SIN", "int32"), "OC1351", "SIN: of int32"),
        (unary("EXP", "uint8", scale=0.1, zero=100), "OC1351", "EXP: of uint8"),
        (unary("GELU", "int16", scale=0.1), "OC1351", "GELU: of int16"),
        (unary("RFFT2D"), "OC1350", "operator RFFT2D is not read"),
        (unary("STABLEHLO_ADD"), "OC1350", "operator STABLEHLO"),
        (unary(1234), "OC1350", "operator STABLEHLO 1234"),
        (unary("IF", opts=options("If", thenSubgraphIndex=1)), "OC1361", "IF runs another subgraph"),
        (unary("WHILE", opts=options("While", condSubgraphIndex=1)), "OC1361", "WHILE runs another subgraph"),
        (unary("RELU", shape=(-1, 4)), "OC1353", "an input of shape \\[-1, 4\\]"),
        (unary("RELU", shape=(0, 4)), "OC1353", "which is empty"),
        (unary("RELU", "float16"), "OC1351", "an input of type float16"),
        (unary("RELU", "int8", scale=0.1, zero=200), "OC1351", "zero point 200"),
        (unary("RELU", "int16", scale=0.1, zero=5), "OC1351", "int16 with zero point 5"),
        (unary("RELU", "int8", scale=float("nan")), "OC1261", "a scale is not a positive number"),
        (unary("RELU", "int8", scale=-1.0), "OC1261", "a scale is not a positive number"),
        (unary("RELU", "int8", scale=[0.1] * 4, zero=0), "OC1261", "4 scales along axis 0 of \\[1, 4\\]"),
    ],
)  # fmt: skip
def test_refused_by_name(data, code, text):
    with pytest.raises(OnchipError, match=f"{code} .*{text}") as caught:
        read_bytes(data, where="net.tflite")
    assert str(caught.value).startswith("net.tflite") and "\n" not in str(caught.value)


def linear_of(dtype, weights, scale):
    w = Writer()
    x = w.tensor("x", (1, 4), dtype, scale=scale, zero=0)
    y = w.tensor("y", (1, 3), dtype, scale=scale, zero=0)
    w.op("FULLY_CONNECTED", [x, w.constant("w", weights, scale=0.1), -1], [y], options("FullyConnected"))
    w.io([x], [y])
    return w.bytes()


def test_dynamic_range_is_refused():
    with pytest.raises(NotSupported, match="y: OC1362 FULLY_CONNECTED: float activations by int8 weights"):
        read_bytes(linear_of("float32", np.ones((3, 4), np.int8), None))
    with pytest.raises(NotSupported, match="OC1351 FULLY_CONNECTED: int8 activations by int16 weights"):
        read_bytes(linear_of("int8", np.ones((3, 4), np.int16), 0.1))


def changed(change):
    """Build a convolution after a change of its description."""
    w = Writer()
    x, y = w.tensor("x", (1, 4, 4, 2)), w.tensor("y", (1, 4, 4, 3))
    kernel = w.constant("w", np.ones((3, 3, 3, 2), np.float32))
    w.op("CONV_2D", [x, kernel, w.constant("b", np.ones(3, np.float32))], [y], options("Conv2D", strideH=1, strideW=1))
    w.io([x], [y])
    change(w)
    return w.bytes()


def setter(path, value):
    """Make a change: `operators.0.inputs` = value, from the first subgraph on."""

    def change(w):
        target = w if path.startswith(("buffers", "codes")) else w.graphs[0]
        *way, last = path.split(".")
        for step in way:
            target = target[int(step)] if step.isdigit() else getattr(target, step)
        setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (setter("operators.0.opcodeIndex", 9), "operator 0 has code 9 of 1"),
        (setter("operators.0.inputs", [0, 2, 99]), "an input of CONV_2D is tensor 99 of 4"),
        (setter("operators.0.inputs", [1, 2, 3]), "is read before it is made"),
        (setter("operators.0.inputs", [0]), "has no input 1"),
        (setter("operators.0.outputs", [-7]), "an output of CONV_2D is tensor -7"),
        (setter("operators.0.outputs", []), "'y' is read before it is made"),
        (setter("operators.0.outputs", [0, 1]), "tensor 'x' is made twice"),
        (setter("operators.0.builtinOptions.strideH", 0), "has stride \\(0, 1\\)"),
        (setter("operators.0.builtinOptions.dilationWFactor", -3), "has dilation \\(1, -3\\)"),
        (setter("operators.0.builtinOptions.padding", 77), "has padding 77"),
        (setter("operators.0.builtinOptions.fusedActivationFunction", 4), "fused activation tanh"),
        (setter("tensors.2.shape", [3, 3, 3, 5]), "216 bytes for float32 \\[3, 3, 3, 5\\], which needs 540"),
        (setter("tensors.2.shape", [3, 3, 3, 1]), "216 bytes for float32 \\[3, 3, 3, 1\\], which needs 108"),
        (setter("buffers.1.offset", 999999), "bytes 999999 to 999999 of a file of"),
        (setter("tensors.2.buffer", 50), "its values are in buffer 50 of 3"),
        (setter("tensors.0.shape", [1, 4, 4, 7]), "weights \\[3, 3, 3, 2\\] for 7 channels"),
        (setter("tensors.0.shape", [1, 2]), "has an operand of 2 dimensions, needs 4"),
        (setter("tensors.0.type", 99), "element type 99"),
        (setter("tensors.0.shape", [1 << 30, 1 << 30]), "shape \\[1073741824, 1073741824\\]"),
        (setter("tensors.0.shape", [1] * 40), "shape \\[1, 1"),
        (setter("inputs", [77]), "an input of the graph is tensor 77"),
        (setter("inputs", [2]), "input 'w' has values of its own"),
        (setter("outputs", []), "no graph with an output"),
    ],
)
def test_contradictions(change, text):
    with pytest.raises(OnchipError, match=text) as caught:
        read_bytes(changed(change))
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path):
    with pytest.raises(BadFile, match="OC1250 it cannot be read: No such file"):
        read(tmp_path / "absent.tflite")
    with pytest.raises(BadFile, match="OC1250"):
        (tmp_path / "folder.tflite").mkdir()
        read(tmp_path / "folder.tflite")
    file = tmp_path / "some.tflite"
    file.write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(BadFile, match="OC1260 its 16 bytes do not start as a TFLite model"):
        read(file)
    file.write_bytes(small())
    assert read(file).name == "some"


def test_offsets_that_repeat_and_point_anywhere():
    """A root at itself, at the end, a vector longer than the file, and tables that share one huge vector."""
    data = bytearray(small())
    for root in (0, 2, len(data) - 1, len(data), 0xFFFFFFFF):
        broken = bytearray(data)
        struct.pack_into("<I", broken, 0, root)
        with pytest.raises(OnchipError):
            read_bytes(bytes(broken))
    w = Writer()
    numbers = w.constant("numbers", np.ones(4, np.float32))
    w.io([], [numbers])
    w.graphs[0].tensors *= 2000  # one description, packed 2,000 times
    assert read_bytes(w.bytes()).outputs == ("numbers.output",)


def test_the_reader_counts():
    """A vector is not longer than the file, and all reads together are bounded."""
    source = Source(struct.pack("<IIII", 16, 0, 0, 0), "net.tflite")
    with pytest.raises(BadFile, match="OC1260 a vector of 16 elements at byte 0 of 16"):
        source.span(0, 4)
    with pytest.raises(BadFile, match="an offset points to byte 16 of 16"):
        source.integer("I", 16)
    with pytest.raises(BadFile, match="points to itself"):
        source.follow(4)
    with pytest.raises(BadFile, match="OC1260 its tables repeat one another without end"):
        source.spend(1 << 40)


def test_values_behind_the_flatbuffer():
    """Large files keep the bytes of buffers after the tables."""
    values = np.arange(6, dtype=np.float32)
    data = b""
    for offset in (1 << 40, 0):
        w = Writer()
        w.io([], [w.constant("numbers", values)])
        w.buffers[1].data, w.buffers[1].offset, w.buffers[1].size = None, offset or len(data), values.nbytes
        data = w.bytes()
    constant = read_bytes(data + values.tobytes()).tensor("numbers").constant
    assert constant is not None
    np.testing.assert_array_equal(constant.data, values)


def test_a_tail_that_is_cut_off_anywhere():
    data = small()
    for size in range(0, len(data), max(1, len(data) // 150)):
        refused(data[:size])


def refused(data):
    """Read what may be broken: a Graph or an OnchipError on one line, in time."""
    start = time.perf_counter()
    try:
        read_bytes(data)
    except OnchipError as error:
        assert "\n" not in str(error)
    assert time.perf_counter() - start < SECONDS


def mutated(data, rng):
    """Change a file: flip bits, write numbers that offsets and lengths do not expect, cut, or copy a piece over."""
    broken = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        at = int(rng.integers(0, len(broken) - 8))
        kind = rng.choice([0, 0, 0, 0, 1, 2, 3])
        if kind == 0:
            broken[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            number = int(rng.choice([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(broken), 0x10000]))
            struct.pack_into("<I", broken, at & ~3, number)
        elif kind == 2:
            size = int(rng.integers(1, 64))
            source = int(rng.integers(0, len(broken) - 64))
            broken[at : at + size] = broken[source : source + size]
        else:
            struct.pack_into("<H", broken, at & ~1, int(rng.integers(0, 65536)))
    if rng.random() < 0.1:
        del broken[int(rng.integers(8, len(broken))) :]
    return bytes(broken)


def fuzz(n, seed):
    """Mutate three networks; what is left intact is a Graph, everything else an OnchipError."""
    rng = np.random.default_rng(seed)
    seeds = [small(), variables().bytes(), changed(lambda w: None)]
    for i in range(n):
        refused(mutated(seeds[i % len(seeds)], rng))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak < BYTES, f"{peak} bytes"


def test_mutated_files():
    fuzz(200, 1)


@pytest.mark.slow
def test_many_mutated_files():
    fuzz(2000, 2)
