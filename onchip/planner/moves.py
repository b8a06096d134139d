"""Shapes of kernels that only move data: slice, concat, transpose, pad.

In: the node, the graph, and a plain vector Shape. Out: that Shape with the grid that the move runs over. What the load
unit needs beside grid and source stands in `extra`: for slice the first channel, for transpose the source's far strides
along b, p and q (in elements), for pad what stands in front of the first image and the first channel. The move itself
is done by the loads; the vector unit copies.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Shape
from onchip.ops.types import Attributes
from onchip.planner.dimensions import dims


def slice_shape(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Return the grid (before, kept, 1, behind), or (1, rows, 1, channels) where the last axis is cut."""
    shape, attributes = dims(graph, node.inputs[0]), Attributes({"step": 1, **dict(node.attributes)})
    axis, step = attributes.integer("axis") % len(shape), attributes.integer("step")
    start, _, _ = slice(attributes.integer("start"), attributes.integer("stop"), step).indices(shape[axis])
    kept = dims(graph, node.outputs[0])[axis]
    if step < 1 or (axis == len(shape) - 1 and step > 1):
        fact = f"slice of axis {axis} of {len(shape)} with step {step}"
        raise NotSupported("OC1309", node.name, fact, limit="runs forwards, on the last axis in steps of 1")
    before, behind = prod(shape[:axis]), prod(shape[axis + 1 :])
    if axis == len(shape) - 1:
        return replace(plain, grid=(1, before, 1, kept), source=(1, before, 1, shape[axis]), extra=(start,))
    grid, source = (before, kept, 1, behind), (before, shape[axis], 1, behind)
    return replace(plain, grid=grid, source=source, stride=(step, 1), padding=(-start, 0), extra=(0,))


def pad_shape(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Return the grid of the output; the source stands in it, and the loads fill what is outside."""
    pads = Attributes(dict(node.attributes)).integers("pads")
    given, made, before = list(dims(graph, node.inputs[0])), list(dims(graph, node.outputs[0])), list(pads[::2])
    while len(given) > 4:  # axes in front that stay as they are go together
        if given[:2] != made[:2]:
            fact = f"pad of the first axes of {len(dims(graph, node.inputs[0]))}"
            raise NotSupported("OC1309", node.name, fact, limit="runs with pads of the last three axes")
        given, made, before = [prod(given[:2]), *given[2:]], [prod(made[:2]), *made[2:]], [0, *before[2:]]
    missing = 4 - len(given)
    one = (1,) * missing
    source, grid, front = (*one, *given), (*one, *made), (*(0,) * missing, *before)
    return replace(
        plain, grid=(grid[0], grid[1], grid[2], grid[3]), source=(source[0], source[1], source[2], source[3]),
        padding=(front[1], front[2]), extra=(front[0], front[3]),
        unshared="".join(axis for axis, n in zip("bpqn", front, strict=True) if n),  # core (0, 0) would load less
    )  # fmt: skip


def blend_shape(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Return the grid (before, 1, cells, behind); a tile's source is one row of cells for each tap."""
    shape, made = dims(graph, node.inputs[0]), dims(graph, node.outputs[0])
    axis = Attributes(dict(node.attributes)).integer("axis") % len(shape)
    before, behind, taps = prod(shape[:axis]), prod(shape[axis + 1 :]), len(node.inputs) - 2
    is_wide = any(graph.tensor(name).dtype == "i16" for name in (node.inputs[0], node.outputs[0]))
    widest = max(plain.element_bytes, 2 if is_wide else 1)
    return replace(
        plain, grid=(before, 1, made[axis], behind), source=(before, 1, shape[axis], behind), window=(taps, 1),
        element_bytes=widest, table_bytes=4 * taps * made[axis],
    )  # fmt: skip


def concat_shape(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Return the grid of the output; each input is loaded to its place, zeros around it, and all are added."""
    shape, first = dims(graph, node.outputs[0]), dims(graph, node.inputs[0])
    axis = concat_axis(node, graph)
    before, behind = prod(shape[:axis]), prod(shape[axis + 1 :])
    if axis == len(shape) - 1:
        grid, source = (1, before, 1, shape[axis]), (1, before, 1, first[axis])
    else:
        grid, source = (before, shape[axis], 1, behind), (before, first[axis], 1, behind)
    unshared = "n" if axis == len(shape) - 1 else "p"  # inputs differ in memory, and core (0, 0) decides the time
    return replace(plain, grid=grid, source=source, passes=len(node.inputs), unshared=unshared)


def concat_axis(node: Node, graph: Graph) -> int:
    """Return the axis, counted from the front."""
    return Attributes(dict(node.attributes)).integer("axis") % len(dims(graph, node.outputs[0]))


def transpose_shape(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Return the grid of the output, axes that stay together as one; where the last axis moves, one element a row."""
    shape = dims(graph, node.inputs[0])
    groups = _runs([a for a in Attributes(dict(node.attributes)).integers("perm") if shape[a] > 1])
    sizes = [prod(shape[a] for a in group) for group in groups]
    strides = [prod(shape[group[-1] + 1 :]) for group in groups]
    if not strides or strides[-1] != 1:
        sizes, strides = [*sizes, 1], [*strides, 1]
    if len(sizes) > 4:
        fact = f"transpose {list(shape)} of {len(sizes) - 1} axes that all move"
        raise NotSupported("OC1309", node.name, fact, limit="runs with three axes that move, neighbours counted as one")
    missing = 4 - len(sizes)
    grid = (*(1,) * missing, *sizes)
    far = (*(0,) * missing, *strides[:-1])
    made = (grid[0], grid[1], grid[2], grid[3])
    return replace(plain, grid=made, source=made, extra=far)


def _runs(perm: list[int]) -> list[list[int]]:
    """Group axes that follow one another before and after: [0, 2, 3, 1] -> [[0], [2, 3], [1]]."""
    order = sorted(perm)
    groups: list[list[int]] = []
    for axis in perm:
        if groups and order.index(axis) == order.index(groups[-1][-1]) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups
