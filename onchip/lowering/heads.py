"""The loops of an attention kernel, and where its operands lie in them.

In: a Kernel of kind attention. Out: `Heads`: four loops (image b, key-value head g, query head r of that group, query
tile q) and, inside a query tile, the loop kt over tiles of keys; addresses, coordinates and rows that follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.graph import Node
from onchip.ir.plan import Kernel, ceil_div
from onchip.lowering.code import NOTHING, Rows
from onchip.lowering.context import TYPES, Context
from onchip.lowering.tree import Expr


@dataclass(frozen=True, slots=True)
class Heads:
    """See the module docstring; `tq` and `tk` are the queries and keys of a tile."""

    kernel: Kernel
    context: Context
    node: Node
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    d: int
    dv: int
    masked: bool
    adds: bool  # the mask is added to the scores
    tq: int
    tk: int
    head_cores: int
    batch_cores: int
    query_cores: int

    @property
    def loops(self) -> list[tuple[str, int]]:
        return [
            ("b", ceil_div(self.batch, self.batch_cores)),
            ("g", ceil_div(self.kv_heads, self.head_cores)),
            ("r", self.heads // self.kv_heads),
            ("q", ceil_div(ceil_div(self.queries, self.tq), self.query_cores)),
        ]

    @property
    def key_tiles(self) -> int:
        return ceil_div(self.keys, self.tk)

    @property
    def is_resident(self) -> bool:
        """Whether keys and values stay in local memory for all queries of their head."""
        return self.kernel.mapping.channels_outer

    @property
    def type(self) -> int:
        return TYPES[self.context.plan.dtype]

    @property
    def size(self) -> int:
        return self.kernel.shape.element_bytes

    @property
    def is_integer(self) -> bool:
        return self.kernel.shape.is_integer

    @property
    def row(self) -> int:
        """Return how many keys a row of scores has: all of them, or those of a tile."""
        return self.keys if self.is_integer else self.tk

    def at(self, name: str, level: int = 4) -> Expr:
        """Return a buffer's address, alternating over the iterations of the first `level` loops."""
        b = self.kernel.buffer(name)
        double: list[str] = []
        inner = 1
        for loop, count in reversed([*self.loops, ("kt", self.key_tiles)][:level]):
            if count > 1 and inner % 2:
                double.append(loop)
            inner *= count
        if b.slots == 1 or inner == 1:
            return Expr(b.address)
        return Expr(b.address, double=tuple(double), slot=b.size)

    def key_tile(self, name: str, width: int) -> Expr:
        """Return the address of the tile of keys or values, `width` bytes a key."""
        if not self.is_resident:
            return self.at(name, 5)
        return self.at(name, 2) + Expr(0, (("kt", self.tk * width),))

    def scores(self) -> Expr:
        """Return the scores of the tile of keys: slots of their own in floats, columns of whole rows in integers."""
        b = self.kernel.buffer("scores")
        if b.slots == 2:
            return Expr(b.address, double=("kt",), slot=b.size)
        return Expr(b.address, (("kt", self.tk if self.is_integer else 0),))

    def batch_index(self, scale: int = 1) -> Expr:
        return Expr(0, (("b", self.batch_cores * scale),), (0, 0, scale if self.batch_cores > 1 else 0))

    def kv_index(self, scale: int = 1) -> Expr:
        return Expr(0, (("g", self.head_cores * scale),), (0, scale if self.head_cores > 1 else 0, 0))

    def head_index(self) -> Expr:
        return self.kv_index(self.heads // self.kv_heads) + Expr(0, (("r", 1),))

    def query_row(self, scale: int = 1) -> Expr:
        """Return the first query of the tile."""
        tile = self.tq * scale
        return Expr(0, (("q", tile * self.query_cores),), (tile if self.query_cores > 1 else 0, 0, 0))

    def rows(self) -> Rows:
        """Return the rows of scores that the vector unit works on at once: whole ones in integers."""
        is_whole = self.queries % (self.tq * self.query_cores) == 0
        left = NOTHING if is_whole else self.query_row(-1) + self.queries
        lanes_left = NOTHING if self.keys % self.row == 0 else Expr(self.keys, (("kt", -self.tk),))
        return Rows((1, self.tq, 1), self.row, (NOTHING, left, NOTHING), lanes_left)
