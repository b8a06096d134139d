"""What networks of pictures are made of: programs equal the integer reference on random small chips, in any mapping.

One node at a time, its attributes drawn at random, some with vector work behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np

from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.types import AttributeValue
from tests.networks import small_chip
from tests.trial import RANGES, run_trial


class Picture:
    """A graph of one node on a picture `x` while it is drawn."""

    def __init__(self, rng: Random, size: int = 9) -> None:
        self.rng, self.builder = rng, GraphBuilder("picture")
        self.values = np.random.default_rng(rng.getrandbits(30))
        self.batch, self.height, self.width = rng.choice((1, 1, 2)), rng.randint(4, size), rng.randint(4, size)

    def input(self, channels: int) -> str:
        return self.builder.input("x", (self.batch, self.height, self.width, channels))

    def constant(self, name: str, *shape: int) -> str:
        return self.builder.constant(name, self.values.standard_normal(shape, dtype=np.float32))

    def node(self, op: str, *inputs: str, **attributes: AttributeValue) -> str:
        return str(self.builder.node(op, inputs, f"{op}.node", **attributes))

    def finish(self, at: str, *, behind: bool = False) -> Graph:
        """Close the graph, sometimes with vector work behind the node."""
        shape = tuple(int(d) for d in self.builder.shape(at))
        match self.rng.choice(("", "curve", "sum", "product")) if behind else "":
            case "curve":
                at = self.node("sigmoid", at)
            case "sum":
                at = self.node("add", at, self.builder.input("y", shape))
            case "product":
                own = self.rng.choice(((1, 1, 1, shape[3]), (*shape[:3], 1)))
                at = self.node("mul", at, self.builder.input("y", own))
        self.builder.output(at)
        return self.builder.finish()


def grouped(rng: Random) -> Graph:
    """Return a convolution of several groups, or a depthwise one that multiplies its channels."""
    d, groups = Picture(rng), rng.choice((2, 3, 4, 6, 8))
    given, made = rng.choice((1, 2, 3, 5)), rng.choice((1, 2, 3, 5))
    made += given == made == 1
    kernel, stride = rng.choice(((1, 1), (1, 1), (3, 3), (2, 3), (3, 1))), rng.choice((1, 1, 2))
    weight, bias = d.constant("w", groups * made, *kernel, given), d.constant("b", groups * made)
    dilation = rng.choice((1, 1, min(2, (min(d.height, d.width) - 1) // 2)))
    padding = (rng.randint(0, 1), rng.randint(0, 1), rng.randint(0, 1), rng.randint(0, 1))
    at = d.node(
        "conv2d", d.input(groups * given), weight, bias, groups=groups, stride=(stride, stride), padding=padding,
        dilation=(dilation, dilation),
    )  # fmt: skip
    return d.finish(at, behind=True)


def run_many(draw: Callable[[Random], Graph], seeds: int, mappings: int = 1) -> Counter[str]:
    """Run drawn graphs on drawn chips; returns how many programs ran, and how many of them one by one."""
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        rng = Random(seed)
        graph, chip = draw(rng), small_chip(rng)
        ranges = {name: rng.choice(RANGES) for name in graph.inputs}
        counts["ran"] += run_trial(graph, chip, ranges, rng, counts, mappings=mappings)
    return counts


def test_groups_of_channels() -> None:
    counts = run_many(grouped, 20)
    assert counts["ran"] >= 36 and counts["naive"] >= 30, counts
