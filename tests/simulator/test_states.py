"""States from run to run: a program's Runner against the reference's steps, for caches, cells and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onchip as oc
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ir.graph_text import read_graph
from onchip.ir.program import Program

STEPS = 6


def window() -> Graph:
    """The mean of the last four rows: a cache of concat and slice."""
    b = GraphBuilder("window")
    b.input("x", (1, 1, 8))
    b.input("cache", (1, 3, 8))
    b.node("concat", ("cache", "x"), "both", axis=1)
    b.state("cache", str(b.node("slice", ("both",), "next", axis=1, start=1, stop=4)))
    b.output(str(b.node("mean", ("both",), "y", axes=(1,))))
    return b.finish()


def cells() -> Graph:
    """An LSTM and a GRU, a step a run, their states carried on."""
    random, b, hidden = np.random.default_rng(0), GraphBuilder("cells"), 6
    x = b.input("x", (2, 1, 5))
    for op, gates in (("lstm", 4), ("gru", 3)):
        names = [b.input(f"{op}.{s}", (2, hidden)) for s in ("h0", "c0")[: 2 if op == "lstm" else 1]]
        width = int(b.shape(x)[2])
        weights = [
            b.constant(f"{op}.{n}", random.normal(0, 0.5, (gates * hidden, k)).astype(np.float32))
            for n, k in (("w_ih", width), ("w_hh", hidden))
        ]
        made = b.node(op, (x, *weights, "", "", *names), op, hidden=hidden)
        assert isinstance(made, tuple)
        for given, new in zip(names, made[1:], strict=True):
            b.state(given, new)
        x = made[0]
    b.output(x)
    return b.finish()


def inputs_of(graph: Graph, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    shape = tuple(int(d) for d in graph.tensor("x").shape)
    return [{"x": random.uniform(-1, 1, shape).astype(np.float32)} for _ in range(STEPS)]


def compiled(graph: Graph) -> tuple[Program, Graph]:
    seen: dict[str, Graph] = {}
    program = oc.compile(graph, "edge-npu-16", samples=inputs_of(graph, 0), watch=seen.__setitem__)
    return program, seen["graph"]


@pytest.mark.parametrize("make", [window, cells])
def test_a_program_goes_on_where_the_last_run_stopped(make: Any, tmp_path: Path) -> None:
    """Runner == the integer steps, bit for bit; near the float steps; the same from a file, and again after a reset."""
    graph = make()
    program, reference = compiled(graph)
    steps = inputs_of(graph, 1)
    wanted = list(oc.evaluate_steps(reference, steps))
    program.save(tmp_path / "p.npz")
    for runner in (oc.Runner(program), oc.Runner(Program.load(tmp_path / "p.npz"))):
        for _ in range(2):
            for step, want in zip(steps, wanted, strict=True):
                for name, value in runner(step).items():
                    np.testing.assert_array_equal(value, want[name])
            runner.reset()
    for ours, want in zip(wanted, oc.evaluate_steps(graph, steps), strict=True):
        for name, value in want.items():
            np.testing.assert_allclose(ours[name], value, atol=0.06)
    alone = oc.evaluate(reference, steps[-1])
    assert any((alone[name] != wanted[-1][name]).any() for name in alone)  # the states matter


def test_states_of_one_quantization_stay_in_far_memory() -> None:
    for make, n in ((window, 1), (cells, 3)):
        program, _ = compiled(make())
        runner = oc.Runner(program)
        assert runner.states == {}
        runner(inputs_of(make(), 1)[0])
        assert sorted(runner.states) == sorted(given for given, _ in program.states) and len(runner.states) == n
        assert all(value.dtype in (np.int8, np.int16) for value in runner.states.values())


def test_a_given_state_is_where_a_run_starts() -> None:
    graph = window()
    program, reference = compiled(graph)
    runner, x = oc.Runner(program), inputs_of(graph, 2)
    runner(x[0])
    own = {**x[1], "cache": np.full((1, 3, 8), 0.5, np.float32)}
    for step, want in zip((own, x[2]), oc.evaluate_steps(reference, (own, x[2])), strict=True):
        np.testing.assert_array_equal(runner(step)["y"], want["y"])


def test_steps_in_floats_are_the_window() -> None:
    graph = window()
    rows = inputs_of(graph, 3)
    history = np.concatenate([np.zeros((1, 3, 8), np.float32), *(row["x"] for row in rows)], axis=1)
    for t, made in enumerate(oc.evaluate_steps(graph, rows)):
        np.testing.assert_allclose(made["y"], history[:, t : t + 4].mean(axis=1), rtol=1e-6)


ACCUMULATE = """graph "sum"
tensor "x" i8 [1, 4] q={"scale":[0.5],"zero":[3],"axis":null}
tensor "s" i8 [1, 4] q={"scale":[0.5],"zero":[-7],"axis":null}
tensor "y" i8 [1, 4] q={"scale":[0.5],"zero":[-7],"axis":null}
node "add" add ["x", "s"] -> ["y"] {"rounding":"double"}
inputs ["x", "s"]
outputs ["y"]
state ["s", "y"]
"""


def test_integer_variables_start_at_their_zero_point() -> None:
    """A running sum of an imported int8 graph: 0.5 (x - 3) added up."""
    graph = read_graph(ACCUMULATE)
    program = oc.compile(graph, "h100-sxm", dtype="int8")
    runner, x = oc.Runner(program), np.array([[3, 5, 13, -7]], np.int8)
    for n in (1, 2, 3):
        np.testing.assert_array_equal(runner({"x": x})["y"], -7 + n * (x - 3))
