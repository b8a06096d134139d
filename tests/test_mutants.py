"""Every seeded fault of `tests/mutants.py` still applies, and the tests that it names exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant

AREAS = ("planner", "lowering", "simulator", "isa", "ops", "numerics.py")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_fault_applies(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutant.apply(text)
    assert changed != text
    ast.parse(changed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_its_tests_exist(mutant: Mutant) -> None:
    for test in mutant.tests.split():
        file, _, function = test.partition("::")
        name = function.split("[")[0]
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_faults_lie_in_every_room_that_computes() -> None:
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 14
    places = {Path(m.file).parts[1] for m in MUTANTS}
    assert places >= set(AREAS)
