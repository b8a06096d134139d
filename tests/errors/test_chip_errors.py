"""What a user sees when a chip file or a chip's name is wrong: the code, the place, the fact, and the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.errors import BadFile, NotSupported, OnchipError, UnknownName, UsageError

EDGE = str(Chip.load("edge-npu-16"))


def refusal(kind: type[OnchipError], text: str) -> str:
    """The message with which a chip file is refused."""
    with pytest.raises(OnchipError) as caught:
        Chip.parse(text, "mine.toml")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(pattern: str, replacement: str) -> str:
    text, n = re.subn(pattern, replacement, EDGE, flags=re.MULTILINE)
    assert n == 1, f"{pattern} matches {n} times"
    return text


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("^banks", "bancs", "mine.toml: OC1102 unknown key 'local.bancs'. Did you mean 'local.banks'?"),
        ("^int8 = {", "int9 = {", "mine.toml: OC1102 unknown key 'matrix.int9'. Did you mean 'matrix.int8'?"),
        ("rows = 16", "row = 16", "mine.toml: OC1102 unknown key 'matrix.int8.row'. Did you mean 'matrix.int8.rows'?"),
        (r"^\[dram\]", "[drum]", "mine.toml: OC1102 unknown key 'drum'. Did you mean 'dram'?"),
        (
            "lut = 4",
            "lutt = 4",
            "mine.toml: OC1102 unknown key 'vector.ops_per_cycle.lutt'. Did you mean 'vector.ops_per_cycle.lut'?",
        ),
        ("^latency.*", "", "mine.toml: OC1103 'dram.latency' is missing. Add dram.latency with its source."),
        ("^name.*", "", "mine.toml: OC1103 'name' is missing. Add name with its source."),
        ('^core = "500 MHz"', "", "mine.toml: OC1103 'clock.core' is missing. Add clock.core with its source."),
        (
            '^int8 = "256 GOPS"',
            'int8 = "0.512 TOPS"',
            "edge-npu-16: OC1104 [peak] int8 = 512 GOPS, but array x clock gives "
            "2 x 256 MAC/cycle x 1 cores x 500 MHz = 256 GOPS (-50.0 %). They may differ by 2 %. "
            "Correct the peak (dense, not sparse), the array, the cores or the clock.",
        ),
        (
            '^size = "256 KiB"',
            'size = "256 KB"',
            "mine.toml: OC1105 local.size: '256 KB' is ambiguous. KB may mean 1000s or 1024s. Write KiB.",
        ),
        ("^banks = 8", "banks = 0", "mine.toml: OC1105 local.banks: should be greater than or equal to 1, not '0'."),
        ("^banks = 8", "banks = true", "mine.toml: OC1105 local.banks: should be a valid integer, not 'True'."),
        (
            '^weight_load = "hidden"',
            'weight_load = "hiden"',
            "mine.toml: OC1105 matrix.weight_load: should be 'hidden' or 'serial', not 'hiden'.",
        ),
        (
            '^core = "500 MHz"',
            "core = 500",
            "mine.toml: OC1105 clock.core: write a number with a unit, not 500.",
        ),
        (
            '^default_dtype = "int8"',
            'default_dtype = "bf16"',
            "edge-npu-16: OC1106 default_dtype is bf16, but [matrix] has int8.",
        ),
        (
            "rows = 16, cols = 16",
            'native = "8x4x8"',
            "edge-npu-16: OC1106 matrix.int8: a weight_stationary array has rows and cols, no native shape.",
        ),
        (
            '"dram.size"',
            '"dram.sise"',
            "mine.toml: OC1106 assumed names 'dram.sise', which the file does not give.",
        ),
    ],
)
def test_the_message(pattern: str, replacement: str, message: str) -> None:
    assert refusal(BadFile, edited(pattern, replacement)) == message


def test_a_peak_within_two_percent_is_accepted() -> None:
    assert Chip.parse(edited('^int8 = "256 GOPS"', 'int8 = "260 GOPS"')).peak
    assert "OC1104" in refusal(BadFile, edited('^int8 = "256 GOPS"', 'int8 = "262 GOPS"'))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\nclock = = 3\n', ["mine.toml", "OC1101", "line 2, column 9"]),
        ('name = "a"\n[clock\n', ["OC1101", "line 2"]),
        ('name = "unterminated', ["OC1101", "at the end"]),
        ('name = "a"\nname = "b"\n', ["OC1101", "line 2"]),
        ("x = " + "[" * 5000, ["OC1101", "too deep"]),
        ("x = " + "9" * 5000, ["OC1101"]),
        ("# " + "x" * 2**20, ["OC1101", "limit is 1048576 bytes"]),
        ("", ["OC1103", "is missing"]),
        ("[cores]\ncount = 1e400", ["OC1102"]),
        ('extends = "edge-npu-16"\n', ["OC1103", "'name' is missing"]),
        ('name = "a"\nextends = "edge-npu"\n', ["OC1107", "'edge-npu'", "'edge-npu-"]),
        ('name = "a"\nextends = 3\n', ["OC1107", "not 3"]),
    ],
)
def test_malformed_files(text: str, words: list[str]) -> None:
    if "1e400" in text:
        text = EDGE.replace("count = 1\n", "count = 1e400\n")
        words = ["OC1105", "cores.count"]
    message = refusal(BadFile, text)
    assert all(word in message for word in words), message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("edge-npu", UnknownName, ["OC1001", "'edge-npu'", "'edge-npu-"]),
        ("h100", UnknownName, ["OC1001", "'h100-sxm'"]),
        ("Edge-NPU-16", UnknownName, ["OC1001", "'edge-npu-16'"]),
        ("zzz", UnknownName, ["OC1001", f"There are {len(Chip.names())}: `onchip chips` lists them."]),
        ("", UnknownName, ["OC1001"]),
        ("../chips/edge-npu-16", UnknownName, ["OC1001"]),
        ("x" * 100_000, UnknownName, ["OC1001"]),
        ("absent.toml", BadFile, ["OC1101", "absent.toml", "No such file"]),
        ("a\0b.toml", BadFile, ["OC1101", "null"]),
        ("edge-npu-16?local.sise=3", BadFile, ["OC1102", "'local.size'"]),
        ("edge-npu-16?local.size=3 KB", BadFile, ["OC1105", "KiB"]),
        ("edge-npu-16?local.size=99999999999 GiB", BadFile, ["OC1105", "too large"]),
        ("edge-npu-16?cores.count=-1", BadFile, ["OC1105", "cores.count"]),
        ("edge-npu-16?default_dtype=fp32", BadFile, ["OC1106", "fp32", "int8"]),
        ("edge-npu-16?", UsageError, ["OC1006", "key=value"]),
        ("edge-npu-16?local", UsageError, ["OC1006", "'local'"]),
        ("edge-npu-16?local..size=3", UsageError, ["OC1006", "'local..size'"]),
        ("edge-npu-16?name.x=3", UsageError, ["OC1006", "'name.x'"]),
        ("h100-sxm?shared.1.size=1 MiB", UsageError, ["OC1006", "There are 1"]),
        ("edge-npu-16?shared.0.size=1 MiB", BadFile, ["OC1105", "shared"]),
    ],
)
def test_names_and_overrides(name: str, kind: type[OnchipError], words: list[str]) -> None:
    with pytest.raises(OnchipError) as caught:
        Chip.load(name)
    assert type(caught.value) is kind
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_cannot_be_text(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    (tmp_path / "folder.toml").mkdir()
    for name, words in (("latin", "no UTF-8 text (byte 11)"), ("large", "limit is 1048576"), ("folder", "directory")):
        with pytest.raises(BadFile, match="OC1101") as caught:
            Chip.load(tmp_path / f"{name}.toml")
        assert words in str(caught.value)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "bom.toml").write_text(EDGE, encoding="utf-8-sig")
    assert Chip.load(tmp_path / "bom.toml") == Chip.load("edge-npu-16")


def test_circular_parents(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\nextends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('name = "b"\nextends = "a.toml"\n')
    with pytest.raises(BadFile, match=r"a\.toml: OC1107 .* circular or longer than 8"):
        Chip.load(tmp_path / "a.toml")


def test_a_dtype_that_is_absent_names_those_there_are() -> None:
    with pytest.raises(NotSupported, match=r"no matrix array for fp8\. There are: int8, fp16, bf16, tf32, fp32"):
        Chip.load("a100-sxm-80gb").matrix.array("fp8")


LINES = EDGE.splitlines()
JUNK = st.sampled_from(["", "=", "[", "[[x]]", "= -1", '= "nan Hz"', "= nan", "= []", "= {}", "= 1e99", '= ""', "\x00"])


@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), JUNK, st.booleans()), min_size=1, max_size=3))
def test_damaged_files_raise_only_our_errors(damage: list[tuple[int, str, bool]]) -> None:
    lines = list(LINES)
    for row, junk, keeps_key in damage:
        lines[row] = (lines[row].split("=")[0] if keeps_key else "") + junk
    try:
        chip = Chip.parse("\n".join(lines), "damaged.toml")
    except OnchipError as error:
        assert error.code.startswith("OC11")
    else:
        assert Chip.parse(str(chip)) == chip
