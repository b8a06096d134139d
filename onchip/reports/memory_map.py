"""The memory map panel's data: what lies where and when, in local memory, in the accumulator and in far memory.

In: a Plan and a Trace of its program. Out: the JSON object of the panel `memory_map`:

    version, cycles, clock_hz
    kernels  [{name, start, cycles}]
    spaces   [{name: local | accumulator | far, size (bytes), peak: {bytes, kernel}, banks (0: none),
             boxes: [{name, kind, address, bytes, slots, from, to}]}]

A box lies from `address` on and lives from the start of kernel `from` to the end of kernel `to`; slots of a buffer lie
behind each other, `bytes` are those of one. In local memory and the accumulator a box is a buffer of one kernel, in far
memory a tensor. `peak` is the highest address that is taken and the first kernel that takes it, as in the report;
constants lie behind the tensors of far memory and are not drawn (`constant_bytes`).
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.ir.plan import Kernel, Plan, lives
from onchip.ir.program import Program
from onchip.ir.report import Json
from onchip.ir.trace import Trace

WORD_BYTES = 4  # of the accumulator
VERSION = 1


def memory_map_part(plan: Plan, program: Program, trace: Trace) -> Json:
    """Return the panel's object."""
    local, chip = plan.chip.local, plan.chip
    spaces = [
        _space("local", _buffers(plan.kernels, "local", 1), local.size_bytes, local.banks if local.banks >= 4 else 0),
        _space("accumulator", _buffers(plan.kernels, "accumulator", WORD_BYTES), local.accumulator_bytes, 0),
        _space("far", _tensors(plan), chip.dram.size_bytes, 0),
    ]
    return {
        "version": VERSION,
        "cycles": trace.cycles,
        "clock_hz": chip.clock_hz,
        "kernels": [{"name": k.name, "start": k.start, "cycles": k.cycles} for k in trace.kernels],
        "spaces": [space for space in spaces if space["boxes"]],
        "constant_bytes": sum(region.n_bytes for region in program.regions if region.kind == "constant"),
    }


def _space(name: str, boxes: list[Json], size: int, banks: int) -> Json:
    ends = [box["address"] + box["bytes"] * box["slots"] for box in boxes]
    peak = max(ends, default=0)
    kernel = min((box["from"] for box, end in zip(boxes, ends, strict=True) if end == peak), default=0)
    return {"name": name, "size": size, "peak": {"bytes": peak, "kernel": kernel}, "banks": banks, "boxes": boxes}


def _buffers(kernels: Sequence[Kernel], memory: str, unit: int) -> list[Json]:
    return [
        {
            "name": buffer.name, "kind": memory, "address": buffer.address * unit, "bytes": buffer.size * unit,
            "slots": buffer.slots, "from": number, "to": number,
        }
        for number, kernel in enumerate(kernels)
        for buffer in kernel.buffers
        if buffer.memory == memory
    ]  # fmt: skip


def _tensors(plan: Plan) -> list[Json]:
    births, deaths = lives(plan)
    last = len(plan.kernels) - 1
    return [
        {
            "name": p.tensor, "kind": "shared" if p.level(plan.chip) else p.kind, "address": p.address,
            "bytes": p.size, "slots": 1, "from": max(0, births[p.tensor]), "to": min(last, deaths[p.tensor]),
        }
        for p in plan.places
        if p.tensor in births and p.kind != "constant"
    ]  # fmt: skip
