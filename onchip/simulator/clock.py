"""Cycles: the program on the machine, event by event, or with repeated iterations skipped exactly.

In: a Program. Out: a Trace without outputs. `simulate_cycles` plays every instruction of every kernel;
`estimate_cycles` plays a kernel that equals an earlier one (same code, other addresses) once and skips repeating
iterations. Both give the same cycles: the tests compare them, and both with a cycle-stepped control model.
Many cores: core (0, 0, 0) of the grid has the largest share of every wave, so it decides; the far-memory ports are
divided by the number of cores that have work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onchip.errors import InternalError
from onchip.ir.events import EVENT, NO_EVENTS
from onchip.ir.program import KernelCode, Program
from onchip.ir.trace import KernelTrace, Trace
from onchip.isa import BARRIER, LOOP, timing
from onchip.isa.fields import Record, joined
from onchip.isa.machine import machine_of
from onchip.simulator import play
from onchip.simulator.code import Code, Ints

MAX_EVENTS = 1_000_000
TraceT = TypeVar("TraceT", bound=Trace)
NO_RANGES = np.array([(0, -1)] * play.LEVELS, np.int64)


@dataclass(frozen=True, slots=True)
class KernelArrays:
    """A kernel as the engines take it: its code, the counts that its barrier sets, the cores that have work."""

    code: Code
    initial: Ints
    active: int


def kernel_arrays(program: Program, kernel: KernelCode) -> KernelArrays:
    """Cut a kernel's code out of the streams, without its barriers."""
    parts = [program.streams[s][kernel.starts[s] + 1 : kernel.ends[s]] for s in range(4)]
    barrier = program.streams[0][kernel.starts[0]]
    if barrier["op"] != BARRIER.OP:
        raise InternalError("OC9004", kernel.name, "does not start with a barrier")
    packed = int(barrier["integers"][0])
    initial = np.array([packed >> 4 * i & 15 for i in range(8)], np.int64)
    return KernelArrays(code_of(parts), initial, int(barrier["integers"][1]))


def code_of(streams: Sequence[Record]) -> Code:
    """Return the records of four streams behind each other, by field."""
    records = joined(streams)
    affines = np.ascontiguousarray(records["affines"])
    has = np.asarray((affines != 0).any(axis=2), np.bool_)
    return Code(
        records["op"].copy(), records["wait"].copy(), records["signal"].copy(), records["sub"].copy(),
        np.ascontiguousarray(records["integers"]), affines, has,
        np.cumsum([0, *map(len, streams)]).astype(np.int64),
    )  # fmt: skip


def simulate_cycles(
    program: Program, *, events: bool = False, progress: Callable[[int, int], None] | None = None
) -> Trace:
    """Play every instruction. Raises InternalError on a deadlock."""
    trace = _play(program, fast=False, progress=progress)
    return record_events(program, trace) if events else trace


def estimate_cycles(program: Program) -> Trace:
    """Return the same cycles as `simulate_cycles`, sooner."""
    return _play(program, fast=True, progress=None)


def record_events(program: Program, trace: TraceT, *, limit: int = MAX_EVENTS) -> TraceT:
    """Return the trace with the events of its first kernels: as many whole ones as `limit` events have room for."""
    machine, found = machine_of(program.chip, program.dtype), list[NDArray[np.void]]()
    counts = np.cumsum([kernel.instructions for kernel in trace.kernels])
    for number in range(int(np.searchsorted(counts, limit, side="right"))):
        kernel, known = program.kernels[number], trace.kernels[number]
        totals, rows = play_kernel(
            kernel_arrays(program, kernel), machine, kernel.name, fast=False, room=known.instructions
        )
        barrier = int(machine[timing.BARRIER_CYCLES])
        if int(totals[play.CYCLES]) + barrier != known.cycles or int(totals[play.INSTRUCTIONS]) != known.instructions:
            raise InternalError("OC9035", kernel.name, "the trace is not that of the program")
        found.append(_events(rows, number, known.start + barrier, kernel, program))
    return replace(trace, events=np.concatenate(found) if found else NO_EVENTS)


def _play(program: Program, *, fast: bool, progress: Callable[[int, int], None] | None) -> Trace:
    machine = machine_of(program.chip, program.dtype)
    memo: dict[bytes, Ints] = {}
    kernels: list[KernelTrace] = []
    at = 0
    for number, kernel in enumerate(program.kernels):
        arrays = kernel_arrays(program, kernel)
        key = _key(arrays) if fast else b""
        totals = memo.get(key) if fast else None
        if totals is None:
            totals, _ = play_kernel(arrays, machine, kernel.name, fast=fast)
            memo[key] = totals
        kernels.append(kernel_trace(kernel, totals, machine, at, arrays.active, program))
        at += kernels[-1].cycles
        if progress is not None:
            progress(number + 1, len(program.kernels))
    fidelity = "estimate" if fast else "event"
    digest = "" if fast else program.hash
    return Trace(program.name, program.chip, program.dtype, fidelity, digest, program.model, tuple(kernels))


def play_kernel(arrays: KernelArrays, machine: Ints, name: str, *, fast: bool, room: int = 0) -> tuple[Ints, Ints]:
    """Return the totals of one kernel and the events that `room` had space for."""
    ranges = interior(arrays) if fast else NO_RANGES
    rows = np.zeros((room, play.EVENT_FIELDS), np.int64)
    totals, n = play.play(arrays.code, machine, arrays.initial, arrays.active, fast, ranges, rows)
    if totals[play.STATUS] != play.OK:
        problem = "deadlock" if totals[play.STATUS] == play.DEADLOCK else "semaphore overflow"
        raise InternalError("OC9007", name, f"{problem} after {totals[play.INSTRUCTIONS]} instructions")
    return totals, rows[:n]


def _key(arrays: KernelArrays) -> bytes:
    """Return everything that decides durations: the code without addresses, strides and values."""
    code = arrays.code
    affines, has, integers = code.affines.copy(), code.has.copy(), code.integers.copy()
    transfers, weights, requantize = (code.ops == 1) | (code.ops == 2), code.ops == 3, code.ops == 5
    products_and_lanes = (code.ops >= 4) & (code.ops <= 8)
    for rows, places in ((transfers, (0, 1, 6)), (weights, (0,)), (products_and_lanes, (0, 1, 2))):
        for at in places:
            affines[rows, at], has[rows, at] = 0, False
    integers[transfers, 8:15] = 0
    integers[requantize, 13:] = 0
    parts = (code.ops, code.waits, code.signals, code.subs, integers, affines, has, code.starts, arrays.initial)
    return b"".join(p.tobytes() for p in parts) + str(arrays.active).encode()


def interior(arrays: KernelArrays) -> Ints:
    """Return, for the two outer levels of loops, the range of indices in which the level's index clips nothing."""
    return np.array([_range(arrays.code, level) for level in range(play.LEVELS)], np.int64)


def _range(code: Code, level: int) -> tuple[int, int]:
    low, high, has_loop = 0, 1 << 40, False
    for stream in range(4):
        open_loops: list[tuple[int, int]] = []
        for i in range(int(code.starts[stream]), int(code.starts[stream + 1])):
            while open_loops and open_loops[-1][0] <= i:
                open_loops.pop()
            if code.ops[i] == LOOP.OP:
                count, body = int(code.integers[i][0]), int(code.integers[i][1])
                if len(open_loops) == level:
                    high, has_loop = min(high, count - 1), True
                open_loops.append((i + 1 + body, count))
                continue
            counts = [c for _, c in open_loops]
            for row, size, limit in _extents(code, i, level):
                low, high = _narrow(row, size, limit, counts, level, low, high)
    return (low, high) if has_loop else (0, -1)


def _extents(code: Code, i: int, level: int) -> list[tuple[Ints, int, int | None]]:
    """Return (operand, size, limit) of what the level's index can clip: remaining extents have no limit."""
    at = 1 + level
    op, integers, affines, has = code.ops[i], code.integers[i], code.affines[i], code.has[i]
    if op in (1, 2):
        return [(affines[2 + d], int(integers[d]), int(integers[4 + d])) for d in range(4) if affines[2 + d][at]]
    if op == 3:
        places = ((1, 0), (2, 1))
    elif op == 4:
        places = ((3, 0), (4, 1), (5, 2), (6, 3), (7, 4))
    elif 5 <= op <= 8:
        places = ((3, 0), (4, 1), (5, 2), (6, 3))
    else:
        return []
    return [(affines[a], int(integers[n]), None) for a, n in places if has[a] and affines[a][at]]


def _narrow(
    row: Ints, size: int, limit: int | None, counts: list[int], level: int, low: int, high: int
) -> tuple[int, int]:
    inner = [int(row[1 + other]) * (count - 1) for other, count in enumerate(counts) if other != level]
    base, step = int(row[0]), int(row[1 + level])
    least, most = base + sum(min(0, v) for v in inner), base + sum(max(0, v) for v in inner)
    bounds = [(least, size if limit is None else 0, 1)]
    if limit is not None:
        bounds.append((-most, size - limit, -1))
    for value, needed, sign in bounds:  # sign * step * index + value >= needed
        slope = sign * step
        if slope > 0:
            low = max(low, -(-(needed - value) // slope))
        else:
            high = min(high, (value - needed) // -slope)
    return low, high


def _events(rows: Ints, number: int, offset: int, kernel: KernelCode, program: Program) -> NDArray[np.void]:
    out = np.zeros(len(rows), EVENT)
    unit, at = rows[:, 0], rows[:, 3]
    lengths = [end - start - 1 for start, end in zip(kernel.starts, kernel.ends, strict=True)]
    behind = np.array(kernel.starts) + 1 - np.cumsum([0, *lengths[:3]])
    out["kernel"], out["unit"], out["record"] = number, unit, at + behind[unit]
    for stream, records in enumerate(program.streams):
        own = unit == stream
        out["op"][own] = records["op"][out["record"][own]]
    out["start"], out["end"], out["free"] = rows[:, 1] + offset, rows[:, 2] + offset, rows[:, 4] + offset
    out["dram_bytes"] = rows[:, 5]
    return out


def kernel_trace(
    kernel: KernelCode, totals: Ints, machine: Ints, start: int, active: int, program: Program
) -> KernelTrace:
    """Return a kernel's totals with its time shared out among the causes."""
    t = [int(v) for v in totals]
    barrier = int(machine[timing.BARRIER_CYCLES])
    return KernelTrace(
        kernel.name, kernel.nodes, "matmul" if t[play.N_MATMULS] else "vector", start, t[play.CYCLES] + barrier,
        kernel.macs, t[play.MATRIX_BUSY], t[play.VECTOR_BUSY], t[play.DRAM_READ], t[play.DRAM_WRITE],
        t[play.SHARED_BYTES], t[play.LOCAL_READ], t[play.LOCAL_WRITE], t[play.ACCUMULATOR_BYTES],
        t[play.VECTOR_LANES], t[play.INSTRUCTIONS], active, kernel.local_bytes,
        _waterfall(t, machine, program, barrier),
    )  # fmt: skip


def _waterfall(t: list[int], machine: Ints, program: Program, barrier: int) -> tuple[tuple[str, Fraction], ...]:
    parts = {name: Fraction(0) for name in ("useful", "underfill", "fill", "weights", "memory", "vector", "launch")}
    parts["launch"] = Fraction(barrier)
    cycles = t[play.CYCLES]
    if t[play.N_MATMULS]:
        peak = program.chip.peak_macs_per_cycle(program.dtype)
        parts["useful"] = min(Fraction(t[play.MACS], peak), Fraction(t[play.MATRIX_BUSY]))
        parts["underfill"] = t[play.MATRIX_BUSY] - parts["useful"]
        parts["weights"] = Fraction(t[play.STALL_WEIGHTS])
        parts["memory"], parts["vector"] = Fraction(t[play.STALL_MEMORY]), Fraction(t[play.STALL_VECTOR])
        parts["fill"] = Fraction(t[play.STALL_FILL])
        tail = cycles - t[play.LAST_MATRIX]
        drain = min(tail, timing.matmul_latency(machine))
        to_vector = max(0, min(tail, t[play.LAST_VECTOR] - t[play.LAST_MATRIX]) - drain)
        parts["fill"] += drain
        parts["vector"] += to_vector
        parts["memory"] += tail - drain - to_vector
    elif t[play.LAST_VECTOR]:
        parts["memory"] = Fraction(t[play.STALL_MEMORY] + cycles - t[play.LAST_VECTOR])
        parts["vector"] = cycles - parts["memory"]
    else:
        parts["memory"] = Fraction(cycles)
    return tuple(parts.items())
