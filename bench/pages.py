"""Measurements of report pages in a browser: a timeline of a million events, as long as the machine plays.

In: repetitions. Out: samples in SI units. Needs Playwright and Chromium of the distribution.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from onchip import pages, pipeline
from onchip.chip import Chip
from onchip.reports.html import page_html

NETWORK, CHIP = "@bert_base", "edge-npu-16"  # more than a million events; the page has the first kernels
ZOOMS = 60  # frames between the whole run and single instructions, and back
FRAMES = """async n => {
  const cycles = onchip.page.parts.timeline.cycles, spent = [];
  for (let i = 0; i < n; i++) {
    const width = cycles / 1.35 ** (i < n / 2 ? i : n - i), at = cycles * 0.37;
    onchipSetView(cycles, at - width / 2, at + width / 2);
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
  }
  return performance.getEntriesByName('timeline-draw').map(e => e.duration);
}"""


@functools.cache
def html() -> str:
    """Return the page of a run of more than a million events."""
    seen: dict[str, Any] = {}
    chip = Chip.load(CHIP)
    report = pipeline.estimate(pipeline.read(NETWORK), chip, watch=seen.__setitem__)
    made = pages.page(report, chip, seen)
    events = sum(k.instructions for k in seen["trace"].kernels[: made.parts["timeline"]["n_recorded"]])
    assert events > 950_000, events
    return page_html(made)


def page_bytes(_n: int) -> list[float]:
    """Return the size of the page."""
    return [float(len(html().encode()))]


def opened(n: int) -> list[float]:
    """Return the seconds from the file's name to the first drawing with all events, without the browser's start."""
    return [_browse(frames=0)[0] for _ in range(n)]


def frames(n: int) -> list[float]:
    """Return the longest seconds that a drawing took while zooming in to instructions and out again."""
    return [max(_browse(frames=ZOOMS)[1]) / 1e3 for _ in range(max(1, n // 3))]


def _browse(*, frames: int) -> tuple[float, list[float]]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        path = Path(folder) / "page.html"
        path.write_text(html(), encoding="utf-8")
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_selector("#timeline details")
        ready = page.evaluate(
            "new Promise(r => requestAnimationFrame(() => r(performance.getEntriesByName('timeline-draw')"
            ".filter(e => e.startTime > performance.getEntriesByName('timeline-decode')[0].startTime)"
            ".map(e => e.startTime + e.duration)[0])))"
        )
        drawn = page.evaluate(FRAMES, frames) if frames else []
        browser.close()
        return ready / 1e3, drawn
