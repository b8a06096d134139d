"""What a timeline shows beside its events: texts of instructions, which event feeds which, use of the DRAM port.

In: a Program and a Trace of it with events. Out: arrays over the events. Nothing here is measured in seconds.

Flows: the k-th signal of a semaphore is what its k-th wait takes. Semaphores that a kernel's barrier sets to zero carry
data (a tile loaded, sums finished); the others carry free room, and are no flows. The DRAM port: a request is served
when the one before it is, at the rate that this kernel's cores leave to one of them (docs/isa.md, far memory).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.events import is_work
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from onchip.isa import CLASSES, LD, MM, timing
from onchip.isa.fields import LOAD, MATRIX, SEMAPHORES
from onchip.isa.instructions import from_record
from onchip.isa.machine import machine_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def cut(trace: Trace) -> str:
    """Say which kernels' events are left out, if any."""
    n, of = trace.n_recorded, len(trace.kernels)
    if n == of:
        return ""
    left = sum(kernel.instructions for kernel in trace.kernels[n:])
    return f"events of the first {n} of {of} kernels ({len(trace.events):,}); {left:,} events are left out"


def texts(program: Program, trace: Trace) -> tuple[Ints, list[str]]:
    """Return for each event the number of its instruction's text, and the texts, each once."""
    pairs = trace.events["unit"].astype(np.int64) << 32 | trace.events["record"]
    unique, places = np.unique(pairs, return_inverse=True)
    numbers: dict[str, int] = {}
    own = np.zeros(len(unique), np.int64)
    for at, pair in enumerate(unique):
        record = program.streams[int(pair) >> 32][int(pair) & 0xFFFFFFFF]
        own[at] = numbers.setdefault(str(from_record(record, CLASSES)), len(numbers))
    return own[places] if len(unique) else np.zeros(0, np.int64), list(numbers)


def flows(program: Program, trace: Trace) -> NDArray[np.int64]:
    """Return (event that makes data, event that takes it) as rows of two indices of events, each pair once.

    A token from LOAD stands for all loads since the one before, another for the last work before its signal; it goes
    to the first work behind the wait, in MATRIX to the first MM. Where there is no such work in the kernel, the
    instruction that signals or waits takes its place.
    """
    n = len(trace.events)
    signals, waits = (_masks(program, trace, mask) & _data(program, trace) for mask in ("signal", "wait"))
    found = [np.zeros((0, 2), np.int64)]
    for number, (sender, receiver) in enumerate(SEMAPHORES):
        sent = np.flatnonzero((trace.events["unit"] == sender) & (signals >> number & 1 == 1))
        taken = np.flatnonzero((trace.events["unit"] == receiver) & (waits >> number & 1 == 1))
        to = _work_near(trace, receiver, behind=True)[taken]
        if sender == LOAD:
            token, makers = _loads(trace, signals, sent)
            found.append(np.stack([makers, to[token]], axis=1))
        else:
            found.append(np.stack([_work_near(trace, sender, behind=False)[sent], to], axis=1))
    pairs = np.concatenate(found)
    codes = np.unique(pairs[:, 0] * n + pairs[:, 1]) if len(pairs) else np.zeros(0, np.int64)
    return np.stack([codes // max(n, 1), codes % max(n, 1)], axis=1)


def _loads(trace: Trace, signals: Ints, sent: Ints) -> tuple[Ints, Ints]:
    """Return (number of the token, event) for what the tokens of these signals of LOAD stand for."""
    events: Any = trace.events
    own = np.flatnonzero(events["unit"] == LOAD)
    groups = np.cumsum(signals[own] != 0) - (signals[own] != 0)  # signals of the stream before each event
    is_load = events["op"][own] == LD.OP
    loads, of_load = own[is_load], groups[is_load]
    group = groups[np.searchsorted(own, sent)]
    first, last = np.searchsorted(of_load, group), np.searchsorted(of_load, group, side="right")
    token = np.repeat(np.arange(len(sent)), last - first)
    within = np.arange(len(token)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    makers = loads[np.repeat(first, last - first) + within]
    kept = events["kernel"][makers] == events["kernel"][sent[token]]
    return token[kept], makers[kept]


def _work_near(trace: Trace, unit: int, *, behind: bool) -> Ints:
    """Return for each event of a stream the next work at or behind it, or the last at or before it, in its kernel."""
    events: Any = trace.events
    own = np.flatnonzero(events["unit"] == unit)
    out, n = np.arange(len(events)), len(own)
    wanted = events["op"][own] == MM.OP if behind and unit == MATRIX else is_work(events[own])
    if behind:
        near = np.minimum.accumulate(np.where(wanted, np.arange(n), n)[::-1])[::-1]
    else:
        near = np.maximum.accumulate(np.where(wanted, np.arange(n), -1))
    there = (near >= 0) & (near < n)
    near = own[np.clip(near, 0, max(n - 1, 0))] if n else near
    there &= events["kernel"][near] == events["kernel"][own]
    out[own] = np.where(there, near, own)
    return out


def _data(program: Program, trace: Trace) -> Ints:
    """Return for each event the mask of semaphores that carry data in its kernel: those that begin at zero."""
    masks = [sum(1 << q for q, c in enumerate(_counts(program, k)) if c == 0) for k in range(trace.n_recorded)]
    return np.array([*masks, 0], np.int64)[trace.events["kernel"]]


def _counts(program: Program, number: int) -> list[int]:
    packed = int(_barrier(program, number)["integers"][0])
    return [packed >> 4 * i & 15 for i in range(8)]


def _barrier(program: Program, number: int) -> Any:
    return program.streams[0][program.kernels[number].starts[0]]


def _masks(program: Program, trace: Trace, mask: str) -> Ints:
    out = np.zeros(len(trace.events), np.int64)
    for stream, records in enumerate(program.streams):
        own = trace.events["unit"] == stream
        out[own] = records[mask][trace.events["record"][own]]
    return out


def dram_rates(program: Program) -> Floats:
    """Return the bytes per cycle of DRAM that one core gets in each kernel."""
    m = machine_of(program.chip, program.dtype)
    active = np.array([int(_barrier(program, n)["integers"][1]) for n in range(len(program.kernels))], np.float64)
    fair = int(m[timing.DRAM_NUM]) / (int(m[timing.DRAM_DEN]) * active)
    return np.minimum(fair, int(m[timing.CORE_NUM]) / int(m[timing.CORE_DEN]))


def dram_service(program: Program, trace: Trace) -> tuple[Floats, Floats, Floats]:
    """Return when the port serves each request of the core, from and to, in cycles, and its bytes."""
    rates, begins, ends, sizes = dram_rates(program), list[Floats](), list[Floats](), list[Floats]()
    asking: Any = trace.events[trace.events["dram_bytes"] > 0]
    edges = np.searchsorted(asking["kernel"], np.arange(trace.n_recorded + 1))
    for kernel in range(trace.n_recorded):
        own = asking[edges[kernel] : edges[kernel + 1]]
        needed = own["dram_bytes"] / rates[kernel]
        behind = np.cumsum(needed)  # T = max(T, start) + needed, as a running maximum
        done = behind + np.maximum.accumulate(own["start"] - (behind - needed)) if len(own) else behind
        begins, ends = [*begins, done - needed], [*ends, done]
        sizes.append(own["dram_bytes"].astype(np.float64))
    empty = [np.zeros(0)]
    return np.concatenate(begins or empty), np.concatenate(ends or empty), np.concatenate(sizes or empty)


def dram_use(program: Program, trace: Trace, *, windows: int) -> tuple[int, Floats]:
    """Return the width of a window in cycles, and the bytes per cycle that all cores together move in each.

    The others are taken to move what core 0 moves, as in the report's DRAM traffic.
    """
    if not trace.n_recorded:
        return 1, np.zeros(0)
    last = trace.kernels[trace.n_recorded - 1]
    until = last.start + last.cycles
    width = max(1, -(-until // windows))
    begins, ends, sizes = dram_service(program, trace)
    kernels = trace.events["kernel"][trace.events["dram_bytes"] > 0]
    sizes *= np.array([kernel.cores for kernel in trace.kernels])[kernels]
    moved = np.cumsum(sizes)
    at = np.stack([begins, ends], axis=1).reshape(-1)
    total = np.stack([moved - sizes, moved], axis=1).reshape(-1)
    edges = np.arange(-(-until // width) + 1, dtype=np.float64) * width
    return width, np.diff(np.interp(edges, at, total)) / width if len(at) else np.zeros(len(edges) - 1)
