"""Simplify a graph without changing what it computes.

In:       a float Graph, as a front end or the zoo made it.
Out:      a Graph with the same inputs, outputs, states and meaning (to rounding), and fewer nodes.
Promises: identity and dead nodes go; nodes with constant inputs become constants; transposes cancel (transposes.py);
          batch_norm and constant additions go into the conv2d or linear in front; relu and relu6 become the attribute
          `activation` of the conv2d, linear or add in front, also across pooling and reshapes, which commute with them;
          softmax(q k^T) v becomes `attention` (attention.py). With unknown weights the same happens to the shapes.
          A node that absorbs others keeps its name; its output takes the name of the last tensor absorbed.
Does not: quantize, merge linear after linear, or touch tensors that are quantized.
Sources:  folding of batch_norm: Jacob et al. 2018, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from onchip.ir.graph import Constant, Graph, Node, Tensor, constant_tensor
from onchip.ops.registry import OPS
from onchip.ops.types import FLOAT_DTYPES, Array, Attributes, Refusal
from onchip.passes.draft import Draft, reshape_target, with_attributes
from onchip.passes.fuse_attention import fuse_attention
from onchip.passes.fuse_pieces import fuse_pieces
from onchip.passes.transposes import hoist_to_inputs, sink_transposes

ABSORBS_ACTIVATION = frozenset(("conv2d", "linear", "add"))
ABSORBS_AFFINE = frozenset(("conv2d", "linear"))
COMMUTES_WITH_RELU = frozenset(("max_pool2d", "reshape", "transpose", "slice"))
SETTLES_IN = 4  # assumed: rounds of cancelling; each one needs the last one to have removed something


def fold(graph: Graph) -> Graph:
    """Give the simplified graph. Weights that are not finite stay what they are."""
    with np.errstate(all="ignore"):
        return _fold(Draft(graph))


def forget_weights(graph: Graph) -> Graph:
    """Give the graph with the float weights and biases of its products unknown, of which only the shapes stay."""
    used = {i for node in graph.nodes if node.op in ABSORBS_AFFINE for i in node.inputs[1:]}
    others = {i for node in graph.nodes for i in (node.inputs if node.op not in ABSORBS_AFFINE else node.inputs[:1])}

    def without(tensor: Tensor) -> Tensor:
        is_weight = tensor.name in used and tensor.name not in others and tensor.dtype in FLOAT_DTYPES
        return replace(tensor, constant=Constant("")) if is_weight and tensor.constant is not None else tensor

    return replace(graph, tensors=tuple(without(t) for t in graph.tensors))


def _fold(draft: Draft) -> Graph:
    remove_identities(draft)
    fold_constants(draft)
    multiply_by_reciprocals(draft)
    _cancel(draft)
    name_global_pools(draft)
    fuse_pieces(draft)
    if fuse_attention(draft):
        remove_identities(draft)
        _cancel(draft)
    hoist_to_inputs(draft)
    absorb_affine(draft)
    spread_batch_norm(draft)
    absorb_activations(draft)
    return draft.finish()


def _cancel(draft: Draft) -> None:
    """Cancel transposes and reshapes until nothing more goes."""
    for _ in range(SETTLES_IN):
        before = len(draft.nodes)
        if any(n.op == "transpose" for n in draft.nodes):
            sink_transposes(draft)
        merge_reshapes(draft)
        remove_identities(draft)
        draft.drop_dead()
        if len(draft.nodes) == before:
            break


def remove_identities(draft: Draft) -> None:
    """Remove identities and what amounts to one: x -> identity -> f(x)   becomes   x -> f(x)."""
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        inputs = tuple(alias.get(i, i) for i in node.inputs)
        if _is_identity(draft, node) and node.outputs[0] not in draft.kept:
            alias[node.outputs[0]] = inputs[0]
        else:
            nodes.append(replace(node, inputs=inputs) if inputs != node.inputs else node)
    draft.nodes = nodes
    _remove_kept_identities(draft)


def _remove_kept_identities(draft: Draft) -> None:
    """Let the producer write a graph output itself where it only passes through an identity."""
    uses, producers = draft.uses(), draft.producers()
    for place, node in enumerate(draft.nodes):
        source, made = (node.inputs[0], node.outputs[0]) if node.inputs else ("", "")
        if source not in producers or source in draft.kept or not _is_identity(draft, node):
            continue
        if uses[source] == 1:
            maker = draft.nodes[producers[source]]
            outputs = tuple(made if o == source else o for o in maker.outputs)
            draft.nodes[producers[source]] = replace(maker, outputs=outputs)
            draft.nodes[place] = replace(node, inputs=(), outputs=())
    draft.nodes = [n for n in draft.nodes if n.outputs]


def _is_identity(draft: Draft, node: Node) -> bool:
    if node.op == "identity":
        return True
    if node.op in ("reshape", "slice") and draft.shape(node.inputs[0]) == draft.shape(node.outputs[0]):
        return int(_number(node, "step", 1)) == 1
    return False


def fold_constants(draft: Draft) -> None:
    """Compute nodes all of whose inputs are constants; with unknown values only their shapes."""
    nodes: list[Node] = []
    for node in draft.nodes:
        given = [i for i in node.inputs if i]
        foldable = (
            bool(given)
            and all(draft.is_constant(i) for i in given)
            and not draft.is_quantized((*given, *node.outputs))
            and draft.kept.isdisjoint(node.outputs)
        )
        if not foldable or not _fold_node(draft, node):
            nodes.append(node)
    draft.nodes = nodes


def _fold_node(draft: Draft, node: Node) -> bool:
    """Replace a node of constants by its value; one whose output has a dimension without a number stays."""
    if any(isinstance(d, str) for name in node.outputs for d in draft.shape(name)):
        return False
    arrays = [draft.array(i) if i else None for i in node.inputs]
    is_known = all(a is not None for a, i in zip(arrays, node.inputs, strict=True) if i)
    op = OPS[node.op]
    values: tuple[Array | None, ...] = (None,) * len(node.outputs)
    if is_known:
        try:
            values = op.reference(Attributes({**op.defaults, **dict(node.attributes)}), *arrays)
        except Refusal:
            return False
    for name, value in zip(node.outputs, values, strict=True):
        shape = tuple(int(d) for d in draft.shape(name))
        draft.tensors[name] = constant_tensor(name, shape if value is None else value, draft.tensors[name].dtype)
    return True


def multiply_by_reciprocals(draft: Draft) -> None:
    """Turn a division by a constant into a product: x -> div(c)   becomes   x -> mul(1/c)."""
    uses = draft.uses()
    for place, node in enumerate(draft.nodes):
        if node.op != "div" or not draft.is_constant(node.inputs[1]) or draft.is_quantized(node.inputs):
            continue
        divisor = draft.array(node.inputs[1])
        if divisor is not None and (divisor.dtype.kind != "f" or not divisor.all()):
            continue
        factor = draft.replace_constant(node.inputs[1], uses, None if divisor is None else 1 / divisor)
        draft.nodes[place] = replace(node, op="mul", inputs=(node.inputs[0], factor))


def name_global_pools(draft: Draft) -> None:
    """Call a mean over height and width what it is: mean(axes=(1,2), keepdims)   becomes   global_avg_pool."""
    for place, node in enumerate(draft.nodes):
        if node.op == "mean" and len(draft.shape(node.inputs[0])) == 4 and bool(node.attribute("keepdims", False)):
            axes = node.attribute("axes", ())
            if isinstance(axes, tuple) and {int(a) % 4 for a in axes} == {1, 2}:
                draft.nodes[place] = replace(node, op="global_avg_pool", attributes=())


def merge_reshapes(draft: Draft) -> None:
    """Merge reshape after reshape: x -> reshape -> reshape   becomes   x -> reshape."""
    producers = draft.producers()
    for place, node in enumerate(draft.nodes):
        if node.op != "reshape" or node.inputs[0] not in producers:
            continue
        before = draft.nodes[producers[node.inputs[0]]]
        if before.op == "reshape":
            source = before.inputs[0]
            target = reshape_target(draft.shape(source), draft.shape(node.outputs[0]))
            if _is_unambiguous(target):
                draft.nodes[place] = replace(with_attributes(node, shape=target), inputs=(source,))


def _is_unambiguous(target: tuple[int, ...] | tuple[str, ...]) -> bool:
    return all(isinstance(d, int) for d in target)


def absorb_affine(draft: Draft) -> None:
    """Absorb batch_norm and constant additions: conv2d -> batch_norm   becomes   conv2d with other weights and bias."""
    _absorb(draft, lambda after: after.op in ("batch_norm", "add"), _absorb_affine)


def absorb_activations(draft: Draft) -> None:
    """Absorb relu and relu6: conv2d -> relu   becomes   conv2d(activation=relu)."""
    _absorb(draft, lambda after: bool(_activation(after)), _absorb_activation)


def _absorb(
    draft: Draft, is_candidate: Callable[[Node], bool], absorb: Callable[[Draft, Counter[str], Node, Node], Node | None]
) -> None:
    """Let each candidate be absorbed by the node that makes its input, where nobody else reads that."""
    uses, producers = draft.uses(), draft.producers()
    gone: set[int] = set()
    for place, after in enumerate(draft.nodes):
        if not is_candidate(after) or draft.is_quantized((*after.inputs, *after.outputs)):
            continue
        for side in range(2 if after.op == "add" else 1):
            path = _path_up(draft, producers, uses, after.inputs[side], is_relu=bool(_activation(after)))
            if not path:
                continue
            turned = after if side == 0 else replace(after, inputs=after.inputs[::-1])
            changed = absorb(draft, uses, draft.nodes[path[-1]], turned)
            if changed is not None:
                draft.nodes[path[-1]] = changed
                below = draft.nodes[path[0]]
                draft.nodes[path[0]] = replace(below, outputs=after.outputs)
                producers[after.outputs[0]] = path[0]
                gone.add(place)
                break
    draft.nodes = [n for place, n in enumerate(draft.nodes) if place not in gone]


def _path_up(draft: Draft, producers: dict[str, int], uses: dict[str, int], name: str, *, is_relu: bool) -> list[int]:
    """Give the places of the nodes from the one that makes `name` up to the first that does not commute with relu."""
    path: list[int] = []
    while name in producers and uses[name] == 1:
        node = draft.nodes[producers[name]]
        if len(node.outputs) != 1:
            return []
        path.append(producers[name])
        if not is_relu or node.op not in COMMUTES_WITH_RELU:
            return path
        name = node.inputs[0]
    return []


def _activation(node: Node) -> str:
    """Give "relu" or "relu6" if the node is that, also as a clip."""
    if node.op in ("relu", "relu6"):
        return node.op
    if node.op == "clip" and _number(node, "low", float("-inf")) == 0:
        return {6.0: "relu6", float("inf"): "relu"}.get(_number(node, "high", float("inf")), "")
    return ""


def _absorb_activation(_draft: Draft, _uses: Counter[str], before: Node, after: Node) -> Node | None:
    if before.op not in ABSORBS_ACTIVATION or before.attribute("activation", "none") != "none":
        return None
    return with_attributes(before, activation=_activation(after))


def _absorb_affine(draft: Draft, uses: Counter[str], before: Node, after: Node) -> Node | None:
    if before.op not in ABSORBS_AFFINE or before.attribute("activation", "none") != "none":
        return None
    if not all(draft.is_constant(i) for i in (*before.inputs[1:], *after.inputs[1:]) if i):
        return None
    channels = int(draft.shape(before.inputs[1])[0])
    if after.op == "batch_norm":
        return _absorb_batch_norm(draft, uses, before, after, channels)
    addend = draft.shape(after.inputs[1])
    if after.attribute("activation", "none") != "none" or draft.shape(after.outputs[0]) != draft.shape(after.inputs[0]):
        return None
    if not addend or addend[-1] not in (1, channels) or prod(int(d) for d in addend) != addend[-1]:
        return None
    value = draft.array(after.inputs[1])
    shift = None if value is None else np.broadcast_to(value.reshape(-1), (channels,))
    return _with_bias(draft, uses, before, None, shift, channels, is_known=value is not None)


def _absorb_batch_norm(draft: Draft, uses: Counter[str], before: Node, after: Node, channels: int) -> Node | None:
    """w' = w * f and b' = (b - mean) * f + bias with f = scale / sqrt(var + eps), in float64 (Jacob 2018, eq. 14)."""
    values = [draft.array(i) for i in after.inputs[1:]]
    scale, bias, mean, var = (None if v is None else v.astype(np.float64) for v in values)
    weight = draft.array(before.inputs[1])
    if scale is None or bias is None or mean is None or var is None or weight is None:
        return _with_bias(draft, uses, before, None, None, channels, is_known=False)
    factor = scale / np.sqrt(var + _number(after, "eps", 1e-5))  # a broken variance stays what it is: nan
    scaled = (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(weight.dtype)
    name = draft.replace_constant(before.inputs[1], uses, scaled)
    turned = replace(before, inputs=(before.inputs[0], name, *before.inputs[2:]))
    return _with_bias(draft, uses, turned, factor, bias - mean * factor, channels, is_known=True)


def _with_bias(
    draft: Draft,
    uses: Counter[str],
    node: Node,
    factor: Array | None,
    shift: Array | None,
    channels: int,
    *,
    is_known: bool,
) -> Node:
    """Give the node the bias old * factor + shift."""
    old = node.inputs[2] if len(node.inputs) > 2 else ""
    value = draft.array(old) if old else np.zeros(channels)
    data: Array | None = None
    if is_known and value is not None and shift is not None:
        data = (value * (1.0 if factor is None else factor) + shift).astype(np.float32)
    if old:
        name = draft.replace_constant(old, uses, data)
    else:
        name = draft.add_constant(f"{node.name}.bias", (channels,), data)
    return replace(node, inputs=(*node.inputs[:2], name))


def spread_batch_norm(draft: Draft) -> None:
    """Turn a batch_norm that nothing absorbs into a depthwise 1x1 convolution, which every chip and dtype has."""
    for place, node in enumerate(draft.nodes):
        shape = draft.shape(node.outputs[0])
        if node.op != "batch_norm" or len(shape) != 4 or not all(draft.is_constant(i) for i in node.inputs[1:]):
            continue
        if any(isinstance(d, str) for d in shape[1:]):  # a convolution needs numbers there
            continue
        channels = int(shape[-1])
        weight = draft.add_constant(f"{node.name}.factor", (channels, 1, 1, 1), _ones_like(draft, node, channels))
        depthwise = Node(node.name, "conv2d", (node.inputs[0], weight), node.outputs, (("groups", channels),))
        changed = _absorb_batch_norm(draft, draft.uses(), depthwise, node, channels)
        draft.nodes[place] = depthwise if changed is None else changed


def _ones_like(draft: Draft, node: Node, channels: int) -> Array | None:
    return None if draft.array(node.inputs[1]) is None else np.ones((channels, 1, 1, 1), np.float32)


def _number(node: Node, key: str, default: float) -> float:
    value = node.attribute(key, default)
    assert isinstance(value, (int, float))
    return float(value)
