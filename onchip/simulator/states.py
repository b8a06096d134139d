"""States of a program: where far memory has them, and which regions follow each other from run to run.

In: a Program. Out: `StatePlaces`. A state stays in far memory where its input and what it becomes are regions of one
quantization: between two runs the bytes move (a driver swaps two addresses; not in the time). A state that the host
makes, or whose two ends differ in quantization, is carried by the host as the value that the graph gives it.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.graph import Graph
from onchip.ir.program import Program, Region


@dataclass(frozen=True, slots=True)
class StatePlaces:
    """`kept`: (graph input, region of the input, region of what it becomes); `carried`: (graph input, tensor)."""

    kept: tuple[tuple[str, Region, Region], ...]
    carried: tuple[tuple[str, str], ...]


def state_places(program: Program) -> StatePlaces:
    """Return how each state goes on."""
    regions = {r.name: r for r in program.regions if r.kind in ("input", "output", "intermediate")}
    kept: list[tuple[str, Region, Region]] = []
    carried: list[tuple[str, str]] = []
    for given, made in program.states:
        source, target = _quantized(program.host_before, given), _dequantized(program.host_after, made)
        ends = regions.get(source), regions.get(target)
        if ends[0] is not None and ends[1] is not None and _agree(program, (given, source), (made, target)):
            kept.append((given, ends[0], ends[1]))
        else:
            carried.append((given, made))
    return StatePlaces(tuple(kept), tuple(carried))


def _quantized(before: Graph | None, given: str) -> str:
    """Return the one region that holds a state: the state itself, or its int8 form; "" where the host reads more."""
    readers = () if before is None else before.consumers(given)
    if before is None or not readers:
        return given
    made = readers[0].outputs[0]
    return made if len(readers) == 1 and readers[0].op == "quantize" and not before.consumers(made) else ""


def _dequantized(after: Graph | None, made: str) -> str:
    """Return what the host makes the newest value of."""
    maker = None if after is None else after.producer(made)
    return made if maker is None else (maker.inputs[0] if maker.op == "dequantize" else "")


def _agree(program: Program, first: tuple[str, str], second: tuple[str, str]) -> bool:
    """Tell whether both ends mean the same numbers: both are the state as it is, or of one quantization."""
    before, after = program.host_before, program.host_after
    is_raw = first[0] == first[1], second[0] == second[1]
    if all(is_raw):
        return True
    if any(is_raw) or before is None or after is None:
        return False
    return before.tensor(first[1]).quantization == after.tensor(second[1]).quantization
