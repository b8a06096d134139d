"""Recurrent kernels: LSTM, GRU and RNN, their states and lengths, weights that stay and weights that do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.lowering.lower import lower
from onchip.planner.plan import plan
from tests.naive_machine import run_program
from tests.networks import small_chip
from tests.test_ladder import check_kernel
from tests.trial import MODEL, drawn_inputs, run_trial

KINDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "lstm": ("lstm", 4, {}),
    "gru": ("gru", 3, {}),
    "reset first": ("gru", 3, {"linear_before_reset": False}),
    "tanh": ("rnn", 1, {}),
    "relu": ("rnn", 1, {"activation": "relu"}),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """A recurrent node; `has_lengths` and `has_state` are inputs of the network."""

    batch: int
    steps: int
    features: int
    hidden: int
    reverse: bool = False
    has_state: bool = False
    has_lengths: bool = False
    has_bias: bool = True


def drawn_sizes(rng: Random, widest: int = 12) -> Sizes:
    return Sizes(
        rng.choice((1, 2, 3, 5)), rng.choice((1, 2, 4, 7)), rng.randint(1, widest), rng.randint(1, widest),
        *(rng.random() < 0.5 for _ in range(4)),
    )  # fmt: skip


def one_layer(kind: str, sizes: Sizes, rng: Random) -> tuple[Graph, dict[str, tuple[float, float]]]:
    """Return the network of one node whose outputs are all asked for, and the ranges of its inputs."""
    op, gates, attributes = KINDS[kind]
    random, n, b = np.random.default_rng(rng.getrandbits(30)), gates * sizes.hidden, GraphBuilder(op)
    ranges = {"x": (-1.0, 1.0)}
    b.input("x", (sizes.batch, sizes.steps, sizes.features))
    inputs = ["x"]
    for name, width in (("w_ih", sizes.features), ("w_hh", sizes.hidden)):
        inputs.append(b.constant(name, random.normal(0, width**-0.5, (n, width)).astype(np.float32)))
    for name in ("b_ih", "b_hh"):
        bias = random.normal(0, 0.3, n).astype(np.float32)
        inputs.append(b.constant(name, bias) if sizes.has_bias else "")
    for name in ("h0", "c0")[: 2 if op == "lstm" else 1]:
        inputs.append(b.input(name, (sizes.batch, sizes.hidden)) if sizes.has_state else "")
        ranges[name] = (-0.5, 0.9)
    if sizes.has_lengths:
        inputs.append(b.input("lengths", (sizes.batch,), "i64"))
        ranges["lengths"] = (0, sizes.steps + 1)
    for name in b.node(op, inputs, op, hidden=sizes.hidden, reverse=sizes.reverse, **attributes):
        b.output(name)
    return b.finish(), ranges


@pytest.mark.parametrize("kind", KINDS)
def test_random_nodes_on_random_chips(kind: str) -> None:
    check_random_nodes(kind, range(10))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_nodes_on_random_chips(kind: str) -> None:
    check_random_nodes(kind, range(100, 400))


def check_random_nodes(kind: str, seeds: range) -> None:
    """Values bit for bit (also on the naive machine), cycles as stepped."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        rng = Random(seed)
        graph, ranges = one_layer(kind, drawn_sizes(rng), rng)
        counts["ran"] += run_trial(graph, small_chip(rng), ranges, rng, counts, mappings=0)
    assert counts["ran"] >= len(seeds) // 2 and counts["naive"] >= len(seeds) // 3, counts
    assert counts["stepped"] or kind == "lstm", counts


def narrow_chip(local: int) -> Chip:
    return Chip.load("edge-npu-16").replace({"local.size": f"{local} KiB", "local.banks": 1})


@pytest.mark.parametrize(
    ("kind", "local", "streamed"),
    [("lstm", 12, "x"), ("lstm", 8, "xh"), ("gru", 6, "xh"), ("reset first", 8, "x"), ("reset first", 7, "xhc"),
     ("tanh", 4, "")],
)  # fmt: skip
def test_weights_that_do_not_fit(kind: str, local: int, streamed: str) -> None:
    """33 units of 40 features have up to 9,636 bytes of weights: what does not stay is loaded in each step."""
    rng, counts, chip = Random(local), Counter[str](), narrow_chip(local)
    graph, ranges = one_layer(kind, Sizes(3, 3, 40, 33, has_state=True, has_lengths=True, reverse=True), rng)
    samples, inputs = [drawn_inputs(graph, ranges, 0)], drawn_inputs(graph, ranges, 1)
    made = pipeline.compile_graph(graph, chip, samples=samples)
    planned = plan(made, chip, "int8")
    program = lower(planned, MODEL, with_data=True)
    weights = [b for b in planned.kernels[0].buffers if b.name.startswith("weights.")]
    assert "".join(b.name[-1] for b in weights if b.slots == 2) == streamed
    trace, naive = pipeline.simulate(program, inputs, events=True), run_program(program, inputs, rng)
    for name, value in evaluate(made, inputs).items():
        np.testing.assert_array_equal(trace.outputs[name], value, err_msg=name)
        np.testing.assert_array_equal(naive[name], value, err_msg=name)
    check_kernel(program, program.kernels[0], trace, 0, counts)


def test_a_long_sequence_stands_in_local_memory_one_step_at_a_time() -> None:
    rng, counts = Random(0), Counter[str]()
    graph, ranges = one_layer("gru", Sizes(2, 300, 16, 4), rng)
    chip = narrow_chip(4)
    assert run_trial(graph, chip, ranges, rng, counts, mappings=0) == 1
    made = pipeline.compile_graph(graph, chip, samples=[drawn_inputs(graph, ranges, 0)])
    assert plan(made, chip, "int8").kernels[0].mapping.tp == 1


@pytest.mark.parametrize("kind", KINDS)
def test_floats(kind: str) -> None:
    """float32 programs on random chips, instruction by instruction; the witness is the float reference."""
    for seed in range(8):
        rng = Random(seed)
        graph, ranges = one_layer(kind, drawn_sizes(rng), rng)
        chip = Chip.load("a100-sxm-80gb").replace({"local.size": "64 KiB", "local.accumulator": "64 KiB"})
        made = pipeline.compile_graph(graph, chip, dtype="fp32")
        program = lower(plan(made, chip, "fp32"), MODEL, with_data=True)
        inputs = drawn_inputs(graph, ranges, seed)
        found = run_program(program, inputs, rng)
        for name, value in evaluate(graph, inputs).items():
            np.testing.assert_allclose(found[name], value, rtol=2e-6, atol=2e-6, err_msg=f"{kind} {seed} {name}")
