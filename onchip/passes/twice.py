"""The int8 network that does as much work as one whose chosen layers read int16: each of them twice, and a sum.

In:       a quantized graph and the names of layers.
Out:      a graph of the same shapes where `y = layer(x)` is `y.hi = layer(x); y.lo = layer(x); y = y.hi + y.lo`.
Promises: it compiles for any chip that the network compiles for. Only its cost means something: int16 is 256 * hi + lo,
          two passes of int8 through the matrix unit, and here the two meet in a sum of their own. It bounds a program
          that keeps both in one accumulator.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from onchip.ir.graph import Graph, Node, Tensor


def twice(graph: Graph, names: Collection[str]) -> Graph:
    """Return the graph with these layers doubled."""
    tensors = list(graph.tensors)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name not in names:
            nodes.append(node)
            continue
        y = graph.tensor(node.outputs[0])
        halves = [Tensor(f"{y.name}.{part}", y.shape, y.dtype, y.quantization) for part in ("hi", "lo")]
        tensors += halves
        plain = tuple((k, v) for k, v in node.attributes if k != "activation")
        inputs = (node.inputs, (*node.inputs[:2], "") if node.op in ("conv2d", "linear") else node.inputs)
        for half, own in zip(halves, inputs, strict=True):
            nodes.append(replace(node, name=half.name, inputs=own, outputs=(half.name,), attributes=plain))
        both = {"rounding": node.attribute("rounding", "single"), "activation": node.attribute("activation", "none")}
        nodes.append(Node(node.name, "add", tuple(h.name for h in halves), node.outputs, tuple(sorted(both.items()))))
    return Graph(graph.name, tuple(tensors), tuple(nodes), graph.inputs, graph.outputs, graph.states)
