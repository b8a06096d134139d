"""Transformers of the zoo on two integer chips: every output of the program equals the integer reference.

Small forms here, with as few layers and words as they go; whole networks are `slow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip.zoo.catalog import build

CHIPS = ("edge-npu-16", "tpu-v1")
SMALL: dict[str, dict[str, Any]] = {
    "llama-260k": {"seq": 8},
    "gpt2": {"seq": 6, "layers": 1, "vocabulary": 64},
    "bert-base": {"seq": 8, "layers": 1, "vocabulary": 64},
    "transformer-base": {"seq": 6, "layers": 1, "vocabulary": 64, "d_model": 64, "d_ff": 96, "heads": 4},
}
WHOLE: dict[str, dict[str, Any]] = {
    "bert-base": {"seq": 128}, "swin_t": {}, "deit_t": {"image_size": 32}, "t5-small": {"seq": 8, "vocabulary": 64},
    "whisper-tiny": {"frames": 16, "target": 5},
}  # fmt: skip


def inputs_of(graph: oc.Graph, seed: int) -> dict[str, NDArray[Any]]:
    """Draw words, kinds of words, angles by position, and pictures."""
    random, found = np.random.default_rng(seed), dict[str, NDArray[Any]]()
    for name in graph.inputs:
        shape = tuple(int(d) for d in graph.tensor(name).shape)
        if graph.tensor(name).dtype == "i64":
            found[name] = random.integers(0, 2 if "type" in name else 60, shape)
        elif name.startswith("rotary"):
            angles = np.arange(shape[0])[:, None] / 10000.0 ** (np.arange(shape[1]) / shape[1])
            found[name] = (np.cos(angles) if name.endswith("cos") else np.sin(angles)).astype(np.float32)
        else:
            found[name] = random.normal(0, 1, shape).astype(np.float32)
    return found


def check(name: str, chip: str, given: dict[str, Any]) -> None:
    graph = build(name, batch=1, weights="random", **given)
    seen: dict[str, Any] = {}
    program = oc.compile(graph, chip, samples=[inputs_of(graph, 0)], watch=seen.__setitem__)
    sample = inputs_of(graph, 1)
    trace, exact = oc.simulate(program, sample), oc.evaluate(seen["graph"], sample)
    for output in graph.outputs:
        np.testing.assert_array_equal(trace.outputs[output], exact[output])
        assert len(np.unique(exact[output])) > 20  # neither saturated nor all the same


@pytest.mark.parametrize(("name", "chip"), [*((name, CHIPS[0]) for name in SMALL), ("bert-base", CHIPS[1])])
def test_small_forms(name: str, chip: str) -> None:
    check(name, chip, SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks(name: str, chip: str) -> None:
    check(name, chip, WHOLE[name])


@pytest.mark.parametrize("chip", ["a100-sxm-80gb", "tpu-v4"])
@pytest.mark.parametrize("name", ["bert-base", "llama-260k", "transformer-base"])
def test_floats_are_near_the_reference(name: str, chip: str) -> None:
    """bf16 keeps 8 bits of every tensor between kernels: outputs are off by a few of their roundings."""
    graph = build(name, batch=1, weights="random", **SMALL[name])
    seen: dict[str, Any] = {}
    program, sample = oc.compile(graph, chip, watch=seen.__setitem__), inputs_of(graph, 1)
    trace, near = oc.simulate(program, sample), oc.evaluate(seen["graph"], sample)
    for output in graph.outputs:
        assert np.abs(trace.outputs[output] - near[output]).max() < 0.03 * np.abs(near[output]).max()
