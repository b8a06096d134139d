"""The app in a browser: choose, edit, compare, drop files; every number as the library has it, every trouble told."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import onchip as oc
from onchip.units import format_value

WAIT = 60_000


@pytest.fixture(scope="module")
def link(browser: Any) -> Iterator[str]:
    """Start the app as a user does, and give the link that it prints."""
    pytest.importorskip("uvicorn")
    words = [sys.executable, "-u", "-m", "onchip", "app", "--upload", "2MiB"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
        process.terminate()


@pytest.fixture
def app(browser: Any, link: str) -> Iterator[Any]:
    """Give the app in a browser of its own; requests that leave the machine and exceptions fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, troubles = context.new_page(), list[str]()
    own = link.partition("/?")[0]

    def failed(error: Any) -> None:
        troubles.append(str(error))

    def asked(request: Any) -> None:
        if not request.url.startswith(own):
            troubles.append(request.url)

    page.on("pageerror", failed)
    page.on("request", asked)
    page.goto(link)
    page.wait_for_selector("main .verdict", timeout=WAIT)
    yield page
    context.close()
    assert not [t for t in troubles if not t.startswith(("data:", "blob:"))]


def verdict(page: Any, of: str) -> str:
    page.wait_for_selector(f"main .verdict:has-text('{of}')", timeout=WAIT)
    return page.inner_text("main .verdict")


def test_what_is_chosen_is_priced_as_the_library_does(app: Any) -> None:
    app.select_option("#model", "@resnet8")
    app.select_option("#chip", "edge-npu-32")
    own = oc.estimate(oc.read("@resnet8").bind(batch=1), "edge-npu-32")
    assert verdict(app, "resnet8 on edge-npu-32") == own.verdict
    app.click("summary:has-text('dram')")
    app.fill("#chip-dram-bandwidth", "12.8 GB/s")
    app.keyboard.press("Tab")
    changed = oc.estimate(
        oc.read("@resnet8").bind(batch=1), oc.Chip.load("edge-npu-32").replace({"dram.bandwidth": "12.8 GB/s"})
    )
    assert changed.latency_s.value < own.latency_s.value
    assert format_value(changed.latency_s.value, "s") in verdict(app, "dram.bandwidth=12.8 GB/s")
    assert "12.8 GB/s" in (app.text_content("svg.diagram") or "")
    assert "?token" not in app.url


def test_a_wrong_number_is_told_where_it_is(app: Any) -> None:
    app.click("summary:has-text('local')")
    app.fill("#chip-local-size", "256 bananas")
    app.keyboard.press("Tab")
    app.wait_for_selector("[role=alert]:has-text('OC1105')", timeout=WAIT)
    assert app.locator("text=Pin this run").is_disabled(), "what follows is another run"
    assert "last run with an answer" in app.inner_text(".live-old")
    assert app.locator("text=Open the full report").count() == 0
    app.click("text=Undo all changes of the chip")
    app.wait_for_selector("[role=alert]", state="detached", timeout=WAIT)


def test_runs_are_pinned_and_the_catalog_is_compared(app: Any) -> None:
    app.select_option("#model", "@ds_cnn")
    verdict(app, "ds_cnn on edge-npu-16")
    app.click("text=Pin this run")
    app.select_option("#chip", "tiny-npu-4")
    verdict(app, "ds_cnn on tiny-npu-4")
    app.click("text=Pin this run")
    app.wait_for_selector("section[aria-label='Pinned runs'] tbody tr:nth-child(2)")
    seconds = [
        float(v)
        for v in app.eval_on_selector_all(
            "section[aria-label='Pinned runs'] [data-value]", "all => all.map(e => e.dataset.value)"
        )
    ]
    graph = oc.read("@ds_cnn").bind(batch=1)
    assert seconds == [oc.estimate(graph, chip).expected.latency_s.value for chip in ("edge-npu-16", "tiny-npu-4")]
    app.click("text=Compare all chips")
    app.wait_for_selector("section[aria-label='All chips'] tbody tr", timeout=WAIT)
    rows = app.locator("section[aria-label='All chips'] tbody tr").count()
    assert rows + len(app.query_selector_all("section[aria-label='All chips'] details li")) == len(oc.Chip.names())


def test_files_are_read_and_bad_ones_are_told(app: Any, tmp_path: Path) -> None:
    oc.read("@digits_cnn", weights="random").save(tmp_path / "mine.npz")
    app.set_input_files("#file", tmp_path / "mine.npz")
    assert "digits_cnn on edge-npu-16" in verdict(app, "digits_cnn")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\xffjunk" * 99)
    app.set_input_files("#file", tmp_path / "bad.onnx")
    app.wait_for_selector("[role=alert]:has-text('bad.onnx: OC12')", timeout=WAIT)
    (tmp_path / "large.onnx").write_bytes(bytes(3 << 20))
    app.set_input_files("#file", tmp_path / "large.onnx")
    app.wait_for_selector("[role=alert]:has-text('OC1601')", timeout=WAIT)
    assert "digits_cnn" in app.inner_text("main .verdict"), "what was there stays"


def test_the_app_follows_the_rules_of_accessibility_and_the_keyboard(app: Any, axe: Any) -> None:
    assert axe(app) == []
    app.focus("#batch")
    app.keyboard.press("ArrowRight")
    app.wait_for_selector("main h1:has-text('batch 2')", timeout=WAIT)


def test_the_full_report_opens_from_the_app(app: Any) -> None:
    app.select_option("#model", "@ds_cnn")
    told = verdict(app, "ds_cnn on edge-npu-16")
    with app.context.expect_page() as opened:
        app.click("text=Open the full report")
    report = opened.value
    report.wait_for_selector("main .verdict", timeout=WAIT)
    assert report.inner_text("main .verdict") == told
