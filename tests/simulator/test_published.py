"""Systolic cycle counts against published tools: one matrix product, memory left out.

Witnesses: SCALE-Sim prints 89,983 cycles for a 1024 x 1024 x 1024 product on a 128 x 128 weight-stationary array (it
counts from 0); with weights loaded behind the rows only the fill is paid once. Closed forms: Samajdar 2018, section
3.
"""

from __future__ import annotations

import pytest

from onchip.chip import Chip
from onchip.isa import LOOP, MM, WLD, Instruction
from onchip.isa.machine import machine_of
from tests import control_model

ARRAY = {"matrix.int8.rows": 128, "matrix.int8.cols": 128, "peak.int8": "16.384 TOPS"}
PORTS = {"local.read": "4096 B/cycle", "local.weight_read": "4096 B/cycle"}


def passes(folds: int, m: int) -> list[Instruction]:
    """Return the matrix stream of `folds` passes of m rows over a full array."""
    return [
        LOOP(count=folds, body=2),
        WLD(k=128, n=128, pitch=128),
        MM(rows2=m, k=128, n=128, run_length=128),
    ]


@pytest.mark.parametrize(
    ("folds", "m", "load", "cycles"),
    [
        (64, 1024, "serial", 89_984),
        (64, 1024, "hidden", 65_918),
        (5, 56 * 56, "serial", 17_590),  # ResNet's 3x3 64 -> 64 at 56 x 56: ceil(576 / 128) folds
        (5, 56 * 56, "hidden", 16_062),
    ],
)
def test_systolic_passes(folds: int, m: int, load: str, cycles: int) -> None:
    chip = Chip.load("edge-npu-16").replace({**ARRAY, **PORTS, "matrix.weight_load": load})
    found, _ = control_model.play([[], passes(folds, m), [], []], machine_of(chip, "int8"))
    assert found - 1 == cycles  # one cycle to enter the loop
