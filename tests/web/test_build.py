"""The built front end is what its sources say, and small."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from onchip.reports.html import WEB as BUILT
from tests.web.conftest import WEB, node
from tests.web.samples import html

LARGEST = 400_000  # bytes of a page without data
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules").is_dir(),
    reason="no Node, or no web/node_modules: make setup-ui installs them",
)


@needs_node
def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    done = node("node", "build.mjs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    built = {path.name for path in BUILT.iterdir()}
    assert built == {path.name for path in tmp_path.iterdir()} >= {"page.js", "page.css", "LICENSES.txt"}
    for name in built:
        assert (tmp_path / name).read_bytes() == (BUILT / name).read_bytes(), f"onchip/web/{name}: npm run build"


@needs_node
def test_the_sources_have_types() -> None:
    done = node("node", "node_modules/typescript/bin/tsc", "--noEmit")
    assert done.returncode == 0, done.stdout


def test_a_page_is_small_and_names_no_server() -> None:
    text = html("plain")
    assert len(text.encode()) < LARGEST
    outside = text.replace("http://www.w3.org/", "")  # names of XML's spaces
    assert "http://" not in outside
    assert "https://" not in outside
    assert "//# sourceMappingURL" not in text
    for path in (WEB / "package-lock.json", WEB / "package.json"):
        assert "resolved" not in path.read_text(encoding="utf-8")
