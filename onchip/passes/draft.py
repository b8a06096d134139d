"""A graph taken apart: the working table of the passes.

In:       a Graph.
Out:      the same nodes and tensors in mutable containers, and `finish()`: a Graph again, without dead code.
Promises: nothing is checked on the way; the constructor of Graph checks the result. Nodes keep their order.
          A new name never collides with one in use.
Does not: decide anything. Local to one call of one pass; never handed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from onchip.ir.graph import Graph, Node, Tensor, constant_tensor
from onchip.ops.types import Array, AttributeValue, Shape


class Draft:
    """Nodes in order and tensors by name, to be edited by one pass."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = list(graph.nodes)
        self.tensors: dict[str, Tensor] = {t.name: t for t in graph.tensors}
        self.kept: frozenset[str] = frozenset(graph.outputs) | {new for _, new in graph.states}
        self._names = set(self.tensors) | {n.name for n in graph.nodes}

    def uses(self) -> Counter[str]:
        """Count how often each tensor is read; a graph output counts as one reading."""
        counts = Counter(i for node in self.nodes for i in node.inputs)
        counts.update(self.kept)
        return counts

    def producers(self) -> dict[str, int]:
        """Give the place in `nodes` of the node that makes each tensor."""
        return {out: place for place, node in enumerate(self.nodes) for out in node.outputs}

    def shape(self, name: str) -> Shape:
        return self.tensors[name].shape

    def is_constant(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name].constant is not None

    def array(self, name: str) -> Array | None:
        """Give the values of a constant; None where the weights are unknown."""
        constant = self.tensors[name].constant
        return None if constant is None else constant.data

    def is_quantized(self, names: Iterable[str]) -> bool:
        return any(n and self.tensors[n].quantization is not None for n in names)

    def fresh(self, name: str) -> str:
        """Give `name`, or `name.2`, `name.3`, ... where it is taken."""
        candidate, number = name, 2
        while candidate in self._names:
            candidate, number = f"{name}.{number}", number + 1
        self._names.add(candidate)
        return candidate

    def add_tensor(self, name: str, shape: Shape, like: str) -> str:
        """Add a tensor of the dtype and quantization of `like`."""
        own = self.fresh(name)
        self.tensors[own] = replace(self.tensors[like], name=own, shape=shape, constant=None)
        return own

    def add_constant(self, name: str, shape: tuple[int, ...], data: Array | None, dtype: str = "f32") -> str:
        """Add a constant, with unknown values where `data` is None."""
        own = self.fresh(name)
        self.tensors[own] = constant_tensor(own, shape if data is None else data, dtype)
        return own

    def replace_constant(self, name: str, uses: Counter[str], data: Array | None, shape: Shape | None = None) -> str:
        """Give a constant new values: under its own name if nobody else reads it."""
        old = self.tensors[name]
        own = name if uses[name] <= 1 else self.fresh(f"{name}.folded")
        new_shape = tuple(int(d) for d in (old.shape if shape is None else shape))
        if data is None and own == name and new_shape == old.shape:
            return name
        self.tensors[own] = constant_tensor(own, new_shape if data is None else data, old.dtype)
        return own

    def drop_dead(self) -> set[str]:
        """Drop the nodes that no output needs; gives the tensors that are needed."""
        needed = set(self.kept)
        nodes: list[Node] = []
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.outputs):
                continue
            nodes.append(node)
            needed.update(node.inputs)
        self.nodes = nodes[::-1]
        return needed

    def finish(self) -> Graph:
        """Drop what no output needs and build the Graph."""
        needed = self.drop_dead()
        made = {out for node in self.nodes for out in node.outputs}
        inputs = set(self.graph.inputs) | {old for old, _ in self.graph.states}
        tensors = tuple(t for name, t in self.tensors.items() if name in needed or name in made or name in inputs)
        return replace(self.graph, tensors=tensors, nodes=tuple(self.nodes))


def with_attributes(node: Node, **changes: AttributeValue) -> Node:
    """Give the node with these attributes changed or added."""
    return replace(node, attributes=tuple(sorted({**dict(node.attributes), **changes}.items())))


def reshape_target(given: Shape, made: Shape) -> tuple[int, ...] | tuple[str, ...]:
    """Write a known output shape as the attribute of a reshape: 0 keeps a symbol, -1 stands for one elsewhere."""
    target: list[int] = []
    for i, d in enumerate(made):
        if isinstance(d, int):
            target.append(d)
        elif i < len(given) and given[i] == d:
            target.append(0)
        elif -1 not in target:
            target.append(-1)
        else:
            return tuple(map(str, made))
    return tuple(target)
