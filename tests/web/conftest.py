"""A browser for the pages: Chromium of the distribution, without a network.

In:       HTML texts. Out: pages in headless Chromium; a request that leaves the machine, an error on the console or an
exception in the page fails the test. Without Chromium the tests are skipped, and pytest's last lines say how many.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
CHROMIUM = os.environ.get("ONCHIP_CHROMIUM") or next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
NO_CHROMIUM = "no Chromium: make setup-ui installs it"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
LOCAL = ("file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Give one headless Chromium for all tests of a process."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install onchip[dev]")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Give `open_page(html_text_or_path, **options)`: a page that was drawn; at the end its troubles are an error.

    Options: width, height, scheme ("light" or "dark"), downloads.
    """
    troubles: list[str] = []
    contexts: list[Any] = []

    def open(content: str | Path, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        path = content if isinstance(content, Path) else tmp_path / f"page{len(contexts)}.html"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()

        def route(request_route: Any) -> None:
            url = request_route.request.url
            if url.startswith(LOCAL):
                request_route.continue_()
                return
            troubles.append(f"a request leaves the page: {url}")
            request_route.abort()

        page.route("**/*", route)

        def console(message: Any) -> None:
            if message.type in ("error", "warning"):
                troubles.append(f"{message.type}: {message.text}")

        def failed(error: Any) -> None:
            troubles.append(f"exception: {error}")

        page.on("console", console)
        page.on("pageerror", failed)
        page.goto(path.as_uri())
        page.wait_for_selector("#onchip main", timeout=20_000)
        return page

    yield open
    for context in contexts:
        context.close()
    assert not troubles, troubles


@pytest.fixture
def axe() -> Callable[[Any], list[str]]:
    """Give a function that returns what axe's rules find wrong with a page, one line each."""
    if not AXE.exists():
        pytest.skip("no axe-core: make setup-ui installs it")
    source = AXE.read_text(encoding="utf-8")

    def violations(page: Any) -> list[str]:
        page.evaluate(source)  # as the debugger does: the page's own policy forbids other scripts
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [f"{v['id']}: {node['html'][:120]} {node['failureSummary']}" for v in found for node in v["nodes"][:3]]

    return violations


@pytest.fixture(scope="session")
def sample() -> Callable[[str], str]:
    """Give `sample(name)`: the HTML file of a run, made once."""
    from tests.web.samples import html

    made: dict[str, str] = {}

    def get(name: str) -> str:
        if name not in made:
            made[name] = html(name)
        return made[name]

    return get


def data_of(page: Any) -> Any:
    """Return the JSON inside of a page."""
    return json.loads(page.evaluate("document.getElementById('onchip-page').textContent"))


def node(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Node in web/."""
    return subprocess.run([*words], cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
