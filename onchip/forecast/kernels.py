"""Which nodes run as one kernel in a vendor's program, and what each kernel reads and writes.

In:       a folded Graph whose dimensions are numbers.
Out:      kernels in order, each with the nodes that a runtime fuses, and which tensors only rename another one.
Promises: every node is in one kernel or costs nothing; a kernel's inputs are activations that earlier kernels made or
          the graph's own, its weights constants; nothing is counted twice.
          Fused are: elementwise nodes behind a product, a norm or each other; elementwise nodes and lookups before a
          norm or softmax that alone reads them; a residual sum and the norm that reads it, whoever reads the sum
          besides; linears of one input (query, key and value). Free are: reshapes,
          changes of type, transposes and padding that only products read, concatenations and slices whose parts are
          written where they are read.
Does not: know a chip.
Sources:  TensorRT developer guide, "types of fusions"; NVIDIA/TensorRT demo/BERT, whose plugins are attention and
          sum with norm; ONNX Runtime has the latter as SkipLayerNormalization (all recalled, not re-read).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from onchip.ir.graph import Graph, Node
from onchip.ops.cost import TABLES

RENAMES = ("reshape", "identity", "quantize", "dequantize", "cast")
WINDOWS = ("conv2d", "max_pool2d", "avg_pool2d")
PRODUCTS = ("conv2d", "conv_transpose2d", "linear", "matmul")
ELEMENTWISE = (
    *("add", "sub", "mul", "div", "maximum", "minimum", "relu", "relu6", "clip", "batch_norm", "requantize", "prelu"),
    *("pow", "mod", "where", "equal", "greater", "greater_equal", "less", "less_equal", "squared_difference"),
    *("logical_not", "logical_and", "logical_or", "logical_xor", "lookup", "blend"),
    *TABLES,
)
ROW_WISE = ("softmax", "log_softmax", "layer_norm", "rms_norm", "group_norm", "instance_norm", "l2_norm")
NORMS = ("layer_norm", "rms_norm")  # that take the sum before them along
EMBEDDINGS = ("gather",)
READ_TRANSPOSED = (*PRODUCTS, "attention")  # ops that take an operand in any order of axes
INDEX_BYTES = 4


@dataclass(slots=True)
class Kernel:
    """Nodes that run together. Tensors by name."""

    graph: Graph
    node_macs: Mapping[str, int]  # of all nodes of the graph, counted once
    nodes: list[Node]
    inputs: list[str] = field(default_factory=list[str])  # activations from other kernels or the graph's inputs
    weights: list[str] = field(default_factory=list[str])

    @property
    def anchor(self) -> Node:
        """The node that decides how the kernel runs: the first that is neither elementwise nor a lookup before one."""
        fused = (*ELEMENTWISE, *EMBEDDINGS)
        return next((node for node in self.nodes if node.op not in fused), self.nodes[0])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tensors that others read, or the graph's outputs."""
        own, kept = {node.name for node in self.nodes}, set(self.graph.kept)
        made = (name for node in self.nodes for name in node.outputs)
        return tuple(t for t in made if t in kept or any(r.name not in own for r in self.graph.consumers(t)))

    @property
    def macs(self) -> int:
        return sum(self.node_macs[node.name] for node in self.nodes)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's dimensions, all numbers."""
        return tuple(int(d) for d in self.graph.tensor(tensor).shape)

    def elements(self, tensor: str) -> int:
        return prod(self.shape(tensor))


def kernels_of(graph: Graph, *, sums_apart: bool = False) -> tuple[tuple[Kernel, ...], Mapping[str, str]]:
    """Return the kernels in order, and for each tensor that renames another one that other one.

    With `sums_apart` an elementwise node of two activations begins a kernel.
    """
    walk = _Walk(graph, sums_apart)
    for node in graph.nodes:
        walk.take(node)
    return tuple(walk.found), walk.alias


def root(tensor: str, alias: Mapping[str, str]) -> str:
    """Return the tensor that a renaming stands for."""
    while tensor in alias:
        tensor = alias[tensor]
    return tensor


class _Walk:
    """The kernels found so far, the place of each tensor's maker among them, and the tensors that are others."""

    def __init__(self, graph: Graph, sums_apart: bool) -> None:
        self.graph, self.sums_apart = graph, sums_apart
        self.node_macs = {node.name: graph.node_macs(node.name) for node in graph.nodes}
        self.found: list[Kernel] = []
        self.maker: dict[str, int] = {}
        self.alias: dict[str, str] = {}
        self.parts: dict[str, tuple[str, ...]] = {}  # of a concatenation that is written in place
        self.linears: dict[str, int] = {}  # kernels of linears alone, by what they read

    def take(self, node: Node) -> None:
        """Put a node where it runs."""
        if node.op in RENAMES or self._is_layout(node):
            self.alias[node.outputs[0]] = root(node.inputs[0], self.alias)
            return
        sources = self._sources(node.inputs)
        if node.op == "concat" and self._is_in_place(node, sources):
            self.parts[node.outputs[0]] = sources
            return
        place = self._place(node, sources)
        if place == len(self.found):
            self.found.append(Kernel(self.graph, self.node_macs, []))
        self._add(node, sources, place)

    def _add(self, node: Node, sources: Iterable[str], place: int) -> None:
        kernel = self.found[place]
        own = {name for n in kernel.nodes for name in n.outputs}
        kernel.nodes.append(node)
        for name in sources:
            side = kernel.weights if self.graph.tensor(name).constant is not None else kernel.inputs
            if name not in own and name not in side:
                side.append(name)
        self.maker.update(dict.fromkeys(node.outputs, place))
        if node.op == "linear":
            self.linears[self._sources(node.inputs[:1])[0]] = place

    def _sources(self, inputs: Iterable[str]) -> tuple[str, ...]:
        """Return the tensors that inputs stand for, those of concatenations part by part."""
        roots = (root(name, self.alias) for name in inputs if name)
        return tuple(dict.fromkeys(part for name in roots for part in self.parts.get(name, (name,))))

    def _is_layout(self, node: Node) -> bool:
        """Return whether only products, or windows, read what a transpose, or a padding, makes."""
        readers = self.graph.consumers(node.outputs[0])
        if node.outputs[0] in self.graph.kept or not readers:
            return False
        if node.op == "pad":
            return all(reader.op in WINDOWS for reader in readers)
        return node.op == "transpose" and all(reader.op in READ_TRANSPOSED for reader in readers)

    def _is_in_place(self, node: Node, sources: tuple[str, ...]) -> bool:
        """Return whether the makers of all parts can write them where the whole is read."""
        return node.outputs[0] not in self.graph.kept and all(name in self.maker for name in sources)

    def _place(self, node: Node, sources: tuple[str, ...]) -> int:
        """Return the kernel that a node joins, or the next one."""
        new = len(self.found)
        if node.op == "linear":
            before = self.linears.get(sources[0], new)
            return before if before < new and self._are_linears(before) else new
        latest = max((self.maker[name] for name in sources if name in self.maker), default=new)
        if latest == new:
            return new
        ops = {n.op for n in self.found[latest].nodes}
        if self._is_skip(node) and self.found[latest].anchor.op in PRODUCTS:
            return new
        if node.op in ROW_WISE:
            joins = ops <= {*ELEMENTWISE, *EMBEDDINGS} and self.maker.get(sources[0]) == latest
            if joins and self._is_skip(self.found[latest].nodes[-1]):
                return latest  # others may read the sum: it is written as well
        elif node.op == "slice":
            return latest if self._is_cut(sources[0]) else new
        else:
            is_sum = sum(self.graph.tensor(name).constant is None for name in sources) > 1
            joins = node.op in ELEMENTWISE and not (is_sum and self.sums_apart) and self._continues(node, latest)
        return latest if joins and self._is_read_here(node, sources, latest) else new

    def _is_skip(self, node: Node) -> bool:
        """Return whether a node is the sum of two activations that a norm reads: they are one kernel."""
        if node.op != "add" or any(self.graph.tensor(name).constant is not None for name in node.inputs):
            return False
        return any(reader.op in NORMS for reader in self.graph.consumers(node.outputs[0]))

    def _is_cut(self, tensor: str) -> bool:
        """Return whether a tensor is read in slices only: its maker writes those."""
        readers = self.graph.consumers(tensor)
        return tensor not in self.graph.kept and all(reader.op == "slice" for reader in readers)

    def _are_linears(self, place: int) -> bool:
        return all(node.op == "linear" for node in self.found[place].nodes)

    def _continues(self, node: Node, place: int) -> bool:
        """Return whether an elementwise node has the size of a tensor that it reads of a kernel that takes it."""
        kernel, size = self.found[place], prod(self.found[place].shape(node.outputs[0]))
        heads = (*PRODUCTS, *ELEMENTWISE, *ROW_WISE, *EMBEDDINGS)
        own = [name for name in self._sources(node.inputs) if self.maker.get(name) == place]
        return kernel.anchor.op in heads and any(kernel.elements(name) == size for name in own)

    def _is_read_here(self, node: Node, sources: tuple[str, ...], place: int) -> bool:
        """Return whether what a node reads of a kernel has no other readers: they are inside, or read this node too.

        x -> f(x) -> x f(x) is one chain: the product reads f(x) as well.
        """
        inside = {n.name for n in self.found[place].nodes} | {node.name}
        for name in (source for source in sources if self.maker.get(source) == place):
            others = [reader for reader in self.graph.consumers(name) if reader.name not in inside]
            if name in self.graph.kept or any(
                node.outputs[0] not in r.inputs or r.op not in ELEMENTWISE for r in others
            ):
                return False
        return True
