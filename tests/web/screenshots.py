"""The pictures of the documentation: `python -m tests.web.screenshots` takes them anew, light and dark.

In:       Chromium. Out: docs/images/*.png, of pages that are made as a user makes them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.web.conftest import CHROMIUM, ROOT
from tests.web.samples import html

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1180, 900
SHOTS = {"report": "edge"}  # picture -> page of tests/web/samples.py


def shoot(browser: Any, name: str, scheme: str, folder: Path, work: Path) -> Path:
    """Take one picture of the top of a page. Returns its path."""
    page_path = work / f"{name}.html"
    page_path.write_text(html(SHOTS[name]), encoding="utf-8")
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
    page = context.new_page()
    page.goto(page_path.as_uri())
    page.wait_for_selector("main .verdict")
    path = folder / f"{name}-{scheme}.png"
    page.screenshot(path=path)
    context.close()
    return path


def main() -> int:
    """Write all pictures."""
    import tempfile

    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as started, tempfile.TemporaryDirectory() as work:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in SHOTS:
            for scheme in ("light", "dark"):
                print(shoot(browser, name, scheme, IMAGES, Path(work)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
