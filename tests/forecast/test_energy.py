"""Energy of a forecast: the tables between their nodes, parts by hand, limits that data sheets set, published rows."""

from __future__ import annotations

import csv
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.chip_energy import CLOCK_MACS, TABLES, Energy, events
from onchip.errors import InternalError
from onchip.ir.energy import COMPONENTS
from onchip.ir.forecast import Forecast, Step
from onchip.ir.program import Model
from onchip.silicon.measurements import PUBLIC, Measurement, read_measurements
from onchip.silicon.predict import case_of, closed_form
from onchip.silicon.workloads import draw

EYERISS = Chip.load("eyeriss-v1")
KIB = 1024
GPUS_AND_TPUS = ("nvidia", "amd", "google")


def table(node: str, chip: str = "edge-npu-16") -> Energy:
    energy = Chip.load(chip).replace({"energy.node": node}).energy
    assert energy is not None
    return energy


def mac(node: str, dtype: str) -> float:
    found = table(node).mac_pj(dtype)
    assert found is not None
    return found.value


def test_at_the_tables_nodes_their_own_numbers() -> None:
    """Every entry of the file at 7 nm, and Horowitz's at 45 nm, from the files as published."""
    with (TABLES / "energy_7nm.csv").open(encoding="utf-8") as file:
        rows = {(row["operation"], row["type_or_size"]): row for row in csv.DictReader(file)}
    for column, node in (("energy_45nm_pj", "45 nm"), ("energy_7nm_pj", "7 nm")):
        pj = {key: float(row[column]) for key, row in rows.items() if row[column].replace(".", "").isdigit()}
        assert mac(node, "int8") == pytest.approx(pj["mult", "int8"] + pj["add", "int32"])
        assert mac(node, "fp16") == pytest.approx(pj["mult", "fp16"] + pj["add", "fp32"])
        assert mac(node, "fp32") == pytest.approx(pj["mult", "fp32"] + pj["add", "fp32"])
        for size, spelt in ((8 * KIB, "8 KB"), (32 * KIB, "32 KB"), (1024 * KIB, "1 MB")):
            assert table(node).sram_pj_per_byte(size).value == pytest.approx(pj["SRAM 64-bit", spelt] / 8)
    assert mac("7 nm", "bf16") == pytest.approx(0.21 + 0.38)
    assert table("7 nm").mac_pj("fp8") is None


def test_between_the_nodes_by_hand() -> None:
    """At the geometric mean of 45 and 7 nm the energy is the geometric mean; int16 lies between int8 and int32."""
    middle = f"{(45 * 7) ** 0.5 / 1000:.9f} um"
    assert table(middle).sram_pj_per_byte(8 * KIB).value == pytest.approx((10 * 7.5) ** 0.5 / 8, rel=1e-4)
    multiplied, added = (0.2 * 0.07) ** 0.5, (0.1 * 0.03) ** 0.5
    assert mac(middle, "int8") == pytest.approx(multiplied + added, rel=1e-4)
    assert mac("45 nm", "int16") == pytest.approx((0.2 * 3.1) ** 0.5 + 0.1)
    # 65 nm: the line goes on
    assert mac("65 nm", "int8") == pytest.approx(0.2 * (65 / 45) ** 0.5606 + 0.1 * (65 / 45) ** 0.6471, rel=1e-3)


@given(st.integers(1, 1 << 28), st.sampled_from(["3 nm", "7 nm", "16 nm", "45 nm", "65 nm"]))
def test_twice_the_buffer_is_another_energy(size: int, node: str) -> None:
    energy = table(node)
    once, twice = (energy.sram_pj_per_byte(n).value for n in (size, 2 * size))
    assert once < twice < 2 * once


def test_older_nodes_cost_more() -> None:
    for smaller, larger in (("3 nm", "7 nm"), ("7 nm", "22 nm"), ("22 nm", "45 nm"), ("45 nm", "65 nm")):
        assert mac(smaller, "int8") < mac(larger, "int8")
        assert table(smaller).sram_pj_per_byte(KIB << 10).value < table(larger).sram_pj_per_byte(KIB << 10).value


def test_parts_of_a_product_by_hand() -> None:
    """edge-npu-16 at 45 nm: 64 x 32 x 48 in int8. An input serves 16 columns, a weight 64 rows, a sum grows by 16."""
    chip = Chip.load("edge-npu-16")
    made = pipeline.forecast(draw("gemm", (("M", "64"), ("N", "32"), ("K", "48"))), chip, dtype="int8", start="cold")
    (step,), macs = made.steps, 64 * 32 * 48
    assert step.energy is not None and made.energy is not None
    parts = dict(zip(COMPONENTS, step.energy, strict=True))
    assert parts["compute"] == parts["operands"] == pytest.approx(macs * 0.3e-12)
    local = 2.5 * 5 ** (3 / 5) * 1e-12  # 256 KiB
    assert parts["sram"] == pytest.approx((macs / 16 + macs / 64 + step.dram_bytes) * local)
    assert parts["accumulator"] == pytest.approx(macs / 16 * 8 * 1.25e-12 / 2**0.5)
    assert parts["dram"] == pytest.approx(step.dram_bytes * 64e-12)
    assert parts["vector"] == pytest.approx(64 * 32 * 1.8e-12)
    assert parts["clock"] == pytest.approx(step.seconds * 500e6 * 256 * 0.3e-12 * CLOCK_MACS)
    assert parts["static"] == pytest.approx(step.seconds * 0.02)
    assert step.energy_j == pytest.approx(sum(step.energy))
    assert made.energy.total_j == pytest.approx(sum(parts.values()) + made.per_run_s * 0.02)


def test_gated_zeros_cost_no_products() -> None:
    graph = draw("layer", (("network", "alexnet"), ("layer", "conv3"), ("batch", "4")))

    def parts(zeros: float | None, gating: str) -> dict[str, float]:
        chip = EYERISS.replace({"energy.zeros": gating, "dram.compression": "none"})
        (step,) = pipeline.forecast(graph, chip, dtype="int16", zeros=zeros).steps
        assert step.energy is not None
        return dict(zip(COMPONENTS, step.energy, strict=True))

    some, none = parts(0.75, "gated"), parts(None, "gated")
    assert some["compute"] == pytest.approx(none["compute"] / 4) and some["operands"] == pytest.approx(
        4 * some["compute"]
    )
    assert {key: some[key] for key in ("sram", "clock", "static")} == {
        key: none[key] for key in ("sram", "clock", "static")
    }
    assert parts(0.75, "multiplied") == none


def test_a_lower_supply_costs_its_square() -> None:
    chip = Chip.load("gap9-370mhz")
    full, half = (events(c, "int8") for c in (chip, chip.replace({"energy.dynamic": 0.25})))
    assert full is not None and half is not None
    for name in ("mac", "operands", "local", "accumulator", "lane", "cycle"):
        assert getattr(half, name) == pytest.approx(getattr(full, name) / 4), name
    assert half.static_w == full.static_w


def test_power_at_the_peak_is_near_the_published_limit() -> None:
    """The limits of data sheets bear out the clock of a cell: all arrays busy and DRAM at its bandwidth."""
    found: list[float] = []
    for chip in map(Chip.load, Chip.names()):
        each = events(chip, chip.default_dtype)
        is_sourced = chip.power is not None and "power.limit" not in chip.assumed
        if (
            each is None
            or chip.power is None
            or not is_sourced
            or chip.family.split()[0] not in GPUS_AND_TPUS
            or "nvdla" in chip.family
        ):
            continue
        rate = chip.peak_macs_per_cycle(chip.default_dtype) * chip.clock_of(chip.default_dtype) * chip.cores.count
        watts = rate * (each.mac + each.operands) + chip.dram.bandwidth_bytes_per_s * each.dram
        watts += each.cycle * chip.clock_hz * chip.cores.count + each.static_w
        found.append(watts / float(chip.power.limit_w))
    assert len(found) > 15
    assert 0.7 < median(found) < 1.5
    assert all(0.3 < ratio < 2.5 for ratio in found)


def energies() -> list[Measurement]:
    return [row for row in read_measurements(PUBLIC) if row.metric == "power_w"]


def test_power_of_eyeriss_beats_constant_power() -> None:
    """The published rows; constant power is the median of the other layers', as the scores have it."""
    rows = energies()
    assert len(rows) == 5
    ours, constant = list[float](), list[float]()
    for row in rows:
        made = closed_form(case_of(row, EYERISS), EYERISS)
        assert made.energy is not None
        ours.append(abs(made.energy.total_j / made.device_s / row.value - 1))
        constant.append(abs(median(other.value for other in rows if other is not row) / row.value - 1))
    assert max(ours) < 0.1
    assert median(ours) < median(constant) / 3


def test_a_part_that_is_negative_is_refused() -> None:
    step = Step("fc1", ("fc1",), "linear", 1, 1.0, (("memory", 1e-6),), energy=(-1.0,) * len(COMPONENTS))
    with pytest.raises(InternalError, match="OC9041"):
        Forecast(Model("net", "ab", 1, 1), Chip.load("tpu-v4"), "bf16", (step,))
