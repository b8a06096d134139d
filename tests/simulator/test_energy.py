"""Energy: counts times the table, worked out by hand for a trace of two kernels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from onchip.chip import Chip
from onchip.errors import InternalError
from onchip.ir.energy import COMPONENTS, Energy
from onchip.ir.trace import Trace
from onchip.simulator.energy import energy


def test_every_component_by_hand(make_trace: Callable[..., Trace]) -> None:
    """edge-npu-16: 0.3 pJ a MAC and its operands each, 256 cells' clocks the same, 8 pJ/bit of DRAM, 20 mW at 500 MHz;
    SRAM of 8, 32 KiB and 1 MiB 1.25, 2.5 and 12.5 pJ/B; a lane's addition in float 0.9 pJ and its registers as much."""
    found = energy(make_trace())
    assert found is not None
    parts = dict(found.components)
    assert parts["compute"] == parts["operands"] == pytest.approx(281_600 * 0.3e-12)
    assert parts["clock"] == pytest.approx(4000 * 256 * 0.3e-12)
    assert parts["vector"] == pytest.approx(2 * 640 * 1.8e-12)
    assert parts["shared"] == 0
    assert parts["dram"] == pytest.approx((5000 + 25_000) * 8 * 8e-12)
    assert parts["static"] == pytest.approx(0.020 * 4000 / 500e6)
    local = 2.5 * (12.5 / 2.5) ** (3 / 5)  # 256 KiB is three of the five doublings from 32 KiB to 1 MiB
    assert parts["sram"] == pytest.approx(2 * 6000 * local * 1e-12)
    accumulator = 1.25 / 2**0.5  # 64 KiB of 16 columns: 4 KiB, half a doubling of energy below 8 KiB
    assert parts["accumulator"] == pytest.approx(2 * 8000 * accumulator * 1e-12)
    assert sum(parts.values()) == pytest.approx(found.total_j)
    assert found.band == 2.0


def test_kernels_sum_to_the_components(make_trace: Callable[..., Trace]) -> None:
    found = energy(make_trace())
    assert found is not None
    for i, (name, joules) in enumerate(found.components):
        assert name == COMPONENTS[i]
        assert joules == pytest.approx(sum(parts[i] for parts in found.kernels))


def test_cores_multiply_bytes_but_neither_macs_nor_static(make_trace: Callable[..., Trace]) -> None:
    """A KernelTrace counts the MACs of the network, over all cores, and the bytes of one core."""
    one, four = energy(make_trace("tpu-v1")), energy(make_trace("tpu-v1", cores=4))
    assert one is not None and four is not None
    ratio = {name: b / a for (name, a), (_, b) in zip(one.components, four.components, strict=True) if a}
    one_of_all = dict.fromkeys(("compute", "operands", "clock", "static"), 1)
    assert ratio == pytest.approx({**one_of_all, "sram": 4, "accumulator": 4, "dram": 4, "vector": 4})


def test_no_table_or_no_such_mac_gives_none(make_trace: Callable[..., Trace]) -> None:
    trace = make_trace()
    bare = dataclasses.replace(Chip.load("edge-npu-16"), energy=None, assumed=())
    assert energy(dataclasses.replace(trace, chip=bare)) is None
    assert energy(make_trace("h100-sxm", dtype="fp8")) is None


def test_the_noun_refuses_nonsense() -> None:
    with pytest.raises(InternalError, match="OC9040"):
        Energy(((1.0,),), 0.0, 2.0, "x")
    with pytest.raises(InternalError, match="OC9041"):
        Energy(((1.0, -1.0) + (0.0,) * 7,), 0.0, 2.0, "x")
    with pytest.raises(InternalError, match="OC9041"):
        Energy(((1.0,) * 9,), 0.0, 0.5, "x")
