"""A network whose kernels all work at the same time, each on cores of its own: `[execution] mode = "pipeline"`.

In:       kernels with their Traffic, a Machine, the batch of a run.
Out:      the Cost of each kernel; together they are the seconds of the run.
Promises: inferences stream: an inference takes as long as the slowest stage, T. Cores are dealt out so that T is least:
              sum over kernels of n t(n) / T <= cores,  n = the fewest cores on which the kernel takes t(n) <= T:
          a core that a stage does not fill works for others as well.
          Far memory moves inputs and outputs at the same time. A network that does not fit on the chip runs in parts,
          whose weights come from far memory once a run, before its inferences: batch * T + weights / bandwidth.
          What idles is counted to each kernel in the share of its cores.
Does not: price the first inference's way through the pipeline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

from onchip.forecast.cost import Cost
from onchip.forecast.kernels import Kernel
from onchip.forecast.layers import inner_cost
from onchip.forecast.machine import Machine
from onchip.forecast.traffic import Traffic

STEPS = 40  # of the bisection: T is known to 2^-40 of the range


def price_stages(kernels: Sequence[Kernel], traffics: Sequence[Traffic], m: Machine, batch: int) -> tuple[Cost, ...]:
    """Return the cost of each kernel in a run of `batch` inferences."""
    times = [_stage(kernel, traffic, m, batch) for kernel, traffic in zip(kernels, traffics, strict=True)]
    period = slowest(times, m.cores)
    cores = [cores_for(time, period, m.cores) for time in times]
    edge_s = sum(traffic.far_inputs + traffic.far_outputs for traffic in traffics) / m.dram_bytes_per_s
    run_s = max(batch * period, edge_s)
    everything = sum(cores) or 1.0
    found = list[Cost]()
    for traffic, own in zip(traffics, cores, strict=True):
        cause = ("memory" if edge_s > batch * period else "matrix", run_s * own / everything)
        reload = ("memory", traffic.far_weights / m.dram_bytes_per_s)
        found.append(Cost((cause, reload) if own else (), f"a stage on {own:.2f} cores", traffic.far))
    return tuple(found)


def slowest(times: Sequence[Callable[[int], float]], cores: int) -> float:
    """Return the least T for which the stages need no more than `cores`."""
    low, high = 0.0, sum(time(1) for time in times)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle > 0 and sum(cores_for(time, middle, cores) for time in times) <= cores:
            high = middle
        else:
            low = middle
    return high


def cores_for(time: Callable[[int], float], period: float, most: int) -> float:
    """Return the cores that a stage keeps busy if it takes at most `period`; infinite where all are too slow."""
    if period <= 0:
        return 0.0 if time(1) <= 0 else float("inf")
    return next((n * time(n) / period for n in range(1, most + 1) if time(n) <= period), float("inf"))


def _stage(kernel: Kernel, traffic: Traffic, m: Machine, batch: int) -> Callable[[int], float]:
    """Return the seconds that one inference takes in a stage on n cores; operands pass through their own memories."""

    @functools.cache
    def seconds(n: int) -> float:
        own = replace(m, cores=n, shared_bytes=0, shared_bytes_per_s=float("inf"))
        return inner_cost(kernel, traffic, own).seconds / batch

    return seconds
