"""Which nodes run as one kernel in a vendor's program, and what each kernel reads and writes.

In:       a folded Graph whose dimensions are numbers.
Out:      kernels in order: an anchor and the elementwise nodes behind it that a runtime fuses into it.
Promises: every node is in one kernel or renames a tensor; a kernel's inputs are activations that some other kernel
          made, its weights constants; nothing is counted twice.
Does not: know a chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from onchip.ir.graph import Graph, Node
from onchip.ops.cost import TABLES

RENAMES = ("reshape", "identity", "quantize", "dequantize", "cast")
PRODUCTS = ("conv2d", "conv_transpose2d", "linear", "matmul")
ELEMENTWISE = (
    *("add", "sub", "mul", "div", "maximum", "minimum", "relu", "relu6", "clip", "batch_norm", "requantize", "prelu"),
    *TABLES,
)
INDEX_BYTES = 4


@dataclass(slots=True)
class Kernel:
    """Nodes that run together; the first is the anchor. Tensors by name."""

    graph: Graph
    nodes: list[Node]
    inputs: list[str] = field(default_factory=list[str])  # activations from other kernels or the graph's inputs
    weights: list[str] = field(default_factory=list[str])

    @property
    def anchor(self) -> Node:
        return self.nodes[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.nodes[-1].outputs

    @property
    def macs(self) -> int:
        return sum(self.graph.node_macs(node.name) for node in self.nodes)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's dimensions, all numbers."""
        return tuple(int(d) for d in self.graph.tensor(tensor).shape)

    def elements(self, tensor: str) -> int:
        return prod(self.shape(tensor))


def kernels_of(graph: Graph) -> tuple[tuple[Kernel, ...], Mapping[str, str]]:
    """Return the kernels in order, and for each tensor that renames another one that other one."""
    found, makers, alias = list[Kernel](), dict[str, Kernel](), dict[str, str]()
    for node in graph.nodes:
        if node.op in RENAMES:
            alias[node.outputs[0]] = root(node.inputs[0], alias)
            continue
        kernel = _joined(graph, node, makers, alias)
        if kernel is None:
            kernel = Kernel(graph, [])
            found.append(kernel)
        own = {name for n in kernel.nodes for name in n.outputs}
        kernel.nodes.append(node)
        for name in (root(name, alias) for name in node.inputs if name):
            side = kernel.weights if graph.tensor(name).constant is not None else kernel.inputs
            if name not in own and name not in side:
                side.append(name)
        makers.update(dict.fromkeys(node.outputs, kernel))
    return tuple(found), alias


def root(tensor: str, alias: Mapping[str, str]) -> str:
    """Return the tensor that a renaming stands for."""
    while tensor in alias:
        tensor = alias[tensor]
    return tensor


def _joined(graph: Graph, node: Node, makers: Mapping[str, Kernel], alias: Mapping[str, str]) -> Kernel | None:
    """Return the latest kernel that this elementwise node continues: its only reader, of the same size."""
    if node.op not in ELEMENTWISE:
        return None
    for name in reversed(node.inputs):
        maker = makers.get(root(name, alias)) if name else None
        if maker is None or root(name, alias) not in maker.outputs or maker.anchor.op not in (*PRODUCTS, *ELEMENTWISE):
            continue
        same = prod(maker.shape(node.outputs[0])) == prod(maker.shape(name))
        if same and len(graph.consumers(name)) == 1 and name not in graph.kept:
            return maker
    return None
