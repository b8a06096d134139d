"""Quantize/dequantize pairs around an operator, read as the operator in integers.

In:       a graph in the QDQ form: DequantizeLinear on the inputs of an operator, QuantizeLinear on its output.
Out:      the same graph with QLinear* in their place; what has another form stays as it is, in floats.
Promises: DequantizeLinear -> Conv -> (Relu) -> QuantizeLinear   becomes   QLinearConv, and likewise for Gemm, MatMul,
          Add, Mul and GlobalAveragePool. A bias of floats is quantized at the scale of the products.
          A tensor that somebody else reads as a float is still made.
Does not: promise ONNX Runtime's bits: it may compute the same graph in floats. QLinear* are the form for that.
Sources:  https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from onchip.frontends.onnx.walk import DOUBTS, doubted
from onchip.ops.types import Array

FORMS = {"Conv": "QLinearConv", "Gemm": "QGemm", "MatMul": "QLinearMatMul", "Add": "QLinearAdd", "Mul": "QLinearMul",
         "GlobalAveragePool": "QLinearGlobalAveragePool"}  # fmt: skip
CONTRIBUTED = frozenset(("QGemm", "QLinearAdd", "QLinearMul", "QLinearGlobalAveragePool"))
N_DATA = {"Conv": 2, "Gemm": 2, "MatMul": 2, "Add": 2, "Mul": 2, "GlobalAveragePool": 1}


@dataclass
class _Links:
    """Who makes and who reads each value."""

    graph: GraphProto
    makers: dict[str, NodeProto] = field(init=False)
    constants: dict[str, TensorProto] = field(init=False)
    readers: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.makers = {o: n for n in self.graph.node for o in n.output}
        self.constants = {t.name: t for t in self.graph.initializer}
        self.readers = Counter(i for n in self.graph.node for i in n.input)
        self.readers.update(o.name for o in self.graph.output)

    def array(self, name: str) -> Array | None:
        """Give a constant, an initializer's or a Constant node's."""
        if name in self.constants and self.constants[name].data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(self.constants[name])
        node = self.makers.get(name)
        if node is None or node.op_type != "Constant" or node.attribute[0].name != "value":
            return None
        return numpy_helper.to_array(node.attribute[0].t)

    def dequantized(self, name: str) -> list[str] | None:
        """Give value, scale and zero point behind a DequantizeLinear."""
        node = self.makers.get(name)
        if node is None or node.op_type != "DequantizeLinear" or len(node.input) != 3 or self.is_blocked(node):
            return None
        return list(node.input) if self.array(node.input[1]) is not None else None

    @staticmethod
    def is_blocked(node: NodeProto) -> bool:
        return any(a.name == "block_size" and a.i for a in node.attribute)


def integer_form(graph: GraphProto, where: str) -> GraphProto:
    """Rewrite what has the form; the graph itself where nothing has. Raises BadFile for constants that are broken."""
    if not any(n.op_type == "QuantizeLinear" for n in graph.node):
        return graph
    links = _Links(graph)
    made: dict[int, NodeProto] = {}
    constants: list[TensorProto] = []
    for place, node in enumerate(graph.node):
        if node.op_type == "QuantizeLinear" and len(node.input) == 3 and not links.is_blocked(node):
            try:
                fused = _fused(links, node, constants)
            except DOUBTS as error:
                raise doubted(error, where, node) from error
            if fused is not None:
                made[place] = fused
    if not made:
        return graph
    copy = GraphProto()
    copy.CopyFrom(graph)
    nodes = [made.get(i, n) for i, n in enumerate(graph.node)]
    del copy.node[:]
    copy.node.extend(nodes)
    copy.initializer.extend(constants)
    return copy


def _fused(links: _Links, last: NodeProto, constants: list[TensorProto]) -> NodeProto | None:
    """Give the integer form of what a QuantizeLinear closes."""
    node, activation = links.makers.get(last.input[0]), ""
    if node is not None and node.op_type == "Relu" and links.readers[node.output[0]] == 1:
        node, activation = links.makers.get(node.input[0]), "relu"
    if node is None or node.op_type not in FORMS or links.readers[node.output[0]] != 1 or node.domain:
        return None
    n = N_DATA[node.op_type]
    data = [links.dequantized(i) for i in node.input[:n]]
    scales = [links.array(i) for i in last.input[1:]]
    if any(d is None for d in data) or any(s is None or s.ndim for s in scales) or not _is_weighted(links, node, data):
        return None
    parts = [i for d in data if d is not None for i in d]
    bias = _bias(links, node, parts, constants) if len(node.input) > 2 and node.input[2] else ""
    if bias is None:
        return None
    middle = [bias] if node.op_type == "Gemm" else []
    end = [bias] if node.op_type == "Conv" and bias else []
    kind = FORMS[node.op_type]
    fused = helper.make_node(
        kind, [*parts, *middle, *last.input[1:], *end], list(last.output), name=node.name or node.output[0],
        domain="com.microsoft" if kind in CONTRIBUTED else "",
    )  # fmt: skip
    fused.attribute.extend(a for a in node.attribute if a.name not in ("alpha", "beta"))
    fused.metadata_props.extend(node.metadata_props)
    if activation:
        fused.attribute.append(helper.make_attribute("activation", activation))
    return fused


def _is_weighted(links: _Links, node: NodeProto, data: list[list[str] | None]) -> bool:
    """Tell whether the weights are constants of 8 bits, as their integer form wants them, and the factors are 1."""
    if node.op_type in ("Conv", "Gemm"):
        weight = links.array(data[1][0]) if data[1] is not None else None
        factors = [a.f for a in node.attribute if a.name in ("alpha", "beta")]
        is_turned = any(a.name == "transA" and a.i for a in node.attribute)
        return weight is not None and weight.dtype.itemsize == 1 and all(f == 1 for f in factors) and not is_turned
    return True


def _bias(links: _Links, node: NodeProto, parts: list[str], constants: list[TensorProto]) -> str | None:
    """Give the name of the bias in int32, None where there is none to be had."""
    pair = links.makers.get(node.input[2])
    if pair is not None and pair.op_type == "DequantizeLinear":
        stored = links.array(pair.input[0])
        return pair.input[0] if stored is not None and stored.dtype == np.int32 else None
    real, scale, factor = links.array(node.input[2]), links.array(parts[1]), links.array(parts[4])
    if real is None or scale is None or factor is None or real.ndim != 1:
        return None
    steps = np.rint(
        real.astype(np.float64) / (scale.astype(np.float64).reshape(-1) * factor.astype(np.float64).reshape(-1))
    )
    whole = np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32)
    name = f"{node.input[2]}.int32"
    constants.append(numpy_helper.from_array(whole, name))
    return name


__all__ = ["integer_form"]
