"""Why an estimate says what it says: the same estimate with one assumption changed at a time, and a layer's search.

In:       a graph, a chip, a dtype, the effort of the search, and the name of a layer to look into.
Out:      the Report and an Explanation.
Promises: no number is guessed: each alternative is estimated on the chip with that key changed, each mapping that did
          not win is run. A part of the pipeline beside `probe.py`: it calls it as users do.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod
from typing import Any

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import OnchipError, UnknownName, did_you_mean
from onchip.ir.explanation import Choice, Explanation, LayerReason, MappingReason, Played
from onchip.ir.graph import Graph
from onchip.ir.plan import Kernel, Plan, Shape
from onchip.ir.program import Program
from onchip.ir.report import Report
from onchip.ir.trace import KernelTrace, Trace
from onchip.isa import timing
from onchip.isa.machine import columns, depth, machine_of
from onchip.isa.streams import n_passes, stream_cycles
from onchip.lowering.lower import lower
from onchip.planner.buffers import place_buffers
from onchip.planner.nest import loop_nest
from onchip.planner.reason import search
from onchip.planner.tile import EFFORT
from onchip.simulator.clock import estimate_cycles
from onchip.units import format_exact, format_value

FREE = 2**20  # bytes a cycle of far memory that costs nothing
TIMES = ("launch.in_graph", "launch.per_run", "sync.all_cores")


def explain(
    graph: Graph,
    chip: Chip,
    *,
    dtype: str | None = None,
    effort: int = EFFORT,
    layer: str | None = None,
    seen: dict[str, Any] | None = None,
) -> tuple[Report, Explanation]:
    """Return an estimate's report and its reasons; `layer` (default: the longest) is looked into.

    `seen` gets the nouns on the way. Raises UnknownName for a layer that is none, and what `estimate` raises.
    """
    seen = {} if seen is None else seen
    report = pipeline.estimate(graph, chip, dtype=dtype, effort=effort, watch=seen.__setitem__)
    plan, program, trace = seen["plan"], seen["program"], seen["trace"]
    at = _layer_number(plan, trace, layer)
    asked = [_again(choice, keys, graph, chip, dtype, effort) for choice, keys in _choices(chip, plan)]
    layers = tuple(_reason(kernel, t, chip) for kernel, t in zip(plan.kernels, trace.kernels, strict=True))
    mapping = None if at is None else _mapping(plan, program, trace.kernels[at], plan.kernels[at], effort)
    return report, Explanation(trace.cycles, chip.clock_hz, tuple(asked), layers, mapping)


def _layer_number(plan: Plan, trace: Trace, layer: str | None) -> int | None:
    """Return the place of the kernel that has a node of that name; without a name, of the longest."""
    if layer is None:
        numbers = range(len(trace.kernels))
        return max(numbers, key=lambda i: trace.kernels[i].cycles, default=None)
    for i, kernel in enumerate(plan.kernels):
        if layer == kernel.name or layer in kernel.nodes:
            return i
    names = [name for kernel in plan.kernels for name in kernel.nodes]
    hint = did_you_mean(layer, names) or "onchip estimate -v lists them"
    raise UnknownName("OC1019", "--layer", f"no layer is named '{layer[:80]}'", next=hint)


def count(n: int) -> str:
    """Return a whole number with its thousands apart."""
    return format_value(n, "cycles").removesuffix(" cycles")


# --- assumptions ------------------------------------------------------------------------------------------------------
def _choices(chip: Chip, plan: Plan) -> list[tuple[Choice, dict[str, str]]]:
    """Return the assumptions that could be otherwise, with the keys that make them so."""
    found: list[tuple[Choice, dict[str, str]]] = []

    def add(name: str, here: str, other: str, keys: dict[str, str]) -> None:
        options = " ".join(f"--set {key}={value.replace(' ', '')}" for key, value in keys.items())
        found.append((Choice(name, here, other, options, None), keys))

    if chip.matrix.dataflow == "weight_stationary":
        other = "hidden" if chip.matrix.weight_load == "serial" else "serial"
        add("weight load", chip.matrix.weight_load, other, {"matrix.weight_load": other})
        if any(kernel.shape.window != (1, 1) for kernel in plan.kernels):
            other = "C" if chip.matrix.row_packing == "CRS" else "CRS"
            add("row packing", chip.matrix.row_packing, other, {"matrix.row_packing": other})
    if chip.dram_bytes_per_cycle < FREE:
        keys = {"dram.bandwidth": format_exact(FREE * chip.clock_hz, "B/s"), "dram.latency": "0 s"}
        add("far memory", format_value(chip.dram_bytes_per_cycle, "B/cycle"), "free", keys)
    hides = chip.overlap.memory_compute > 0
    words = ("double buffers", "single buffers")
    add("memory overlap", words[not hides], words[hides], {"overlap.memory_compute": "0" if hides else "1"})
    if chip.launch.in_graph_s or chip.launch.per_run_s or chip.sync.all_cores_s:
        each = chip.cycles(chip.launch.in_graph_s) + chip.cycles(chip.sync.all_cores_s)
        add("launch", f"{each} cycles a kernel", "free", {key: "0 s" for key in TIMES})
    return found


def _again(
    choice: Choice, keys: dict[str, str], graph: Graph, chip: Chip, dtype: str | None, effort: int
) -> Choice:  # fmt: skip
    """Return the choice with what the network takes then; without cycles where it does not run."""
    try:
        values: dict[str, str | float] = {k: float(v) if k.startswith("overlap") else v for k, v in keys.items()}
        trace = pipeline.estimate_trace(graph, chip.replace(values), dtype=dtype, effort=effort)
    except OnchipError:
        return choice
    return replace(choice, cycles=trace.cycles, layers=tuple(kernel.cycles for kernel in trace.kernels))


# --- layers -----------------------------------------------------------------------------------------------------------
def _reason(kernel: Kernel, trace: KernelTrace, chip: Chip) -> LayerReason:
    moved = (trace.dram_read_bytes + trace.dram_write_bytes) * trace.cores
    far = ceil(moved / chip.dram_bytes_per_cycle)
    found = LayerReason(trace.name, trace.cycles, trace.waterfall, _stream(kernel, chip), far, "")
    return replace(found, text=_sentence(kernel, found, moved, chip))


def _rows_and_passes(shape: Shape, chip: Chip) -> tuple[int, int]:
    """Return the rows of a pass and the passes of a product whose rows are in one tile."""
    extents = dict(zip("bpqn", shape.grid, strict=True))
    batches = prod(extents[axis] for axis in shape.second.batch_axes) if shape.second is not None else 1
    taps, packed = shape.window[0] * shape.window[1], chip.matrix.row_packing == "CRS"
    passes = n_passes(machine_of(chip, shape.dtype), taps, shape.source[3], extents["n"], is_packed=packed)
    rows = extents["b"] * extents["p"] * extents["q"]
    return rows // batches, shape.blocks * batches * passes


def _stream(kernel: Kernel, chip: Chip) -> tuple[int, int] | None:
    """Return the array's cycles in one stream, weights hidden and serial; None where there is no such stream."""
    shape = kernel.shape
    if shape.kind != "matmul" or kernel.mapping.cores > 1 or not depth(machine_of(chip, shape.dtype)):
        return None
    machine, (rows, passes) = machine_of(chip, shape.dtype), _rows_and_passes(shape, chip)
    hidden, serial = (stream_cycles(machine, rows, passes, shape.element_bytes, is_serial=way) for way in (False, True))
    return hidden, serial


def _sentence(kernel: Kernel, layer: LayerReason, moved: int, chip: Chip) -> str:
    parts, cycles = dict(layer.parts), count(layer.cycles)
    launch, vector, memory = (round(parts.get(cause, 0)) for cause in ("launch", "vector", "memory"))
    if launch * 2 > layer.cycles:
        return f"launch: {count(launch)} of {cycles} cycles"
    if layer.far_cycles > max(layer.matrix_cycles, vector):
        port = f"{count(moved)} bytes at {format_value(chip.dram_bytes_per_cycle, 'B/cycle')}"
        return f"far memory: {port} need {count(layer.far_cycles)} of {cycles} cycles"
    if memory > max(layer.matrix_cycles, vector):
        return f"memory: loads that come too late cost {count(memory)} of {cycles} cycles"
    if vector > layer.matrix_cycles:
        return f"vector unit: {count(vector)} of {cycles} cycles"
    if layer.stream is None:
        useful = float(parts.get("useful", 0)) / max(1, layer.matrix_cycles)
        return f"matrix unit: {count(layer.matrix_cycles)} of {cycles} cycles, {format_value(useful, '%')} useful MACs"
    return _stream_sentence(kernel.shape, chip)


def _stream_sentence(shape: Shape, chip: Chip) -> str:
    """Say how the cycles of the array in one stream come about."""
    machine, (rows, passes) = machine_of(chip, shape.dtype), _rows_and_passes(shape, chip)
    load = timing.weight_load_occupancy(machine, depth(machine), columns(machine), shape.element_bytes)
    fill, each = timing.matmul_latency(machine), f"{count(passes)} passes x {count(rows)} rows"
    if chip.matrix.weight_load == "serial":
        return f"weights load serially: {each}, and before each {load} to load, behind it {fill} to fill and drain"
    slow = f" (a load takes {load})" if load > rows else ""
    return f"weights load hidden: {each}{slow}, and {load + fill} once to load, fill and drain"


# --- one layer's mapping ----------------------------------------------------------------------------------------------
def _mapping(plan: Plan, program: Program, trace: KernelTrace, kernel: Kernel, effort: int) -> MappingReason:
    nest = loop_nest(kernel, plan.chip)
    found = search(kernel.shape, plan.chip, effort, kernel.mapping)
    if found is None:
        return MappingReason(trace.name, nest)
    taken = _played("taken", kernel, trace)
    others: list[Played] = []
    for what, mapping in found.others:
        other = replace(kernel, mapping=mapping, buffers=place_buffers(kernel.shape, mapping, plan.chip))
        part = Plan(plan.graph, plan.chip, plan.dtype, (other,), plan.places, is_part=True)
        others.append(_played(what, other, estimate_cycles(lower(part, program.model, with_data=False)).kernels[0]))
    return MappingReason(trace.name, nest, found.n_fitting, found.n_priced, taken, tuple(others))


def _played(what: str, kernel: Kernel, trace: KernelTrace) -> Played:
    return Played(what, str(kernel.mapping), kernel.mapping.predicted_cycles, trace.cycles, trace.waterfall)
