"""`onchip report`, and the pages that other verbs write: one HTML file that opens again, errors with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onchip.ir.page_read import read_page
from tests.cli.conftest import Onchip


def test_a_page_of_estimate_has_the_numbers_of_its_json(onchip: Onchip, tmp_path: Path) -> None:
    page, data = tmp_path / "r.html", tmp_path / "r.json"
    words = ("estimate", "@digits_cnn", "--chip", "edge-npu-16", "-q", "-o")
    assert onchip(*words, page).code == 0
    assert onchip(*words, data).code == 0
    (report,) = read_page(page).reports
    written = json.loads(data.read_text(encoding="utf-8"))
    assert report.to_json() == {**written, "timing": {}}
    assert {"chip", "validation", "energy", "graph"} <= set(read_page(page).parts)


def test_a_page_of_a_run_says_whether_its_bits_are_exact(onchip: Onchip, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    assert onchip("run", "@digits_cnn", "--chip", "edge-npu-16", "-q", "--report", path).code == 0
    (report,) = read_page(path).reports
    assert report.bit_exact is True
    refused = onchip("run", "@digits_cnn", "--chip", "edge-npu-16", "--report", tmp_path / "r.txt")
    assert "r.html" in refused.mistake("OC1008", 2)


def test_report_draws_json_and_opens_pages_again(onchip: Onchip, tmp_path: Path) -> None:
    data, page, again, back = (tmp_path / name for name in ("r.json", "r.html", "again.html", "back.json"))
    onchip("estimate", "@digits_cnn", "--chip", "a100-sxm-80gb", "-q", "-o", data)
    made = onchip("report", data, "-o", page)
    assert made.code == 0, made.err
    assert made.out.splitlines()[0] == read_page(page).verdict
    assert onchip("report", page, "-o", again).code == 0
    assert again.read_bytes() == page.read_bytes()
    assert onchip("report", page, "-o", back, "-q").code == 0
    assert read_page(back) == read_page(page)
    text = onchip("report", page)
    assert text.out.splitlines()[0] == read_page(page).verdict
    assert onchip("report", page, "--json").json == read_page(page).to_json()


@pytest.mark.parametrize(("name", "text", "code"), [("a.html", "<html>", "OC1272"), ("a.json", "{}", "OC1271")])
def test_what_is_no_report_is_refused(onchip: Onchip, tmp_path: Path, name: str, text: str, code: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert name in onchip("report", path).mistake(code, 2)


def test_a_comparison_is_a_page_of_its_own(onchip: Onchip, tmp_path: Path) -> None:
    page, data = tmp_path / "c.html", tmp_path / "c.json"
    words = ("compare", "@digits_cnn", "-c", "edge-npu-16,a100-sxm-80gb", "-q", "-o")
    assert onchip(*words, page).code == 0
    assert onchip(*words, data).code == 0
    rows = read_page(page).parts["compare"]["rows"]
    reports = json.loads(data.read_text(encoding="utf-8"))["reports"]
    assert [row["latency_s"] for row in rows] == [report["latency_s"] for report in reports]
    assert "compare.html" in onchip("report", data).mistake("OC1272", 2)
    assert "again.html" in onchip("report", page, "-o", tmp_path / "again.pdf").mistake("OC1008", 2)
