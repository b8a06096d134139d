"""A chip file from probes: its numbers are those of the made-up machine, worked by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from onchip.chip import Chip
from onchip.errors import NotSupported
from onchip.forecast.machine import machine
from onchip.silicon.host_chip import host_chip
from onchip.silicon.probes import MIB, probe
from tests.silicon.made_machine import DESK, Made


def chip_of(made: Made) -> Chip:
    return Chip.parse(host_chip(probe(made, DESK.last_bytes), DESK, made.name, "2026-01-02"))


def test_the_file_says_what_was_measured_and_what_not() -> None:
    chip = chip_of(Made())
    assert (chip.name, chip.family, chip.evidence, chip.default_dtype) == ("host", "host", "estimate", "fp32")
    assert chip.source == "measured on this machine, 2026-01-02"
    assert chip.provenance("dram.latency") == chip.provenance("clock.core") == "assumed"
    assert chip.source_of("dram.bandwidth") == chip.source


def test_its_numbers_are_the_machine_s() -> None:
    chip = chip_of(Made())
    fp32, int8 = machine(chip, "fp32"), machine(chip, "int8")
    assert (chip.cores.count, fp32.dram_bytes_per_s) == (2, 20e9)
    assert fp32.peak_macs_per_s * fp32.achieved == pytest.approx(100e9, rel=1e-3)  # 200 Gop/s on both cores
    assert int8.peak_macs_per_s * int8.achieved == pytest.approx(400e9, rel=1e-3)
    assert chip.dtypes == ("int8", "fp32")
    assert fp32.core_bytes_per_s == pytest.approx(10e9)  # one core alone
    assert (fp32.launch_s, fp32.sync_s, fp32.tile_s) == pytest.approx((2e-6, 5e-6, 10e-6))
    assert fp32.shared_bytes == 8 * MIB and fp32.shared_bytes_per_s == pytest.approx(50e9)
    assert fp32.lane_s("exp", 1e9, cores=1) == pytest.approx(1.0, rel=1e-3)
    assert fp32.lane_s("mac", 50e9, cores=1) == pytest.approx(1.0, rel=1e-3)
    assert float(chip.local.read_bytes_per_cycle) * fp32.clock_hz == pytest.approx(50e9, rel=1e-3)
    assert (chip.local.size_bytes, chip.dram.size_bytes) == (MIB, 8 << 30)
    assert chip.algorithms.narrow == (4, 4)  # 4 rows take the time of one, 16 do not
    assert chip.overlap.matrix_vector == 0.0
    assert chip.overlap.memory_compute == pytest.approx(0.5, abs=0.01)
    assert chip.launch.cold == pytest.approx(2.0)


def test_odd_names_do_not_leave_their_text() -> None:
    text = host_chip(probe(Made(), MIB), replace(DESK, name='A "9" \\ \n[dram]'), "made", "2026-01-02")
    assert Chip.parse(text).description == "A 9  [dram]"


def test_a_busy_machine_is_told_in_the_file() -> None:
    text = host_chip(probe(Made(), MIB), DESK, "made", "2026-01-02", "3.0 other tasks ran")
    assert text.splitlines()[1] == "# The machine was busy, 3.0 other tasks ran: rates may be too low."
    assert str(Chip.parse(text)) == str(Chip.parse(host_chip(probe(Made(), MIB), DESK, "made", "2026-01-02")))


def test_one_core_and_no_caches_make_a_chip_too() -> None:
    desk = replace(DESK, private_bytes=0, last_bytes=0, memory_bytes=0, free_bytes=0)
    chip = Chip.parse(host_chip(probe(Made(threads=1), 0), desk, "made", "2026-01-02"))
    assert chip.cores.count == 1 and chip.cores.bytes_in_flight is None and chip.sync.all_cores_s == 0


@pytest.mark.parametrize("missing", ["launch", "memory, all cores", "product, fp32, 1024"])
def test_a_machine_without_a_rate_is_refused(missing: str) -> None:
    probes = [one for one in probe(Made(), MIB) if one.name != missing]
    with pytest.raises(NotSupported, match=re.escape(f"OC1511 made has no probe '{missing}'")):
        host_chip(probes, DESK, "made", "2026-01-02")
