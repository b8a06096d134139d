"""One small network on one chip, in mappings drawn at random: values bit for bit, cycles as stepped.

In: a float Graph, a chip, ranges of its inputs, a `random.Random`. Out: how many programs ran. The witness of values is
the integer reference (`onchip.ops`), of the program the naive machine, of cycles the control model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.plan import Plan
from onchip.ir.program import Model
from onchip.ir.trace import RunTrace
from onchip.lowering.lower import lower
from onchip.numerics import round_float
from onchip.planner.plan import plan
from onchip.simulator.clock import simulate_cycles
from tests.mappings import legal_mappings, remapped
from tests.naive_machine import run_program
from tests.test_ladder import check_cycles

MODEL = Model("trial", "", 0, 0)
MOST = 6_000  # instructions of a program that is run one by one
RANGES = ((-1.0, 1.0), (0.0, 3.0), (-5.0, 1.0), (-2.0, 0.0))
Arrays = dict[str, NDArray[Any]]


def drawn_inputs(graph: Graph, ranges: Mapping[str, tuple[float, float]], seed: int) -> Arrays:
    """Return inputs that fill their ranges from end to end; whole numbers where the input is of an integer dtype."""
    random, found = np.random.default_rng(seed), dict[str, NDArray[Any]]()
    for name in graph.inputs:
        tensor = graph.tensor(name)
        shape = tuple(int(d) for d in tensor.shape)
        if tensor.dtype in ("i64", "i32"):
            found[name] = random.integers(0, int(ranges[name][1]), shape)
        elif tensor.dtype == "bool":
            found[name] = random.random(shape) < 0.6
        else:
            low, high = ranges[name]
            values = random.uniform(low, high, shape).astype(np.float32).reshape(-1)
            values[:2] = (low, high)[: len(values)]
            found[name] = random.permutation(values).reshape(shape)
    return found


def run_trial(
    graph: Graph, chip: Chip, ranges: Mapping[str, tuple[float, float]], rng: Random, counts: Counter[str], *,
    mappings: int = 1, rounding: str | None = None,
) -> int:  # fmt: skip
    """Check a network in the mapping that the search likes and in `mappings` others. Returns how many programs ran."""
    seed = rng.getrandbits(30)
    samples, inputs = [drawn_inputs(graph, ranges, seed)], drawn_inputs(graph, ranges, seed + 1)
    made = pipeline.compile_graph(graph, chip, samples=samples, rounding=rounding)
    try:
        planned = plan(made, chip, "int8")
    except DoesNotFit:
        return 0
    wanted, done = evaluate(made, inputs), 0
    for number in range(1 + mappings):
        program = lower(planned if number == 0 else _redrawn(planned, rng), MODEL, with_data=True)
        trace = pipeline.simulate(program, inputs)
        assert isinstance(trace, RunTrace)
        short = sum(k.instructions * k.cores for k in simulate_cycles(program).kernels) <= MOST
        naive = run_program(program, inputs, rng) if short else {}
        for name, value in wanted.items():
            np.testing.assert_array_equal(trace.outputs[name], value, err_msg=f"{name}\n{planned}\n{graph}")
            if short:
                np.testing.assert_array_equal(naive[name], value, err_msg=f"naive {name}\n{planned}\n{graph}")
        if number == 0:
            check_cycles(program, counts)
        counts["naive"] += short
        done += 1
    return done


def _redrawn(planned: Plan, rng: Random) -> Plan:
    grids = [k.shape.kind in ("matmul", "vector") for k in planned.kernels]
    kernels = tuple(
        remapped(k, rng.choice(legal_mappings(k.shape, planned.chip)), planned.chip) if is_grid else k
        for k, is_grid in zip(planned.kernels, grids, strict=True)
    )
    return replace(planned, kernels=kernels)


def run_floats(
    graph: Graph, chip: Chip, ranges: Mapping[str, tuple[float, float]], rng: Random, *, tolerance: float = 0.02
) -> int:
    """Run a bf16 program of the network in one random mapping. The witness is the float reference on rounded inputs.

    A bf16 number has 8 bits: what a kernel stores is off by 2^-9 of its size at most, and so is each constant.
    """
    made = pipeline.compile_graph(graph, chip, dtype="bf16")
    try:
        planned = _redrawn(plan(made, chip, "bf16"), rng)
    except DoesNotFit:
        return 0
    drawn = drawn_inputs(graph, ranges, rng.getrandbits(30))
    inputs = {name: round_float(v, "bf16") if v.dtype == np.float32 else v for name, v in drawn.items()}
    found = run_program(lower(planned, MODEL, with_data=True), inputs, rng)
    for name, value in evaluate(graph, inputs).items():
        size = max(1.0, float(np.abs(value[np.isfinite(value)]).max(initial=0.0)))
        np.testing.assert_allclose(
            found[name], value, rtol=tolerance, atol=tolerance * size, err_msg=f"{name}\n{planned}\n{graph}"
        )
    return 1
