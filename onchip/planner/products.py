"""The shape of a product of two activations: its rows, its batches, and where both operands lie in far memory.

In: a matmul node, the graph, and a plain vector Shape. Out: that Shape as a matrix product with a `Second`. Batch axes
that both operands walk in one step are one; those that the second operand does not have are rows. What is left is
[M, N], [B, M, N] or [B, P, M, N] with the rows M on p, p or q; more is refused.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Second, Shape
from onchip.planner.dimensions import attributes, dims

Axis = tuple[int, int, int]  # extent, elements between neighbours of the first operand and of the second one


def product_shape(node: Node, graph: Graph, plain: Shape, *, flat: bool) -> Shape:
    """Return the Shape of a matmul; `flat`: no side input is broadcast, so that axes may be put together."""
    a, b, out = (dims(graph, name) for name in (*node.inputs[:2], node.outputs[0]))
    turned = attributes(node).flag("transpose_b")
    m, n, k = out[-2], out[-1], a[-1]
    batch = _batch(a, b, out)
    if flat:
        batch = _together(batch)
        if batch and batch[-1][2] == 0 and batch[-1][1] == m * k:  # the second operand does not have this axis
            m, batch = batch[-1][0] * m, batch[:-1]
    elif len(batch) > 2:
        batch = [*(_together(batch[:-1]) or [(1, 0, 0)]), batch[-1]]
    if len(batch) > 2:
        fact = f"matmul of {list(a)} by {list(b)}"
        raise NotSupported("OC1309", node.name, fact, limit="runs with two batch axes that are broadcast apart")
    zeros = _zero_points(node, graph) if plain.is_integer else (0, 0)
    steps = [(0, 0, 0)] * (2 - len(batch)) + batch
    if len(batch) == 2:
        grid, first = (batch[0][0], batch[1][0], m, n), (batch[0][1], batch[1][1], k)
    else:
        grid, first = (batch[0][0] if batch else 1, m, 1, n), (steps[1][1], k, 0)
    own = (steps[0][2], steps[1][2]) if len(batch) == 2 else (steps[1][2], 0)
    second = Second(
        first, own, k if turned else n, len(batch) == 2, turned, has_ones=any(zeros), sums_rows=zeros[1] != 0
    )
    return replace(
        plain, kind="matmul", grid=grid, source=(*grid[:3], k), second=second, parameters_per_lane=False,
        passes=plain.passes + sum(z != 0 for z in zeros),
    )  # fmt: skip


def _batch(a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...]) -> list[Axis]:
    """Return the batch axes with the steps of both operands; 0 where an operand is broadcast along one."""
    found: list[Axis] = []
    rank = len(out)
    for i in range(rank - 2):
        steps = []
        for own in (a, b):
            place = i - rank + len(own)
            steps.append(prod(own[place + 1 :]) if place >= 0 and own[place] > 1 else 0)
        found.append((out[i], steps[0], steps[1]))
    return found


def _together(axes: list[Axis]) -> list[Axis]:
    """Put neighbouring axes together where each operand walks both in one step; axes of extent 1 vanish."""
    found: list[Axis] = []
    for extent, a, b in axes:
        if extent == 1:
            continue
        if found and found[-1][1:] == (a * extent, b * extent):
            found[-1] = (found[-1][0] * extent, a, b)
        else:
            found.append((extent, a, b))
    return found


def _zero_points(node: Node, graph: Graph) -> tuple[int, int]:
    zeros: list[int] = []
    for name in node.inputs[:2]:
        q = graph.tensor(name).quantization
        if q is not None and len(q.scale) > 1:
            fact = f"matmul whose operand '{name}' has {len(q.scale)} scales"
            raise NotSupported("OC1309", node.name, fact, limit="operands of matmul have one scale", next="Use linear")
        zeros.append(q.zero_point[0] if q is not None else 0)
    return zeros[0], zeros[1]
