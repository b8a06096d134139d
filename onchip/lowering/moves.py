"""Boxes of kernels that move data: cells picked by number, parts of a concat, angles of a rotary embedding.

In: the loops of the kernel. Out: loads.
"""

from __future__ import annotations

from dataclasses import replace

from onchip.isa import LD
from onchip.lowering.loops import TILE_AXES, Grid
from onchip.lowering.tree import Expr, Op, op
from onchip.ops.types import Attributes


def load_part(grid: Grid, number: int, tensor: str) -> Op:
    """Load what the tile has of a further input of a concat, zeros elsewhere."""
    m, size, graph = grid.mapping, grid.size, grid.context.graph
    node = graph.node(grid.kernel.nodes[0])
    axis = Attributes(dict(node.attributes)).integer("axis") % len(graph.tensor(tensor).shape)
    extents = [int(graph.tensor(name).shape[axis]) for name in node.inputs[: number + 2]]
    own, before = list(grid.shape.grid), sum(extents[:-1])
    along = 3 if axis == len(graph.tensor(tensor).shape) - 1 else 1
    own[along] = extents[-1]
    row = own[3] * size
    return op(
        LD, far=Expr(grid.context.addresses[tensor]), near=grid.slot(f"side{number}", grid.level(TILE_AXES)),
        box0=m.tb, box1=m.tp, box2=m.tq, box3=m.tn * size, limit0=own[0], limit1=own[1], limit2=own[2], limit3=row,
        far0=own[1] * own[2] * row, far1=own[2] * row, far2=row,
        near0=m.tp * m.tq * m.tn * size, near1=m.tq * m.tn * size, near2=m.tn * size,
        c0=grid.first("b"), c1=grid.first("p") + -before * (along == 1), c2=grid.first("q"),
        c3=grid.first("n", size) + -before * size * (along == 3), level=grid.context.level(tensor),
    )  # fmt: skip


def load_angles(grid: Grid, number: int, tensor: str) -> Op:
    """Load the angles of the tile's rows, [L, R/2] or [B or 1, L, R/2]."""
    found = grid.context.graph.tensor(tensor)
    shape, m = [int(d) for d in found.shape], grid.mapping
    line = shape[-1] * (2 if found.dtype == "i16" else grid.size)
    per_image = shape[-2] * line if len(shape) == 3 and shape[0] > 1 else 0
    return op(
        LD, far=Expr(grid.context.addresses[tensor]), near=grid.slot(f"side{number}", grid.level(TILE_AXES)),
        box1=m.tp, box3=line, limit0=grid.extents["b"], limit1=shape[-2], limit3=line, far0=per_image, far1=line,
        near1=line, c0=grid.first("b"), c1=grid.first("p"), level=grid.context.level(tensor),
    )  # fmt: skip


def picked(grid: Grid, source: Op) -> list[Op]:
    """Return the load of a source tile; by cell numbers, one load for each vector of them, side by side."""
    if grid.op not in ("gather", "blend"):
        return [source]
    row = grid.mapping.tq * grid.mapping.tn * grid.source_size
    fields, found = dict(source.fields), list[Op]()
    for tap, cells in enumerate(grid.kernel.inputs[1 : 1 + (grid.shape.window[0] if grid.op == "blend" else 1)]):
        near = fields["near"]
        assert isinstance(near, Expr)
        own = {"near": near + tap * row, "index": Expr(grid.context.addresses[cells]), "box1": 1}
        if grid.op == "blend":
            own["limit2"] = grid.shape.grid[2]
        found.append(replace(source, sub=1, fields=tuple(sorted((fields | own).items()))))
    return found
