"""The int8 network as ONNX Runtime runs it: QOperator nodes, unsigned activations, signed weights.

In:       an int8 Graph of convolutions, sums, pools and linear layers, with its constants' values. Out:      an ONNX
model of the same shapes and scales: float NCHW input, float output. Promises: the same work as the Graph; not the
same bits (ONNX Runtime rounds in float32). A tensor behind a fused ReLU has
          zero point 0, because QLinearConv has no activation and saturates there.
Does not: cover ops outside ResNet-like networks; raises KeyError for those.
Sources:  ONNX operators QLinearConv, QuantizeLinear; ONNX Runtime contrib operators (com.microsoft) for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onchip.ir.graph import Graph, Node

CONTRIB = "com.microsoft"
SHIFT = 128  # int8 -> uint8


class Writer:
    """Collects nodes and constants; a quantized tensor is written as (value, scale, zero point)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.clipped = {n.outputs[0] for n in graph.nodes if n.attribute("activation", "none") == "relu"}
        for node in graph.nodes:  # pooling and reshaping keep the quantization of what they read
            if node.op in ("max_pool2d", "reshape") and node.inputs[0] in self.clipped:
                self.clipped.add(node.outputs[0])

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def scales(self, tensor: str) -> list[str]:
        """Return the names of an activation's scale and zero point."""
        given = self.graph.tensor(tensor).quantization
        assert given is not None
        zero = 0 if tensor in self.clipped else given.zero_point[0] + SHIFT
        return [
            self.constant(f"{tensor}.scale", np.array(given.scale[0], np.float32)),
            self.constant(f"{tensor}.zero", np.array(zero, np.uint8)),
        ]

    def weights(self, tensor: str, value: NDArray[Any]) -> list[str]:
        given = self.graph.tensor(tensor).quantization
        assert given is not None
        return [
            self.constant(tensor, np.ascontiguousarray(value)),
            self.constant(f"{tensor}.scale", np.asarray(given.scale, np.float32)),
            self.constant(f"{tensor}.zero", np.zeros(len(given.scale), np.int8)),
        ]

    def values(self, tensor: str) -> NDArray[Any]:
        found = self.graph.tensor(tensor).constant
        assert found is not None and found.data is not None
        return found.data

    def add(self, kind: str, inputs: list[str], node: Node, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(
            helper.make_node(kind, inputs, [node.outputs[0]], name=node.name, domain=domain, **attributes)
        )


def _conv(w: Writer, node: Node) -> None:
    x, weight, bias = node.inputs
    top, bottom, left, right = node.attribute("padding", (0, 0, 0, 0))  # type: ignore[misc]
    values = w.values(weight).transpose(0, 3, 1, 2)
    inputs = [x, *w.scales(x), *w.weights(weight, values), *w.scales(node.outputs[0]), w.constant(bias, w.values(bias))]
    w.add("QLinearConv", inputs, node, pads=[top, left, bottom, right], strides=node.attribute("stride", (1, 1)))


def _linear(w: Writer, node: Node) -> None:
    x, weight, bias = node.inputs
    parts = [x, *w.scales(x), *w.weights(weight, w.values(weight)), w.constant(bias, w.values(bias))]
    w.add("QGemm", [*parts, *w.scales(node.outputs[0])], node, CONTRIB, transB=1)


def _add(w: Writer, node: Node) -> None:
    a, b = node.inputs
    w.add("QLinearAdd", [a, *w.scales(a), b, *w.scales(b), *w.scales(node.outputs[0])], node, CONTRIB)


def _max_pool(w: Writer, node: Node) -> None:
    top, bottom, left, right = node.attribute("padding", (0, 0, 0, 0))  # type: ignore[misc]
    kernel, stride = node.attribute("kernel", (1, 1)), node.attribute("stride", (1, 1))
    w.add("MaxPool", [node.inputs[0]], node, kernel_shape=kernel, strides=stride, pads=[top, left, bottom, right])


def _average(w: Writer, node: Node) -> None:
    x = node.inputs[0]
    inputs = [x, *w.scales(x), *w.scales(node.outputs[0])]
    w.add("QLinearGlobalAveragePool", inputs, node, CONTRIB, channels_last=0)


KINDS: dict[str, Callable[[Writer, Node], None]] = {
    "quantize": lambda w, n: w.add("QuantizeLinear", [n.inputs[0], *w.scales(n.outputs[0])], n),
    "dequantize": lambda w, n: w.add("DequantizeLinear", [n.inputs[0], *w.scales(n.inputs[0])], n),
    "reshape": lambda w, n: w.add("Flatten", [n.inputs[0]], n),
    "conv2d": _conv,
    "linear": _linear,
    "add": _add,
    "max_pool2d": _max_pool,
    "global_avg_pool": _average,
}


def qoperator_model(graph: Graph) -> ModelProto:
    """Return the ONNX model of an int8 graph with one image input [N, H, W, C], which becomes [N, C, H, W]."""
    writer = Writer(graph)
    for node in graph.nodes:
        KINDS[node.op](writer, node)
    (source,), (made,) = graph.inputs, graph.outputs
    n, h, w, c = graph.tensor(source).shape
    inputs = [helper.make_tensor_value_info(source, TensorProto.FLOAT, [n, c, h, w])]
    outputs = [helper.make_tensor_value_info(made, TensorProto.FLOAT, list(graph.tensor(made).shape))]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in writer.constants.items()]
    body = helper.make_graph(writer.nodes, graph.name, inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=8)
