"""Norms and curves in pieces become one op, with the same values; what differs in one constant stays in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold


def norm(*, axis: int = -1, exponent: float = 2.0) -> Graph:
    b = GraphBuilder("norm")
    x, gamma = b.input("x", (2, 3, 6)), b.constant("gamma", np.linspace(0.5, 2, 6, dtype=np.float32))
    square = b.node("pow", (x, b.constant("two", np.array(exponent, np.float32))), "square")
    mean = b.node("mean", (str(square),), "mean", axes=(axis,), keepdims=True)
    root = b.node(
        "rsqrt", (str(b.node("add", (str(mean), b.constant("eps", np.array(0.01, np.float32))), "added")),), "root"
    )
    b.output(str(b.node("mul", (gamma, str(b.node("mul", (x, str(root)), "scaled"))), "norm")))
    return b.finish()


def curve(*, factor: float = 0.044715) -> Graph:
    b = GraphBuilder("curve")
    x = b.input("x", (4, 7))
    cube = b.node("pow", (x, b.constant("three", np.array(3.0, np.float32))), "cube")
    total = b.node(
        "add", (x, str(b.node("mul", (str(cube), b.constant("f", np.array(factor, np.float32))), "part"))), "total"
    )
    inner = b.node("mul", (str(total), b.constant("root", np.array(np.sqrt(2 / np.pi), np.float32))), "inner")
    one = b.node(
        "add", (str(b.node("tanh", (str(inner),), "tanh")), b.constant("one", np.array(1.0, np.float32))), "plus"
    )
    half = b.node("mul", (x, b.constant("half", np.array(0.5, np.float32))), "halved")
    b.output(str(b.node("mul", (str(half), str(one)), "curve")))
    return b.finish()


@pytest.mark.parametrize(
    ("graph", "op"),
    [
        (norm(), "rms_norm"), (curve(), "gelu"), (norm(axis=1), ""), (norm(exponent=3.0), ""), (curve(factor=0.05), ""),
    ],
)  # fmt: skip
def test_pieces(graph: Graph, op: str) -> None:
    folded, x = fold(graph), {"x": np.random.default_rng(0).uniform(0.1, 2.0, (2, 3, 6)).astype(np.float32)}
    x = x if graph.name == "norm" else {"x": np.linspace(-4, 4, 28, dtype=np.float32).reshape(4, 7)}
    assert {node.op for node in folded.nodes} == {op} if op else len(folded.nodes) > 3
    (made,), (wanted,) = evaluate(folded, x).values(), evaluate(graph, x).values()
    np.testing.assert_allclose(made, wanted, rtol=2e-5, atol=2e-6)
