"""Calls that find their own code and tables gone from the cache: processors that are host and device at once.

In:       kernels in order with their traffic and costs, a Machine.
Out:      seconds that each start takes longer, 0 where `launch.cold` is 0.
Promises: a kernel behind one that moved little starts as fast as `launch.in_graph` and `achieved.tile` say; behind one
          that filled a core's own memory several times it takes 1 + `launch.cold` of that; in between it is a ramp.
          A run is repeated, so the first kernel comes behind the last.
Does not: concern devices whose host runs ahead of them.

The ramp is read off a processor with 2 MiB a core: copies of 1, 2, 4, 8 and 16 MiB ahead of a small convolution slow
its start by 0, 0.3, 0.65, 0.95 and 1 of the most.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.forecast.cost import Cost
from onchip.forecast.kernels import PRODUCTS, Kernel
from onchip.forecast.machine import Machine
from onchip.forecast.traffic import Traffic

NOTHING, ALL = 0.5, 3.0  # sizes of a core's memory that were moved: nothing of the code is gone, all is


def cold_starts(
    kernels: Sequence[Kernel], traffics: Sequence[Traffic], costs: Sequence[Cost], m: Machine
) -> list[float]:
    """Return the seconds that each kernel starts later than a warm one."""
    share = m.chip.launch.cold
    if not share:
        return [0.0] * len(kernels)
    gone = [evicted(traffic.near + traffic.far, m) for traffic in traffics]
    starts = [
        m.launch_s * cost.launches + (m.tile_s if kernel.anchor.op in PRODUCTS else 0.0)
        for kernel, cost in zip(kernels, costs, strict=True)
    ]
    return [share * before * start for before, start in zip((*gone[-1:], *gone[:-1]), starts, strict=True)]


def evicted(moved_bytes: float, m: Machine) -> float:
    """Return the share of a core's own memory that other data took, where all cores moved so many bytes together."""
    return ramp(moved_bytes / m.cores / m.chip.local.size_bytes)


def ramp(sizes: float) -> float:
    """Return the share that is gone of a memory behind so many times its size of other data."""
    return min(max((sizes - NOTHING) / (ALL - NOTHING), 0.0), 1.0)
