"""Probes of the machine at hand: their arithmetic, on a made-up machine whose numbers are known. Never timed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.silicon.probe_torch import REPEATS, median_s
from onchip.silicon.probes import MIB, Probe, hidden, probe, waited

SOME_S = st.floats(1e-7, 1.0)


@dataclass
class Made:
    """A machine of two cores: 10 GB/s each from memory, 50 GB/s each up to 1 MiB, 100 Gop/s each in fp32, no bf16."""

    threads: int = 2
    launch: float = 2e-6
    sync: float = 5e-6

    def seconds(self, kind: str, size: int, dtype: str, threads: int) -> float | None:
        if kind == "copy":  # `size` bytes are read and as many written
            return 2 * size / (threads * (50e9 if 2 * size <= MIB else 10e9))
        if kind == "product":
            return {"fp32": 2 * size**3 / (threads * 100e9), "int8": 2 * size**3 / (threads * 400e9)}.get(dtype)
        if kind in {"exp", "add"}:
            return size / {"exp": 1e9, "add": 8e9}[kind]
        forked = self.launch + 6e-6 / threads + (self.sync if threads > 1 else 0.0)
        return {"empty": self.launch, "forked": forked, "vector": 0.01, "both": 2e-3 + 0.02}.get(kind)


def found(machine: Made) -> dict[str, Probe]:
    return {one.name: one for one in probe(machine)}


def test_every_probe_finds_the_number_of_its_effect() -> None:
    by_name = found(Made())
    expected = {
        "launch": 2e-6, "sync": 5e-6, "memory, one core": 10e9, "memory, all cores": 20e9, "cache, 256 KiB": 50e9,
        "cache, 1024 KiB": 50e9, "cache, 4096 KiB": 10e9, "product, fp32, 1024": 200e9, "product, fp32, 1023": 200e9,
        "product, int8, 1024": 800e9, "exp": 1e9, "add": 8e9,
    }  # fmt: skip
    assert {name: by_name[name].value for name in expected} == pytest.approx(expected)
    assert {by_name[name].unit for name in ("memory, one core", "cache, 32 KiB")} == {"B/s"}
    assert by_name["product, fp32, 1024"].unit == "op/s"
    assert by_name["sync"].unit == by_name["launch"].unit == "s"


def test_what_the_runtime_does_not_have_is_absent() -> None:
    assert not [name for name in found(Made()) if "bf16" in name]


def test_no_time_is_no_rate() -> None:
    by_name = found(Made(launch=0.0))
    assert "launch" not in by_name
    assert "sync" not in by_name


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


@pytest.mark.parametrize("each", [1e-5, 0.25])
def test_the_median_is_of_one_run_and_a_slow_repeat_does_not_move_it(each: float) -> None:
    now, runs = [0.0], [0]

    def run() -> None:
        runs[0] += 1
        now[0] += each * (50 if runs[0] in {1, 3} else 1)  # the first is not counted, a later one is disturbed

    assert median_s(run, lambda: now[0]) == pytest.approx(each)
    assert runs[0] >= REPEATS + 2
