"""The network's nodes and edges, as a panel's data.

In:       the Graph that was planned.
Out:      `graph_part`: `nodes` ([name, op, shape of the first output as a list, dtype]) in the graph's order, and
          `edges` ([from, to] as places in `nodes`), each once.
Promises: constants, inputs and outputs are no nodes; edges go from an earlier node to a later one.
Does not: lay out, or tell which kernel a node belongs to: the report's layers name their nodes.
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ir.report import Json

MOST = 20_000  # nodes of a graph that is drawn


def graph_part(graph: Graph) -> Json | None:
    """Return the part `graph` of a page, None for a graph beyond MOST nodes."""
    if len(graph.nodes) > MOST:
        return None
    makers = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    edges = {(makers[name], i) for i, node in enumerate(graph.nodes) for name in node.inputs if name in makers}
    nodes: list[list[object]] = []
    for node in graph.nodes:
        tensor = graph.tensor(node.outputs[0])
        nodes.append([node.name, node.op, [d if isinstance(d, int) else str(d) for d in tensor.shape], tensor.dtype])
    return {"nodes": nodes, "edges": [list(edge) for edge in sorted(edges)]}
