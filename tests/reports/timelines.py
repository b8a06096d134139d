"""Programs with events for the tests of traces and timelines: small ones, of every kind of chip and network."""

from __future__ import annotations

import functools
from random import Random
from typing import Any

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.plan import Plan
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from tests.networks import network, small_chip

NAMED = (("@digits_cnn", "edge-npu-16"), ("@digits_attention", "h100-sxm"), ("@digits_lstm", "tpu-v4"))
RANDOM = 12

Played = tuple[Program, Trace, Plan]


@functools.cache
def played(model: str, chip: str) -> Played:
    return _played(pipeline.read(model), Chip.load(chip))


@functools.cache
def all_played() -> tuple[Played, ...]:
    """Return the named programs and some of random networks on random chips."""
    found = [played(*pair) for pair in NAMED]
    seed = 0
    while len(found) < len(NAMED) + RANDOM:
        rng, seed = Random(seed), seed + 1
        try:
            found.append(_played(network(rng), small_chip(rng)))
        except OnchipError:
            continue
    return tuple(found)


def _played(graph: Any, chip: Chip) -> Played:
    seen: dict[str, Any] = {}
    pipeline.estimate_trace(graph, chip, watch=seen.__setitem__)
    return seen["program"], pipeline.record(seen["program"], seen["trace"]), seen["plan"]
