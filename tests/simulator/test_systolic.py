"""The array cell by cell against the simulator's trace (cycles), the closed forms, the meaning of the instructions and
NumPy (sums), on random arrays, ports and products."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip import lesson
from onchip.chip import Chip
from onchip.isa import MM, WLD, timing
from onchip.isa.machine import machine_of
from onchip.isa.memory import Memory
from onchip.lesson import WAYS, times
from onchip.simulator.systolic import IDLE, Pass, Played, array_of, entries, play_cells

SIZES = st.integers(1, 11)
RATES = st.sampled_from(("1 B/cycle", "3 B/cycle", "5 B/cycle", "64 B/cycle"))


def chip_of(
    way: str, rows: int, columns: int, units: int = 1, read: str = "64 B/cycle", weight: str = "64 B/cycle"
) -> Chip:
    dataflow, load = WAYS[way]
    keys: dict[str, Any] = {
        "matrix.dataflow": dataflow, "matrix.weight_load": load, "matrix.units": units, "local.read": read,
        "local.weight_read": weight, "matrix.int8.rows": rows, "matrix.int8.cols": columns,
        "peak.int8": f"{rows * columns * units * 200} MOPS",
    }  # fmt: skip
    return Chip.load("tiny-npu-4").replace(keys)


def operands(m: int, k: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(m * 289 + k * 17 + n)
    return rng.integers(-128, 128, (m, k)), rng.integers(-127, 128, (k, n))


def play(chip: Chip, m: int, k: int, n: int) -> tuple[int, tuple[Pass, ...], Played]:
    array = array_of(chip, "int8", 1)
    ((cycles, passes),) = times(chip, "int8", array, 0, [(m, k, n)])
    return cycles, passes, play_cells(array, passes, *operands(m, k, n))


@settings(max_examples=60)
@given(
    way=st.sampled_from(sorted(WAYS)), rows=st.integers(1, 5), columns=st.integers(1, 5), units=st.integers(1, 2),
    m=SIZES, k=SIZES, n=SIZES, read=RATES, weight=RATES,
)  # fmt: skip
def test_cells_take_as_long_as_the_trace(
    way: str, rows: int, columns: int, units: int, m: int, k: int, n: int, read: str, weight: str
) -> None:
    cycles, _, played = play(chip_of(way, rows, columns, units, read, weight), m, k, n)
    a, b = operands(m, k, n)
    assert played.cycles == cycles
    np.testing.assert_array_equal(played.sums, a @ b)


@settings(max_examples=40)
@given(way=st.sampled_from(sorted(WAYS)), m=SIZES, k=st.integers(1, 4), n=st.integers(1, 3), read=RATES)
def test_one_product_takes_the_duration_of_mm(way: str, m: int, k: int, n: int, read: str) -> None:
    chip = chip_of(way, 4, 3, read=read)
    machine = machine_of(chip, "int8")
    _, (only,), played = play(chip, m, k, n)
    duration = int(timing.matmul_occupancy(machine, m, k, n, 1)) + int(timing.matmul_latency(machine))
    assert played.cycles - only.start == duration


@pytest.mark.parametrize(
    ("way", "m", "k", "n", "cycles"),
    [  # R = 4, C = 4, ports that keep up
        ("weight_stationary_serial", 6, 4, 4, 2 * 4 + 4 + 6 - 2),  # 2R + C + M - 2: Samajdar 2018, section 3
        ("weight_stationary_serial", 6, 8, 8, 4 * 16),  # four passes, nothing overlaps
        ("weight_stationary", 6, 8, 8, 4 * 6 + 2 * 4 + 4 - 2),  # weights load behind the rows: the diagonal once
        ("weight_stationary", 2, 8, 4, 4 + 4 + 2 + 4 + 4 - 2),  # two rows are too few to hide a load of four
        ("output_stationary", 4, 9, 4, 1 + 9 + 4 + 4 - 2),  # an address, K steps, the diagonal
        ("output_stationary", 8, 9, 5, 1 + 4 * 9 + 4 + 4 - 2),  # 2 x 2 blocks
    ],
)
def test_cycles_worked_by_hand(way: str, m: int, k: int, n: int, cycles: int) -> None:
    found, _, played = play(chip_of(way, 4, 4), m, k, n)
    assert found == played.cycles == cycles


@pytest.mark.parametrize("way", WAYS)
def test_every_cell_multiplies_once_an_item(way: str) -> None:
    """A cell meets each item exactly once, one diagonal later than its left and its upper neighbour."""
    _, passes, played = play(chip_of(way, 3, 4), 5, 6, 4)
    items = np.unique(played.item[played.item != IDLE])
    assert len(items) == (2 * 6 if way == "output_stationary" else len(passes) * 5)
    for item in items:
        at, row, column = np.nonzero(played.item == item)
        assert len(at) == 12
        assert len(set((at - row - column).tolist())) == 1


def test_weights_do_not_change_under_a_row() -> None:
    """Loads behind the rows: while a pass goes through a cell, the cell keeps the pass's own weight."""
    m, k, n = 7, 8, 8
    _, passes, played = play(chip_of("weight_stationary", 4, 4), m, k, n)
    _, b = operands(m, k, n)
    assert any(p.load < q.start + m for q, p in pairwise(passes))  # they overlap
    for at, r, c in np.argwhere(played.item != IDLE):
        it = passes[played.item[at, r, c] // m]
        assert played.weight[at, r, c] == b[it.k_begin + r, it.n_begin + c]


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(1, 90), st.tuples(st.integers(1, 9), st.integers(1, 3)), st.integers(0, 3))
def test_items_enter_in_turn(real: int, n_bytes: int, rate: tuple[int, int], zeros: int) -> None:
    found = entries(real + zeros, n_bytes, rate, first=zeros)
    assert all(b > a for a, b in pairwise(found))
    assert found[-1] + 1 == max(real + zeros, timing.port_cycles(n_bytes, *rate))
    for i, at in enumerate(found[zeros:]):
        assert (at + 1) * Fraction(*rate) >= Fraction((i + 1) * n_bytes, real)  # its bytes are there


@pytest.mark.parametrize(("m", "k", "n"), [(5, 7, 6), (1, 4, 9), (3, 8, 4)])
def test_the_instructions_mean_the_same_product(m: int, k: int, n: int) -> None:
    """The lesson's program, run by the definition of WLD and MM, gives NumPy's product."""
    chip = chip_of("weight_stationary", 4, 4)
    array, (a, b) = array_of(chip, "int8", 1), operands(m, k, n)
    local = np.zeros(4096, np.uint8)
    local[: m * k + k * n] = np.concatenate([a.ravel(), b.ravel()]).astype(np.int8).view(np.uint8)
    memory = Memory(np.zeros(4, np.uint8), local, np.full(1024, 77, np.int32))
    parts = list(lesson._parts(array, m, k, n))  # pyright: ignore[reportPrivateUsage]
    code = lesson._code((m, k, n), parts, 0)  # pyright: ignore[reportPrivateUsage]
    assert {type(x) for x in code} == {WLD, MM}
    for x in code:
        x.run(memory, ())
    np.testing.assert_array_equal(memory.accumulator[: m * n].reshape(m, n), a @ b)
