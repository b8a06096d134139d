"""int16 activations of chosen nodes: which tensors are int16, what the nodes mean in plain integers, what it gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip.errors import NotSupported, UnknownName
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Quantization
from onchip.passes.quantize import quantize
from onchip.pipeline import compile as compile_program

Array = NDArray[Any]


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def chain(rng: np.random.Generator) -> Graph:
    """A convolution, a pooling, a convolution, a sum and a linear layer."""
    b = GraphBuilder("chain")
    x = b.input("x", (2, 4, 4, 3))
    kernels = [b.constant(f"w{i}", normal(rng, 4, 3, 3, c, scale=0.3)) for i, c in enumerate((3, 4))]
    bias = b.constant("b0", normal(rng, 4))
    y = str(b.node("conv2d", (x, kernels[0], bias), name="conv0", padding=(1, 1, 1, 1), activation="relu"))
    y = str(b.node("max_pool2d", (y,), name="pool", kernel=(2, 2), stride=(2, 2)))
    z = str(b.node("conv2d", (y, kernels[1], ""), name="conv1", padding=(1, 1, 1, 1)))
    y = str(b.node("add", (y, z), name="sum"))
    y = str(b.node("reshape", (y,), name="flat", shape=(2, -1)))
    b.output(str(b.node("linear", (y, b.constant("w", normal(rng, 5, 16, scale=0.3)), ""), name="fc")))
    return b.finish()


def kinds(graph: Graph) -> dict[str, str]:
    return {n.name: graph.tensor(n.outputs[0]).dtype for n in graph.nodes}


RNG = np.random.default_rng
SAMPLE = normal(RNG(5), 2, 4, 4, 3)


@pytest.mark.parametrize(
    ("int16", "held"),
    [
        (["conv0"], {"x.quantize"}),
        (["conv1"], {"conv0", "pool"}),  # through the pooling; the sum reads it requantized
        (["sum"], {"conv0", "pool", "conv1"}),
        (["fc"], {"sum", "flat", "fc"}),  # the output of the graph too
        (["conv0", "conv1", "sum", "fc"], {"x.quantize", "conv0", "pool", "conv1", "sum", "flat", "fc"}),
        ([], set[str]()),
    ],
)
def test_what_a_chosen_node_reads_is_int16(int16: list[str], held: set[str]) -> None:
    graph = quantize(chain(RNG(0)), [{"x": SAMPLE}], int16=int16)
    made = kinds(graph)
    assert {name for name, kind in made.items() if kind == "i16"} == held
    for node in graph.nodes:
        if node.op in ("conv2d", "linear", "add"):
            reads = {graph.tensor(i).dtype for i in node.inputs if i and graph.tensor(i).constant is None}
            assert reads == ({"i16"} if node.name in int16 else {"i8"})
            assert (node.attribute("out", "same") != "same") == (reads != {made[node.name]})


def q_of(graph: Graph, name: str) -> Quantization:
    q = graph.tensor(name).quantization
    assert q is not None
    return q


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([["fc"], ["conv1"], ["conv0", "conv1", "sum", "fc"], ["sum", "fc"]]))
def test_sums_are_exact_and_rounded_once_to_what_is_written(seed: int, int16: list[str]) -> None:
    """Every linear, conv2d and add from its inputs in exact fractions; off by one only where the fraction is a half."""
    graph = quantize(chain(RNG(seed)), [{"x": SAMPLE}], int16=int16)
    seen: dict[str, Array] = {}
    evaluate(graph, {"x": SAMPLE}, watch=seen.__setitem__)
    for name in ("conv1", "sum", "fc"):
        node = graph.node(name)
        made = seen[node.outputs[0]]
        qy = q_of(graph, node.outputs[0])
        bits = 16 if graph.tensor(node.outputs[0]).dtype == "i16" else 8
        assert made.dtype == (np.int16 if bits == 16 else np.int8)
        real = float_of(graph, seen, name)
        steps = np.clip(np.rint(real / qy.scale[0]) + qy.zero_point[0], -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        difference = np.abs(made.astype(np.int64) - steps)
        # an addition rounds its operands to 2^-20 (2^-15) of the larger scale first
        assert difference.max() <= 1
        assert (difference > 0).mean() <= (0.02 if name != "sum" or bits == 8 else 0.35)


def float_of(graph: Graph, seen: dict[str, Array], name: str) -> Array:
    """Give a node's exact result in real numbers (float64 holds these sums), from its integer inputs."""
    node = graph.node(name)

    def real(tensor: str) -> Array:
        t = graph.tensor(tensor)
        raw = t.constant.data if t.constant is not None else seen[tensor]
        assert raw is not None and t.quantization is not None
        scale = np.array(t.quantization.scale).reshape(-1, *(1,) * (raw.ndim - 1)) if t.constant is not None else 0
        zero = t.quantization.zero_point[0]
        return (raw.astype(np.float64) - zero) * (scale if t.constant is not None else t.quantization.scale[0])

    a, b = real(node.inputs[0]), real(node.inputs[1])
    if node.op == "add":
        return a + b
    if node.op == "linear":
        return a @ b.T
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
    n, h, w, _ = a.shape
    windows = np.stack([[padded[:, i : i + 3, j : j + 3] for j in range(w)] for i in range(h)])
    return np.einsum("hwnrsc,krsc->nhwk", windows, b).reshape(n, h, w, len(b))


def test_int16_is_nearer_to_the_floats() -> None:
    """What 8 more bits of activations gain at the output, with weights that lie on their grid."""
    rng = RNG(3)
    b = GraphBuilder("g")
    x = b.input("x", (64, 32))
    for i in range(3):
        w = rng.integers(-127, 128, (32, 32)).astype(np.float32) / 1024
        w[:, 0] = 127 / 1024  # the scale is then 1/1024, exactly
        x = str(b.node("linear", (x, b.constant(f"w{i}", w), ""), name=f"fc{i}"))
    b.output(x)
    graph, sample = b.finish(), normal(rng, 64, 32)
    real = evaluate(graph, {"x": sample})["fc2"]
    noise = []
    for int16 in ([], ["fc1"], ["fc0", "fc1", "fc2"]):
        y = evaluate(quantize(graph, [{"x": sample}], int16=int16), {"x": sample})["fc2"]
        noise.append(float(np.mean((y - real) ** 2)))
    assert noise[0] > noise[1] > noise[2] * 100
    assert noise[2] < noise[0] / 2000  # 8 bits are 48 dB, some of it lost to the rounding of 3 layers


def test_an_operand_that_is_a_constant_is_int16_too() -> None:
    rng = RNG(4)
    b = GraphBuilder("g")
    x = b.input("x", (4, 8))
    table = b.constant("p", normal(rng, 1, 8))
    y = str(b.node("add", (x, table), name="a16"))
    b.output(str(b.node("mul", (y, table), name="m8")))
    q = quantize(b.finish(), [{"x": normal(rng, 4, 8)}], int16=["a16"])
    wide, narrow = (q.tensor(q.node(n).inputs[1]) for n in ("a16", "m8"))
    assert (wide.dtype, narrow.dtype) == ("i16", "i8") and q.node("a16").attribute("out", "") == "i8"
    assert wide.quantization is not None and wide.quantization.zero_point == (0,)


def test_refusals() -> None:
    rng = RNG(6)
    b = GraphBuilder("g")
    x = b.input("x", (2, 4096))
    y = str(b.node("linear", (x, b.constant("w", np.ones((2, 4096), np.float32)), ""), name="long"))
    b.output(str(b.node("gelu", (y,), name="act")))
    graph, sample = b.finish(), {"x": normal(rng, 2, 4096)}
    with pytest.raises(NotSupported, match=r"long: OC1386 int16 sums of up to 17\d+.*2147483647"):
        quantize(graph, [sample], int16=["long"])  # 4096 * 127 * 2^15
    with pytest.raises(NotSupported, match=r"act: OC1387 op 'gelu' does not read int16"):
        quantize(graph, [sample], int16=["act"])
    with pytest.raises(UnknownName, match=r"OC1232 no node 'lon'.*'long'"):
        quantize(graph, [sample], int16=["lon"])


def test_chips_refuse_int16_by_name() -> None:
    graph = quantize(chain(RNG(0)), [{"x": SAMPLE}], int16=["fc"])
    with pytest.raises(NotSupported, match="OC1339"):
        compile_program(graph, "edge-npu-16")
