"""Attention of few queries over many keys: cores read keys and values, and arithmetic hides behind it.

In:       `Heads` whose queries of a group fit in one tile, a Traffic, a Machine.
Out:      `Cost`: the read at the rate that so many cores reach, starts of tiles, the step that combines splits.
Promises: one item for each head of keys; where cores would be idle its keys are split over a power of two of cores, in
          runs of at least SPLIT_KEYS. A core reads at most its bytes in flight a latency; the shared level's latency
          is a fraction of far memory's. Keys and values that fit in half of the shared level and were there are near.
Does not: count the arithmetic: a query's products and softmax take less than reading its keys.
Sources:  Dao et al. 2023 (Flash-Decoding) for the split over keys; Little's law for the rate of a core.
"""

from __future__ import annotations

from math import ceil

from onchip.forecast.cost import Cost
from onchip.forecast.heads import Heads
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.traffic import Traffic

# fitted on the public attention rows, shared by all chips
START_LATENCIES = 10.0  # dependent round trips to memory from the start of a tile to its last store
BYTES_IN_FLIGHT = 7000  # of a core whose loads are plain
NEAR_LATENCY = 0.45  # assumed: of the shared level, relative to far memory's (published L2 : DRAM latencies)
SPLIT_KEYS = 1024  # read off the same rows: the shortest run of keys that gets a core of its own


def decode_s(a: Heads, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the kernel that streams keys and values, split over idle cores."""
    items = a.batch * a.groups
    splits = _splits(items, a.keys, m.cores)
    tiles = items * splits
    n_bytes = a.batch * a.groups * a.keys * (a.width + a.value_width) * m.bytes
    is_near = traffic.near > 0 and n_bytes <= m.shared_bytes / 2
    rate, core = (m.shared_bytes_per_s, near_bytes_per_s(m)) if is_near else (m.dram_bytes_per_s, far_bytes_per_s(m))
    read = stream_s(tiles, n_bytes / tiles, m.cores, rate, core)
    start = START_LATENCIES * m.dram_latency_s
    waves = ceil(tiles / (m.cores * m.chip.cores.resident_tiles))
    waiting = max(0.0, (waves - 1) * start - read)
    combine = 0.0
    if splits > 1:
        partial = 2 * a.batch * a.heads * a.queries * splits * (a.value_width + 2) * WIDE_BYTES
        combine = start + m.sync_s + partial / (m.shared_bytes_per_s if m.shared_bytes else m.dram_bytes_per_s)
    how = f"{items} heads of keys, {splits} splits on {min(tiles, m.cores)} cores"
    causes = (("shared" if is_near else "memory", read), ("sync", start + waiting + combine))
    return Cost(causes, how, traffic.far - (n_bytes if is_near else 0.0) if traffic.far > n_bytes else traffic.far)


def stream_s(tiles: int, tile_bytes: float, cores: int, rate: float, core_rate: float) -> float:
    """Return the seconds of reading: full waves on all cores, the rest on the cores that are left with work."""
    waves, rest = divmod(tiles, cores)
    full = waves * cores * tile_bytes / min(rate, cores * core_rate)
    return full + (rest * tile_bytes / min(rate, rest * core_rate) if rest else 0.0)


def far_bytes_per_s(m: Machine) -> float:
    """Return what one core reads from far memory with plain loads."""
    return BYTES_IN_FLIGHT / m.dram_latency_s if m.dram_latency_s else float("inf")


def near_bytes_per_s(m: Machine) -> float:
    """Return what one core reads from the shared level with plain loads."""
    return far_bytes_per_s(m) / NEAR_LATENCY


def _splits(items: int, keys: int, cores: int) -> int:
    splits = 1
    while 2 * splits * items <= cores and keys >= 2 * splits * SPLIT_KEYS:
        splits *= 2
    return splits
