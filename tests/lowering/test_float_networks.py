"""Float networks as programs: random ones on random small chips in random mappings, and those of the zoo.

Bits: the simulator equals the naive machine. Values: near the float reference in the same dtype. A node adds at most
two units of its largest magnitude, and what it gets wrong it hands on; `NETWORK` units of the largest magnitude of any
tensor on the way are room for a handful of nodes, and the zoo's limits are stated in docs/accuracy.md.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.program import Model
from onchip.lowering.lower import lower
from onchip.planner.plan import plan
from onchip.simulator.clock import estimate_cycles, simulate_cycles
from tests.float_values import UNIT, assert_near, rounded, run_both
from tests.mappings import legal_mappings, remapped
from tests.networks import LAYERS, inputs_of, lstm, network, small_chip

MODEL = Model("float", "", 0, 0)
MOST = 4_000  # instructions of a program that is run one by one
NETWORK = 8.0
DRAWN = {layer: weight for layer, weight in LAYERS.items() if layer is not lstm}
SMALL = ("digits_cnn", "digits_attention", "digits_lstm", "resnet8", "ds_cnn", "vww_mobilenet_v1_0.25", "llama-260k")
LARGE = ("mobilenet_v2_0.25", "mobilenet_v3_small", "squeezenet_1_1", "resnet50", "deit_t", "bert-base", "gpt2")
ZOO_UNITS = {"bf16": 16.0, "fp16": 16.0, "tf32": 40.0}  # tf32: the reference rounds every tensor, the program none
A100, TPU = "a100-sxm-80gb", "tpu-v4"


def largest(made: Graph, inputs: dict[str, Any]) -> float:
    """Return the largest magnitude of any tensor of the network."""
    tops = [1e-30]

    def watch(_name: str, value: Any) -> None:
        if value.dtype.kind == "f":
            tops.append(float(np.abs(value).max(initial=0)))

    evaluate(made, inputs, watch=watch)
    return max(tops)


def test_random_networks_in_random_mappings() -> None:
    n = 0
    for seed in range(60):
        rng = Random(seed)
        graph, chip, dtype = network(rng, DRAWN, most=3), small_chip(rng), rng.choice(("bf16", "bf16", "fp8"))
        try:
            made = pipeline.compile_graph(graph, chip, dtype=dtype)
            planned = plan(made, chip, dtype)
        except (DoesNotFit, NotSupported):
            continue
        kernels = tuple(
            remapped(k, rng.choice(legal_mappings(k.shape, chip)), chip) if k.shape.kind in ("matmul", "vector") else k
            for k in planned.kernels
        )
        program = lower(replace(planned, kernels=kernels), MODEL, with_data=True)
        simulated = simulate_cycles(program)
        if sum(k.instructions * k.cores for k in simulated.kernels) > MOST:
            continue
        assert [k.cycles for k in estimate_cycles(program).kernels] == [k.cycles for k in simulated.kernels]
        inputs = rounded(dict(inputs_of(graph, seed)), dtype)
        assert_near(run_both(program, inputs, rng), made, inputs, dtype, NETWORK, largest(made, inputs))
        n += 1
    assert n >= 35


def run_zoo(name: str, chip: str, dtype: str) -> float:
    """Return the distance of a network's outputs from the reference, in units of its largest output."""
    from onchip.cli.arrays import random_arrays, wanted_by

    graph = pipeline.read(f"@{name}", weights="random")
    graph = graph.bind(**{str(symbol): 1 if symbol == "batch" else 16 for symbol in graph.symbols})
    inputs, seen = random_arrays(wanted_by(graph), 0), dict[str, Any]()
    program = pipeline.compile(graph, chip, dtype=dtype, watch=seen.__setitem__)
    outputs: dict[str, Any] = pipeline.simulate(program, inputs).outputs  # type: ignore[union-attr]
    distances = [
        np.abs(outputs[n].astype(np.float64) - wanted).max() / np.abs(wanted).max()
        for n, wanted in evaluate(seen["graph"], inputs).items()
    ]
    return float(max(distances)) / UNIT[dtype]


@pytest.mark.parametrize(("chip", "dtype"), [(A100, "bf16"), (A100, "fp16"), (A100, "tf32"), (TPU, "bf16")])
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_of_the_zoo(name: str, chip: str, dtype: str) -> None:
    assert run_zoo(name, chip, dtype) <= ZOO_UNITS[dtype]


@pytest.mark.slow
@pytest.mark.parametrize("chip", [A100, TPU])
@pytest.mark.parametrize("name", LARGE)
def test_networks_of_the_zoo(name: str, chip: str) -> None:
    assert run_zoo(name, chip, "bf16") <= ZOO_UNITS["bf16"]
