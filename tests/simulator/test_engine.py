"""The event engine against the cycle-stepped control model, and the engine that skips iterations against itself.

The witness is `tests/control_model.py`, written from the text of the instructions.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from onchip.isa import RECORD
from onchip.simulator import play
from onchip.simulator.clock import NO_RANGES, KernelArrays, code_of, interior
from tests import control_model
from tests.strategies import Kernel, kernel, kernels, long_kernel, long_kernels, machine, machines

Numbers = NDArray[np.int64]
Event = tuple[int, int, int]


def arrays_of(made: Kernel) -> KernelArrays:
    """Put a kernel's streams behind each other in records, as the engine takes it."""
    parts = [np.array([x.record() for x in code], RECORD) for code in made.streams]
    return KernelArrays(code_of(parts), np.array(made.initial, np.int64), made.active)


def engine_run(made: Kernel, numbers: Numbers, *, fast: bool = False, room: int = 0) -> tuple[Numbers, list[Event]]:
    arrays = arrays_of(made)
    ranges = interior(arrays) if fast else NO_RANGES
    rows = np.zeros((room, play.EVENT_FIELDS), np.int64)
    totals, n = play.play(arrays.code, numbers, arrays.initial, made.active, fast, ranges, rows)
    return totals, [(int(s), int(start), int(end)) for s, start, end, *_ in rows[:n]]


def text(made: Kernel) -> str:
    return (
        "\n".join(f"{s}: {x}" for s, code in enumerate(made.streams) for x in code) + f"\n{made.initial} {made.active}"
    )


def check(made: Kernel, numbers: Numbers) -> None:
    cycles, events = control_model.play(made.streams, numbers, made.initial, made.active)
    totals, found = engine_run(made, numbers, room=20_000)
    assert totals[play.STATUS] == play.OK, text(made)
    assert sorted(found) == sorted(events), text(made)
    assert totals[play.CYCLES] == cycles, text(made)
    assert totals[play.INSTRUCTIONS] == len(events)


@pytest.mark.parametrize("block", range(10))
def test_the_engine_is_the_stepped_machine(block: int) -> None:
    """1,000 kernels on 1,000 machines: every start and every completion in the same cycle."""
    for seed in range(100 * block, 100 * block + 100):
        rng = Random(seed)
        check(kernel(rng), machine(rng))


@settings(max_examples=60)
@given(kernels, machines)
def test_the_engine_is_the_stepped_machine_shrinking(made: Kernel, numbers: Numbers) -> None:
    check(made, numbers)


@settings(max_examples=20)
@given(long_kernels, machines)
def test_long_loops_too(made: Kernel, numbers: Numbers) -> None:
    check(made, numbers)


@pytest.mark.parametrize("level", [0, 1])
def test_skipping_repeated_iterations_is_exact(level: int) -> None:
    """1,000 loops whose extents are clipped at the ends: all totals but the causes of stalls are equal."""
    stalls = [play.STALL_FILL, play.STALL_MEMORY, play.STALL_VECTOR, play.STALL_WEIGHTS]
    exact = [i for i in range(play.N_TOTALS) if i not in stalls]
    for seed in range(1000):
        rng = Random(seed)
        made, numbers = long_kernel(rng, level=level), machine(rng)
        slow, _ = engine_run(made, numbers)
        fast, _ = engine_run(made, numbers, fast=True)
        assert slow[play.STATUS] == play.OK
        assert slow[exact].tolist() == fast[exact].tolist(), f"seed {seed}\n{text(made)}"
