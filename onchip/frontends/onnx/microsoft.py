"""The fused operators of ONNX Runtime (domain com.microsoft) that its optimizer and its quantizer write.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: a fused operator is written as what it fuses. Attention stays one node.
Does not: read masks of other forms than none, caches, packed 4-bit weights, or the operators that are not in the list:
          they are refused by name before anything is read.
Sources:  onnxruntime docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.elementwise import scalar
from onchip.frontends.onnx.norms import label
from onchip.frontends.onnx.products import PRODUCTS
from onchip.frontends.onnx.quantized import QUANTIZED_MICROSOFT
from onchip.frontends.onnx.walk import Value, Walk
from onchip.frontends.onnx.windows import WINDOWS
from onchip.ops.types import AttributeValue

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
ACTIVATIONS = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "LeakyRelu": "leaky_relu", "Clip": "clip",
               "HardSigmoid": "hard_sigmoid"}  # fmt: skip
PARAMETERS = {"leaky_relu": ("alpha",), "clip": ("low", "high"), "hard_sigmoid": ("alpha", "beta")}


def _gelu(form: str) -> Rule:
    """Make the rule of Gelu, BiasGelu and FastGelu; the bias may be absent."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        x, shift, name = walk.tensor(node, 0), walk.tensor(node, 1), walk.name(node)
        x = walk.canvas.node("add", (x, shift), f"{name}.bias") if shift else x
        return (walk.canvas.node("gelu", (x,), name, approximate=form),)

    return rule


def _quick_gelu(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """x sigmoid(alpha x)."""
    canvas, x, name = walk.canvas, walk.tensor(node, 0), walk.name(node)
    alpha = float(walk.attributes(node).get("alpha", 1.702))
    scaled = canvas.node("mul", (x, scalar(walk, x, alpha, name)), f"{name}.scaled")
    return (canvas.node("mul", (x, canvas.node("sigmoid", (scaled,), f"{name}.gate")), name),)


def _activated(walk: Walk, node: NodeProto, x: str, values: Sequence[float]) -> str:
    text = str(walk.attributes(node).get("activation", b""), "ascii")
    if not text:
        return x
    op = ACTIVATIONS.get(text)
    if op is None:
        raise walk.refuse(node, f"activation '{text}'", limit=f"There are {', '.join(ACTIVATIONS)}")
    more: dict[str, AttributeValue] = dict(zip(PARAMETERS.get(op, ()), map(float, values), strict=False))
    return walk.canvas.node(op, (x,), f"{walk.name(node)}.{op}", **more)


def _fused_conv(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """x, weight, bias, and a tensor to add before the activation."""
    (y,) = WINDOWS["Conv"](walk, node)
    assert isinstance(y, str)
    other = walk.tensor(node, 3)
    y = walk.canvas.node("add", (y, other), f"{walk.name(node)}.sum") if other else y
    return (_activated(walk, node, y, walk.attributes(node).get("activation_params", ())),)


def _fused_gemm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    (y,) = PRODUCTS["Gemm"](walk, node)
    assert isinstance(y, str)
    a = walk.attributes(node)
    values = [float(a[k]) for k in ("activation_alpha", "activation_beta") if k in a]
    return (_activated(walk, node, y, values),)


def _fused_matmul(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    canvas, a, name = walk.canvas, walk.attributes(node), walk.name(node)
    if a.get("transBatchA", 0) or a.get("transBatchB", 0):
        raise walk.refuse(node, "with its batch transposed")
    x, y = walk.tensor(node, 0), walk.tensor(node, 1)
    rank = len(canvas.shape(x))
    x = canvas.transpose(x, (*range(rank - 2), rank - 1, rank - 2)) if a.get("transA", 0) else x
    product = canvas.node("matmul", (x, y), name, transpose_b=bool(a.get("transB", 0)))
    alpha = float(a.get("alpha", 1.0))
    return (product if alpha == 1 else canvas.node("mul", (product, scalar(walk, x, alpha, name)), f"{name}.scaled"),)


def _skip_norm(op: str) -> Rule:
    """Make the rule of a norm of a sum: x, skip, scale, (shift of the norm,) bias; the sum is the last output."""

    def rule(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
        canvas, name = walk.canvas, walk.name(node)
        total = canvas.node("add", (walk.tensor(node, 0), walk.tensor(node, 1)), f"{name}.sum")
        place = 4 if op == "layer_norm" else 3
        if walk.value(node, place) is not None:
            total = canvas.node("add", (total, walk.tensor(node, place)), f"{name}.biased")
        if any(o in walk.needed for o in node.output[1:3] if o):
            raise walk.refuse(node, "with its statistics as outputs")
        parts = [walk.tensor(node, i) for i in range(2, place)]
        eps = float(walk.attributes(node).get("epsilon", 1e-12 if op == "layer_norm" else 1e-5))
        return canvas.node(op, (total, *parts), name, eps=eps), None, None, total

    return rule


def _multi_head(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Query, key, value [B,L,H*D], bias of the three; masks and caches are not read."""
    canvas, name = walk.canvas, walk.name(node)
    if any(node.input[4:]) or walk.has_more(node) or len(canvas.shape(walk.tensor(node, 0))) != 3 or not node.input[2:]:
        raise walk.refuse(node, "with a mask, a cache, or packed inputs")
    parts = [walk.tensor(node, i) for i in range(3)]
    shift = walk.known(node, 3, "bias")
    if shift is not None:
        ends = np.cumsum([int(canvas.shape(p)[-1]) for p in parts])[:-1]
        shifts = [
            canvas.constant(f"{label(walk, node, 3)}.{c}", s) for c, s in zip("qkv", np.split(shift, ends), strict=True)
        ]
        parts = [canvas.node("add", (p, s), f"{name}.bias") for p, s in zip(parts, shifts, strict=True)]
    return (_attend(walk, node, parts),)


def _attend(walk: Walk, node: NodeProto, parts: Sequence[str]) -> str:
    a, canvas = walk.attributes(node), walk.canvas
    heads = int(a["num_heads"])
    width = int(canvas.shape(parts[0])[-1]) // heads
    scale = float(a.get("scale", 0.0)) or width**-0.5
    is_causal = bool(a.get("unidirectional", 0))
    return canvas.node("attention", parts, walk.name(node), heads=heads, kv_heads=heads, scale=scale, causal=is_causal)


def _packed(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """x [B,L,I], the weights [I,3*H*D] of query, key and value side by side, and their bias."""
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    weight, shift = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
    if any(node.input[3:]) or walk.has_more(node) or a.get("qkv_hidden_sizes") or a.get("do_rotary") or weight is None:
        raise walk.refuse(node, "with a mask, a cache, or widths of its own")
    inputs = [walk.tensor(node, 0), canvas.constant(label(walk, node, 1), np.ascontiguousarray(weight.T))]
    if shift is not None:
        inputs.append(canvas.constant(label(walk, node, 2), shift))
    packed = canvas.node("linear", inputs, f"{name}.qkv")
    size = weight.shape[1] // 3
    parts = [
        canvas.slice(packed, f"{name}.{c}", axis=2, start=i * size, stop=(i + 1) * size) for i, c in enumerate("qkv")
    ]
    return (_attend(walk, node, parts),)


MICROSOFT: dict[str, Rule] = {
    "Gelu": _gelu("none"), "BiasGelu": _gelu("none"), "FastGelu": _gelu("tanh"), "QuickGelu": _quick_gelu,
    "FusedConv": _fused_conv, "FusedGemm": _fused_gemm, "FusedMatMul": _fused_matmul, "Attention": _packed,
    "SkipLayerNormalization": _skip_norm("layer_norm"), "SkipSimplifiedLayerNormalization": _skip_norm("rms_norm"),
    "MultiHeadAttention": _multi_head, **QUANTIZED_MICROSOFT,
}  # fmt: skip
