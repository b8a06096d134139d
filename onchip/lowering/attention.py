"""Attention as one kernel: scores, softmax over whole rows, mix; a tile is some query rows of one head.

In: a Kernel of kind attention. Out: the four streams' trees. The matrix unit makes the scores of a tile (keys loaded
transposed), the vector unit turns them into int8 weights in local memory, the matrix unit multiplies those with the
values. Weights are stored minus 128, so the mix adds 128 * sum of the values: a row of ones behind the weights gives
that sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onchip.errors import NotSupported
from onchip.ir.graph import Node
from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, MATRIX, MM, ST, STORE, VECTOR, WLD
from onchip.isa.machine import columns, depth, machine_of
from onchip.isa.memory import ACC, I8
from onchip.lowering.code import NOTHING, Rows, VectorCode, View
from onchip.lowering.context import TYPES, Context, Lowered, as_bytes, attributes
from onchip.lowering.rowwise import Words, float_softmax_tile, softmax_tile
from onchip.lowering.tree import Expr, Loop, Op, Tree, nest, op, sync
from onchip.numerics import quantize_multiplier, softmax_table
from onchip.ops.attention import score_factor
from onchip.ops.requantizing import rounding_of

TABLE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Heads:
    """The loops of an attention kernel: batch b, key-value head g, query head r of that group, query tile q."""

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
    tq: int
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
    def type(self) -> int:
        return TYPES[self.context.plan.dtype]

    @property
    def size(self) -> int:
        return self.kernel.shape.element_bytes

    @property
    def is_integer(self) -> bool:
        return self.kernel.shape.is_integer

    def at(self, name: str, level: int = 4, slots: int | None = None) -> Expr:
        """Return a buffer's address, alternating over the iterations of the first `level` loops."""
        b = self.kernel.buffer(name)
        double: list[str] = []
        inner = 1
        for loop, count in reversed(self.loops[:level]):
            if count > 1 and inner % 2:
                double.append(loop)
            inner *= count
        if (slots or b.slots) == 1 or inner == 1:
            return Expr(b.address)
        return Expr(b.address, (), (0, 0), tuple(double), b.size)

    def batch_index(self, scale: int = 1) -> Expr:
        return Expr(0, (("b", self.batch_cores * scale),), (0, scale if self.batch_cores > 1 else 0))

    def kv_index(self, scale: int = 1) -> Expr:
        return Expr(0, (("g", self.head_cores * scale),), (scale if self.head_cores > 1 else 0, 0))

    def head_index(self) -> Expr:
        return self.kv_index(self.heads // self.kv_heads) + Expr(0, (("r", 1),))

    def query_row(self, scale: int = 1) -> Expr:
        """Return the first query of the tile."""
        tile = self.tq * scale
        return Expr(0, (("q", tile * self.query_cores),), (0, tile if self.query_cores > 1 else 0))

    def rows(self) -> Rows:
        is_whole = self.queries % (self.tq * self.query_cores) == 0
        left = NOTHING if is_whole else self.query_row(-1) + self.queries
        return Rows((1, self.tq, 1), self.keys, (NOTHING, left, NOTHING))


def lower_attention(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of an attention kernel."""
    h = _heads(kernel, context)
    tables = _tables(h)
    trees = (_load(h, tables), _matrix(h), _vector(h), _store(h))
    slots = {b.name: b.slots for b in kernel.buffers}
    return Lowered(trees, slots, kernel.mapping.cores)


def _heads(kernel: Kernel, context: Context) -> Heads:
    node = context.graph.node(kernel.nodes[0])
    batch, heads, kv_heads, queries, keys, d, dv, masked = kernel.shape.extra
    m = kernel.mapping
    by_batch, by_query = (m.channel_cores, 1) if m.core_axis == "b" else (1, m.channel_cores)
    found = Heads(
        kernel, context, node, batch, heads, kv_heads, queries, keys, d, dv, bool(masked), m.tp, m.rows_cores,
        by_batch, by_query,
    )  # fmt: skip
    if found.is_integer:
        for name in node.inputs[:2]:
            if context.quantization(name).zero_point != (0,):
                fact = f"zero point {context.quantization(name).zero_point[0]} of '{name}'"
                raise NotSupported(
                    "OC1333", node.name, fact, limit="int8 attention runs with symmetric queries and keys"
                )
    return found


def _tables(h: Heads) -> int | None:
    if not h.is_integer:
        return None
    scale = attributes(h.node).number("score_scale")
    return h.context.constant(f"{h.kernel.name}.tables", TABLE_BYTES, lambda: as_bytes(softmax_table(scale)))


def _box(
    h: Heads, tensor: str, near: Expr, rows: int, limit: int, head: Expr, heads: int, width: int, row: Expr,
    sharers: int = 1
) -> Op:  # fmt: skip
    """Load `rows` rows of one head: the tensor is [batch, limit, heads * width]."""
    size = h.size
    return op(
        LD, far=Expr(h.context.addresses[tensor]), near=near, box2=rows, box3=width * size, limit0=h.batch,
        limit1=heads,
        limit2=limit, limit3=width * size, far0=limit * heads * width * size, far1=width * size,
        far2=heads * width * size,
        near2=width * size, c0=h.batch_index(), c1=head, c2=row, level=h.context.level(tensor),
        sharers=sharers,
    )  # fmt: skip


def _load(h: Heads, tables: int | None) -> Tree:
    q, k, v = h.node.inputs[:3]
    row = h.query_row()
    tile: list[Op] = [
        sync(wait=((MATRIX, LOAD),), fills=("query",)),
        _box(h, q, h.at("query"), h.tq, h.queries, h.head_index(), h.heads, h.d, row),
        sync(signal=((LOAD, MATRIX),)),
    ]
    if h.masked:
        tile += [sync(wait=((VECTOR, LOAD),), fills=("mask",)), _mask(h), sync(signal=((LOAD, VECTOR),))]
    sharers = h.query_cores if h.context.plan.chip.shared else 1  # cores on other queries of a head read the same keys
    head: list[Op] = [
        sync(wait=((MATRIX, LOAD),), fills=("keys",)),
        _box(h, k, h.at("keys", 2), h.keys, h.keys, h.kv_index(), h.kv_heads, h.d, NOTHING, sharers),
        _box(h, v, h.at("values", 2), h.keys, h.keys, h.kv_index(), h.kv_heads, h.dv, NOTHING, sharers),
        sync(signal=((LOAD, MATRIX),)),
    ]
    first: list[Op] = []
    if tables is not None:
        near = h.at("tables", 0)
        first = [
            sync(wait=((VECTOR, LOAD),), fills=("tables",)),
            op(
                LD,
                far=Expr(tables),
                near=near,
                box3=TABLE_BYTES,
                limit3=TABLE_BYTES,
                sharers=h.kernel.mapping.cores if h.context.plan.chip.shared else 1,
            ),
            sync(signal=((LOAD, VECTOR),)),
        ]
    return (*first, *nest(h.loops[:2], (*head, *nest(h.loops[2:], tuple(tile)))))


def _mask(h: Heads) -> Op:
    """Load the tile of the keep-mask [B or 1, H or 1, queries, keys], a byte an entry; causal masks are a constant."""
    if len(h.node.inputs) > 3 and h.node.inputs[3]:
        shape = [int(d) for d in h.context.graph.tensor(h.node.inputs[3]).shape]
        shape = [1] * (4 - len(shape)) + shape
        far = h.context.addresses[h.node.inputs[3]]
        if h.node.attribute("causal", False):
            raise NotSupported("OC1334", h.node.name, "a mask and causal together", next="Give the combined mask")
    else:
        shape = [1, 1, h.queries, h.keys]
        keep = lambda: as_bytes(np.tri(h.queries, h.keys, h.keys - h.queries, dtype=np.int8))  # noqa: E731
        far = h.context.constant(f"{h.kernel.name}.mask", h.queries * h.keys, keep)
    plane = shape[2] * shape[3]
    return op(
        LD, far=Expr(far), near=h.at("mask"), box2=h.tq, box3=h.keys, limit0=h.batch, limit1=h.heads, limit2=h.queries,
        limit3=h.keys, far0=plane * shape[1] if shape[0] > 1 else 0, far1=plane if shape[1] > 1 else 0,
        far2=h.keys if shape[2] > 1 else 0, near2=h.keys, c0=h.batch_index(), c1=h.head_index(), c2=h.query_row(),
    )  # fmt: skip


def _product(
    h: Heads,
    source: Expr,
    rows: int,
    k: int,
    weights: Expr,
    n: int,
    pitch: int,
    sums: Expr,
    *,
    transposed: bool,
    left: Expr,
) -> Tree:
    """rows x k from `source` by k x n from `weights`, sums in rows of n words."""
    machine = machine_of(h.context.plan.chip, h.context.plan.dtype)
    fold, wide, size = depth(machine) or k, columns(machine) or n, h.size
    k_left = Expr(k, (("kf", -fold),)) if k % fold else NOTHING
    n_left = Expr(n, (("nf", -wide),)) if n % wide else NOTHING
    down, across = (size, pitch) if transposed else (pitch, size)
    body = (
        op(
            WLD, source=weights + Expr(0, (("kf", fold * down), ("nf", wide * across))), k=min(fold, k), n=min(wide, n),
            pitch=pitch, type=h.type, k_left=k_left, n_left=n_left, sub=int(transposed),
        ),
        op(
            MM, source=source, sums=sums + Expr(0, (("nf", wide),)), k_begin=Expr(0, (("kf", fold),)), rows1=rows,
            k=min(fold, k), n=min(wide, n), run_length=k, run_stride=k * size, source1=k * size, sum1=n, type=h.type,
            first=("kf",), left1=left, k_left=k_left, n_left=n_left,
        ),
    )  # fmt: skip
    return nest([("nf", ceil_div(n, wide)), ("kf", ceil_div(k, fold))], body)


def _matrix(h: Heads) -> Tree:
    left = h.rows().left[1]
    scores, mixed = Expr(h.kernel.buffer("scores").address), Expr(h.kernel.buffer("mixed").address)
    ones = 1 if h.is_integer else 0
    tile: Tree = (
        sync(wait=((LOAD, MATRIX),)),
        *_product(
            h, h.at("query"), h.tq, h.d, h.at("keys", 2), h.keys, h.d * h.size, scores, transposed=True, left=left
        ),
        sync(signal=((MATRIX, VECTOR),)),
        sync(wait=((VECTOR, MATRIX),)),
        *_product(
            h, h.at("weights", 0), h.tq + ones, h.keys, h.at("values", 2), h.dv, h.dv * h.size, mixed,
            transposed=False, left=NOTHING,
        ),
        sync(signal=((MATRIX, VECTOR),)),
        sync(signal=((MATRIX, LOAD),), releases=("query",)),
    )  # fmt: skip
    head: Tree = (
        sync(wait=((LOAD, MATRIX),)),
        *nest(h.loops[2:], tile),
        sync(signal=((MATRIX, LOAD),), releases=("keys",)),
    )
    return nest(h.loops[:2], head)


def _vector(h: Heads) -> Tree:
    rows = h.rows()
    code = VectorCode(rows)
    scores = rows.packed(Expr(h.kernel.buffer("scores").address), ACC, 1)
    weights = rows.packed(h.at("weights", 0), h.type, h.size)
    words = Words(Expr(h.kernel.buffer("scratch").address), rows, code)
    first = _ones(h, weights) if h.is_integer else ()
    if h.is_integer:
        _scores_to_weights(h, code, words, scores, weights)
    else:
        code.lanes("mul", scores, scores, 1)
        float_softmax_tile(code, words, scores, weights, scores)
    mix = VectorCode(Rows((1, h.tq, 1), h.dv, rows.left))
    _mix(h, mix, rows, words)
    masks = [sync(wait=((LOAD, VECTOR),))] if h.masked else []
    unmasks = [sync(signal=((VECTOR, LOAD),), releases=("mask",))] if h.masked else []
    tile: Tree = (
        *masks,
        sync(wait=((MATRIX, VECTOR),)),
        *code.ops,
        sync(signal=((VECTOR, MATRIX),)),
        sync(wait=((STORE, VECTOR),), fills=("output",)),
        sync(wait=((MATRIX, VECTOR),)),
        *mix.ops,
        sync(signal=((VECTOR, STORE),)),
        *unmasks,
    )
    body = nest(h.loops, tile)
    if not h.is_integer:
        return body
    return (
        sync(wait=((LOAD, VECTOR),)), *first, *body, sync(signal=((VECTOR, LOAD),), releases=("tables",)),
    )  # fmt: skip


def _ones(h: Heads, weights: View) -> tuple[Op | Loop, ...]:
    """Fill the row behind the weights with ones, once."""
    code = VectorCode(Rows((1, 1, 1), h.keys))
    row = View(I8, weights.at + h.tq * h.keys)
    code.lanes("and", row, row, 0)
    code.lanes("add", row, row, 1)
    return tuple(code.ops)


def _scores_to_weights(h: Heads, code: VectorCode, words: Words, scores: View, weights: View) -> None:
    pq, pk = h.context.quantization(h.node.inputs[0]), h.context.quantization(h.node.inputs[1])
    given = attributes(h.node)
    factor, scale = score_factor(given, h.d), given.number("score_scale")
    multiplier, shift = quantize_multiplier(pq.scale[0] * pk.scale[0] * factor / scale)
    code.requantize(
        scores, scores, multiplier=multiplier, shift=shift, zero_out=given.integer("score_zero_point"),
        rounding=rounding_of(given),
    )  # fmt: skip
    tile = h.tq * h.keys
    keep = h.rows().packed(h.at("mask"), I8, 1) if h.masked else None
    tiles = (scores.moved(tile), scores.moved(2 * tile))
    softmax_tile(code, words, scores, weights, tiles, h.at("tables", 0), keep)


def _mix(h: Heads, code: VectorCode, rows: Rows, words: Words) -> None:
    start = Expr(h.kernel.buffer("mixed").address)
    mixed = code.rows.packed(start, ACC, 1)
    output = code.rows.packed(h.at("output"), h.type, h.size)
    if not h.is_integer:
        code.lanes("copy", output, mixed, 0)
        return
    total = View(ACC, start + h.tq * h.dv)
    line = Rows((1, 1, 1), h.dv)
    code.lanes("mul", total, total, 128, rows=line)
    code.lanes("add", mixed, mixed, total)
    pv, py = h.context.quantization(h.node.inputs[2]), h.context.quantization(h.node.outputs[0])
    if pv.zero_point[0]:
        weights = rows.packed(h.at("weights", 0), I8, 1)
        code.reduce("sum", words.row("all"), weights, rows=rows)
        words.do("add", "all", "all", 128 * h.keys)
        words.do("mul", "all", "all", -pv.zero_point[0])
        code.ops += words.code.ops[-2:]
        del words.code.ops[-2:]
        code.lanes("add", mixed, mixed, words.row("all"))
    multiplier, shift = quantize_multiplier(pv.scale[0] / 256 / py.scale[0])
    rounding = str(h.node.attribute("rounding", "single"))
    code.requantize(
        output, mixed, multiplier=multiplier, shift=shift, zero_out=py.zero_point[0], rounding=rounding
    )  # fmt: skip


def _store(h: Heads) -> Tree:
    size, width, tensor = h.size, h.dv, h.kernel.output
    store = op(
        ST, far=Expr(h.context.addresses[tensor]), near=h.at("output"), box2=h.tq, box3=width * size, limit0=h.batch,
        limit1=h.heads, limit2=h.queries, limit3=width * size, far0=h.queries * h.heads * width * size,
        far1=width * size,
        far2=h.heads * width * size, near2=width * size, c0=h.batch_index(), c1=h.head_index(), c2=h.query_row(),
        level=h.context.level(tensor), wait=((VECTOR, STORE),), signal=((STORE, VECTOR),), releases=("output",),
    )  # fmt: skip
    return nest(h.loops, (store,))
