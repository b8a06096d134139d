"""int8 forms of LSTM, GRU and plain RNN.

In:       the Rewrite and a recurrent node.
Out:      its int8 node: one quantization for y, the last h and the first h0; a cell in int16 at a power of two.
Promises: an h0 of another quantization is requantized; LSTMs that hand their cell on (c of one is c0 of another) have
          one scale of the cell, which holds the cells of all of them.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor, log2

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node, Tensor
from onchip.ops.cells import GATES, has_cell, lengths_at
from onchip.ops.types import Quantization
from onchip.passes.calibrate import Calibration
from onchip.passes.quantize_rules import Rewrite, Rule, biases, matched, weights


def _recurrent(rewrite: Rewrite, node: Node) -> None:
    names = [*node.inputs, *("",) * (8 - len(node.inputs))]
    x, qx = rewrite.int8(names[0]), rewrite.params(names[0])
    made = [rewrite.result(name) for name in node.outputs]
    qy = made[0].quantization
    assert qy is not None
    w_ih = weights(rewrite, names[1], names[3], qx)
    w_hh = weights(rewrite, names[2], names[4], qy)
    inputs = [x, w_ih, w_hh, biases(rewrite, names[3], qx, w_ih), biases(rewrite, names[4], qy, w_hh)]
    inputs.append(matched(rewrite, names[5], made[0], node) if names[5] else "")
    if has_cell(node.op):
        q = cell_parameters(cell_bound(rewrite.graph, rewrite.calibration, node))
        made[2] = replace(made[2], dtype="i16", quantization=q)
        inputs.append(_cell(rewrite, names[6], made[2], node) if names[6] else "")
    inputs.append(rewrite.keep(names[lengths_at(node.op)]))
    while not inputs[-1]:
        inputs.pop()
    rewrite.append(Node(node.name, node.op, tuple(inputs), tuple(t.name for t in made), node.attributes), *made)


def _cell(rewrite: Rewrite, name: str, like: Tensor, node: Node) -> str:
    """Name the int16 tensor of an initial cell: what another LSTM made, or a float of the host's side."""
    if name in rewrite.made:
        own = rewrite.tensors[rewrite.made[name]]
        if own.dtype == like.dtype and own.quantization == like.quantization:
            return own.name
    elif name in rewrite.outside:
        new = Tensor(f"{name}.int16", rewrite.graph.tensor(name).shape, "i16", like.quantization)
        rewrite.append(Node(f"{name}.quantize", "quantize", (name,), (new.name,), (("dtype", "i16"),)), new)
        rewrite.made[name] = new.name
        return new.name
    limit = "It takes an input of the network, or the cell of another lstm"
    raise NotSupported("OC1384", node.name, f"its cell starts from '{name}', which has no int16 form", limit=limit)


def cell_bound(graph: Graph, calibration: Calibration, node: Node) -> float:
    """Return the largest cell of a node and of those that its cell comes from or goes to."""
    linked, waiting = {node.name}, [node]
    while waiting:
        at = waiting.pop()
        given = graph.producer(at.inputs[6]) if len(at.inputs) > 6 and at.inputs[6] else None
        others = [n for n in graph.consumers(at.outputs[2]) if len(n.inputs) > 6 and n.inputs[6] == at.outputs[2]]
        for other in (*others, *((given,) if given is not None else ())):
            if other.op == at.op and other.name not in linked:
                linked.add(other.name)
                waiting.append(other)
    return max(max(map(abs, calibration.inside(name))) for name in linked)


def cell_parameters(bound: float) -> Quantization:
    """Give the cell's power of two: the finest of 2^-15 to 2^-9 that holds |c| <= bound (LiteRT's int8 LSTM)."""
    bits = 15 if bound == 0.0 else 14 - floor(log2(bound))
    return Quantization((2.0 ** -min(15, max(9, bits)),), (0,))


RECURRENT: dict[str, Rule] = dict.fromkeys(GATES, _recurrent)
