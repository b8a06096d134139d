"""The demo networks in int8: within half a point of their float accuracy, and near the float graph tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onchip.frontends.read import read
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.passes.quantize import quantize
from onchip.training.train import TrainedNetwork, predict

Array = NDArray[Any]
Trained = Callable[[str], TrainedNetwork]
NAMES = ("cnn", "lstm", "attention")


@pytest.fixture(scope="module")
def graphs(trained: Trained) -> Callable[[str], tuple[Graph, Graph]]:
    """Give the float graph and its int8 form; 100 training images calibrate."""

    @cache
    def make(name: str) -> tuple[Graph, Graph]:
        network = trained(name)
        graph = fold(read(network.module, network.example))
        return graph, quantize(graph, [{graph.inputs[0]: network.train_images[:100]}])

    return make


def documented(name: str) -> list[float]:
    """Read a network's percentages from the table: float, minmax, percentile, mse, QAT."""
    text = (Path(__file__).parents[2] / "docs" / "quantization.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.split("\n") if line.startswith(f"| {name} |"))
    return [float(cell.replace("%", "")) for cell in row.split("|")[2:-1] if "%" in cell]


def watched(graph: Graph, images: Array) -> dict[str, Array]:
    seen: dict[str, Array] = {}
    evaluate(graph, {graph.inputs[0]: images}, watch=seen.__setitem__)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_int8_keeps_the_accuracy(trained: Trained, graphs: Callable[[str], tuple[Graph, Graph]], name: str) -> None:
    """On the 540 held-out images, none of which took part in training or calibration; whatever the method."""
    network, (graph, quantized) = trained(name), graphs(name)
    source, target = graph.inputs[0], graph.outputs[0]
    logits = evaluate(graph, {source: network.test_images})[target]
    np.testing.assert_allclose(logits, predict(network.module, network.test_images), atol=1e-3)
    samples = [{source: network.train_images[:100]}]
    others = [quantize(graph, samples, method=method) for method in ("percentile", "mse")]
    told = documented(name)
    assert abs(network.float_accuracy * 100 - told[0]) <= 0.5
    for made, percent in zip((quantized, *others), told[1:], strict=False):
        ours = evaluate(made, {source: network.test_images})[target]
        assert network.score(ours) >= network.float_accuracy - 0.005
        assert abs(network.score(ours) * 100 - percent) <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_is_near_its_float(
    trained: Trained, graphs: Callable[[str], tuple[Graph, Graph]], name: str
) -> None:
    """Noise of each int8 tensor at least 18 dB under its signal, on held-out images."""
    (graph, quantized), images = graphs(name), trained(name).test_images[:100]
    real, ours = watched(graph, images), watched(quantized, images)
    compared = 0
    for tensor in quantized.tensors:
        float_name = tensor.name.removesuffix(".int8")
        if tensor.quantization is None or tensor.constant is not None or float_name not in real:
            continue
        q = tensor.quantization
        value = (ours[tensor.name].astype(np.float64) - q.zero_point[0]) * q.scale[0]
        noise, signal = np.mean((value - real[float_name]) ** 2), np.mean(real[float_name].astype(np.float64) ** 2)
        assert noise < signal * 10 ** (-1.8), tensor.name
        compared += 1
    assert compared >= len(quantized.nodes) - 2
