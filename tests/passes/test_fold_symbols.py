"""Folding where a dimension has no number."""

from __future__ import annotations

import numpy as np

from onchip.ir.build import GraphBuilder
from onchip.passes.fold import fold


def test_constants_of_a_symbolic_shape_stay() -> None:
    """ViT repeats its class token once an image: with the batch unbound there is no value to fold to."""
    draft = GraphBuilder("token")
    draft.input("x", ("batch", 4, 8))
    draft.constant("token", np.ones((1, 1, 8), np.float32))
    draft.node("broadcast_to", ("token",), "tokens", shape=("batch", "1", "8"))
    draft.node("concat", ("tokens", "x"), "y", axis=1)
    draft.output("y")
    graph = draft.finish()
    folded = fold(graph)
    assert [n.op for n in folded.nodes] == ["broadcast_to", "concat"]
    assert [n.op for n in fold(graph.bind(batch=2)).nodes] == ["concat"]
