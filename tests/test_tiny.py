"""One matrix product through all rooms: Graph, int8 Graph, Plan, Program, words and back, values, Trace, Report."""

from __future__ import annotations

from typing import Any

import numpy as np

from onchip import pipeline
from onchip.chip import Chip
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.trace import RunTrace

ROWS, DEPTH, COLUMNS = 6, 10, 7  # no multiple of the 4 x 4 array in any direction


def tiny_graph() -> Graph:
    rng = np.random.default_rng(0)
    b = GraphBuilder("tiny")
    weights = b.constant("fc.weight", rng.standard_normal((COLUMNS, DEPTH), dtype=np.float32))
    bias = b.constant("fc.bias", rng.standard_normal(COLUMNS, dtype=np.float32))
    made = b.node("linear", (b.input("x", (ROWS, DEPTH)), weights, bias), "fc")
    assert isinstance(made, str)
    b.output(made)
    return b.finish()


def test_a_matrix_product_goes_through_all_rooms() -> None:
    graph, chip, seen = tiny_graph(), Chip.load("tiny-npu-4"), dict[str, Any]()
    x = np.random.default_rng(1).standard_normal((ROWS, DEPTH), dtype=np.float32)

    program = pipeline.compile(graph, chip, samples=[{"x": x}], watch=seen.__setitem__)
    assert [node.op for node in seen["graph"].nodes] == ["quantize", "linear", "dequantize"]
    (kernel,) = seen["plan"].kernels
    assert kernel.nodes == ("fc",) and kernel.shape.grid == (1, ROWS, 1, COLUMNS)

    decoded = program.decode(program.encode())
    assert decoded.hash == program.hash and str(decoded) == str(program)

    trace = pipeline.simulate(decoded, {"x": x})
    assert isinstance(trace, RunTrace)
    np.testing.assert_array_equal(trace.outputs["fc"], evaluate(seen["graph"], {"x": x})["fc"])
    real = x @ seen["fold"].tensor("fc.weight").constant.data.T + seen["fold"].tensor("fc.bias").constant.data
    assert np.abs(trace.outputs["fc"] - real).max() < 0.1 * np.abs(real).max()  # int8 stays near the float product

    assert trace.macs == ROWS * DEPTH * COLUMNS
    assert trace.cycles == pipeline.estimate(graph, chip).cycles > ROWS * DEPTH * COLUMNS / 16
    report = pipeline.report(trace)
    assert report.cycles == trace.cycles and report.latency_s.value == trace.cycles / 100e6
