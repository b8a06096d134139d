"""The machine as the instructions define it: one instruction at a time, streams in any order that the semaphores allow.

In: a Program, the graph's inputs, a `random.Random` that picks the next stream. Out: the graph's outputs. Uses nothing
of `simulator/`: instructions are read back from the program's words and run by their own `run`. Slow and plain on
purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.evaluate import evaluate
from onchip.ir.program import KernelCode, Program
from onchip.isa import BARRIER, LOOP, Affine, Instruction
from onchip.isa.floats import PROGRAM_TYPES, read_floats, write_floats
from onchip.isa.memory import Memory

Arrays = dict[str, NDArray[Any]]
NUMPY = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "u8": np.uint8, "bool": np.uint8}


@dataclass(slots=True)
class Walk:
    """A stream's place in its code: yields each instruction with the loop indices around it."""

    code: list[Instruction]
    loops: list[list[int]] = field(default_factory=list[list[int]])  # first, end, count, index
    pc: int = 0

    def __iter__(self) -> Iterator[tuple[Instruction, tuple[int, ...]]]:
        while self.pc < len(self.code):
            x = self.code[self.pc]
            yield x, tuple(loop[3] for loop in self.loops)
            self.pc += 1
            if isinstance(x, LOOP):
                self.loops.append([self.pc, self.pc + x.body, x.count, 0])
            while self.loops and self.pc == self.loops[-1][1]:
                loop = self.loops[-1]
                loop[3] += 1
                if loop[3] < loop[2]:
                    self.pc = loop[0]
                    break
                self.loops.pop()


def kernel_streams(program: Program, kernel: KernelCode) -> tuple[list[list[Instruction]], BARRIER]:
    """Return a kernel's four streams without their barriers, and the barrier."""
    code = [list(program.instructions(s))[kernel.starts[s] : kernel.ends[s]] for s in range(4)]
    barrier = code[0][0]
    assert isinstance(barrier, BARRIER) and all(isinstance(stream[0], BARRIER) for stream in code)
    return [stream[1:] for stream in code], barrier


def initial_counts(barrier: BARRIER) -> list[int]:
    return [barrier.counts >> 4 * i & 15 for i in range(8)]


def run_kernel(streams: list[list[Instruction]], counts: list[int], memory: Memory, rng: Random) -> None:
    """Run one core's four streams, each step one instruction of a stream that can go on."""
    tokens = list(counts)
    walks = [iter(Walk(code)) for code in streams]
    heads = [next(walk, None) for walk in walks]
    while any(head is not None for head in heads):
        ready = [
            s for s, head in enumerate(heads) if head and all(tokens[q] > 0 for q in range(8) if head[0].wait >> q & 1)
        ]
        assert ready, "deadlock"
        for _ in range(rng.choice((1, 2, 50))):  # stay with a stream for a while: runs far ahead are what breaks
            s = ready[0] if len(ready) == 1 else rng.choice(ready)
            head = heads[s]
            if head is None or any(tokens[q] == 0 for q in range(8) if head[0].wait >> q & 1):
                break
            x, at = head
            x.run(memory, at)
            for q in range(8):
                tokens[q] += (x.signal >> q & 1) - (x.wait >> q & 1)
            heads[s] = next(walks[s], None)
            ready = [s]
    assert tokens == counts, "semaphores do not return to their first counts"


def run_program(program: Program, inputs: Mapping[str, NDArray[Any]], rng: Random) -> Arrays:
    """Return the outputs of a program."""
    far = np.zeros(program.far_bytes + 64, np.uint8)
    far[:] = rng.randrange(256)  # nothing may depend on what memory held before
    before = program.host_before
    given = dict(inputs)
    if before is not None:
        given |= evaluate(before, {name: inputs[name] for name in before.inputs})
    for region in program.regions:
        data = region.data
        if region.kind == "input":
            data = _bytes(program, given[region.name], region.dtype)
        if data is not None:
            far[region.address : region.address + len(data)] = data
    for kernel in program.kernels:
        streams, barrier = kernel_streams(program, kernel)
        cores = [(i, j, k) for i, j, k in np.ndindex(*kernel.core_grid)]
        rng.shuffle(cores)
        for core in cores:
            run_kernel(streams, initial_counts(barrier), _memory(program, far, core, rng), rng)
    found = given | {
        r.name: _read(program, far, r.address, r.n_bytes, r.dtype, r.shape)
        for r in program.regions
        if r.kind == "output"
    }
    if program.host_after is not None:
        found |= evaluate(program.host_after, {name: found[name] for name in program.host_after.inputs})
    return {name: found[name] for name in program.outputs}


def _memory(program: Program, far: NDArray[np.uint8], core: tuple[int, int, int], rng: Random) -> Memory:
    local = program.chip.local
    garbage = rng.randrange(256)
    words = np.full(local.accumulator_bytes // 4, garbage - 128, np.int32)
    is_float = program.dtype != "int8"
    return Memory(far, np.full(local.size_bytes, garbage, np.uint8), words, core, is_float=is_float)


def _bytes(program: Program, values: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    if dtype in NUMPY:
        return np.ascontiguousarray(values.astype(NUMPY[dtype])).view(np.uint8).reshape(-1)
    return write_floats(PROGRAM_TYPES[program.dtype], np.ascontiguousarray(values, np.float32).reshape(-1))


def _read(
    program: Program, far: NDArray[np.uint8], at: int, n_bytes: int, dtype: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    data = far[at : at + n_bytes].copy()
    return (data.view(NUMPY[dtype]) if dtype in NUMPY else read_floats(PROGRAM_TYPES[program.dtype], data)).reshape(
        shape
    )


def on_core(x: Instruction, core: tuple[int, int, int]) -> Instruction:
    """Return the instruction as a core sees it: its coordinates put into the operands."""
    changes: dict[str, Any] = {}
    for f in fields(x):
        value = getattr(x, f.name)
        if isinstance(value, Affine) and any(value.cores):
            moved = sum(stride * place for stride, place in zip(value.cores, core, strict=True))
            own = Affine(value.base + moved, value.strides, toggle=value.toggle, slot=value.slot)
            changes[f.name] = (
                Affine(-1) if own == Affine() and "left" in f.name else own
            )  # nothing left is not "no limit"
    return replace(x, **changes)
