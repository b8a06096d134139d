"""Random things to test with: machines, kernels of instructions, chips, small integer graphs.

In: a `random.Random` (seeded loops hand in their own, hypothesis hands in one that it shrinks). Out: valid objects: the
semaphores of a kernel are balanced and no order of its streams can deadlock, because each step takes only tokens that
are there when the steps run one after the other, and every loop body gives back what it took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import hypothesis.strategies as st
import numpy as np
from numpy.typing import NDArray

from onchip.isa import (
    LD,
    LOAD,
    LOOP,
    LUT,
    MATRIX,
    MM,
    NOP,
    RED,
    RQ,
    ST,
    STORE,
    VECTOR,
    VOP,
    WLD,
    Affine,
    Instruction,
    timing,
)
from onchip.isa.fields import LEVELS, SEMAPHORES
from tests.networks import network, small_chip

MAX_TOKENS = 60  # the engine's queues hold 64
Streams = tuple[list[Instruction], list[Instruction], list[Instruction], list[Instruction]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Four streams without their barriers, and what the barrier sets."""

    streams: Streams
    initial: tuple[int, ...]
    active: int

    @property
    def size(self) -> int:
        return sum(map(len, self.streams))


def machine(rng: Random) -> NDArray[np.int64]:
    """Return a small random machine array: any dataflow, odd rational rates, some with shared memory."""
    m = np.zeros(timing.MACHINE_SIZE, np.int64)
    m[timing.DATAFLOW], m[timing.SERIAL] = rng.choice((0, 0, 1, 2)), rng.random() < 0.3
    m[timing.ROWS], m[timing.COLUMNS], m[timing.UNITS] = rng.randint(1, 6), rng.randint(1, 6), rng.randint(1, 3)
    for at in (timing.NATIVE_M, timing.NATIVE_N, timing.NATIVE_K):
        m[at] = rng.randint(1, 4)
    for at in (timing.READ_NUM, timing.WRITE_NUM, timing.WEIGHT_NUM, timing.DRAM_NUM):
        m[at], m[at + 1] = rng.randint(4, 40), rng.randint(1, 7)
    m[timing.SHARED_NUM], m[timing.SHARED_DEN] = rng.choice((0, rng.randint(5, 50))), rng.randint(1, 5)
    m[timing.DRAM_LATENCY], m[timing.SHARED_LATENCY] = rng.choice((0, 1, rng.randint(2, 40))), rng.randint(0, 9)
    m[timing.CORE_NUM], m[timing.CORE_DEN] = (
        rng.choice((1 << 20, rng.randint(3, 30))),
        rng.choice((1, rng.randint(1, 5))),
    )
    m[timing.LANES], m[timing.CORES] = rng.randint(1, 8), rng.randint(1, 4)
    m[timing.RATES :] = [rng.randint(1, 8) for _ in range(256)]
    return m


# --- instructions -----------------------------------------------------------------------------------------------------
def transfer(rng: Random, depth: int) -> dict[str, int | Affine]:
    fields: dict[str, int | Affine] = {"level": int(rng.random() < 0.3), "sharers": rng.choice((1, 1, 2, 3))}
    for d in range(4):
        size = rng.randint(1, 12 if d == 3 else 3)
        fields[f"box{d}"], fields[f"limit{d}"] = size, size + rng.randint(-1, 6)
        if rng.random() < 0.4:
            fields[f"c{d}"] = extent(rng, depth, rng.randint(-2, 2), (-1, 0, 1, 2))
    return fields


def extent(rng: Random, depth: int, base: int, steps: tuple[int, ...]) -> Affine:
    strides = [rng.choice(steps) if level < depth else 0 for level in range(LEVELS)]
    return Affine(base, (strides[0], strides[1], strides[2], strides[3]))


def left(rng: Random, depth: int, size: int) -> Affine:
    """Return a remaining extent: mostly none, else one that shrinks along the loops and may be empty or negative."""
    if rng.random() < 0.7:
        return Affine()
    return extent(rng, depth, size + rng.randint(-2, 4), (0, -1, -2, 1)) if rng.random() < 0.9 else Affine(-1)


def lanes(rng: Random, depth: int) -> dict[str, int | Affine]:
    sizes = {
        "rows0": rng.randint(1, 2),
        "rows1": rng.randint(1, 3),
        "rows2": rng.randint(1, 4),
        "n": rng.randint(1, 12),
    }
    remaining = {f"left{i}": left(rng, depth, sizes[f"rows{i}"]) for i in range(3)}
    types = {"a_type": rng.randint(0, 3), "d_type": rng.randint(0, 3), "a_step": rng.randint(0, 1)}
    return {**sizes, **remaining, **types, "n_left": left(rng, depth, sizes["n"])}


def instruction(rng: Random, stream: int, depth: int) -> Instruction:
    """Return an instruction of a stream whose extents follow `depth` loops; addresses stay 0, they have no duration."""
    draw = rng.random()
    if draw < 0.1:
        return NOP()
    if stream in (LOAD, STORE):
        return (LD if stream == LOAD else ST)(**transfer(rng, depth))  # type: ignore[arg-type]
    kind = rng.choice((0, 1, 4, 7))
    if stream == MATRIX:
        k, n = rng.randint(1, 6), rng.randint(1, 6)
        sides = {"k": k, "n": n, "k_left": left(rng, depth, k), "n_left": left(rng, depth, n), "type": kind}
        if draw < 0.5:
            return WLD(pitch=n, **sides)  # type: ignore[arg-type]
        rows = {f"rows{i}": rng.randint(1, 4) for i in range(3)}
        remaining = {f"left{i}": left(rng, depth, rows[f"rows{i}"]) for i in range(3)}
        return MM(run_length=k, **sides, **rows, **remaining)  # type: ignore[arg-type]
    common = lanes(rng, depth)
    if draw < 0.3:
        return RQ(**common)  # type: ignore[arg-type]
    if draw < 0.45:
        return RED(sub=rng.randint(0, 2), **common)  # type: ignore[arg-type]
    if draw < 0.55:
        return LUT(**common)  # type: ignore[arg-type]
    second = {"b_type": rng.randint(0, 3), "b_step": rng.randint(0, 1), "has_immediate": rng.randint(0, 1)}
    return VOP(sub=rng.choice((*range(16), 64, 70)), **common, **second)  # type: ignore[arg-type]


# --- kernels ----------------------------------------------------------------------------------------------------------
class Writer:
    """Writes a kernel step by step; `tokens` is what the semaphores hold when the steps run one after the other."""

    def __init__(self, rng: Random, credits: bool) -> None:
        self.rng, self.credits = rng, credits
        self.initial = (
            [rng.choice((0, 0, 1, 2)) for _ in SEMAPHORES] if not credits else [rng.randint(1, 3) for _ in SEMAPHORES]
        )
        self.tokens, self.signals = list(self.initial), [0] * len(SEMAPHORES)
        self.streams: Streams = ([], [], [], [])
        self.depth = [0, 0, 0, 0]
        self.times = 1

    def step(self) -> None:
        """Write an instruction that waits for tokens that are there, and signals."""
        rng, stream = self.rng, self.rng.choice((LOAD, MATRIX, MATRIX, VECTOR, STORE))
        x = instruction(rng, stream, self.depth[stream])
        wait = self.pick(lambda q: SEMAPHORES[q][1] == stream and self.tokens[q] > 0, 0.6)
        signal = self.pick(lambda q: SEMAPHORES[q][0] == stream, 0.4)
        self.emit(stream, x, wait, signal)

    def pick(self, allowed: Callable[[int], bool], chance: float) -> list[int]:
        return [q for q in range(len(SEMAPHORES)) if allowed(q) and self.rng.random() < chance]

    def emit(self, stream: int, x: Instruction, wait: list[int], signal: list[int], times: int = 1) -> None:
        for q in wait:
            self.tokens[q] -= times
        for q in signal:
            self.tokens[q] += times
            self.signals[q] += times * self.times
        self.streams[stream].append(replace(x, wait=sum(1 << q for q in wait), signal=sum(1 << q for q in signal)))

    def private_loop(self) -> None:
        """Write a loop of one stream: each turn takes a token that is there already, or adds one."""
        stream, count = self.rng.randrange(4), self.rng.randint(1, 3)
        if self.depth[stream] == LEVELS:
            return
        self.depth[stream] += 1
        wait = self.pick(lambda q: SEMAPHORES[q][1] == stream and self.tokens[q] >= count, 0.6)
        signal = self.pick(lambda q: SEMAPHORES[q][0] == stream, 0.4)
        self.streams[stream].append(LOOP(count=count, body=1))
        self.emit(stream, instruction(self.rng, stream, self.depth[stream]), wait, signal, count)
        self.depth[stream] -= 1

    def shared_loop(self, count: int, n_steps: int, *, nest: bool) -> None:
        """Write a loop that all streams with something in its body run, some of them as two nested loops."""
        rng, outer, before = self.rng, self.streams, list(self.tokens)
        if max(self.depth) >= LEVELS - 1:
            return
        halves = [nest and count % 2 == 0 and count > 2 and rng.random() < 0.3 for _ in range(4)]
        self.streams, self.depth = ([], [], [], []), [d + 1 + h for d, h in zip(self.depth, halves, strict=True)]
        self.times *= count
        self.block(n_steps, nest=nest)
        self.balance(before)
        for stream, body in enumerate(self.streams):
            if body:
                heads = [LOOP(count=count // 2, body=len(body) + 1), LOOP(count=2, body=len(body))]
                outer[stream].extend((heads if halves[stream] else [LOOP(count=count, body=len(body))]) + body)
        self.times //= count
        self.streams, self.depth = outer, [d - 1 - h for d, h in zip(self.depth, halves, strict=True)]

    def block(self, n_steps: int, *, nest: bool = True) -> None:
        for _ in range(n_steps):
            draw = self.rng.random()
            if draw < 0.12 and nest:
                self.shared_loop(self.rng.randint(1, 4), self.rng.randint(1, 5), nest=nest)
            elif draw < 0.24:
                self.private_loop()
            else:
                self.step()

    def balance(self, wanted: list[int]) -> None:
        """Write the waits and signals that bring the tokens back to `wanted`."""
        for q, (producer, consumer) in enumerate(SEMAPHORES):
            while self.tokens[q] > wanted[q]:
                self.emit(consumer, NOP(), [q], [])
            while self.tokens[q] < wanted[q]:
                self.emit(producer, NOP(), [], [q])

    def handshake(self) -> None:
        """Write one round trip over every pair of semaphores, so that no stream runs away from another."""
        for q, (producer, consumer) in enumerate(SEMAPHORES):
            if producer < consumer:
                back = SEMAPHORES.index((consumer, producer))
                depths = self.depth[producer], self.depth[consumer]
                self.emit(producer, instruction(self.rng, producer, depths[0]), [back], [q])
                self.emit(consumer, instruction(self.rng, consumer, depths[1]), [q], [back])


def kernel(rng: Random) -> Kernel:
    """Return a small kernel: some thousand cycles at most, loops up to four deep."""
    while True:
        writer = Writer(rng, credits=False)
        writer.block(rng.randint(2, 12))
        writer.balance(writer.initial)
        if max(i + s for i, s in zip(writer.initial, writer.signals, strict=True)) <= MAX_TOKENS:
            return Kernel(writer.streams, tuple(writer.initial), rng.choice((1, 1, 2, 3)))


def long_kernel(rng: Random, *, level: int = 0) -> Kernel:
    """Return a kernel with one long loop over all streams, extents clipped at its ends, as in compiled code.

    At level 1 the long loop stands in a short one, with steps before and behind it.
    """
    count = rng.randint(5, 150)

    class Long(Writer):
        def block(self, n_steps: int, *, nest: bool = True) -> None:
            self.handshake()
            if not nest:
                super().block(n_steps, nest=False)
                return
            self.some_steps()
            self.shared_loop(count, n_steps, nest=False)
            self.some_steps()

        def some_steps(self) -> None:
            for _ in range(self.rng.randint(0, 2)):
                self.step()

        def step(self) -> None:
            stream = self.rng.choice((LOAD, MATRIX, MATRIX, VECTOR, STORE))
            self.emit(stream, instruction(self.rng, stream, self.depth[stream]), [], [])

        def private_loop(self) -> None:
            stream, count = self.rng.randrange(4), self.rng.randint(1, 3)
            self.streams[stream].append(LOOP(count=count, body=1))
            self.emit(stream, instruction(self.rng, stream, self.depth[stream] + 1), [], [])

    writer = Long(rng, credits=True)
    if level == 0:
        writer.shared_loop(count, rng.randint(0, 5), nest=False)
    else:
        writer.shared_loop(rng.choice((1, 2, 3, 5)), rng.randint(0, 5), nest=True)
    streams = tuple([stretched(rng, x, count, level) for x in code] for code in writer.streams)
    return Kernel((streams[0], streams[1], streams[2], streams[3]), tuple(writer.initial), rng.choice((1, 1, 2)))


def stretched(rng: Random, x: Instruction, count: int, level: int = 0) -> Instruction:
    """Make extents last: a coordinate or a remaining extent runs out near an end of the loop of `count` at a level."""
    changes: dict[str, int | Affine] = {}
    for name in ("k_left", "n_left", "left0", "left1", "left2"):
        value = getattr(x, name, None)
        if isinstance(value, Affine) and value != Affine() and rng.random() < 0.8:
            step = value.strides[level]
            changes[name] = value.plus(-step * (count - 1) if step < 0 else rng.randint(0, 3))
    for d in range(4):
        if isinstance(x, LD | ST) and getattr(x, f"c{d}").strides[level] and rng.random() < 0.8:
            step = getattr(x, f"c{d}").strides[level]
            changes[f"limit{d}"] = getattr(x, f"box{d}") + max(step, 0) * (count - 1) + rng.randint(-4, 2)
            changes[f"c{d}"] = getattr(x, f"c{d}").plus(-step * (count - 1) if step < 0 else 0)
    return replace(x, **changes)  # type: ignore[arg-type]


randoms = st.randoms(use_true_random=False)
machines = st.builds(machine, randoms)
kernels = st.builds(kernel, randoms)
long_kernels = st.builds(long_kernel, randoms)
networks = st.builds(network, randoms)
small_chips = st.builds(small_chip, randoms)
