"""SCALE-Sim configurations as chips: every number in its place, and refusals by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.chip_scale_sim import chip_document, chip_name
from onchip.errors import BadFile, NotSupported, OnchipError

CFG = """[general]
run_name = example

[architecture_presets]
ArrayHeight:    64
ArrayWidth:     128
IfmapSramSzkB:  512
FilterSramSzkB: 256
OfmapSramSzkB:  128
IfmapOffset:    0
FilterOffset:   10000000
OfmapOffset:    20000000
Dataflow : ws
Bandwidth : 64
MemoryBanks: 1

[run_presets]
InterfaceBandwidth: USER
"""


def chip_of(folder: Path, text: str, name: str = "Scale 1.cfg") -> Chip:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return Chip.load(path)


def test_every_number_has_its_place(tmp_path: Path) -> None:
    chip = chip_of(tmp_path, CFG)
    array = chip.matrix.array("int8")
    assert (chip.name, array.rows, array.cols) == ("scale-1", 64, 128)
    assert (chip.matrix.dataflow, chip.matrix.weight_load) == ("weight_stationary", "serial")
    assert (chip.matrix.row_packing, chip.toolchain) == ("CRS", "onchip")
    assert chip.local.size_bytes == (512 + 256 + 128) * 1024
    assert chip.local.accumulator_bytes == 4 * 128 * 1024  # 131,072 sums of four bytes
    assert (chip.dram_bytes_per_cycle, chip.latency_cycles()) == (64, 0)
    assert chip.default_dtype == "int8" and chip.dtypes == ("int8",)
    assert {"clock.core", "vector.lanes"} <= set(chip.assumed)
    assert Chip.parse(str(chip)) == chip


def test_calculated_bandwidth_is_no_limit_and_the_least_of_a_list_holds(tmp_path: Path) -> None:
    assert chip_of(tmp_path, CFG.replace("USER", "CALC")).dram_bytes_per_cycle == 2**20
    assert chip_of(tmp_path, CFG.replace("[run_presets]\nInterfaceBandwidth: USER\n", "")).dram_bytes_per_cycle == 2**20
    assert chip_of(tmp_path, CFG.replace("Bandwidth : 64", "Bandwidth : 30, 10, 20")).dram_bytes_per_cycle == 10


def test_output_stationary_and_the_keys_of_the_first_version(tmp_path: Path) -> None:
    old = CFG.replace("SzkB", "Sz").replace("Dataflow : ws", "Dataflow: os")
    chip = chip_of(tmp_path, old)
    assert chip.matrix.dataflow == "output_stationary" and chip.local.size_bytes == 896 * 1024


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Dataflow : ws", "Dataflow : is", "Dataflow = 'is' has no counterpart"),
        ("[run_presets]", "[sparsity]\nSparsitySupport: true\n[run_presets]", "SparsitySupport = 'true'"),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(NotSupported, match="OC1108") as caught:
        chip_of(tmp_path, CFG.replace(old, new))
    assert message in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ArrayHeight:    64\n", "", "ArrayHeight is missing"),
        ("IfmapSramSzkB:  512\n", "", "IfmapSramSzkB is missing"),
        ("ArrayHeight:    64", "ArrayHeight: 0", "ArrayHeight is '0'"),
        ("ArrayHeight:    64", "ArrayHeight: 6.4", "ArrayHeight is '6.4'"),
        ("ArrayHeight:    64", "ArrayHeight: 99999999", "ArrayHeight is '99999999'"),
        ("ArrayWidth:     128", "ArrayWidth: 128\nArayWidth: 1", "unknown key 'araywidth'"),
        ("Bandwidth : 64\n", "", "InterfaceBandwidth is USER, and Bandwidth is missing"),
        ("USER", "BEST", "InterfaceBandwidth is 'BEST'"),
        ("[architecture_presets]", "[presets]", "no section architecture_presets"),
        ("MemoryBanks: 1", "MemoryBanks: 1\nMemoryBanks: 2", "this is no configuration"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadFile, match="OC1108") as caught:
        chip_of(tmp_path, CFG.replace(old, new))
    assert message in str(caught.value)


def test_names() -> None:
    assert [chip_name(stem) for stem in ("google", "TPU v1 (ws)", "...", "\u4e2d")] == [
        "google", "tpu-v1-ws", "scale-sim", "scale-sim"
    ]  # fmt: skip


@given(st.text(alphabet="[architecture_presets]ArrayHeight:=0123456789\n %", max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    for prefix in ("", CFG):
        try:
            chip_document(prefix + text, "x.cfg", "x")
        except OnchipError as error:
            assert error.code == "OC1108"
