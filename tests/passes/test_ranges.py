"""Ranges for 8 bits: percentiles beside NumPy's, least squared error beside brute force and torchao's observer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.quantize import quantize
from onchip.passes.ranges import Range, Spread, least_error

Array = NDArray[Any]
seeds = st.integers(0, 2**20)


def draw(seed: int, kind: str, size: int = 4000) -> Array:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(size).astype(np.float32)
    match kind:
        case "relu":
            return np.maximum(values, 0)
        case "outliers":
            values[:4] *= np.float32(rng.uniform(5, 200))
            return values
        case "heavy":
            return (np.sign(values) * np.abs(values) ** 3).astype(np.float32)
        case "shifted":
            return values + np.float32(2.5)
        case _:
            return values


KINDS = ("normal", "relu", "outliers", "heavy", "shifted")


def squared_error(values: Array, low: float, high: float, *, is_symmetric: bool = False) -> float:
    """Round every value to the int8 grid of a range, one by one: the formula of Jacob 2018, section 3."""
    scale = high / 127 if is_symmetric else (high - low) / 255
    zero = 0 if is_symmetric else min(127, max(-128, round(-128 - low / scale)))
    steps = np.clip(np.rint(values.astype(np.float64) / scale) + zero, -128, 127)
    return float((((steps - zero) * scale - values) ** 2).sum())


def brute_force(values: Array, *, is_symmetric: bool = False) -> float:
    """Give the least error over 60 x 60 linear and as many geometric shares of the range."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    shares = np.unique(np.concatenate([np.linspace(1 / 60, 1, 60), np.geomspace(1e-3, 1, 60)]))
    if is_symmetric:
        bound = max(-low, high)
        return min(squared_error(values, -bound * s, bound * s, is_symmetric=True) for s in shares)
    ups = shares if high > 0 else np.ones(1)
    downs = shares[::2] if low < 0 else np.ones(1)
    return min(squared_error(values, low * a, high * b) for a in downs for b in ups)


def joined(values: Array, parts: int) -> Spread:
    pieces = np.array_split(values, parts)
    spread = Spread.of(pieces[0])
    for piece in pieces[1:]:
        spread = spread.joined(Spread.of(piece))
    return spread


@given(seeds, st.sampled_from(KINDS), st.integers(1, 5), st.sampled_from([90.0, 99.0, 99.9, 100.0]))
@settings(max_examples=40)
def test_percentiles_are_those_of_numpy(seed: int, kind: str, parts: int, share: float) -> None:
    values = draw(seed, kind)
    low, high = joined(values, parts).percentile(share)
    expected = [np.percentile(values, 100 - share, method="higher"), np.percentile(values, share, method="lower")]
    near = [np.percentile(values, 100 - share, method="lower"), np.percentile(values, share, method="higher")]
    for ours, inner, outer, cut in zip((low, high), expected, near, (np.minimum, np.maximum), strict=True):
        ends = sorted((float(cut(inner, 0)), float(cut(outer, 0))))
        slack = 2.0**-11 * max(map(abs, ends))  # bins of 11 bits
        assert ends[0] - slack <= ours <= ends[1] + slack


def test_extremes_are_exact() -> None:
    values = np.array([-1.2345678, 0.1, 7.654321], np.float32)
    assert Spread.of(values).percentile(100.0) == (float(values[0]), float(values[2]))


@given(seeds, st.sampled_from(KINDS), st.booleans(), st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_least_error_is_that_of_brute_force(seed: int, kind: str, is_symmetric: bool, parts: int) -> None:
    values = draw(seed, kind, 800)
    low, high = least_error(joined(values, parts), is_symmetric=is_symmetric)
    ours = squared_error(values, low, high, is_symmetric=is_symmetric)
    assert ours <= brute_force(values, is_symmetric=is_symmetric) * 1.05
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    bound = max(-low, high)
    whole: Range = (-bound, bound) if is_symmetric else (low, high)
    assert ours <= squared_error(values, *whole, is_symmetric=is_symmetric) * 1.001


@pytest.mark.parametrize("kind", KINDS)
def test_least_error_is_no_worse_than_the_histogram_observer_of_torch(kind: str) -> None:
    """torchao's HistogramObserver searches the range of least squared error by its own method (2,048 bins)."""
    from torchao.quantization.pt2e.observer import HistogramObserver

    values = draw(3, kind, 20_000)
    observer = HistogramObserver(dtype=torch.int8, quant_min=-128, quant_max=127)
    observer(torch.tensor(values))
    scale, zero = (float(t) for t in observer.calculate_qparams())
    theirs = squared_error(values, (-128 - zero) * scale, (127 - zero) * scale)
    assert squared_error(values, *least_error(Spread.of(values))) <= theirs * 1.01


def relu_behind(values: Array) -> Graph:
    b = GraphBuilder("g")
    b.output(str(b.node("gelu", (b.input("x", values.shape),), name="y")))
    return b.finish()


def test_each_method_chooses_the_scale_that_it_says() -> None:
    """The scale of the input: of the whole range, of NumPy's percentiles, and of the least error."""
    values = draw(1, "outliers").reshape(10, 400)
    graph, scales = relu_behind(values), dict[str, float]()
    for method, share in (("minmax", None), ("percentile", 99.0), ("mse", None)):
        q = quantize(graph, [{"x": values}], method=method, percentile=share).tensor("x.int8").quantization
        assert q is not None
        scales[method] = q.scale[0]
    assert scales["minmax"] == np.float32((float(values.max()) - float(values.min())) / 255)
    cut = [np.percentile(values, p) for p in (1.0, 99.0)]
    assert scales["percentile"] == pytest.approx((cut[1] - cut[0]) / 255, rel=0.02)
    assert scales["percentile"] < scales["minmax"]
    errors = {}
    for method, scale in scales.items():
        q = quantize(graph, [{"x": values}], method=method, percentile=99.0 if method == "percentile" else None)
        seen: dict[str, Array] = {}
        evaluate(q, {"x": values}, watch=seen.__setitem__)
        params = q.tensor("x.int8").quantization
        assert params is not None
        back = (seen["x.int8"].astype(np.float64) - params.zero_point[0]) * scale
        errors[method] = float(((back - values) ** 2).sum())
    assert errors["mse"] <= min(errors.values()) * 1.001 and errors["mse"] < errors["minmax"] * 0.99


def test_one_scale_for_all_channels() -> None:
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((3, 8)) * np.array([[1.0], [10.0], [0.1]])).astype(np.float32)
    b = GraphBuilder("g")
    b.output(str(b.node("linear", (b.input("x", (4, 8)), b.constant("w", w), ""), name="y")))
    graph, x = b.finish(), rng.standard_normal((4, 8)).astype(np.float32)
    per_tensor, per_channel = (quantize(graph, [{"x": x}], per_channel=p).tensor("w") for p in (False, True))
    assert per_tensor.quantization is not None and per_channel.quantization is not None
    assert set(per_tensor.quantization.scale) == {max(per_channel.quantization.scale)}
    assert per_tensor.quantization.scale[0] == pytest.approx(np.abs(w).max() / 127)
    assert per_tensor.constant is not None and per_tensor.constant.data is not None
    np.testing.assert_array_equal(per_tensor.constant.data, np.rint(w / per_tensor.quantization.scale[0]))


def test_a_node_that_stays_float_computes_in_floats() -> None:
    """Its output is the float op on the dequantized int8 before it; what follows is int8 again."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((8, 8)).astype(np.float32)
    b = GraphBuilder("g")
    x = b.input("x", (4, 8))
    table = b.constant("w", w)
    for name in ("a", "b", "c"):
        x = str(b.node("linear", (x, table, ""), name=name))
    b.output(x)
    graph, sample = b.finish(), rng.standard_normal((4, 8)).astype(np.float32)
    q = quantize(graph, [{"x": sample}], keep_float=["b"])
    assert [n.op for n in q.nodes] == [
        "quantize", "linear", "dequantize", "linear", "quantize", "linear", "dequantize",
    ]  # fmt: skip
    seen: dict[str, Array] = {}
    evaluate(q, {"x": sample}, watch=seen.__setitem__)
    assert seen["a"].dtype == np.int8 and seen["b"].dtype == np.float32 and seen["c.int8"].dtype == np.int8
    np.testing.assert_allclose(seen["b"], seen["a.float"] @ w.T, rtol=1e-5, atol=1e-5)
    everything = quantize(graph, [{"x": sample}], keep_float=["a", "b", "c"])
    assert everything.nodes == graph.nodes
