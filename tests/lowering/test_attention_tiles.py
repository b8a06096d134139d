"""Attention cut in any legal way computes the same: int8 bit for bit, floats within their tolerance.

The planner only shows the cuts that it likes; here tiles of queries and keys are drawn at random from all legal ones,
so that most kernels load keys and values tile by tile.
"""

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
from onchip.ir.plan import Kernel, Plan
from onchip.ir.program import Model, Program
from onchip.lowering.lower import lower
from onchip.planner import attend
from onchip.planner.buffers import fits, place_pieces
from onchip.planner.plan import plan
from onchip.simulator.clock import estimate_cycles, simulate_cycles
from tests.float_values import assert_near, rounded, run_both
from tests.naive_machine import run_program
from tests.networks import inputs_of, small_chip
from tests.test_ladder import check_cycles

MODEL = Model("any", "", 0, 0)


def drawn_attention(rng: Random, *, keys: int = 40) -> Graph:
    """Return attention of a few heads over up to `keys` keys, its operands inputs of the graph."""
    b = GraphBuilder("attention")
    batch, kv, repeat = rng.choice((1, 1, 2)), rng.choice((1, 2, 3)), rng.choice((1, 1, 2))
    width, value, lq, lk = rng.choice((2, 4, 5, 9)), rng.choice((2, 3, 8)), rng.randint(1, 24), rng.randint(2, keys)
    heads = kv * repeat
    inputs = [
        b.input(name, (batch, n, w))
        for name, n, w in (("q", lq, heads * width), ("k", lk, kv * width), ("v", lk, kv * value))
    ]
    extra: dict[str, Any] = {"kv_heads": kv} if repeat > 1 else {}
    if rng.random() < 0.3 and lk >= lq:
        extra["causal"] = True
    elif rng.random() < 0.5:
        shape = rng.choice(((batch, heads, lq, lk), (1, 1, lq, lk), (batch, 1, 1, lk), (1, heads, lq, lk)))
        is_constant = True
        random = np.random.default_rng(rng.getrandbits(32))
        keep = random.random(shape) < 0.6
        if rng.random() < 0.5:
            inputs.append(b.constant("mask", keep))
        elif rng.random() < 0.5:
            added = np.where(keep, random.normal(0, 1, shape), rng.choice((-np.inf, -1e9))).astype(np.float32)
            inputs.append(b.constant("mask", added))
        else:
            is_constant = False
            inputs.append(b.input("mask", shape))
        if lk >= lq and rng.random() < 0.3 and is_constant:
            extra["causal"] = True
    b.output(str(b.node("attention", inputs, "attend", heads=heads, **extra)))
    return b.finish()


def recut(kernel: Kernel, chip: Chip, rng: Random) -> Kernel | None:
    """Return the kernel with a random legal cut, mostly one that cuts the keys; None where no other fits."""
    shape = kernel.shape
    found = [t for t in attend.candidates(shape, chip) if t.tk < shape.extra[4] or rng.random() < 0.1]
    rng.shuffle(found)
    for tiles in found:
        buffers, local, accumulator = place_pieces(attend.pieces(shape, tiles), chip)
        if fits(chip, local, accumulator):
            return replace(kernel, mapping=attend.mapping_of(shape, chip, tiles), buffers=buffers)
    return None


def recut_plan(graph: Graph, chip: Chip, dtype: str, rng: Random) -> Plan | None:
    try:
        planned = plan(graph, chip, dtype)
    except DoesNotFit:
        return None
    kernels = [recut(k, chip, rng) if k.shape.kind == "attention" else k for k in planned.kernels]
    kept = tuple(k for k in kernels if k is not None)
    return replace(planned, kernels=kept) if len(kept) == len(kernels) else None


def count(program: Program, planned: Plan, counts: Counter[str]) -> None:
    for kernel in planned.kernels:
        if kernel.shape.kind == "attention":
            tiles, keys = kernel.mapping, kernel.shape.extra[4]
            counts["ran"] += 1
            counts["streamed"] += not tiles.channels_outer
            counts["tiles of resident keys"] += tiles.channels_outer and tiles.tc < keys
            counts["many tiles"] += keys > 3 * tiles.tc
            counts["one slot"] += kernel.buffer("keys").slots == 1
            counts["many cores"] += program.kernels[0].core_grid != (1, 1, 1)


def test_any_cut_of_int8_attention_computes_the_same() -> None:
    counts: Counter[str] = Counter()
    for seed in range(60):
        rng = Random(seed)
        graph, chip = drawn_attention(rng), small_chip(rng)
        try:
            quantized = pipeline.compile_graph(graph, chip, samples=[inputs_of(graph, seed + 1)])
        except DoesNotFit:
            continue
        planned = recut_plan(quantized, chip, "int8", rng)
        if planned is None:
            continue
        program = lower(planned, MODEL, with_data=True)
        inputs: dict[str, Any] = dict(inputs_of(graph, seed))
        wanted, naive = evaluate(quantized, inputs), run_program(program, inputs, rng)
        outputs = pipeline.simulate(program, inputs).outputs  # type: ignore[union-attr]
        for name, value in wanted.items():
            np.testing.assert_array_equal(naive[name], value, err_msg=str(planned))
            np.testing.assert_array_equal(outputs[name], value, err_msg=str(planned))
        check_cycles(program, counts)
        count(program, planned, counts)
    assert counts["ran"] >= 40 and counts["streamed"] >= 30 and counts["many tiles"] >= 10, counts
    assert counts["one slot"] >= 5 and counts["many cores"] >= 8, counts


def test_any_cut_of_float_attention_computes_the_same() -> None:
    counts: Counter[str] = Counter()
    for seed in range(70):
        rng = Random(seed)
        graph, chip, dtype = drawn_attention(rng), small_chip(rng), rng.choice(("bf16", "bf16", "fp8"))
        made = pipeline.compile_graph(graph, chip, dtype=dtype)
        planned = recut_plan(made, chip, dtype, rng)
        if planned is None:
            continue
        program = lower(planned, MODEL, with_data=True)
        inputs: dict[str, Any] = rounded(dict(inputs_of(graph, seed)), dtype)
        found = run_both(program, inputs, rng)
        # one unit for the weights, each at most 1, two for the output; each tile of keys rounds its own weights
        largest = max(float(np.abs(x).max()) for x in inputs.values() if x.dtype.kind == "f")
        assert_near(found, made, inputs, dtype, 4.0, largest)
        check_cycles(program, counts)
        count(program, planned, counts)
    assert counts["ran"] >= 45 and counts["streamed"] >= 20 and counts["tiles of resident keys"] >= 10, counts
    assert counts["many tiles"] >= 15 and counts["one slot"] >= 5 and counts["many cores"] >= 8, counts


@pytest.mark.parametrize("dtype", ["int8", "bf16"])
def test_keys_that_do_not_fit_are_loaded_tile_by_tile(dtype: str) -> None:
    """1,000 keys of 64 values, 64 KB of keys and values a head even in int8, on 24 KiB."""
    b = GraphBuilder("long")
    b.output(str(b.node("attention", [b.input(n, (1, 1000, 128)) for n in "qkv"], "attend", heads=2)))
    chip = small_chip(Random(5), is_roomy=True).replace({"local.size": "24 KiB", "local.accumulator": "64 KiB"})
    seen: dict[str, Any] = {}
    estimated = pipeline.estimate_trace(b.finish(), chip, dtype=dtype, watch=seen.__setitem__)
    (kernel,) = seen["plan"].kernels
    assert kernel.mapping.tc < 1000 and not kernel.mapping.channels_outer
    assert estimated.cycles == estimate_cycles(seen["program"]).cycles == simulate_cycles(seen["program"]).cycles


def test_a_row_of_int8_scores_that_does_not_fit_is_refused_with_its_bytes() -> None:
    b = GraphBuilder("wide")
    b.output(str(b.node("attention", [b.input(n, (1, 3000, 8)) for n in "qkv"], "attend", heads=1)))
    chip = small_chip(Random(5), is_roomy=True).replace({"local.accumulator": "16 KiB"})
    with pytest.raises(DoesNotFit, match=r"attend: OC2104 one row of scores of attention needs 24\d\d\d bytes"):
        pipeline.estimate_trace(b.finish(), chip, dtype="int8")
    assert pipeline.estimate_trace(b.finish(), chip, dtype="bf16").cycles > 0  # floats need no whole row
