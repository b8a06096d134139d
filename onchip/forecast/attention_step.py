"""One step of attention on one core: queries of a tile times some keys, softmax, times their values.

In:       `Heads`, a `Tile`, a Machine.
Out:      seconds of the matrix unit and of the lanes for one score; what a core reads of memory a second.
Promises: a tile in registers is multiplied whole, heads padded to what the unit multiplies; on systolic arrays the
          closed forms of `arrays`, each unit with a head of its own.
Does not: know how many tiles there are.
Sources:  Dao 2023 (FlashAttention-2) for the operations of a score; Little's law for the rate of a core.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from onchip.forecast.arrays import array_cycles, on_arrays
from onchip.forecast.heads import Heads
from onchip.forecast.machine import Machine
from onchip.forecast.product import Product

# fitted on the public attention rows, shared by all chips
LOADS_SHOWN = 0.33  # of the time in which threads load the matrix unit's operands from local memory
START_LATENCIES = 10.0  # dependent round trips to memory from the start of a tile to its last store
BYTES_IN_FLIGHT = 7000  # of a core whose loads are plain
NEAR_LATENCY = 0.45  # assumed: of the shared level, relative to far memory's (published L2 : DRAM latencies)
REGISTER_ROWS = 16  # queries that one load of keys serves (PTX ISA: mma.m16n8k16 and the like)
SCORE_OPS = ("max", "mac", "exp", "add", "copy")  # of a score: largest, scale and subtract, exp, sum, convert


@dataclass(frozen=True, slots=True)
class Tile:
    """Queries of a tile, keys of a step, tiles that share a core."""

    rows: int
    keys: int
    resident: int = 1


def step_s(a: Heads, tile: Tile, m: Machine) -> tuple[float, float]:
    """Return the seconds of one core's matrix unit, and of its threads that the matrix unit does not hide, a step."""
    matrix = _products_s(a, tile, m)
    ops = (*SCORE_OPS, "add") if a.has_bias else SCORE_OPS
    lanes = sum(m.lane_s(op, tile.rows * tile.keys, 1) for op in ops)
    lanes += m.lane_s("mul", tile.rows * a.value_width, 1)  # the sums so far, scaled to a new largest score
    if m.on_lanes:
        return matrix, lanes
    overlap = m.chip.overlap.matrix_vector
    return matrix, lanes - overlap * min(matrix, lanes) + (1 - overlap) * _loads_s(a, tile, m)


def is_dynamic(m: Machine) -> bool:
    """Return whether tiles are handed out as they come: none is fetched ahead, and loads are those of threads."""
    return m.chip.cores.schedule == "dynamic"


def start_s(m: Machine) -> float:
    """Return the seconds from the start of a tile to its end without its work."""
    return START_LATENCIES * m.dram_latency_s


def far_bytes_per_s(m: Machine) -> float:
    """Return what one core reads from far memory: plain loads, as many as let all cores reach the bandwidth."""
    if not is_dynamic(m) or not m.dram_latency_s:
        return m.core_bytes_per_s
    return max(BYTES_IN_FLIGHT / m.dram_latency_s, m.dram_bytes_per_s / m.cores)


def near_bytes_per_s(m: Machine) -> float:
    """Return what one core reads from the shared level."""
    return far_bytes_per_s(m) / NEAR_LATENCY


def _products_s(a: Heads, tile: Tile, m: Machine) -> float:
    if on_arrays(m):
        units = m.chip.matrix.units  # as many heads side by side
        products = (
            Product(1, tile.rows, tile.keys * units, a.width),
            Product(1, tile.rows, a.value_width * units, tile.keys),
        )
        return sum(array_cycles(p, m) for p in products) / units / (m.clock_hz * m.achieved)
    macs = tile.rows * tile.keys * (_padded(a.width, m) + _padded(a.value_width, m))
    return macs / (m.core_macs_per_s * m.achieved)


def _loads_s(a: Heads, tile: Tile, m: Machine) -> float:
    """Return the seconds that a step waits for operands: threads load them where tiles are handed to threads."""
    if not is_dynamic(m):
        return 0.0
    n_bytes = ceil(tile.rows / REGISTER_ROWS) * tile.keys * (a.width + a.value_width) * m.bytes
    return LOADS_SHOWN * n_bytes / (float(m.chip.local.read_bytes_per_cycle) * m.clock_hz)


def _padded(width: int, m: Machine) -> int:
    """Return a head's width as the matrix unit multiplies it."""
    unit = max(m.array.align, m.array.native[2] if m.array.native else 1)
    return ceil(width / unit) * unit
