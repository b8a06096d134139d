"""Matrix products on many cores: tiles, split-K and waves, as a library chooses them.

In:       a kernel whose anchor is a product, its traffic, a Machine.
Out:      `Cost` of the best mapping in closed form.
Promises: candidates are the same for every chip; the best is the fastest, ties go to the first.
Does not: write a program.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np

from onchip.forecast.arrays import on_arrays, price_array_product
from onchip.forecast.cost import Cost, longest
from onchip.forecast.epilogue import with_epilogue
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.product import Product, product_of
from onchip.forecast.traffic import Traffic

TILE_M, TILE_N = (16, 32, 64, 128, 256), (8, 16, 32, 64, 128, 256)
SPLITS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64, 80, 128, 256)
LARGEST_TILE, SHORTEST_K = 128 * 256, 128
MATRIX_ROWS = 64  # of a tile that keeps all matrix units of a core busy: 16 rows for each of four
SUMS_SHARE, MOST_RESIDENT = 0.5, 8  # tiles on a core at once: their sums fill at most half of its registers (assumed)
# a second pass adds the partial sums of split-K: fitted on the bf16 products of A100 and H100, shared by all chips
REDUCE_S = 1.8e-6


@dataclass(frozen=True, slots=True)
class Kind:
    """What programs of a kind have: splits of K, the least tile side, and shares of the rate that products reach."""

    most_splits: int = max(SPLITS)
    least_tile: int = 1
    least_rows: int = 1
    share: float = 1.0
    alone: float = 1.0  # of a core with one tile: there is no other to work on while it waits


GEMM = Kind()
# On lanes a library's smallest tile is 32 x 32 (cuBLAS names it: sgemm_32x32_sliced), but for a matrix times a few
# vectors; batched products of 64 or 96 rows take as long as of 128, read off A100's rows in fp32. Shared by all chips
LANES, BATCHED = Kind(least_tile=32), Kind(least_rows=128)
FEW_COLUMNS, FEW_ROWS = 4, 32


def price_products(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of a kernel whose anchor is a product."""
    cost = price_product(product_of(kernel), traffic, m)
    return cost if on_arrays(m) else with_epilogue(cost, kernel, m)


def price_product(product: Product, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of one product: on an array, for few columns on lanes, or in tiles on many cores."""
    if on_arrays(m):
        return price_array_product(product, traffic, m)
    limit, at_once = m.chip.algorithms.narrow or (0, 1)
    if m.on_lanes and min(product.m, product.n) <= limit:
        return _narrow(product, traffic, m, at_once)
    return fastest(product, traffic.far, m, _kind(product, m), traffic.near)


def _kind(p: Product, m: Machine) -> Kind:
    """Return what a library of the lanes has for a product; few columns have programs of their own."""
    if not m.on_lanes or m.chip.cores.schedule != "dynamic" or min(p.m, p.n) <= FEW_COLUMNS:
        return GEMM
    return BATCHED if p.batch > 1 and p.m > FEW_ROWS else LANES


def _narrow(p: Product, traffic: Traffic, m: Machine, at_once: int) -> Cost:
    """Return the cost of a library's kernel for few columns: it reads the matrix again for each `at_once` of them."""
    few, many = sorted((p.m, p.n))
    again = (ceil(few / at_once) - 1) * p.batch * many * p.k * m.bytes
    name, rate = ("memory", m.dram_bytes_per_s) if traffic.far else ("shared", m.shared_bytes_per_s)
    moved = again + (traffic.far or traffic.near)
    lanes = p.macs / (m.peak_macs_per_s * m.achieved)
    far = moved if traffic.far else None
    return Cost((*longest((name, moved / rate), ("vector", lanes)), ("sync", m.tile_s)), "few columns", far)


def fastest(p: Product, far_bytes: float, m: Machine, kind: Kind = GEMM, near_bytes: float = 0.0) -> Cost:
    """Return the cost of the fastest candidate: cores and far memory side by side, then the sum over splits.

    What hides of the shorter of the two is `overlap.memory_compute`; lanes load and store what is near themselves, so
    for them it is no less a part of the memory's time.
    """
    tm, tn, splits = candidates()
    k = np.ceil(p.k / splits)
    tiles = p.batch * np.ceil(p.m / tm) * np.ceil(p.n / tn) * splits
    inner = _core_seconds(tiles, k, m, kind)
    far = far_bytes / np.minimum(m.dram_bytes_per_s, m.core_bytes_per_s * np.minimum(tiles, m.cores))
    partial = 2 * p.batch * p.m * p.n * WIDE_BYTES * splits / m.shared_bytes_per_s if m.shared_bytes else 0.0
    reduce = np.where(splits > 1, partial + REDUCE_S, 0.0)
    beside = far + near_bytes / m.shared_bytes_per_s if m.on_lanes else far
    shown = (1 - m.chip.overlap.memory_compute) * np.minimum(inner, beside)
    total = np.maximum(inner, far) + shown + reduce
    rows, side = least_sides(kind, m)
    refused = (splits > kind.most_splits) | (tm < rows) | (tn < side)
    total = np.where(refused | ((splits > 1) & (k < SHORTEST_K)), np.inf, total)
    best = int(np.argmin(total))
    longer, shorter = ("memory", "matrix") if far[best] >= inner[best] else ("matrix", "memory")
    seconds = float(np.maximum(inner, far)[best])
    waves, active = int(np.ceil(tiles[best] / m.cores)), int(min(tiles[best], m.cores))
    how = f"tile {tm[best]} x {tn[best]}, split-K {splits[best]}, {waves} waves on {active} cores"
    after = float(np.broadcast_to(reduce, total.shape)[best]) + m.tile_s
    return Cost(((longer, seconds), (shorter, float(shown[best])), ("sync", after)), how)


def least_sides(kind: Kind, m: Machine) -> tuple[int, int]:
    """Return the fewest rows and columns of a tile: those of the kind, as far as accumulators hold the sums."""
    sums = m.chip.local.accumulator_bytes // WIDE_BYTES
    side = min(kind.least_tile, isqrt(sums))
    return max(side, min(kind.least_rows, sums // max(side, 1))), side


def _core_seconds(tiles: np.ndarray, k: np.ndarray, m: Machine, kind: Kind) -> np.ndarray:
    """Return the seconds that cores take for all waves of tiles, operands of far memory aside.

    The longest of: multiply-accumulates, at the clock that power sustains with so many cores; operands through the
    local port; operands from the shared level, a core's share of it or what it has in flight; and, for tiles that a
    core works on at once, the latency of each load along k, `achieved.prefetch` bytes of each row at a time (Little's
    law).
    """
    tm, tn, _ = candidates()
    waves, active = np.ceil(tiles / m.cores), np.minimum(tiles, m.cores)
    is_row = m.on_lanes or (m.array.native is not None and m.array.native[0] == 1)  # lanes, or pairs of them
    rows = tm if is_row else np.maximum(tm, MATRIX_ROWS)
    compute = rows * tn * k / (m.core_macs_per_s * m.achieved * kind.share)
    compute *= np.maximum(m.sustained, tiles / (waves * m.cores))  # idle cores leave their power to the others
    compute = np.where(waves > 1, compute, compute / kind.alone)
    operands = (tm + tn) * k * m.bytes
    port = operands / (float(m.chip.local.read_bytes_per_cycle) * m.clock_hz)
    feed = operands / np.minimum(m.shared_bytes_per_s / active, m.core_bytes_per_s)
    sums = SUMS_SHARE * m.chip.local.accumulator_bytes / WIDE_BYTES
    resident = np.clip(np.floor(sums / (tm * tn)), 1, MOST_RESIDENT)
    late = np.ceil(tiles / (m.cores * resident)) * k * m.bytes * m.dram_latency_s / m.prefetch_bytes
    return np.maximum(waves * np.maximum(np.maximum(compute, port), feed), late)


@functools.cache
def candidates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tile rows, tile columns and K splits of all candidates."""
    grid = [(tm, tn, s) for tm in TILE_M for tn in TILE_N if tm * tn <= LARGEST_TILE for s in SPLITS]
    return tuple(np.array(axis) for axis in zip(*grid, strict=True))  # pyright: ignore[reportReturnType]
