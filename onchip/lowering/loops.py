"""The loops of a kernel that computes a grid [B, P, Q, N] tile by tile, and the operands that follow them.

In: a Kernel with its mapping. Out: `Grid`: loop names, first coordinates, what is left, slots of buffers; `Load`, a box
that one of the units waits for.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.plan import Kernel, ceil_div
from onchip.isa.machine import machine_of
from onchip.isa.memory import I16
from onchip.lowering.code import NOTHING
from onchip.lowering.context import TYPES, Context
from onchip.lowering.tree import Expr, Loop, Op, Tree, nest

TILE_AXES = ("b", "p", "q", "n")
TILE_LEVEL = 5  # loops around a tile: its axes and blocks
OVER_DEPTH = ("source", "weights")  # buffers that the depth loop goes round; the others do not see it


@dataclass(frozen=True, slots=True)
class Load:
    """A box to load: the Op without its synchronisation, the buffer, and the loops it depends on."""

    buffer: str
    code: Op
    depends: tuple[str, ...]
    reader: int


class Grid:
    """The loops of a kernel, and operands that follow them."""

    def __init__(self, kernel: Kernel, context: Context) -> None:
        self.kernel, self.context, self.shape, self.mapping = kernel, context, kernel.shape, kernel.mapping
        self.machine = machine_of(context.plan.chip, context.plan.dtype)
        m = self.mapping
        self.order, self.is_deep = m.order, m.depth_outer
        self.counts = m.counts(self.shape)
        if self.shape.kind != "matmul":
            self.counts["k"] = 1
        self.tiles = {"b": m.tb, "p": m.tp, "q": m.tq, "n": m.tn, "k": m.tc}
        self.extents = dict(zip(("b", "p", "q", "n"), self.shape.grid, strict=True)) | {"k": self.shape.source[3]}
        self.op = context.graph.node(kernel.nodes[0]).op
        self.type = TYPES[context.plan.dtype]
        self.size = 1 if self.shape.is_integer else self.shape.element_bytes
        graph, i16 = context.graph, (I16, 2)
        source, output = (graph.tensor(name).dtype == "i16" for name in (kernel.inputs[0], kernel.output))
        self.source_type, self.source_size = i16 if source else (self.type, self.size)
        self.output_type, self.output_size = i16 if output else (self.type, self.size)
        self.buffers = {b.name: b for b in kernel.buffers}

    @property
    def ones(self) -> int:
        """Return how many rows of ones stand in front of a source tile, and of their sums in front of the sums."""
        return int(self.shape.second is not None and self.shape.second.has_ones)

    @property
    def sides(self) -> tuple[str, ...]:
        """Return the inputs that are loaded as side tiles: the last ones."""
        return self.kernel.inputs[len(self.kernel.inputs) - self.shape.side_inputs :]

    def first(self, axis: str, scale: int = 1, step: int | None = None) -> Expr:
        """Return the first coordinate of the tile along an axis, times `scale` (`step` replaces the tile's size)."""
        tile = (self.tiles[axis] if step is None else step) * scale
        shares = self.shares(axis)
        rows, channels, batch = (tile if axis == name and shares > 1 else 0 for name in ("p", "n", "b"))
        return Expr(0, ((axis, tile * shares),), (rows, channels, batch))

    def shares(self, axis: str) -> int:
        """Return how many cores share the tiles along an axis."""
        m = self.mapping
        return {"p": m.rows_cores, "n": m.channel_cores, "b": m.batch_cores}.get(axis, 1)

    def left(self, axis: str, divide: int = 1) -> Expr:
        """Return how much of the axis remains from this tile on; nothing where the tiles divide it."""
        tile, extent = self.tiles[axis], self.extents[axis]
        if extent % (tile * self.shares(axis)) == 0:
            return NOTHING
        start = self.first(axis, 1, ceil_div(tile, divide))
        negative = tuple((n, -s) for n, s in start.strides)
        return Expr(extent // divide, negative, (-start.cores[0], -start.cores[1], -start.cores[2]))

    @property
    def row_sharers(self) -> int:
        """Return the sharers of what only the channels decide."""
        return self.sharers(self.mapping.rows_cores * self.mapping.batch_cores)

    def sharers(self, cores: int) -> int:
        """Return how many cores share a load that all of them make: a shared memory keeps it for the others."""
        return cores if self.context.plan.chip.shared else 1

    def level(self, depends: tuple[str, ...]) -> int:
        """Return how many loops stand around code that depends on these; what depends on any has a part per block."""
        own = {*depends, "g"} if depends else set[str]()
        return max((i + 1 for i, name in enumerate(self.order) if name in own and self.counts[name] > 1), default=0)

    def block(self, stride: int) -> Expr:
        """Return where a block's part starts in far memory, `stride` bytes from one to the next."""
        return Expr(0, (("g", stride),)) if self.counts["g"] > 1 else NOTHING

    @property
    def tile_level(self) -> int:
        """Return how many loops stand around the work on a finished tile."""
        return len(self.order) if self.is_deep else TILE_LEVEL

    @property
    def sums(self) -> Expr:
        """Return where the sums of a tile are; with the depth outside those of all channels lie side by side."""
        if not self.is_deep:
            return self.slot("sums", TILE_LEVEL)
        m = self.mapping
        return self.slot("sums", TILE_LEVEL - 1) + Expr(0, (("n", m.tb * m.tp * m.tq * m.tn),))

    def slot(self, buffer: str, level: int) -> Expr:
        """Return a buffer's address, alternating over the iterations of the loops around `level`."""
        b = self.buffers[buffer]
        double: list[str] = []
        inner = 1
        for name in reversed(self.order[:level]):
            if name == "k" and buffer not in OVER_DEPTH:
                continue
            if self.counts[name] > 1 and inner % 2:
                double.append(name)
            inner *= self.counts[name]
        if b.slots == 1 or inner == 1:
            return Expr(b.address)
        return Expr(b.address, double=tuple(double), slot=b.size)

    def tree(self, pre: dict[int, list[Op | Loop]], post: dict[int, list[Op | Loop]]) -> Tree:
        """Put code at its loop levels: `pre` before the next inner loop, `post` behind it."""
        body: Tree = (*pre.get(len(self.order), []), *post.get(len(self.order), []))
        for level in range(len(self.order) - 1, -1, -1):
            name = self.order[level]
            if body and self.counts[name] != 1:
                body = (Loop(name, self.counts[name], body),)
            body = (*pre.get(level, []), *body, *post.get(level, []))
        return nest([(name, 1) for name in self.order if self.counts[name] == 1], body)


def channels_left(grid: Grid, wide: int) -> Expr:
    """Return how many channels remain from this block of columns on."""
    n, tn = grid.extents["n"], grid.mapping.tn
    if n % (tn * grid.mapping.channel_cores) == 0 and tn % wide == 0:
        return NOTHING
    start = grid.first("n")
    negative = (*((name, -stride) for name, stride in start.strides), ("nf", -wide))
    return Expr(n, negative, (0, -start.cores[1], 0))
