"""A product on the matrix unit alone: one unbroken stream of passes, in closed form.

In: the machine array and the product's sizes. Out: cycles from the first weight load to the last sum. Nothing else
takes time: no far memory, no vector unit, no instruction that is not a pass. It is what tools that model the array
alone print, and the floor of what a schedule needs. The durations are those of `timing.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onchip.isa import timing
from onchip.isa.machine import columns, depth


def n_passes(machine: NDArray[np.int64], taps: int, c: int, n: int, *, is_packed: bool) -> int:
    """Return how many loads of weights a product has: kernel taps and channels share the rows if `is_packed`."""
    high, wide = depth(machine), columns(machine)
    folds = timing.ceil_div(taps * c, high) if is_packed else taps * timing.ceil_div(c, high)
    return folds * timing.ceil_div(n, wide)


def stream_cycles(machine: NDArray[np.int64], m: int, passes: int, element_bytes: int, *, is_serial: bool) -> int:
    """Return cycles of `passes` passes of m rows over a weight-stationary array of R x C cells.

    With a port that keeps up, serial = passes (2R + C + m - 2), hidden = passes max(m, R) + 2R + C - 2 for m >= R
    (Samajdar 2018, section 3; weights loaded behind the rows).
    """
    high, wide = depth(machine), columns(machine)
    load = int(timing.weight_load_occupancy(machine, high, wide, element_bytes))
    rows = int(timing.matmul_occupancy(machine, m, high, wide, element_bytes))
    fill = int(timing.matmul_latency(machine))
    if is_serial:
        return passes * (load + rows + fill)
    return load + (passes - 1) * max(rows, load) + rows + fill
