"""The array alone in closed form: published cycles, and the cycle-stepped machine on random streams of passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.isa import LOOP, MM, WLD, Instruction
from onchip.isa.machine import machine_of
from onchip.isa.streams import n_passes, stream_cycles
from tests import control_model


def array(rows: int, cols: int, load: str, port: int = 4096) -> Chip:
    keys = {"matrix.int8.rows": rows, "matrix.int8.cols": cols, "peak.int8": f"{rows * cols} GOPS"}
    ports = dict.fromkeys(("local.read", "local.weight_read"), f"{port} B/cycle")
    return Chip.load("edge-npu-16").replace({**keys, **ports, "matrix.weight_load": load})


@pytest.mark.parametrize(
    ("taps", "c", "n", "m", "serial", "hidden"),
    [
        (1, 1024, 1024, 1024, 89_984, 65_918),  # SCALE-Sim prints 89,983, counting from 0
        (9, 64, 64, 56 * 56, 17_590, 16_062),  # ResNet's conv2_x, 3x3 64 -> 64 at 56 x 56
    ],
)
def test_published(taps: int, c: int, n: int, m: int, serial: int, hidden: int) -> None:
    machine = machine_of(array(128, 128, "hidden"), "int8")
    passes = n_passes(machine, taps, c, n, is_packed=True)
    assert stream_cycles(machine, m, passes, 1, is_serial=True) == serial
    assert stream_cycles(machine, m, passes, 1, is_serial=False) == hidden


def test_packing_counts_folds() -> None:
    machine = machine_of(array(128, 128, "hidden"), "int8")
    assert n_passes(machine, 9, 64, 64, is_packed=True) == 5  # ceil(576 / 128)
    assert n_passes(machine, 9, 64, 64, is_packed=False) == 9  # a tap at a time
    assert n_passes(machine, 49, 3, 130, is_packed=True) == 2 * 2


@settings(max_examples=40)
@given(
    rows=st.integers(1, 9), cols=st.integers(1, 9), m=st.integers(1, 20), passes=st.integers(1, 6),
    load=st.sampled_from(("serial", "hidden")), port=st.sampled_from((2, 3, 64)),
)  # fmt: skip
def test_the_stepped_machine_takes_as_long(rows: int, cols: int, m: int, passes: int, load: str, port: int) -> None:
    machine = machine_of(array(rows, cols, load, port), "int8")
    code: list[Instruction] = [
        LOOP(count=passes, body=2),
        WLD(k=rows, n=cols, pitch=cols),
        MM(rows2=m, k=rows, n=cols, run_length=rows),
    ]
    stepped, _ = control_model.play([[], code, [], []], machine)
    assert stepped - 1 == stream_cycles(machine, m, passes, 1, is_serial=load == "serial")
