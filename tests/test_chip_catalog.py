"""The catalog as a whole: sources, published figures, what the constructor catches, and a network on every chip.

The expected peaks and counts are vendors' figures or products worked by hand here; nothing is read off the files.
"""

from __future__ import annotations

import re
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import onchip as oc
from onchip import chip_file, pipeline
from onchip.chip import Chip
from onchip.chip_file import write_toml
from onchip.errors import BadFile, NotSupported, OnchipError
from onchip.isa.machine import DATAFLOWS
from onchip.units import UNITS, format_exact, parse
from onchip.zoo.catalog import build

CATALOG = Path(oc.__file__).parent / "chips"
NAMES = Chip.names()
# the ids by which published measurements name chips
MEASURED = """
p100-pcie v100-pcie v100-sxm t4 titan-rtx titan-xp titan-x-pascal gtx-1080ti m40 a10 a30 a100-pcie-40gb a100-pcie-80gb
a100-sxm-40gb a100-sxm-80gb h100-pcie h100-sxm h200-sxm b200 gb200 l4 l40s rtx-pro-6000 orin-agx xavier-agx orin-dla-x2
mi25 mi210 mi250x mi300x knl-7250 tpu-v1 tpu-v2 tpu-v3 tpu-v3-core tpu-v4 tpu-v5e tpu-v5p tpu-v6e tpu-v7x eyeriss-v1
nvdla-small nvdla-large ethos-u55-128 ethos-u55-256 ethos-u65-256 ethos-u65-512 ethos-u85-128 ethos-u85-256
ethos-u85-512 ethos-u85-1024 ethos-u85-2048 imx93-ethos-u65-256 imx8mp-npu edge-tpu-usb edge-tpu-devboard hailo-8
hailo-8l hailo-10h hailo-15h hailo-15l hexagon-qcs6490 hexagon-qcs8550 hexagon-qcs9075 hexagon-8gen3 hexagon-8elite
hexagon-x-elite rk3562 rk3566 rk3576-1core rk3588-1core rv1126 ax650n-1core ax650n-3core stm32n6 gap9-240mhz
gap9-370mhz syntiant-ndp120-30mhz syntiant-ndp120-98mhz gemmini-16
"""
# chip: dtype, cores, MACs of a core and cycle, GHz, tera operations a second, GB/s: from specification sheets, by hand
SHEETS: dict[str, tuple[str, int, int, float, float, float]] = {
    "p100-pcie": ("fp32", 56, 64, 1.328, 9.52, 732),
    "v100-sxm": ("fp16", 80, 8 * 64, 1.53, 125, 900),
    "v100-pcie": ("fp16", 80, 8 * 64, 1.38, 112, 900),
    "t4": ("int8", 40, 8 * 128, 1.59, 130, 320),
    "titan-rtx": ("fp16", 72, 8 * 64, 1.77, 130.5, 672),
    "titan-xp": ("fp32", 30, 128, 1.582, 12.15, 547.7),
    "titan-x-pascal": ("fp32", 28, 128, 1.531, 10.97, 480),
    "gtx-1080ti": ("fp32", 28, 128, 1.582, 11.34, 484),
    "m40": ("fp32", 24, 128, 1.112, 6.83, 288),
    "a10": ("fp16", 72, 4 * 128, 1.695, 125, 600),
    "a30": ("fp16", 56, 4 * 256, 1.44, 165, 933),
    "a100-pcie-40gb": ("bf16", 108, 4 * 256, 1.41, 312, 1555),
    "a100-pcie-80gb": ("bf16", 108, 4 * 256, 1.41, 312, 1935),
    "a100-sxm-40gb": ("int8", 108, 4 * 512, 1.41, 624, 1555),
    "h100-pcie": ("bf16", 114, 4 * 512, 1.62, 756, 2000),
    "h200-sxm": ("fp8", 132, 4 * 1024, 1.83, 1979, 4800),
    "l4": ("bf16", 58, 4 * 128, 2.04, 121, 300),
    "l40s": ("int8", 142, 4 * 256, 2.52, 733, 864),
    "rtx-4090": ("bf16", 128, 4 * 64, 2.52, 165, 1008),
    "rtx-pro-6000": ("bf16", 188, 4 * 128, 2.617, 503.8, 1792),
    "orin-agx": ("int8", 16, 4 * 512, 1.3, 85, 204.8),
    "xavier-agx": ("fp16", 8, 8 * 64, 1.377, 11.3, 136.5),
    "mi210": ("fp16", 104, 4 * 128, 1.7, 181, 1640),
    "mi250x": ("fp16", 220, 4 * 128, 1.7, 383, 3280),
    "mi300x": ("bf16", 304, 4 * 256, 2.1, 1307, 5300),
    "mi25": ("fp32", 64, 64, 1.5, 12.3, 484),
    "tpu-v2": ("bf16", 2, 128 * 128, 0.7, 45, 700),
    "tpu-v3": ("bf16", 2, 2 * 128 * 128, 0.94, 123, 900),
    "tpu-v5e": ("bf16", 1, 4 * 128 * 128, 1.5, 197, 819),
    "tpu-v5p": ("bf16", 2, 4 * 128 * 128, 1.75, 459, 2765),
    "eyeriss-v1": ("int16", 1, 168, 0.2, 0.0672, 0.48),
    "nvdla-large": ("int8", 1, 2048, 1.0, 4.1, 20),
    "nvdla-small": ("int8", 1, 64, 1.0, 0.128, 1),
    "ethos-u55-256": ("int8", 1, 256, 0.5, 0.256, 0.5),
    "ethos-u55-32": ("int8", 1, 32, 0.5, 0.032, 0.5),
    "ethos-u65-512": ("int8", 2, 256, 1.0, 1.024, 3.75),
    "ethos-u85-2048": ("int8", 1, 2048, 1.0, 4.1, 24),
    "ethos-u85-128": ("int8", 1, 128, 1.0, 0.256, 3.75),
    "imx93-ethos-u65-256": ("int8", 1, 256, 1.0, 0.512, 7.466),
    "gemmini-16": ("int8", 1, 256, 1.0, 0.512, 16),
    "vta-pynq-z1": ("int8", 1, 256, 0.1, 0.0512, 0.8),
    "dpu-b4096-zcu102": ("int8", 3, 2048, 0.281, 3.453, 19.2),
    "edge-npu-64": ("int8", 1, 64 * 64, 0.5, 4.096, 12.8),
}


def document(name: str) -> dict[str, Any]:
    return tomllib.loads(str(Chip.load(name)))


def is_checked(chip: Chip) -> bool:
    """Published array, cores, clock and peak of the default dtype: none of them assumed."""
    own = chip.default_dtype
    guesses = {"clock.core", f"clock.{own}", "cores.count", "matrix.units", f"peak.{own}"}
    guesses |= {f"matrix.{own}.rows", f"matrix.{own}.cols"}
    return chip.geometry == "published" and own in dict(chip.peak) and not guesses & set(chip.assumed)


def test_how_much_there_is() -> None:
    assert not set(MEASURED.split()) - set(NAMES)
    assert len(NAMES) >= 60
    assert sum(is_checked(Chip.load(name)) for name in NAMES) >= 45


@pytest.mark.parametrize("name", SHEETS)
def test_a_chip_has_the_numbers_of_its_sheet(name: str) -> None:
    dtype, cores, macs, ghz, tera, gigabytes = SHEETS[name]
    chip = Chip.load(name)
    assert (chip.cores.count, chip.peak_macs_per_cycle(dtype)) == (cores, macs)
    assert chip.clock_of(dtype) == round(ghz * 1e9)
    assert abs(2 * cores * macs * ghz / 1000 / tera - 1) <= 0.02, "the sheet contradicts itself"
    assert abs(dict(chip.peak)[dtype] / Fraction(str(tera)) / 10**12 - 1) <= Fraction(1, 100)
    assert chip.dram.bandwidth_bytes_per_s == round(gigabytes * 1e9)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_or_is_assumed(name: str) -> None:
    chip = Chip.load(name)
    assert len(chip.source) > 20
    assert chip.family and chip.description
    assert chip.energy is not None and chip.energy.band >= 2
    assert len(set(chip.assumed)) == len(chip.assumed)
    assert "energy.static" in chip.assumed or "measured" in chip.energy.source
    if chip.geometry == "published" and chip.default_dtype not in dict(chip.peak):
        assert name == "simba-1", "its published peak is rounded"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_where_variants_come_from(name: str) -> None:
    """A variant has its own name, description and source, and does not repeat what its parent says."""
    own = tomllib.loads((CATALOG / f"{name}.toml").read_text(encoding="utf-8"))
    if "extends" not in own:
        return
    parent = document(own["extends"])
    same = [
        f"{table}.{key}"
        for table, entries in own.items()
        if isinstance(entries, dict) and table not in ("peak", "published")
        for key, value in entries.items()
        if key != "source" and value == parent.get(table, {}).get(key, object())
    ]
    assert not same, f"{name} repeats {same} of {own['extends']}"
    assert own["description"] != parent["description"]


# --- wrong edits ------------------------------------------------------------------------------------------------------


def leaves(node: Any, at: str = "") -> list[str]:
    """Return the dotted keys of all numbers: plain ones, with units, and shapes."""
    if isinstance(node, dict):
        return [key for name, value in node.items() for key in leaves(value, f"{at}.{name}" if at else name)]
    if isinstance(node, list):
        return [key for i, value in enumerate(node) for key in leaves(value, f"{at}.{i}")]
    return [at] if tenfold(node) is not None else []


def tenfold(value: Any) -> Any:
    """Return ten times a number of a chip file, or None for words."""
    if isinstance(value, bool) or (isinstance(value, str) and not re.match(r"\d", value)):
        return None
    if not isinstance(value, str):
        return 10 * value
    if re.fullmatch(r"\d+x\d+x\d+", value):
        m, n, k = map(int, value.split("x"))
        return f"{m}x{n}x{10 * k}"
    symbol = value.partition(" ")[2]
    unit = next((unit for unit, symbols in UNITS.items() if symbol in symbols), None)
    return None if unit is None else format_exact(10 * parse(value, unit), unit)


def guarded(chip: Chip) -> set[str]:
    """Return the keys in which a factor of ten has to be caught, because the file gives what they add up to."""
    peaks, told = dict(chip.peak), chip.published
    keys = {f"peak.{dtype}" for dtype in peaks}
    for dtype, array in chip.matrix.arrays:
        if dtype not in peaks:
            continue
        keys |= {"cores.count"}
        keys |= {f"clock.{dtype}" if dtype in dict(chip.clock.dtypes) else "clock.core"}
        if array.unit == "vector":
            keys |= {"vector.ops_per_cycle.mac"}
        else:
            keys |= {"matrix.units"}
            keys |= {f"matrix.{dtype}.{side}" for side in (("native",) if array.native else ("rows", "cols"))}
    figures = {
        "lanes": (told.lanes, ("vector.lanes", "cores.count")),
        "units": (told.units, ("matrix.units", "cores.count")),
        "local": (told.local_bytes, ("local.size", "cores.count")),
        "accumulator": (told.accumulator_bytes, ("local.accumulator", "cores.count")),
        "bus": (told.bus_bits, ("dram.bandwidth",)),
        "data_rate": (told.data_rate_bits_per_s, ("dram.bandwidth",)),
        "shared": (told.shared_bytes_per_cycle, ("shared.0.bandwidth", "clock.core")),
    }
    for name, (figure, parts) in figures.items():
        if figure is not None:
            keys |= {f"published.{name}", *parts}
    return keys


def changed(name: str, key: str) -> str:
    """Return the text of a chip with one number ten times as large."""
    made = document(name)
    node: Any = made
    *path, last = key.split(".")
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[last] = tenfold(node[last])
    return write_toml(made)


def is_refused(text: str) -> bool:
    try:
        Chip.parse(text)
    except BadFile:
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_ten_times_a_guarded_number_is_refused(name: str) -> None:
    there = set(leaves(document(name)))
    keys = guarded(Chip.load(name)) & there
    assert keys or name == "simba-1", "nothing in this file is checked against anything"
    slipped = sorted(key for key in keys if not is_refused(changed(name, key)))
    assert not slipped


def test_which_numbers_are_guarded() -> None:
    """Where the default peak is checked: array, cores and clock of all, the bandwidth of far memory of most."""
    checked = [Chip.load(name) for name in NAMES if is_checked(Chip.load(name))]
    for chip in checked:
        array = chip.matrix.array(chip.default_dtype)
        keys = (
            {"cores.count", f"peak.{chip.default_dtype}"} if array.unit == "vector" else {"cores.count", "matrix.units"}
        )
        assert keys <= guarded(chip), chip.name
    n_bandwidths = sum("dram.bandwidth" in guarded(chip) for chip in checked)
    assert n_bandwidths >= len(checked) // 2, f"{n_bandwidths} of {len(checked)}"


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (
            "a100-sxm-80gb",
            "dram.bandwidth",
            "20.39 TB/s",
            r"bus x data_rate is 2.04 TB/s, but dram.bandwidth is 20.4 TB/s",
        ),
        ("a100-sxm-80gb", "vector.lanes", 640, r"lanes is 6912, but vector.lanes x cores is 69120"),
        ("a100-sxm-80gb", "local.accumulator", "2560 KiB", r"accumulator is 27.0 MiB, but .* is 270 MiB"),
        ("a100-sxm-80gb", "shared.0.bandwidth", "72 TB/s", r"shared x clock is 7.22 TB/s, but .* is 72.0 TB/s"),
        ("tpu-v4", "local.size", "160 MiB", r"local is 32.0 MiB, but local.size x cores is 320 MiB"),
    ],
)
def test_the_message_of_a_contradiction(name: str, key: str, value: str | int, message: str) -> None:
    made = document(name)
    node: Any = made
    *path, last = key.split(".")
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[last] = value
    with pytest.raises(BadFile, match=rf"OC1104 \[published\] {message}"):
        Chip.parse(write_toml(made))


def test_two_percent_are_accepted_and_a_what_if_drops_the_figure() -> None:
    chip = Chip.load("a100-sxm-80gb")
    text = str(chip)
    assert Chip.parse(text.replace('bandwidth = "2.039 TB/s"', 'bandwidth = "2.07 TB/s"')).published.bus_bits == 5120
    faster = chip.replace({"dram.bandwidth": "4 TB/s"})
    assert (faster.published.bus_bits, faster.published.data_rate_bits_per_s) == (None, None)
    assert faster.published.lanes == 6912, "figures about other parts stay"
    assert chip.replace({"cores.count": 54}).published.lanes is None
    assert chip.replace({"published.bus": 5120, "published.data_rate": "3.2 Gbit/s"}).published.bus_bits == 5120


def test_a_child_keeps_only_the_figures_that_it_states_anew() -> None:
    child = Chip.parse('extends = "a100-sxm-80gb"\nname = "x"\n[dram]\nbandwidth = "1 TB/s"\n')
    assert (child.published.bus_bits, child.published.units) == (None, 432)
    with pytest.raises(BadFile, match=r"OC1106 published\.bus and published.data_rate stand together"):
        Chip.parse('extends = "a100-sxm-80gb"\nname = "x"\n[dram]\nbandwidth = "1 TB/s"\n[published]\nbus = 5120\n')
    with pytest.raises(BadFile, match=r"OC1106 published.shared is given, but there is no \[\[shared\]\]"):
        Chip.parse('extends = "tpu-v3"\nname = "x"\n[published]\nshared = "1 B/cycle"\n')


@pytest.mark.parametrize("name", NAMES)
def test_a_what_if_is_never_in_the_way_of_a_published_figure(name: str) -> None:
    chip = Chip.load(name)
    array = chip.matrix.array(chip.default_dtype)
    wanted: dict[str, str | int] = {
        "local.size": 2 * chip.local.size_bytes,
        "dram.bandwidth": format_exact(2 * chip.dram.bandwidth_bytes_per_s, "B/s"),
        "clock.core": format_exact(chip.clock_hz // 2, "Hz"),
        "cores.count": 2 * chip.cores.count,
        "vector.lanes": 2 * chip.vector.lanes,
        "matrix.units": 2 * chip.matrix.units,
    }
    wanted |= {f"matrix.{chip.default_dtype}.rows": 2 * array.rows} if array.rows is not None else {}
    wanted |= {"shared.0.bandwidth": "1 TB/s"} if chip.shared else {}
    for key, value in wanted.items():
        assert chip.replace({key: value}) != chip
    assert chip.replace(wanted).evidence == chip.evidence


def test_a_chip_loads_its_own_file_and_its_parents_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_text = chip_file.read_text

    def counting(path: Path) -> str:
        read.append(path.stem)
        return read_text(path)

    monkeypatch.setattr(chip_file, "read_text", counting)
    Chip.load(str(CATALOG / "a100-pcie-40gb.toml"))
    assert read == ["a100-pcie-40gb", "a100-sxm-40gb", "a100-sxm-80gb"]


# --- unpublished geometry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('evidence = "estimate"', 'evidence = "program"', 'geometry is unpublished, so evidence is "estimate"'),
        ('"matrix.int8.cols", ', "", "geometry is unpublished, so assumed has to name matrix.int8.cols"),
        ('int8 = "26 TOPS"', 'int8 = "30 TOPS"', "OC1104"),
    ],
)
def test_an_assumed_array_is_named_so_and_meets_the_peak(old: str, new: str, message: str) -> None:
    text = str(Chip.load("hailo-8"))
    assert text.count(old) == 1
    with pytest.raises(BadFile, match=message):
        Chip.parse(text.replace(old, new))


def test_the_peak_of_an_assumed_array_covers_its_dtypes() -> None:
    text = str(Chip.load("tpu-v7x"))
    assert text.count('fp8 = "4.614 POPS"\n') == 1
    with pytest.raises(BadFile, match=r"OC1106 geometry is unpublished, so \[peak\] has to give fp8"):
        Chip.parse(text.replace('fp8 = "4.614 POPS"\n', ""))


def test_the_evidence_of_each_is_right() -> None:
    for name in NAMES:
        chip = Chip.load(name)
        has_program = chip.geometry == "published" and chip.matrix.dataflow in DATAFLOWS
        assert chip.evidence == ("program" if has_program else "estimate"), name
        assert chip.evidence != "rtl", "no hardware description runs yet"
        if chip.geometry == "unpublished":
            assert set(chip.dtypes) == {dtype for dtype, _ in chip.peak}, name
    unpublished = ("hailo-8", "hexagon-qcs8550", "ax650n-3core", "syntiant-ndp120-98mhz", "edge-tpu-usb", "b200")
    assert all(Chip.load(name).evidence == "estimate" for name in unpublished)


def test_compile_refuses_estimate_chips_by_name() -> None:
    """That they are priced: test_a_small_network_on_every_chip."""
    estimates = [name for name in NAMES if Chip.load(name).evidence == "estimate"]
    assert len(estimates) > 20
    for name in estimates:
        known = Chip.load(name).geometry == "published"
        why = "no program for dataflow row_stationary" if known else "array and dataflow unpublished"
        with pytest.raises(NotSupported, match=rf"^{name}: OC1331 {why}; estimate only") as said:
            oc.compile(build("digits_cnn"), name)
        assert said.value.exit_code == 3


# --- a network on every chip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_small_network_on_every_chip(name: str) -> None:
    """Every chip has a time that is no shorter than its own bounds, or says by name why it has none."""
    chip, graph = Chip.load(name), build("digits_cnn")
    if chip.matrix.dataflow not in DATAFLOWS:
        with pytest.raises(OnchipError, match=rf"^{name}: OC\d+ ") as caught:
            pipeline.estimate(graph, chip)
        assert caught.value.exit_code == 3
        return
    report = pipeline.estimate(graph, chip)
    seconds = report.latency_s.value
    assert seconds * chip.peak_ops_per_s(report.dtype) >= 2 * graph.bind(batch=1).macs()
    assert seconds >= report.memory.dram_traffic_bytes / chip.dram.bandwidth_bytes_per_s * 0.999
    assert seconds < 1
