"""Kernels that compute a grid [B, P, Q, N] tile by tile: convolutions, matrix products, vector kernels with windows.

In: a Kernel with its mapping. Out: the four streams' trees. Each stream walks the same tile loops; loads stand in the
deepest loop that they depend on, so that what is reused stays. The vector unit's code per tile comes from `steps.py`.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from onchip.errors import NotSupported
from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, MATRIX, MM, ST, STORE, VECTOR, WLD
from onchip.isa.machine import columns, depth
from onchip.isa.memory import ACC
from onchip.lowering.code import NOTHING, Rows, View
from onchip.lowering.context import Context, Lowered
from onchip.lowering.deep import deep_code
from onchip.lowering.loops import TILE_AXES, TILE_LEVEL, Grid, Load, channels_left
from onchip.lowering.matmul import second_loads, two_activations
from onchip.lowering.moves import load_angles, load_part, picked
from onchip.lowering.step import Tile
from onchip.lowering.steps import source_fill, tile_code
from onchip.lowering.tree import Expr, Loop, Op, nest, op, sync
from onchip.lowering.weights import Stored, store_constants

Levels = list[dict[int, list[Op | Loop]]]  # of each stream, the code that stands in so many loops


def lower_grid(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of a matmul or vector kernel."""
    grid = Grid(kernel, context)
    stored = store_constants(kernel, context)
    loads = _loads(grid, stored)
    pre: Levels = [{}, {}, {}, {}]
    post: Levels = [{}, {}, {}, {}]
    for level in range(TILE_LEVEL if grid.is_deep else TILE_LEVEL + 2):
        for reader in (MATRIX, VECTOR):
            group = [x for x in loads if grid.level(x.depends) == level and x.reader == reader]
            if group:
                _load_group(group, reader, level, pre, post, is_single=kernel.mapping.slots == 1)
    if grid.is_deep:
        inner = [x for x in loads if grid.level(x.depends) >= TILE_LEVEL]
        for stream, code in enumerate(deep_code(grid, inner, _products(grid), _vector(grid, stored), _store(grid))):
            pre[stream].setdefault(TILE_LEVEL - 1, []).extend(code)
    else:
        if grid.shape.kind == "matmul":
            pre[MATRIX].setdefault(TILE_LEVEL, []).append(sync(wait=((VECTOR, MATRIX),), fills=("sums",)))
            products = _products if grid.shape.second is None else two_activations
            pre[MATRIX].setdefault(TILE_LEVEL + 1, []).extend(products(grid))
            post[MATRIX].setdefault(TILE_LEVEL, []).insert(0, sync(signal=((MATRIX, VECTOR),)))
        pre[VECTOR].setdefault(TILE_LEVEL, []).extend(_vector(grid, stored))
        pre[STORE][TILE_LEVEL] = [_store(grid)]
    trees = tuple(grid.tree(pre[s], post[s]) for s in range(4))
    slots = {b.name: b.slots for b in kernel.buffers} | {"ones": 1}
    return Lowered((trees[0], trees[1], trees[2], trees[3]), slots, grid.mapping.cores)


def _load_group(group: list[Load], reader: int, level: int, pre: Levels, post: Levels, *, is_single: bool) -> None:
    """One wait before the group, one signal behind it, and the same pair in the reader's stream.

    With one slot a buffer is filled again only when it has been released: the load unit waits for that at the end of
    the loop's body. Waiting at its start would count the releases of buffers in outer and inner loops in another order
    than they come.
    """
    names = tuple(dict.fromkeys(x.buffer for x in group))
    code = pre[LOAD].setdefault(level, [])
    if is_single:
        post[LOAD].setdefault(level, []).append(sync(wait=((reader, LOAD),)))
    else:
        code.append(sync(wait=((reader, LOAD),), fills=names))
    code.extend(x.code for x in group)
    code.append(sync(signal=((LOAD, reader),)))
    pre[reader].setdefault(level, []).append(sync(wait=((LOAD, reader),)))
    post[reader].setdefault(level, []).append(sync(signal=((reader, LOAD),), releases=names))


def _loads(grid: Grid, stored: Stored) -> list[Load]:
    """Return every box the kernel reads."""
    found: list[Load] = []
    matmul = grid.shape.kind == "matmul"
    if grid.shape.loads_source:
        depends = ("b", "p", "q", "k") if matmul else TILE_AXES
        source, reader = _source(grid, depends), MATRIX if matmul else VECTOR
        found += [Load("source", load, depends, reader) for load in picked(grid, source)]
    if stored.weights is not None:
        found.append(Load("weights", _weights(grid, stored), ("n", "k"), MATRIX))
    found += second_loads(grid)
    for name, address, width in stored.per_lane:
        near = grid.slot("parameters", grid.level(("n",))) + stored.offset(name, grid.mapping.tn)
        rows = stored.rows(name)
        found.append(Load("parameters", _lanes(grid, address, width, rows, near), ("n",), VECTOR))
    if stored.tables is not None:
        near = Expr(grid.buffers["tables"].address)
        size = stored.table_bytes
        code = op(
            LD, far=Expr(stored.tables), near=near, box3=size, limit3=size, sharers=grid.sharers(grid.mapping.cores)
        )
        found.append(Load("tables", code, (), VECTOR))
    for i, tensor in enumerate(grid.sides):
        load = {"concat": load_part, "rotary": load_angles}.get(grid.op, _side)
        found.append(Load(f"side{i}", load(grid, i, tensor), TILE_AXES, VECTOR))
    return found


def _source(grid: Grid, depends: tuple[str, ...]) -> Op:
    s, m, size = grid.shape, grid.mapping, grid.source_size
    b, h, w, c = s.source
    height = (m.tp - 1) * s.stride[0] + (s.window[0] - 1) * s.dilation[0] + 1
    width = (m.tq - 1) * s.stride[1] + (s.window[1] - 1) * s.dilation[1] + 1
    lanes = m.tc if s.kind == "matmul" else m.tn
    channel = grid.first("k" if s.kind == "matmul" else "n", size)
    line = c * s.blocks
    far, end = (h * w * line, w * line, line), c
    if grid.op == "slice":
        channel, end = channel + s.extra[0] * size, s.extra[0] + s.grid[3]
    elif grid.op == "pad":
        channel = channel + -s.extra[1] * size
    elif grid.op == "transpose":
        far = (s.extra[0], s.extra[1], s.extra[2])
    elif s.second is not None:
        far = s.second.source_steps
    tensor = grid.kernel.inputs[0]
    return op(
        LD, far=grid.block(c * size) + grid.context.addresses[tensor],
        near=grid.slot("source", grid.level(depends)) + grid.ones * m.tc * size,
        box0=m.tb, box1=height, box2=width, box3=lanes * size, limit0=b, limit1=h, limit2=w, limit3=min(c, end) * size,
        far0=far[0] * size, far1=far[1] * size, far2=far[2] * size,
        near0=height * width * lanes * size, near1=width * lanes * size, near2=lanes * size,
        c0=grid.first("b") + (-s.extra[0] if grid.op == "pad" else 0),
        c1=grid.first("p", s.stride[0]) + -s.padding[0],
        c2=grid.first("q", s.stride[1]) + -s.padding[1], c3=channel,
        fill=source_fill(grid.kernel, grid.context), level=grid.context.level(tensor),
        sharers=grid.sharers(m.channel_cores) if s.kind == "matmul" else 1,
    )  # fmt: skip


def _weights(grid: Grid, stored: Stored) -> Op:
    s, m, size = grid.shape, grid.mapping, grid.size
    taps, n = s.window[0] * s.window[1], s.grid[3]
    return op(
        LD, far=grid.block(taps * s.source[3] * n * size) + (stored.weights or 0),
        near=grid.slot("weights", grid.level(("n", "k"))),
        box2=taps * m.tc, box3=m.tn * size, limit2=taps * s.source[3], limit3=n * size, far2=n * size,
        near2=m.tn * size,
        c2=grid.first("k", taps), c3=grid.first("n", size),
        sharers=grid.row_sharers,
    )  # fmt: skip


def _lanes(grid: Grid, address: int, width: int, rows: int, near: Expr) -> Op:
    """Load `rows` lines of what each output channel has `width` bytes of."""
    n, tn = grid.shape.grid[3], grid.mapping.tn
    return op(
        LD, far=grid.block(n * width) + address, near=near, box2=rows, box3=tn * width, limit2=rows, limit3=n * width,
        far2=n * grid.shape.blocks * width, near2=tn * width, c3=grid.first("n", width),
        sharers=grid.row_sharers,
    )  # fmt: skip


def _side(grid: Grid, number: int, tensor: str) -> Op:
    """Load the tile of another input of the output's shape; dimensions of one element are broadcast."""
    m, size = grid.mapping, grid.size
    extents, own = grid.shape.grid, side_shape(grid, tensor)
    strides, step = [0, 0, 0], size * own[3]
    for axis in (2, 1, 0):
        strides[axis] = step if own[axis] > 1 else 0
        step *= own[axis]
    lanes, lane = (1, NOTHING) if own[3] == 1 else (m.tn, grid.first("n", size))
    block, limit = (NOTHING, 1) if own[3] == 1 else (grid.block(extents[3] * size), extents[3])
    return op(
        LD, far=block + grid.context.addresses[tensor], near=grid.slot(f"side{number}", grid.level(TILE_AXES)),
        box0=m.tb, box1=m.tp, box2=m.tq, box3=lanes * size,
        limit0=extents[0], limit1=extents[1], limit2=extents[2], limit3=limit * size,
        far0=strides[0], far1=strides[1], far2=strides[2],
        near0=m.tp * m.tq * lanes * size, near1=m.tq * lanes * size, near2=lanes * size,
        c0=grid.first("b"), c1=grid.first("p"), c2=grid.first("q"), c3=lane, level=grid.context.level(tensor),
    )  # fmt: skip


def side_shape(grid: Grid, tensor: str) -> tuple[int, int, int, int]:
    """Return a side input's shape in the grid's four dimensions, 1 where it is broadcast. Raises NotSupported."""
    graph, (b, p, q, n) = grid.context.graph, grid.shape.grid
    extents = b, p, q, n * grid.shape.blocks
    out = [int(d) for d in graph.tensor(graph.node(grid.kernel.nodes[0]).outputs[0]).shape]
    own = [int(d) for d in graph.tensor(tensor).shape]
    if prod(own) == prod(extents):
        return extents
    own = [1] * (len(out) - len(own)) + own
    before = max(0, len(out) - 3)  # dimensions that are one in the grid
    if own[:before] not in (out[:before], [1] * before):
        raise NotSupported("OC1309", tensor, f"broadcast {own} to {out}", limit="the first dimensions go together")
    if len(out) == 3:  # [B, L, N] runs as [B, L, 1, N]
        return own[0], own[1], 1, own[2]
    if len(out) < 3:  # [M, N] runs as [1, M, 1, N]
        return 1, prod(own[:-1]), 1, prod(own[-1:])
    return prod(own[:before]), own[-3], own[-2], own[-1]


def _side_view(grid: Grid, rows: Rows, number: int, start: Expr) -> View:
    """Return the view of a side tile; one value a row serves all its lanes where the last dimension is broadcast."""
    if grid.op not in ("concat", "rotary") and side_shape(grid, grid.sides[number])[3] == 1:
        return replace(rows.packed(start, grid.type, grid.size, 1), step=0)
    return rows.packed(start, grid.type, grid.size)


def _products(grid: Grid) -> list[Op | Loop]:
    """Return the loads of weights and the products of one tile and depth tile."""
    s, m, size = grid.shape, grid.mapping, grid.size
    (r, kernel_width), chip = s.window, grid.context.plan.chip
    height = (m.tp - 1) * s.stride[0] + (r - 1) * s.dilation[0] + 1
    width = (m.tq - 1) * s.stride[1] + (kernel_width - 1) * s.dilation[1] + 1
    runs = s.dilation[1] == 1 and (chip.matrix.row_packing == "CRS" or depth(grid.machine) == 0)
    k_tile = r * kernel_width * m.tc if runs else m.tc
    fold, wide = depth(grid.machine) or k_tile, columns(grid.machine) or m.tn
    x = grid.slot("source", grid.level(("b", "p", "q", "k"))) if s.loads_source else NOTHING
    w = grid.slot("weights", grid.level(("n", "k"))) + Expr(0, (("kf", fold * m.tn * size), ("nf", wide * size)))
    if not runs:
        x = x + Expr(0, (("r", s.dilation[0] * width * m.tc * size), ("s", s.dilation[1] * m.tc * size)))
        w = w + Expr(0, (("r", kernel_width * m.tc * m.tn * size), ("s", m.tc * m.tn * size)))
    if s.window == (1, 1) and m.tc < s.source[3]:
        k_left = Expr(s.source[3], (("k", -m.tc), ("kf", -fold)))
    else:
        k_left = Expr(k_tile, (("kf", -fold),)) if k_tile % fold else NOTHING
    n_left = channels_left(grid, wide)
    tap, sums = m.tc * size, grid.sums + Expr(0, (("nf", wide),))
    body = (
        op(WLD, source=w, k=min(fold, k_tile), n=min(wide, m.tn), pitch=m.tn * size, type=grid.type, k_left=k_left,
        n_left=n_left),
        op(
            MM, source=x, sums=sums, k_begin=Expr(0, (("kf", fold),)),
            rows0=m.tb, rows1=m.tp, rows2=m.tq, k=min(fold, k_tile), n=min(wide, m.tn), type=grid.type,
            run_length=kernel_width * m.tc if runs else m.tc, run_stride=s.dilation[0] * width * tap,
            source0=height * width * tap, source1=s.stride[0] * width * tap, source2=s.stride[1] * tap,
            sum0=m.tp * m.tq * m.tn, sum1=m.tq * m.tn, sum2=m.tn, first=("k", "r", "s", "kf"),
            left0=grid.left("b"), left1=grid.left("p"), left2=grid.left("q"), k_left=k_left, n_left=n_left,
        ),
    )  # fmt: skip
    loops = [("nf", ceil_div(m.tn, wide))]
    loops += [] if runs else [("r", r), ("s", kernel_width)]
    loops.append(("kf", ceil_div(k_tile, fold)))
    return list(nest(loops, body))


def _vector(grid: Grid, stored: Stored) -> list[Op | Loop]:
    """Return the vector unit's work on one tile between its waits and its signals."""
    m, s = grid.mapping, grid.shape
    left = (grid.left("b"), grid.left("p"), grid.left("q"))
    rows = Rows((m.tb, m.tp, m.tq), m.tn, left, grid.left("n"))
    ph, pw = s.pool
    stored_rows = Rows(
        (m.tb, m.tp // ph, ceil_div(m.tq, pw)), m.tn, (left[0], grid.left("p", ph), grid.left("q", pw)), grid.left("n")
    )
    slots = {b.name: grid.slot(b.name, grid.level(TILE_AXES)) for b in grid.kernel.buffers if b.name.startswith("side")}
    tile = Tile(
        rows=rows,
        stored_rows=stored_rows,
        sums=rows.packed(grid.sums + grid.ones * m.tn, ACC, 1) if s.kind == "matmul" else None,
        source=_source_view(grid) if s.kind != "matmul" and s.loads_source else None,
        sides=tuple(_side_view(grid, rows, i, slots[f"side{i}"]) for i in range(s.side_inputs)),
        output=stored_rows.packed(grid.slot("output", grid.tile_level), grid.output_type, grid.output_size),
        scratch=Expr(grid.buffers["scratch"].address) if "scratch" in grid.buffers else NOTHING,
        parameters=grid.slot("parameters", grid.level(("n",))) if "parameters" in grid.buffers else NOTHING,
        tables=Expr(grid.buffers["tables"].address) if "tables" in grid.buffers else NOTHING,
        type=grid.type,
        stored=stored,
        first=(grid.first("b"), grid.first("p"), grid.first("q")),
    )
    has_sums = s.kind == "matmul" and not grid.is_deep  # otherwise there are none, or all are released at once
    signals = ((VECTOR, STORE), (VECTOR, MATRIX)) if has_sums else ((VECTOR, STORE),)
    return [
        sync(wait=((STORE, VECTOR),), fills=("output",)),
        *([sync(wait=((MATRIX, VECTOR),))] if s.kind == "matmul" else []),
        *tile_code(grid.kernel, grid.context, tile),
        sync(signal=signals, releases=("sums",) if has_sums else ()),
    ]


def _source_view(grid: Grid) -> View:
    """Return the vector unit's view of the source tile at tap (0, 0)."""
    s, m, size = grid.shape, grid.mapping, grid.source_size
    height = (m.tp - 1) * s.stride[0] + (s.window[0] - 1) * s.dilation[0] + 1
    width = (m.tq - 1) * s.stride[1] + (s.window[1] - 1) * s.dilation[1] + 1
    line = m.tn * size
    strides = (height * width * line, s.stride[0] * width * line, s.stride[1] * line)
    return View(grid.source_type, grid.slot("source", grid.level(TILE_AXES)), strides)


def _store(grid: Grid) -> Op:
    s, m, size = grid.shape, grid.mapping, grid.output_size
    (b, p, q, n), (ph, pw) = s.grid, s.pool
    p, q, tp, tq = p // ph, q // pw, m.tp // ph, ceil_div(m.tq, pw)
    tensor, line = grid.kernel.output, n * s.blocks * size
    return op(
        ST, far=grid.block(n * size) + grid.context.addresses[tensor], near=grid.slot("output", grid.tile_level),
        box0=m.tb, box1=tp, box2=tq, box3=m.tn * size, limit0=b, limit1=p, limit2=q, limit3=n * size,
        far0=p * q * line, far1=q * line, far2=line,
        near0=tp * tq * m.tn * size, near1=tq * m.tn * size, near2=m.tn * size,
        c0=grid.first("b"), c1=grid.first("p", 1, tp), c2=grid.first("q", 1, tq), c3=grid.first("n", size),
        level=grid.context.level(tensor), wait=((VECTOR, STORE),), signal=((STORE, VECTOR),), releases=("output",),
    )  # fmt: skip
