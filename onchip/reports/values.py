"""The values that a compiled network has inside on one input, beside those of the float network.

In:       a Plan, the folded float graph it came from (or None), and inputs.
Out:      frozen records: for each layer its output on both sides, for each attention its weights.
Promises: values are those of the reference that the program equals bit for bit, dequantized; the signal and noise of
          every layer cover the whole batch, what is kept for drawing is the batch's first element.
Does not: run the program: its outputs are compared where it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node, attributes_of
from onchip.ir.plan import Plan
from onchip.ops.attention import attention_weights, integer_attention_weights
from onchip.ops.norm import SOFTMAX_SCALE, SOFTMAX_ZERO_POINT
from onchip.ops.registry import look_up_op
from onchip.ops.types import FLOAT_DTYPES

Array = NDArray[Any]
MOST_BYTES = 1 << 29  # of float values that are held for the comparison


@dataclass(frozen=True, slots=True)
class LayerValues:
    """A kernel's output: the first element of the batch as floats, and the energies of signal and noise over all.

    `real` and the energies are None where there is no float network, or no tensor of that name in it.
    """

    name: str
    op: str
    ours: Array
    real: Array | None
    signal: float | None
    noise: float | None


@dataclass(frozen=True, slots=True)
class Attention:
    """The weights [heads, queries, keys] of the batch's first element: ours, and those of the float network."""

    name: str
    layer: str
    ours: Array
    real: Array | None


@dataclass(frozen=True, slots=True)
class Values:
    """Layers and attentions in the order of the program."""

    layers: tuple[LayerValues, ...]
    attentions: tuple[Attention, ...]


def values_of(plan: Plan, real: Graph | None, inputs: Mapping[str, Array]) -> Values:
    """Return the values of a plan's graph on `inputs`. Raises what `evaluate` raises."""
    tensors = {kernel.output: kernel.name for kernel in plan.kernels}
    names = {name: real_name(name, real) for name in tensors}
    held, weights = ({}, {}) if real is None else _float_values(real, inputs, set(filter(None, names.values())))
    layers: dict[str, LayerValues] = {}
    watched = _Watch(plan.graph, _attentions(plan.graph), inputs)

    def see(name: str, value: Array) -> None:
        watched.see(name, value)
        if name in tensors:
            node = plan.graph.producer(name)
            made = held.pop(names[name] or "", None)
            layers[name] = _layer(tensors[name], node.op if node else "", floats(plan.graph, name, value), made)

    evaluate(plan.graph, inputs, watch=see)
    owner = {node: kernel.name for kernel in plan.kernels for node in kernel.nodes}
    found = tuple(
        Attention(node, owner.get(node, node), ours, weights.get(node)) for node, ours in watched.weights.items()
    )
    return Values(tuple(layers[name] for name in tensors if name in layers), found)


def real_name(name: str, real: Graph | None) -> str | None:
    """Return the float network's name of a tensor; a quantized input or output has `.int8` behind its own."""
    known = {t.name for t in real.tensors} if real is not None else set[str]()
    return next((n for n in (name, name.removesuffix(".int8")) if n in known), None)


def floats(graph: Graph, name: str, value: Array) -> Array:
    """Return a tensor's value as floats: dequantized where it is an integer with a scale."""
    q = graph.tensor(name).quantization
    if q is None or value.dtype.kind not in "iu":
        return value.astype(np.float32)
    return ((value.astype(np.float64) - q.zero_point[0]) * q.scale[0]).astype(np.float32)


def _layer(name: str, op: str, ours: Array, real: Array | None) -> LayerValues:
    if real is None or real.shape != ours.shape:
        return LayerValues(name, op, _first(ours), None, None, None)
    signal = float(np.square(real, dtype=np.float64).sum())
    noise = float(np.square(ours.astype(np.float64) - real).sum())
    return LayerValues(name, op, _first(ours), _first(real), signal, noise)


def _first(value: Array) -> Array:
    return value[0].copy() if value.ndim > 1 else value.copy()


def _float_values(
    real: Graph, inputs: Mapping[str, Array], wanted: set[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    held, room = dict[str, Array](), MOST_BYTES
    watched = _Watch(real, _attentions(real), inputs)

    def see(name: str, value: Array) -> None:
        nonlocal room
        watched.see(name, value)
        if name in wanted and real.tensor(name).dtype in FLOAT_DTYPES and value.nbytes <= room:
            held[name] = value
            room -= value.nbytes

    evaluate(real, inputs, watch=see)
    return held, watched.weights


def _attentions(graph: Graph) -> dict[str, Node]:
    """Return the nodes that make attention weights, by their output: attention, a softmax in front of matmul."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        made = node.outputs[0]
        multiplied = any(reader.op == "matmul" for reader in graph.consumers(made))
        if node.op == "attention" or (node.op == "softmax" and multiplied and len(graph.tensor(made).shape) in (3, 4)):
            found[made] = node
    return found


class _Watch:
    """Keep what attention nodes read, until each is there, and take its weights."""

    def __init__(self, graph: Graph, nodes: Mapping[str, Node], inputs: Mapping[str, Array]) -> None:
        self._graph, self._nodes = graph, nodes
        self._needed = {name for node in nodes.values() if node.op == "attention" for name in node.inputs if name}
        self._held = {name: value for name, value in inputs.items() if name in self._needed}
        self.weights = dict[str, Array]()

    def see(self, name: str, value: Array) -> None:
        if name in self._needed:
            self._held[name] = value
        node = self._nodes.get(name)
        if node is None:
            return
        whole = floats(self._graph, name, value) if node.op == "softmax" else self._attended(node)
        if whole is not None and min(whole.shape[-2:]) > 1:
            self.weights[node.name] = whole[0].copy() if whole.ndim == 4 else whole[:1].copy()

    def _attended(self, node: Node) -> Array | None:
        """Return the weights of an attention op from what it read: first element of the batch, as floats."""
        values = [self._value(name) if name else None for name in node.inputs]
        q, k, mask = values[0], values[1], values[3] if len(values) > 3 else None
        if q is None or k is None:
            return None
        mask = mask if mask is None or len(mask) == 1 else mask[:1]
        attributes = attributes_of(node, look_up_op(node.op, node.name))
        given = [self._graph.tensor(name).quantization if name else None for name in node.inputs]
        if q.dtype != np.int8:
            return attention_weights(attributes, q[:1], k[:1], mask)
        made = integer_attention_weights(attributes, given, q[:1], k[:1], mask)
        return ((made.astype(np.float32) - SOFTMAX_ZERO_POINT) * SOFTMAX_SCALE).astype(np.float32)

    def _value(self, name: str) -> Array | None:
        constant = self._graph.tensor(name).constant
        if name not in self._held and constant is not None:
            return constant.data
        return self._held.get(name)
