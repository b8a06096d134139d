"""The product of two activations: the second one is loaded as weights, tile by tile.

In: the loops of a kernel whose Shape has a `Second`. Out: its loads, its products, and what becomes of the sums.
In integers acc = sum (a - za)(b - zb) = sum ab - za * sum b - zb * sum a + K za zb. A row of ones in front of each
source tile gives the sums of b's columns, as weights the sums of a's rows; both come out of the same products.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from onchip.ir.plan import ceil_div
from onchip.isa import LD, MATRIX, MM, WLD
from onchip.isa.machine import columns, depth
from onchip.isa.memory import ACC
from onchip.lowering.code import NOTHING, View, per_row
from onchip.lowering.loops import TILE_LEVEL, Grid, Load, channels_left
from onchip.lowering.tree import Expr, Loop, Op, nest, op

if TYPE_CHECKING:
    from onchip.lowering.step import Step


def second_loads(grid: Grid) -> list[Load]:
    """Return the box of the second operand, and the rows of ones; nothing where weights are constants."""
    second = grid.shape.second
    if second is None:
        return []
    depends = (*second.batch_axes, "n", "k")
    found = [Load("weights", _box(grid, depends), depends, MATRIX)]
    if grid.ones:
        source, line = grid.buffers["source"], grid.mapping.tc
        far = grid.context.addresses[grid.kernel.inputs[0]]  # nothing is read: all of the box lies outside
        rows = op(
            LD, far=Expr(far), near=Expr(source.address), box2=source.slots, box3=line, limit2=source.slots,
            near2=source.size, fill=0x01010101,
        )  # fmt: skip
        found.append(Load("ones", rows, (), MATRIX))
    return found


def _box(grid: Grid, depends: tuple[str, ...]) -> Op:
    second, s, m, size = grid.shape.second, grid.shape, grid.mapping, grid.size
    assert second is not None
    k, n = (m.tc, grid.first("k"), s.source[3]), (m.tn, grid.first("n"), s.grid[3])
    row, lane = (n, k) if second.is_turned else (k, n)
    lanes = grid.first("k" if second.is_turned else "n", size)
    sharers = prod(grid.shares(axis) for axis in ("b", "p") if axis not in second.batch_axes)
    tensor = grid.kernel.inputs[1]
    return op(
        LD, far=Expr(grid.context.addresses[tensor]), near=grid.slot("weights", grid.level(depends)),
        box2=row[0], box3=lane[0] * size, limit0=s.grid[0], limit1=s.grid[1], limit2=row[2], limit3=lane[2] * size,
        far0=second.steps[0] * size, far1=second.steps[1] * size, far2=second.line * size, near2=lane[0] * size,
        c0=grid.first("b"), c1=grid.first("p") if second.is_nested else NOTHING, c2=row[1], c3=lanes,
        level=grid.context.level(tensor), sharers=grid.sharers(sharers),
    )  # fmt: skip


def two_activations(grid: Grid) -> list[Op | Loop]:
    """Return the loads of weights and the products of one tile and depth tile."""
    second, m, size = grid.shape.second, grid.mapping, grid.size
    assert second is not None
    fold, wide = depth(grid.machine) or m.tc, columns(grid.machine) or m.tn
    fold, wide = min(fold, m.tc), min(wide, m.tn)
    w = grid.slot("weights", grid.level((*second.batch_axes, "n", "k")))
    line = (m.tc if second.is_turned else m.tn) * size
    along = (size, wide * line) if second.is_turned else (line, wide * size)
    w = w + Expr(0, (("kf", fold * along[0]), ("nf", along[1])))
    k_left = _depth_left(grid, fold)
    n_left = channels_left(grid, wide)
    sums = grid.slot("sums", TILE_LEVEL)
    load = op(
        WLD, source=w, k=fold, n=wide, pitch=line, type=grid.type, k_left=k_left, n_left=n_left,
        sub=int(second.is_turned),
    )  # fmt: skip
    product = _rows(grid, sums + Expr(0, (("nf", wide),)), fold, wide, k_left, n_left, m.tn, ones=grid.ones)
    folds = ceil_div(m.tc, fold)
    code = list(nest([("nf", ceil_div(m.tn, wide)), ("kf", folds)], (load, product)))
    if second.sums_rows:
        rows = m.tp * m.tq
        one = op(WLD, source=Expr(grid.buffers["source"].address), k=fold, n=1, pitch=1, type=grid.type, k_left=k_left)
        behind = sums + (rows + grid.ones) * m.tn
        code += nest([("kf", folds)], (one, _rows(grid, behind, fold, 1, k_left, NOTHING, 1, ones=0)))
    return code


def _depth_left(grid: Grid, fold: int) -> Expr:
    k, tc = grid.shape.source[3], grid.mapping.tc
    if tc < k:
        return NOTHING if k % tc == 0 and tc % fold == 0 else Expr(k, (("k", -tc), ("kf", -fold)))
    return Expr(k, (("kf", -fold),)) if k % fold else NOTHING


def _rows(
    grid: Grid, sums: Expr, fold: int, n: int, k_left: Expr, n_left: Expr, line: int, *, ones: int
) -> Op:  # fmt: skip
    """Multiply the rows of a source tile, `ones` in front of them; a row of sums has `line` words."""
    second, m = grid.shape.second, grid.mapping
    assert second is not None
    row = m.tc * grid.size
    x = grid.slot("source", grid.level(("b", "p", "q", "k"))) + (grid.ones - ones) * row
    axis = 2 if second.is_nested else 1
    left = grid.left("q" if second.is_nested else "p")
    left = left + ones if ones and left != NOTHING else left
    fields = {f"rows{axis}": m.tp * m.tq + ones, f"source{axis}": row, f"sum{axis}": line, f"left{axis}": left}
    return op(
        MM, source=x, sums=sums, k_begin=Expr(0, (("kf", fold),)), k=fold, n=n, type=grid.type, run_length=m.tc,
        run_stride=row, first=("k", "kf"), k_left=k_left, n_left=n_left, **fields,
    )  # fmt: skip


def integer_product(step: Step) -> None:
    """Take the zero points out of the sums, and requantize them."""
    second, tile, sums = step.kernel.shape.second, step.tile, step.a
    assert second is not None
    za, zb = (step.given(i).zero_point[0] for i in (0, 1))
    lanes = tile.rows.lanes
    if za:
        step.code.lanes("mac", sums, View(ACC, sums.at + -lanes), -za)
    if zb:
        count = tile.rows.counts[0] * tile.rows.counts[1] * tile.rows.counts[2]
        step.code.lanes("mac", sums, per_row(sums.at + count * lanes, tile.rows)[1], -zb)
    bias = step.kernel.shape.source[3] * za * zb
    step.scale_to(step.d, sums, step.given(0).scale[0], step.given(1).scale[0], bias=bias)
