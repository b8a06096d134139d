"""Probes of the machine at hand: their arithmetic, on a made-up machine whose numbers are known. Never timed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.silicon.probes import MIB, Probe, busy, cache_sizes, far_bytes, hidden, planned, probe, waited
from onchip.silicon.repeat import REPEATS, clock_of, repeated
from tests.silicon.made_machine import Made

SOME_S = st.floats(1e-7, 1.0)


def found(machine: Made) -> dict[str, Probe]:
    return {one.name: one for one in probe(machine, 16 * MIB)}


def test_every_probe_finds_the_number_of_its_effect() -> None:
    by_name = found(Made())
    expected = {
        "launch": 2e-6, "sync": 5e-6, "memory, one core": 10e9, "memory, all cores": 20e9,
        "cache, one core, 256 KiB": 50e9, "cache, one core, 1024 KiB": 50e9, "cache, one core, 4096 KiB": 25e9,
        "cache, all cores, 8192 KiB": 50e9, "cache, all cores, 16384 KiB": 20e9, "product, fp32, 1024": 200e9,
        "product, fp32, 1023": 200e9, "product, int8, 1024": 800e9, "convolution, fp32": 200e9,
        "smallest convolution": 12e-6, "smallest convolution, cold": 36e-6,
        "1 rows by a matrix": 1e-3, "exp": 65536 / (2e-6 + 65536e-9),
    }  # fmt: skip
    assert {name: by_name[name].value for name in expected} == pytest.approx(expected)
    assert {by_name[name].unit for name in ("memory, one core", "cache, one core, 32 KiB")} == {"B/s"}
    assert by_name["product, fp32, 1024"].unit == by_name["convolution, fp32"].unit == "op/s"
    assert by_name["sync"].unit == by_name["launch"].unit == by_name["smallest convolution"].unit == "s"


def test_what_the_runtime_does_not_have_is_absent() -> None:
    assert not [name for name in found(Made()) if "bf16" in name or "erf" in name]


def test_no_time_is_no_rate() -> None:
    by_name = found(Made(launch=0.0))
    assert "launch" not in by_name
    assert "sync" not in by_name


@pytest.mark.parametrize("last", [0, MIB, 480 * MIB, 480 * MIB + 64])
def test_the_buffer_of_the_memory_probe_is_larger_than_the_last_level(last: int) -> None:
    (size, work), *_ = [(size, work) for name, _, size, _, _, work in planned(2, last) if name == "memory, all cores"]
    assert size == far_bytes(last) > max(last, 64 * MIB) and size % 4 == 0 and work == size
    assert max(cache_sizes(last)) <= max(last, 64 * MIB) < 2 * max(cache_sizes(last))


def test_one_core_is_not_measured_twice() -> None:
    names = [name for name, *_ in planned(1, MIB)]
    assert not [name for name in names if "one core" in name or "forked" in name]
    assert len(names) == len(set(names))


def test_progress_ends_with_the_last_probe() -> None:
    seen: list[tuple[int, int]] = []
    probe(Made(), MIB, lambda done, total: seen.append((done, total)))
    total = len(list(planned(2, MIB)))
    assert seen == [(i, total) for i in range(total + 1)]


@pytest.mark.parametrize(
    ("machine", "others", "told"),
    [
        (Made(), 0.2, ""),
        (Made(), 3.0, "3.0 other tasks"),
        (Made(slower=1.5), 0.0, "50 % longer"),
        (Made(sync=0.016), 0.0, "wait 16 ms for each other"),
    ],
)
def test_it_says_why_the_machine_is_busy(machine: Made, others: float, told: str) -> None:
    text = busy(probe(machine, MIB), others)
    assert told in text and bool(text) == bool(told)


@given(SOME_S, SOME_S, SOME_S, st.integers(1, 64))
def test_sync_is_what_neither_launch_nor_work_explains(launch: float, work: float, sync: float, threads: int) -> None:
    got = waited(launch, launch + work, launch + work / threads + sync, threads)
    assert got == pytest.approx(sync, rel=1e-6, abs=1e-12)


@given(SOME_S, SOME_S, st.floats(0.0, 1.0))
def test_the_hidden_share_is_found_again(matrix: float, vector: float, share: float) -> None:
    assert hidden(matrix, vector, matrix + vector - share * min(matrix, vector)) == pytest.approx(share, abs=1e-6)


def test_the_hidden_share_stays_between_0_and_1() -> None:
    assert hidden(1.0, 1.0, 3.0) == 0.0
    assert hidden(1.0, 1.0, 0.5) == 1.0


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_value_that_is_no_measurement_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is no measurement"):
        Probe("x", value, "s", "empty", 1, 1)


@pytest.mark.parametrize("each", [1e-5, 0.05, 0.25])
def test_a_slow_repeat_moves_neither_the_fastest_nor_the_median(each: float) -> None:
    now, runs = [0.0], [0]

    def run() -> None:
        runs[0] += 1
        now[0] += each * (50 if runs[0] in {1, 3} else 1)  # the first is not counted, a later one is disturbed

    times = repeated(run, lambda: now[0])
    assert times.least_s == pytest.approx(each)
    assert times.median_s == pytest.approx(each)
    assert runs[0] >= (REPEATS if each < 0.1 else 3) + 2


def test_more_repeats_while_the_budget_lasts() -> None:
    now = [0.0]

    def run() -> None:
        now[0] += 0.01

    repeated(run, lambda: now[0], 0.3)
    assert now[0] == pytest.approx(0.3)


def test_what_runs_ahead_is_outside_of_the_time() -> None:
    now = [0.0]

    def step(seconds: float) -> None:
        now[0] += seconds

    times = repeated(lambda: step(0.001), lambda: now[0], ahead=lambda: step(1.0))
    assert (times.least_s, times.median_s) == pytest.approx((0.001, 0.001))


def test_the_budget_has_a_clock_of_its_own() -> None:
    """A program that has the processor a tenth of the time is repeated as long as the budget says, not ten times."""
    own, gone = [0.0], [0.0]

    def run() -> None:
        own[0] += 0.01
        gone[0] += 0.1

    assert repeated(run, lambda: own[0], 2.0, wall=lambda: gone[0]).least_s == pytest.approx(0.01)
    assert gone[0] == pytest.approx(2.0)


def test_on_one_thread_of_the_processor_waiting_for_it_does_not_count() -> None:
    assert clock_of(1) is time.thread_time
    assert clock_of(2) is clock_of(1, "cuda") is time.perf_counter
