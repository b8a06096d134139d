"""A machine of real numbers: float programs without rounding, streams in any order that the semaphores allow.

In: a float Program whose constants are masks, the graph's inputs. Out: the graph's outputs. Each element stands as one
double at the address of its first byte, so loads and stores copy as they do for bytes. Values of float programs are
not defined by the instruction set yet; what is assumed here stands beside it: lanes are real numbers, immediates are
the bits of a float32, `and` with 0 gives 0, WLD and MM multiply what they load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.program import Program
from onchip.isa import LD, LOOP, MM, RED, ST, VOP, WLD, Instruction
from onchip.isa.instructions import extent
from onchip.isa.memory import ACC, TYPE_BYTES, row_offsets
from onchip.isa.vector import FLOAT_VOPS, VOPS
from tests.naive_machine import initial_counts, kernel_streams, run_kernel

Reals = NDArray[np.float64]
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4, "tf32": 4, "fp8": 1}
UNARY: dict[int, Callable[[Reals], Reals]] = {
    VOPS["copy"]: np.positive, FLOAT_VOPS["exp"]: np.exp, FLOAT_VOPS["recip"]: np.reciprocal,
    FLOAT_VOPS["rsqrt"]: lambda x: 1 / np.sqrt(x),
}  # fmt: skip
BINARY: dict[int, Callable[[Reals, Reals], Reals]] = {
    VOPS["add"]: np.add, VOPS["sub"]: np.subtract, VOPS["mul"]: np.multiply, VOPS["max"]: np.maximum,
}  # fmt: skip


@dataclass(slots=True)
class Memory:
    """One core's view, every element a double at its first byte (local, far) or word (accumulator)."""

    dram: Reals
    local: Reals
    accumulator: Reals
    core: tuple[int, int]
    shadow: Reals = field(default_factory=lambda: np.zeros((0, 0)))

    def view(self, kind: int, address: int, count: int) -> Reals:
        if kind == ACC:
            return self.accumulator[address : address + count]
        size = TYPE_BYTES[kind]
        assert address >= 0 and address + count * size <= len(self.local)
        return self.local[address : address + count * size : size]

    def load(self, kind: int, address: int, count: int, step: int = 1) -> Reals:
        return self.view(kind, address, count) if step else np.repeat(self.view(kind, address, 1), count)


@dataclass(slots=True)
class Real:
    """An instruction that runs on real numbers."""

    x: Any

    @property
    def wait(self) -> int:
        return self.x.wait

    @property
    def signal(self) -> int:
        return self.x.signal

    def run(self, memory: Memory, at: tuple[int, ...]) -> None:
        if type(self.x) in MEANINGS:
            MEANINGS[type(self.x)](self.x, memory, at)


def _load(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    for address, local, low, high in x.rows(memory, at):
        memory.local[local : local + x.box3] = x.fill
        if address is not None:
            memory.local[local + low : local + high] = memory.dram[address + low : address + high]


def _store(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    for address, local, low, high in x.rows(memory, at):
        if address is not None:
            memory.dram[address + low : address + high] = memory.local[local + low : local + high]


def _weights(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    k, n = extent(x.k, x.k_left, at, memory.core), extent(x.n, x.n_left, at, memory.core)
    base = x.source.at(at, memory.core)
    lines = [memory.load(x.type, base + i * x.pitch, k if x.sub else n) for i in range(n if x.sub else k)]
    memory.shadow = (np.stack(lines, axis=int(x.sub)) if lines else np.zeros((k, n))).copy()


def _multiply(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    core, size = memory.core, TYPE_BYTES[x.type]
    n, k = extent(x.n, x.n_left, at, core), extent(x.k, x.k_left, at, core)
    counts = tuple(extent(getattr(x, f"rows{i}"), getattr(x, f"left{i}"), at, core) for i in range(3))
    taps = np.arange(k) + x.k_begin.at(at, core)
    places = taps // x.run_length * x.run_stride + taps % x.run_length * size
    replaces = x.sub == 0 and all(i == 0 for level, i in enumerate(at) if x.first >> level & 1)
    source, sums = x.source.at(at, core), x.sums.at(at, core)
    strides = (x.source0, x.source1, x.source2), (x.sum0, x.sum1, x.sum2)
    for da, dd in row_offsets(counts, *strides):  # type: ignore[arg-type]
        words = memory.accumulator[sums + dd : sums + dd + n]
        made = memory.local[source + da + places] @ memory.shadow[:k, :n]
        words[:] = made if replaces else words + made


def _lanes(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    counts, n = x.shape(at, memory.core, (x.left0, x.left1, x.left2, x.n_left))
    a, b, d = (operand.at(at, memory.core) for operand in (x.a, x.b, x.d))
    one = float(np.int32(x.immediate).view(np.float32))
    for da, db, dd in row_offsets(counts, (x.a0, x.a1, x.a2), (x.b0, x.b1, x.b2), (x.d0, x.d1, x.d2)):
        left = memory.load(x.a_type, a + da, n, x.a_step)
        right = np.full(n, one) if x.has_immediate else memory.load(x.b_type, b + db, n, x.b_step)
        target = memory.view(x.d_type, d + dd, n)
        if x.sub == VOPS["mac"]:
            target += left * right
        elif x.sub == VOPS["and"]:
            assert x.has_immediate and not x.immediate
            target[:] = 0
        else:
            target[:] = UNARY[x.sub](left) if x.sub in UNARY else BINARY[x.sub](left, right)


def _reduce(x: Any, memory: Memory, at: tuple[int, ...]) -> None:
    counts, n = x.shape(at, memory.core, (x.left0, x.left1, x.left2, x.n_left))
    a, d = x.a.at(at, memory.core), x.d.at(at, memory.core)
    for da, dd in row_offsets(counts, (x.a0, x.a1, x.a2), (x.d0, x.d1, x.d2)):
        row = memory.load(x.a_type, a + da, n, x.a_step)
        memory.view(x.d_type, d + dd, 1)[:] = (row.sum(), row.max(), (row * row).sum())[x.sub]


MEANINGS: dict[type[Instruction], Any] = {
    LD: _load, ST: _store, WLD: _weights, MM: _multiply, VOP: _lanes, RED: _reduce,
}  # fmt: skip


def run_program(program: Program, inputs: dict[str, Any], rng: Random) -> dict[str, Reals]:
    """Return the outputs of a float program."""
    far = np.full(program.far_bytes + 64, 1e6)  # nothing may depend on what memory held before
    size = BYTES[program.dtype]
    for region in program.regions:
        if region.kind == "input":
            values = np.asarray(inputs[region.name], np.float64).reshape(-1)
            far[region.address : region.address + size * len(values) : size] = values
        elif region.data is not None:
            far[region.address : region.address + region.n_bytes] = region.data.view(np.int8)
    for kernel in program.kernels:
        streams, barrier = kernel_streams(program, kernel)
        proxies: Any = [[x if isinstance(x, LOOP) else Real(x) for x in code] for code in streams]
        for core in np.ndindex(*kernel.core_grid):
            local = program.chip.local
            words = np.full(local.accumulator_bytes // 4, -1e6)
            memory: Any = Memory(far, np.full(local.size_bytes, 1e6), words, (core[0], core[1]))
            run_kernel(proxies, initial_counts(barrier), memory, rng)
    return {
        r.name: far[r.address : r.address + size * int(np.prod(r.shape)) : size].reshape(r.shape)
        for r in program.regions
        if r.kind == "output"
    }
