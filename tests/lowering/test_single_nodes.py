"""Single nodes: programs equal the integer reference where it is easy to be off by one or to overlook an attribute."""

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
    found: NDArray[np.float32] = trace.outputs["y"]
    np.testing.assert_array_equal(found, oc.evaluate(graph, inputs)["y"])


def out_shape(op: str, shape: list[int]) -> list[int]:
    return [shape[0], 1, 1, shape[3]] if "avg_pool" in op else shape


def test_fp32_rounding_outside_of_convolutions() -> None:
    run("mul", EVERY.reshape(1, 256), (0.05, 3), (0.04, -7), '"rounding":"fp32"')


def test_averages_that_do_not_count_padding() -> None:
    values = np.stack([EVERY, EVERY[::-1] + (EVERY % 2)]).clip(-128, 127).reshape(1, 2, 1, 256)
    run("avg_pool2d", values, (0.1, -9), (0.1, -9), '"count_include_pad":false,"kernel":[2,1],"stride":[2,1]')


def test_averages_over_large_windows() -> None:
    total, cells = 43609, 196
    values = np.full(cells, total // cells - 128) + (np.arange(cells) < total % cells)
    run("avg_pool2d", values.reshape(1, 14, 14, 1), (1.0, -128), (1.0, -128), '"kernel":[14,14],"stride":[14,14]')


def test_relu_between_scales() -> None:
    run("relu", EVERY.reshape(1, 256), (0.05, 0), (0.5, -128))


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
    found: NDArray[np.float32] = trace.outputs["relu"]
    np.testing.assert_array_equal(found, oc.evaluate(seen["graph"], sample)["relu"])


@pytest.mark.parametrize(
    "op", ["hard_swish", "hard_sigmoid", "leaky_relu", "elu", "softplus", "mish", "abs", "exp", "rsqrt"]
)
def test_tables_of_the_wide_op_set(op: str) -> None:
    run(op, EVERY.reshape(1, 256), (0.05, 3), (0.04, -7))
