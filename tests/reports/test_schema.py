"""The published schema is the generated one, and reports keep to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from onchip.ir.report_schema import report_schema
from onchip.ir.trace import Trace
from onchip.reports.summary import summarize
from onchip.schemas.__main__ import is_published
from onchip.simulator.energy import energy

FOLDER = Path(__file__).parents[2] / "onchip" / "schemas"
FILES = sorted(FOLDER.glob("*.json"))


def test_the_published_schemas_are_up_to_date() -> None:
    assert is_published(), "run python -m onchip.schemas"
    assert {"chip-1.json", "report-1.json", "demo-1.json", "compare-1.json"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_schema_is_a_schema(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("has_energy", [True, False])
def test_reports_validate(make_trace: Callable[..., Trace], has_energy: bool) -> None:
    trace = make_trace(batch=3)
    made = summarize(trace, energy(trace) if has_energy else None).to_json(timing={"wall_s": 0.1})
    jsonschema.validate(made, report_schema())


@pytest.mark.parametrize("field", ["latency_s", "waterfall", "assumptions", "chip"])
def test_a_missing_or_an_extra_field_is_refused(make_trace: Callable[..., Trace], field: str) -> None:
    made: dict[str, Any] = summarize(make_trace()).to_json()
    for wrong in ({k: v for k, v in made.items() if k != field}, {**made, "extra": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, report_schema())
