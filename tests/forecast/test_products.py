"""Products in tiles on many cores: formulas by hand, limits, what more of a resource does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.cost import Cost
from onchip.forecast.machine import Machine, machine
from onchip.forecast.product import Product
from onchip.forecast.products import REDUCE_S, Kind, candidates, fastest, least_sides
from onchip.silicon.workloads import draw

SIZES = st.integers(1, 5000)
ONE_SPLIT = Kind(most_splits=1)


def cores(**keys: float) -> Machine:
    """Return 100 cores of 10^12 MAC/s each; everything besides takes no time, unless a key says so."""
    free = {
        "cores": 100,
        "core_macs_per_s": 1e12,
        "sustained": 1.0,
        "achieved": 1.0,
        "shared_bytes_per_s": float("inf"),
        "core_bytes_per_s": float("inf"),
        "dram_bytes_per_s": float("inf"),
        "dram_latency_s": 0.0,
        "tile_s": 0.0,
    }
    chip = Chip.load("a100-sxm-80gb").replace({"local.read": "100000 B/cycle", "overlap.memory_compute": 0.75})
    return replace(machine(chip, "bf16"), **(free | keys))  # pyright: ignore[reportArgumentType]


def seconds(p: Product, far: float, m: Machine, kind: Kind = ONE_SPLIT) -> float:
    return fastest(p, far, m, kind).seconds


def test_a_full_wave_runs_at_the_peak() -> None:
    """10 x 10 tiles of 128 x 128 on 100 cores: 1280 * 1280 * 1024 MACs at 10^14 a second."""
    assert seconds(Product(1, 1280, 1280, 1024), 0.0, cores()) == pytest.approx(1280 * 1280 * 1024 / 1e14)


def test_the_tiles_are_chosen_against_half_empty_waves() -> None:
    """101 tiles of 128 x 128 would take two waves; smaller ones take 1.28 at most."""
    whole = seconds(Product(1, 1280, 1280, 1024), 0.0, cores())
    assert whole < seconds(Product(1, 128, 101 * 128, 1024), 0.0, cores()) < 1.3 * whole


def test_a_tile_of_few_rows_keeps_matrix_units_waiting() -> None:
    """Four units of a core take 16 rows each: 16 rows of sums take the time of 64, and on lanes that of 16."""
    p, m = Product(1, 16, 256, 1024), cores(cores=1)
    assert seconds(p, 0.0, m) == pytest.approx(64 * 256 * 1024 / 1e12)
    lanes = replace(m, array=replace(m.array, unit="vector"))
    assert seconds(p, 0.0, lanes) == pytest.approx(16 * 256 * 1024 / 1e12)


def test_long_sums_are_split_over_cores() -> None:
    """One tile of 64 x 64, k = 10^6: 80 cores share it (12,500 each), then the sums are added."""
    p, m = Product(1, 64, 64, 1_000_000), cores()
    cost = fastest(p, 0.0, m, Kind(most_splits=80, least_tile=64))
    assert cost.seconds == pytest.approx(64 * 64 * 12_500 / 1e12 + REDUCE_S)
    assert "split-K 80" in cost.how


def test_the_shorter_of_cores_and_memory_hides_by_its_share() -> None:
    """Three quarters of it: 1280 * 1280 * 1024 MACs take 16.8 us, 10^7 bytes at 10^12 B/s take 10 us."""
    work = 1280 * 1280 * 1024 / 1e14
    m = cores(dram_bytes_per_s=1e12)
    assert seconds(Product(1, 1280, 1280, 1024), 1e7, m) == pytest.approx(work + 0.25 * 10e-6)
    assert seconds(Product(1, 1280, 1280, 1024), 4e7, m) == pytest.approx(40e-6 + 0.25 * work)


def test_operands_come_from_the_shared_level() -> None:
    """50 tiles of 256 x 128 move least: 384 rows each of 1,024 values of 2 bytes, at 10^11 B/s together."""
    m = cores(shared_bytes_per_s=1e11)
    assert seconds(Product(1, 1280, 1280, 1024), 0.0, m) == pytest.approx(50 * 384 * 1024 * 2 / 1e11)


def test_a_lone_tile_waits_for_each_load() -> None:
    """k = 4,096 of 2 bytes, 256 bytes in flight a row, 500 ns each: 32 loads one after the other."""
    m = cores(dram_latency_s=500e-9, prefetch_bytes=256.0)
    assert seconds(Product(1, 16, 16, 4096), 0.0, m) == pytest.approx(32 * 500e-9)


def test_few_columns_read_the_matrix_again() -> None:
    """16 columns, 4 at once: 4 times the matrix of 4,096 x 4,096 in fp32, at 0.88 of 732 GB/s (cold)."""
    graph = draw("gemm", (("M", "4096"), ("N", "16"), ("K", "4096")))
    chip = Chip.load("p100-pcie?achieved.tile=0us&launch.in_graph=0us&achieved.dram=0.88")
    once = 4 * (4096 * 4096 + 2 * 16 * 4096)
    expected = (once + 3 * 4 * 4096 * 4096) / (0.88 * 732e9)
    assert pipeline.forecast(graph, chip, dtype="fp32", start="cold").device_s == pytest.approx(expected)


def test_batched_products_on_lanes_have_tall_tiles() -> None:
    """64 rows cost what 128 do, a few rows do not; on the matrix unit neither."""

    def took(rows: int, dtype: str) -> float:
        sizes = {"B": 640, "M": rows, "N": 512, "K": 512}
        graph = draw("bmm", tuple((key, str(value)) for key, value in sizes.items()))
        (step,) = pipeline.forecast(graph, Chip.load("a100-pcie-40gb"), dtype=dtype).steps
        return max(seconds for cause, seconds in step.causes if cause == "matrix")

    assert took(64, "fp32") == pytest.approx(took(128, "fp32"))
    assert took(16, "fp32") < 0.5 * took(128, "fp32")
    assert took(64, "bf16") < 0.6 * took(128, "bf16")


def test_the_smallest_tile_on_lanes() -> None:
    """8 columns cost what 32 do; a product with a vector or a few does not."""

    def took(columns: int) -> float:
        sizes = {"M": columns, "N": 4096, "K": 64}
        graph = draw("gemm", tuple((key, str(value)) for key, value in sizes.items()))
        free = {"achieved.dram": 1.0, "dram.bandwidth": "100000 GB/s", "shared.0.bandwidth": "100000 GB/s"}
        (step,) = pipeline.forecast(graph, Chip.load("v100-pcie").replace(free), dtype="fp32").steps
        return max(seconds for cause, seconds in step.causes if cause == "matrix")

    assert took(8) == pytest.approx(took(32))
    assert took(4) < 0.8 * took(32)


def test_pairs_of_lanes_need_no_rows() -> None:
    """P100 multiplies fp16 in pairs on its lanes: 16 rows take a quarter of 64; V100's matrix units are waiting."""
    one, many = (Product(1, rows, 4096, 4096) for rows in (16, 64))
    free = {"shared_bytes_per_s": 1e30, "dram_latency_s": 0.0, "tile_s": 0.0}
    lanes, units = (replace(machine(Chip.load(name), "fp16"), **free) for name in ("p100-pcie", "v100-sxm"))
    assert seconds(one, 0.0, lanes) < 0.3 * seconds(many, 0.0, lanes)
    assert seconds(one, 0.0, units) > 0.8 * seconds(many, 0.0, units)


def test_start_and_end_count_once() -> None:
    p = Product(1, 12800, 12800, 1024)
    assert seconds(p, 0.0, cores(tile_s=3e-6)) == pytest.approx(seconds(p, 0.0, cores()) + 3e-6)


@given(SIZES, SIZES, SIZES, st.integers(1, 8))
def test_never_under_the_peaks(rows: int, columns: int, depth: int, batch: int) -> None:
    m = machine(Chip.load("a100-sxm-80gb"), "bf16")
    p, far = Product(batch, rows, columns, depth), 2.0 * batch * (rows * depth + columns * depth + rows * columns)
    cost = fastest(p, far, m)
    assert cost.seconds >= p.macs / m.peak_macs_per_s
    assert cost.seconds >= far / m.dram_bytes_per_s


@given(SIZES, SIZES, SIZES)
def test_more_of_anything_is_not_slower(rows: int, columns: int, depth: int) -> None:
    m, p = machine(Chip.load("h100-sxm"), "bf16"), Product(1, rows, columns, depth)
    far = 2.0 * columns * depth

    def cost(**keys: float) -> Cost:
        return fastest(p, far, replace(m, **keys))  # pyright: ignore[reportArgumentType]

    for key in ("core_macs_per_s", "dram_bytes_per_s", "shared_bytes_per_s", "core_bytes_per_s", "prefetch_bytes"):
        assert cost(**{key: 2 * getattr(m, key)}).seconds <= cost().seconds * (1 + 1e-12)
    # a last wave that is not full takes the shared level as a full one does: at most one wave in two
    assert cost(cores=2 * m.cores).seconds <= 1.5 * cost().seconds


def test_candidates_are_all_pairs_up_to_the_largest_tile() -> None:
    tm, tn, splits = candidates()
    assert int((tm * tn).max()) == 128 * 256
    assert len({*zip(tm.tolist(), tn.tolist(), splits.tolist(), strict=True)}) == len(splits)
    assert np.all(splits >= 1)


def test_accumulators_bound_the_least_tile_of_a_kind() -> None:
    """512 sums: tiles of 22 x 22, or of 128 rows only as far as 512 / 22 of them; many sums bound nothing."""
    kind, m = Kind(least_tile=32, least_rows=128), cores()
    small = replace(m.chip.local, accumulator_bytes=2048)
    assert least_sides(kind, replace(m, chip=replace(m.chip, local=small))) == (23, 22)
    assert least_sides(kind, m) == (128, 32)


def test_what_is_near_shows_beside_lanes_and_not_beside_a_matrix_unit() -> None:
    """A quarter of the shorter of both shows: 4 us of memory beside 17 us of products."""
    m = cores(shared_bytes_per_s=1e12)
    lanes = replace(m, array=replace(m.array, unit="vector"), shared_bytes_per_s=1e12)
    p, near = Product(1, 1280, 1280, 1024), 4e6
    alone = fastest(p, 0.0, lanes, ONE_SPLIT).seconds
    assert fastest(p, 0.0, lanes, ONE_SPLIT, near).seconds == pytest.approx(alone + 0.25 * near / 1e12)
    assert fastest(p, 0.0, m, ONE_SPLIT, near).seconds == fastest(p, 0.0, m, ONE_SPLIT).seconds
