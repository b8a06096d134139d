"""Operators on a tensor with merged dimensions (regroup.py): they work on the stored one, which is still split.

In:       a node with at least one grouped input.
Out:      its outputs, or None where the operator cannot work on the stored tensor.
Promises: transposes move whole groups; products, softmax and norms need their own axes to be single dimensions;
          elementwise operators need operands that broadcast over whole groups.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.walk import Known, Value, Walk
from onchip.frontends.regroup import Grouped
from onchip.ops.types import Shape

UNARY = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Gelu": "gelu", "Erf": "erf", "Exp": "exp", "Sqrt": "sqrt",
    "Neg": "neg", "Identity": "identity", "Dropout": "identity",
}  # fmt: skip
BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}


def carry(walk: Walk, node: NodeProto) -> tuple[Value, ...] | None:
    """Write a node on the stored tensors of its inputs."""
    first = walk.value(node, 0)
    if node.op_type in BINARY:
        return _binary(walk, node)
    if not isinstance(first, Grouped):
        return None
    if node.op_type in UNARY and not walk.has_more(node) and not node.attribute:
        return (_apply(walk, node, UNARY[node.op_type], (first.tensor,), first.sizes),)
    if node.op_type == "Transpose":
        return (_transpose(walk, node, first),)
    if node.op_type == "Softmax" and first.sizes[-1] == 1:
        default = -1 if walk.opset >= 13 else 1
        if int(walk.attributes(node).get("axis", default)) in (-1, len(first.sizes) - 1):
            return (_apply(walk, node, "softmax", (first.tensor,), first.sizes),)
    if node.op_type in ("MatMul", "Gemm") and first.sizes[-1] == 1:
        return _product(walk, node, first)
    return None


def _apply(walk: Walk, node: NodeProto, op: str, inputs: tuple[str, ...], sizes: tuple[int, ...]) -> Grouped:
    return Grouped(walk.canvas.node(op, inputs, walk.name(node)), sizes)


def _transpose(walk: Walk, node: NodeProto, x: Grouped) -> Value:
    starts = [sum(x.sizes[:i]) for i in range(len(x.sizes))]
    perm = [int(p) for p in walk.attributes(node).get("perm") or range(len(x.sizes))[::-1]]
    places = [starts[p] + i for p in perm for i in range(x.sizes[p])]
    return Grouped(walk.canvas.transpose(x.tensor, places, walk.name(node)), tuple(x.sizes[p] for p in perm))


def _product(walk: Walk, node: NodeProto, x: Grouped) -> tuple[Value, ...] | None:
    right = walk.value(node, 1)
    if isinstance(right, Known) and right.array.ndim == 2:
        a = walk.attributes(node)
        if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
            return None
        matrix = right.array if a.get("transB", 0) else right.array.T
        bias = walk.known(node, 2, "bias")
        if bias is not None and bias.shape != (matrix.shape[0],):
            return None
        weight = walk.canvas.constant(right.name, np.ascontiguousarray(matrix.astype(np.float32)))
        inputs = (x.tensor, weight, walk.tensor(node, 2)) if bias is not None else (x.tensor, weight)
        return (_apply(walk, node, "linear", inputs, x.sizes),)
    if not isinstance(right, Grouped) or x.sizes != right.sizes or x.sizes[-2:] != (1, 1):
        return None
    if walk.canvas.shape(x.tensor)[:-2] != walk.canvas.shape(right.tensor)[:-2]:
        return None
    return (_apply(walk, node, "matmul", (x.tensor, right.tensor), x.sizes),)


def _binary(walk: Walk, node: NodeProto) -> tuple[Value, ...] | None:
    values = [walk.value(node, i) for i in range(2)]
    grouped = next(v for v in values if isinstance(v, Grouped))
    inputs: list[str] = []
    for value in values:
        own = _operand(walk, value, grouped)
        if own is None:
            return None
        inputs.append(own)
    return (_apply(walk, node, BINARY[node.op_type], (inputs[0], inputs[1]), grouped.sizes),)


def _operand(walk: Walk, value: Value, like: Grouped) -> str | None:
    """Give a tensor that broadcasts against the stored tensor of `like`."""
    if isinstance(value, Grouped):
        is_alike = value.sizes == like.sizes and walk.canvas.shape(value.tensor) == walk.canvas.shape(like.tensor)
        return value.tensor if is_alike else None
    if isinstance(value, str):
        return value if _spreads(walk.canvas.shape(value), like.sizes) else None
    if not isinstance(value, Known):
        return None
    array = value.array.astype(np.float32) if value.array.dtype.kind == "f" else value.array
    shape: list[int] = []
    for i in range(array.ndim):
        size = like.sizes[len(like.sizes) - array.ndim + i]
        if size != 1 and array.shape[i] != 1:
            return None
        shape += [array.shape[i]] if size == 1 else [1] * size
    return walk.canvas.constant(value.name, array.reshape(shape))


def _spreads(shape: Shape, sizes: tuple[int, ...]) -> bool:
    """Tell whether a plain tensor only meets single dimensions."""
    return len(shape) <= len(sizes) and all(s == 1 for s in sizes[len(sizes) - len(shape) :])
