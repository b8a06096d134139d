"""What happened: exact cycles, bytes and multiply-accumulates of every kernel, and where the time went.

In: totals from the simulator. Out: a frozen noun for reports. The constructor refuses totals that do not sum and events
of one unit that overlap. A trace that also carries output values is another type, `RunTrace`.

Waterfall: every cycle of the critical core's matrix unit (its vector unit in kernels without matrix work) goes to the
first matching cause of CAUSES, so the parts sum to the whole: useful MACs, cells of the array left empty
(under-fill), filling and draining, loading weights, waiting for memory, the vector unit, synchronisation, launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import InternalError
from onchip.ir.events import NO_EVENTS, check_events, n_recorded
from onchip.ir.program import Model

CAUSES = ("useful", "underfill", "fill", "weights", "memory", "vector", "sync", "launch")
BOUNDS = {  # the cause with the most time, in the words of reports
    "useful": "compute", "underfill": "compute", "fill": "fill", "weights": "fill", "memory": "memory",
    "vector": "vector", "sync": "launch", "launch": "launch", "host": "host",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KernelTrace:
    """One kernel on the critical core; `cycles` includes its launch. `macs` are those of the network, over all cores;
    bytes and lanes those of one core."""

    name: str
    nodes: tuple[str, ...]
    kind: str
    start: int
    cycles: int
    macs: int
    matrix_busy: int
    vector_busy: int
    dram_read_bytes: int
    dram_write_bytes: int
    shared_bytes: int
    local_read_bytes: int
    local_write_bytes: int
    accumulator_bytes: int
    vector_lanes: int
    instructions: int
    cores: int
    local_peak_bytes: int
    waterfall: tuple[tuple[str, Fraction], ...]

    def __post_init__(self) -> None:
        total = sum((cycles for _, cycles in self.waterfall), Fraction(0))
        if total != self.cycles:
            raise InternalError("OC9030", self.name, f"waterfall sums to {total} of {self.cycles} cycles")
        if any(cycles < 0 for _, cycles in self.waterfall):
            raise InternalError("OC9031", self.name, f"negative part in {self.waterfall}")

    @property
    def bound(self) -> str:
        """Return what holds the kernel back: compute, fill, memory, vector or launch."""
        return bound_of(self.waterfall)


def bound_of(waterfall: tuple[tuple[str, Fraction | float], ...]) -> str:
    """Return the group of causes that takes most of the time; ties go to the earlier cause."""
    groups: dict[str, Fraction | float] = {}
    for cause, cycles in waterfall:
        groups[BOUNDS[cause]] = groups.get(BOUNDS[cause], 0) + cycles
    return max(groups, key=lambda g: (groups[g], -list(groups).index(g))) if groups else "launch"


@dataclass(frozen=True)
class Trace:
    """A whole program's run in cycles; kernels follow one another. `fidelity` is estimate or event."""

    name: str
    chip: Chip
    dtype: str
    fidelity: str
    program_hash: str
    model: Model
    kernels: tuple[KernelTrace, ...]
    events: NDArray[np.void] = field(default_factory=lambda: NO_EVENTS)

    def __post_init__(self) -> None:
        at = 0
        for kernel in self.kernels:
            if kernel.start != at:
                raise InternalError("OC9032", kernel.name, f"starts at {kernel.start}, the one before ends at {at}")
            at += kernel.cycles
        check_events(self.name, self.events, [k.instructions for k in self.kernels])
        self.events.setflags(write=False)

    @property
    def cycles(self) -> int:
        return sum(k.cycles for k in self.kernels)

    @property
    def n_recorded(self) -> int:
        """Kernels, from the first on, whose events are there."""
        return n_recorded(self.events)

    @property
    def macs(self) -> int:
        return sum(k.macs for k in self.kernels)

    @property
    def dram_bytes(self) -> int:
        """Bytes that all cores together moved to and from DRAM."""
        return sum((k.dram_read_bytes + k.dram_write_bytes) * k.cores for k in self.kernels)

    def waterfall(self) -> tuple[tuple[str, Fraction], ...]:
        """Return the cycles of each cause over the whole program."""
        total: dict[str, Fraction] = dict.fromkeys(CAUSES, Fraction(0))
        for kernel in self.kernels:
            for cause, cycles in kernel.waterfall:
                total[cause] += cycles
        return tuple(total.items())

    def __str__(self) -> str:
        lines = [f"trace {self.name} chip {self.chip.name} {self.dtype} {self.fidelity} {self.cycles} cycles"]
        for k in self.kernels:
            parts = " ".join(f"{cause} {float(cycles):.6g}" for cause, cycles in k.waterfall if cycles)
            lines.append(f"  {k.name} {k.cycles} cycles, {k.macs} MACs, bound {k.bound}: {parts}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class RunTrace(Trace):
    """A trace with the values that the program left in its output tensors (dequantized at the graph's float edges)."""

    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
