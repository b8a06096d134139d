"""What a power limit leaves of the clock: worked by hand, and its limits."""

from __future__ import annotations

import pytest

from onchip.chip import Chip
from onchip.forecast.machine import machine
from onchip.forecast.power import sustained


def test_a_reference_chip_just_holds_its_clock() -> None:
    assert sustained(Chip.load("a100-sxm-80gb"), "bf16", 2) == pytest.approx(1.0, abs=0.01)


def test_a_small_card_does_not() -> None:
    """T4, 12 nm: 32.6e12 MAC/s at 2 B x 1.09 pJ x (12 / 7)^1.2 = 4.16 pJ are 135 W; 70 W less 12 W static are left."""
    assert sustained(Chip.load("t4"), "fp16", 2) == pytest.approx((58 / 135.5) ** (1 / 1.5), rel=0.01)


def test_int8_at_twice_the_rate_takes_what_fp16_takes() -> None:
    chip = Chip.load("t4")
    assert sustained(chip, "int8", 1) == pytest.approx(sustained(chip, "fp16", 2), rel=0.01)


def test_lanes_are_not_limited() -> None:
    assert sustained(Chip.load("t4"), "fp32", 4) == 1.0


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
