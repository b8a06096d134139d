"""Rewrite the requantization mode of nodes that a chip does not offer.

In:       an int8 Graph whose requantizing nodes carry `rounding`, and the modes that a chip offers.
Out:      the Graph with every other mode replaced by the first one offered.
Promises: scales, zero points and shapes stay; a graph that fits already comes back unchanged. Outputs may differ from
          the given graph's by one step per node (docs/arithmetic.md, Requantization).
Before -> after: conv2d rounding=double on a chip with ["single"] -> conv2d rounding=single.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onchip.ir.graph import Graph, Node

# what else an imported node may do in its own way
PLAIN = {
    "add": {"multiplier": "exact"},
    "mul": {"multiplier": "exact"},
    "mean": {"multiplier": "exact"},
    "requantize": {"multiplier": "exact"},
}


def round_as(graph: Graph, modes: Sequence[str]) -> Graph:
    """Return the graph with only these rounding modes."""
    nodes = tuple(_rounded(node, modes) for node in graph.nodes)
    return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def _rounded(node: Node, modes: Sequence[str]) -> Node:
    if node.attribute("rounding", modes[0]) in modes:
        return node
    plain = {"rounding": modes[0], **PLAIN.get(node.op, {})}
    return replace(node, attributes=tuple((k, plain.get(k, v)) for k, v in node.attributes))
