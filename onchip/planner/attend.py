"""The mapping of an attention kernel: how many queries and keys a tile has, and what stays in local memory.

In: the node, the graph, the chip. Out: Shape, Mapping and buffers. `Mapping.tp` are the query rows of a tile,
`Mapping.tc` the keys of one; `channels_outer` says that keys and values stay for all queries of a head, otherwise they
are loaded again, tile by tile, for each tile of queries. In integers whole score rows lie in the accumulator
(two-pass softmax); in floats only those of one tile of keys (online softmax, Dao 2022). The formula is the longest of
array, vector and memory time of a tile; it only ranks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import lcm
from typing import Any

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Buffer, Mapping, Shape, ceil_div
from onchip.isa import timing
from onchip.isa.machine import columns, depth, machine_of
from onchip.isa.vector import FLOAT_VOPS, LUT_RATE, RED_RATE, VOPS
from onchip.planner.buffers import Piece, fits, place_pieces, slots_of
from onchip.planner.dimensions import ELEMENT_BYTES, attributes, dims

TABLE_BYTES = 1024
ROW_WORDS = 16
SYNC = 8  # cycles of the waits and signals around a tile of keys: they only rank
INTEGER_PASSES, FLOAT_PASSES = 8, 4  # vector instructions on a whole tile of scores beside lookups and reductions
INTEGER_MASK, FLOAT_MASK = 4, 3  # the same for a mask
INTEGER_WORDS, FLOAT_WORDS = 34, 8  # instructions on one value a row
KEPT, ADDED = 1, 2  # a mask of bytes that say what is kept, or of values that are added
Planned = tuple[Shape, Mapping, tuple[Buffer, ...]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """One way to cut the kernel: queries and keys of a tile, whether keys stay, slots of queries and of keys."""

    tq: int
    tk: int
    is_resident: bool
    slots: int
    key_slots: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """The dimensions of an attention kernel, and its cores: over heads, over images and over query tiles."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    d: int
    dv: int
    masked: int
    head_cores: int
    batch_cores: int
    other_cores: int  # left for each image's head

    def query_cores(self, tq: int) -> int:
        return min(self.other_cores, ceil_div(self.queries, tq))

    def cores(self, tq: int) -> int:
        return self.head_cores * self.batch_cores * self.query_cores(tq)

    def loops(self, tq: int) -> tuple[int, int]:
        """Return how many (image, key head) pairs a core works on, and how many query tiles of each."""
        images = ceil_div(self.batch, self.batch_cores)
        tiles = ceil_div(ceil_div(self.queries, tq), self.query_cores(tq))
        return images * ceil_div(self.kv_heads, self.head_cores), self.heads // self.kv_heads * tiles


def plan_attention(node: Node, graph: Graph, chip: Chip, dtype: str) -> Planned:
    """Return what a Kernel needs for an attention node. Raises DoesNotFit."""
    q, k, v = (dims(graph, name) for name in node.inputs[:3])
    given = attributes(node)
    heads = given.integer("heads")
    kv_heads = given.integer("kv_heads") or heads
    d, dv = q[2] // heads, v[2] // kv_heads
    mask = node.inputs[3] if len(node.inputs) > 3 else ""
    adds = bool(mask) and graph.tensor(mask).dtype != "bool"
    masked = ADDED if adds else KEPT if mask or given.flag("causal") else 0
    shape = Shape(
        kind="attention",
        dtype=dtype,
        element_bytes=ELEMENT_BYTES[dtype],
        grid=(q[0], q[1], 1, heads * dv),
        source=(q[0], q[1], 1, q[2]),
        extra=(q[0], heads, kv_heads, q[1], k[1], d, dv, masked),
    )
    found = best(shape, chip)
    if found is None:
        raise _refuse(node, shape, chip)
    return shape, *found


def sizes_of(shape: Shape, chip: Chip) -> Sizes:
    """Return the dimensions of an attention shape; cores share heads first, then images, then queries."""
    batch, heads, kv_heads, queries, keys, d, dv, masked = shape.extra
    head_cores = min(chip.cores.count, kv_heads)
    batch_cores = min(chip.cores.count // head_cores, batch)
    other = chip.cores.count // (head_cores * batch_cores)
    return Sizes(batch, heads, kv_heads, queries, keys, d, dv, masked, head_cores, batch_cores, other)


@functools.lru_cache(maxsize=1024)
def best(shape: Shape, chip: Chip) -> tuple[Mapping, tuple[Buffer, ...]] | None:
    """Return the mapping that the formula ranks first and its buffers, None where nothing fits."""
    found: list[tuple[int, Tiles, tuple[Buffer, ...]]] = []
    known: set[tuple[int, int, bool]] = set()  # cuts that fit with more slots: fewer are never faster
    for tiles in candidates(shape, chip):
        cut = tiles.tq, tiles.tk, tiles.is_resident
        if cut in known:
            continue
        buffers, local, accumulator = place_pieces(pieces(shape, tiles), chip)
        if fits(chip, local, accumulator):
            known.add(cut)
            found.append((price(shape, chip, tiles), tiles, buffers))
    if not found:
        return None
    cycles, tiles, buffers = min(found, key=lambda f: f[0])
    return mapping_of(shape, chip, tiles, cycles), buffers


def mapping_of(shape: Shape, chip: Chip, tiles: Tiles, cycles: int = 0) -> Mapping:
    """Return the tiles as a Mapping."""
    s = sizes_of(shape, chip)
    return Mapping(
        1, tiles.tq, 1, s.heads * s.dv, tiles.tk, channels_outer=tiles.is_resident, rows_cores=s.query_cores(tiles.tq),
        channel_cores=s.head_cores, batch_cores=s.batch_cores, slots=tiles.slots, predicted_cycles=cycles,
    )  # fmt: skip


def candidates(shape: Shape, chip: Chip) -> list[Tiles]:
    """Return every legal cut, large tiles first."""
    s, m = sizes_of(shape, chip), machine_of(chip, shape.dtype)
    wanted = ceil_div(s.queries, s.other_cores)
    rows = {wanted, *(ceil_div(wanted, i) for i in range(2, 9)), *(1 << i for i in range(14) if 1 << i < wanted)}
    found: list[Tiles] = []
    for tq in sorted(rows, reverse=True):
        heads, tiles = s.loops(tq)
        slots = slots_of(chip) if heads * tiles > 1 else (1,)
        for tk in _key_tiles(s.keys, m):
            often = tk < s.keys or heads > 1
            for is_resident in (True, False) if tk < s.keys and not shape.is_integer else (tk == s.keys,):
                found += [
                    Tiles(tq, tk, is_resident, n, k) for n in slots for k in (slots_of(chip) if often else (1,))
                    if not (is_resident and heads == 1 and k == 2)
                ]  # fmt: skip
    return found


def _key_tiles(keys: int, m: Any) -> list[int]:
    """Return the numbers of keys that cut neither a block of columns nor a fold of rows of the array."""
    wide, fold = columns(m) or 1, depth(m) or 1
    steps = {1, wide, fold, lcm(wide, fold)}
    found = {step << i for step in steps for i in range(15) if step << i < keys}
    legal = [t for t in found if (t <= wide or t % wide == 0) and (t <= fold or t % fold == 0)]
    usual = [t for t in legal if t >= 16] or legal  # tiles below 16 keys only where no other is legal
    return sorted({keys, *usual, *(legal if keys <= 64 else ())}, reverse=True)


def pieces(shape: Shape, tiles: Tiles) -> list[Piece]:
    """Return the buffers of a cut; query, keys and values are written by LOAD and read by MATRIX alike."""
    _, _, _, _, keys, d, dv, masked = shape.extra
    size, tq, n, kn = shape.element_bytes, tiles.tq, tiles.slots, tiles.key_slots
    held = keys if tiles.is_resident else tiles.tk
    row = keys if shape.is_integer else tiles.tk  # of scores and of weights
    rows = tq + int(shape.is_integer)  # one more row of ones: column sums for the zero point of the weights
    scores, again = (2, 1) if shape.is_integer else (1 + (masked == KEPT), 1 if tiles.tk == keys else 2)
    found = [
        Piece("query", "local", tq * d * size, n, 0),
        Piece("keys", "local", held * d * size, kn, 0),
        Piece("values", "local", held * dv * size, kn, 0),
        Piece("tables", "local", TABLE_BYTES * shape.is_integer, 1, 2),
        Piece("mask", "local", tq * keys * (size if masked == ADDED else masked), n, 2),
        Piece("weights", "local", rows * row * size, 1, 3),
        Piece("output", "local", tq * dv * size, n, 4),
        Piece("scores", "accumulator", tq * row, again, 0),
        Piece("spare", "accumulator", (scores - 1) * tq * row, 1, 0),
        Piece("mixed", "accumulator", rows * dv, 1, 0),
        Piece("scratch", "accumulator", ROW_WORDS * tq, 1, 0),
    ]
    return [p for p in found if p.size]


# --- the formula ------------------------------------------------------------------------------------------------------
def price(shape: Shape, chip: Chip, tiles: Tiles) -> int:
    """Return the predicted cycles of a cut."""
    s, m, size = sizes_of(shape, chip), machine_of(chip, shape.dtype), shape.element_bytes
    heads, per_head = s.loops(tiles.tq)
    active, keys, tq = s.cores(tiles.tq), tiles.tk, tiles.tq
    n_keys = ceil_div(s.keys, keys)
    sharers = s.query_cores(tq) if chip.shared else 1
    loads = _far(m, s.keys * (s.d + s.dv) * size, sharers, active)
    own = _far(m, tq * (s.d + s.dv) * size + tq * s.keys * s.masked, 1, active)
    array = n_keys * (_products(m, tq, keys, s.d, size) + _products(m, tq + int(shape.is_integer), s.dv, keys, size))
    latency, fill = int(m[timing.DRAM_LATENCY]), 2 * timing.matmul_latency(m)
    vector = _integer_vector(m, s, tq) if shape.is_integer else n_keys * _float_vector(m, s, tq, keys)
    n_loads = 2 * n_keys  # tiles of keys and of values, each loaded, waited for and used once round
    moved = loads + n_loads * SYNC
    around = max(moved, (moved + array + n_loads * latency) // tiles.key_slots) * (not tiles.is_resident)
    if shape.is_integer:
        work = max(array, around) + vector + fill
    else:
        work = max(array, around, vector) + (array + vector) // n_keys + fill
    tile = max(work, own + latency) if tiles.slots == 2 else work + own + latency
    if not tiles.is_resident:
        return heads * per_head * tile + loads // n_keys + latency
    head = per_head * tile
    return heads * (max(head, loads) if tiles.key_slots == 2 else head + loads + latency) + loads + latency


def _products(m: Any, rows: int, n: int, k: int, size: int) -> int:
    """Cycles of the array for rows x k by k x n; the first weights are not hidden, nor are waits and signals."""
    fold, wide = min(depth(m) or k, k), min(columns(m) or n, n)
    one = timing.matmul_occupancy(m, rows, fold, wide, size)
    load = timing.weight_load_occupancy(m, fold, wide, size)
    one = one + load + timing.matmul_latency(m) if m[timing.SERIAL] else max(one, load)
    return ceil_div(n, wide) * ceil_div(k, fold) * one + load + SYNC


def _integer_vector(m: Any, s: Sizes, tq: int) -> int:
    passes = INTEGER_PASSES + INTEGER_MASK * s.masked
    lanes = _lanes(m, VOPS["add"], tq, s.keys) * passes + _lanes(m, LUT_RATE, tq, s.keys)
    lanes += 2 * _lanes(m, RED_RATE, tq, s.keys) + 3 * _lanes(m, VOPS["add"], tq, s.dv)
    return lanes + INTEGER_WORDS * _lanes(m, VOPS["add"], 1, tq)


def _float_vector(m: Any, s: Sizes, tq: int, keys: int) -> int:
    lanes = _lanes(m, VOPS["add"], tq, keys) * (FLOAT_PASSES + FLOAT_MASK * s.masked)
    lanes += _lanes(m, FLOAT_VOPS["exp"], tq, keys) + 2 * _lanes(m, RED_RATE, tq, keys)
    return lanes + _lanes(m, VOPS["mul"], tq, s.dv) + FLOAT_WORDS * _lanes(m, VOPS["add"], 1, tq)


def _lanes(m: Any, rate: int, rows: int, n: int) -> int:
    return timing.vector_occupancy(m, rate, rows, n, 0, 0) + timing.VECTOR_LATENCY


def _far(m: Any, n_bytes: int, sharers: int, active: int) -> int:
    """Cycles to bring so many bytes: from DRAM for all sharers once, from the shared memory for each."""
    rate = min(m[timing.DRAM_NUM] / m[timing.DRAM_DEN] / active, m[timing.CORE_NUM] / m[timing.CORE_DEN])
    cycles = n_bytes / sharers / rate
    if m[timing.SHARED_NUM]:
        cycles = max(cycles, n_bytes * active * m[timing.SHARED_DEN] / m[timing.SHARED_NUM])
    return int(cycles)


def _refuse(node: Node, shape: Shape, chip: Chip) -> DoesNotFit:
    """Name what the smallest cut needs."""
    needs = [place_pieces(pieces(shape, tiles), chip)[1:] for tiles in candidates(shape, chip)]
    local, accumulator = min(n[0] for n in needs), min(n[1] for n in needs)
    what = "one row of scores" if shape.is_integer else "the smallest tile"
    fact = f"{what} of attention needs {accumulator} bytes of accumulator and {local} bytes of local memory"
    own = chip.local
    limit = f"chip '{chip.name}' has {own.accumulator_bytes} and {own.size_bytes}"
    return DoesNotFit("OC2104", node.name, fact, limit=limit, next="Try a shorter sequence, or a chip with more memory")
