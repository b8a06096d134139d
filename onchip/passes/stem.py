"""Fold the picture into the channels of the first convolution: blocks of s x s cells become s * s times the channels.

In:       a Graph.
Out:      the graph with a `space_to_depth` in front of each strided convolution that reads a network input of few
          channels, and that convolution with stride 1; the graph itself where there is none.
Promises: the same values: each product of before is there once, the added ones have a weight of zero. In integers that
          is bit for bit; in floats sums have another order. At the network's edge the host moves the cells.
Does not: touch groups, dilations, or pictures that do not divide into blocks.
Sources:  the "space to depth" of ResNet on TPUs: Ying et al. 2018, Image Classification at Supercomputer Scale.

Before -> after, stride 2, 7 x 7 window, 3 channels:
    y = conv2d(x)  ->  z = space_to_depth(x); y = conv2d(z), stride 1, 4 x 4 window, 12 channels
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Graph, Node, attributes_of, constant_tensor
from onchip.ops.registry import look_up_op
from onchip.passes.draft import Draft

FEW = 4  # channels of a picture
EDGE = ("quantize", "identity", "transpose")  # what may stand between an input and its convolution


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the window: `sources[tap][cell]` is the tap of before, -1 where the weight is zero."""

    sources: tuple[tuple[int, ...], ...]
    padding: tuple[int, int]


def fold_stem(graph: Graph) -> Graph:
    """Return the graph with its first convolutions folded."""
    draft, nodes = Draft(graph), list[Node]()
    for node in graph.nodes:
        made = _folded(draft, node) if node.op == "conv2d" and _reads_an_input(graph, node) else None
        nodes += [node] if made is None else made
    if len(nodes) == len(graph.nodes):
        return graph
    draft.nodes = nodes
    return draft.finish()


def _reads_an_input(graph: Graph, node: Node) -> bool:
    name = node.inputs[0]
    while name not in graph.inputs:
        maker = graph.producer(name)
        if maker is None or maker.op not in EDGE:
            return False
        name = maker.inputs[0]
    return True


def _folded(draft: Draft, node: Node) -> list[Node] | None:
    """Return the two nodes, or None where the convolution is not of that kind."""
    attributes = attributes_of(node, look_up_op("conv2d", node.name))
    shapes = [draft.shape(name) for name in (node.inputs[0], node.inputs[1], node.outputs[0])]
    if not all(isinstance(d, int) for shape in shapes for d in shape[1:]) or not draft.is_constant(node.inputs[1]):
        return None
    (h, w, c), (r, s, _), (p, q, _) = (tuple(int(d) for d in shape[1:]) for shape in shapes)
    (block, other), pads = attributes.integers("stride"), attributes.integers("padding")
    is_plain = attributes.integer("groups") == 1 and set(attributes.integers("dilation")) == {1} and block == other
    if not is_plain or block < 2 or c > FEW or h % block or w % block:
        return None
    rows, columns = _axis(block, r, pads[0], h, p), _axis(block, s, pads[2], w, q)
    if min(rows.padding[1], columns.padding[1]) < 0:
        return None
    own = draft.tensors[node.inputs[0]]
    shape = (own.shape[0], h // block, w // block, block * block * c)
    moved = replace(own, name=draft.fresh(f"{own.name}.folded"), shape=shape)
    draft.tensors[moved.name] = moved
    weights = _weights(draft, node.inputs[1], rows, columns, shape[3])
    changed = dict(node.attributes) | {"stride": (1, 1), "padding": (*rows.padding, *columns.padding)}
    name = draft.fresh(f"{node.name}.fold")
    first = Node(name, "space_to_depth", (own.name,), (moved.name,), (("block", block),))
    inputs, given = (moved.name, weights, *node.inputs[2:]), tuple(sorted(changed.items()))
    return [first, replace(node, inputs=inputs, attributes=given)]


def _weights(draft: Draft, name: str, rows: Axis, columns: Axis, channels: int) -> str:
    """Add the folded weights of a constant, and return their name."""
    given, made = draft.tensors[name], draft.fresh(f"{name}.folded")
    data = draft.array(name)
    size = (int(given.shape[0]), len(rows.sources), len(columns.sources), channels)
    new = size if data is None else fold_weights(data, rows, columns)
    draft.tensors[made] = constant_tensor(made, new, given.dtype, given.quantization)
    return made


def _axis(block: int, taps: int, before: int, size: int, out: int) -> Axis:
    """Output p reads cell h = block p + r - before of tap r; with h = block i + a, r = block (i - p) + a + before."""
    first, last = -before // block, (taps - 1 - before) // block
    taps_at = [[block * j + a + before for a in range(block)] for j in range(first, last + 1)]
    sources = tuple(tuple(r if 0 <= r < taps else -1 for r in cells) for cells in taps_at)
    return Axis(sources, (-first, out - 1 + last - (size // block - 1)))


def fold_weights(data: NDArray[np.generic], rows: Axis, columns: Axis) -> NDArray[np.generic]:
    """Return weights [K, R', S', block * block * C] of weights [K, R, S, C]."""
    tall, wide = np.array(rows.sources), np.array(columns.sources)
    made = np.zeros((len(data), len(tall), len(wide), tall.shape[1], wide.shape[1], data.shape[3]), data.dtype)
    for (i, a), r in np.ndenumerate(tall):
        for (j, b), s in np.ndenumerate(wide):
            if r >= 0 and s >= 0:
                made[:, i, j, a, b] = data[:, r, s]
    return made.reshape(*made.shape[:3], -1)
