"""Decision 4: in a kernel, one unit reads a bank of local memory and one unit writes it, so nothing arbitrates.

The bytes that each instruction can touch follow from its fields and the loops around it; a bank is looked at whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
import pytest

import onchip as oc
from onchip.errors import OnchipError
from onchip.ir.graph import Graph
from onchip.isa import LD, LOOP, LUT, MM, RED, RQ, ST, VOP, WLD, Affine, Instruction
from onchip.isa.memory import ACC, TYPE_BYTES
from onchip.isa.vector import PER_LANE, VOPS
from tests.naive_machine import kernel_streams
from tests.networks import inputs_of, network, small_chip

Span = tuple[bool, int, int]  # is it a write, first byte, end byte


def ends(operand: Affine, counts: Sequence[int]) -> tuple[int, int]:
    """Return the least and the largest value of an operand."""
    moves = [s * (n - 1) for s, n in zip(operand.strides, (*counts, 1, 1, 1, 1), strict=False)] + [operand.slot]
    return operand.base + sum(min(0, m) for m in moves), operand.base + sum(max(0, m) for m in moves)


def span(is_write: bool, operand: Affine, counts: Sequence[int], steps: Sequence[tuple[int, int]], width: int) -> Span:
    low, high = ends(operand, counts)
    return is_write, low, high + sum((n - 1) * stride for n, stride in steps) + width


def spans(x: Instruction, counts: Sequence[int]) -> Iterator[Span]:
    if isinstance(x, LD | ST):
        box = ((x.box0, x.near0), (x.box1, x.near1), (x.box2, x.near2))
        yield span(isinstance(x, LD), x.near, counts, box, x.box3)
    elif isinstance(x, WLD):
        rows, width = (x.n, x.k) if x.sub else (x.k, x.n)
        yield span(False, x.source, counts, ((rows, x.pitch),), width)
    elif isinstance(x, MM):
        last = ends(x.k_begin, counts)[1] + x.k - 1
        rows = ((x.rows0, x.source0), (x.rows1, x.source1), (x.rows2, x.source2))
        yield span(False, x.source, counts, rows, last // x.run_length * x.run_stride + x.run_length)
    elif isinstance(x, RQ | VOP | RED | LUT):
        yield from vector_spans(x, counts)


def vector_spans(x: RQ | VOP | RED | LUT, counts: Sequence[int]) -> Iterator[Span]:
    rows = (x.rows0, x.rows1, x.rows2)
    if x.a_type != ACC:
        lanes = (x.n if x.a_step else 1) * TYPE_BYTES[x.a_type]
        yield span(False, x.a, counts, tuple(zip(rows, (x.a0, x.a1, x.a2), strict=True)), lanes)
    if isinstance(x, VOP) and not x.has_immediate and x.b_type != ACC:
        lanes = (x.n if x.b_step else 1) * TYPE_BYTES[x.b_type]
        yield span(False, x.b, counts, tuple(zip(rows, (x.b0, x.b1, x.b2), strict=True)), lanes)
    if (isinstance(x, RQ) and x.sub & PER_LANE) or isinstance(x, LUT):
        yield span(False, x.b, counts, (), 12 * x.n if isinstance(x, RQ) else 1024)
    if x.d_type != ACC:
        lanes = (1 if isinstance(x, RED) else x.n) * TYPE_BYTES[x.d_type]
        strides = tuple(zip(rows, (x.d0, x.d1, x.d2), strict=True))
        yield span(True, x.d, counts, strides, lanes)
        if isinstance(x, VOP) and x.sub == VOPS["mac"]:
            yield span(False, x.d, counts, strides, lanes)


def with_counts(code: Sequence[Instruction]) -> Iterator[tuple[Instruction, tuple[int, ...]]]:
    """Go through a stream with the counts of the loops around each instruction."""
    loops: list[tuple[int, int]] = []
    for at, x in enumerate(code):
        while loops and loops[-1][0] <= at:
            loops.pop()
        if isinstance(x, LOOP):
            loops.append((at + 1 + x.body, x.count))
        else:
            yield x, tuple(count for _, count in loops)


def check(graph: Graph, chip: oc.Chip, sample: dict[str, np.ndarray]) -> int:
    """Assert the rule for every kernel that is computed tile by tile; return how many there were."""
    plans: dict[str, oc.Plan] = {}
    program = oc.compile(graph, chip, samples=[sample], watch=plans.__setitem__)
    bank, checked = chip.local.size_bytes // chip.local.banks, 0
    for kernel, planned in zip(program.kernels, plans["plan"].kernels, strict=True):
        if planned.shape.kind not in ("matmul", "vector"):
            continue
        users: dict[tuple[bool, int], set[int]] = {}
        for unit, code in enumerate(kernel_streams(program, kernel)[0]):
            for x, counts in with_counts(code):
                for is_write, low, high in spans(x, counts):
                    for number in range(low // bank, (high - 1) // bank + 1):
                        users.setdefault((is_write, number), set()).add(unit)
        assert all(len(units) == 1 for units in users.values()), f"{kernel.name} on {chip}: {users}"
        checked += 1
    return checked


@pytest.mark.parametrize("chip", ["edge-npu-16", "tiny-npu-4", "tpu-v1"])
def test_the_small_zoo(chip: str) -> None:
    for name in ("@digits_cnn", "@resnet8"):
        graph = oc.read(name, batch=1, weights="random")
        shape = tuple(int(d) for d in graph.tensor("input").shape)
        sample = {"input": np.random.default_rng(0).random(shape, np.float32)}
        assert check(graph, oc.Chip.load(chip), sample) >= 4


def test_random_networks_on_random_chips() -> None:
    checked = 0
    for seed in range(60):
        rng = Random(seed)
        graph, chip = network(rng), small_chip(rng, is_roomy=True)
        if chip.local.banks < 4:
            continue
        try:
            checked += check(graph, chip, inputs_of(graph, seed))
        except OnchipError:
            continue
    assert checked >= 40
