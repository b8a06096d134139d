"""Attention as one kernel: tiles of queries that keys and values stream past; no score matrix in memory.

In:       a kernel whose anchor is `attention`, its Traffic, a Machine.
Out:      `Cost` of the best tile in closed form; short queries go to `attention_decode`.
Promises: a tile is `rows` queries of one head; it walks over its keys `keys` at a time, with two products and an
          online softmax for each step; steps that a causal mask hides are skipped. A core's matrix and vector time add
          up, less what `overlap.matrix_vector` hides; `cores.resident_tiles` tiles share a core. Tiles start in the
          order of their rows, so the longest of a causal mask start last. Where they are handed out dynamically each
          pays its start; a static program fetches the next tile's operands meanwhile, and pays once.
          Far memory moves each tensor once; keys and values are read again by each tile from the shared level, or from
          far memory where there is none and a head's keys do not fit in local memory. On chips without floats a tile
          holds whole score rows: where they do not fit, scores go through far memory.
          Keys that come from outside of the graph lie in a cache: kernels before turn queries and keys and write there.
Does not: write a program; know a library's tile tables.
Sources:  Dao 2022 and 2023 (FlashAttention 1 and 2) for tiles, online softmax and what is not in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np

from onchip.forecast.arrays import on_arrays
from onchip.forecast.attention_decode import DECODE_ROWS, price_decode
from onchip.forecast.attention_step import Tile, is_dynamic, near_bytes_per_s, start_s, step_s
from onchip.forecast.cost import Cost
from onchip.forecast.heads import Heads, heads_of
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.traffic import Traffic

CACHE_KERNELS = 2  # read off the public attention rows: rotary embedding and cache update; offsets of sequences
ROWS, KEYS, LEAST_ROWS = (64, 128, 256, 512), (128, 256, 512), 16
SHORT_KEYS = 64  # of a step, where no longer one fits
SHORT_SEQUENCE = 512  # NVIDIA/TensorRT plugin/bertQKVToContextPlugin: kernels for 64 to 512 (recalled, not re-read)
GAIN = 1.03  # assumed: a library takes a larger tile for more than this


def price_attention(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the kernel, with the cache's kernels before it."""
    a = heads_of(kernel, m)
    if a.queries * a.group <= DECODE_ROWS:
        cost = price_decode(a, traffic, m)
    elif is_dynamic(m):
        cost = _tiled(a, _whole(a, m) if is_short(a) else library_tile(a, m), traffic, m)
    else:
        cost = min((_tiled(a, tile, traffic, m) for tile in tiles(a, m)), key=lambda cost: cost.seconds)
    causes, launches = (*cost.causes, *_cache(a, m)), 1 + CACHE_KERNELS * a.is_cached
    return Cost(causes, cost.how, cost.far_bytes, launches)


def library_tile(a: Heads, m: Machine) -> Tile:
    """Return the tile that a library has for heads of a width: the fastest per score in steady state, small if it may.

    A compiler chooses for the shape instead.
    """
    rates = [(_steady_s(a, tile, m), tile) for tile in tiles(a, m)]
    best = min(seconds for seconds, _ in rates)
    good = (tile for seconds, tile in rates if seconds <= GAIN * best)
    return min(good, key=lambda tile: (tile.rows * tile.keys, -tile.resident))


def is_short(a: Heads) -> bool:
    """Return whether one core takes all queries of a head: a library's kernels for sequences of a fixed length."""
    return not (a.is_causal or a.is_cached) and a.queries == a.keys <= SHORT_SEQUENCE


def _whole(a: Heads, m: Machine) -> Tile:
    """Return the library's tile; tiles whose keys and values fit in local memory together share a core."""
    tile = library_tile(a, m)
    held = a.keys * (a.width + a.value_width) * m.bytes
    return replace(tile, resident=min(tile.resident, max(1, int(m.chip.local.size_bytes // held))))


def tiles(a: Heads, m: Machine) -> tuple[Tile, ...]:
    """Return the tiles whose operands fit in local memory and whose sums fit in the accumulators, or the smallest.

    A tile of registers is multiplied whole; arrays take the rows that there are. One tall tile fills a core as
    `cores.resident_tiles` small ones do.
    """
    for widths in ((a.keys,),) if a.holds_rows else (KEYS, (SHORT_KEYS,)):
        fitting = tuple(tile for tile in _candidates(a, widths, m) if _fits(a, tile, m))
        if fitting:
            return fitting
    return (next(_candidates(a, (a.keys if a.holds_rows else SHORT_KEYS,), m)),)


def _candidates(a: Heads, widths: tuple[int, ...], m: Machine) -> Iterator[Tile]:
    most, least = m.chip.cores.resident_tiles, _least_rows(a)
    for rows in (least, *(rows for rows in ROWS if least < rows < 2 * a.queries)):
        for keys in widths:
            for resident in sorted({most, 1}) if rows >= ROWS[0] * most else (most,):
                yield Tile(*((min(rows, a.queries), min(keys, a.keys)) if on_arrays(m) else (rows, keys)), resident)


def _steady_s(a: Heads, tile: Tile, m: Machine) -> float:
    """Return a core's seconds for a score: both units, or the shared level that feeds keys and values."""
    feed = tile.keys * (a.width + a.value_width) * m.bytes * m.cores / m.shared_bytes_per_s
    return max(sum(step_s(a, tile, m)), feed) / (tile.rows * tile.keys)


def _tiled(a: Heads, tile: Tile, traffic: Traffic, m: Machine) -> Cost:
    matrix, vector = step_s(a, tile, m)
    walked, heads = steps(a, tile), a.batch * a.heads
    if is_dynamic(m) and is_short(a):
        walked = walked.sum(keepdims=True)
    first = (tile.rows * (a.width + a.value_width) + tile.keys * a.width) * m.bytes / near_bytes_per_s(m)
    start = start_s(m) + first
    each, once = (start, 0.0) if is_dynamic(m) else (0.0, start)
    span = once + waves_s(each + tile.resident * walked * (matrix + vector), heads, m.cores * tile.resident)
    n_steps = heads * float(walked.sum())
    far, near = _bytes(a, tile, n_steps * tile.keys, traffic, m)
    far_s, near_s = far / m.dram_bytes_per_s, near / m.shared_bytes_per_s
    how = f"tile {tile.rows} x {tile.keys}, {heads * len(walked)} tiles, {tile.resident} on each of {m.cores} cores"
    if far_s >= max(span, near_s):
        return Cost((("memory", far_s),), how, far)
    if near_s >= span:
        return Cost((("shared", near_s),), how, far)
    share = n_steps / m.cores
    rest = max(0.0, span - share * (matrix + vector))
    return Cost((("matrix", share * matrix), ("vector", share * vector), ("sync", rest)), how, far)


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


def _bytes(a: Heads, tile: Tile, keys_read: float, traffic: Traffic, m: Machine) -> tuple[float, float]:
    """Return far bytes, and bytes through the shared level: `keys_read` keys with values, one head each."""
    row = (a.width + a.value_width) * m.bytes
    spilled = 0.0 if not a.holds_rows or _fits(a, tile, m) else 2 * a.batch * a.heads * a.queries * a.keys * m.bytes
    streamed = keys_read * row
    if m.shared_bytes:
        return traffic.far + spilled, traffic.near + streamed
    again = 0.0 if a.keys * row <= m.chip.local.size_bytes / 2 else streamed - a.batch * a.groups * a.keys * row
    return traffic.far + spilled + max(0.0, again), 0.0


def _fits(a: Heads, tile: Tile, m: Machine) -> bool:
    local = m.chip.local
    operands = (tile.rows * a.width + tile.keys * (a.width + a.value_width)) * m.bytes
    scores = tile.rows * tile.keys * m.bytes if a.holds_rows else 0
    weights = 0 if a.holds_rows else tile.keys * (WIDE_BYTES + m.bytes)  # scores, and as the second product reads them
    sums = tile.rows * (a.value_width * WIDE_BYTES + weights)
    return (operands + scores) * tile.resident <= local.size_bytes and sums * tile.resident <= local.accumulator_bytes


def _least_rows(a: Heads) -> int:
    """Return the height of the smallest tile: no more than the queries need, between 16 and 64."""
    rows = LEAST_ROWS
    while rows < min(a.queries, ROWS[0]):
        rows *= 2
    return rows


def _cache(a: Heads, m: Machine) -> tuple[tuple[str, float], ...]:
    """Return what the cache's kernels take besides their launches: they turn, and write new keys and values."""
    if not a.is_cached:
        return ()
    new = a.batch * a.queries * (a.heads * a.width + a.groups * (a.width + a.value_width)) * m.bytes
    moved = 2 * new  # read and written
    is_near = moved <= m.shared_bytes / 2
    seconds = moved / (m.shared_bytes_per_s if is_near else m.dram_bytes_per_s)
    return (("shared" if is_near else "memory", seconds),)
