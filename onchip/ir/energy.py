"""Energy of a run, part by part: what the simulator hands to the report.

In:       joules per kernel and component, joules of the time outside kernels, the band of the table they come from.
Out:      a frozen noun with totals per component.
Promises: no part is negative or infinite; every kernel has one number for each component, so parts sum to the whole.
Does not: know where the numbers come from; `source` says it in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onchip.errors import InternalError

# MACs; their operands' way through registers; local memories; accumulators; memory that cores share; far memory; vector
# lanes; clock tree and control; what flows always
COMPONENTS = ("compute", "operands", "sram", "accumulator", "shared", "dram", "vector", "clock", "static")


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules of each kernel in the order of COMPONENTS; `outside_j` is static energy while no kernel runs.

    `band` is a factor: the truth lies between total / band and total * band, as far as the table's source tells.
    """

    kernels: tuple[tuple[float, ...], ...]
    outside_j: float
    band: float
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(parts) != len(COMPONENTS) for parts in self.kernels):
            raise InternalError("OC9040", "energy", f"a kernel does not have the {len(COMPONENTS)} components")
        numbers = [part for parts in self.kernels for part in parts] + [self.outside_j]
        if any(part < 0 or not math.isfinite(part) for part in numbers):
            raise InternalError("OC9041", "energy", "a part is negative or not finite")
        if self.band < 1 or not math.isfinite(self.band):
            raise InternalError("OC9041", "energy", f"the band is a factor of {self.band}, below 1")

    @property
    def components(self) -> tuple[tuple[str, float], ...]:
        """Return the joules of each component over the run, in the order of COMPONENTS."""
        totals = [math.fsum(parts[i] for parts in self.kernels) for i in range(len(COMPONENTS))]
        totals[COMPONENTS.index("static")] += self.outside_j
        return tuple(zip(COMPONENTS, totals, strict=True))

    @property
    def total_j(self) -> float:
        """Return the joules of the run."""
        return math.fsum(joules for _, joules in self.components)
