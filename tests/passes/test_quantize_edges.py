"""Quantization at the edges: shared tensors and weights, outputs that are read again, masks, cells, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip.errors import NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.quantize import quantize

Array = NDArray[Any]
RNG = np.random.default_rng


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def close(graph: Graph, sample: dict[str, Array], part: float = 0.03) -> Graph:
    """Quantize, and compare every output with its float; gives the quantized graph."""
    quantized = quantize(graph, [sample])
    real, ours = evaluate(graph, sample), evaluate(quantized, sample)
    assert set(real) == set(ours) == set(graph.outputs)
    for name in graph.outputs:
        assert np.abs(real[name] - ours[name]).max() <= part * np.abs(real[name]).max()
    return quantized


def test_output_that_is_read_again_and_an_input_that_is_an_output() -> None:
    rng = RNG(0)
    b = GraphBuilder("g")
    x = b.input("x", ("batch", 8))
    y = str(b.node("linear", (x, b.constant("w", normal(rng, 4, 8)), ""), name="y"))
    z = str(b.node("gelu", (y,), name="z"))
    for name in (x, y, z):
        b.output(name)
    q = close(b.finish(), {"x": normal(rng, 16, 8)})
    assert [n.op for n in q.nodes].count("dequantize") == 2  # the input needs none


def test_tied_weights_are_quantized_for_each_reader() -> None:
    """A table that embeds and classifies: per tensor for gather, per channel for linear."""
    rng = RNG(1)
    b = GraphBuilder("g")
    table = b.constant("table", normal(rng, 12, 8) * np.exp(rng.uniform(-2, 0, (12, 1))).astype(np.float32))
    x = str(b.node("gather", (table, b.input("ids", (2, 5), "i64")), name="embed"))
    b.output(str(b.node("linear", (x, table, ""), name="logits")))
    graph = b.finish()
    q = close(graph, {"ids": rng.integers(0, 12, (2, 5))})
    own = [q.tensor(q.node(n).inputs[i]).quantization for n, i in (("embed", 0), ("logits", 1))]
    assert own[0] is not None and own[1] is not None and own[0].axis is None and own[1].axis == 0


def test_two_readers_share_one_quantize() -> None:
    rng = RNG(2)
    b = GraphBuilder("g")
    x = b.input("x", (3, 8))
    parts = [str(b.node("linear", (x, b.constant(f"w{i}", normal(rng, 4, 8)), ""), name=f"y{i}")) for i in range(2)]
    b.output(str(b.node("concat", parts, name="y", axis=1)))
    q = close(b.finish(), {"x": normal(rng, 3, 8)})
    assert [n.op for n in q.nodes] == ["quantize", "linear", "linear", "concat", "dequantize"]


def test_concat_of_an_input_and_a_bounded_function_is_requantized() -> None:
    rng = RNG(3)
    b = GraphBuilder("g")
    x = b.input("x", (3, 8))
    s = str(b.node("sigmoid", (x,), name="s"))
    b.output(str(b.node("concat", (x, s, x), name="y", axis=1)))
    q = close(b.finish(), {"x": normal(rng, 3, 8, scale=3.0)})
    modes = [n.attribute("rounding", "") for n in q.nodes if n.op == "requantize"]
    assert modes == ["single"]  # x has the range of the output already


def test_constant_additive_mask_becomes_a_keep_mask() -> None:
    rng = RNG(4)
    b = GraphBuilder("g")
    x = b.input("x", (2, 5, 8))
    mask = np.where(np.tri(5, dtype=np.bool_), 0.0, -np.inf).astype(np.float32)[None, None]
    b.output(str(b.node("attention", (x, x, x, b.constant("mask", mask)), name="y", heads=2)))
    q = close(b.finish(), {"x": normal(rng, 2, 5, 8)}, 0.06)
    assert q.tensor(q.node("y").inputs[3]).dtype == "bool"


@pytest.mark.parametrize("is_input", [True, False])
def test_an_additive_mask_becomes_int8_steps_and_its_lowest_drops(is_input: bool) -> None:
    rng = RNG(5)
    b = GraphBuilder("g")
    mask = np.where(np.tri(5, dtype=np.bool_), rng.normal(0, 1, (2, 5, 5)), -1e9).astype(np.float32)[None]
    x, made = b.input("x", (2, 5, 8)), b.input("mask", mask.shape) if is_input else b.constant("mask", mask)
    b.output(str(b.node("attention", (x, x, x, made), name="y", heads=2)))
    sample = {"x": normal(rng, 2, 5, 8)} | ({"mask": mask} if is_input else {})
    q = close(b.finish(), sample, 0.1)
    tensor = q.tensor(q.node("y").inputs[3])
    assert tensor.dtype == "i8" and tensor.quantization is not None and tensor.quantization.zero_point == (0,)
    if tensor.constant is not None and tensor.constant.data is not None:
        assert ((tensor.constant.data == -128) == (mask == -1e9)).all()


def test_a_mask_of_the_run_and_causal_together_are_refused() -> None:
    b = GraphBuilder("g")
    x, mask = b.input("x", (2, 5, 8)), b.input("mask", (1, 1, 5, 5))
    b.output(str(b.node("attention", (x, x, x, mask), name="mix", heads=2, causal=True)))
    for dtype in ("int8", "bf16"):
        with pytest.raises(NotSupported, match=r"mix: OC1383 a mask of the run and causal together"):
            oc.estimate(b.finish(), "h100-sxm", dtype=dtype)


@pytest.mark.parametrize(("gain", "bits"), [(0.01, 15), (1.0, 14), (40.0, 9)])
def test_cell_gets_the_finest_power_of_two_that_holds_it(gain: float, bits: int) -> None:
    """A forget gate that stays open lets the cell grow by about one each step: 40 steps need 2^-9."""
    steps, hidden = {0.01: 4, 1.0: 2, 40.0: 40}[gain], 4
    b = GraphBuilder("g")
    x = b.input("x", (1, steps, 1))
    w = np.zeros((4 * hidden, 1), np.float32)
    bias = np.repeat(np.array([8.0, 8.0, 0.0, 8.0], np.float32), hidden)
    bias[2 * hidden : 3 * hidden] = np.arctanh(min(0.999, gain))
    cells = [b.constant("wi", w), b.constant("wh", np.zeros((4 * hidden, hidden), np.float32)), b.constant("b", bias)]
    outputs = b.node("lstm", (x, *cells), name="lstm", hidden=hidden)
    b.output(outputs[2])
    graph, sample = b.finish(), {"x": np.ones((1, steps, 1), np.float32)}
    q = quantize(graph, [sample])
    cell = q.tensor(q.node("lstm").outputs[2])
    assert cell.dtype == "i16" and cell.quantization is not None and cell.quantization.scale == (2.0**-bits,)
    real, ours = evaluate(graph, sample)[outputs[2]], evaluate(q, sample)[outputs[2]]
    np.testing.assert_allclose(ours, real, rtol=0.02, atol=0.001)


def test_cells_that_are_handed_on_share_a_scale() -> None:
    """The first LSTM's cell stays below 0.8, the second one's grows to 5: both take the scale that holds 5."""
    b, hidden = GraphBuilder("g"), 2
    x, h, c = b.input("x", (1, 5, 1)), b.input("h", (1, hidden)), b.input("c", (1, hidden))
    made: tuple[str, ...] = ("", h, c)
    for name, forget in (("first", -8.0), ("second", 8.0)):
        bias = np.repeat(np.array([8.0, forget, 1.0, 8.0], np.float32), hidden)
        shapes = {"wi": (4 * hidden, 1), "wh": (4 * hidden, hidden)}
        weights = [b.constant(f"{name}.{k}", np.zeros(s, np.float32)) for k, s in shapes.items()]
        given = (x, *weights, b.constant(f"{name}.b", bias), "", *made[1:])
        found = b.node("lstm", given, name=name, hidden=hidden)
        assert isinstance(found, tuple)
        made = found
    b.output(made[0])
    graph = b.finish()
    sample = {"x": np.ones((1, 5, 1), np.float32)} | {n: np.full((1, hidden), 0.25, np.float32) for n in "hc"}
    q = quantize(graph, [sample])
    scales = [q.tensor(q.node(n).outputs[2]).quantization for n in ("first", "second")]
    assert scales[0] == scales[1] and scales[0] is not None and scales[0].scale == (2.0**-12,)
    assert q.tensor("c.int16").quantization == scales[0]
    np.testing.assert_allclose(evaluate(q, sample)[made[0]], evaluate(graph, sample)[made[0]], atol=0.01)


def test_a_cell_that_starts_from_what_an_int8_op_made_is_refused() -> None:
    b = GraphBuilder("g")
    x, h, c = b.input("x", (1, 3, 2)), b.input("h", (1, 4)), b.input("c", (1, 4))
    given = (x, b.constant("wi", (16, 2)), b.constant("wh", (16, 4)), "", "", h, str(b.node("gelu", (c,), name="y")))
    b.output(b.node("lstm", given, name="lstm", hidden=4)[0])
    with pytest.raises(NotSupported, match="lstm: OC1384"):
        quantize(b.finish(), None)


def test_cell_state_cannot_feed_int8_ops() -> None:
    b = GraphBuilder("g")
    x = b.input("x", (1, 3, 2))
    out = b.node("lstm", (x, b.constant("wi", (16, 2)), b.constant("wh", (16, 4))), name="lstm", hidden=4)
    b.output(str(b.node("gelu", (out[2],), name="y")))
    with pytest.raises(NotSupported, match=r"lstm\.2: OC1381"):
        quantize(b.finish(), None)


def test_samples_of_other_batches_join_their_ranges() -> None:
    b = GraphBuilder("g")
    b.output(str(b.node("gelu", (b.input("x", ("batch", 2)),), name="y")))
    small, large = np.full((1, 2), -1.0, np.float32), np.full((3, 2), 3.0, np.float32)
    params = quantize(b.finish(), [{"x": small}, {"x": large}]).tensor("x.int8").quantization
    assert params is not None
    assert params.scale[0] == pytest.approx(4 / 255) and params.zero_point == (-64,)


def test_a_tensor_of_zeros_has_parameters() -> None:
    b = GraphBuilder("g")
    b.output(str(b.node("relu", (b.input("x", (2, 2)),), name="y")))
    sample = {"x": np.zeros((2, 2), np.float32)}
    assert not evaluate(quantize(b.finish(), [sample]), sample)["y"].any()
