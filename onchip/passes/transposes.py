"""Carry transposes downwards until they meet their inverse, vanish into constants, or cannot go on.

In:       a draft whose convolutions stand between transposes (channels first outside, channels last inside).
Out:      the same meaning with few transposes: those at the borders of the graph, and where the layout really changes.
Promises: one walk in order. A tensor that is logically transposed is kept as `View` (stored tensor, permutation): the
          logical value is `stored.transpose(perm)`. Elementwise ops, norms over a last axis that stays last, mean,
          concat and slice work on the stored tensor. A flattened View permutes the columns of the `linear` behind it.
Does not: move work: a transpose that is left is written out once, however many readers it has.

    x -> transpose(0,3,1,2) -> relu -> transpose(0,2,3,1) -> y      before
    x -> relu -> y                                                  after
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from onchip.ir.graph import Node
from onchip.ops.types import Array, Shape
from onchip.passes.draft import Draft, reshape_target, with_attributes
from onchip.passes.permutations import Perm, inverse, is_identity, keeps_order, permuted

UNARY = frozenset(("relu", "relu6", "clip", "sigmoid", "tanh", "gelu", "silu", "exp", "sqrt", "erf", "neg", "identity"))
BINARY = frozenset(("add", "sub", "mul", "div", "pow"))
LAST_AXIS = frozenset(("batch_norm", "layer_norm", "softmax", "linear"))


@dataclass(frozen=True, slots=True)
class View:
    """A logical tensor: `stored.transpose(perm)`; if `flat`, that reshaped to (first dimension, everything else).

    For a flat View `shape` is the shape of the stored tensor before it was flattened in its own order.
    """

    stored: str
    perm: Perm
    flat: bool = False
    shape: Shape = ()


def sink_transposes(draft: Draft) -> None:
    """Rewrite the draft's nodes."""
    _Walk(draft).run()


class _Walk:
    """One pass over the nodes."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.uses: Counter[str] = draft.uses()
        self.views: dict[str, View] = {}
        self.written: set[str] = set()  # logical tensors that were written out, under their own names
        self.stored: list[tuple[str, str]] = []  # stored tensors and the logical ones that they stand for
        self.names: dict[str, str] = {}  # what the transpose was called that made a logical tensor
        self.nodes: list[Node] = []

    def run(self) -> None:
        for node in self.draft.nodes:
            self.step(node)
        for name in sorted(self.views):
            if name in self.draft.kept:
                self.write_kept(name)
        self.draft.nodes = self.nodes
        self._take_names()

    def _take_names(self) -> None:
        """Let a stored tensor have the name of the logical one, where that was not written out."""
        names = {stored: name for stored, name in self.stored if name not in self.written}
        for stored, name in names.items():
            self.draft.tensors[name] = replace(self.draft.tensors[stored], name=name)
        self.draft.nodes = [_renamed(node, names) for node in self.draft.nodes]

    def write_kept(self, name: str) -> None:
        """Write out an output of the graph under its own name."""
        view = self.views[name]
        if view.flat or not is_identity(view.perm):
            self.write_out(name)
            return
        self.written.add(name)
        self._emit("identity", view.stored, name)

    def step(self, node: Node) -> None:
        """Carry views through a node, or write them out in front of it."""
        node = replace(node, inputs=tuple(self.plain(i) for i in node.inputs))
        if node.op == "transpose" and not self.draft.is_constant(node.inputs[0]):
            self.compose(node)
        elif not any(i in self.views for i in node.inputs) or not self.carry(node):
            self.nodes.append(replace(node, inputs=tuple(self.write_out(i) for i in node.inputs)))

    def plain(self, name: str) -> str:
        """Follow a view that changes nothing to what it shows."""
        view = self.views.get(name)
        if view is not None and not view.flat and is_identity(view.perm):
            return view.stored
        return name

    def compose(self, node: Node) -> None:
        perm = _perm(node)
        view = self.views.get(node.inputs[0])
        if view is not None and view.flat:
            view = View(self.write_out(node.inputs[0]), (0, 1))
        if view is None:
            view = View(node.inputs[0], tuple(range(len(perm))))
        self.names[node.outputs[0]] = node.name
        self.views[node.outputs[0]] = View(view.stored, tuple(view.perm[p] for p in perm))

    def write_out(self, name: str) -> str:
        """Emit the transpose that a view stands for, once; its output has the logical name."""
        view = self.views.get(name)
        if view is None or name in self.written:
            return name
        self.written.add(name)
        if view.flat:
            self._write_flat(view, name, self.draft.shape(name))
        else:
            self._emit("transpose", view.stored, name, perm=view.perm)
        return name

    def _write_flat(self, view: View, own: str, shape: Shape) -> None:
        apart = self.draft.add_tensor(f"{own}.apart", view.shape, view.stored)
        target = reshape_target(self.draft.shape(view.stored), view.shape)
        self._emit("reshape", view.stored, apart, shape=target)
        turned = self.draft.add_tensor(f"{own}.turned", permuted(view.shape, view.perm), view.stored)
        self._emit("transpose", apart, turned, perm=view.perm)
        self._emit("reshape", turned, own, shape=reshape_target(self.draft.shape(turned), shape))

    def _emit(self, op: str, source: str, made: str, **attributes: Perm | tuple[str, ...]) -> None:
        name = self.names.get(made) or self.draft.fresh(f"{made}.{op}")
        self.nodes.append(Node(name, op, (source,), (made,), tuple(attributes.items())))

    def carry(self, node: Node) -> bool:
        """Apply the node to the stored tensors; False where that cannot be done."""
        view = self.views.get(node.inputs[0])
        if view is not None and view.flat:
            return self.carry_flat(node, view)
        if view is not None and self.is_edge(node):
            return view.stored not in self.draft.graph.inputs and self.apply(node, (view.stored,), view.perm)
        if node.op in BINARY:
            return self.carry_binary(node)
        if node.op == "concat":
            return self.carry_concat(node)
        if view is None or self.draft.is_quantized((*node.inputs, *node.outputs)):
            return False
        if node.op in UNARY or (node.op in LAST_AXIS and view.perm[-1] == len(view.perm) - 1):
            return self.apply(node, (view.stored, *node.inputs[1:]), view.perm)
        if node.op == "slice":
            axis = view.perm[_axis(node, len(view.perm))]
            return self.apply(with_attributes(node, axis=axis), (view.stored,), view.perm)
        if node.op == "mean":
            return self.carry_mean(node, view)
        return node.op == "reshape" and self.carry_reshape(node, view)

    def is_edge(self, node: Node) -> bool:
        """Tell whether a node quantizes or dequantizes a whole tensor: element by element."""
        if node.op not in ("quantize", "dequantize"):
            return False
        params = [self.draft.tensors[name].quantization for name in (*node.inputs, *node.outputs)]
        return all(q is None or q.axis is None for q in params)

    def apply(self, node: Node, inputs: tuple[str, ...], perm: Perm) -> bool:
        """Emit the node on stored tensors; its output becomes a view with the same permutation."""
        name = node.outputs[0]
        logical = self.draft.tensors[name]
        shape = permuted(logical.shape, inverse(perm))
        if is_identity(perm):
            self.nodes.append(replace(node, inputs=inputs))
            return True
        self.views[name] = View(self._store(name, shape), perm)
        self.nodes.append(replace(node, inputs=inputs, outputs=(self.views[name].stored,)))
        return True

    def _store(self, name: str, shape: Shape) -> str:
        """Add the tensor that is stored for a logical one."""
        stored = self.draft.add_tensor(f"{name}.stored", shape, name)
        self.stored.append((stored, name))
        return stored

    def carry_binary(self, node: Node) -> bool:
        rank = len(self.draft.shape(node.outputs[0]))
        perms = [v.perm for i in node.inputs if (v := self.views.get(i)) is not None and not v.flat]
        if not perms or len(perms[0]) != rank or any(self._is_flat(i) for i in node.inputs):
            return False
        inputs = [self.stored_as(i, perms[0], rank) for i in node.inputs]
        if None in inputs:
            return False
        return self.apply(node, tuple(i for i in inputs if i is not None), perms[0])

    def carry_concat(self, node: Node) -> bool:
        views = [self.views.get(i) for i in node.inputs]
        first = next(v for v in views if v is not None)
        rank = len(self.draft.shape(node.outputs[0]))
        if first.flat or any(v is None or v.flat or v.perm != first.perm for v in views):
            return False
        stored = tuple(v.stored for v in views if v is not None)
        return self.apply(with_attributes(node, axis=first.perm[_axis(node, rank)]), stored, first.perm)

    def stored_as(self, name: str, perm: Perm, rank: int) -> str | None:
        """Give a tensor with the stored order of `perm` whose logical value is `name`; None if there is none."""
        view = self.views.get(name)
        if view is not None and view.perm == perm:
            return view.stored
        shape = self.draft.shape(name)
        if all(d == 1 for d in shape):
            return name if view is None and (len(shape) <= 1 or len(shape) == rank) else None
        if view is None and self.draft.is_constant(name):
            return turn_constant(self.draft, self.uses, name, perm, rank)
        if len(shape) != rank:
            return None
        back = inverse(perm)
        source, turn = (name, back) if view is None else (view.stored, tuple(view.perm[p] for p in back))
        made = self.draft.add_tensor(f"{name}.turned", permuted(shape, back), name)
        self._emit("transpose", source, made, perm=turn)
        return made

    def _is_flat(self, name: str) -> bool:
        view = self.views.get(name)
        return view is not None and view.flat

    def carry_mean(self, node: Node, view: View) -> bool:
        rank = len(view.perm)
        logical = sorted({a % rank for a in _integers(node, "axes")})
        axes = tuple(sorted(view.perm[a] for a in logical))
        changed = with_attributes(node, axes=axes)
        if bool(node.attribute("keepdims", False)):
            return self.apply(changed, (view.stored,), view.perm)
        kept = [view.perm[i] for i in range(rank) if i not in logical]
        order = sorted(kept)
        return self.apply(changed, (view.stored,), tuple(order.index(p) for p in kept))

    def carry_reshape(self, node: Node, view: View) -> bool:
        """Reshape the stored tensor where the order of its elements is that of the logical one, or flatten it."""
        stored, made = self.draft.shape(view.stored), self.draft.shape(node.outputs[0])
        if keeps_order(stored, view.perm):
            target = reshape_target(stored, made)
            self.nodes.append(replace(with_attributes(node, shape=target), inputs=(view.stored,)))
            return True
        if self._reshape_tail(node, view) or self._reshape_ones(node, view):
            return True
        is_flatten = view.perm[0] == 0 and len(made) == 2 and made[0] == stored[0]
        if not is_flatten or not all(isinstance(d, int) for d in stored[1:]):
            return False
        name = node.outputs[0]
        flat = self._store(name, made)
        target = reshape_target(stored, made)
        self.nodes.append(replace(with_attributes(node, shape=target), inputs=(view.stored,), outputs=(flat,)))
        self.views[name] = View(flat, view.perm, True, stored)
        return True

    def _reshape_tail(self, node: Node, view: View) -> bool:
        """Reshape only dimensions behind the permuted ones: the permutation stays in front of them."""
        rank, made = len(view.perm), self.draft.shape(node.outputs[0])
        head = next((i + 1 for i in reversed(range(rank)) if view.perm[i] != i), 0)
        stored = self.draft.shape(view.stored)
        if made[:head] != permuted(stored, view.perm)[:head]:
            return False
        perm = (*view.perm[:head], *range(head, len(made)))
        target = reshape_target(stored, permuted(made, inverse(perm)))
        return self.apply(with_attributes(node, shape=target), (view.stored,), perm)

    def _reshape_ones(self, node: Node, view: View) -> bool:
        """Add or remove dimensions of size 1: in the stored tensor they stand in front."""
        stored, made = self.draft.shape(view.stored), self.draft.shape(node.outputs[0])
        places = [p for p in view.perm if stored[p] != 1]
        if [stored[p] for p in places] != [d for d in made if d != 1]:
            return False
        n_ones = len(made) - len(places)
        ones, rest = iter(range(n_ones)), iter(places)
        order = sorted(places)
        perm = tuple(next(ones) if d == 1 else n_ones + order.index(next(rest)) for d in made)
        target = reshape_target(stored, permuted(made, inverse(perm)))
        return self.apply(with_attributes(node, shape=target), (view.stored,), perm)

    def carry_flat(self, node: Node, view: View) -> bool:
        name = node.outputs[0]
        is_edge = self.is_edge(node)
        if self.draft.is_quantized((*node.inputs, *node.outputs)) and not is_edge:
            return False
        if node.op in UNARY or is_edge:
            stored = self._store(name, self.draft.shape(name))
            self.nodes.append(replace(node, inputs=(view.stored, *node.inputs[1:]), outputs=(stored,)))
            self.views[name] = View(stored, view.perm, True, view.shape)
            return True
        if node.op != "linear" or not self.draft.is_constant(node.inputs[1]):
            return False
        weight = self._turn_columns(node.inputs[1], view)
        self.nodes.append(replace(node, inputs=(view.stored, weight, *node.inputs[2:])))
        return True

    def _turn_columns(self, name: str, view: View) -> str:
        """Bring the columns of a weight matrix into the stored order: y = sum_j w[j] x[index[j]]."""
        data = self.draft.array(name)
        if data is None:
            return name
        inner = tuple(int(d) for d in view.shape[1:])
        order = np.arange(prod(inner)).reshape(inner).transpose([p - 1 for p in view.perm[1:]]).ravel()
        turned: Array = np.empty_like(data)
        turned[:, order] = data
        return self.draft.replace_constant(name, self.uses, turned)


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if names.keys().isdisjoint(node.inputs) and names.keys().isdisjoint(node.outputs):
        return node
    inputs, outputs = (tuple(names.get(t, t) for t in part) for part in (node.inputs, node.outputs))
    return replace(node, inputs=inputs, outputs=outputs)


def hoist_to_inputs(draft: Draft) -> None:
    """Move a transpose above elementwise ops where that brings it directly behind an input of the graph."""
    for place in range(len(draft.nodes)):
        if draft.nodes[place].op == "transpose":
            _hoist(draft, place)


def _hoist(draft: Draft, place: int) -> None:
    uses, producers = draft.uses(), draft.producers()
    node = draft.nodes[place]
    perm = _perm(node)
    chain: list[int] = []
    source = node.inputs[0]
    while (
        source in producers and uses[source] == 1 and _is_elementwise(draft, draft.nodes[producers[source]], len(perm))
    ):
        chain.append(producers[source])
        source = draft.nodes[chain[-1]].inputs[0]
    if not chain or source not in draft.graph.inputs:
        return
    last = node.outputs[0]
    for at in chain:
        step = draft.nodes[at]
        out = step.outputs[0]
        draft.tensors[out] = replace(draft.tensors[out], shape=permuted(draft.shape(out), perm))
        others = tuple(turn_constant(draft, uses, i, inverse(perm), len(perm)) for i in step.inputs[1:])
        draft.nodes[at] = replace(step, inputs=(step.inputs[0], *others))
    turned = draft.add_tensor(f"{source}.transposed", permuted(draft.shape(source), perm), source)
    draft.nodes[chain[0]] = replace(draft.nodes[chain[0]], outputs=(last,))
    first = draft.nodes[chain[-1]]
    draft.nodes[chain[-1]] = replace(first, inputs=(turned, *first.inputs[1:]))
    del draft.nodes[place]
    draft.nodes.insert(chain[-1], replace(node, inputs=(source,), outputs=(turned,)))


def _is_elementwise(draft: Draft, node: Node, rank: int) -> bool:
    """Tell whether a transpose may pass the node: unary, or with a constant on the right."""
    if node.op in UNARY:
        return True
    return node.op in BINARY and draft.is_constant(node.inputs[1]) and len(draft.shape(node.inputs[0])) == rank


def turn_constant(draft: Draft, uses: Counter[str], name: str, perm: Perm, rank: int) -> str:
    """Give a constant in the stored order of a view with `perm`, so that it broadcasts there as before."""
    old = draft.tensors[name]
    if all(d == 1 for d in old.shape) and len(old.shape) <= 1:
        return name
    full = (1,) * (rank - len(old.shape)) + tuple(int(d) for d in old.shape)
    shape = tuple(full[p] for p in inverse(perm))
    data = draft.array(name)
    turned = None if data is None else np.ascontiguousarray(data.reshape(full).transpose(inverse(perm)))
    return draft.replace_constant(name, uses, turned, shape)


def _perm(node: Node) -> Perm:
    return _integers(node, "perm")


def _axis(node: Node, rank: int) -> int:
    value = node.attribute("axis", 0)
    assert isinstance(value, int)
    return value % rank


def _integers(node: Node, key: str) -> tuple[int, ...]:
    value = node.attribute(key, ())
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


__all__ = ["BINARY", "UNARY", "View", "hoist_to_inputs", "inverse", "permuted", "sink_transposes"]
