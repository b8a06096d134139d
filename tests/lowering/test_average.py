"""A mean over an image that does not fit local memory is added up piece by piece: the same bits in any cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.plan import Kernel
from onchip.ir.program import Model
from onchip.lowering.lower import lower
from onchip.planner import average
from onchip.planner.buffers import fits, place_pieces
from onchip.planner.plan import plan
from tests.float_values import assert_near, rounded, run_both
from tests.naive_machine import run_program
from tests.networks import inputs_of, small_chip
from tests.test_ladder import check_cycles

MODEL = Model("any", "", 0, 0)


def drawn_mean(rng: Random) -> Graph:
    b = GraphBuilder("mean")
    batch, h, w, c = rng.choice((1, 1, 2, 3)), rng.randint(1, 14), rng.randint(1, 9), rng.choice((1, 3, 8, 19))
    if rng.random() < 0.7:
        made = b.node("global_avg_pool", (b.input("x", (batch, h, w, c)),), "mean")
    else:
        made = b.node("mean", (b.input("x", (batch, h * w, c)),), "mean", axes=(1,), keepdims=False)
    b.output(str(made))
    return b.finish()


def recut(kernel: Kernel, chip: Chip, rng: Random) -> Kernel:
    """Return the kernel with a random legal mapping."""
    found = [(m, place_pieces(average.pieces(kernel.shape, m), chip)) for m in average.candidates(kernel.shape, chip)]
    legal = [(m, buffers) for m, (buffers, local, accumulator) in found if fits(chip, local, accumulator)]
    mapping, buffers = rng.choice(legal)
    return replace(kernel, mapping=mapping, buffers=buffers)


@pytest.mark.parametrize("dtype", ["int8", "bf16"])
def test_any_cut_of_a_mean_computes_the_same(dtype: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(70):
        rng = Random(seed)
        graph, chip = drawn_mean(rng), small_chip(rng)
        made = pipeline.compile_graph(graph, chip, samples=[inputs_of(graph, seed + 1)], dtype=dtype)
        try:
            planned = plan(made, chip, dtype)
        except DoesNotFit:
            continue
        planned = replace(planned, kernels=tuple(recut(k, chip, rng) for k in planned.kernels))
        (kernel,) = planned.kernels
        program = lower(planned, MODEL, with_data=True)
        inputs: dict[str, Any] = dict(inputs_of(graph, seed))
        if dtype == "int8":
            found, wanted = run_program(program, inputs, rng), evaluate(made, inputs)
            simulated = pipeline.simulate(program, inputs).outputs  # type: ignore[union-attr]
            for name, value in wanted.items():
                np.testing.assert_array_equal(found[name], value, err_msg=str(planned))
                np.testing.assert_array_equal(simulated[name], value, err_msg=str(planned))
        else:
            inputs = rounded(inputs, dtype)
            assert_near(run_both(program, inputs, rng), made, inputs, dtype, 2.0)
        check_cycles(program, counts)
        counts["ran"] += 1
        counts["pieces"] += kernel.mapping.tc < kernel.shape.window[0]
        counts["cut channels"] += kernel.mapping.tn < kernel.shape.grid[3]
        counts["many cores"] += kernel.mapping.cores > 1
    assert counts["ran"] >= 60 and min(counts[c] for c in ("pieces", "cut channels", "many cores")) >= 12, counts


def test_an_image_larger_than_local_memory() -> None:
    """112 x 112 x 32 on edge-npu-16 with 256 KiB: the squeeze of EfficientNet's first block."""
    b = GraphBuilder("squeeze")
    b.output(str(b.node("global_avg_pool", (b.input("x", (1, 112, 112, 32)),), "squeeze")))
    graph, chip, seen = b.finish(), Chip.load("edge-npu-16"), dict[str, Any]()
    program = pipeline.compile(graph, chip, samples=[inputs_of(graph, 1)], watch=seen.__setitem__)
    trace = pipeline.simulate(program, inputs_of(graph, 0))
    for name, value in evaluate(seen["graph"], dict(inputs_of(graph, 0))).items():
        np.testing.assert_array_equal(trace.outputs[name], value)  # type: ignore[union-attr]
    assert trace.cycles < 1.05 * 112 * 112 * 32 / chip.dram_bytes_per_cycle  # the additions hide behind the loads


def test_a_row_that_does_not_fit_is_refused_with_its_bytes() -> None:
    b = GraphBuilder("wide")
    b.output(str(b.node("global_avg_pool", (b.input("x", (1, 2, 9000, 16)),), "squeeze")))
    with pytest.raises(DoesNotFit, match="squeeze: OC2104 one row of the image needs"):
        pipeline.estimate_trace(b.finish(), "tiny-npu-4")
