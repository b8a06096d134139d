"""The pictures of the documentation can be taken anew, light and dark, and show something."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.web.screenshots import HEIGHT, IMAGES, SHOTS, WIDTH, shoot


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SHOTS)
def test_a_picture_is_taken(browser: Any, tmp_path: Path, name: str, scheme: str) -> None:
    path = shoot(browser, name, scheme, tmp_path, tmp_path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (WIDTH, HEIGHT)
    assert len(data) > 30_000, "an empty page of this size has 5 kB"
    assert (IMAGES / path.name).exists(), "python -m tests.web.screenshots"
