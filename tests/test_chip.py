"""Chips: the catalog agrees with what the vendors publish, and text, overrides and parents keep their promises."""

from __future__ import annotations

import json
import math
import tomllib
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip, schema
from onchip.chip_file import write_toml
from onchip.errors import BadFile, NotSupported

CATALOG = Path(__file__).parents[1] / "onchip" / "chips"
PUBLISHED_SCHEMA = CATALOG.parent / "schemas" / "chip-1.json"
NAMES = Chip.names()
VALIDATOR = jsonschema.Draft202012Validator(schema())


def test_the_catalog() -> None:
    assert {"a100-sxm-80gb", "edge-npu-16", "h100-sxm", "tiny-npu-4", "tpu-v1", "tpu-v4"} <= set(NAMES)
    assert [Chip.load(name).name for name in NAMES] == list(NAMES) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "dtype", "tera_ops", "cores", "gigabytes_per_s"),
    [
        # NVIDIA A100 80GB datasheet: dense peaks, 108 SMs, 2039 GB/s
        ("a100-sxm-80gb", "bf16", 312, 108, 2039),
        ("a100-sxm-80gb", "fp16", 312, 108, 2039),
        ("a100-sxm-80gb", "tf32", 156, 108, 2039),
        ("a100-sxm-80gb", "int8", 624, 108, 2039),
        ("a100-sxm-80gb", "fp32", 19.5, 108, 2039),
        # NVIDIA H100 SXM5 datasheet: dense peaks are half of the sparse ones that it prints
        ("h100-sxm", "bf16", 989, 132, 3350),
        ("h100-sxm", "tf32", 494.5, 132, 3350),
        ("h100-sxm", "fp8", 1979, 132, 3350),
        ("h100-sxm", "int8", 1979, 132, 3350),
        ("h100-sxm", "fp32", 67, 132, 3350),
        # Jouppi et al., ISCA 2017, table 2
        ("tpu-v1", "int8", 92, 1, 34),
        # Jouppi et al., ISCA 2023, table 4
        ("tpu-v4", "bf16", 275, 2, 1200),
        # 16 x 16 x 2 x 500 MHz; 4 x 4 x 2 x 100 MHz
        ("edge-npu-16", "int8", 0.256, 1, 3.2),
        ("tiny-npu-4", "int8", 0.0032, 1, 0.4),
    ],
)
def test_peaks_are_the_published_ones(
    name: str, dtype: str, tera_ops: float, cores: int, gigabytes_per_s: float
) -> None:
    chip = Chip.load(name)
    assert math.isclose(chip.peak_ops_per_s(dtype), tera_ops * 1e12, rel_tol=0.003)
    assert chip.cores.count == cores
    assert chip.dram.bandwidth_bytes_per_s == round(gigabytes_per_s * 1e9)


def test_no_two_chips_are_the_same() -> None:
    assert len({Chip.load(name).hash for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_text_and_hash(name: str) -> None:
    chip = Chip.load(name)
    assert Chip.parse(str(chip)) == chip
    assert str(Chip.parse(str(chip))) == str(chip)
    assert Chip.parse(str(chip)).hash == chip.hash


def test_what_is_assumed_has_no_source() -> None:
    chip = Chip.load("edge-npu-16")
    assert chip.provenance("dram.latency") == chip.source_of("dram.latency") == "assumed"
    assert chip.provenance("clock.core") == "datasheet"
    assert chip.source_of("clock.core") == chip.source
    assert Chip.load("a100-sxm-80gb").source_of("launch.in_graph").startswith("kernel floor")


def test_derived_numbers() -> None:
    chip = Chip.load("edge-npu-16")
    assert chip.clock_hz == 500_000_000
    assert chip.peak_macs_per_cycle("i8") == chip.peak_macs_per_cycle("int8") == 256
    assert chip.dram_bytes_per_cycle == Fraction(32, 5)  # 3.2 GB/s at 500 MHz
    assert chip.latency_cycles() == 50  # 100 ns at 500 MHz
    assert chip.cycles(Fraction(1, 10**12)) == 1  # rounded up
    assert chip.vector.rate("lut") == 4
    assert chip.vector.rate("exp") == 16
    assert "vector.rate(exp) = 16 (default: one per lane)" in chip.defaults
    assert not any("rate(lut)" in line for line in chip.defaults)
    assert "launch.host_s = 0 (default)" in chip.defaults
    assert Chip.load("h100-sxm").clock_of("fp32") == 1_980_000_000
    assert Chip.load("h100-sxm").clock_of("bf16") == Chip.load("h100-sxm").clock_hz == 1_830_000_000


def test_a_dtype_that_the_chip_lacks_is_refused() -> None:
    with pytest.raises(NotSupported, match=r"OC1301 no matrix array for fp32\. There are: int8\."):
        Chip.load("edge-npu-16").matrix.array("f32")


def test_energy_table() -> None:
    energy = Chip.load("edge-npu-16").energy
    assert energy is not None
    mac = energy.mac_pj("i8")
    assert mac is not None
    # Horowitz, ISSCC 2014: 8-bit multiply 0.2 pJ, 32-bit add 0.1 pJ; 64-bit read of an 8 KB cache 10 pJ
    assert (mac.value, mac.low, mac.high) == pytest.approx((0.3, 0.15, 0.6))
    assert energy.mac_pj("fp8") is None
    assert energy.sram_pj_per_byte(8 * 1024).value == pytest.approx(10 / 8)
    # beyond the table as between its last sizes: four times the size from 8 to 32 KiB is twice the energy
    assert energy.sram_pj_per_byte(2 * 1024).value == pytest.approx(5 / 8)
    assert energy.sram_pj_per_byte(32 * 2**20).value == pytest.approx(500 / 8)
    assert 2.5 < energy.sram_pj_per_byte(256 * 1024).value < 12.5
    assert (energy.dram_pj_per_bit.value, energy.node_nm) == pytest.approx((8.0, 45.0))


def test_overrides() -> None:
    chip = Chip.load("edge-npu-16?local.size=512KiB&cores.count=2")
    assert (chip.local.size_bytes, chip.cores.count) == (512 * 1024, 2)
    assert chip.name == "edge-npu-16?cores.count=2&local.size=512KiB"
    again = chip.replace({"local.size": "1 MiB", "matrix.int8.rows": 32})
    assert again.name == "edge-npu-16?cores.count=2&local.size=1 MiB&matrix.int8.rows=32"
    assert Chip.load(again.name) == again
    assert Chip.parse(str(again)) == again
    assert Chip.load("edge-npu-16").local.size_bytes == 256 * 1024


def test_overrides_reach_into_lists() -> None:
    chip = Chip.load("h100-sxm").replace({"shared.0.size": "60 MiB"})
    assert chip.shared[0].size_bytes == 60 * 2**20
    assert chip.shared[0].bandwidth_bytes_per_s == Chip.load("h100-sxm").shared[0].bandwidth_bytes_per_s


def test_an_override_drops_the_facts_about_the_parents_silicon() -> None:
    assert Chip.load("edge-npu-16").replace({"local.size": "1 MiB"}).peak
    assert not Chip.load("edge-npu-16").replace({"clock.core": "1 GHz"}).peak
    proven = Chip.load("edge-npu-16").replace({"evidence": "rtl"})
    assert proven.evidence == "rtl"
    assert proven.replace({"local.size": "1 MiB"}).evidence == "program"


def test_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nextends = "edge-npu-16"\n[local]\nsize = "1 MiB"\n')
    (tmp_path / "ours.toml").write_text('name = "ours"\nextends = "mine.toml"\n[matrix]\nint8 = { rows = 32 }\n')
    ours = Chip.load(tmp_path / "ours.toml")
    assert (ours.name, ours.local.size_bytes, ours.matrix.array("int8").rows) == ("ours", 2**20, 32)
    assert ours.local.banks == Chip.load("edge-npu-16").local.banks
    assert not ours.peak, "the parent's published peak is about the parent's array"
    assert "extends" not in str(ours)
    assert Chip.parse(str(ours)) == ours


def test_calibration_names_numbers_of_the_chip() -> None:
    """A default counts as a number of the chip; what is fitted is neither published nor assumed."""
    whole = str(Chip.load("tiny-npu-4"))
    section = '\n[calibration]\nkeys = ["{}"]\nfamily = ["launch.host"]\nrows = "m"\nn = 8\nmedian = 5.0\np90 = 9.0\n'
    chip = Chip.parse(whole + section.format("achieved.dram"))
    assert [chip.provenance(key) for key in ("achieved.dram", "launch.host")] == ["calibrated"] * 2
    assert chip.source_of("achieved.dram") == "fitted on m" and Chip.parse(str(chip)) == chip
    assert chip.replace({"achieved.dram": 0.7}).calibration is None, "other numbers were not fitted"
    for key in ("achieved.drum", "matrix.dataflow", "name", "shared.7.bandwidth", "dram"):
        with pytest.raises(BadFile, match=f"OC1106 calibration names '{key}', which is no number of this chip"):
            Chip.parse(whole + section.format(key))


def test_the_published_schema_is_the_current_one() -> None:
    published = json.loads(PUBLISHED_SCHEMA.read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema())), "run python -m onchip.schemas"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_schema_accepts_the_catalog(name: str) -> None:
    document = tomllib.loads((CATALOG / f"{name}.toml").read_text(encoding="utf-8"))
    whole = tomllib.loads(str(Chip.load(name)))
    VALIDATOR.validate(document)
    VALIDATOR.validate(whole)
    whole["local"]["sise"] = 3
    with pytest.raises(jsonschema.ValidationError, match="sise"):
        VALIDATOR.validate(whole)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_written_toml_reads_back(document: dict[str, object]) -> None:
    assert tomllib.loads(write_toml(document)) == document


@pytest.mark.parametrize("key", ["local.size", "dram.size"])
def test_a_memory_larger_than_its_addresses_is_refused(key: str) -> None:
    """A field of an instruction has 40 signed bits."""
    with pytest.raises(BadFile, match=rf"OC1106 {key} = 512 GiB"):
        Chip.load("edge-npu-16").replace({key: 1 << 39})
    Chip.load("edge-npu-16").replace({key: (1 << 39) - 4096})
