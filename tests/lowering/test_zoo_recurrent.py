"""Recurrent networks of the zoo on chips of different arrays: programs equal the integer steps, states carried on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onchip as oc
from onchip.errors import NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.zoo.catalog import build

CHIPS = ("edge-npu-16", "tpu-v1")
SMALL = {"vocabulary": 40, "embedding": 8, "hidden": 12, "maxout": 6, "seq": 4}


def drawn(graph: Graph, seed: int, rows: int) -> dict[str, Any]:
    """Return inputs without states: numbers in [-1, 1], tokens below `rows`."""
    random, states = np.random.default_rng(seed), {given for given, _ in graph.states}
    found: dict[str, Any] = {}
    for name in graph.inputs:
        shape, is_token = tuple(int(d) for d in graph.tensor(name).shape), graph.tensor(name).dtype == "i64"
        if name not in states:
            values = random.integers(0, rows, shape) if is_token else random.uniform(-1, 1, shape).astype(np.float32)
            found[name] = values
    return found


def check_steps(graph: Graph, chip: str, *, rows: int = 2, n: int = 3) -> None:
    seen: dict[str, Graph] = {}
    samples = [drawn(graph, seed, rows) for seed in range(4)]
    runner = oc.Runner(oc.compile(graph, chip, samples=samples, dtype="int8", watch=seen.__setitem__))
    steps = [drawn(graph, 10 + seed, rows) for seed in range(n)]
    for step, want in zip(steps, oc.evaluate_steps(seen["graph"], steps), strict=True):
        for name, value in runner(step).items():
            np.testing.assert_array_equal(value, want[name])


@pytest.mark.parametrize("chip", CHIPS)
def test_seq2seq(chip: str) -> None:
    check_steps(build("seq2seq-gru", weights="random", batch=1, **SMALL), chip, rows=40)
    check_steps(build("seq2seq-gru", weights="random", batch=1, past=1, **SMALL), chip, rows=40)


@pytest.mark.parametrize("chip", CHIPS)
def test_digits_lstm(chip: str) -> None:
    check_steps(build("digits_lstm", weights="random", batch=2), chip)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", ["tpu-v1-lstm0", "tpu-v1-lstm1"])
def test_cells_of_the_tpu_paper(name: str, chip: str) -> None:
    check_steps(build(name, weights="random", batch=1), chip)


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["edge-npu-16?local.size=384KiB", "tpu-v1"])
def test_seq2seq_as_published(chip: str) -> None:
    """1,000 hidden units: weights of 5 MB a GRU are loaded anew in each step on the smaller chip."""
    check_steps(build("seq2seq-gru", weights="random", batch=1, seq=5), chip, rows=30_000, n=1)


def test_svdf_is_refused_by_name() -> None:
    b = GraphBuilder("svdf")
    x, w, t = b.input("x", (1, 3)), b.constant("w", (4, 3)), b.constant("t", (4, 2))
    made = b.node("svdf", (x, w, t), "filters", rank=2)
    b.output(made[0])
    for chip in ("edge-npu-16", "a100-sxm-80gb"):
        with pytest.raises(NotSupported, match="filters"):
            oc.estimate(b.finish(), chip)
