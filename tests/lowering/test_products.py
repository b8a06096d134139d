"""Products of two activations: programs equal the integer reference on random small chips, in any mapping.

Shapes are drawn: batches that are broadcast on either side, a turned second operand, two to five dimensions, zero
points of either operand or none, and vector work behind the product.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

import onchip as oc
from onchip.errors import NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from tests.networks import small_chip
from tests.trial import RANGES, run_floats, run_trial

BATCHES = (((), ()), ((3,), (3,)), ((2,), ()), ((), (2,)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (2, 3)),
           ((2, 3), (2, 1)), ((1, 3), (2, 1)), ((2, 2, 3), (2, 2, 3)), ((1,), (4,)))  # fmt: skip


def drawn_product(rng: Random, *, floats: bool = False) -> Graph:
    """Return a matmul of two inputs, sometimes with a bias, a table or a residual behind it."""
    b = GraphBuilder("product")
    first, second = rng.choice(BATCHES)
    m, k, n = rng.choice((1, 3, 7, 12)), rng.choice((1, 4, 9, 21)), rng.choice((1, 5, 8, 19))
    turned = rng.random() < 0.5
    x = b.input("a", (*first, m, k))
    y = b.input("b", (*second, n, k) if turned else (*second, k, n))
    at = str(b.node("matmul", (x, y), "product", transpose_b=turned))
    shape = tuple(int(d) for d in b.shape(at))
    behind = rng.choice(("", "add", "bias") if floats else ("", "", "add", "bias", "tanh", "both"))
    if behind in ("add", "both"):
        at = str(b.node("add", (at, b.input("c", shape)), "sum"))
    if behind == "bias":
        lead = rng.choice(((1,) * (len(shape) - 2), (1,) * (len(shape) - 3) + shape[-3:-2] if len(shape) > 2 else ()))
        at = str(b.node("add", (at, b.input("c", (*lead, *shape[-2:]))), "sum"))
    if behind in ("tanh", "both"):
        at = str(b.node("tanh", (at,), "curve"))
    b.output(at)
    return b.finish()


def test_products_of_two_activations() -> None:
    counts: Counter[str] = Counter()
    for seed in range(70):
        rng = Random(seed)
        graph, chip = drawn_product(rng), small_chip(rng)
        ranges = {name: rng.choice(RANGES) for name in graph.inputs}
        counts["ran"] += run_trial(graph, chip, ranges, rng, counts)
    assert counts["ran"] >= 100 and counts["naive"] >= 80, counts


def test_float_products() -> None:
    ran = 0
    for seed in range(40):
        rng = Random(seed)
        graph, chip = drawn_product(rng, floats=True), small_chip(rng)
        ran += run_floats(graph, chip, {name: (-1.0, 1.0) for name in graph.inputs}, rng)
    assert ran >= 30


def test_three_batch_axes_that_are_broadcast_apart_are_refused() -> None:
    b = GraphBuilder("product")
    b.output(str(b.node("matmul", (b.input("a", (2, 1, 2, 3, 4)), b.input("b", (3, 2, 4, 5))), "product")))
    with pytest.raises(NotSupported, match="OC1309 matmul of"):
        oc.estimate(b.finish(), "edge-npu-16")
