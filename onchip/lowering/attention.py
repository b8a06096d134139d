"""Attention as one kernel: scores, softmax, mix; a tile is some query rows of one head.

In: a Kernel of kind attention. Out: the four streams' trees. The matrix unit makes the scores of a tile (keys loaded
transposed), the vector unit turns them into weights in local memory, the matrix unit multiplies those with the values.
Keys and values stay in local memory for all queries of a head, or are loaded tile by tile for each tile of queries.

In integers all scores of a row come first, then the two-pass softmax, then the mix, added up over the tiles of values.
Weights are stored minus 128, so the mix adds 128 * sum of the values: a row of ones behind the weights gives that sum.
In floats each tile of keys goes through all three steps, with a running maximum and sum (online softmax, Dao 2022); the
scores of the next tile are made before the mix of this one, so that array and vector unit work side by side.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported
from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, MATRIX, MM, ST, STORE, VECTOR, WLD
from onchip.isa.floats import write_floats
from onchip.isa.machine import columns, depth, machine_of
from onchip.lowering.attention_vector import lower_vector
from onchip.lowering.code import NOTHING
from onchip.lowering.context import Context, Lowered, as_bytes, attributes
from onchip.lowering.heads import Heads
from onchip.lowering.tree import Expr, Op, Tree, later, nest, op, put, sync
from onchip.numerics import softmax_table
from onchip.ops.attention import DROPPED

TABLE_BYTES = 1024


def lower_attention(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of an attention kernel."""
    h = _heads(kernel, context)
    tables = _tables(h)
    trees = (_load(h, tables), _matrix(h), lower_vector(h), _store(h))
    slots = {b.name: b.slots for b in kernel.buffers}
    return Lowered(trees, slots, kernel.mapping.cores)


def _heads(kernel: Kernel, context: Context) -> Heads:
    node = context.graph.node(kernel.nodes[0])
    batch, heads, kv_heads, queries, keys, d, dv, masked = kernel.shape.extra
    m = kernel.mapping
    found = Heads(
        kernel, context, node, batch, heads, kv_heads, queries, keys, d, dv, masked > 0, masked > 1, m.tp, m.tc,
        m.channel_cores, m.batch_cores, m.rows_cores,
    )  # fmt: skip
    if found.is_integer:
        for name in node.inputs[:2]:
            if context.quantization(name).zero_point != (0,):
                fact = f"zero point {context.quantization(name).zero_point[0]} of '{name}'"
                raise NotSupported(
                    "OC1333", node.name, fact, limit="int8 attention runs with symmetric queries and keys"
                )
    mask = node.inputs[3] if len(node.inputs) > 3 else ""
    if mask and node.attribute("causal", False) and context.graph.tensor(mask).constant is None:
        raise NotSupported("OC1383", node.name, "a mask of the run and causal together", next="Give the combined mask")
    return found


def _tables(h: Heads) -> int | None:
    if not h.is_integer:
        return None
    scale = attributes(h.node).number("score_scale")
    return h.context.constant(f"{h.kernel.name}.tables", TABLE_BYTES, lambda: as_bytes(softmax_table(scale)))


# --- loads ------------------------------------------------------------------------------------------------------------
def _load(h: Heads, tables: int | None) -> Tree:
    tile = (*_load_query(h), *_load_keys(h, is_resident=False))
    head = (*_load_keys(h, is_resident=True), *nest(h.loops[2:], tile))
    first = () if tables is None else _load_tables(h, tables)
    return (*first, *nest(h.loops[:2], head))


def _load_tables(h: Heads, tables: int) -> Tree:
    sharers = h.kernel.mapping.cores if h.context.plan.chip.shared else 1
    return (
        sync(wait=((VECTOR, LOAD),), fills=("tables",)),
        op(LD, far=Expr(tables), near=h.at("tables", 0), box3=TABLE_BYTES, limit3=TABLE_BYTES, sharers=sharers),
        sync(signal=((LOAD, VECTOR),)),
    )


def _load_query(h: Heads) -> Tree:
    filled = ("query", "mask") if h.masked else ("query",)
    query = _box(h, h.node.inputs[0], h.at("query"), h.tq, h.queries, h.head_index(), h.heads, h.d, h.query_row())
    mask = (_mask(h), sync(signal=((LOAD, VECTOR),))) if h.masked else ()
    return (sync(wait=((VECTOR, LOAD),), fills=filled), query, sync(signal=((LOAD, MATRIX),)), *mask)


def _load_keys(h: Heads, *, is_resident: bool) -> Tree:
    """Load all keys and values of a head at once, or tile by tile in the order in which the matrix unit needs them."""
    if is_resident != h.is_resident:
        return ()
    sharers = h.query_cores if h.context.plan.chip.shared else 1  # cores on other queries of a head read the same keys
    rows, row = (h.keys, NOTHING) if is_resident else (h.tk, Expr(0, (("kt", h.tk),)))
    keys, values = (
        _box(
            h, tensor, h.at(name, 2 if is_resident else 5), rows, h.keys, h.kv_index(), h.kv_heads, width, row, sharers
        )
        for name, tensor, width in (("keys", h.node.inputs[1], h.d), ("values", h.node.inputs[2], h.dv))
    )
    ready = sync(signal=((LOAD, MATRIX),))
    one, other = ((sync(wait=((MATRIX, LOAD),), fills=(name,)),) for name in ("keys", "values"))
    if is_resident:
        return (*one, keys, values, ready)
    return _tiles(h, (*one, keys, ready), (*other, values, ready))


def _tiles(h: Heads, keys: Tree, values: Tree) -> Tree:
    """Put the code for tiles of keys and of values in order.

    In integers all keys come before all values, in floats the next keys before these values.
    """
    if h.is_integer:
        return (*nest([("kt", h.key_tiles)], keys), *nest([("kt", h.key_tiles)], values))
    between = (*later(keys, "kt"), *values)
    return (
        *(put(node, "kt", 0) for node in keys),
        *(nest([("kt", h.key_tiles - 1)], between) if h.key_tiles > 1 else ()),
        *(put(node, "kt", h.key_tiles - 1) for node in values),
    )


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


def _mask(h: Heads) -> Op:
    """Load the tile of the mask [B or 1, H or 1, queries or 1, keys]: bytes that keep, or values that are added."""
    tensor, is_causal = h.node.inputs[3] if len(h.node.inputs) > 3 else "", h.node.attribute("causal", False)
    size = h.size if h.adds else 1
    level = 0
    wide = h.context.graph.tensor(tensor).shape[-1] if tensor else 0
    if tensor and wide != h.keys and h.context.graph.tensor(tensor).constant is None:
        fact = f"a mask of {wide} for {h.keys} keys"
        raise NotSupported("OC1383", h.node.name, fact, limit="A mask has all keys", next="Expand the mask")
    if tensor and not is_causal and wide == h.keys:
        shape = [int(d) for d in h.context.graph.tensor(tensor).shape]
        far, level = h.context.addresses[tensor], h.context.level(tensor)
    else:
        given = [int(d) for d in h.context.graph.tensor(tensor).shape] if tensor else [1, 1]
        shape = [*given[:-2], h.queries, h.keys]
        far = h.context.constant(f"{h.kernel.name}.mask", prod(shape) * size, lambda: _whole(h, tensor, shape))
    shape = [1] * (4 - len(shape)) + shape
    plane = shape[2] * shape[3] * size
    return op(
        LD, far=Expr(far), near=h.at("mask"), box2=h.tq, box3=h.keys * size, limit0=h.batch, limit1=h.heads,
        limit2=h.queries, limit3=h.keys * size, far0=plane * shape[1] if shape[0] > 1 else 0,
        far1=plane if shape[1] > 1 else 0, far2=h.keys * size if shape[2] > 1 else 0, near2=h.keys * size,
        c0=h.batch_index(), c1=h.head_index(), c2=h.query_row(), level=level,
    )  # fmt: skip


def _whole(h: Heads, tensor: str, shape: list[int]) -> NDArray[np.uint8]:
    """Expand a constant mask to all queries and keys, with what a causal attention keeps."""
    keep = np.ones((h.queries, h.keys), np.bool_)
    if h.node.attribute("causal", False):
        keep = np.tri(h.queries, h.keys, h.keys - h.queries, dtype=np.bool_)
    if not tensor:
        return as_bytes(keep.astype(np.int8))
    mask = np.broadcast_to(h.context.array(tensor), shape)
    if not h.adds:
        return as_bytes((mask.astype(np.bool_) & keep).astype(np.int8))
    if h.is_integer:
        return as_bytes(np.where(keep, mask, np.int8(DROPPED)))
    return write_floats(h.type, np.where(keep, mask, -np.inf).astype(np.float32).reshape(-1))


# --- products ---------------------------------------------------------------------------------------------------------
def _matrix(h: Heads) -> Tree:
    ready = (sync(wait=((LOAD, MATRIX),)),)
    asked, done = (sync(wait=((VECTOR, MATRIX),)),), (sync(signal=((MATRIX, VECTOR),)),)
    keys, values = ((sync(signal=((MATRIX, LOAD),), releases=(name,)),) for name in ("keys", "values"))
    scores, mix = _scores(h), _mix(h)
    if not h.is_resident:
        scores, mix = (*ready, *scores, *keys), (*ready, *mix, *values)
    if h.is_integer:
        count = [("kt", h.key_tiles)]
        tile = (*ready, *nest(count, scores), *done, *asked, *nest(count, mix), *done)
    else:
        tile = (*ready, *_tiles(h, (*scores, *done), (*asked, *mix, *done)))
    head = nest(h.loops[2:], tile)
    return nest(h.loops[:2], (*ready, *head, *keys) if h.is_resident else head)


def _scores(h: Heads) -> Tree:
    """Queries of the tile by keys of the tile."""
    fold, wide = _array(h, h.d, h.tk)
    whole = h.keys % h.tk == 0 and h.tk % wide == 0
    k_left = Expr(h.d, (("kf", -fold),)) if h.d % fold else NOTHING
    n_left = NOTHING if whole else Expr(h.keys, (("kt", -h.tk), ("nf", -wide)))
    pitch = h.d * h.size
    weights = h.key_tile("keys", pitch) + Expr(0, (("kf", fold * h.size), ("nf", wide * pitch)))
    return nest([("nf", ceil_div(h.tk, wide)), ("kf", ceil_div(h.d, fold))], (
        op(WLD, source=weights, k=fold, n=wide, pitch=pitch, type=h.type, k_left=k_left, n_left=n_left, sub=1),
        op(
            MM, source=h.at("query"), sums=h.scores() + Expr(0, (("nf", wide),)), k_begin=Expr(0, (("kf", fold),)),
            rows1=h.tq, k=fold, n=wide, run_length=h.d, run_stride=pitch, source1=pitch, sum1=h.row, type=h.type,
            first=("kf",), left1=h.rows().left[1], k_left=k_left, n_left=n_left,
        ),
    ))  # fmt: skip


def _mix(h: Heads) -> Tree:
    """Weights of the tile by values of the tile, added up over the tiles of keys."""
    fold, wide = _array(h, h.tk, h.dv)
    whole = h.keys % h.tk == 0 and h.tk % fold == 0
    k_left = NOTHING if whole else Expr(h.keys, (("kt", -h.tk), ("kf", -fold)))
    n_left = Expr(h.dv, (("nf", -wide),)) if h.dv % wide else NOTHING
    pitch, line = h.dv * h.size, h.row * h.size
    begin = Expr(0, (("kf", fold), ("kt", h.tk if h.is_integer else 0)))
    weights = h.key_tile("values", pitch) + Expr(0, (("kf", fold * pitch), ("nf", wide * h.size)))
    rows, left = (h.tq + 1, NOTHING) if h.is_integer else (h.tq, h.rows().left[1])
    return nest([("nf", ceil_div(h.dv, wide)), ("kf", ceil_div(h.tk, fold))], (
        op(WLD, source=weights, k=fold, n=wide, pitch=pitch, type=h.type, k_left=k_left, n_left=n_left),
        op(
            MM, source=h.at("weights", 0), sums=Expr(h.kernel.buffer("mixed").address, (("nf", wide),)), k_begin=begin,
            rows1=rows, k=fold, n=wide, run_length=h.row, run_stride=line, source1=line, sum1=h.dv, type=h.type,
            first=("kt", "kf"), left1=left, k_left=k_left, n_left=n_left,
        ),
    ))  # fmt: skip


def _array(h: Heads, k: int, n: int) -> tuple[int, int]:
    """Return how many inputs and outputs one instruction has."""
    machine = machine_of(h.context.plan.chip, h.context.plan.dtype)
    return min(depth(machine) or k, k), min(columns(machine) or n, n)


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
