"""Norms of whole rows: programs equal the integer reference on random small chips, in any mapping; floats too."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from onchip import pipeline
from onchip.errors import NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from tests.networks import small_chip
from tests.trial import RANGES, run_floats, run_trial


def drawn_norm(rng: Random, *, scaled: bool) -> Graph:
    b = GraphBuilder("norm")
    shape = rng.choice(((5, 9), (2, 3, 16), (1, 2, 3, 7), (3, 1), (4, 40)))
    inputs = [b.input("x", shape)]
    if scaled:
        random = np.random.default_rng(rng.getrandbits(30))
        inputs.append(b.constant("scale", random.normal(0, 1, shape[-1:]).astype(np.float32)))
    b.output(str(b.node("rms_norm", inputs, "norm", eps=rng.choice((1e-6, 1e-5, 0.1)))))
    return b.finish()


def test_int8_rms_norms() -> None:
    counts: Counter[str] = Counter()
    for seed in range(30):
        rng = Random(seed)
        graph, chip = drawn_norm(rng, scaled=rng.random() < 0.7), small_chip(rng)
        counts["ran"] += run_trial(graph, chip, {"x": rng.choice(RANGES)}, rng, counts)
    assert counts["ran"] >= 40 and counts["naive"] >= 40, counts


def test_float_rms_norms() -> None:
    drawn = [Random(seed) for seed in range(30)]
    assert sum(run_floats(drawn_norm(r, scaled=True), small_chip(r), {"x": (-2.0, 3.0)}, r) for r in drawn) >= 20


def test_a_row_that_is_too_long_is_refused_by_name() -> None:
    b = GraphBuilder("long")
    b.output(str(b.node("rms_norm", [b.input("x", (1, 8193))], "norm")))
    with pytest.raises(NotSupported, match="norm: OC1333 int8 rms_norm over 8193 entries"):
        pipeline.estimate_trace(b.finish(), "tpu-v1", dtype="int8")
