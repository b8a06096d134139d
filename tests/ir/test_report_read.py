"""Reports come back from their JSON as they were, and anything else is refused with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onchip.errors import BadFile, OnchipError
from onchip.ir.report import Report
from onchip.ir.report_read import parse_report, read_report
from onchip.ir.trace import Trace
from onchip.reports.summary import summarize
from onchip.simulator.energy import energy


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    trace = make_trace(batch=3)
    made = summarize(trace, energy(trace))
    return replace(made, bit_exact=True, silicon=replace(summarize(trace), kind="silicon"))


def test_a_report_comes_back(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(report.to_json(timing={"wall_s": 1.5})))
    assert read_report(path) == report


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the first of each list only."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in ((*place, key), *places(inner, (*place, key)))]
    if isinstance(value, list) and value:
        return [(*place, 0), *places(value[0], (*place, 0))]
    return []


def at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


@pytest.mark.parametrize("junk", [None, True, -1, "x", [], {}, [[]], float("nan"), 1e999, 10**400])
def test_a_wrong_field_anywhere_is_refused_or_read_as_it_stands(report: Report, junk: Any) -> None:
    whole = report.to_json()
    for place in places(whole):
        if "timing" in place:
            continue
        wrong = json.loads(json.dumps(whole))
        at(wrong, place[:-1])[place[-1]] = junk
        try:
            made = parse_report(json.dumps(wrong))
        except OnchipError as error:
            assert error.code == "OC1271", (place, junk, error)
            continue
        assert made.to_json() == wrong, (place, junk)


def test_a_missing_field_anywhere_is_refused(report: Report) -> None:
    whole = report.to_json()
    for place in places(whole):
        if "timing" in place or not isinstance(place[-1], str):
            continue
        wrong = json.loads(json.dumps(whole))
        del at(wrong, place[:-1])[place[-1]]
        with pytest.raises(BadFile, match="OC1271"):
            parse_report(json.dumps(wrong))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "nul", "[" * 100_000, '{"schema_version": 2}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(BadFile, match=r"OC127[01]"):
        parse_report(text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    for name in ("absent.json", "bytes.json", "."):
        with pytest.raises(BadFile, match="OC1270"):
            read_report(tmp_path / name)
