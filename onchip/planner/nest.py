"""The loops of a planned kernel as text: what is loaded where, how often, and what each level of memory holds.

In:       a Kernel of a Plan and its chip. Out: lines.
Promises: loops stand in the order in which they run, outermost first; a load stands inside of the loops that it depends
          on and is done once an iteration, as the lowering does it (tests count them in the program).
Does not: follow kernels with loops of their own (attention, recurrent, averages): their mapping is told in one line.
"""

from __future__ import annotations

from math import prod

from onchip.chip import Chip
from onchip.ir.plan import Kernel, Shape, ceil_div
from onchip.isa.machine import columns, depth, machine_of
from onchip.planner.buffers import sizes
from onchip.units import format_exact, format_value

NAMES = {"g": "blocks", "b": "images", "p": "rows", "q": "columns", "n": "channels", "k": "input channels"}
GRID_KINDS = ("matmul", "vector")
LAST_DEPTH = ", with the last of k"


def loop_nest(kernel: Kernel, chip: Chip) -> tuple[str, ...]:
    """Return the lines of a kernel's loop nest."""
    shape, m = kernel.shape, kernel.mapping
    grid = " x ".join(map(str, shape.grid))
    head = [f"{', '.join(kernel.nodes)}: {shape.kind} of {grid} (images, rows, columns, channels)", *_memory(kernel)]
    if shape.kind not in GRID_KINDS:
        return (*head, f"  {m}")
    counts = m.counts(shape) | ({} if shape.kind == "matmul" else {"k": 1})
    loops = [axis for axis in m.order if counts[axis] > 1]
    tiles = {"g": 1, "b": m.tb, "p": m.tp, "q": m.tq, "n": m.tn, "k": m.tc}
    extents = dict(zip("bpqn", shape.grid, strict=True)) | {"g": shape.blocks, "k": shape.source[3]}
    loads = _loads(kernel, chip)
    lines = list(head)
    for level in range(len(loops) + 1):
        indent = "  " * (level + 1)
        lines += [indent + _load(kernel, load, loops[:level], counts) for load in loads if _level(load, loops) == level]
        if level < len(loops):
            axis = loops[level]
            many = f"for {axis} in {counts[axis]}"
            lines.append(f"{indent}{many:<14}{tiles[axis]} of {extents[axis]} {NAMES[axis]}{_cores(kernel, axis)}")
    within = [axis for axis in loops if axis != "k"]  # with the depth outside, tiles get done in its last iteration
    lines += ["  " * (len(loops) + 1) + text for text in _array(shape, kernel, chip)]
    level = len(loops) if m.depth_outer else len(within)
    lines += ["  " * (level + 1) + text for text in _behind(kernel, chip, prod(counts[a] for a in within))]
    return tuple(lines)


def _memory(kernel: Kernel) -> list[str]:
    """Return what the local memory and the accumulator hold, with slots."""
    lines: list[str] = []
    for memory, unit in (("local", 1), ("accumulator", 4)):
        own = [b for b in kernel.buffers if b.memory == memory]
        held = [f"{b.name} {b.slots} x {format_exact(b.size * unit, 'B')}" for b in own]
        lines += [f"  {memory} holds {', '.join(held)}"] if held else []
    return lines


def _loads(kernel: Kernel, chip: Chip) -> list[tuple[str, int, tuple[str, ...], int]]:
    """Return (what, bytes of a whole tile, the axes it depends on, level of memory) of each load."""
    shape, m = kernel.shape, kernel.mapping
    size = sizes(shape, m.tb, m.tp, m.tq, m.tn, m.tc, line=1)
    matmul, second = shape.kind == "matmul", shape.second
    batch = second.batch_axes if second is not None else ()
    found = [
        ("source", int(size.source), ("b", "p", "q", "g", "k" if matmul else "n"), shape.levels[0]),
        ("weights", int(size.weights), ("n", "k", "g", *batch), 0),
        ("parameters", int(size.parameters), ("n", "g"), 0),
        ("tables", shape.table_bytes, (), 0),
        ("sides", int(size.sides), ("b", "p", "q", "n", "g"), 0),
    ]  # fmt: skip
    return [load for load in found if load[1]]


def _level(load: tuple[str, int, tuple[str, ...], int], loops: list[str]) -> int:
    return max((i + 1 for i, axis in enumerate(loops) if axis in load[2]), default=0)


def _load(
    kernel: Kernel, load: tuple[str, int, tuple[str, ...], int], around: list[str], counts: dict[str, int]
) -> str:  # fmt: skip
    name, n_bytes, axes, level = load
    is_behind = "k" in around and "k" not in axes
    times = prod(counts[axis] for axis in around if axis != "k" or not is_behind)
    place = "shared memory" if level else "far memory"
    each = " on each core" if kernel.mapping.cores > 1 else ""
    whole = f", {format_value(n_bytes * times, 'B')} in all" if times > 1 else ""
    last = LAST_DEPTH if is_behind else ""
    return f"load {name}: {format_value(n_bytes, 'B')} from {place}, {_times(times)}{each}{whole}{last}"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _cores(kernel: Kernel, axis: str) -> str:
    m = kernel.mapping
    cores = {"p": m.rows_cores, "n": m.channel_cores, "b": m.batch_cores}.get(axis, 1)
    return f", shared by {cores} cores" if cores > 1 else ""


def _array(shape: Shape, kernel: Kernel, chip: Chip) -> list[str]:
    if shape.kind != "matmul":
        return []
    m, machine = kernel.mapping, machine_of(chip, shape.dtype)
    rows, taps = m.tb * m.tp * m.tq, shape.window[0] * shape.window[1]
    high, wide = depth(machine), columns(machine)
    if not high:
        return [f"matrix: {rows} rows by {taps} x {m.tc} inputs by {m.tn} channels"]
    packed = chip.matrix.row_packing == "CRS"
    folds = ceil_div(taps * m.tc, high) if packed else taps * ceil_div(m.tc, high)
    passes = folds * ceil_div(m.tn, wide)
    how = "taps and channels share the rows" if packed and taps > 1 else f"{taps} taps apart" if taps > 1 else ""
    told = f" ({how})" if how else ""
    return [f"matrix: {passes} pass{'es' if passes > 1 else ''} of {rows} rows over {high} x {wide} cells{told}"]


def _behind(kernel: Kernel, chip: Chip, times: int) -> list[str]:
    shape, m = kernel.shape, kernel.mapping
    size = sizes(shape, m.tb, m.tp, m.tq, m.tn, m.tc, line=1)
    place = "shared memory" if shape.levels[1] else "far memory"
    rows = m.tb * m.tp * m.tq
    vector = f"vector: {shape.passes} pass{'es' if shape.passes != 1 else ''} over {rows} x {m.tn} elements"
    whole = f", {format_value(int(size.output) * times, 'B')} in all" if times > 1 else ""
    last = LAST_DEPTH if m.depth_outer else ""
    stored = f"store output: {format_value(int(size.output), 'B')} to {place}, {_times(times)}{whole}"
    return [vector + last, stored + last]
