"""Laws that no network and no chip may break, on random networks x random chips and on the small zoo.

Bounds are counted here from the graph and from the program's instructions, in exact fractions, without the simulator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import ceil, prod
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.program import KernelCode, Program
from onchip.ir.trace import CAUSES, Trace
from onchip.isa import LD, MM, ST, VOP
from onchip.isa.instructions import extent
from onchip.isa.memory import Memory
from onchip.isa.vector import VOPS
from onchip.passes.fold import fold
from onchip.zoo.catalog import build
from tests.naive_machine import Walk, kernel_streams
from tests.networks import inputs_of, network, small_chip

SMALL_ZOO = ("digits_attention", "digits_cnn", "digits_lstm", "resnet8")
ZOO_CHIPS = ("edge-npu-16", "h100-sxm", "tiny-npu-4", "tpu-v4")
READS_ALL = ("linear", "add", "sub", "mul", "attention", "lstm", "softmax", "layer_norm", "global_avg_pool", "mean",
"gelu",
             "sigmoid", "tanh", "silu", "relu", "relu6", "clip", "requantize", "concat")  # fmt: skip
BYTES = {"i8": 1, "bool": 1, "i16": 2, "i32": 4, "bf16": 2, "f16": 2, "fp8": 1}
Case = tuple[Graph, Program, Trace]


def case(drawn: Graph, chip: Chip, dtype: str | None = None) -> Case | None:
    seen: dict[str, Any] = {}
    try:
        trace = pipeline.estimate_trace(drawn, chip, dtype=dtype, watch=seen.__setitem__)
    except (DoesNotFit, NotSupported):
        return None
    return seen["graph"], seen["program"], trace


@cache
def random_cases() -> tuple[Case, ...]:
    found: list[Case] = []
    for seed in range(3000, 3150):
        rng = Random(seed)
        made = case(network(rng), small_chip(rng), rng.choice(("int8", "int8", "bf16", "fp8")))
        found += [made] if made is not None else []
    assert len(found) >= 130
    return tuple(found)


@cache
def zoo_cases() -> tuple[Case, ...]:
    made = [case(build(name), Chip.load(chip)) for name in SMALL_ZOO for chip in ZOO_CHIPS]
    found = tuple(c for c in made if c is not None)
    assert len(found) >= 13
    return found


def all_cases() -> tuple[Case, ...]:
    return random_cases() + zoo_cases()


# --- bounds -----------------------------------------------------------------------------------------------------------
def compulsory_bytes(graph: Graph, program: Program) -> int:
    """Return the bytes that have to cross DRAM when nothing is on chip: tensors moved whole, and all weights."""
    host = {n.name for part in (program.host_before, program.host_after) if part is not None for n in part.nodes}
    nodes = [n for n in graph.nodes if n.name not in host]
    made = {name for n in nodes for name in n.outputs}
    read = {name for n in nodes if n.op in READS_ALL for name in n.inputs if name}
    edges = {name for name in read if graph.tensor(name).constant is None and name not in made}
    places = {r.address: r.name for r in program.regions if r.kind == "output" and r.name in made}
    edges |= set(places.values())  # renamed tensors share their place
    weights = {
        n.inputs[i] for n in nodes for i in (1, 2) if n.op == "lstm" or (n.op in ("conv2d", "linear") and i == 1)
    }
    return sum(prod(int(d) for d in graph.tensor(t).shape) * BYTES[graph.tensor(t).dtype] for t in edges | weights)


def test_no_result_beats_the_lower_bound() -> None:
    is_tight = 0
    for graph, program, trace in all_cases():
        chip = program.chip
        matrix_macs = sum(k.macs for k in trace.kernels if k.kind == "matmul")
        compute = Fraction(matrix_macs, chip.peak_macs_per_cycle(program.dtype) * chip.cores.count)
        memory = compulsory_bytes(graph, program) / chip.dram_bytes_per_cycle
        bound = max(compute, memory)
        assert bound <= trace.cycles, f"{trace}\n{graph}"
        is_tight += bound * 2 > trace.cycles
    assert is_tight >= 20  # a bound that nothing comes near would not be a test


def test_every_kernel_stays_below_every_peak() -> None:
    for _, program, trace in all_cases():
        chip = program.chip
        peak = chip.peak_macs_per_cycle(program.dtype)
        for code, k in zip(program.kernels, trace.kernels, strict=True):
            assert max(k.matrix_busy, k.vector_busy) <= k.cycles
            assert k.macs <= peak * k.cycles * k.cores or k.kind == "vector"
            share = chip.dram_bytes_per_cycle / k.cores
            assert k.dram_read_bytes + k.dram_write_bytes <= share * k.cycles
            assert k.local_peak_bytes <= chip.local.size_bytes
            assert k.cores == prod(code.core_grid) <= chip.cores.count


def test_waterfalls_sum_to_the_total() -> None:
    for _, program, trace in all_cases():
        parts = dict(trace.waterfall())
        assert tuple(parts) == CAUSES and min(parts.values()) >= 0
        assert sum(parts.values()) == trace.cycles == sum(k.cycles for k in trace.kernels)
        peak = program.chip.peak_macs_per_cycle(program.dtype)
        for k in trace.kernels:
            useful = dict(k.waterfall)["useful"]
            assert useful <= k.matrix_busy
            if k.kind == "matmul" and k.cores == 1:
                assert useful >= Fraction(k.macs, peak), k.name  # attention multiplies a row of ones besides


# --- counts of instructions, from their own text ----------------------------------------------------------------------
def memory_of(program: Program) -> Memory:
    nothing = np.zeros(0, np.uint8)
    return Memory(nothing, nothing, np.zeros(0, np.int32))


def counted_macs(program: Program, kernel: KernelCode) -> int:
    """Count the products of all cores: MM's rows x k x n, VOP mac's rows x lanes."""
    streams, _ = kernel_streams(program, kernel)
    total = 0
    for core in np.ndindex(*kernel.core_grid):
        for code in streams[1:3]:
            for x, at in Walk(code):
                if isinstance(x, MM) or (isinstance(x, VOP) and x.sub == VOPS["mac"]):
                    rows = ((x.rows0, x.left0), (x.rows1, x.left1), (x.rows2, x.left2), (x.n, x.n_left))
                    depth = ((x.k, x.k_left),) if isinstance(x, MM) else ()
                    total += prod(extent(size, left, at, core) for size, left in rows + depth)
    return total


def counted_bytes(program: Program, kernel: KernelCode) -> tuple[int, int]:
    """Count what core (0, 0) reads from DRAM and writes to it: bytes inside the tensors, shared in a wave."""
    streams, _ = kernel_streams(program, kernel)
    moved = [0, 0]
    for number, stream in enumerate((0, 3)):
        for x, at in Walk(streams[stream]):
            if isinstance(x, LD | ST) and x.level == 0:
                rows = replace(x, sub=0).rows(memory_of(program), at)  # sub 1 gathers: as many bytes from other rows
                inside = sum(end - first for far, _, first, end in rows if far is not None)
                moved[number] += ceil(Fraction(inside, x.sharers))
    return moved[0], moved[1]


def test_products_of_trace_graph_and_program_agree() -> None:
    n = 0
    for graph, program, trace in random_cases():
        assert trace.macs == graph.macs() == sum(k.macs for k in trace.kernels)
        for code, k in zip(program.kernels, trace.kernels, strict=True):
            ops = [graph.node(name).op for name in k.nodes]
            assert k.macs == sum(graph.node_macs(name) for name in k.nodes)
            if ops[0] != "attention" and k.instructions < 3000:
                assert counted_macs(program, code) == k.macs, f"{k.name}: {ops}"
                n += k.macs > 0
    assert n >= 80
    for graph, _, trace in zoo_cases():
        assert trace.macs == graph.macs()


def test_bytes_of_trace_and_program_agree() -> None:
    n = 0
    for _, program, trace in random_cases():
        for code, k in zip(program.kernels, trace.kernels, strict=True):
            if k.instructions < 3000:
                assert counted_bytes(program, code) == (k.dram_read_bytes, k.dram_write_bytes), k.name
                n += 1
    assert n >= 200


# --- meaning and determinism ------------------------------------------------------------------------------------------
def test_fold_keeps_the_meaning() -> None:
    graphs = [network(Random(seed)) for seed in range(120)] + [
        build(n, weights="random").bind(batch=2) for n in SMALL_ZOO
    ]
    changed = 0
    for number, graph in enumerate(graphs):
        folded, inputs = fold(graph), inputs_of(graph, number)
        before, after = evaluate(graph, inputs), evaluate(folded, inputs)
        assert list(before) == list(after)
        changed += len(folded.nodes) < len(graph.nodes)
        for name, value in before.items():
            assert np.abs(after[name] - value).max(initial=0) <= 1e-5 * max(1.0, float(np.abs(value).max(initial=0))), (
                name
            )
    assert changed >= 20


def test_the_same_input_gives_the_same_program() -> None:
    for seed in range(20):
        made: list[tuple[str, str]] = []
        for _ in range(2):
            rng = Random(seed)
            graph, chip = network(rng), small_chip(rng)
            try:
                program = pipeline.compile(graph, chip, samples=[inputs_of(graph, 0)])
            except (DoesNotFit, NotSupported):
                continue
            made.append((str(program), program.hash))
        assert len(set(made)) <= 1


def fingerprint() -> str:
    """Return the hashes of some programs and the text of some reports: the same in every process."""
    lines: list[str] = []
    for name in ("digits_cnn", "digits_attention", "digits_lstm"):
        graph = build(name, weights="random").bind(batch=1)
        program = pipeline.compile(graph, "edge-npu-16", samples=[inputs_of(graph, 0)])
        lines += [program.hash, json.dumps(pipeline.report(pipeline.simulate(program)).to_json())]
    lines += [json.dumps(r.to_json()) for r in pipeline.compare(build("resnet8"), ZOO_CHIPS)]
    return "\n".join(lines)


def test_two_processes_agree() -> None:
    """Text and hashes do not depend on the order of sets: PYTHONHASHSEED differs."""
    root, code = str(Path(__file__).parents[1]), "from tests.test_laws import fingerprint; print(fingerprint())"
    found: list[str] = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root}
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
        )
        found.append(run.stdout.strip())
    assert found[0] == found[1] == fingerprint()


@pytest.mark.parametrize("names", [("beta", "alpha"), ("alpha", "beta")])
def test_ties_go_by_name(names: tuple[str, str]) -> None:
    text = str(Chip.load("edge-npu-16"))
    chips = [Chip.parse(text.replace('"edge-npu-16"', f'"{name}"')) for name in names]
    reports = pipeline.compare(build("digits_cnn"), chips)
    assert reports[0].cycles == reports[1].cycles
    assert [r.chip_name for r in reports] == ["alpha", "beta"]
