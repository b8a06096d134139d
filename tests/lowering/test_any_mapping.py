"""Whatever mapping a kernel gets, its program computes the same values in any order of its streams.

The search only ever shows the mappings that it likes; here they are drawn at random from all legal ones, and a
convolution is cut along every axis at once, so that its loops are deeper than the loop stack and the innermost ones
are unrolled.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.plan import Mapping, Plan
from onchip.ir.program import Model
from onchip.lowering.lower import lower
from onchip.planner.plan import plan
from onchip.simulator.clock import estimate_cycles, simulate_cycles
from tests.mappings import legal_mappings, remapped
from tests.naive_machine import run_program
from tests.networks import conv, inputs_of, network, small_chip

MODEL = Model("any", "", 0, 0)
MOST = 20_000  # instructions of a program that is run one by one


def int8(graph: Graph, chip: Chip) -> Graph:
    return pipeline.compile_graph(graph, chip, samples=[inputs_of(graph, 1)])


def check(planned: Plan, seed: int) -> bool:
    """Compare values and cycles; False where the program is too long to be run instruction by instruction."""
    program = lower(planned, MODEL, with_data=True)
    simulated = simulate_cycles(program)
    if sum(k.instructions * k.cores for k in simulated.kernels) > MOST:
        return False
    assert [k.cycles for k in estimate_cycles(program).kernels] == [k.cycles for k in simulated.kernels]
    inputs: dict[str, Any] = dict(inputs_of(planned.graph, seed))
    found = run_program(program, inputs, Random(seed))
    for name, value in evaluate(planned.graph, inputs).items():
        np.testing.assert_array_equal(found[name], value, err_msg=str(planned))
    return True


def test_random_legal_mappings() -> None:
    n = 0
    for seed in range(60):
        rng = Random(seed)
        drawn, chip = network(rng, {conv: 3} if seed % 2 else None, most=2), small_chip(rng)
        try:
            planned = plan(int8(drawn, chip), chip, "int8")
        except (DoesNotFit, NotSupported):
            continue
        for _ in range(2):
            grids = [k.shape.kind in ("matmul", "vector") for k in planned.kernels]
            kernels = tuple(
                remapped(k, rng.choice(legal_mappings(k.shape, chip)), chip) if is_grid else k
                for k, is_grid in zip(planned.kernels, grids, strict=True)
            )
            n += check(replace(planned, kernels=kernels), seed)
    assert n >= 70


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize(("order", "tc"), [("n b p q k", 4), ("b p q n k", 4), ("b p q k n", 4), ("b p q k n", 6)])
@pytest.mark.parametrize("packing", ["CRS", "C"])
def test_tiles_along_every_axis(packing: str, order: str, tc: int, slots: int) -> None:
    """2 images, 3 x 3 output tiles, 3 channel tiles, 3 depth tiles or 2, and the folds of each: up to nine loops."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("cut")
    weight = b.constant("w", rng.standard_normal((11, 2, 2, 12), dtype=np.float32))
    b.output(str(b.node("conv2d", (b.input("x", (2, 6, 6, 12)), weight), "conv")))
    chip = Chip.load("tiny-npu-4").replace({"matrix.row_packing": packing})
    planned = plan(int8(b.finish(), chip), chip, "int8")
    (kernel,) = planned.kernels
    mapping = Mapping(1, 2, 2, 4, tc, order.startswith("n"), slots=slots, depth_outer=order.endswith("n"))
    assert f"order {order} slots" in str(mapping)
    assert mapping.counts(kernel.shape) == {"g": 1, "b": 2, "p": 3, "q": 3, "n": 3, "k": 12 // tc}
    assert check(replace(planned, kernels=(remapped(kernel, mapping, chip),)), 0)
