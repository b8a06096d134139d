"""The differences between program and reference that docs/accuracy.md admits are still there.

Each case is expected to fail. One that passes, or is refused with an error, is mended: take it out here and in
docs/accuracy.md, Known differences.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip.ir.build import GraphBuilder
from onchip.ir.graph_text import read_graph

EVERY = np.arange(-128, 128)


def run(
    op: str, values: NDArray[np.int64], given: tuple[float, int], made: tuple[float, int], attributes: str = ""
) -> None:
    """Run one int8 node with one input on a chip and by the reference; assert equal outputs."""
    shape, chip = list(values.shape), "h100-sxm" if "rounding" in attributes else "edge-npu-16"
    text = f"""graph "one"
tensor "x" f32 {shape}
tensor "xq" i8 {shape} q={{"scale":[{given[0]}],"zero":[{given[1]}],"axis":null}}
tensor "yq" i8 {out_shape(op, shape)} q={{"scale":[{made[0]}],"zero":[{made[1]}],"axis":null}}
tensor "y" f32 {out_shape(op, shape)}
node "first" quantize ["x"] -> ["xq"] {{"dtype":"i8"}}
node "node" {op} {["xq", "xq"] if op == "mul" else ["xq"]} -> ["yq"] {{{attributes}}}
node "last" dequantize ["yq"] -> ["y"] {{}}
inputs ["x"]
outputs ["y"]
""".replace("'", '"')
    graph = read_graph(text)
    inputs = {"x": ((values - given[1]) * given[0]).astype(np.float32)}
    program = oc.compile(graph, chip, dtype="int8")
    trace = oc.simulate(program, inputs)
    found: NDArray[np.float32] = trace.outputs["y"]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(found, oc.evaluate(graph, inputs)["y"])


def out_shape(op: str, shape: list[int]) -> list[int]:
    return [shape[0], 1, 1, shape[3]] if "avg_pool" in op else shape


MENDED = "mended? then take it out of docs/accuracy.md"
still = pytest.mark.xfail(strict=True, raises=AssertionError, reason=MENDED)


@still
def test_fp32_rounding_outside_of_convolutions() -> None:
    run("mul", EVERY.reshape(1, 256), (0.05, 3), (0.04, -7), '"rounding":"fp32"')


@still
def test_averages_that_do_not_count_padding() -> None:
    values = np.stack([EVERY, EVERY[::-1] + (EVERY % 2)]).clip(-128, 127).reshape(1, 2, 1, 256)
    run("avg_pool2d", values, (0.1, -9), (0.1, -9), '"count_include_pad":false,"kernel":[2,1],"stride":[2,1]')


@still
def test_averages_over_large_windows() -> None:
    total, cells = 43609, 196
    values = np.full(cells, total // cells - 128) + (np.arange(cells) < total % cells)
    run("avg_pool2d", values.reshape(1, 14, 14, 1), (1.0, -128), (1.0, -128), '"kernel":[14,14],"stride":[14,14]')


@still
def test_relu_between_scales() -> None:
    run("relu", EVERY.reshape(1, 256), (0.05, 0), (0.5, -128))


def lstm(*, reverse: bool = False, lengths: tuple[int, int] | None = None) -> tuple[NDArray[np.float32], ...]:
    """Return y of a small LSTM: by its program, by the int8 reference, in floats."""
    random = np.random.default_rng(0)
    draft = GraphBuilder("lstm")
    draft.input("x", (2, 5, 6))
    for name, width in (("w_ih", 6), ("w_hh", 4)):
        draft.constant(name, random.normal(0, 0.4, (16, width)).astype(np.float32))
    inputs = ["x", "w_ih", "w_hh"]
    if lengths is not None:
        draft.constant("lengths", np.array(lengths, np.int64))
        inputs += ["", "", "", "", "lengths"]
    made = draft.node("lstm", inputs, "lstm", hidden=4, reverse=reverse)
    draft.output(made[0])
    graph, sample = draft.finish(), {"x": random.normal(0, 1, (2, 5, 6)).astype(np.float32)}
    seen: dict[str, oc.Graph] = {}
    trace = oc.simulate(oc.compile(graph, "edge-npu-16", samples=[sample], watch=seen.__setitem__), sample)
    found: NDArray[np.float32] = trace.outputs["lstm"]  # pyright: ignore[reportAttributeAccessIssue]
    return found, oc.evaluate(seen["graph"], sample)["lstm"], oc.evaluate(graph, sample)["lstm"]


@still
def test_an_lstm_that_runs_backwards() -> None:
    found, exact, _ = lstm(reverse=True)
    np.testing.assert_array_equal(found, exact)


@still
def test_an_lstm_over_sequences_of_several_lengths() -> None:
    found, _, real = lstm(lengths=(3, 5))
    np.testing.assert_allclose(found, real, atol=0.1)


@still
def test_an_embedding() -> None:
    random = np.random.default_rng(0)
    draft = GraphBuilder("embedding")
    draft.input("ids", (2, 3), "i64")
    draft.constant("table", random.normal(0, 1, (9, 32)).astype(np.float32))
    draft.node("gather", ("table", "ids"), "gather")
    draft.node("relu", ("gather",), "relu")
    draft.output("relu")
    graph, sample = draft.finish(), {"ids": np.array([[2, 0, 5], [1, 8, 8]])}
    seen: dict[str, oc.Graph] = {}
    trace = oc.simulate(oc.compile(graph, "edge-npu-16", samples=[sample], watch=seen.__setitem__), sample)
    found: NDArray[np.float32] = trace.outputs["relu"]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(found, oc.evaluate(seen["graph"], sample)["relu"])
