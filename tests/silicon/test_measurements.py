"""Reading measurements: strict, with row and column, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.errors import BadFile
from onchip.silicon.measurements import (
    COLUMNS,
    MAX_FIELD,
    PUBLIC,
    Measurement,
    parse_measurements,
    read_measurements,
)

HEADER = ",".join(COLUMNS)
GOOD = "a100-sxm-80gb,gemm,M=1;N=64;K=64,bf16,latency_ms,0.002697,device,who"


def test_a_row_is_read_as_it_stands() -> None:
    (row,) = parse_measurements(f"{HEADER}\n{GOOD}\n", "m.csv")
    params = (("M", "1"), ("N", "64"), ("K", "64"))
    assert row == Measurement(2, "a100-sxm-80gb", "gemm", params, "bf16", "latency_ms", 0.002697, "device", "who")
    assert row.words == "gemm M=1;N=64;K=64"


def test_the_public_rows_are_read(tmp_path: Path) -> None:
    rows = read_measurements(PUBLIC)
    assert len(rows) == 2662 and [row.row for row in rows] == list(range(2, 2664))
    assert {row.timing for row in rows} == {"device", "host", "end_to_end"}
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + PUBLIC.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert read_measurements(marked) == rows, "a byte order mark and line ends change nothing"


def test_quotes_and_no_rows() -> None:
    (row,) = parse_measurements(f'{HEADER}\n{GOOD[:-3]}"a, ""b"""', "m.csv")
    assert row.source == 'a, "b"'
    assert parse_measurements(HEADER, "m.csv") == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.002697", "0", "row 2, column value: '0' is no number above 0."),
        ("0.002697", "-1", "row 2, column value"),
        ("0.002697", "nan", "row 2, column value"),
        ("0.002697", "1e999", "row 2, column value"),
        ("0.002697", "1_0", "row 2, column value"),
        ("0.002697", "٣", "row 2, column value"),
        ("0.002697", '"1,5"', "row 2, column value: '1,5' is no number above 0."),
        ("M=1", "M=0", "row 2, column params: M = '0' is no whole number. It is from 1 to 2147483648."),
        ("M=1", "M=1.5", "row 2, column params"),
        ("M=1", "M=²", "row 2, column params"),
        ("M=1", "M", "row 2, column params: 'M' is no key=value."),
        ("M=1", "M=", "row 2, column params"),
        ("M=1", "=1", "row 2, column params"),
        ("M=1", "M=1;", "row 2, column params: '' is no key=value."),
        ("M=1;N", "M=1;M", "row 2, column params: 'M' stands twice."),
        ("M=1", "empty_kernel_us=x;M=1", "row 2, column params: empty_kernel_us = 'x' is no number."),
        ("M=1", ";".join(f"k{i}=a" for i in range(40)), "row 2, column params: has 42 parameters. At most 32."),
        ("gemm", "", "row 2, column workload: '' is no word."),
        ("gemm", "ge mm", "row 2, column workload"),
        ("bf16", "16", "row 2, column dtype"),
        ("a100-sxm-80gb", "-", "row 2, column chip"),
        ("who", "a\tb", "row 2, column source: holds a control character or a line break."),
        ("who", '"a\nb"', "row 2, column source: holds a control character or a line break."),
        ("who", "x" * (MAX_FIELD + 1), f"row 2, column source: has {MAX_FIELD + 1} characters. At most {MAX_FIELD}."),
    ],
)  # fmt: skip
def test_a_bad_cell_is_told_with_row_and_column(old: str, new: str, said: str) -> None:
    with pytest.raises(BadFile) as caught:
        parse_measurements(f"{HEADER}\n{GOOD.replace(old, new, 1)}\n", "m.csv")
    assert caught.value.code == "OC1502" and caught.value.exit_code == 2
    assert str(caught.value).startswith(f"m.csv: OC1502 {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "row 1: the header has 0 columns, not 8"),
        (HEADER + ",more\n", "row 1: the header has 9 columns, not 8"),
        (HEADER.replace("workload", "kind"), "row 1, column 2: the header has 'kind', not 'workload'"),
        (f"{HEADER}\n{GOOD},more\n", "row 2 has 9 columns, not 8"),
        (f"{HEADER}\n{GOOD}\n\n{GOOD}", "row 3 has 0 columns, not 8"),
        (f'{HEADER}\n"{GOOD}', "row 2: unexpected end of data"),
        (f'{HEADER}\n{GOOD}\n"a"b,{GOOD}', "row 3: ',' expected after '\"'"),
    ],
)
def test_a_bad_file_is_told(text: str, said: str) -> None:
    with pytest.raises(BadFile, match="OC1501") as caught:
        parse_measurements(text, "m.csv")
    assert said in str(caught.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.csv"
    for name in (tmp_path, path, "a\0b"):
        with pytest.raises(BadFile, match="OC1501 cannot be read"):
            read_measurements(name)
    path.write_bytes(HEADER.encode() + b"\n\xff")
    with pytest.raises(BadFile, match=rf"is no UTF-8 text \(byte {len(HEADER) + 1}\)"):
        read_measurements(path)
    monkeypatch.setattr("onchip.silicon.measurements.MAX_BYTES", 10)
    with pytest.raises(BadFile, match="is larger than"):
        read_measurements(path)
    monkeypatch.setattr("onchip.silicon.measurements.MAX_ROWS", 1)
    with pytest.raises(BadFile, match="more than 1 rows"):
        parse_measurements(f"{HEADER}\n{GOOD}\n{GOOD}\n", "m.csv")


CELL = st.one_of(st.text(max_size=8), st.sampled_from(["1e3", "M=1;N=2;K=3", "gemm", '"', "a=b;;", "∞", "\0", "\r"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELL, min_size=6, max_size=9).map(",".join), max_size=3), st.booleans())
def test_random_texts_are_read_or_refused(lines: list[str], has_header: bool) -> None:
    text = "\n".join(([HEADER] if has_header else []) + lines)
    try:
        parse_measurements(text, "m.csv")
    except BadFile as error:
        assert error.code in ("OC1501", "OC1502") and "row " in str(error)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.characters(exclude_categories=["Cs"]))
def test_one_wrong_character_never_ends_in_a_traceback(at: int, character: str) -> None:
    text = f"{HEADER}\n{GOOD[:at]}{character}{GOOD[at + 1 :]}\n"
    try:
        parse_measurements(text, "m.csv")
    except BadFile as error:
        assert "row 2" in str(error) or "row 3" in str(error)


def test_rows_of_the_fixture(rows: Callable[..., tuple[Measurement, ...]]) -> None:
    assert [row.row for row in rows(GOOD, GOOD)] == [2, 3]
