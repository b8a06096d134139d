"""Which activations of a quantized network are int16: those that a chosen node reads and that can be made so.

In:       a float graph and the names of nodes that shall read int16 activations (by int8 weights: 16x8).
Out:      the activations that are held in int16.
Promises: a tensor is int16 where a chosen node reads it, directly or through ops that copy bits, and where it comes
          from a graph input or from one of WRITES, which round once from their 32-bit sums to 16 bits; so is what a
          chosen node makes for the graph's output. Everything else stays int8, other readers get it requantized.
          The sums of a chosen node fit 32 bits whatever its inputs are, by its own weights; otherwise it is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node
from onchip.passes.quantize_rules import Rewrite

READS = ("conv2d", "linear", "add", "sub", "mul")  # may read int16 activations
WRITES = READS  # may write int16 from int8 inputs, and int8 from int16 inputs
COPIES = ("max_pool2d", "reshape", "transpose", "slice", "identity")
MOST = 2**31


def held_in_int16(graph: Graph, nodes: Collection[str]) -> frozenset[str]:
    """Return the activations that are int16 where these nodes read int16. Raises NotSupported, UnknownName."""
    for name in nodes:
        node = graph.node(name)
        if node.op not in READS:
            limit = f"There are {', '.join(READS)}"
            raise NotSupported("OC1387", name, f"op '{node.op}' does not read int16 here", limit=limit)
    wanted = {i for name in nodes for i in graph.node(name).inputs if i and graph.tensor(i).constant is None}
    wanted |= {o for name in nodes for o in graph.node(name).outputs if o in graph.outputs}
    for node in reversed(graph.nodes):
        if node.op in COPIES and node.outputs[0] in wanted:
            wanted.add(node.inputs[0])
    held: set[str] = {name for name in graph.inputs if name in wanted}
    for node in graph.nodes:
        is_made = node.op in WRITES or (node.op in COPIES and node.inputs[0] in held)
        held.update(o for o in node.outputs if o in wanted and is_made)
    return frozenset(held)


def is_wide(rewrite: Rewrite, node: Node, nodes: Collection[str]) -> bool:
    """Tell whether a node reads int16: it was chosen, or copies what is held so."""
    return node.name in nodes or (node.op in COPIES and node.outputs[0] in rewrite.held)


def mark_width(rewrite: Rewrite) -> None:
    """Say on the node just written what it writes, where that is not what it reads; see that its sums fit."""
    node = rewrite.nodes[-1]
    if node.op not in WRITES:
        return
    own, made = (rewrite.tensors[name].dtype for name in (node.inputs[0], node.outputs[0]))
    if own != made:
        attributes = tuple(sorted({**dict(node.attributes), "out": made}.items()))
        rewrite.nodes[-1] = replace(node, attributes=attributes)
    if own == "i16" and node.op in ("conv2d", "linear"):
        _check_sums(rewrite, node)


def _check_sums(rewrite: Rewrite, node: Node) -> None:
    """Refuse sums of |x| <= 2^15 by these weights that could leave 32 bits."""
    w = rewrite.tensors[node.inputs[1]].constant
    b = rewrite.tensors[node.inputs[2]].constant if len(node.inputs) > 2 and node.inputs[2] else None
    if w is None or w.data is None:
        return
    largest = np.abs(w.data.astype(np.int64)).reshape(len(w.data), -1).sum(axis=1) << 15
    if b is not None and b.data is not None:
        largest = largest + np.abs(b.data.astype(np.int64))
    if int(largest.max(initial=0)) >= MOST:
        fact = f"int16 sums of up to {int(largest.max())}"
        raise NotSupported("OC1386", node.name, fact, limit=f"Accumulators hold {MOST - 1}", next="Keep it in int8")
