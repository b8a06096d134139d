"""Rotary embeddings: programs equal the integer reference on random small chips, in any mapping; floats too."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np

from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from tests.networks import small_chip
from tests.trial import RANGES, run_floats, run_trial


def drawn_rotary(rng: Random, *, constants: float = 0.5) -> Graph:
    """Return a rotary embedding: angles of one or of every image, from outside or constant, heads turned in part."""
    b = GraphBuilder("turn")
    batch, length, heads = rng.choice((1, 1, 3)), rng.choice((1, 5, 9)), rng.choice((1, 2, 3))
    half, rest = rng.choice((1, 2, 5)), rng.choice((0, 0, 1, 3))
    x = b.input("x", (batch, length, heads * (2 * half + rest)))
    shape = rng.choice(((length, half), (1, length, half), (batch, length, half)))
    if rng.random() < constants:
        angles = np.random.default_rng(rng.getrandbits(30)).uniform(-3, 3, shape).astype(np.float32)
        parts = [b.constant("cos", np.cos(angles)), b.constant("sin", np.sin(angles))]
    else:
        parts = [b.input("cos", shape), b.input("sin", shape)]
    b.output(str(b.node("rotary", (x, *parts), "turned", heads=heads, interleaved=rng.random() < 0.5)))
    return b.finish()


def test_int8_rotary() -> None:
    counts: Counter[str] = Counter()
    for seed in range(40):
        rng = Random(seed)
        graph, chip = drawn_rotary(rng), small_chip(rng)
        ranges = {"x": rng.choice(RANGES), "cos": (-1.0, 1.0), "sin": (-1.0, 1.0)}
        counts["ran"] += run_trial(graph, chip, ranges, rng, counts)
    assert counts["ran"] >= 60 and counts["naive"] >= 60, counts


def test_float_rotary() -> None:
    drawn = [Random(seed) for seed in range(30)]
    ranges = {"x": (-2.0, 3.0), "cos": (-1.0, 1.0), "sin": (-1.0, 1.0)}
    assert sum(run_floats(drawn_rotary(rng, constants=0.0), small_chip(rng), ranges, rng) for rng in drawn) >= 20
