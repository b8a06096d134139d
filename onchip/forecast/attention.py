"""Attention as one kernel: tiles of queries that keys and values stream past; no score matrix in memory.

In:       a kernel whose anchor is `attention`, its Traffic, a Machine.
Out:      `Cost` of the best tile in closed form; short queries go to `attention_decode`.
Promises: a tile is `rows` queries of one head; it walks over its keys `keys` at a time, with two products and an online
          softmax for each step; keys that a causal mask hides are skipped step by step. Matrix and vector time of a core
          add up, less what `overlap.matrix_vector` hides. `cores.resident_tiles` tiles share a core; tiles start in the
          order of their rows, so the longest of a causal mask start last (waves). Far memory moves each tensor once;
          keys and values are read again by each tile from the shared level, or from far memory where there is none
          and a head's keys do not fit in local memory.
          In integers a tile holds whole score rows: where they do not fit, the scores go through far memory.
          Keys that come from outside of the graph lie in a cache: then kernels before it turn queries and keys and
          write them there.
Does not: write a program; know a library's tile tables.
Sources:  Dao 2022 and 2023 (FlashAttention 1 and 2) for tiles, online softmax and what is not in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from onchip.forecast.arrays import DATAFLOWS, array_cycles
from onchip.forecast.attention_decode import START_LATENCIES, decode_s, near_bytes_per_s
from onchip.forecast.cost import Cost
from onchip.forecast.heads import Heads, heads_of
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.product import Product
from onchip.forecast.traffic import Traffic

# fitted on the public attention rows, shared by all chips: of what products alone reach of the matrix unit's peak
MATRIX_SHARE = 0.77
CACHE_KERNELS = 2  # read off the same rows: rotary embedding and cache update; offsets of sequences
ROWS, KEYS, LEAST_ROWS = (64, 128, 256, 512), (64, 128, 256, 512), 16
SCORE_OPS = ("max", "mac", "exp", "add", "copy")  # of a score: largest, scale and subtract, exp, sum, convert
DECODE_ROWS = 16  # queries of a group of heads that share keys, one tile of the smallest height


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries of a tile, keys of a step."""

    rows: int
    keys: int


def price_attention(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the fastest kernel, with the cache's kernels before it."""
    a = heads_of(kernel, m.dtype)
    cache = _cache(a, m)
    if a.queries * a.group <= DECODE_ROWS:
        cost = decode_s(a, traffic, m)
    else:
        cost = min((_tiled(a, tile, traffic, m) for tile in tiles(a, m)), key=lambda cost: cost.seconds)
    return Cost((*cost.causes, *cache), cost.how, cost.far_bytes, launches=1 + CACHE_KERNELS * a.is_cached)


def tiles(a: Heads, m: Machine) -> Iterator[Tile]:
    """Yield the tiles whose queries, keys and values fit in local memory and whose sums fit in the accumulators."""
    widths = (a.keys,) if a.is_integer else KEYS
    yield (smallest := Tile(_least_rows(a), widths[0]))
    for rows in ROWS:
        for keys in widths:
            tile = Tile(rows, keys)
            if rows < 2 * a.queries and keys < 2 * max(a.keys, KEYS[0]) and tile != smallest and _fits(a, tile, m):
                yield tile


def _tiled(a: Heads, tile: Tile, traffic: Traffic, m: Machine) -> Cost:
    matrix, vector = _score_s(a, tile, m)
    hidden = m.chip.overlap.matrix_vector * min(matrix, vector) if not m.on_lanes else 0.0
    first = (tile.rows * (a.width + a.value_width) + tile.keys * a.width) * m.bytes / near_bytes_per_s(m)
    start = START_LATENCIES * m.dram_latency_s + first
    resident = m.chip.cores.resident_tiles
    scores = tile.rows * steps(a, tile) * tile.keys
    heads = a.batch * a.heads
    span = waves_s(start + resident * scores * (matrix + vector - hidden), heads, m.cores * resident)
    far, near = _bytes(a, tile, heads * float(scores.sum()) / tile.rows, traffic, m)
    far_s = far / m.dram_bytes_per_s
    near_s = near / m.shared_bytes_per_s
    how = f"tile {tile.rows} x {tile.keys}, {heads * len(scores)} tiles on {m.cores} cores"
    if far_s >= max(span, near_s):
        return Cost((("memory", far_s),), how, far)
    if near_s >= span:
        return Cost((("shared", near_s),), how, far)
    work = heads * float(scores.sum()) / m.cores
    busy = (("matrix", work * matrix), ("vector", work * (vector - hidden)))
    return Cost((*busy, ("sync", max(0.0, span - work * (matrix + vector - hidden)))), how, far)


def steps(a: Heads, tile: Tile) -> np.ndarray:
    """Return the steps over keys of each tile of queries, in the order of rows."""
    last = np.arange(1, ceil(a.queries / tile.rows) + 1) * tile.rows + a.keys - a.queries
    seen = np.minimum(last, a.keys) if a.is_causal else np.full(len(last), a.keys)
    return np.ceil(np.maximum(seen, 1) / tile.keys)


def waves_s(tile_s: np.ndarray, copies: int, slots: int) -> float:
    """Return when the last of `copies` of each tile ends: tiles start in ascending order on the slot that is free.

    The slots then take turns: the one that ends last has every slots-th tile, counted from the longest.
    """
    ends = np.arange(1, len(tile_s) + 1) * copies
    n = int(ends[-1])
    taken = np.floor_divide(n - 1 - (ends - copies), slots) - np.floor_divide(n - 1 - ends, slots)
    return float((taken * tile_s).sum())


def _score_s(a: Heads, tile: Tile, m: Machine) -> tuple[float, float]:
    """Return the seconds of one core's matrix unit and lanes for one score."""
    matrix = _products_s(a, tile, m) / (tile.rows * tile.keys)
    lanes = sum(m.lane_s(op, 1, 1) for op in (*SCORE_OPS, *(("add",) if a.has_bias else ())))
    return matrix, lanes + m.lane_s("mul", a.value_width / tile.keys, 1)


def _products_s(a: Heads, tile: Tile, m: Machine) -> float:
    """Return the seconds of a step's two products on one core."""
    if m.chip.matrix.dataflow in DATAFLOWS and not m.on_lanes:
        products = Product(1, tile.rows, tile.keys, a.width), Product(1, tile.rows, a.value_width, tile.keys)
        return sum(array_cycles(p, m) for p in products) / (m.clock_hz * m.achieved)
    macs = tile.rows * tile.keys * (_padded(a.width, m) + _padded(a.value_width, m))
    return macs / (m.core_macs_per_s * m.achieved * MATRIX_SHARE)


def _padded(width: int, m: Machine) -> int:
    """Return a head's width as the matrix unit multiplies it."""
    unit = max(m.array.align, m.array.native[2] if m.array.native else 1)
    return ceil(width / unit) * unit


def _bytes(a: Heads, tile: Tile, keys_read: float, traffic: Traffic, m: Machine) -> tuple[float, float]:
    """Return far bytes, and bytes through the shared level: `keys_read` keys with values, one head each."""
    row = (a.width + a.value_width) * m.bytes
    spilled = 0.0 if not a.is_integer or _fits(a, tile, m) else 2 * a.batch * a.heads * a.queries * a.keys * m.bytes
    streamed = keys_read * row
    if m.shared_bytes:
        return traffic.far + spilled, traffic.near + streamed
    again = 0.0 if a.keys * row <= m.chip.local.size_bytes / 2 else streamed - a.batch * a.groups * a.keys * row
    return traffic.far + spilled + max(0.0, again), 0.0


def _fits(a: Heads, tile: Tile, m: Machine) -> bool:
    resident, local = m.chip.cores.resident_tiles, m.chip.local
    operands = (tile.rows * a.width + tile.keys * (a.width + a.value_width)) * m.bytes
    scores = tile.rows * tile.keys * m.bytes if a.is_integer else 0
    sums = tile.rows * (a.value_width + (0 if a.is_integer else tile.keys)) * WIDE_BYTES
    return (operands + scores) * resident <= local.size_bytes and sums * resident <= local.accumulator_bytes


def _least_rows(a: Heads) -> int:
    """Return the height of the smallest tile: no more than the queries need, between 16 and 64."""
    rows = LEAST_ROWS
    while rows < min(a.queries, ROWS[0]):
        rows *= 2
    return rows


def _cache(a: Heads, m: Machine) -> tuple[tuple[str, float], ...]:
    """Return what the kernels take besides their launches that turn new queries and keys and write keys and values to the cache."""
    if not a.is_cached:
        return ()
    new = a.batch * a.queries * (a.heads * a.width + a.groups * (a.width + a.value_width)) * m.bytes
    moved = 2 * new  # read and written
    is_near = moved <= m.shared_bytes / 2
    seconds = moved / (m.shared_bytes_per_s if is_near else m.dram_bytes_per_s)
    return (("shared" if is_near else "memory", seconds),)
