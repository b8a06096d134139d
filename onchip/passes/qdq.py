"""Float networks with quantize/dequantize pairs (QDQ): what torchao's pt2e writes, after training or calibration.

In:       a folded graph whose ops are floats and whose int8 tensors stand between a `quantize` and its `dequantize`.
Out:      the float graph without them, and the scale and zero point of every tensor that had them.
Promises: a graph that has integer ops, or a dequantize without its quantize, is left alone. What copies bits has the
          quantization of what it reads. Weights stay floats on their grid; `ranges.grid_scales` finds it: the largest
          step that all values of a channel are multiples of, with no more than 127 of them.
Does not: choose scales for tensors that have none: calibration does, or a refusal.

    x -> quantize -> dequantize -> conv2d -> quantize -> dequantize -> y      before
    x -> conv2d -> y, {x: (scale, zero), y: (scale, zero)}                    after
"""

from __future__ import annotations

from dataclasses import replace

from onchip.ir.graph import Graph, Node
from onchip.ops.types import Quantization
from onchip.passes.quantize_rules import SAME_SCALE


def is_paired(graph: Graph) -> bool:
    """Tell whether every int8 tensor of a graph lies between a quantize and dequantizes, and there is one."""
    pairs = [n for n in graph.nodes if n.op == "quantize" and _is_pair(graph, n)]
    made = {n.outputs[0] for n in pairs}
    integers = {t.name for t in graph.tensors if t.quantization is not None}
    return bool(pairs) and integers == made


def _is_pair(graph: Graph, node: Node) -> bool:
    readers = graph.consumers(node.outputs[0])
    q = graph.tensor(node.outputs[0]).quantization
    is_int8 = q is not None and q.axis is None and graph.tensor(node.outputs[0]).dtype == "i8"
    return is_int8 and bool(readers) and all(n.op == "dequantize" for n in readers)


def without_pairs(graph: Graph) -> tuple[Graph, dict[str, Quantization]]:
    """Return the float graph and the quantization of its tensors. An output takes the name of its source."""
    source: dict[str, str] = {}
    given: dict[str, Quantization] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(source.get(i, i) for i in node.inputs)
        if node.op in ("quantize", "dequantize"):
            source[node.outputs[0]] = inputs[0]
            q = graph.tensor(node.outputs[0]).quantization
            if q is not None:
                given.setdefault(inputs[0], q)
            continue
        nodes.append(replace(node, inputs=inputs))
        if node.op in SAME_SCALE and inputs[0] in given:
            given.setdefault(node.outputs[0], given[inputs[0]])
    tensors = tuple(t for t in graph.tensors if t.name not in source)
    outputs = tuple(source.get(o, o) for o in graph.outputs)
    return Graph(graph.name, tensors, tuple(nodes), graph.inputs, outputs, graph.states), _spread(nodes, given)


def _spread(nodes: list[Node], given: dict[str, Quantization]) -> dict[str, Quantization]:
    """Carry quantizations through ops that copy bits, against the stream as well."""
    known = dict(given)
    for node in reversed(nodes):
        if node.op in SAME_SCALE and node.outputs[0] in known:
            known.setdefault(node.inputs[0], known[node.outputs[0]])
    for node in nodes:
        if node.op in SAME_SCALE and node.inputs[0] in known:
            known.setdefault(node.outputs[0], known[node.inputs[0]])
    return known
