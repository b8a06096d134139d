"""Matrix products on many cores: tiles, split-K and waves, as a library chooses them.

In:       a kernel whose anchor is a product, its traffic, a Machine.
Out:      `Cost` of the best mapping in closed form.
Promises: candidates are the same for every chip; the best is the fastest, ties go to the first.
Does not: write a program.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from onchip.forecast.arrays import DATAFLOWS, price_array_product
from onchip.forecast.cost import Cost
from onchip.forecast.epilogue import with_epilogue
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.product import Product, product_of
from onchip.forecast.traffic import Traffic

TILE_M, TILE_N, SPLITS = (16, 32, 64, 128, 256), (32, 64, 128, 256), (1, 2, 3, 4, 6, 8, 12, 16)
LARGEST_TILE, SHORTEST_K = 128 * 256, 256


@dataclass(frozen=True, slots=True)
class Kind:
    """What programs of a kind have: splits of K, the least tile side, and shares of the rate that products reach."""

    most_splits: int = max(SPLITS)
    least_tile: int = 1
    share: float = 1.0
    alone: float = 1.0  # of a core with one tile: there is no other to work on while it waits


GEMM = Kind()


def price_products(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of a kernel whose anchor is a product."""
    cost = price_product(product_of(kernel), traffic, m)
    return cost if on_arrays(m) else with_epilogue(cost, kernel, m)


def price_product(product: Product, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of one product: on a systolic array, or in tiles on many cores."""
    return price_array_product(product, traffic, m) if on_arrays(m) else fastest(product, traffic.far, m)


def on_arrays(m: Machine) -> bool:
    """Return whether products of the dtype run on systolic arrays."""
    return m.chip.matrix.dataflow in DATAFLOWS and not m.on_lanes


def fastest(p: Product, far_bytes: float, m: Machine, kind: Kind = GEMM) -> Cost:
    """Return the cost of the fastest candidate: max of compute, port, shared level per wave; far memory; reduction."""
    tm, tn, splits = candidates()
    k = np.ceil(p.k / splits)
    tiles = p.batch * np.ceil(p.m / tm) * np.ceil(p.n / tn) * splits
    active, waves = np.minimum(tiles, m.cores), np.ceil(tiles / m.cores)
    compute = np.maximum(tm, 64) * tn * k / (m.core_macs_per_s * m.achieved * kind.share)
    compute = np.where(waves > 1, compute, compute / kind.alone)
    read = float(m.chip.local.read_bytes_per_cycle) * m.clock_hz
    port = (tm + tn) * k * m.bytes / read
    feed = (tm + tn) * k * m.bytes / np.minimum(m.shared_bytes_per_s / active, m.core_bytes_per_s)
    tile = np.maximum(np.maximum(compute, port), feed) + m.tile_s
    far = far_bytes / np.minimum(m.dram_bytes_per_s, m.core_bytes_per_s * active)
    partial = 2 * p.batch * p.m * p.n * WIDE_BYTES * splits / m.shared_bytes_per_s if m.shared_bytes else 0.0
    reduce = np.where(splits > 1, partial + m.sync_s, 0.0)
    total = np.maximum(waves * tile, far) + reduce
    total = np.where((splits > 1) & (k < SHORTEST_K), np.inf, total)
    total = np.where((splits > kind.most_splits) | (tm < kind.least_tile) | (tn < kind.least_tile), np.inf, total)
    best = int(np.argmin(total))
    inner = waves[best] * tile[best]
    cause = ("memory", float(far[best])) if far[best] >= inner else ("matrix", float(inner))
    how = f"tile {tm[best]} x {tn[best]}, split-K {splits[best]}, {int(waves[best])} waves on {int(active[best])} cores"
    return Cost((cause, ("sync", float(np.broadcast_to(reduce, total.shape)[best]))), how)


@functools.cache
def candidates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tile rows, tile columns and K splits of all candidates."""
    grid = [(tm, tn, s) for tm in TILE_M for tn in TILE_N if tm * tn <= LARGEST_TILE for s in SPLITS]
    return tuple(np.array(axis) for axis in zip(*grid, strict=True))  # pyright: ignore[reportReturnType]
