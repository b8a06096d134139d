"""From what `probe` found to the noun `Check`: a unit, a reason and the work of every node.

In:       the network as it was read, the folded Graph, the findings, the chip.
Out:      `Placed` for every node that was read, in order, then for those that passes added.
Promises: a node that folding took is fused into the kernel that makes its tensor now; MACs are counted once, with the
          node that runs them. Vector operations are those of the nodes as they were read.
Does not: try anything; that is `probe.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onchip.chip import Chip
from onchip.ir.check import Cause, Placed
from onchip.ir.graph import Graph, Node, attributes_of
from onchip.ops.registry import look_up_op
from onchip.planner.group import HOST_OPS
from onchip.probe import GUARD, Found

HOST = "at the graph's edge: the host does it, its time is not counted"
RENAMED = "another name for the same bytes"
FOLDED = "folded away: nothing is left to run"


@dataclass(frozen=True, slots=True)
class Scene:
    """What nodes are looked up in: the graph as it was read, as it was folded, and what was found."""

    read: Graph
    folded: Graph
    found: Found
    chip: Chip


def place_nodes(scene: Scene) -> tuple[Placed, ...]:
    """Return every node with its unit."""
    units, homes = _units(scene.found), _homes(scene)
    names = {node.name for node in scene.read.nodes}
    makers = {name: node.name for node in scene.folded.nodes for name in node.outputs}
    placed: list[Placed] = []
    for node in scene.read.nodes:
        if node.name in homes:
            placed.append(_running(node, scene.read, homes[node.name], units, scene))
        else:
            placed.append(_taken(node, scene, units, _heir(node, scene.read, makers)))
    added = [(home.node(name), home) for name, home in homes.items() if name not in names]
    kept = [(node, home) for node, home in added if not _is_of_a_cut(node, scene)]
    return (*placed, *(replace(_running(node, home, home, units, scene), is_added=True) for node, home in kept))


def _is_of_a_cut(node: Node, scene: Scene) -> bool:
    """Return whether a node only brings a tensor in or out where a refused node was taken out."""
    folded, made = scene.folded, scene.found.made
    if node.op == "quantize":
        maker = folded.producer(node.inputs[0])
        return maker is not None and maker.name in scene.found.refused
    if node.op == "dequantize" and made is not None:
        return not made.consumers(node.outputs[0]) and node.outputs[0] not in folded.outputs
    return False


def _homes(scene: Scene) -> dict[str, Graph]:
    """Return the graph in which each node is found that runs or is refused."""
    made = scene.found.made
    homes = {node.name: scene.folded for node in scene.folded.nodes if node.name in scene.found.refused}
    for node in made.nodes if made is not None else ():
        if not node.name.startswith(GUARD):
            homes[node.name] = made or scene.folded
    return homes


def _units(found: Found) -> dict[str, tuple[str, str]]:
    """Return unit and kernel of every node that runs."""
    units = {name: ("host", "") for name in (*found.grouping.host_before, *found.grouping.host_after)}
    for group in found.grouping.groups:
        first, *others = (node.name for node in group.nodes)
        if first.startswith(GUARD):
            continue
        has_products = found.made is not None and found.made.node_macs(first) > 0
        units[first] = ("matrix" if has_products and found.kinds.get(first) != "vector" else "vector", first)
        units |= {name: ("fused", first) for name in others}
    return units


def _running(node: Node, graph: Graph, home: Graph, units: dict[str, tuple[str, str]], scene: Scene) -> Placed:
    """Place a node that runs or is refused; `graph` is where it was read, `home` where it runs."""
    runs, error = home.node(node.name), scene.found.refused.get(node.name)
    unit, kernel = ("refused", "") if error is not None else units.get(node.name, ("free", ""))
    reasons = {"host": HOST, "free": RENAMED, "fused": f"in the kernel of {kernel}"}
    reason = _vector(runs, home, scene) if unit == "vector" else reasons.get(unit, "")
    cause = Cause.of(error) if error is not None else None
    operations = _vector_ops(node, graph)
    return Placed(node.name, node.op, runs.op, unit, kernel, home.node_macs(node.name), operations, reason, cause)


def _taken(node: Node, scene: Scene, units: dict[str, tuple[str, str]], heir: str) -> Placed:
    """Place a node that folding took: moves are gone, work is done by its heir's kernel."""
    is_refused = heir in scene.found.refused
    kernel = "" if node.op in HOST_OPS else heir if is_refused else units.get(heir, ("", ""))[1]
    if not kernel:
        return Placed(node.name, node.op, node.op, "free", "", 0, 0, FOLDED)
    reason = f"folded into {kernel}, which is refused" if is_refused else f"in the kernel of {kernel}"
    return Placed(node.name, node.op, node.op, "fused", kernel, 0, _vector_ops(node, scene.read), reason)


def _heir(node: Node, graph: Graph, makers: dict[str, str]) -> str:
    """Return the folded node that makes this node's tensor, or the next tensor behind it; nothing for constants."""
    if all(graph.tensor(name).constant is not None for name in node.inputs if name):
        return ""
    seen: set[str] = set()
    waiting = list(node.outputs)
    while waiting:
        name = waiting.pop(0)
        if name in makers:
            return makers[name]
        if name not in seen:
            seen.add(name)
            waiting += [output for reader in graph.consumers(name) for output in reader.outputs]
    return ""


def _vector_ops(node: Node, graph: Graph) -> int:
    op = look_up_op(node.op, node.name)
    shapes = [[graph.tensor(name).shape if name else None for name in names] for names in (node.inputs, node.outputs)]
    return op.vector_ops(attributes_of(node, op), shapes[0], shapes[1])


def _vector(node: Node, graph: Graph, scene: Scene) -> str:
    """Say why a node is not on the matrix unit."""
    lanes = f"on {scene.chip.vector.lanes} lanes a core"
    if node.op != "conv2d":
        return f"no products to sum: {lanes}"
    weights = graph.tensor(node.inputs[1]).shape
    return f"depthwise: {weights[1]}x{weights[2]} products a sum, none across channels: {lanes}"
