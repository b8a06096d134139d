"""Kernels that run whole: the same bytes in far memory as their instructions one by one, or they are left alone.

In: random networks on random small chips, in mappings that the search would not take; and their programs with one
field of one record changed. Promises: a Runner that is asked to repeat gives, on inputs it has not seen, the far memory
of one that is not, whatever the program says. Ordinary convolutions do run whole. The witness of that Runner is
`Instruction.run` (test_interpreter.py), and the reference of the ops.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, InternalError, NotSupported, OnchipError
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.program import Model, Program
from onchip.isa import LD, MATRIX, MM, RQ, ST, VECTOR
from onchip.lowering.lower import lower
from onchip.planner.plan import plan
from onchip.simulator.values import Runner
from tests.mappings import legal_mappings, remapped
from tests.networks import conv, inputs_of, linear, network, pointwise, small_chip

pytest.importorskip("torch")
torch.set_num_threads(1)
MODEL = Model("any", "", 0, 0)
LOAD, STORE = 0, 3


def run_both(program: Program, first: dict[str, Any], second: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Run two Runners on two inputs; return how many kernels ran whole, and the outputs of the second input."""
    plain, repeated = Runner(program), Runner(program, is_repeated=True)
    plain(first)
    repeated(first)
    wanted, found = plain(second), repeated(second)
    np.testing.assert_array_equal(repeated._far, plain._far)  # pyright: ignore[reportPrivateUsage]
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    wholes = repeated._wholes  # pyright: ignore[reportPrivateUsage]
    return (0 if wholes is None else wholes.count), found


def drawn(seed: int) -> tuple[Program, Graph] | None:
    """Draw a network and a chip, give its kernels random mappings, and lower them."""
    rng = Random(seed)
    graph, chip = network(rng, {conv: 3, pointwise: 2, linear: 1} if seed % 2 else None, most=3), small_chip(rng)
    try:
        made = pipeline.compile_graph(graph, chip, samples=[inputs_of(graph, 1)])
        planned = plan(made, chip, "int8")
    except (DoesNotFit, NotSupported):
        return None
    kernels = list(planned.kernels)
    for i, kernel in enumerate(kernels):
        if kernel.shape.kind == "matmul" and seed % 3:
            kernels[i] = remapped(kernel, rng.choice(legal_mappings(kernel.shape, chip)), chip)
    try:
        return lower(replace(planned, kernels=tuple(kernels)), MODEL, with_data=True), made
    except OnchipError:
        return None


def random_networks(first: int, last: int) -> tuple[int, int]:
    """Run drawn programs both ways and by the reference; return how many, and how many of their kernels ran whole."""
    n_whole = n_programs = 0
    for seed in range(first, last):
        made = drawn(seed)
        if made is None:
            continue
        program, graph = made
        second = inputs_of(graph, seed + 1)
        whole, found = run_both(program, inputs_of(graph, seed), second)
        for name, value in evaluate(graph, dict(second)).items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"seed {seed}")
        n_whole += whole
        n_programs += 1
    return n_programs, n_whole


def test_random_networks_and_mappings() -> None:
    n_programs, n_whole = random_networks(0, 12)
    assert n_programs > 4 and n_whole > 2


def residual() -> Graph:
    """Two convolutions and a sum, as in a residual block, behind a strided and padded one."""
    b, random = GraphBuilder("block"), np.random.default_rng(2)

    def weights(name: str, *shape: int) -> tuple[str, str]:
        made = random.standard_normal(shape).astype(np.float32) * np.float32(0.2)
        return b.constant(f"{name}.weight", made), b.constant(f"{name}.bias", made[:, 0, 0, 0] * 3)

    def convolve(name: str, x: str, *shape: int, **attributes: Any) -> str:
        return str(b.node("conv2d", (x, *weights(name, *shape)), name=name, **attributes))

    x = b.input("x", (1, 11, 9, 5))
    y = convolve("stem", x, 24, 3, 3, 5, stride=(2, 2), padding=(1, 1, 1, 1), activation="relu")
    z = convolve("wide", y, 40, 1, 1, 24, activation="relu")
    z = convolve("deep", z, 24, 3, 3, 40, padding=(1, 1, 1, 1))
    b.output(str(b.node("add", (z, y), name="sum", activation="relu")))
    return b.finish()


def residual_program(chip: str) -> tuple[Program, Graph]:
    graph = residual()
    loaded = Chip.load(chip)
    made = pipeline.compile_graph(graph, loaded, samples=[inputs_of(graph, 1)], dtype="int8")
    return lower(plan(made, loaded, "int8"), MODEL, with_data=True), made


@pytest.mark.parametrize("chip", ["edge-npu-16", "tiny-npu-4"])
def test_a_residual_block_runs_whole(chip: str) -> None:
    program, graph = residual_program(chip)
    assert run_both(program, inputs_of(graph, 1), inputs_of(graph, 2))[0] == len(program.kernels) == 3


def changed(program: Program, stream: int, at: int, field: str, place: tuple[int, ...], value: int) -> Program:
    """Return the program with one number of one record changed. Raises OnchipError where that is no program."""
    streams = [records.copy() for records in program.streams]
    streams[stream][field][(at, *place)] = value
    return replace(program, streams=(streams[0], streams[1], streams[2], streams[3]))


def random_change(program: Program, rng: Random) -> Program:
    """Change a number that a record has by a little, or to one that another record has there."""
    stream = rng.choice((LOAD, MATRIX, MATRIX, VECTOR, STORE))
    records = program.streams[stream]
    at = rng.choice([i for i in range(len(records)) if records["op"][i] in (1, 2, 3, 4, 5, 6)])
    other = rng.choice([i for i in range(len(records)) if records["op"][i] == records["op"][at]])
    if rng.random() < 0.5:
        field, place = "affines", (rng.choice((0, 0, 1, 1, 2, 3, 4, 5)), rng.choice((0, 0, 1, 2, 3, 4, 8)))
    elif rng.random() < 0.9:
        field, place = "integers", (rng.randrange(21),)
    else:
        field, place = "sub", ()
    old = int(records[field][(at, *place)])
    steps = (1, -1, 4, -4, 16, -16, 64) if field != "sub" else (1, -1, 4)
    value = old + rng.choice(steps) if rng.random() < 0.7 else int(records[field][(other, *place)])
    return changed(program, stream, at, field, place, value)


def same_or_refused(program: Program, graph: Graph) -> int:
    """Run a changed program both ways, unless its instructions cannot run; return how many kernels ran whole."""
    try:
        Runner(program)(inputs_of(graph, 1))
    except InternalError:  # it leaves the memory, or waits for ever
        return -1
    return run_both(program, inputs_of(graph, 1), inputs_of(graph, 2))[0]


def mutate(n: int, seed: int) -> tuple[int, int]:
    """Change programs `n` times; return how many ran, and how many had a kernel that did not run whole any more."""
    rng, programs = Random(seed), [residual_program("edge-npu-16"), residual_program("tiny-npu-4")]
    n_run = n_left = 0
    for i in range(n):
        program, graph = programs[i % 2]
        try:
            broken = random_change(program, rng)
        except (OnchipError, OverflowError):
            continue
        with np.errstate(all="ignore"):
            whole = same_or_refused(broken, graph)
        n_run += whole >= 0
        n_left += 0 <= whole < len(program.kernels)
    return n_run, n_left


def test_changed_programs() -> None:
    n_run, n_left = mutate(120, 1)
    assert n_run > 50 and n_left > 15


@pytest.mark.slow
def test_many_random_networks_and_mappings() -> None:
    n_programs, n_whole = random_networks(12, 400)
    assert n_programs > 150 and n_whole > 100


@pytest.mark.slow
def test_many_changed_programs() -> None:
    n_run, n_left = mutate(5000, 2)
    assert n_run > 2000 and n_left > 600


def record_of(program: Program, kernel: int, stream: int, op: int) -> int:
    """Return the place of a kernel's first record of an op."""
    found = program.kernels[kernel]
    records = program.streams[stream][found.starts[stream] : found.ends[stream]]
    return found.starts[stream] + int(np.flatnonzero(records["op"] == op)[0])


def test_what_is_left_from_before_keeps_all_kernels_as_they_are() -> None:
    """The second kernel does not load its weights: it finds what the first one left there."""
    program, graph = residual_program("edge-npu-16")
    at = record_of(program, 1, LOAD, LD.OP)
    assert same_or_refused(changed(program, LOAD, at, "integers", (0,), 0), graph) == 0


def test_a_result_over_its_own_input_is_left_alone() -> None:
    program, graph = residual_program("edge-npu-16")
    store = record_of(program, 1, STORE, ST.OP)
    loads = program.streams[LOAD][program.kernels[1].starts[LOAD] : program.kernels[1].ends[LOAD]]
    bases = {int(b) for b in loads["affines"][loads["op"] == LD.OP][:, 0, 0]}
    inputs = next(r.address for r in program.regions if r.kind != "constant" and r.address in bases)
    assert same_or_refused(changed(program, STORE, store, "affines", (0, 0), inputs), graph) < 3


def test_sums_that_do_not_start_new_are_left_alone() -> None:
    """The first pass adds to what is there."""
    program, graph = residual_program("edge-npu-16")
    at = record_of(program, 0, MATRIX, MM.OP)
    assert same_or_refused(changed(program, MATRIX, at, "sub", (), 1), graph) < 3


def test_another_shift_still_runs_whole() -> None:
    """The chain is taken from the records as it is."""
    program, graph = residual_program("edge-npu-16")
    at = record_of(program, 0, VECTOR, RQ.OP)
    zero = int(program.streams[VECTOR]["integers"][at, 18])
    assert same_or_refused(changed(program, VECTOR, at, "integers", (18,), zero + 3), graph) == 3
