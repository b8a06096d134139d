"""Every code that the package raises has an explanation, and every explanation is fit to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onchip.error_codes import CATALOG

PACKAGE = Path(__file__).parents[2] / "onchip"
RAISED = sorted(
    {
        (code, path.relative_to(PACKAGE).as_posix())
        for path in PACKAGE.rglob("*.py")
        if path.name != "error_codes.py"
        for code in re.findall(r'"(OC\d+)"', path.read_text(encoding="utf-8"))
    }
)


def test_every_raised_code_is_explained() -> None:
    missing = [f"{code} in {path}" for code, path in RAISED if code not in CATALOG]
    assert not missing


def test_the_catalog_is_sorted() -> None:
    assert list(CATALOG) == sorted(CATALOG)


@pytest.mark.parametrize("code", sorted(CATALOG))
def test_an_explanation_is_complete(code: str) -> None:
    explanation = CATALOG[code]
    assert re.fullmatch(r"OC[1239]\d{3}", code)
    assert explanation.title and not explanation.title.endswith(".")
    assert explanation.why.endswith(".")
    assert len(explanation.fixes) <= 3
    assert all(fix.endswith((".", "`", ")")) for fix in explanation.fixes)
