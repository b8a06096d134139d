"""How each layer lies on the machine: its loops, the tiles of its tensors, its buffers, the cells that it fills.

In:       a Plan, and for each kernel the lines of its loop nest (`planner/nest.py`).
Out:      the JSON object of the page's panel `mapping`: `array` {kind, rows, columns, units | m, n, k, units},
          `memory` {local, accumulator} in bytes, `kernels` [name, number of its map] in order, and `maps`, each once:
            kind, nest        matmul, vector, attention, ..; the lines of the loop nest behind the first
            loops             [axis, iterations on one core, tile, extent], outermost first; axes g b p q n k
            cores             [rows, channels, images]: how many cores share out p, n and b
            source, window, stride, dilation, padding, pool    of the source's [images, rows, columns, channels]
            weights           whether the kernel has weights of its own or of a second operand
            buffers           [name, memory, address, size, slots] in bytes of its memory
            passes            [inputs k, channels n, times, rows in all] of the products of all cores, most rows first
            filled            multiply-accumulates / (cells x rows of passes); null without such an array
Promises: the products of `passes` are the kernel's multiply-accumulates (the tests count them in programs).
Does not: follow kernels with loops of their own (attention, recurrent): their maps have no `loops` and no `passes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from math import prod

from onchip.chip import Chip
from onchip.ir.plan import Kernel, Mapping, Plan, Shape
from onchip.ir.report import Json
from onchip.isa import timing
from onchip.isa.machine import columns, depth, machine_of

GRID_KINDS = ("matmul", "vector")
NAMES = {timing.WEIGHT_STATIONARY: "weight_stationary", timing.OUTPUT_STATIONARY: "output_stationary"}


def mapping_part(plan: Plan, nests: Sequence[Sequence[str]]) -> Json:
    """Return the panel's object."""
    maps: list[Json] = []
    numbers: dict[tuple[object, ...], int] = {}
    kernels: list[list[object]] = []
    for kernel, nest in zip(plan.kernels, nests, strict=True):
        key = (kernel.shape, kernel.mapping, kernel.buffers)
        if key not in numbers:
            numbers[key] = len(maps)
            maps.append(_map(kernel, plan, list(nest[1:])))
        kernels.append([kernel.name, numbers[key]])
    local = plan.chip.local
    memory = {"local": local.size_bytes, "accumulator": local.accumulator_bytes}
    return {"array": _array(plan), "memory": memory, "kernels": kernels, "maps": maps}


def _array(plan: Plan) -> Json:
    m = [int(v) for v in machine_of(plan.chip, plan.dtype)[: timing.SERIAL]]
    if m[timing.DATAFLOW] in NAMES:
        sizes = {"rows": m[timing.ROWS], "columns": m[timing.COLUMNS], "units": m[timing.UNITS]}
        return {"kind": NAMES[m[timing.DATAFLOW]], **sizes}
    native = {"m": m[timing.NATIVE_M], "n": m[timing.NATIVE_N], "k": m[timing.NATIVE_K], "units": m[timing.UNITS]}
    return {"kind": "dot_product", **native}


def _map(kernel: Kernel, plan: Plan, nest: list[str]) -> Json:
    shape, mapping = kernel.shape, kernel.mapping
    is_grid = shape.kind in GRID_KINDS
    passes = passes_of(kernel, plan.chip) if shape.kind == "matmul" else ()
    return {
        "kind": shape.kind,
        "nest": nest,
        "loops": _loops(shape, mapping) if is_grid else [],
        "cores": [mapping.rows_cores, mapping.channel_cores, mapping.batch_cores],
        "source": list(shape.source),
        "window": list(shape.window),
        "stride": list(shape.stride),
        "dilation": list(shape.dilation),
        "padding": list(shape.padding),
        "pool": list(shape.pool),
        "weights": shape.kind == "matmul",
        "buffers": [[b.name, b.memory, b.address * _unit(b.memory), b.size * _unit(b.memory), b.slots]
                    for b in kernel.buffers],
        "passes": [list(p) for p in passes],
        "filled": filled(passes, plan),
    }  # fmt: skip


def _unit(memory: str) -> int:
    """Bytes of what an address counts."""
    return 4 if memory == "accumulator" else 1


def _loops(shape: Shape, m: Mapping) -> list[list[object]]:
    counts = m.counts(shape) | ({} if shape.kind == "matmul" else {"k": 1})
    tiles = {"g": 1, "b": m.tb, "p": m.tp, "q": m.tq, "n": m.tn, "k": m.tc}
    extents = dict(zip("bpqn", shape.grid, strict=True)) | {"g": shape.blocks, "k": shape.source[3]}
    order = "gnbpqk" if m.channels_outer else "bpqgnk"
    return [[axis, counts[axis], tiles[axis], extents[axis]] for axis in order]


def passes_of(kernel: Kernel, chip: Chip) -> tuple[tuple[int, int, int, int], ...]:
    """Return (inputs, channels, times, rows in all) of a product's passes through the array, most rows first.

    A pass multiplies the rows of a tile by as many weights as the array has cells: kernel taps and channels share its
    rows (`row_packing` CRS, neighbours in a row of the source), or a tap is a pass of its own.
    """
    shape, m = kernel.shape, kernel.mapping
    second, wide = shape.second, columns(machine_of(chip, shape.dtype))
    b, p, q, n = (_pieces(*pair) for pair in zip(shape.grid, (m.tb, m.tp, m.tq, m.tn), strict=True))
    if second is not None:  # cores clip the rows of these products, and run batches beyond the last on zeros
        counts = m.counts(shape)
        b = Counter({m.tb: counts["b"] * m.batch_cores})
        p = Counter({m.tp: counts["p"] * m.rows_cores}) if second.is_nested else p
    tiles = b.total() * p.total() * q.total() * shape.blocks
    rows = shape.blocks * prod(sum(size * times for size, times in axis.items()) for axis in (b, p, q))
    ones = _ones(shape, m, tiles, p.total())
    found = Counter[tuple[int, int]](), Counter[tuple[int, int]]()  # times, rows
    for (k, k_times), (c, c_times) in product(_folds(shape, m, chip).items(), _cut(n, wide).items()):
        found[0][k, c] += k_times * c_times * tiles
        found[1][k, c] += k_times * c_times * (rows + ones)
    if second is not None and second.sums_rows:  # a column of ones beside each tile, where a core has none as well
        beside = m.counts(shape)["n"] * m.channel_cores
        for k, k_times in _folds(shape, m, chip).items():
            found[0][k, 1] += k_times * beside * tiles
            found[1][k, 1] += k_times * beside * rows
    made = [(*size, found[0][size], found[1][size]) for size in found[0]]
    return tuple(sorted(made, key=lambda each: (-each[3], each)))


def _ones(shape: Shape, m: Mapping, tiles: int, p_tiles: int) -> int:
    """Return the rows of ones: one in front of each tile, and of the tile right behind the last where a core has it."""
    if shape.second is None or not shape.second.has_ones:
        return 0
    turns = m.counts(shape)["p"] * m.rows_cores
    is_behind = not shape.second.is_nested and turns > p_tiles and shape.grid[1] % m.tp == 0
    return tiles + (tiles // p_tiles if is_behind else 0)


def _pieces(extent: int, tile: int) -> Counter[int]:
    """Return the sizes of the tiles that an extent is cut into, with how many there are."""
    found = Counter[int]({tile: extent // tile})
    found[extent % tile] += 1
    return Counter({size: times for size, times in found.items() if size and times})


def _cut(tiles: Counter[int], most: int) -> Counter[int]:
    """Cut tiles further, into what the array takes at once (0: no limit)."""
    found = Counter[int]()
    for tile, times in tiles.items():
        for size, inner in _pieces(tile, most or tile).items():
            found[size] += inner * times
    return found


def _folds(shape: Shape, m: Mapping, chip: Chip) -> Counter[int]:
    """Return how many inputs each pass sums, over all depth tiles of one tile of the grid."""
    high = depth(machine_of(chip, shape.dtype))
    taps = shape.window[0] * shape.window[1]
    tiles = _pieces(shape.source[3], m.tc)
    if shape.dilation[1] == 1 and (chip.matrix.row_packing == "CRS" or not high):
        return _cut(Counter({taps * tile: times for tile, times in tiles.items()}), high)
    return Counter({k: taps * times for k, times in _cut(tiles, high).items()})


def filled(passes: Sequence[tuple[int, int, int, int]], plan: Plan) -> float | None:
    """Return the share of cells with weights in them, over the rows of all passes."""
    machine = machine_of(plan.chip, plan.dtype)
    cells, total = depth(machine) * columns(machine), sum(rows for *_, rows in passes)
    return sum(k * n * rows for k, n, _, rows in passes) / (cells * total) if cells and total else None
