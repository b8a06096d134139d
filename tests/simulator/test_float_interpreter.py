"""The compiled interpreter of float programs against the instructions' own definition: the same bits.

The witness is `Instruction.run` on a float memory. Any NaN stands for any other in accumulator and f32 words; narrow
types have one NaN for writes.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from onchip.isa import LOOP, MM, RED, RQ, VOP, WLD, Affine, Instruction
from onchip.isa.floats import FLOAT_TYPES, write_floats
from onchip.isa.memory import TYPE_BYTES, Memory
from onchip.isa.vector import FLOAT_VOPS, VOPS
from onchip.simulator import interpreter
from onchip.simulator.float_matrix import make_float_scratch
from onchip.simulator.float_vectors import make_float_stage
from onchip.simulator.nests import NEST
from onchip.simulator.products import MARGIN
from onchip.simulator.vectors import make_memory
from tests import naive_machine
from tests.isa.test_floats import numbers
from tests.simulator import random_values as made

SUBS = [VOPS[name] for name in ("add", "sub", "mul", "max", "min", "copy", "mac", "gt", "and")]
N = 400


def memories(rng: Random, kind: int) -> made.Memories:
    """Return memories whose words are numbers of moderate size, and some that are any bits."""
    start, draw = made.memories(rng), np.random.default_rng(rng.randrange(1 << 32))
    words = (draw.standard_normal(made.WORDS) * np.exp2(draw.integers(-6, 6, made.WORDS))).astype(np.float32)
    known = draw.random(made.WORDS) < 0.97
    start.words[known] = words.view(np.int32)[known]
    if kind in FLOAT_TYPES and rng.random() < 0.7:  # else bytes of any kind: infinities and NaN among them
        numbers = draw.standard_normal(made.LOCAL // TYPE_BYTES[kind]).astype(np.float32) * 3
        start.local[:] = write_floats(kind, numbers)
    return start


def check(streams: made.Streams, start: made.Memories) -> None:
    wanted = Memory(start.far.copy(), start.local.copy(), start.words.copy(), is_float=True)
    naive_machine.run_kernel(streams, [0] * 8, wanted, Random(0))
    arrays = made.code(streams)
    memory, far = make_memory(made.LOCAL, made.WORDS), np.zeros(made.FAR + MARGIN, np.uint8)
    far[: made.FAR], memory.local[: made.LOCAL], memory.acc[:] = start.far, start.local, start.words
    longest = max([int(x.n) for s in streams for x in s if isinstance(x, VOP | RED)], default=1)
    status = interpreter.run_floats(
        arrays, np.zeros((len(arrays.ops), NEST), np.int64), np.zeros(8, np.int64), np.arange(4), (0, 0, 0), far,
        memory, make_float_scratch([arrays]), make_float_stage(longest), np.zeros(interpreter.CONTROL, np.int64),
    )  # fmt: skip
    text = "\n".join(f"{s}: {x}" for s, code in enumerate(streams) for x in code)
    assert status == interpreter.DONE, text
    assert not memory.local[made.LOCAL :].any(), "something was written behind the memory"
    for found, words in ((memory.acc, wanted.accumulator), (memory.local[: made.LOCAL].view(np.int32), wanted.local)):
        a, b = found, words.view(np.int32)
        both = np.isnan(a.view(np.float32)) & np.isnan(b.view(np.float32))
        assert np.array_equal(a[~both], b[~both]), text


def vector_instruction(rng: Random, sub: int | None) -> tuple[Instruction, int]:
    """Return a VOP (or a RED where `sub` is None) on any types, and the type of a."""
    counts, n = (rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 4)), rng.choice((1, 3, 5, 8, 17, 33, 100))
    a_type, b_type, d_type = (rng.choice((0, 1, 2, 3, 3, 3, *FLOAT_TYPES)) for _ in range(3))
    (a, a_rows), (b, b_rows) = made.operand(rng, a_type, counts, n), made.operand(rng, b_type, counts, n)
    d, d_rows = made.operand(rng, d_type, counts, n)
    if rng.random() < 0.4:
        d_type, d_rows, d = a_type, a_rows, a
    fields: dict[str, int | Affine] = {"n": n, "a_type": a_type, "d_type": d_type, "a": a, "d": d}
    fields |= {f"rows{i}": c for i, c in enumerate(counts)} | {"a_step": int(rng.random() < 0.8)}
    fields |= {f"a{i}": s for i, s in enumerate(a_rows)} | {f"d{i}": s for i, s in enumerate(d_rows)}
    if rng.random() < 0.2:
        fields |= {"n_left": Affine(rng.choice((-1, n - 1, n))), "left1": Affine(rng.randint(0, 3))}
    if sub is None:
        return RED(sub=rng.randint(0, 2), **fields), a_type  # type: ignore[arg-type]
    second: dict[str, int | Affine] = {"b": b, "b_type": b_type, "b_step": int(rng.random() < 0.8)}
    second |= {f"b{i}": s for i, s in enumerate(b_rows)}
    if rng.random() < 0.3:
        value = rng.choice((0.0, -0.0, 1.5, -3.0e38, np.inf, 1e-40))
        second = {"has_immediate": 1, "immediate": int(np.float32(value).view(np.int32))}
    return VOP(sub=sub, **fields, **second), a_type  # type: ignore[arg-type]


@pytest.mark.parametrize("sub", [*SUBS, None])
def test_lane_operations(sub: int | None) -> None:
    for seed in range(N // 2):
        rng = Random(seed)
        x, kind = vector_instruction(rng, sub)
        check([[], [], [x], []], memories(rng, kind))


@pytest.mark.parametrize("kind", [0, 1, 2, *FLOAT_TYPES])
def test_writes_at_every_border(kind: int) -> None:
    """Numbers around the largest, the smallest and the ties of every type."""
    values = numbers(1000)
    for part in np.array_split(values, 5):
        start = made.memories(Random(len(part)))
        start.words[: len(part)] = part.view(np.int32)
        copied = VOP(n=len(part), sub=VOPS["copy"], a_type=3, d_type=kind, has_immediate=1)
        check([[], [], [copied], []], start)


@pytest.mark.parametrize("kind", [4, 5, 7])
def test_reads_of_every_code(kind: int) -> None:
    codes = np.arange(256, dtype=np.uint8) if kind == 7 else np.arange(1 << 16, dtype=np.uint16)
    for first in range(0, len(codes), 4096):
        start, part = made.memories(Random(0)), codes[first : first + 4096].view(np.uint8)
        start.local[: len(part)] = part
        n = len(part) // TYPE_BYTES[kind]
        check([[], [], [VOP(n=n, sub=VOPS["copy"], a_type=kind, d_type=3, has_immediate=1)], []], start)


@pytest.mark.parametrize("name", FLOAT_VOPS)
def test_functions(name: str) -> None:
    for seed in range(N // 10):
        rng = Random(seed)
        x, kind = vector_instruction(rng, FLOAT_VOPS[name])
        check([[], [], [x], []], memories(rng, kind))


@pytest.mark.parametrize("kind", FLOAT_TYPES)
def test_products(kind: int) -> None:
    """Inputs in runs, weights either way round, clipped extents, sums added over a loop, rows that overlap."""
    size = TYPE_BYTES[kind]
    for seed in range(N // 4):
        rng = Random(seed)
        k, n, rows = rng.randint(1, 24), rng.randint(1, 40), (rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 6))
        run, transposed, pitch = rng.choice((k, rng.randint(1, k))), int(rng.random() < 0.3), rng.choice((0, 3))
        left = Affine(rng.randint(1, k)) if rng.random() < 0.2 else Affine()
        n_left = Affine(rng.randint(0, n)) if rng.random() < 0.2 else Affine()
        load = WLD(
            k=k, n=n, pitch=((k if transposed else n) + pitch) * size, source=Affine(size * 300), k_left=left,
            n_left=n_left, sub=transposed, type=kind,
        )  # fmt: skip
        product = MM(
            rows0=rows[0], rows1=rows[1], rows2=rows[2], k=k, n=n, run_length=run, run_stride=(run + pitch) * size,
            source0=7 * size, source1=3 * size, source2=rng.choice((1, 4)) * size, first=rng.choice((0, 1)),
            source=Affine(size * rng.randint(0, 60), (size, 0, 0, 0)), k_begin=Affine(rng.choice((0, 5))),
            sum0=rows[1] * rows[2] * n, sum1=rows[2] * n, sum2=n - rng.choice((0, 0, 1)), sums=Affine(17), type=kind,
            k_left=left, n_left=n_left, left2=Affine(rng.randint(0, 6)) if rng.random() < 0.2 else Affine(),
            sub=rng.choice((0, 0, 1)),
        )  # fmt: skip
        check([[], [LOOP(count=2, body=2), load, product], [], []], memories(rng, kind))


@pytest.mark.parametrize("x", [
    WLD(k=16, n=16, pitch=3000, type=4), MM(rows2=8, k=16, n=16, run_length=16, source2=3000, type=4),
    MM(rows2=8, k=16, n=16, run_length=16, sum2=1000, type=6), MM(rows2=8, k=17, n=16, run_length=17, type=4),
    VOP(n=1000, a_type=6, d_type=6, a=Affine(18000)), RED(n=9, a_type=5, d_type=3, d=Affine(5000)), RQ(n=1),
], ids=lambda x: str(x)[:30])  # fmt: skip
def test_an_address_outside_memory_stops_the_kernel(x: Instruction) -> None:
    code: list[Instruction] = [WLD(k=16, n=16, pitch=32, type=4), x] if isinstance(x, MM) else [x]
    streams: made.Streams = [[], [], [], []]
    streams[x.QUEUES[0]] = code
    arrays, memory = made.code(streams), make_memory(made.LOCAL, made.WORDS)
    status = interpreter.run_floats(
        arrays, np.zeros((len(code), NEST), np.int64), np.zeros(8, np.int64), np.arange(4), (0, 0, 0),
        np.zeros(MARGIN, np.uint8), memory, make_float_scratch([arrays]), make_float_stage(1000),
        np.zeros(interpreter.CONTROL, np.int64),
    )  # fmt: skip
    assert status == interpreter.OUTSIDE
