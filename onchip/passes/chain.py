"""The nodes that take the place of one, one behind the other.

In: a Draft and the node that goes. Out: `Chain`, which `express` and its rules add nodes to.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Node, attributes_of
from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes, AttributeValue
from onchip.passes.draft import Draft

Ids = NDArray[np.int64]


class Chain:
    """The nodes that take the place of one, one behind the other, while they grow."""

    def __init__(self, draft: Draft, node: Node) -> None:
        self.draft, self.node, self.at, self.like = draft, node, node.inputs[0], node.outputs[0]
        self.nodes: list[Node] = []
        self.attributes: Attributes = attributes_of(node, look_up_op(node.op, node.name))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(d) for d in self.draft.shape(self.at))

    @property
    def made(self) -> tuple[int, ...]:
        """Return the shape of the node's own output."""
        return tuple(int(d) for d in self.draft.shape(self.node.outputs[0]))

    def then(
        self, op: str, made: tuple[int, ...], /, *inputs: str, is_main: bool = False, **attributes: AttributeValue
    ) -> None:
        """Add a node behind the last one; its output is like `like`, the node's own."""
        name = self.node.name if is_main else self.draft.fresh(f"{self.node.name}.{op}")
        out = self.draft.add_tensor(f"{self.node.outputs[0]}.{op}", made, self.like)
        given = tuple(sorted(attributes.items()))
        self.nodes.append(Node(name, op, (self.at, *inputs), (out,), given))
        self.at = out

    def reshape(self, *shape: int) -> None:
        """View what is there in another shape."""
        if shape != self.shape:
            self.then("reshape", shape, shape=shape)

    def transpose(self, *perm: int, is_main: bool = False) -> None:
        if perm != tuple(range(len(perm))):
            self.then("transpose", tuple(self.shape[a] for a in perm), is_main=is_main, perm=perm)

    def pick(self, indices: list[Ids]) -> None:
        """Copy, along each of the first axes, the cells with these numbers."""
        shape, n = self.shape, len(indices)
        ids = np.ravel_multi_index(np.ix_(*indices), shape[:n]).reshape(-1)
        behind = shape[n:]
        table = self.draft.add_constant(f"{self.node.name}.cells", (len(ids),), ids, "i64")
        self.reshape(prod(shape[:n]), prod(behind))
        self.then("gather", (len(ids), prod(behind)), table, is_main=True, axis=0)
        self.reshape(*(len(i) for i in indices), *behind)

    def finish(self) -> list[Node]:
        """Give the last node the output of the node that goes; an empty chain copies."""
        if not self.nodes:
            self.then("identity", self.shape, is_main=True)
        last = self.nodes[-1]
        del self.draft.tensors[last.outputs[0]]
        self.nodes[-1] = replace(last, outputs=self.node.outputs)
        return self.nodes
