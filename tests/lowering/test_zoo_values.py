"""Small forms of zoo networks, compiled for edge-npu-16: every output equals the integer reference."""

from __future__ import annotations

import numpy as np
import pytest

import onchip as oc
from onchip.zoo.catalog import build

IMAGES = {"mobilenet_v3_small": 64, "mobilenet_v2": 32, "resnet18": 32, "squeezenet_1_1": 64}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    size = IMAGES[name]
    graph = build(name, batch=1, weights="random", image_size=size)
    check(graph, {"input": np.random.default_rng(0).random((1, size, size, 3), np.float32)})


def test_bert() -> None:
    random = np.random.default_rng(0)
    graph = build("bert-base", layers=1, vocabulary=64, seq=16, weights="random", batch=1)
    check(graph, {"input_ids": random.integers(0, 64, (1, 16)), "token_type_ids": random.integers(0, 2, (1, 16))})


def check(graph: oc.Graph, sample: dict[str, np.ndarray]) -> None:
    seen: dict[str, oc.Graph] = {}
    program = oc.compile(graph, "edge-npu-16", samples=[sample], watch=seen.__setitem__)
    trace, exact = oc.simulate(program, sample), oc.evaluate(seen["graph"], sample)
    for name in graph.outputs:
        np.testing.assert_array_equal(trace.outputs[name], exact[name])
