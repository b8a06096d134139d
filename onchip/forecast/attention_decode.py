"""Attention of few queries over many keys: cores read keys and values.

In:       `Heads` whose queries of a group fit in one tile, a Traffic, a Machine.
Out:      `Cost`: the read at the rate that so many cores reach, or the arithmetic where that is longer; starts of
          tiles; the step that combines splits.
Promises: one item for each head of keys; where cores would be idle its keys are split over a power of two of cores, in
          runs of at least SPLIT_KEYS. Keys and values that fit in half of the shared level and were there are near.
Does not: write a program.
Sources:  Dao et al. 2023 (Flash-Decoding) for the split over keys.
"""

from __future__ import annotations

from math import ceil

from onchip.forecast.arrays import on_arrays
from onchip.forecast.attention_step import (
    Tile,
    far_bytes_per_s,
    is_dynamic,
    near_bytes_per_s,
    start_s,
    step_s,
)
from onchip.forecast.cost import Cost
from onchip.forecast.heads import Heads
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.traffic import Traffic

SPLIT_KEYS = 1024  # read off the public attention rows: the shortest run of keys that gets a core of its own
DECODE_ROWS = 16  # queries of all heads that share keys: one tile of the smallest height
STEP_KEYS = 256


def price_decode(a: Heads, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the kernel that streams keys and values, split over idle cores."""
    items = a.batch * a.groups
    splits = _splits(items, a.keys, m.cores)
    tiles = items * splits
    n_bytes = items * a.keys * (a.width + a.value_width) * m.bytes
    is_near = traffic.near > 0 and n_bytes <= m.near_bytes / 2
    rate, core = (m.near_bytes_per_s, near_bytes_per_s(m)) if is_near else (m.dram_bytes_per_s, far_bytes_per_s(m))
    read = stream_s(tiles, n_bytes / tiles, m.cores, rate, core)
    matrix, vector = _arithmetic_s(a, m)
    work = ceil(tiles / m.cores) * ceil(a.keys / splits)
    busy = read if read >= work * (matrix + vector) else work * (matrix + vector)
    slots = m.cores * m.chip.cores.resident_tiles
    waiting = max(0.0, (ceil(tiles / slots) - 1) * start_s(m) - busy) if is_dynamic(m) else 0.0
    sync = ("sync", start_s(m) + waiting + _combine_s(a, splits, m))
    how = f"{items} heads of keys, {splits} splits on {min(tiles, m.cores)} cores"
    if busy > read:
        return Cost((("matrix", work * matrix), ("vector", work * vector), sync), how)
    return Cost((("shared" if is_near else "memory", read), sync), how)


def stream_s(tiles: int, tile_bytes: float, cores: int, rate: float, core_rate: float) -> float:
    """Return the seconds of reading: full waves on all cores, the rest on the cores that are left with work."""
    waves, rest = divmod(tiles, cores)
    full = waves * cores * tile_bytes / min(rate, cores * core_rate)
    return full + (rest * tile_bytes / min(rate, rest * core_rate) if rest else 0.0)


def _arithmetic_s(a: Heads, m: Machine) -> tuple[float, float]:
    """Return the seconds of one core's matrix unit and lanes for a key; few rows may multiply faster on the lanes."""
    rows, keys = a.queries * a.group, min(STEP_KEYS, a.keys)
    tile = Tile(rows if on_arrays(m) or m.on_lanes else max(rows, DECODE_ROWS), keys)
    matrix, vector = step_s(a, tile, m)
    lanes = m.lane_s("mac", rows * keys * (a.width + a.value_width), 1) / m.chip.achieved.vector
    if lanes < matrix and not m.on_lanes:
        matrix, vector = 0.0, lanes + step_s(a, Tile(rows, keys), m)[1]
    return matrix / keys, vector / keys


def _combine_s(a: Heads, splits: int, m: Machine) -> float:
    """Return the seconds of adding up the partial sums of the splits, which cores leave in memory."""
    if splits == 1:
        return 0.0
    partial = 2 * a.batch * a.heads * a.queries * splits * (a.value_width + 2) * WIDE_BYTES
    rate = m.shared_bytes_per_s if m.shared_bytes else m.dram_bytes_per_s
    return start_s(m) + m.sync_s + partial / rate


def _splits(items: int, keys: int, cores: int) -> int:
    splits = 1
    while 2 * splits * items <= cores and keys >= 2 * splits * SPLIT_KEYS:
        splits *= 2
    return splits
