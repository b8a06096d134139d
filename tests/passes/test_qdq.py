"""Graphs of quantize/dequantize pairs: every scale and every integer is the network's own."""

from __future__ import annotations

import numpy as np
import pytest

from onchip.errors import UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node, Quantization, Tensor, constant_tensor
from onchip.passes.qdq import is_paired, without_pairs
from onchip.passes.quantize import quantize
from onchip.passes.ranges import grid_scales

INTEGERS = np.random.default_rng(0).integers(-100, 101, (3, 8))  # no row reaches 127
SCALES = np.array([0.01, 0.3, 7e-4])
GIVEN = {"x": Quantization((0.05,), (3,)), "y": Quantization((0.4,), (-7,))}


def paired(*, has_output: bool = True) -> Graph:
    """y = x W^T between pairs of GIVEN, the weights floats on a grid that they do not fill."""
    w = (INTEGERS * SCALES[:, None]).astype(np.float32)
    shapes = {"x": (4, 8), "y": (4, 3)}
    tensors = [Tensor("x", (4, 8), "f32"), Tensor("y", (4, 3), "f32"), constant_tensor("w", w)]
    pairs: dict[str, list[Node]] = {}
    for name in ("x", "y") if has_output else ("x",):
        tensors += [Tensor(f"{name}.q", shapes[name], "i8", GIVEN[name]), Tensor(f"{name}.dq", shapes[name], "f32")]
        pairs[name] = [
            Node(f"{name}.quantize", "quantize", (name,), (f"{name}.q",), (("dtype", "i8"),)),
            Node(f"{name}.dequantize", "dequantize", (f"{name}.q",), (f"{name}.dq",)),
        ]
    nodes = [*pairs["x"], Node("fc", "linear", ("x.dq", "w", ""), ("y",)), *pairs.get("y", [])]
    return Graph("pairs", tuple(tensors), tuple(nodes), ("x",), ("y.dq" if has_output else "y",))


def test_integers_and_scales_are_kept() -> None:
    graph = paired()
    assert is_paired(graph) and without_pairs(graph)[1] == GIVEN
    made = quantize(graph, None)
    node = made.node("fc")
    assert made.tensor(node.inputs[0]).quantization == GIVEN["x"]
    assert made.tensor(node.outputs[0]).quantization == GIVEN["y"]
    w = made.tensor(node.inputs[1])
    assert w.constant is not None and w.constant.data is not None and w.quantization is not None
    steps = w.constant.data * np.array(w.quantization.scale)[:, None] / SCALES[:, None]
    np.testing.assert_allclose(steps, INTEGERS, atol=1e-4)
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    theirs, ours = evaluate(graph, {"x": x})["y.dq"], evaluate(made, {"x": x})[made.outputs[0]]
    np.testing.assert_allclose(ours, theirs, atol=0.4001)  # a step where the sum ends near a half
    assert (ours == theirs).mean() > 0.9


def test_what_is_open_needs_samples() -> None:
    graph = paired(has_output=False)
    with pytest.raises(UsageError, match=r"fc: OC1417 the network brings no scale for its output"):
        quantize(graph, None)
    x = np.random.default_rng(1).standard_normal((4, 8)).astype(np.float32)
    made = quantize(graph, [{"x": x}])
    assert made.tensor(made.node("fc").inputs[0]).quantization == GIVEN["x"]


def test_an_int8_graph_is_no_graph_of_pairs() -> None:
    b = GraphBuilder("g")
    b.output(str(b.node("relu", (b.input("x", (2, 2)),), name="y")))
    assert not is_paired(b.finish()) and not is_paired(quantize(b.finish(), None))


def test_a_grid_is_found_where_there_is_one() -> None:
    rows = np.array([[0.5, -1.5, 2.0], [0.0, 0.0, 0.0], [1.0, 0.31830989, 0.36787944]])
    found = grid_scales(rows)
    assert found[0] == 0.5 and found[1] == 0.0 and found[2] == 0.0
