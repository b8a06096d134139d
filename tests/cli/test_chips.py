"""`chips`: the list, one chip, `diff` and `new`; numbers are those of the chips' own files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onchip.chip import Chip, schema
from onchip.cli.chips import WORDS, own_file
from onchip.isa.machine import DATAFLOWS
from tests.cli.conftest import Onchip

NAMES = Chip.names()


def test_chips_are_listed_by_family(onchip: Onchip) -> None:
    made = onchip("chips", "--json").valid("chips-1.json")
    assert [chip["name"] for chip in made["chips"]] == list(NAMES)
    families = {chip["name"]: chip["family"] for chip in made["chips"]}
    lines = onchip("chips").out.splitlines()
    assert lines[0] == f"{len(NAMES)} chips of {len(set(families.values()))} families."
    assert max(map(len, lines[3:-4])) <= 80, "the table fits a terminal"
    family, seen = "", list[str]()
    for line in lines[4:-4]:
        if line and not line.startswith("  "):
            family = line
        elif line:
            seen.append(line.split()[0].rstrip("*"))
            assert (Chip.load(seen[-1]).geometry == "unpublished") == ("*" in line)
            assert families[seen[-1]] == family
    assert sorted(seen) == list(NAMES)
    assert seen.index("ethos-u85-128") < seen.index("ethos-u85-1024"), "sizes in their order"
    (row,) = [line.split() for line in lines if line.split()[:1] == ["h100-sxm"]]
    assert row == ["h100-sxm", "bf16", "989", "TOPS", "132", "8x4x16", "x4", "228", "KiB", "3.35", "TB/s"]
    n_estimates = sum(Chip.load(name).geometry == "unpublished" for name in NAMES)
    assert lines[-1].startswith(f"* {n_estimates} have an assumed array")


def test_a_chip_prints_a_file_that_loads(onchip: Onchip, tmp_path: Path) -> None:
    for words in (("tpu-v3-core",), ("show", "tpu-v3-core")):
        done = onchip("chips", *words)
        (tmp_path / "mine.toml").write_text(done.out, encoding="utf-8")
        assert Chip.load(tmp_path / "mine.toml") == Chip.load("tpu-v3-core")
        assert onchip("chips", *words, "--json").valid("chips-1.json")["toml"] == done.out
        assert onchip("chips", "--json", *words).json["toml"] == done.out
    assert "'h100-sxm'" in onchip("chips", "h100").mistake("OC1001", 2)
    assert onchip("chips", "edge-npu-16?cores.count=2").out.startswith('name = "edge-npu-16?cores.count=2"')


def test_diff_shows_what_differs(onchip: Onchip) -> None:
    made = onchip("chips", "diff", "a100-sxm-80gb", "a100-pcie-40gb", "--json").valid("chips-1.json")
    fitted = ("achieved.", "calibration.")  # to the measurements of each
    rows = [row for row in made["differences"] if not row["key"].startswith(fitted)]
    found = {row["key"]: (row["a"], row["b"], row["ratio"]) for row in rows}
    # 2039 and 1555 GB/s, 80 and 40 GiB, 400 and 250 W; everything else is the same chip
    assert found == {
        "dram.bandwidth": ("2.039 TB/s", "1.555 TB/s", pytest.approx(1555 / 2039)),
        "dram.size": ("80 GiB", "40 GiB", 0.5),
        "power.limit": ("400 W", "250 W", 0.625),
    }
    lines = onchip("chips", "diff", "a100-sxm-80gb", "h100-sxm").out.splitlines()
    assert re.match(r"^a100-sxm-80gb and h100-sxm differ in \d+ of \d+ keys; ", lines[0])
    assert lines[0].endswith("; h100-sxm has 3.17x the dense bf16 peak and 1.64x the bandwidth of far memory.")
    rows = {line.split()[0]: line.split()[1:] for line in lines[4:]}
    assert rows["cores.count"] == ["108", "132", "1.22x"]
    assert rows["matrix.bf16.native"] == ["8x4x8", "8x4x16", "2x"]
    assert rows["clock.fp32"] == ["–", "1.98", "GHz", "–"]
    assert rows["peak.fp8"] == ["–", "1.98", "POPS", "–"]
    assert not {"name", "source", "description"} & set(rows)


def test_diff_of_one_chip_and_of_dissimilar_ones(onchip: Onchip) -> None:
    assert onchip("chips", "diff", "t4", "t4").out.startswith("t4 and t4 have the same numbers.\n")
    assert onchip("chips", "diff", "t4", "t4", "--json").valid("chips-1.json")["differences"] == []
    rows = onchip("chips", "diff", "eyeriss-v1", "t4", "--json").valid("chips-1.json")["differences"]
    found = {row["key"]: row for row in rows}
    assert found["matrix.dataflow"] == {
        "key": "matrix.dataflow",
        "a": "row_stationary",
        "b": "dot_product",
        "ratio": None,
    }
    assert found["clock.core"]["ratio"] == pytest.approx(1590 / 200)
    assert found["matrix.int16.rows"]["b"] is None
    assert "dense" not in onchip("chips", "diff", "eyeriss-v1", "t4").out.splitlines()[0]
    onchip("chips", "diff", "t4").mistake("OC1008", 2)
    onchip("chips", "diff", "t4", "nothing-like-it").mistake("OC1001", 2)


def test_new_begins_a_file_of_ones_own(onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = onchip("chips", "new", "mine", "--from", "edge-npu-16").out
    assert out == (
        "mine.toml has the numbers of edge-npu-16: change them.\nNext:  onchip estimate @resnet50 --chip ./mine.toml\n"
    )
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert text.count("\n# ") > 12, "each table says what it is"
    first = onchip("estimate", "@resnet8", "--chip", "./mine.toml", "--json").json
    assert first["latency_s"] == onchip("estimate", "@resnet8", "--chip", "edge-npu-16", "--json").json["latency_s"]
    (tmp_path / "mine.toml").write_text(text.replace('core = "500 MHz"', 'core = "1 GHz"'), encoding="utf-8")
    assert Chip.load("mine.toml").clock_hz == 10**9, "no published figure of the parent stands in the way"
    line = onchip("chips", "new", "mine", "--from", "t4").mistake("OC1018", 2)
    assert line.startswith("UsageError: mine.toml: OC1018 is there already and stays as it is.")
    assert "1 GHz" in (tmp_path / "mine.toml").read_text(encoding="utf-8")
    made = onchip("chips", "new", "other", "--from", "t4", "-o", "sub.toml", "--json").valid("chips-1.json")
    assert (made["name"], made["from"], made["file"]) == ("other", "t4", "sub.toml")
    assert Chip.load("sub.toml").name == "other"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("My Chip", "--from", "t4"), "OC1008"),
        (("../x", "--from", "t4"), "OC1008"),
        (("t4", "--from", "t4"), "OC1008"),
        (("mine", "--from", "t5"), "OC1001"),
        (("mine",), "OC1008"),
        (("mine", "--from", "t4", "-o", "mine.txt"), "OC1008"),
        (("mine", "--from", "t4", "-o", "absent/mine.toml"), "OC1015"),
    ],
)
def test_new_refuses(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    onchip("chips", "new", *words).mistake(code, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_begun_from_any_chip_has_its_numbers(name: str) -> None:
    chip = Chip.load(name)
    mine = Chip.parse(own_file("mine", chip))
    assert mine.name == "mine"
    assert not mine.peak
    runs = chip.matrix.dataflow in DATAFLOWS
    assert mine.evidence == ("program" if runs else "estimate"), "it is the user's own design"
    same = ("clock", "cores", "matrix", "vector", "overlap", "local", "shared", "dram", "host", "launch", "energy")
    assert all(getattr(mine, part) == getattr(chip, part) for part in same)
    uncommented = re.sub(r"(?m)^# (\[peak\]|\w+ = )", r"\1", own_file("mine", chip))
    assert {key for key, _ in Chip.parse(uncommented).peak} == set(chip.dtypes), "the peak that it offers holds"


def test_every_table_has_its_words() -> None:
    """The comments of `new` are those of the tables that a file can have, all of them."""
    whole = schema()
    tables = {key for key, value in whole["$defs"]["Chip"]["properties"].items() if "#/$defs/" in str(value)}
    assert {key.lower() for key in tables} - {"published"} == set(WORDS)
