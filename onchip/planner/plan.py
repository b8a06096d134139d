"""The planner's door: Graph x Chip -> Plan.

In: a Graph whose dimensions are numbers and whose tensors have the chip's dtype (int8, or floats). Out: a Plan: kernels
in order, each with the mapping that the search found, buffers with addresses, and a place in far memory for every
tensor that crosses from one kernel to another. Tensors whose lives do not overlap share far memory; inputs, outputs and
states do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph
from onchip.ir.plan import Kernel, Mapping, Place, Plan, Shape
from onchip.planner import sequence
from onchip.planner.buffers import place_buffers
from onchip.planner.dimensions import ELEMENT_BYTES, dims
from onchip.planner.group import Group, Grouping, group_nodes, n_operands
from onchip.planner.shapes import shape_of
from onchip.planner.tile import EFFORT, EXACT, ranked, wide_of

LINE = 64  # bytes; tensors start on such a line
Exact = Callable[[Plan], int]


def plan(graph: Graph, chip: Chip, dtype: str, *, effort: int = EFFORT, exact: Exact | None = None) -> Plan:
    """Return the plan of a graph on a chip. Raises NotSupported and DoesNotFit, naming the node.

    With `exact`, which gives the cycles of a plan of one kernel, the mappings that the formula ranks first are priced
    again.
    """
    chip.matrix.array(dtype, chip.name)
    grouping = group_nodes(graph)
    places = _places(graph, grouping, dtype)
    known: dict[Shape, Mapping] = {}
    kernels: list[Kernel] = []
    for group in grouping.groups:
        found = _kernels(group, places, graph, chip, dtype, effort, count=1 if exact is None else EXACT)
        shape = found[0].shape
        if exact is not None and shape not in known:
            prices = [exact(Plan(graph, chip, dtype, (kernel,), places, is_part=True)) for kernel in found]
            known[shape] = found[prices.index(min(prices))].mapping
        kernels.append(next((k for k in found if k.mapping == known.get(shape)), found[0]))
    return Plan(graph, chip, dtype, tuple(kernels), places, tuple(grouping.host_before), tuple(grouping.host_after))


def _kernels(
    group: Group, places: tuple[Place, ...], graph: Graph, chip: Chip, dtype: str, effort: int, *, count: int
) -> tuple[Kernel, ...]:
    """Return a group as a kernel, once for each of the first `count` mappings by the formula."""
    name, inputs, anchor = group.nodes[0].name, tuple(group.inputs), group.nodes[0]
    nodes = tuple(node.name for node in group.nodes)
    if anchor.op in sequence.OPS:
        shape, mapping, buffers = sequence.plan_sequence(anchor, graph, chip, dtype)
        return (Kernel(name, nodes, inputs, group.output, shape, mapping, buffers),)
    levels = {p.tensor: p.level(chip) for p in places if p.tensor in (inputs[0], group.output)}
    memories = levels.get(inputs[0], 0), levels.get(group.output, 0)
    sides = inputs[n_operands(anchor) :]
    shape = replace(shape_of(group.nodes, sides, graph, dtype, wide=wide_of(chip, dtype)), levels=memories)
    return tuple(
        Kernel(name, nodes, inputs, group.output, shape, mapping, place_buffers(shape, mapping, chip))
        for mapping in _ranked(name, shape, chip, effort)[:count]
    )


def _ranked(name: str, shape: Shape, chip: Chip, effort: int) -> tuple[Mapping, ...]:
    try:
        return ranked(shape, chip, effort)
    except DoesNotFit as error:
        raise DoesNotFit(error.code, name, error.fact, limit=error.limit, next=error.next) from None


def _places(graph: Graph, grouping: Grouping, dtype: str) -> tuple[Place, ...]:
    """Give every tensor between kernels its bytes: first fit over lifetimes, in order of birth."""
    births, deaths = _lives(graph, grouping)
    placed: list[tuple[int, int, int, int]] = []  # birth, death, address, end
    places: list[Place] = []
    outputs = {grouping.root(_before_host(graph, grouping, o)) for o in graph.kept}
    for tensor in sorted(births, key=lambda t: (births[t], t)):
        size = -(-prod(dims(graph, tensor)) * _bytes(graph, tensor, dtype) // LINE) * LINE
        kind = "input" if births[tensor] < 0 else "output" if tensor in outputs else "intermediate"
        constant = graph.tensor(tensor).constant is not None
        kind = "constant" if constant else kind
        birth, death = (-1, len(grouping.groups) + 1) if kind != "intermediate" else (births[tensor], deaths[tensor])
        address = 0
        for other in sorted((p for p in placed if p[0] <= death and birth <= p[1]), key=lambda p: p[2]):
            if address + size <= other[2]:
                break
            address = max(address, other[3])
        placed.append((birth, death, address, address + size))
        places.append(Place(tensor, address, size, kind))
    renamed = [
        Place(name, p.address, p.size, _kind_of_alias(graph, name, p.kind))
        for name in grouping.alias
        for p in places
        if p.tensor == grouping.root(name)
    ]
    return (*places, *renamed)


def _kind_of_alias(graph: Graph, name: str, kind: str) -> str:
    """Return what a renamed tensor is: nobody gives an input by its second name."""
    if kind != "input":
        return kind
    return "output" if name in graph.outputs else "intermediate"


def _bytes(graph: Graph, tensor: str, dtype: str) -> int:
    own = graph.tensor(tensor).dtype
    if own in ("i64", "i32"):
        return 4
    return 2 if own == "i16" else ELEMENT_BYTES[dtype]


def _before_host(graph: Graph, grouping: Grouping, tensor: str) -> str:
    """Return the tensor on the chip from which the host finishes a graph output."""
    while (node := graph.producer(tensor)) is not None and node.name in grouping.host_after:
        tensor = node.inputs[0]
    return tensor


def _lives(graph: Graph, grouping: Grouping) -> tuple[dict[str, int], dict[str, int]]:
    births: dict[str, int] = {}
    deaths: dict[str, int] = {}
    for number, group in enumerate(grouping.groups):
        for name in group.inputs:
            root = grouping.root(name)
            births.setdefault(root, -1)
            deaths[root] = number
        for node in group.nodes[-1:]:
            for output in node.outputs:
                births[output] = number
                deaths.setdefault(output, number)
    return births, deaths
