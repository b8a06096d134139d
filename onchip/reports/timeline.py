"""The timeline panel's data: every piece of work of one core, unit by unit, small enough for a page.

In: a Program and a Trace of it with events. Out: the JSON object of the panel `timeline`:

    version, cycles, clock_hz, cores; local_bytes, dram_bytes_per_cycle   the chip's
    kernels     [{name, start, cycles, bound, local_bytes, cores (that have work), dram_bytes_per_cycle (what one of
                them gets), dram_bytes (of all cores), busy: {matrix, vector}}], cycles of the core's clock
    places      load, weights, matrix, vector, store: the rows
    n_events    pieces of work that are drawn; LOOP and NOP are not
    n_recorded  kernels, from the first on, that have them; `cut` says what is left out, or ""
    columns, data   as in `columns.py`: for each place PLACE.gap (cycles from the end of the one before, the first from
                0), PLACE.cycles (that it keeps its place), PLACE.tail (until it is complete), PLACE.text (signed
                differences of numbers of lines), and for load and store PLACE.bytes (asked of the DRAM port); then the
                lines: instructions in assembler text

Above `budget` characters, kernels are left out from the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.events import PLACES, is_work, places
from onchip.ir.program import Program
from onchip.ir.report import Json
from onchip.ir.trace import KernelTrace, Trace
from onchip.reports.columns import packed, zigzag
from onchip.reports.tracks import cut, dram_rates, texts

SHOWN = tuple(place for place in PLACES if place != "control")
MOVERS = ("load", "store")
BUDGET = 2_000_000  # characters of base64
VERSION = 1


def timeline_part(program: Program, trace: Trace, *, budget: int = BUDGET) -> Json:
    """Return the panel's object."""
    made = _packed(program, trace)
    while len(made["data"]) > budget and trace.n_recorded > 1:
        trace = _first(trace, max(1, int(trace.n_recorded * min(0.9, budget / len(made["data"])))))
        made = _packed(program, trace)
    if len(made["data"]) > budget:
        trace = _first(trace, 0)
        made = _packed(program, trace)
    rates = dram_rates(program)
    return {
        "version": VERSION,
        "cycles": trace.cycles,
        "clock_hz": trace.chip.clock_hz,
        "cores": trace.chip.cores.count,
        "local_bytes": trace.chip.local.size_bytes,
        "dram_bytes_per_cycle": float(trace.chip.dram_bytes_per_cycle),
        "kernels": [_kernel(kernel, float(rate)) for kernel, rate in zip(trace.kernels, rates, strict=True)],
        "places": list(SHOWN),
        "n_events": int(is_work(trace.events).sum()),
        "n_recorded": trace.n_recorded,
        "cut": cut(trace),
        **made,
    }


def _kernel(kernel: KernelTrace, rate: float) -> Json:
    return {
        "name": kernel.name,
        "start": kernel.start,
        "cycles": kernel.cycles,
        "bound": kernel.bound,
        "local_bytes": kernel.local_peak_bytes,
        "cores": kernel.cores,
        "dram_bytes_per_cycle": rate,
        "dram_bytes": (kernel.dram_read_bytes + kernel.dram_write_bytes) * kernel.cores,
        "busy": {"matrix": kernel.matrix_busy, "vector": kernel.vector_busy},
    }


def _first(trace: Trace, n_kernels: int) -> Trace:
    events = trace.events[: int(np.searchsorted(trace.events["kernel"], n_kernels))]
    return replace(trace, events=events)


def _packed(program: Program, trace: Trace) -> Json:
    works = is_work(trace.events)
    numbers, lines = texts(program, trace)
    events: Any = trace.events[works]
    where, found = places(events), dict[str, NDArray[np.int64]]()
    for place in SHOWN:
        own = where == PLACES.index(place)
        mine, text = events[own], numbers[works][own]
        before = np.concatenate([[0], mine["free"][:-1]]) if len(mine) else mine["free"]
        found[f"{place}.gap"] = mine["start"] - before
        found[f"{place}.cycles"] = mine["free"] - mine["start"]
        found[f"{place}.tail"] = mine["end"] - mine["free"]
        found[f"{place}.text"] = zigzag(np.diff(text, prepend=0))
        if place in MOVERS:
            found[f"{place}.bytes"] = mine["dram_bytes"]
    return packed(found, lines)
