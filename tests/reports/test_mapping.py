"""The mapping panel's data against the program: the products of the cores, one by one, and the plan's own words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil, prod
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.graph import Graph
from onchip.ir.plan import Plan
from onchip.ir.program import KernelCode, Program
from onchip.isa import MM
from onchip.isa.fields import Affine
from onchip.planner.nest import loop_nest
from onchip.reports.mapping import mapping_part, passes_of
from onchip.zoo.catalog import build
from tests.lowering.test_products import drawn_product
from tests.naive_machine import Walk, kernel_streams
from tests.networks import network, small_chip


def planned(graph: Graph, chip: Chip, dtype: str | None = None) -> tuple[Plan, Program]:
    seen: dict[str, Any] = {}
    pipeline.estimate_trace(graph, chip, dtype=dtype, watch=seen.__setitem__)
    return seen["plan"], seen["program"]


def part_of(plan: Plan) -> dict[str, Any]:
    return mapping_part(plan, [loop_nest(kernel, plan.chip) for kernel in plan.kernels])


def products(program: Program, code: KernelCode) -> Counter[tuple[int, int]]:
    """Rows that each kind of product (inputs, channels) multiplies, on all cores, from the instructions' own text."""
    streams, _ = kernel_streams(program, code)
    found = Counter[tuple[int, int]]()
    for core in np.ndindex(*code.core_grid):
        for x, at in Walk(streams[1]):
            if isinstance(x, MM):
                sides = ((x.rows0, x.left0), (x.rows1, x.left1), (x.rows2, x.left2), (x.k, x.k_left), (x.n, x.n_left))
                m0, m1, m2, k, n = (
                    size if left == Affine() else max(0, min(size, left.at(at, core))) for size, left in sides
                )
                found[k, n] += m0 * m1 * m2 if k and n else 0
    return Counter({size: rows for size, rows in found.items() if rows})


def random_plans() -> Iterator[tuple[Plan, Program]]:
    for seed in range(5000, 5070):
        rng = Random(seed)
        graph, chip, dtype = network(rng), small_chip(rng), rng.choice(("int8", "int8", "bf16"))
        try:
            yield planned(graph, chip, dtype)
        except (DoesNotFit, NotSupported):
            continue


def products_of_activations() -> Iterator[tuple[Plan, Program]]:
    """Zero points of both operands: rows of ones in front of the tiles, and columns of ones beside them."""
    for seed in range(60):
        rng, seen = Random(seed), dict[str, Any]()
        graph, chip = drawn_product(rng), small_chip(rng)
        values = np.random.default_rng(seed)
        shapes = {name: [int(d) for d in graph.tensor(name).shape] for name in graph.inputs}
        ends = {name: rng.choice((1, 3)) for name in shapes}
        sample = {name: values.uniform(-1, ends[name], shape).astype(np.float32) for name, shape in shapes.items()}
        try:
            program = pipeline.compile(graph, chip, samples=[sample], dtype="int8", watch=seen.__setitem__)
        except (DoesNotFit, NotSupported):
            continue
        yield seen["plan"], program


@pytest.mark.parametrize(("plans", "least"), [(random_plans, 50), (products_of_activations, 25)])
def test_passes_are_the_products_of_the_program(
    plans: Callable[[], Iterator[tuple[Plan, Program]]], least: int
) -> None:
    n = 0
    for plan, program in plans():
        for kernel, code in zip(plan.kernels, program.kernels, strict=True):
            if kernel.shape.kind != "matmul":
                continue
            mine = {(k, n): rows for k, n, _, rows in passes_of(kernel, plan.chip)}
            assert mine == products(program, code), f"{kernel}\n{plan.chip.matrix}"
            n += 1
    assert n >= least


@pytest.mark.parametrize(("network_name", "chip"), [("@resnet18", "edge-npu-16"), ("@digits_attention", "tiny-npu-4")])
def test_every_layer_of_a_network(network_name: str, chip: str) -> None:
    plan, _ = planned(build(network_name), Chip.load(chip))
    part = json.loads(json.dumps(part_of(plan)))
    assert [name for name, _ in part["kernels"]] == [kernel.name for kernel in plan.kernels]
    assert len(part["maps"]) <= len(plan.kernels)
    for kernel, (_, number) in zip(plan.kernels, part["kernels"], strict=True):
        found = part["maps"][number]
        assert found["nest"] == list(loop_nest(kernel, plan.chip))[1:]
        assert found["buffers"] == [
            [b.name, b.memory, b.address * (4 if b.memory == "accumulator" else 1),
             b.size * (4 if b.memory == "accumulator" else 1), b.slots] for b in kernel.buffers
        ]  # fmt: skip
        if found["loops"]:
            cores = dict(zip("pnb", found["cores"], strict=True))
            for axis, times, tile, extent in found["loops"]:
                assert times == ceil(ceil(extent / tile) / cores.get(axis, 1)), axis
        if kernel.shape.kind == "matmul" and kernel.shape.second is None:
            macs = sum(k * n * rows for k, n, _, rows in found["passes"])
            assert macs == kernel.shape.macs == sum(plan.graph.node_macs(name) for name in kernel.nodes)
            assert 0 < found["filled"] <= 1


def test_a_layer_by_hand() -> None:
    """ResNet's stem on 16 x 16 cells: 7 x 7 x 3 = 147 inputs are nine full passes and one of three rows."""
    plan, _ = planned(build("@resnet18").bind(batch=1), Chip.load("edge-npu-16"))
    stem = part_of(plan)["maps"][0]
    rows = 112 * 112
    assert {(k, n): r for k, n, _, r in stem["passes"]} == {(16, 16): 9 * 4 * rows, (3, 16): 4 * rows}
    assert stem["filled"] == pytest.approx(147 / 160)


def test_buffers_fit_their_memory() -> None:
    plan, _ = planned(build("@digits_cnn"), Chip.load("tiny-npu-4"))
    part = part_of(plan)
    for found in part["maps"]:
        for _, memory, address, size, slots in found["buffers"]:
            assert address >= 0 and address + size * slots <= part["memory"][memory]
    assert part["array"] == {"kind": "weight_stationary", "rows": 4, "columns": 4, "units": 1}
    assert prod(part["maps"][0]["cores"]) == 1


def test_equal_layers_share_a_map() -> None:
    plan, _ = planned(build("@resnet18"), Chip.load("edge-npu-16"))
    part = part_of(plan)
    assert len(part["maps"]) < len(part["kernels"])
    numbers = [number for _, number in part["kernels"]]
    assert sorted(set(numbers)) == list(range(len(part["maps"])))


def test_a_gpu_has_native_shapes() -> None:
    plan, _ = planned(build("@digits_cnn"), Chip.load("h100-sxm"))
    part = part_of(plan)
    assert part["array"]["kind"] == "dot_product" and part["maps"][0]["filled"] is None
