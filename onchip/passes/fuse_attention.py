"""Recognise softmax(q k^T * scale + mask) v written out as matrix products.

In:       a draft; q [B,H,Lq,D], k^T [B,H,D,Lk], v [B,H,Lk,Dv], or the same without H.
Out:      whether something changed. Each match becomes one `attention` node between transposes and reshapes, which the
          fold cancels against those that split the heads.
Promises: factors that are constant scalars are collected from the scores, from q and from k, wherever they stand.
          The node takes the name of the softmax.
Does not: match where anyone else reads the scores or the weights, or where the batches of q, k and v differ.
Sources:  Vaswani et al. 2017, eq. 1.

    matmul -> mul -> add -> softmax -> matmul      becomes      attention
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from onchip.ir.graph import Node
from onchip.ops.types import Shape
from onchip.passes.draft import Draft, reshape_target


@dataclass(frozen=True, slots=True)
class _Match:
    q: str
    k_transposed: str
    is_k_turned: bool
    v: str
    mask: str
    scale: float
    softmax: Node
    last: Node
    factors: tuple[int, ...]


def fuse_attention(draft: Draft) -> bool:
    """Rewrite every match."""
    uses, producers = draft.uses(), draft.producers()
    nodes: list[Node] = []
    has_changed, identities = False, dict[str, Node]()
    for node in draft.nodes:
        match = _match(draft, uses, producers, node)
        if match is None:
            nodes.append(node)
        else:
            nodes.extend(_rewrite(draft, match))
            identities |= _without_factors(draft, match.factors)
            has_changed = True
    draft.nodes = [identities.get(n.name, n) for n in nodes]
    draft.drop_dead()
    return has_changed


def _match(draft: Draft, uses: Counter[str], producers: dict[str, int], last: Node) -> _Match | None:
    if last.op != "matmul" or bool(last.attribute("transpose_b", False)) or last.inputs[0] not in producers:
        return None
    softmax = draft.nodes[producers[last.inputs[0]]]
    rank = len(draft.shape(last.outputs[0]))
    if softmax.op != "softmax" or uses[last.inputs[0]] != 1 or rank not in (3, 4):
        return None
    scores, mask = softmax.inputs[0], ""
    above = _producer(draft, uses, producers, scores)
    if above is not None and above.op == "add" and above.attribute("activation", "none") == "none":
        scores, mask = _split_mask(draft, producers, above)
    scale, places = _peel(draft, uses, producers, scores)
    if places:
        scores = _multiplied(draft, places[-1])
    product = _producer(draft, uses, producers, scores)
    if product is None or product.op != "matmul":
        return None
    q, k = product.inputs
    q_scale, q_places = _peel(draft, uses, producers, q, is_deep=True)
    k_scale, k_places = _peel(draft, uses, producers, k, is_deep=True)
    shapes = [draft.shape(name) for name in (q, k, last.inputs[1])]
    if any(len(s) != rank or s[:-2] != shapes[0][:-2] for s in shapes):
        return None
    has_symbol = any(isinstance(d, str) for d in (shapes[0][1], shapes[0][-1], shapes[2][-1]))
    if (rank == 4 and has_symbol) or scale * q_scale * k_scale == 0:  # a scale of 0 stands for 1/sqrt(D) in the op
        return None
    if mask and (len(draft.shape(mask)) != 4 or rank != 4):
        return None
    is_turned = bool(product.attribute("transpose_b", False))
    return _Match(
        q, k, is_turned, last.inputs[1], mask, scale * q_scale * k_scale, softmax, last, (*q_places, *k_places)
    )


def _multiplied(draft: Draft, place: int) -> str:
    """Give what a multiplication by a constant multiplies."""
    node = draft.nodes[place]
    return node.inputs[0] if node.op == "div" or draft.is_constant(node.inputs[1]) else node.inputs[1]


def _producer(draft: Draft, uses: Counter[str], producers: dict[str, int], name: str) -> Node | None:
    """Give the node that makes `name` if nobody but one node reads it."""
    return draft.nodes[producers[name]] if name in producers and uses[name] == 1 else None


def _split_mask(draft: Draft, producers: dict[str, int], add: Node) -> tuple[str, str]:
    """Tell the scores from the mask: the scores come out of a matrix product, perhaps scaled."""
    for scores, mask in (add.inputs, add.inputs[::-1]):
        node = draft.nodes[producers[scores]] if scores in producers else None
        if node is not None and node.op in ("matmul", "mul", "div"):
            return scores, mask
    return add.inputs[0], add.inputs[1]


def _peel(
    draft: Draft, uses: Counter[str], producers: dict[str, int], name: str, *, is_deep: bool = False
) -> tuple[float, list[int]]:
    """Find factors that are constant scalars on a tensor, and the places of the nodes that multiply by them.

    With `is_deep` also behind transposes and reshapes.
    """
    scale, places = 1.0, list[int]()
    while (node := _producer(draft, uses, producers, name)) is not None:
        if is_deep and node.op in ("transpose", "reshape"):
            name = node.inputs[0]
            continue
        if node.op not in ("mul", "div") or node.attribute("activation", "none") != "none":
            break
        side = 1 if node.op == "div" or draft.is_constant(node.inputs[1]) else 0
        value = draft.array(node.inputs[side]) if draft.is_constant(node.inputs[side]) else None
        if value is None or value.size != 1 or draft.shape(node.outputs[0]) != draft.shape(node.inputs[1 - side]):
            break
        factor = float(value.reshape(-1)[0])
        scale = scale / factor if node.op == "div" else scale * factor
        places.append(producers[name])
        name = node.inputs[1 - side]
    return scale, places


def _without_factors(draft: Draft, places: Iterable[int]) -> dict[str, Node]:
    """Turn multiplications into identities, by name; the fold removes these."""
    changed: dict[str, Node] = {}
    for place in places:
        node = draft.nodes[place]
        changed[node.name] = Node(node.name, "identity", (_multiplied(draft, place),), node.outputs)
    return changed


def _rewrite(draft: Draft, match: _Match) -> list[Node]:
    nodes: list[Node] = []
    shape = draft.shape(match.last.outputs[0])
    heads = shape[1] if len(shape) == 4 else 1
    assert isinstance(heads, int)
    parts = [
        _merged(draft, nodes, match.q, is_turned=False),
        _merged(draft, nodes, match.k_transposed, is_turned=not match.is_k_turned),
        _merged(draft, nodes, match.v, is_turned=False),
    ]
    lengths, width = draft.shape(parts[0])[:2], draft.shape(parts[2])[2]
    name = match.softmax.name
    merged = draft.add_tensor(f"{name}.merged", (*lengths, width), match.last.outputs[0])
    inputs = (*parts, _keep_mask(draft, nodes, match.mask)) if match.mask else tuple(parts)
    attributes = (("heads", heads), ("scale", match.scale))
    attention = Node(name, "attention", inputs, (merged,), attributes)
    if len(shape) == 3:
        return [*nodes, replace(attention, outputs=match.last.outputs)]
    split: Shape = (*lengths, heads, shape[3])
    apart = draft.add_tensor(f"{name}.apart", split, merged)
    target = reshape_target(draft.shape(merged), split)
    nodes += [attention, Node(apart, "reshape", (merged,), (apart,), (("shape", target),))]
    return [*nodes, Node(f"{name}.heads", "transpose", (apart,), match.last.outputs, (("perm", (0, 2, 1, 3)),))]


def _keep_mask(draft: Draft, nodes: list[Node], mask: str) -> str:
    """Read where(keep, 0, -inf), and where(drop, -inf, 0), as the bool mask it is made of."""
    maker = next((n for n in draft.nodes if mask in n.outputs), None)
    if maker is None or maker.op != "where" or draft.shape(maker.inputs[0]) != draft.shape(mask):
        return mask
    values = [draft.array(i) if draft.is_constant(i) else None for i in maker.inputs[1:]]
    chosen = [float(v.reshape(-1)[0]) if v is not None and v.size == 1 else 1.0 for v in values]
    lowest = -1e9  # assumed: as good as minus infinity; exp(-1e9) is 0 in float32
    if chosen[0] == 0 and chosen[1] <= lowest:
        return maker.inputs[0]
    if chosen[1] != 0 or chosen[0] > lowest:
        return mask
    keep = draft.fresh(f"{mask}.keep")
    draft.tensors[keep] = replace(draft.tensors[maker.inputs[0]], name=keep, constant=None)
    nodes.append(Node(keep, "logical_not", (maker.inputs[0],), (keep,)))
    return keep


def _merged(draft: Draft, nodes: list[Node], name: str, *, is_turned: bool) -> str:
    """Bring [B,H,L,D] (is_turned: [B,H,D,L]) to [B,L,H*D]; without H nothing but the turn is left."""
    shape = draft.shape(name)
    if len(shape) == 3 and not is_turned:
        return name
    perm = (0, 2, 1) if len(shape) == 3 else (0, 3, 1, 2) if is_turned else (0, 2, 1, 3)
    turned = draft.add_tensor(f"{name}.tokens", tuple(shape[p] for p in perm), name)
    nodes.append(Node(turned, "transpose", (name,), (turned,), (("perm", perm),)))
    if len(shape) == 3:
        return turned
    split = draft.shape(turned)
    heads, width = split[2:]
    assert isinstance(heads, int) and isinstance(width, int)
    merged = draft.add_tensor(f"{name}.merged", (*split[:2], heads * width), name)
    target = reshape_target(split, draft.shape(merged))
    nodes.append(Node(merged, "reshape", (turned,), (merged,), (("shape", target),)))
    return merged
