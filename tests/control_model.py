"""The machine's control, stepped cycle by cycle: the witness of the event engine, from the text of the instructions.

In: four streams of instructions of one kernel, the chip's numbers, the semaphores' first counts. Out: the cycle in
which everything has completed, and each instruction's start and completion. Slow and plain on purpose; shares no code
with `simulator/` and computes durations itself, from what `isa/` says in words: every cycle each stream, LOAD first,
starts its next instruction if its unit is free and every semaphore it waits for has a token; it takes one from each
and signals at completion; completions of a stream are in order. LD and ST hold their stream until the ports have
moved their bytes; a port serves requests in their order, a part of a cycle that one request leaves goes to the next
in the queue. WLD works in the shadow sub-unit, MM takes the weights over in its first cycle: neither holds the
stream. The vector unit is free again when its result is written. A LOOP takes one cycle to enter, none to repeat. An
empty instruction works for one cycle and then passes the pipeline of its unit as any other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from onchip.isa import LD, LOOP, LUT, MM, RED, RQ, ST, VOP, WLD, Affine, Instruction, timing

TYPE_BYTES = (1, 2, 4, 0, 2, 2, 4, 1)  # of local memory: accumulator words (3) use no port
N_STREAMS, N_SEMAPHORES, WATCHDOG_CYCLES = 4, 8, 1_000_000


class Deadlock(Exception):
    """No stream can go on and nothing is under way."""


@dataclass(slots=True)
class Stream:
    code: Sequence[Instruction]
    pc: int = 0
    loops: list[list[int]] = field(default_factory=list[list[int]])  # first, end, count, index
    free: int | None = 0  # the cycle from which it may issue; None while a transfer is in the ports
    completed: int = 0
    signals: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])

    def indices(self) -> tuple[int, ...]:
        return tuple(loop[3] for loop in self.loops)

    def advance(self) -> None:
        self.pc += 1
        while self.loops and self.pc == self.loops[-1][1]:
            loop = self.loops[-1]
            loop[3] += 1
            if loop[3] < loop[2]:
                self.pc = loop[0]
                return
            self.loops.pop()


@dataclass(slots=True)
class Request:
    """A transfer in the ports: bytes that DRAM and the shared memory still have to move."""

    stream: int
    left: list[Fraction]
    latency: int
    signal: int
    event: int


@dataclass(slots=True)
class Machine:
    numbers: NDArray[np.int64]
    active: int
    tokens: list[int]
    streams: list[Stream]
    queues: tuple[deque[Request], deque[Request]] = field(default_factory=lambda: (deque[Request](), deque[Request]()))
    events: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])  # stream, start, completion
    array_free: int = 0
    weights_ready: int = 0
    last_sum: int = 0
    vector_free: int = 0

    def number(self, at: int) -> int:
        return int(self.numbers[at])

    def rate(self, at: int) -> Fraction:
        return Fraction(self.number(at), self.number(at + 1))

    def complete(self, stream: int, event: int, end: int, signal: int) -> None:
        """Results come in order: an instruction completes no sooner than the one before it."""
        s = self.streams[stream]
        s.completed = max(s.completed, end)
        s.signals.append((s.completed, signal))
        self.events[event] = (stream, self.events[event][1], s.completed)

    def is_busy(self) -> bool:
        return any(self.queues) or any(s.signals for s in self.streams)

    def is_running(self) -> bool:
        return self.is_busy() or any(s.pc < len(s.code) for s in self.streams)

    # --- one cycle ----------------------------------------------------------------------------------------------------
    def cycle(self, now: int) -> None:
        for s in self.streams:
            while s.signals and s.signals[0][0] <= now:
                mask = s.signals.popleft()[1]
                for q in range(N_SEMAPHORES):
                    self.tokens[q] += mask >> q & 1
        for number in range(N_STREAMS):
            while self.starts(number, now):
                pass
        if any(self.queues):
            for queue, rate in zip(self.queues, self.port_rates(), strict=True):
                self.move(queue, rate, now)

    def starts(self, number: int, now: int) -> bool:
        s = self.streams[number]
        if s.free is None or s.free > now or s.pc == len(s.code):
            return False
        x = s.code[s.pc]
        waited = [q for q in range(N_SEMAPHORES) if x.wait >> q & 1]
        if not self.unit_is_free(x, now) or any(self.tokens[q] == 0 for q in waited):
            return False
        for q in waited:
            self.tokens[q] -= 1
        self.events.append((number, now, -1))
        self.begin(number, s, x, now)
        return True

    def unit_is_free(self, x: Instruction, now: int) -> bool:
        if isinstance(x, MM):
            return now >= self.array_free and now >= self.weights_ready
        if isinstance(x, WLD):
            return now >= self.weights_ready and (not self.number(timing.SERIAL) or now >= self.last_sum)
        return not isinstance(x, RQ | VOP | RED | LUT) or now >= self.vector_free

    def begin(self, number: int, s: Stream, x: Instruction, now: int) -> None:
        event, at, s.free, end = len(self.events) - 1, s.indices(), now + 1, now + 1
        if isinstance(x, LD | ST):
            request = self.request(number, x, at, event)
            end += request.latency
            if any(request.left):
                s.free = None
                s.advance()
                return
        elif isinstance(x, WLD):
            s.free, end = now, now + self.weight_cycles(x, at)
            self.weights_ready = end
        elif isinstance(x, MM):
            s.free, self.array_free = now, now + self.array_cycles(x, at)
            end = self.last_sum = self.array_free + self.diagonal()
        elif isinstance(x, RQ | VOP | RED | LUT):
            s.free = end = self.vector_free = now + self.lane_cycles(x, at) + timing.VECTOR_LATENCY
        self.complete(number, event, end, x.signal)
        s.advance()
        if isinstance(x, LOOP):
            s.loops.append([s.pc, s.pc + x.body, x.count, 0])

    # --- far memory ---------------------------------------------------------------------------------------------------
    def port_rates(self) -> tuple[Fraction, Fraction]:
        """A core's share of DRAM (never more than its bytes in flight allow) and of the shared memory."""
        dram = min(self.rate(timing.DRAM_NUM) / self.active, self.rate(timing.CORE_NUM))
        return dram, self.rate(timing.SHARED_NUM) / self.active

    def request(self, number: int, x: LD | ST, at: tuple[int, ...], event: int) -> Request:
        sides = ((x.c0, x.box0, x.limit0), (x.c1, x.box1, x.limit1), (x.c2, x.box2, x.limit2), (x.c3, x.box3, x.limit3))
        inside = [sum(0 <= c.at(at) + i < limit for i in range(box)) for c, box, limit in sides]
        size, on_dram = prod(inside), x.level == 0
        has_shared = self.number(timing.SHARED_NUM) > 0
        left = [Fraction(ceil(Fraction(size, x.sharers)) if on_dram else 0), Fraction(size if has_shared else 0)]
        latency = self.number(timing.DRAM_LATENCY if on_dram else timing.SHARED_LATENCY)
        made = Request(number, left, latency if isinstance(x, LD) and size else 0, x.signal, event)
        for port in (0, 1):
            if left[port]:
                self.queues[port].append(made)
        return made

    def move(self, queue: deque[Request], budget: Fraction, now: int) -> None:
        port = 0 if queue is self.queues[0] else 1
        while queue and budget > 0:
            first = queue[0]
            moved = min(budget, first.left[port])
            first.left[port] -= moved
            budget -= moved
            if first.left[port]:
                return
            queue.popleft()
            if not any(first.left):
                self.streams[first.stream].free = now + 1
                self.complete(first.stream, first.event, now + 1 + first.latency, first.signal)

    # --- durations ----------------------------------------------------------------------------------------------------
    def weight_cycles(self, x: WLD, at: tuple[int, ...]) -> int:
        k, n = left(x.k, x.k_left, at), left(x.n, x.n_left, at)
        if k * n == 0 or self.number(timing.DATAFLOW) != timing.WEIGHT_STATIONARY:
            return 1
        return max(self.number(timing.ROWS), ceil(k * n * TYPE_BYTES[x.type] / self.rate(timing.WEIGHT_NUM)))

    def array_cycles(self, x: MM, at: tuple[int, ...]) -> int:
        m = left(x.rows0, x.left0, at) * left(x.rows1, x.left1, at) * left(x.rows2, x.left2, at)
        k, n = left(x.k, x.k_left, at), left(x.n, x.n_left, at)
        if m * k * n == 0:
            return 1
        size, units, read = TYPE_BYTES[x.type], self.number(timing.UNITS), self.rate(timing.READ_NUM)
        if self.number(timing.DATAFLOW) == timing.WEIGHT_STATIONARY:  # a row a cycle
            return max(m, ceil(m * k * size / read))
        reading = ceil((m * k + k * n) * size / read)
        if (
            self.number(timing.DATAFLOW) == timing.OUTPUT_STATIONARY
        ):  # k cycles a block of rows x (columns of all units)
            blocks = parts(m, self.number(timing.ROWS)) * parts(n, self.number(timing.COLUMNS) * units)
            return max(blocks * k, reading)
        native = (timing.NATIVE_M, timing.NATIVE_N, timing.NATIVE_K)  # one native shape a unit and cycle
        shapes = prod(parts(size, self.number(at)) for size, at in zip((m, n, k), native, strict=True))
        return max(parts(shapes, units), reading)

    def diagonal(self) -> int:
        if self.number(timing.DATAFLOW) == timing.DOT_PRODUCT:
            return timing.DOT_LATENCY
        return self.number(timing.ROWS) + self.number(timing.COLUMNS) - 2

    def lane_cycles(self, x: RQ | VOP | RED | LUT, at: tuple[int, ...]) -> int:
        rows = left(x.rows0, x.left0, at) * left(x.rows1, x.left1, at) * left(x.rows2, x.left2, at)
        n = left(x.n, x.n_left, at)
        if rows * n == 0:
            return 1
        read = (n if x.a_step else 1) * TYPE_BYTES[x.a_type]
        if isinstance(x, VOP) and not x.has_immediate:
            read += (n if x.b_step else 1) * TYPE_BYTES[x.b_type]
        written = (1 if isinstance(x, RED) else n) * TYPE_BYTES[x.d_type]
        kind = x.sub if isinstance(x, VOP) else {RQ: 200, RED: 201, LUT: 202}[type(x)]
        compute = rows * parts(n, self.number(timing.RATES + kind))
        reading, writing = rows * read / self.rate(timing.READ_NUM), rows * written / self.rate(timing.WRITE_NUM)
        return max(compute, ceil(reading), ceil(writing))


def left(size: int, remaining: Affine, at: tuple[int, ...]) -> int:
    return size if remaining == Affine() else max(0, min(size, remaining.at(at)))


def parts(a: int, b: int) -> int:
    return ceil(Fraction(a, b))


def play(
    streams: Sequence[Sequence[Instruction]],
    numbers: NDArray[np.int64],
    initial: Sequence[int] = (0,) * 8,
    active: int = 1,
) -> tuple[int, list[tuple[int, int, int]]]:
    """Return the cycles of a kernel and (stream, start, completion) of its instructions, in order of start."""
    machine = Machine(numbers, active, list(initial), [Stream(code) for code in streams])
    now = 0
    while machine.is_running():
        before = len(machine.events)
        machine.cycle(now)
        if machine.is_running() and len(machine.events) == before and not machine.is_busy():
            raise Deadlock(f"cycle {now}: streams stand at {[s.pc for s in machine.streams]}")
        now += 1
        assert now < WATCHDOG_CYCLES
    return max(s.completed for s in machine.streams), machine.events
