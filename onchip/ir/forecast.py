"""What silicon is expected to take: the vendor's own program, kernel by kernel, in closed form.

In:       kernels with their seconds by cause, from room `forecast`.
Out:      a frozen noun: `device_s` (kernels only), and with the host's part, see `silicon.predict`.
Promises: the constructor refuses causes that do not sum to their kernel, negative or infinite times.
          This is another claim than a Trace: a Trace is the exact time of our program on a machine with the chip's
          numbers; a Forecast is an estimate of the time of a program that we do not have, and has an error
          (docs/accuracy.md, decision 12).
Does not: hold cycles, or run anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onchip.chip import Chip
from onchip.errors import InternalError
from onchip.ir.energy import Energy
from onchip.ir.program import Model

CAUSES = ("matrix", "vector", "memory", "shared", "sync", "launch")
TOLERANCE = 1e-9
Causes = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel of the vendor's program: a fused group of nodes. `how` tells the mapping that was chosen."""

    name: str
    nodes: tuple[str, ...]
    op: str
    macs: int
    dram_bytes: float
    causes: Causes  # seconds
    how: str = ""
    energy: tuple[float, ...] | None = (
        None  # joules in the order of COMPONENTS; None: the chip's tables have no such MAC
    )
    launches: int = 1  # programs that the device starts for it
    near_bytes: float | None = None  # through the memory next to the array, where the price counts them

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.causes)

    @property
    def energy_j(self) -> float | None:
        return None if self.energy is None else math.fsum(self.energy)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The steps of a network on a chip, in order, and what a run costs besides."""

    model: Model
    chip: Chip
    dtype: str
    steps: tuple[Step, ...]
    per_run_s: float = 0.0

    def __post_init__(self) -> None:
        _ = self.energy  # its constructor refuses parts that are negative or too few
        for step in self.steps:
            for cause, seconds in step.causes:
                if cause not in CAUSES or not math.isfinite(seconds) or seconds < 0:
                    raise InternalError("OC9013", step.name, f"a forecast's cause {cause} takes {seconds} s")
        if not math.isfinite(self.per_run_s) or self.per_run_s < 0:
            raise InternalError("OC9013", self.model.name, f"a forecast's run costs {self.per_run_s} s")

    @property
    def device_s(self) -> float:
        """Seconds of all kernels and of the run's fixed part."""
        return sum(step.seconds for step in self.steps) + self.per_run_s

    @property
    def energy(self) -> Energy | None:
        """Joules of all steps by part, and of the run's fixed part; None where a step has none."""
        table = self.chip.energy
        parts = [step.energy for step in self.steps if step.energy is not None]
        if table is None or len(parts) < len(self.steps):
            return None
        return Energy(tuple(parts), float(table.static) * self.per_run_s, table.band, table.sources)

    @property
    def launches(self) -> int:
        return sum(step.launches for step in self.steps)

    @property
    def dram_bytes(self) -> float:
        return sum(step.dram_bytes for step in self.steps)

    @property
    def near_bytes(self) -> float | None:
        """Bytes through the memory next to the array; None where a price does not count them."""
        counted = [step.near_bytes for step in self.steps if step.near_bytes is not None]
        return sum(counted) if len(counted) == len(self.steps) else None

    @property
    def bound(self) -> str:
        """The cause with the most time."""
        totals: dict[str, float] = dict.fromkeys(CAUSES, 0.0)
        for step in self.steps:
            for cause, seconds in step.causes:
                totals[cause] += seconds
        return max(totals, key=lambda cause: totals[cause])
