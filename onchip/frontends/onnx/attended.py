"""The attention operators of ONNX: Attention and RotaryEmbedding of opset 23 and later.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: attention stays one node, over heads that come apart (4-D) or side by side (3-D); a cache is joined in front.
          What it cannot say (softcap, scores as outputs) is read as its definition, in pieces (bodies.py).
Sources:  https://onnx.ai/onnx/operators/onnx__Attention.html, onnx__RotaryEmbedding.html
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto

from onchip.frontends.onnx.walk import Value, Walk
from onchip.ops.types import show

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def _attention(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """q, k, v, mask, past key, past value; windows are of opset 25."""
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    if a.get("softcap", 0.0) or any(node.input[6:]) or (len(node.output) > 3 and node.output[3] in walk.needed):
        raise walk.refuse(node, "with softcap, scores as an output, or lengths of the cache")
    if max(a.get("left_window_size", -1), a.get("right_window_size", -1)) >= 0:
        raise walk.refuse(node, "over a window")
    q, k, v = (walk.tensor(node, i) for i in range(3))
    is_flat = len(canvas.shape(q)) == 3
    heads = [int(a.get(key, 0)) for key in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
    if is_flat:
        q, k, v = (apart(walk, node, t, n) for t, n in zip((q, k, v), heads, strict=True))
    past = [walk.tensor(node, 4), walk.tensor(node, 5)]
    is_causal = bool(a.get("is_causal", 0))
    if any(past) and is_causal:
        raise walk.refuse(node, "causal with a cache")
    k, v = (
        canvas.node("concat", (p, t), f"{name}.cache", axis=2) if p else t for p, t in zip(past, (k, v), strict=True)
    )
    mask = walk.tensor(node, 3)
    if mask and canvas.shape(mask)[-1] not in (1, canvas.shape(k)[2]):
        raise walk.refuse(node, f"with a mask {show(canvas.shape(mask))} that is shorter than the keys")
    if mask and len(canvas.shape(mask)) == 3:  # ONNX broadcasts from the right: heads, not batch
        mask = canvas.reshape(mask, (1, *canvas.shape(mask)), f"{mask}.heads")
    y = canvas.attention(q, k, v, name, mask=mask, scale=a.get("scale"), is_causal=is_causal)
    return (together(walk, y, name) if is_flat else y), k, v


def apart(walk: Walk, node: NodeProto, x: str, heads: int) -> str:
    """[B,L,H*D] -> [B,H,L,D]."""
    batch, length, width = walk.canvas.shape(x)
    if not isinstance(width, int) or heads < 1 or width % heads:
        raise walk.refuse(node, f"a width of {width} in {heads} heads")
    split = walk.canvas.reshape(x, (batch, length, heads, width // heads), f"{x}.apart")
    return walk.canvas.transpose(split, (0, 2, 1, 3))


def together(walk: Walk, x: str, name: str) -> str:
    """[B,H,L,D] -> [B,L,H*D]."""
    batch, heads, length, width = walk.canvas.shape(x)
    turned = walk.canvas.transpose(x, (0, 2, 1, 3))
    return walk.canvas.reshape(turned, (batch, length, int(heads) * int(width)), f"{name}.together")


def _rotary(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """x, cos, sin, position ids; without ids cos and sin are those of each position already."""
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    x, cos, sin, ids = (walk.tensor(node, i) for i in range(4))
    is_flat = len(canvas.shape(x)) == 3
    heads = int(a.get("num_heads", 0)) if is_flat else canvas.shape(x)[1]
    if not isinstance(heads, int) or heads < 1:
        raise walk.refuse(node, f"{heads} heads")
    if ids:
        cos, sin = (canvas.node("gather", (t, ids), f"{name}.{n}") for t, n in ((cos, "cos"), (sin, "sin")))
    width = int(a.get("rotary_embedding_dim", 0))
    if width and canvas.shape(cos)[-1] != width // 2:
        raise walk.refuse(node, f"angles {show(canvas.shape(cos))} for {width} rotated values")
    tokens = x if is_flat else together(walk, x, f"{x}.tokens")
    is_paired = bool(a.get("interleaved", 0))
    y = canvas.node("rotary", (tokens, cos, sin), name, heads=heads, interleaved=is_paired)
    return (y if is_flat else apart(walk, node, y, heads),)


ATTENDED: dict[str, Rule] = {"Attention": _attention, "RotaryEmbedding": _rotary}
