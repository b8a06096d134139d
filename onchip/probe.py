"""What runs, and every refusal of a network: each node is tried, none is looked up by its op's name.

In:       a folded Graph, `arithmetic` (Graph -> the graph in the chip's dtype) and `planned` (that graph -> Plan), both
          of which refuse by raising.
Out:      `Found`: the graph in the chip's arithmetic, its kernels and their kinds, an error for each refused node.
Promises: a refusal is found iff the whole network is refused; one refused node does not hide another: nodes are tried
          alone (their arithmetic) and in their kernels (their plan), and what is left is tried as a whole.
          Equal nodes are tried once.
Does not: decide what is refused; that is what passes, planner and lowering do.

Before -> after, `b` refused: a -> b -> c becomes a -> (output), (input) -> c. Where that would bring a transpose to an
edge of the graph, which is the host's, a gather stands between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onchip.errors import DoesNotFit, NotSupported, OnchipError
from onchip.ir.graph import Graph, Node, Tensor, constant_tensor
from onchip.ir.plan import Plan
from onchip.ops.types import FLOAT_DTYPES
from onchip.planner.group import HOST_OPS, Grouping, group_nodes

REFUSALS = (NotSupported, DoesNotFit)
GUARD = "check:"  # in front of the names of nodes and tensors that are ours
Arithmetic = Callable[[Graph], Graph]
Planned = Callable[[Graph], Plan]
Tried = tuple[int, OnchipError] | str  # the place of the refused node of a kernel and why, or the kernel's kind


@dataclass(slots=True)
class Found:
    """What the trials found; local to one call of `probe`, which fills it in."""

    made: Graph | None = None  # the graph in the chip's arithmetic, without the nodes that have none
    grouping: Grouping = field(default_factory=Grouping)
    kinds: dict[str, str] = field(default_factory=dict[str, str])  # a kernel's first node -> matmul, vector, ...
    refused: dict[str, OnchipError] = field(default_factory=dict[str, OnchipError])
    network: list[OnchipError] = field(default_factory=list[OnchipError])


def probe(folded: Graph, arithmetic: Arithmetic, planned: Planned) -> Found:
    """Try a network whole, and where that is refused, in parts."""
    found = Found()
    made = found.made = _in_arithmetic(folded, arithmetic, found)
    if made is None:
        return found
    if _try(made, planned, found) is None:
        found.grouping = group_nodes(made)
    else:
        _in_kernels(made, planned, found)
    return found


def _try(graph: Graph, planned: Planned, found: Found) -> OnchipError | None:
    """Plan a graph and note its kernels' kinds, or return why not."""
    try:
        plan = planned(graph)
    except REFUSALS as error:
        return error
    found.kinds |= {kernel.nodes[0]: kernel.shape.kind for kernel in plan.kernels}
    return None


def _in_arithmetic(folded: Graph, arithmetic: Arithmetic, found: Found) -> Graph | None:
    """Return the graph in the chip's arithmetic without the nodes that have none; None where none is left."""
    kept = list(folded.nodes)
    is_whole = True
    while kept:
        graph = folded if is_whole else part(folded, kept)
        try:
            return arithmetic(graph)
        except REFUSALS as error:
            refused = _without_arithmetic(folded, arithmetic) if is_whole else {}
            if not refused:
                refused = {_culprit(error, graph): error}
        is_whole = False
        found.refused |= refused
        kept = [node for node in kept if node.name not in refused]
    return None


def _without_arithmetic(folded: Graph, arithmetic: Arithmetic) -> dict[str, OnchipError]:
    """Return the nodes that are refused even alone."""
    known: dict[object, OnchipError | None] = {}
    refused: dict[str, OnchipError] = {}
    for node in folded.nodes:
        key = claim(folded, [node])
        if key not in known:
            known[key] = None
            try:
                arithmetic(part(folded, [node]))
            except REFUSALS as error:
                known[key] = error
        error = known[key]
        if error is not None:
            refused[node.name] = error
    return refused


def _in_kernels(made: Graph, planned: Planned, found: Found) -> None:
    """Plan each kernel alone until none is refused, then what is left as a whole."""
    known: dict[object, Tried] = {}
    kept, graph = list(made.nodes), made
    while kept:
        grouping, refused = _groups(graph)
        refused |= _each(graph, grouping, planned, known, found)
        refused = refused or _as_a_whole(graph, planned, found)
        if not refused:
            found.grouping = grouping
            return
        found.refused |= refused
        kept = [node for node in kept if node.name not in refused]
        graph = part(made, kept) if kept else graph


def _each(
    graph: Graph, grouping: Grouping, planned: Planned, known: dict[object, Tried], found: Found
) -> dict[str, OnchipError]:
    """Plan each kernel alone, equal ones once; return the nodes that are refused and note the kinds of the others."""
    refused: dict[str, OnchipError] = {}
    for group in grouping.groups:
        if group.nodes[0].name.startswith(GUARD):
            continue
        key = claim(graph, group.nodes)
        if key not in known:
            known[key] = _kernel(graph, group.nodes, planned)
        result = known[key]
        if isinstance(result, str):
            found.kinds[group.nodes[0].name] = result
        else:
            refused[group.nodes[result[0]].name] = result[1]
    return refused


def _as_a_whole(graph: Graph, planned: Planned, found: Found) -> dict[str, OnchipError]:
    """Return the node that is refused only together with others; what names no node is the network's."""
    error = _try(graph, planned, found)
    culprit = _node_of(error, graph) if error is not None else ""
    if error is None or culprit.startswith(GUARD):
        return {}
    if not culprit:
        found.network.append(error)
    return {culprit: error} if culprit else {}


def _groups(graph: Graph) -> tuple[Grouping, dict[str, OnchipError]]:
    try:
        return group_nodes(graph), {}
    except REFUSALS as error:
        return Grouping(), {_culprit(error, graph): error}


def _kernel(graph: Graph, nodes: Sequence[Node], planned: Planned) -> Tried:
    """Return the kind of a kernel, or the place of the node that is refused in it and why."""
    names = [node.name for node in nodes]
    try:
        plan = planned(part(graph, nodes))
    except REFUSALS as error:
        culprit = _node_of(error, graph)
        return (names.index(culprit) if culprit in names else 0), error
    return next((k.shape.kind for k in plan.kernels if k.nodes[0] == names[0]), "vector")


def _culprit(error: OnchipError, graph: Graph) -> str:
    """Return the node that an error names. Raises the error itself where it names none of the network's."""
    name = _node_of(error, graph)
    if not name or name.startswith(GUARD):
        raise error
    return name


def _node_of(error: OnchipError, graph: Graph) -> str:
    """Return the node that an error names, or the first reader or the maker of the tensor that it names; or nothing."""
    name = error.where.removeprefix(f"{graph.name}: ")
    if any(node.name == name for node in graph.nodes):
        return name
    if not any(tensor.name == name for tensor in graph.tensors):
        return ""
    maker = graph.producer(name)
    readers = graph.consumers(name) or ((maker,) if maker is not None else ())
    return readers[0].name if readers else ""


def claim(graph: Graph, nodes: Sequence[Node]) -> object:
    """Return what nodes ask of a chip: ops, attributes, shapes, dtypes and how they hang together; no names."""
    places: dict[str, int] = {}
    asked: list[object] = []
    for node in nodes:
        tensors = [(places.setdefault(name, len(places)), *_facts(graph.tensor(name))) for name in node.inputs if name]
        made = [(places.setdefault(name, len(places)), *_facts(graph.tensor(name))) for name in node.outputs]
        absent = tuple(not name for name in node.inputs)
        asked.append((node.op, node.attributes, absent, tuple(tensors), tuple(made)))
    return tuple(asked)


def _facts(tensor: Tensor) -> tuple[object, ...]:
    constant = tensor.constant
    values = constant.sha256 if constant is not None and tensor.dtype not in ("i8", "i32") else ""
    return tensor.shape, tensor.dtype, tensor.quantization, constant is not None, values


def part(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """Return these nodes of a graph as one of their own: what others make is an input, what others read an output."""
    kept, made = {node.name for node in nodes}, {name for node in nodes for name in node.outputs}
    ends = {*graph.outputs, *(new for _, new in graph.states)}
    cut = _Cut(graph, {*graph.inputs, *(old for old, _ in graph.states)})
    for node in nodes:
        for name in node.inputs:
            if name and name not in made and name not in cut.tensors:
                cut.enter(graph.tensor(name), is_edge=any(_is_at_edge(r) for r in graph.consumers(name)))
    cut.nodes += nodes
    for node in nodes:
        for name in node.outputs:
            cut.tensors[name] = graph.tensor(name)
            is_read = any(reader.name not in kept for reader in graph.consumers(name))
            if name in ends:
                cut.outputs.append(name)
            elif is_read:
                cut.leave(graph.tensor(name), is_edge=_is_at_edge(node))
    return Graph(graph.name, tuple(cut.tensors.values()), tuple(cut.nodes), tuple(cut.inputs), tuple(cut.outputs))


def _is_at_edge(node: Node) -> bool:
    return node.op in HOST_OPS


@dataclass(slots=True)
class _Cut:
    """A part of a graph while it grows."""

    graph: Graph
    given: set[str]
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    nodes: list[Node] = field(default_factory=list[Node])
    inputs: list[str] = field(default_factory=list[str])
    outputs: list[str] = field(default_factory=list[str])

    def enter(self, tensor: Tensor, *, is_edge: bool) -> None:
        """Bring a tensor in: a constant, an input, or rows of a longer input."""
        self.tensors[tensor.name] = tensor
        if tensor.constant is not None:
            return
        if tensor.name in self.given or not is_edge or not _has_rows(tensor):
            self.inputs.append(tensor.name)
            return
        rows = int(tensor.shape[0])
        longer = replace(tensor, name=f"{GUARD}{tensor.name}", shape=(rows + 1, *tensor.shape[1:]))
        self.tensors[longer.name] = longer
        self.inputs.append(longer.name)
        self._gather(longer.name, tensor.name, rows)

    def leave(self, tensor: Tensor, *, is_edge: bool) -> None:
        """Let a tensor out: an output, or its first row."""
        if not is_edge or not _has_rows(tensor):
            self.outputs.append(tensor.name)
            return
        shorter = replace(tensor, name=f"{GUARD}{tensor.name}.row", shape=(1, *tensor.shape[1:]))
        self.tensors[shorter.name] = shorter
        self.outputs.append(shorter.name)
        self._gather(tensor.name, shorter.name, 1)

    def _gather(self, table: str, output: str, rows: int) -> None:
        ids = constant_tensor(f"{GUARD}{output}.ids", np.arange(rows))
        self.tensors[ids.name] = ids
        self.nodes.append(Node(f"{GUARD}{output}.gather", "gather", (table, ids.name), (output,), (("axis", 0),)))


def _has_rows(tensor: Tensor) -> bool:
    is_number = tensor.dtype in FLOAT_DTYPES or tensor.quantization is not None
    return is_number and len(tensor.shape) > 0 and isinstance(tensor.shape[0], int)
