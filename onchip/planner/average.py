"""The mapping of a mean over a whole image (global average pooling): rows of the window and channels of a tile.

In: the node, the graph, the chip. Out: Shape, Mapping and buffers. A tile is some channels of one image; its window is
loaded `Mapping.tc` rows at a time, and the sums stay in the accumulator. Cores share images, then channels. The formula
is the longer of vector and memory time of a piece; it only ranks.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Buffer, Mapping, Shape, ceil_div
from onchip.isa import timing
from onchip.isa.machine import machine_of
from onchip.isa.vector import VOPS
from onchip.planner.buffers import Piece, fits, place_pieces, slots_of
from onchip.planner.shapes import shape_of

OPS = ("global_avg_pool", "mean")
TILE_CYCLES = 24  # waits, signals and the instructions on one row of sums: they only rank


def plan_average(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    """Return what a Kernel needs for a mean. Raises DoesNotFit and NotSupported."""
    shape = replace(shape_of([node], (), graph, dtype), kind="mean")
    found = best(shape, chip)
    if found is None:
        least = min(place_pieces(pieces(shape, m), chip)[1:] for m in candidates(shape, chip))
        fact = f"one row of the image needs {least[0]} bytes of local memory and {least[1]} bytes of accumulator"
        limit = f"chip '{chip.name}' has {chip.local.size_bytes} and {chip.local.accumulator_bytes}"
        raise DoesNotFit("OC2104", node.name, fact, limit=limit, next="Try a smaller image, or a chip with more memory")
    return shape, *found


@functools.lru_cache(maxsize=1024)
def best(shape: Shape, chip: Chip) -> tuple[Mapping, tuple[Buffer, ...]] | None:
    """Return the mapping that the formula ranks first and its buffers, None where nothing fits."""
    found: list[tuple[Mapping, tuple[Buffer, ...]]] = []
    for mapping in candidates(shape, chip):
        buffers, local, accumulator = place_pieces(pieces(shape, mapping), chip)
        if fits(chip, local, accumulator):
            found.append((replace(mapping, predicted_cycles=price(shape, chip, mapping)), buffers))
    return min(found, key=lambda f: f[0].predicted_cycles, default=None)


def candidates(shape: Shape, chip: Chip) -> list[Mapping]:
    """Return every legal mapping, large tiles and two slots first."""
    (b, _, _, n), lanes, height = shape.grid, chip.vector.lanes, shape.window[0]
    rows = {height, *(ceil_div(height, i) for i in range(2, 9)), *(1 << i for i in range(14) if 1 << i < height)}
    widths = {n, *(lanes << i for i in range(14) if lanes << i < n), *((1,) if lanes >= n else ())}
    found: list[Mapping] = []
    for slots in slots_of(chip):
        for tn in sorted(widths, reverse=True):
            images = min(b, chip.cores.count)
            shares = {
                (images, min(chip.cores.count // images, ceil_div(n, tn))),
                (1, min(chip.cores.count, ceil_div(n, tn))),
            }
            found += [
                Mapping(1, 1, 1, tn, th, channel_cores=c, batch_cores=r, slots=slots)
                for th in sorted(rows, reverse=True)
                for r, c in sorted(shares)
            ]
    return found


def pieces(shape: Shape, mapping: Mapping) -> list[Piece]:
    """Return the buffers of a mapping."""
    size, n = shape.element_bytes, mapping.slots
    return [
        Piece("source", "local", mapping.tc * shape.window[1] * mapping.tn * size, n, 0),
        Piece("output", "local", mapping.tn * size, n, 1),
        Piece("scratch", "accumulator", mapping.tn, 1, 0),
    ]


def price(shape: Shape, chip: Chip, mapping: Mapping) -> int:
    """Return the predicted cycles of a mapping."""
    m: Any = machine_of(chip, shape.dtype)
    (b, _, _, n), (height, width) = shape.grid, shape.window
    th, tn, size = mapping.tc, mapping.tn, shape.element_bytes
    tiles = ceil_div(b, mapping.batch_cores) * ceil_div(ceil_div(n, tn), mapping.channel_cores)
    n_rows = ceil_div(height, th)
    rate = min(m[timing.DRAM_NUM] / m[timing.DRAM_DEN] / mapping.cores, m[timing.CORE_NUM] / m[timing.CORE_DEN])
    load = int(height / n_rows * width * tn * size / rate)
    moved = height * width * tn * size // n_rows
    vector = timing.vector_occupancy(m, VOPS["add"], height * width // n_rows, tn, moved, 0) + TILE_CYCLES
    latency = int(m[timing.DRAM_LATENCY])
    piece = max(load, vector, (load + latency + vector) // mapping.slots)
    return tiles * (n_rows * piece + TILE_CYCLES) + load + latency
