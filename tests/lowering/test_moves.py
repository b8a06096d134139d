"""Copies of any kind, maximum and minimum: programs equal the integer reference on random small chips; floats too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.express import express
from onchip.passes.quantize import quantize
from tests.networks import small_chip
from tests.trial import RANGES, drawn_inputs, run_floats, run_trial

SHAPES = ((5, 6), (2, 3, 8), (2, 3, 4, 5), (2, 2, 3, 2, 3))


def _close(b: GraphBuilder, at: str) -> Graph:
    b.output(str(b.node("relu", (at,), "behind")))  # no edge of the graph, where the host copies
    return b.finish()


def _open(b: GraphBuilder, shape: tuple[int, ...]) -> str:
    return str(b.node("relu", (b.input("x", shape),), "before"))


def cut(rng: Random) -> Graph:
    b, shape = GraphBuilder("move"), rng.choice(SHAPES)
    axis, step = rng.randrange(len(shape)), rng.choice((-1, -1, -2, 2, 3))
    start, stop = (
        (shape[axis] - 1 - rng.randint(0, 1), -shape[axis] - 1) if step < 0 else (rng.randint(0, 1), shape[axis])
    )
    at = str(b.node("slice", (_open(b, shape),), "moved", axis=axis, start=start, stop=stop, step=step))
    return _close(b, at)


def spread(rng: Random) -> Graph:
    b, shape = GraphBuilder("move"), rng.choice(SHAPES)
    own = tuple(rng.choice((1, n, n)) for n in shape)
    if rng.random() < 0.5:
        return _close(b, str(b.node("broadcast_to", (_open(b, own),), "moved", shape=(2, *shape)[rng.randint(0, 1) :])))
    repeats = tuple(rng.choice((1, 2, 3)) for _ in own)
    return _close(b, str(b.node("tile", (_open(b, own),), "moved", repeats=repeats)))


def turned(rng: Random) -> Graph:
    b, shape = GraphBuilder("move"), rng.choice(((2, 2, 3, 2, 3), (2, 3, 2, 4, 2, 3)))
    perm = list(range(len(shape)))
    rng.shuffle(perm)
    return _close(b, str(b.node("transpose", (_open(b, shape),), "moved", perm=tuple(perm))))


def gathered(rng: Random) -> Graph:
    b, shape = GraphBuilder("move"), rng.choice(SHAPES)
    axis, own = rng.randrange(1, len(shape)), rng.choice(((3,), (2, 2), ()))
    ids = b.constant("ids", np.array(np.random.default_rng(rng.getrandbits(30)).integers(0, shape[axis], own)))
    return _close(b, str(b.node("gather", (_open(b, shape), ids), "moved", axis=axis)))


def picked(rng: Random) -> Graph:
    """Return maximum or minimum of two inputs, one of them broadcast or not, sometimes behind a product."""
    b, shape = GraphBuilder("move"), rng.choice(SHAPES[:3])
    other = rng.choice((shape, shape, (1,) * (len(shape) - 1) + shape[-1:], (*shape[:-1], 1)))
    names = [b.input("x", shape), b.input("y", other)]
    rng.shuffle(names)
    if rng.random() < 0.5:
        names[0] = str(b.node("tanh", (names[0],), "curve"))
    b.output(str(b.node(rng.choice(("maximum", "minimum")), names, "picked")))
    return b.finish()


@pytest.mark.parametrize("draw", [cut, spread, turned, gathered, picked])
def test_int8(draw: Callable[[Random], Graph]) -> None:
    counts: Counter[str] = Counter()
    for seed in range(10):
        rng = Random(seed)
        graph, chip = draw(rng), small_chip(rng)
        counts["ran"] += run_trial(graph, chip, {name: rng.choice(RANGES) for name in graph.inputs}, rng, counts)
    assert counts["ran"] >= 12 and counts["naive"] >= 10, counts


@pytest.mark.parametrize("draw", [cut, spread, turned, gathered, picked])
def test_floats(draw: Callable[[Random], Graph]) -> None:
    ran = 0
    for seed in range(6):
        rng = Random(seed)
        graph, chip = draw(rng), small_chip(rng)
        if "tanh" not in {node.op for node in graph.nodes}:
            ran += run_floats(graph, chip, dict.fromkeys(graph.inputs, (-1.0, 1.0)), rng)
    assert ran >= 2


@pytest.mark.parametrize("draw", [cut, spread, turned, gathered])
def test_what_takes_their_place_copies_the_same(draw: Callable[[Random], Graph]) -> None:
    changed = 0
    for seed in range(25):
        graph = draw(Random(seed))
        inputs = drawn_inputs(graph, {"x": (-1.0, 2.0)}, seed)
        quantized = quantize(graph, [inputs])
        other = express(quantized)
        changed += any(node.op == "gather" for node in other.nodes)
        for name, value in evaluate(quantized, inputs).items():
            np.testing.assert_array_equal(evaluate(other, inputs)[name], value, err_msg=str(graph))
    assert changed >= 15
