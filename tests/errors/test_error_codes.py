"""Every code that the package raises has an explanation, and every explanation is fit to be read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from onchip.error_codes import FOLDER, catalog

PACKAGE = Path(__file__).parents[2] / "onchip"
RAISED = sorted(
    {
        (code, path.relative_to(PACKAGE).as_posix())
        for path in PACKAGE.rglob("*.py")
        for code in re.findall(r'"(OC\d+)"', path.read_text(encoding="utf-8"))
    }
)
FILES = sorted(FOLDER.glob("*.toml"))


def test_every_raised_code_is_explained() -> None:
    missing = [
        f"{code} (raised in onchip/{path}): add [{code}] with title, cause, fixes and example, in its order, "
        f"to onchip/errors_catalog/{code[2:4]}.toml"
        for code, path in RAISED
        if code not in catalog()
    ]
    assert not missing, "\n" + "\n".join(missing)


def test_every_explained_code_is_raised() -> None:
    assert not set(catalog()) - {code for code, _ in RAISED}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_sorted_and_holds_its_hundred(path: Path) -> None:
    codes = list(tomllib.loads(path.read_text(encoding="utf-8")))
    assert codes == sorted(codes), path.name
    assert {code[2:4] for code in codes} == {path.stem}


@pytest.mark.parametrize("code", sorted(catalog()))
def test_an_explanation_is_complete(code: str) -> None:
    explanation = catalog()[code]
    assert re.fullmatch(r"OC[1239]\d{3}", code)
    assert explanation.title and not explanation.title.endswith(".")
    assert explanation.cause.endswith(".")
    assert 1 <= len(explanation.fixes) <= 3
    assert all(fix.endswith((".", "`", ")")) for fix in explanation.fixes)
    assert re.match(rf".+: {code} \S.*[.?]$", explanation.example), "an example is a message: `where: CODE fact.`"
    assert len(explanation.example) < 240
