"""What a power limit leaves of the clock: worked by hand, and its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onchip.chip import Chip
from onchip.forecast.machine import machine
from onchip.forecast.power import sustained
from onchip.forecast.product import Product
from onchip.forecast.products import Kind, fastest


def test_a_reference_chip_just_holds_its_clock() -> None:
    assert sustained(Chip.load("a100-sxm-80gb"), "bf16", 2) == pytest.approx(1.0, abs=0.01)


def test_a_small_card_does_not() -> None:
    """T4, 12 nm: 32.6e12 MAC/s at 2 B x 1.09 pJ x (12 / 7)^1.2 = 4.16 pJ are 135 W; 70 W less 12 W static are left."""
    assert sustained(Chip.load("t4"), "fp16", 2) == pytest.approx((58 / 135.5) ** (1 / 1.5), rel=0.01)


def test_int8_at_twice_the_rate_takes_what_fp16_takes() -> None:
    chip = Chip.load("t4")
    assert sustained(chip, "int8", 1) == pytest.approx(sustained(chip, "fp16", 2), rel=0.01)


def test_lanes_spend_an_instruction_on_each_product() -> None:
    """T4, 12 nm: 4.07e12 MAC/s at 15.2 pJ x (12 / 7)^1.2 = 29.0 pJ are 118 W; V100 PCIe just holds its fp32 clock."""
    assert sustained(Chip.load("t4"), "fp32", 4) == pytest.approx((58 / 118) ** (1 / 1.5), rel=0.01)
    assert sustained(Chip.load("v100-pcie"), "fp32", 4) == pytest.approx(1.0, abs=0.01)


def test_a_lower_limit_is_never_faster() -> None:
    chip = Chip.load("h100-sxm")
    shares = [sustained(chip.replace({"power.limit": f"{w} W"}), "bf16", 2) for w in (50, 200, 400, 700, 1500)]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] == 1.0


def test_a_chip_without_a_process_keeps_its_clock() -> None:
    chip = Chip.load("edge-npu-16")
    assert sustained(chip, "int8", 1) == 1.0


def test_products_run_at_the_sustained_clock() -> None:
    chip = Chip.load("t4")
    m = machine(chip, "fp16")
    assert m.peak_macs_per_s == pytest.approx(chip.peak_ops_per_s("fp16") / 2 * sustained(chip, "fp16", 2))


@pytest.mark.parametrize(("a", "b"), [("a10", "t4"), ("l4", "t4"), ("l40s", "l4"), ("a100-sxm-80gb", "a10")])
def test_newer_and_larger_cards_stay_ahead(a: str, b: str) -> None:
    """What is left of the lanes' peak, and of the matrix unit's, keeps the order that specifications have."""
    for dtype in ("fp16", "fp32"):
        if Chip.load(a).peak_ops_per_s(dtype) > Chip.load(b).peak_ops_per_s(dtype):
            assert machine(Chip.load(a), dtype).peak_macs_per_s > machine(Chip.load(b), dtype).peak_macs_per_s


def test_cores_that_are_idle_leave_their_power_to_the_others() -> None:
    """One tile on one core of 40 runs at the full clock, 40 tiles on 40 cores at the sustained one."""
    m = replace(machine(Chip.load("t4"), "fp32"), tile_s=0.0, dram_latency_s=0.0, shared_bytes_per_s=float("inf"))
    one, kind = Product(1, 256, 128, 1 << 20), Kind(most_splits=1, least_tile=128)
    least = one.macs / 2 / m.core_macs_per_s / m.achieved  # tiles of 128 x 128, two of them
    assert fastest(one, 0.0, m, kind).seconds == pytest.approx(least * m.sustained)
    assert fastest(replace(one, batch=20), 0.0, m, kind).seconds == pytest.approx(least)
