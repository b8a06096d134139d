"""The compiled interpreter against the instructions' own definition: the same bytes in all three memories.

The witness is `Instruction.run`, through `tests/naive_machine.py`. Random instructions cover what networks do not:
clipped and empty extents, operands that overlap, saturation and wrap-around, loops that are almost a product.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from numba import njit

from onchip.isa import LD, LOOP, MM, RQ, ST, VOP, WLD, Affine, Instruction
from onchip.simulator import interpreter
from onchip.simulator.matrix import product_function
from onchip.simulator.nests import SPAN, find_nests, make_scratch
from onchip.simulator.products import MARGIN, form, multiplies_bytes
from tests import naive_machine
from tests.simulator import random_values as made

N = 400


def check(
    streams: list[list[Instruction]], counts: list[int], start: made.Memories, core: tuple[int, int, int] = (0, 0, 0)
) -> None:
    wanted = made.memory_of(start, core)
    naive_machine.run_kernel(streams, counts, wanted, Random(0))
    status, found = made.run_compiled(streams, counts, start, core)
    text = "\n".join(f"{s}: {x}" for s, code in enumerate(streams) for x in code)
    assert status == interpreter.DONE, text
    made.assert_same(found, wanted, text)


def test_vector_instructions() -> None:
    with np.errstate(all="ignore"):
        for seed in range(5 * N):
            rng = Random(seed)
            start, x = made.memories(rng), made.vector_instruction(rng)
            if isinstance(x, RQ) and rng.random() < 0.5:
                x = made.write_parameters(rng, start.local, x)
            check([[], [], [x], []], [0] * 8, start)


def test_transfers() -> None:
    for seed in range(2 * N):
        rng = Random(seed)
        kind = rng.choice((LD, ST))
        streams: list[list[Instruction]] = [[], [], [], []]
        streams[0 if kind is LD else 3] = [made.transfer(rng, kind)]
        check(streams, [0] * 8, made.memories(rng))


def test_gathered_rows() -> None:
    for seed in range(N // 4):
        rng = Random(seed)
        start = made.memories(rng)
        table = start.far[3000:3040].view(np.int32)
        table[:] = [rng.randint(0, 20) for _ in range(10)]
        x = LD(
            sub=1, box2=rng.randint(1, 6), box3=rng.choice((5, 16)), limit2=rng.randint(1, 8),
            limit3=rng.choice((5, 16)), far2=16, near2=16, far=Affine(rng.randint(0, 99)),
            near=Affine(rng.randint(0, 99)), c2=Affine(rng.randint(-1, 2)), index=Affine(3000), fill=7,
        )  # fmt: skip
        check([[x], [], [], []], [0] * 8, start)


def test_products_among_writes() -> None:
    """Products in loops, between loads and lane operations that write to their operands."""
    nests = 0
    with np.errstate(all="ignore"):
        for seed in range(N):
            rng = Random(seed)
            streams, counts = made.matrix_kernel(rng)
            nests += int((find_nests([made.code(streams)])[0][:, SPAN] > 2).any())
            check(streams, counts, made.memories(rng))
    assert N / 3 < nests < N, "random kernels must hold products, and some that are none"


@pytest.mark.parametrize(
    "in_bytes", [False, pytest.param(True, marks=pytest.mark.skipif(not multiplies_bytes(), reason="no VNNI"))]
)
def test_both_forms_of_products(in_bytes: bool) -> None:
    """Rows and blocks as float32 and as bytes, sums longer than float32 holds exactly included."""
    product = product_function(form(in_bytes))

    @njit
    def run(nest, code, index, core, local, scratch, acc):  # type: ignore[no-untyped-def]
        return product(nest, code, index, core, 0, local, scratch, acc)

    for seed in range(60):
        rng = Random(seed)
        start = made.memories(rng)
        if seed % 3 == 0:  # all the same sign, as large as they come, more than 1,024 of them
            start.local[:] = 128
            k, rows = 1500, 2
            code: list[Instruction] = [
                WLD(k=k, n=1, pitch=1, source=Affine(0)),
                MM(
                    rows2=rows,
                    k=k,
                    n=1,
                    run_length=k,
                    run_stride=k,
                    source2=1,
                    sum2=1,
                    source=Affine(rng.randint(0, 99)),
                ),
            ]
        else:
            code = [*made.products(rng)[3:5]]
        streams = [[], code, [], []]
        arrays = made.code(streams)
        nests = find_nests([arrays])
        local, words = np.zeros(made.LOCAL + MARGIN, np.int8), start.words.copy()
        local[: made.LOCAL] = start.local.view(np.int8)
        assert nests[0][0, SPAN] == 2
        assert run(
            nests[0][0],
            arrays,
            np.zeros(4, np.int64),
            (0, 0, 0),
            local,
            make_scratch([arrays], nests, form(in_bytes)),
            words,
        )
        wanted = made.memory_of(start)
        for x in code:
            x.run(wanted, (0, 0, 0, 0))
        assert np.array_equal(words, wanted.accumulator), "\n".join(map(str, code))


@pytest.mark.parametrize(
    "x",
    [
        LD(box2=8, box3=1000, limit2=8, limit3=1000, near2=3000, far2=100),
        LD(box2=8, box3=100, limit2=8, limit3=100, near2=100, far2=100, far=Affine(-50)),
        ST(box2=8, box3=100, limit2=8, limit3=100, near2=100, far2=3000),
        WLD(k=16, n=16, pitch=3000),
        MM(rows2=8, k=16, n=16, run_length=16, source2=3000),
        MM(rows2=8, k=16, n=16, run_length=16, sum2=1000),
        RQ(rows2=5, n=1000, a_type=0, d2=5000),
        VOP(n=1000, b_type=2, b=Affine(18000)),
    ],
    ids=lambda x: str(x)[:40],
)
def test_an_address_outside_memory_stops_the_kernel(x: Instruction) -> None:
    """A program file may say anything: nothing outside the memories is read or written."""
    stream = x.QUEUES[0]
    streams: list[list[Instruction]] = [[], [], [], []]
    streams[stream] = [WLD(k=16, n=16, pitch=16), x] if isinstance(x, MM) else [x]
    status, _ = made.run_compiled(streams, [0] * 8, made.memories(Random(0)))
    assert status == interpreter.OUTSIDE


def test_a_stuck_kernel_says_so() -> None:
    status, _ = made.run_compiled([[LOOP(count=2, body=1), LD(wait=4)], [], [], []], [0] * 8, made.memories(Random(0)))
    assert status == interpreter.DEADLOCK
