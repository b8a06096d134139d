"""The public surface: the names of the documentation exist, resolve lazily, and nothing else is offered."""

from __future__ import annotations

import pytest

import onchip

DOCUMENTED = {
    *(
        "read",
        "check",
        "estimate",
        "quantize",
        "compile",
        "simulate",
        "evaluate",
        "evaluate_steps",
        "report",
        "compare",
    ),
    *(
        "Chip",
        "Graph",
        "Plan",
        "Program",
        "Runner",
        "Trace",
        "Report",
        "Check",
        "Quantity",
        "OnchipError",
        "__version__",
    ),
}


def test_all_is_what_is_documented() -> None:
    assert set(onchip.__all__) == DOCUMENTED
    assert dir(onchip) == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_name_resolves(name: str) -> None:
    assert getattr(onchip, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'onchip' has no attribute 'estimat'"):
        _ = onchip.estimat  # pyright: ignore[reportAttributeAccessIssue]
