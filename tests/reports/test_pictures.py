"""Values inside of a run: pictures against their tensors, weights against torch, decibels against quantize."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from onchip import pipeline
from onchip.chip import Chip
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.precision import sensitivity
from onchip.reports.numerics import numerics_of, numerics_part
from onchip.reports.pictures import encode, pictures_part, shrink, spread
from onchip.reports.values import Values, values_of
from onchip.zoo.catalog import build

torch.set_num_threads(1)
Run = tuple[dict[str, Any], dict[str, NDArray[Any]], Values]


def run(graph: Graph, chip: str, seed: int = 0) -> Run:
    rng = np.random.default_rng(seed)
    shapes = {name: [int(d) for d in graph.tensor(name).shape] for name in graph.inputs}
    x = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    seen: dict[str, Any] = {}
    pipeline.compile(graph, Chip.load(chip), samples=[x], watch=seen.__setitem__)
    return seen, x, values_of(seen["plan"], seen["fold"], x)


def decoded(data: str, size: list[int], low: float, high: float) -> NDArray[np.float64]:
    raw = np.frombuffer(base64.b64decode(data), np.uint8).astype(np.float64)
    return low + raw.reshape(-1, *size) * (high - low) / 255


@pytest.fixture(scope="module")
def cnn() -> Run:
    return run(build("mobilenet_v1_0.25", weights="random").bind(batch=2), "edge-npu-16")


def test_maps_are_the_tensors(cnn: Run) -> None:
    seen, x, values = cnn
    part = json.loads(json.dumps(pictures_part(values), allow_nan=False))
    assert len(part["maps"]) == 12 and part["n_maps"] == len(
        [v for v in values.layers if v.ours.ndim == 3 and v.ours.shape[0] > 1]
    )
    inside: dict[str, NDArray[Any]] = {}
    evaluate(seen["graph"], x, watch=inside.__setitem__)
    outputs = {kernel.name: kernel.output for kernel in seen["plan"].kernels}
    for found in part["maps"]:
        tensor = outputs[found["name"]]
        q = seen["graph"].tensor(tensor).quantization
        real = (inside[tensor][0].astype(float) - q.zero_point[0]) * q.scale[0]
        assert list(real.shape) == found["shape"]
        drawn = decoded(found["data"], found["size"], found["low"], found["high"])
        assert len(drawn) == len(found["channels"]) == min(16, real.shape[2])
        step = (found["high"] - found["low"]) / 255
        if found["shape"][:2] == found["size"]:
            np.testing.assert_allclose(drawn, real[:, :, found["channels"]].transpose(2, 0, 1), atol=0.51 * step)
        by_hand = real[:5, :5, found["channels"]].mean((0, 1)) if found["shape"][0] == 120 else None
        assert by_hand is None or np.abs(by_hand - drawn[:, 0, 0]).max() < step


def test_errors_are_differences_to_the_float_network(cnn: Run) -> None:
    seen, x, values = cnn
    part = pictures_part(values)
    assert part is not None
    inside: dict[str, NDArray[Any]] = {}
    evaluate(seen["fold"], x, watch=inside.__setitem__)
    last = part["maps"][-1]
    assert last["shape"][:2] == last["size"]
    layer = next(v for v in values.layers if v.name == last["name"])
    tensor = next(k.output for k in seen["plan"].kernels if k.name == last["name"])
    error = np.abs(layer.ours - inside[tensor][0])[:, :, last["channels"]].transpose(2, 0, 1)
    drawn = decoded(last["error"]["data"], last["size"], 0.0, last["error"]["high"])
    np.testing.assert_allclose(drawn, error, atol=0.51 * last["error"]["high"] / 255)
    assert error.max() > 0


def test_decibels_are_those_of_quantize() -> None:
    graph = build("digits_cnn", weights="random").bind(batch=3)
    seen, x, values = run(graph, "tiny-npu-4")
    found = sensitivity(graph, [x])
    part = numerics_part(values, "int8", samples=3)
    assert part is not None and not part["is_measured_alone"]
    by_name = {layer.name: layer for layer in found.layers}
    assert [layer["name"] for layer in part["layers"]] == [k.name for k in seen["plan"].kernels]
    alone = {k.name for k in seen["plan"].kernels if len(k.nodes) == 1}
    assert len(alone) >= 2
    for layer in part["layers"]:
        if layer["name"] in alone:  # others end behind a pooling
            assert layer["cumulative_db"] == pytest.approx(by_name[layer["name"]].cumulative_db, abs=1e-4)
    whole = numerics_of(found, {"fc1": "first"})
    assert [layer["name"] for layer in whole["layers"]] == [layer.name for layer in found.layers]
    assert {layer["layer"] for layer in whole["layers"]} >= {"first", "fc2"} and whole["network_db"] == found.sqnr_db


@pytest.mark.parametrize(("chip", "atol"), [("edge-npu-16", 0.03), ("h100-sxm", 0.01)])
@pytest.mark.parametrize("causal", [False, True])
def test_weights_are_those_of_attention(chip: str, atol: float, causal: bool) -> None:
    b = GraphBuilder("attention")
    q, k, v = (b.input(name, (2, length, 16)) for name, length in (("q", 5), ("k", 7), ("v", 7)))
    b.output(str(b.node("attention", (q, k, v), "attend", heads=4, causal=causal)))
    _, x, values = run(b.finish(), chip)
    (found,) = values.attentions
    heads = {name: torch.tensor(x[name][0]).reshape(-1, 4, 4).transpose(0, 1) for name in "qk"}
    mask = torch.ones(5, 7, dtype=torch.bool).tril(2) if causal else None
    expected = torch.nn.functional.scaled_dot_product_attention(heads["q"], heads["k"], torch.eye(7), attn_mask=mask)
    assert found.real is not None and found.name == "attend"
    np.testing.assert_allclose(found.real, expected.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.ours, expected.numpy(), atol=atol)
    assert not causal or not found.ours[:, 0, 3:].any()


def test_a_softmax_between_products_is_attention() -> None:
    b = GraphBuilder("scores")
    q, k = b.input("q", (1, 2, 6, 8)), b.input("k", (1, 2, 6, 8))
    scores = str(b.node("matmul", (q, k), "scores", transpose_b=True))
    weights = str(b.node("softmax", (scores,), "weights"))
    b.output(str(b.node("matmul", (weights, k), "mixed")))
    _, x, values = run(b.finish(), "edge-npu-16")
    (found,) = values.attentions
    expected = torch.softmax(torch.tensor(x["q"][0]) @ torch.tensor(x["k"][0]).transpose(1, 2), -1)
    assert found.real is not None
    np.testing.assert_allclose(found.real, expected.numpy(), atol=1e-5)
    part = pictures_part(values)
    assert part is not None
    (drawn,) = part["attention"]
    assert drawn["shape"] == [2, 6, 6] and drawn["heads"] == [0, 1]
    shown = decoded(drawn["data"], drawn["size"], 0.0, drawn["high"])
    np.testing.assert_allclose(shown, found.ours, atol=0.51 * drawn["high"] / 255)


def test_pixels_are_means() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, 48, 72))
    np.testing.assert_allclose(shrink(maps, 24), maps.reshape(3, 24, 2, 24, 3).mean((2, 4)))
    odd = rng.standard_normal((2, 50, 7))
    small = shrink(odd, 24)
    assert small.shape == (2, 24, 7)
    edges = np.arange(25) * 50 // 24
    np.testing.assert_allclose(small[1, 3, 5], odd[1, edges[3] : edges[4], 5].mean())
    assert shrink(odd, 64).shape == odd.shape


def test_layers_are_spread_and_flat_maps_are_zero() -> None:
    assert spread(range(100), 12)[0] == 0 and spread(range(100), 12)[-1] == 99
    assert spread([3, 1], 12) == [3, 1]
    assert base64.b64decode(encode(np.full((1, 2, 2), 7.0), 7.0, 7.0)) == b"\0\0\0\0"


def test_a_network_without_pictures_has_no_part() -> None:
    b = GraphBuilder("vector")
    b.output(str(b.node("tanh", (b.input("x", (1, 8)),), "curve")))
    _, _, values = run(b.finish(), "edge-npu-16")
    assert pictures_part(values) is None
