"""Post-training quantization: its int8 graph stays near the float graph, and has the structure that it promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip.errors import NotSupported, UnknownName, UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.quantize import quantize
from onchip.passes.quantize_rules import activation_parameters

Array = NDArray[Any]


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def build(make: Callable[[GraphBuilder, str], str], shape: tuple[int, ...] = (2, 6, 6, 4)) -> Graph:
    """Build the graph of one function of the input x."""
    b = GraphBuilder("g")
    b.output(make(b, b.input("x", shape)))
    return b.finish()


def conv(b: GraphBuilder, x: str, name: str, w: Array, bias: Array | None = None, **attributes: Any) -> str:
    inputs = (x, b.constant(f"{name}.w", w), b.constant(f"{name}.b", bias) if bias is not None else "")
    return str(b.node("conv2d", inputs, name=name, **attributes))


def linear(b: GraphBuilder, x: str, name: str, w: Array, bias: Array | None = None, **attributes: Any) -> str:
    inputs = (x, b.constant(f"{name}.w", w), b.constant(f"{name}.b", bias) if bias is not None else "")
    return str(b.node("linear", inputs, name=name, **attributes))


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


def errors_in_steps(graph: Graph, sample: Array) -> float:
    """Give the largest difference between the float and the int8 graph, in steps of the output's scale."""
    quantized = quantize(graph, [{"x": sample}])
    y, q = evaluate(graph, {"x": sample}), evaluate(quantized, {"x": sample})
    worst = 0.0
    for name in graph.outputs:
        node = quantized.producer(name)
        assert node is not None and node.op == "dequantize"
        params = quantized.tensor(node.inputs[0]).quantization
        assert params is not None
        worst = max(worst, float(np.abs(y[name] - q[name]).max()) / params.scale[0])
    return worst


# --- parameters -------------------------------------------------------------------------------------------------------


@given(st.floats(-1e4, 0.0, width=32), st.floats(0.0, 1e4, width=32))
def test_activation_parameters_hold_the_range_and_an_exact_zero(low: float, high: float) -> None:
    q = activation_parameters(low, high)
    scale, zero = q.scale[0], q.zero_point[0]
    assert -128 <= zero <= 127
    for value in (low, 0.0, high):
        integer = min(127, max(-128, round(value / scale) + zero))
        assert abs((integer - zero) * scale - value) <= scale * 1.001
    assert (zero - zero) * scale == 0.0


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_weights_are_symmetric_per_channel_and_within_half_a_step(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    w = normal(rng, k, 3, 3, 4) * np.exp(rng.uniform(-4, 4, (k, 1, 1, 1))).astype(np.float32)
    graph = quantize(build(lambda b, x: conv(b, x, "conv", w)), [{"x": normal(rng, 2, 6, 6, 4)}])
    tensor = graph.tensor(graph.node("conv").inputs[1])
    assert tensor.quantization is not None and tensor.constant is not None and tensor.constant.data is not None
    assert tensor.quantization.axis == 0 and set(tensor.quantization.zero_point) == {0}
    q, scale = tensor.constant.data, np.array(tensor.quantization.scale).reshape(-1, 1, 1, 1)
    assert q.dtype == np.int8 and q.min() >= -127
    assert np.all(np.abs(q).reshape(k, -1).max(axis=1) == 127)
    assert np.all(np.abs(q * scale - w) <= scale * 0.5001)


@given(st.integers(0, 2**16))
def test_bias_is_int32_at_the_product_of_the_scales(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, bias = normal(rng, 5, 4), normal(rng, 5, scale=3.0)
    graph = quantize(build(lambda b, x: linear(b, x, "fc", w, bias), (3, 4)), [{"x": normal(rng, 3, 4)}])
    x, w8, b32 = (graph.tensor(name) for name in graph.node("fc").inputs)
    assert x.quantization and w8.quantization and b32.quantization and b32.constant
    assert b32.dtype == "i32" and b32.constant.data is not None
    expected = np.array(w8.quantization.scale) * x.quantization.scale[0]
    np.testing.assert_allclose(b32.quantization.scale, expected, rtol=1e-12)
    np.testing.assert_allclose(b32.constant.data * expected, bias, atol=float(expected.max()))


def test_dead_channel_with_a_bias_does_not_overflow() -> None:
    """A channel of zero or vanishing weights still gives its bias."""
    rng = np.random.default_rng(0)
    w = normal(rng, 4, 6)
    w[1], w[2] = 0.0, 1e-12
    bias = np.array([0.1, 2.0, -3.0, 0.0], np.float32)
    graph, x = build(lambda b, x: linear(b, x, "fc", w, bias), (8, 6)), normal(rng, 8, 6)
    y = evaluate(quantize(graph, [{"x": x}]), {"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(y[:, 1], 2.0, atol=0.05)
    np.testing.assert_allclose(y[:, 2], -3.0, atol=0.05)


# --- near the float graph ---------------------------------------------------------------------------------------------


SINGLE: dict[str, tuple[Callable[[GraphBuilder, str], str], float]] = {  # with its largest slope
    "relu": (lambda b, x: str(b.node("relu", (x,), name="y")), 1.0),
    "relu6": (lambda b, x: str(b.node("relu6", (x,), name="y")), 1.0),
    "clip": (lambda b, x: str(b.node("clip", (x,), name="y", low=-1.5, high=2.0)), 1.0),
    "gelu": (lambda b, x: str(b.node("gelu", (x,), name="y")), 1.13),
    "silu": (lambda b, x: str(b.node("silu", (x,), name="y")), 1.1),
    "sigmoid": (lambda b, x: str(b.node("sigmoid", (x,), name="y")), 0.25),
    "tanh": (lambda b, x: str(b.node("tanh", (x,), name="y")), 1.0),
    "softmax": (lambda b, x: str(b.node("softmax", (x,), name="y")), 0.5),
    "max_pool2d": (lambda b, x: str(b.node("max_pool2d", (x,), name="y", kernel=(2, 2), stride=(2, 2))), 1.0),
    "avg_pool2d": (lambda b, x: str(b.node("avg_pool2d", (x,), name="y", kernel=(2, 2), stride=(2, 2))), 1.0),
    "global_avg_pool": (lambda b, x: str(b.node("global_avg_pool", (x,), name="y")), 1.0),
    "mean": (lambda b, x: str(b.node("mean", (x,), name="y", axes=(1,))), 1.0),
    "reshape": (lambda b, x: str(b.node("reshape", (x,), name="y", shape=(2, -1))), 1.0),
    "slice": (lambda b, x: str(b.node("slice", (x,), name="y", axis=1, start=1, stop=4)), 1.0),
    "double": (lambda b, x: str(b.node("add", (x, x), name="y")), 2.0),
    "half": (lambda b, x: str(b.node("mul", (x, b.constant("c", np.array([0.5], np.float32))), name="y")), 0.5),
    "shifted": (lambda b, x: str(b.node("sub", (x, b.constant("c", np.array([0.5], np.float32))), name="y")), 1.0),
}


@pytest.mark.parametrize("name", SINGLE)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([0.01, 1.0, 30.0]))
def test_one_op_adds_no_more_than_its_rounding(name: str, seed: int, scale: float) -> None:
    """Off by a step of the input (times the slope) and a step of the output at most; the softest edge adds 0.1."""
    make, slope = SINGLE[name]
    graph, x = build(make), normal(np.random.default_rng(seed), 2, 6, 6, 4, scale=scale)
    q = quantize(graph, [{"x": x}])
    given_, made = q.tensor("x.int8").quantization, q.tensor("y.int8").quantization
    assert given_ is not None and made is not None
    bound = slope * given_.scale[0] / made.scale[0] + 1.11
    assert errors_in_steps(graph, x) <= bound


@settings(max_examples=40)
@given(st.integers(0, 2**20), st.lists(st.sampled_from("crdamgnpth"), min_size=1, max_size=5))
def test_random_graphs_stay_near_their_float(seed: int, steps: list[str]) -> None:
    """Chains of STEPS: an error of 8-bit noise, not of a bug.

    Noise is bounded by the ratio of its power to the signal's: 20 dB is what 6 roundings to 8 bit always leave here.
    """
    rng = np.random.default_rng(seed)
    b = GraphBuilder("random")
    y = x = b.input("x", (2, 4, 4, 8))
    for i, step in enumerate(steps):
        y = STEPS[step](b, y, f"n{i}", rng)
    b.output(linear(b, y, "last", normal(rng, 5, 8, scale=0.4), normal(rng, 5)))
    graph, sample = b.finish(), normal(rng, 2, 4, 4, 8)
    assert x in graph.inputs
    quantized = quantize(graph, [{"x": sample}])
    real, ours = (evaluate(g, {"x": sample})["last"] for g in (graph, quantized))
    noise = float(np.mean((real - ours) ** 2) / max(np.mean(real**2), 1e-12))
    assert noise < 0.01
    assert quantized.macs() == graph.macs()
    assert not any(
        t.dtype == "f32"
        for n in quantized.nodes
        if n.op in ("conv2d", "linear", "add")
        for t in outputs(quantized, n.outputs)
    )


def outputs(graph: Graph, names: tuple[str, ...]) -> list[Any]:
    return [graph.tensor(name) for name in names]


def halves(b: GraphBuilder, x: str, name: str, rng: np.random.Generator) -> str:
    """Two branches of different range, concatenated."""
    left = linear(b, x, f"{name}.l", normal(rng, 4, 8, scale=0.4))
    right = str(b.node("sigmoid", (linear(b, x, f"{name}.r", normal(rng, 4, 8, scale=0.4)),), name=f"{name}.s"))
    return str(b.node("concat", (left, right), name=name, axis=3))


Step = Callable[[GraphBuilder, str, str, np.random.Generator], str]
STEPS: dict[str, Step] = {
    "c": lambda b, x, n, r: conv(
        b, x, n, normal(r, 8, 3, 3, 8, scale=0.15), normal(r, 8, scale=0.2), padding=(1, 1, 1, 1), activation="relu"
    ),
    "r": lambda b, x, n, _: str(b.node("relu", (x,), name=n)),
    "d": lambda b, x, n, r: conv(b, x, n, normal(r, 8, 3, 3, 1, scale=0.4), None, padding=(1, 1, 1, 1), groups=8),
    "a": lambda b, x, n, r: str(b.node("add", (x, b.constant(f"{n}.p", normal(r, 1, 1, 1, 8))), name=n)),
    "m": lambda b, x, n, r: linear(b, x, n, normal(r, 8, 8, scale=0.4), normal(r, 8, scale=0.3)),
    "g": lambda b, x, n, _: str(b.node("gelu", (x,), name=n)),
    "n": lambda b, x, n, r: str(
        b.node(
            "layer_norm",
            (x, b.constant(f"{n}.g", 1 + normal(r, 8, scale=0.2)), b.constant(f"{n}.b", normal(r, 8, scale=0.2))),
            name=n,
        )
    ),
    "p": lambda b, x, n, _: str(b.node("max_pool2d", (x,), name=n, kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1))),
    "t": lambda b, x, n, _: str(b.node("tanh", (x,), name=n)),
    "h": halves,
}


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.sampled_from([(1, 1), (4, 4), (4, 2)]), st.booleans())
def test_attention_stays_near_its_float(seed: int, heads: tuple[int, int], is_causal: bool) -> None:
    rng = np.random.default_rng(seed)
    h, g = heads
    b = GraphBuilder("attention")
    x = b.input("x", (2, 6, 16))
    q, k, v = (linear(b, x, n, normal(rng, 8 * m, 16, scale=0.3)) for n, m in (("q", h), ("k", g), ("v", g)))
    b.output(str(b.node("attention", (q, k, v), name="y", heads=h, kv_heads=g, scale=8**-0.5, causal=is_causal)))
    assert errors_in_steps(b.finish(), normal(rng, 2, 6, 16)) <= 8


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.integers(1, 12))
def test_lstm_stays_near_its_float(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    b = GraphBuilder("lstm")
    x = b.input("x", (3, steps, 5))
    given_ = [
        b.constant(n, normal(rng, *s, scale=0.5))
        for n, s in (("wi", (32, 5)), ("wh", (32, 8)), ("bi", (32,)), ("bh", (32,)))
    ]
    y, h, _ = b.node("lstm", (x, *given_), name="lstm", hidden=8)
    b.output(y)
    b.output(h)
    assert errors_in_steps(b.finish(), normal(rng, 3, steps, 5)) <= 8


# --- structure --------------------------------------------------------------------------------------------------------


def test_edges_and_names() -> None:
    rng = np.random.default_rng(0)
    graph = build(lambda b, x: conv(b, x, "conv", normal(rng, 4, 1, 1, 4)))
    q = quantize(graph, [{"x": normal(rng, 2, 6, 6, 4)}])
    assert ops(q) == ["quantize", "conv2d", "dequantize"]
    assert q.inputs == graph.inputs and q.outputs == graph.outputs
    assert q.tensor("x").dtype == "f32" and q.tensor(q.outputs[0]).dtype == "f32"
    assert q.node("conv").attribute("rounding", "") == "single"
    assert quantize(graph, None, rounding="double").node("conv").attribute("rounding", "") == "double"


def test_transposes_at_the_edges_stay_on_the_host() -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder("g")
    x = b.node("transpose", (b.input("x", (1, 4, 6, 6)),), name="in", perm=(0, 2, 3, 1))
    y = conv(b, str(x), "conv", normal(rng, 3, 1, 1, 4))
    b.output(str(b.node("transpose", (y,), name="out", perm=(0, 3, 1, 2))))
    graph = b.finish()
    q = quantize(graph, [{"x": normal(rng, 1, 4, 6, 6)}])
    assert ops(q) == ["transpose", "quantize", "conv2d", "dequantize", "transpose"]
    assert q.tensor("in").dtype == q.tensor("out").dtype == "f32"


def test_copying_ops_share_parameters_and_concat_is_fed_directly() -> None:
    """A convolution that only feeds the concat writes in its parameters; a shared one is requantized."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("g")
    x = b.input("x", (1, 6, 6, 4))
    one = conv(b, x, "one", normal(rng, 4, 1, 1, 4))
    two = conv(b, x, "two", normal(rng, 4, 1, 1, 4, scale=0.1))
    pool = str(b.node("max_pool2d", (two,), name="pool", kernel=(1, 1), stride=(1, 1)))
    joined = str(b.node("concat", (one, two), name="joined", axis=3))
    b.output(joined)
    b.output(pool)
    q = quantize(b.finish(), [{"x": normal(rng, 1, 6, 6, 4)}])
    assert ops(q).count("requantize") == 1
    params = {t.name: t.quantization for t in q.tensors}
    node = q.node("joined")
    assert params["one"] == params[node.inputs[0]] == params[node.outputs[0]] == params[node.inputs[1]]
    assert params["two"] == params[q.node("pool").outputs[0]] != params["one"]


def test_fixed_parameters_of_bounded_functions() -> None:
    for op, scale, zero in (("softmax", 1 / 256, -128), ("sigmoid", 1 / 256, -128), ("tanh", 1 / 128, 0)):
        q = quantize(build(lambda b, x, op=op: str(b.node(op, (x,), name="y"))), None)
        params = q.tensor(q.node("y").outputs[0]).quantization
        assert params is not None and params.scale == (scale,) and params.zero_point == (zero,)


def test_token_ids_and_masks_stay() -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder("g")
    ids = b.input("ids", (2, 5), "i64")
    mask = b.input("mask", (2, 1, 1, 5), "bool")
    x = str(b.node("gather", (b.constant("table", normal(rng, 11, 8)), ids), name="embed"))
    x = str(b.node("add", (x, b.constant("position", normal(rng, 1, 5, 8, scale=0.1))), name="sum"))
    b.output(str(b.node("attention", (x, x, x, mask), name="y", heads=2, scale=0.5)))
    graph = b.finish()
    sample = {
        "ids": rng.integers(0, 11, (2, 5)),
        "mask": np.array([[True] * 5, [True] * 3 + [False] * 2])[:, None, None],
    }
    q = quantize(graph, [sample])
    assert ops(q) == ["gather", "add", "attention", "dequantize"]
    assert q.tensor("ids").dtype == "i64" and q.tensor("mask").dtype == "bool"
    real, ours = evaluate(graph, sample)["y"], evaluate(q, sample)["y"]
    assert np.abs(real - ours).max() < 0.08 * np.abs(real).max()


def test_without_samples_and_weights_the_structure_is_the_same() -> None:
    b = GraphBuilder("g")
    w = b.constant("w", (8, 3, 3, 4))
    x = b.node("conv2d", (b.input("x", ("batch", 6, 6, 4)), w, b.constant("b", (8,))), name="conv", activation="relu")
    b.output(str(b.node("softmax", (str(x),), name="y")))
    graph = b.finish()
    q = quantize(graph, None)
    assert ops(q) == ["quantize", "conv2d", "softmax", "dequantize"]
    weights = q.tensor(q.node("conv").inputs[1])
    assert weights.dtype == "i8" and weights.constant is not None and weights.constant.data is None
    assert q.parameters() == graph.parameters()
    assert q.tensor("conv").shape == ("batch", 4, 4, 8)


def test_no_float_is_left_inside() -> None:
    rng = np.random.default_rng(3)
    graph = build(
        lambda b, x: linear(b, conv(b, x, "c", normal(rng, 4, 3, 3, 4), normal(rng, 4)), "fc", normal(rng, 3, 4))
    )
    q = quantize(graph, [{"x": normal(rng, 2, 6, 6, 4)}])
    edge = {*q.inputs, *q.outputs}
    assert all(t.dtype in ("i8", "i32") for t in q.tensors if t.name not in edge)


def test_percentile_cuts_outliers() -> None:
    rng = np.random.default_rng(0)
    x = normal(rng, 4, 6, 6, 4)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1000.0, -1000.0  # on both sides
    graph = build(lambda b, x: str(b.node("gelu", (x,), name="y")), (4, 6, 6, 4))
    made = (quantize(graph, [{"x": x}]), quantize(graph, [{"x": x}], method="percentile", percentile=99.0))
    wide, cut = (q.tensor("x.int8").quantization for q in made)
    assert wide is not None and cut is not None and cut.scale[0] < wide.scale[0] / 50


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    graph = build(lambda b, x: str(b.node("div", (x, x), name="ratio")))
    with pytest.raises(NotSupported, match=r"g: ratio: OC1380 op 'div' has no int8 arithmetic"):
        quantize(graph, None)
    plain = build(lambda b, x: str(b.node("relu", (x,), name="y")))
    with pytest.raises(UsageError, match="OC1411"):
        quantize(plain, [])
    with pytest.raises(UsageError, match="OC1414"):
        quantize(plain, None, rounding="up")
    with pytest.raises(UsageError, match="OC1415"):
        quantize(quantize(plain, None), None)
    with pytest.raises(UsageError, match=r"OC1413.*nan"):
        quantize(plain, [{"x": np.full((2, 6, 6, 4), np.nan, np.float32)}])
    zeros = [{"x": np.zeros((2, 6, 6, 4), np.float32)}]
    with pytest.raises(UsageError, match=r"OC1412 percentile is 30.*\(50, 100\]"):
        quantize(plain, zeros, method="percentile", percentile=30)
    with pytest.raises(UsageError, match=r"OC1412 percentile 99 has no effect on mse"):
        quantize(plain, zeros, method="mse", percentile=99)
    with pytest.raises(UsageError, match=r"OC1416 no calibration method 'mes'.*minmax, percentile, mse.*'mse'"):
        quantize(plain, zeros, method="mes")
    with pytest.raises(UnknownName, match=r"OC1232 no node 'z'"):
        quantize(plain, zeros, keep_float=["z"])
