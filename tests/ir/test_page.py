"""Pages: what they refuse, and that they come back from their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onchip.errors import BadFile, InternalError
from onchip.ir.page import Page, page_of
from onchip.ir.page_read import parse_page, read_page
from onchip.ir.report import Report
from onchip.ir.report_read import MAX_BYTES
from onchip.ir.trace import Trace
from onchip.reports.html import page_html
from onchip.reports.summary import summarize
from onchip.simulator.energy import energy


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    trace = make_trace(batch=3)
    return replace(summarize(trace, energy(trace)), silicon=replace(summarize(trace), kind="silicon"))


@pytest.fixture
def page(report: Report) -> Page:
    return page_of(report, chip={"name": "</script><b>", "memories": [1, None, True, "é\u2028"]})


def test_a_page_comes_back_from_json_and_from_html(page: Page, report: Report, tmp_path: Path) -> None:
    text = json.dumps(page.to_json())
    assert parse_page(text) == page
    assert parse_page(page_html(page)) == page
    path = tmp_path / "r.html"
    path.write_text(page_html(page), encoding="utf-8")
    assert read_page(path) == page
    assert page_html(read_page(path)) == page_html(page)
    alone = parse_page(json.dumps(report.to_json(timing={"wall_s": 1.0})))
    assert alone == Page("tiny on edge-npu-16", (report,))


def test_sentences_are_those_of_the_text_report(page: Page, report: Report) -> None:
    (told,) = page.to_json()["told"]
    assert told["verdict"] == report.verdict
    assert [len(told["why"][side]) for side in ("program", "silicon")] == [2, 2]
    text = str(report)
    assert all(why in text for why in told["why"]["silicon"])


def test_what_cannot_be_drawn_is_refused(report: Report) -> None:
    for parts in ({"timelin": {}}, {"chip": {"x": float("nan")}}, {"chip": {"x": {1: 2}}}, {"chip": {"x": [object()]}}):
        with pytest.raises(InternalError, match="OC9046"):
            Page("t", (report,), parts)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InternalError, match="OC9046"):
        Page("t")


def broken(page: Page, **change: Any) -> str:
    return json.dumps({**page.to_json(), **change})


def test_files_that_are_no_page(page: Page) -> None:
    cases = {
        "": "OC1270", "{": "OC1270", "[" * 100_000: "OC1270", '{"a": NaN}': "OC1270", "[]": "OC1272", "7": "OC1272",
        "<html></html>": "OC1272", "{}": "OC1271", broken(page, onchip_page=2): "OC1273",
        broken(page, onchip_page="1"): "OC1273", broken(page, title=3): "OC1272", broken(page, reports={}): "OC1272",
        broken(page, parts=[]): "OC1272", broken(page, parts={"chip": 3}): "OC1272",
        broken(page, parts={"x": {}}): "OC1272",
        broken(page, reports=[], parts={}): "OC1272", broken(page, reports=[{}]): "OC1271",
        broken(page, reports=[None] * 1001): "OC1272",
        json.dumps({**page.reports[0].to_json(), "schema_version": 2}): "OC1271",
    }  # fmt: skip
    for text, code in cases.items():
        with pytest.raises(BadFile, match=code):
            parse_page(text, "x.json")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    large, latin = tmp_path / "large.html", tmp_path / "latin.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    latin.write_bytes(b'{"a": "\xe9"}')
    for path in (large, latin, tmp_path / "absent", tmp_path):
        with pytest.raises(BadFile, match="OC1270"):
            read_page(path)


def test_the_data_cannot_end_its_element_and_scripts_are_bound_by_hash(page: Page) -> None:
    text = page_html(page)
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    policy = text.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert page_html(page) == text
