"""Which nodes run together: the host's part at the graph's edges, renamings, and fused groups.

In: a Graph after the passes. Out: groups of nodes in order, each with its inputs in far memory. A node joins the group
that makes its input when nothing else reads that input and it only adds vector work; its other input must be there
before the group starts, which holds because groups run in the order of their last input.

Before -> after: conv, add(conv, x), relu -> one group [conv, add, relu] with x as side input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node
from onchip.ops.cells import GATES
from onchip.ops.cost import TABLES
from onchip.planner.dimensions import attributes, dims

HOST_OPS = ("quantize", "dequantize", "transpose", "identity", "reshape")
ALIASES = ("reshape", "identity")
JOINS = (
    "add",
    "sub",
    "mul",
    "maximum",
    "minimum",
    "relu",
    "relu6",
    "clip",
    "requantize",
    "max_pool2d",
    "prelu",
    *TABLES,
)
ANCHORS_THAT_CHAIN = ("conv2d", "linear", "matmul", *JOINS)
TWO_OPERANDS = ("gather", "matmul")  # row numbers and second factors are no side tiles


@dataclass(slots=True)
class Group:
    """Nodes that run as one kernel; `inputs[0]` is the source, the others are side inputs."""

    nodes: list[Node]
    inputs: list[str]

    @property
    def output(self) -> str:
        return self.nodes[-1].outputs[0]


@dataclass(slots=True)
class Grouping:
    """Groups in order, what the host does before and after, and tensors that rename another one."""

    groups: list[Group] = field(default_factory=list[Group])
    host_before: list[str] = field(default_factory=list[str])
    host_after: list[str] = field(default_factory=list[str])
    alias: dict[str, str] = field(default_factory=dict[str, str])

    def root(self, tensor: str) -> str:
        """Return the tensor that a renaming stands for."""
        while tensor in self.alias:
            tensor = self.alias[tensor]
        return tensor


def group_nodes(graph: Graph) -> Grouping:
    """Return the grouping of a graph."""
    found = Grouping()
    found.host_before = _before(graph)
    found.host_after = _after(graph, set(found.host_before))
    host = set(found.host_before) | set(found.host_after)
    makers: dict[str, Group] = {}
    for node in graph.nodes:
        if node.name in host:
            continue
        if node.op in ALIASES and _same_bytes(graph, node):
            found.alias[node.outputs[0]] = node.inputs[0]
            continue
        group = _joined(graph, node, found, makers)
        if group is None:
            group = Group([node], _far_inputs(graph, node))
            found.groups.append(group)
        for output in node.outputs:
            makers[output] = group
    _leave_to_host(graph, found)
    return found


def _leave_to_host(graph: Graph, found: Grouping) -> None:
    """Give the host the renamings that no kernel has to do with: a reshape from input to output."""
    seen = {found.root(name) for group in found.groups for name in (*group.inputs, *group.nodes[-1].outputs)}
    loose = [node for node in graph.nodes if node.outputs[0] in found.alias and found.root(node.outputs[0]) not in seen]
    for node in loose:
        found.host_before.append(node.name)
    for node in loose:
        del found.alias[node.outputs[0]]


def n_operands(anchor: Node) -> int:
    """Return how many of a group's inputs its first node takes in a way of its own; the others are side tiles."""
    if anchor.op == "blend":
        return len(anchor.inputs) - 1  # and cell numbers of each tap
    return 2 if anchor.op in TWO_OPERANDS else 1


def _same_bytes(graph: Graph, node: Node) -> bool:
    return graph.tensor(node.inputs[0]).quantization == graph.tensor(node.outputs[0]).quantization


def _before(graph: Graph) -> list[str]:
    """Nodes that only prepare graph inputs."""
    ready, found = set(graph.inputs), list[str]()
    for node in graph.nodes:
        if node.op in HOST_OPS and node.op != "dequantize" and all(name in ready for name in node.inputs):
            found.append(node.name)
            ready |= set(node.outputs)
    if all(graph.node(name).op in ALIASES for name in found):
        return []
    return found


def _after(graph: Graph, before: set[str]) -> list[str]:
    """Nodes that only finish graph outputs."""
    wanted, found = set(graph.kept), list[str]()
    for node in reversed(graph.nodes):
        only_outputs = all(o in wanted for o in node.outputs) and node.outputs
        if node.op in HOST_OPS and node.op != "quantize" and only_outputs and node.name not in before:
            readers = [c for o in node.outputs for c in graph.consumers(o)]
            if all(c.name in found for c in readers):
                found.append(node.name)
                wanted |= set(node.inputs)
    found.reverse()
    return found if any(graph.node(name).op not in ALIASES for name in found) else []


def _far_inputs(graph: Graph, node: Node) -> list[str]:
    """Return the inputs that the kernel loads as tensors: activations, and constants of elementwise ops."""
    if node.op in ("conv2d", "linear", "layer_norm", "rms_norm"):
        return [node.inputs[0]]
    if node.op in GATES:
        return [name for name in (node.inputs[0], *node.inputs[5:]) if name]
    names = [name for name in node.inputs if name]
    if node.op == "blend":
        del names[1]
    if node.op in (
        "add",
        "sub",
        "mul",
        "maximum",
        "minimum",
    ):  # the source has the output's size, the other one may be broadcast
        full = [name for name in names if prod(dims(graph, name)) == prod(dims(graph, node.outputs[0]))]
        if not full:
            raise NotSupported("OC1309", node.name, "both inputs are broadcast", limit="one has the output's shape")
        names.sort(key=lambda name: name not in full)
    return names


def _joined(graph: Graph, node: Node, found: Grouping, makers: dict[str, Group]) -> Group | None:
    if node.op not in JOINS:
        return None
    candidates = [makers[name] for name in node.inputs if name in makers and makers[name].output == name]
    for group in sorted(candidates, key=found.groups.index, reverse=True):
        if _may_join(graph, node, group, found, makers):
            group.inputs += [name for name in node.inputs if name and name != group.output]
            group.nodes.append(node)
            return group
    return None


def _may_join(graph: Graph, node: Node, group: Group, found: Grouping, makers: dict[str, Group]) -> bool:
    tensor = group.output
    if group.nodes[0].op not in ANCHORS_THAT_CHAIN or tensor in graph.kept or len(graph.consumers(tensor)) != 1:
        return False
    if any(n.op == "max_pool2d" for n in group.nodes):
        return False
    if node.op == "max_pool2d":
        return _pools_whole_windows(graph, node, group)
    if node.inputs.count(tensor) != 1 or dims(graph, node.outputs[0]) != dims(graph, tensor):
        return False
    if group.nodes[0].op == "matmul" and len(dims(graph, tensor)) > 4 and _is_broadcast(graph, node, tensor):
        return False  # its batch axes may not be those that the other input needs apart
    position = found.groups.index(group)
    others = [found.root(name) for name in node.inputs if name and name != tensor]
    return all(name not in makers or found.groups.index(makers[name]) < position for name in others)


def _is_broadcast(graph: Graph, node: Node, tensor: str) -> bool:
    size = prod(dims(graph, tensor))
    return any(prod(dims(graph, name)) != size for name in node.inputs if name)


def _pools_whole_windows(graph: Graph, node: Node, group: Group) -> bool:
    kernel, stride = node.attribute("kernel", ()), node.attribute("stride", (1, 1))
    _, p, q, _ = dims(graph, group.output)
    assert isinstance(kernel, tuple)
    whole = p % int(kernel[0]) == 0 and q % int(kernel[1]) == 0
    plain = group.nodes[0].op == "conv2d" and not any(attributes(node).integers("padding"))
    plain = plain and attributes(node).integers("dilation") == (1, 1)
    return kernel == stride and whole and plain and attributes(group.nodes[0]).integer("groups") == 1
