"""The panels of what to change: numbers and commands are those of the part; sliders stand on priced points."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from onchip import pages, pipeline
from onchip.advice import full_advice
from onchip.case import Case
from onchip.chip import Chip
from onchip.ir.page import Page
from onchip.reports.actions import actions_json
from onchip.reports.html import page_html
from onchip.reports.whatif import Knob, knobs_part
from tests.web.conftest import Open

COMMAND = "onchip whatif @digits_cnn --chip tiny-npu-4"
KNOBS = (Knob("clock.core", "100 MHz", 0.9, -0.45), Knob("local.size", "32 KiB", None, -0.1), Knob("quiet", "2", 0, 0))


@cache
def made() -> Page:
    case = Case(pipeline.read("@digits_cnn"), Chip.load("tiny-npu-4"))
    report = pipeline.estimate(case.bound, case.chip)
    found = full_advice(case, report, chips=[Chip.load("edge-npu-4"), Chip.load("edge-npu-8")])
    actions = actions_json(report, found.actions, COMMAND, tried=found.tried)
    return pages.page(report, case.chip, actions=actions, knobs=knobs_part(report, KNOBS, COMMAND))


def values(page: Any, name: str) -> list[float]:
    return page.locator(f'[data-name="{name}"]').evaluate_all("nodes => nodes.map(n => Number(n.dataset.value))")


def test_actions_show_the_numbers_of_the_part(open_page: Open) -> None:
    part = made().parts["actions"]
    page = open_page(page_html(made()))
    assert len(part["actions"]) >= 2
    assert values(page, "action-time") == [action["verified"]["time"] for action in part["actions"]]
    assert values(page, "action-seconds") == [action["verified"]["seconds"] for action in part["actions"]]
    shown = page.locator("#actions .command code").all_inner_texts()
    assert shown == [action["command"] for action in part["actions"]]
    first = page.locator("#actions .act").first.inner_text()
    assert part["actions"][0]["text"] in first and "simulated" in first and part["actions"][0]["effort"] in first


def test_sliders_stand_on_priced_points(open_page: Open) -> None:
    page, part = open_page(page_html(made())), made().parts["knobs"]
    assert values(page, "knob-clock.core-halved") == [0.9] and values(page, "knob-clock.core-doubled") == [-0.45]
    assert "less than 0.5 %: quiet" in page.locator("#knobs").inner_text()
    clock, size = (page.get_by_label(name) for name in ("clock.core", "local.size"))
    assert values(page, "knob-seconds") == [part["seconds"]]
    clock.focus()
    for key, factor in (("End", 0.55), ("Home", 1.9)):
        page.keyboard.press(key)
        assert values(page, "knob-seconds") == [pytest.approx(part["seconds"] * factor)]
    assert page.locator("#knobs .command code").inner_text() == f"{COMMAND} --set clock.core=50MHz"
    assert "This point was priced" in page.locator(".kn-result").inner_text()
    size.focus()
    page.keyboard.press("End")
    assert values(page, "knob-seconds") == [pytest.approx(part["seconds"] * 1.9 * 0.9)]
    page.keyboard.press("Home")  # what could not be priced at half has no stop there
    assert size.get_attribute("aria-valuetext") == "32KiB"
    page.keyboard.press("ArrowRight")
    assert "the command prices it" in page.locator(".kn-result").inner_text()
    page.get_by_role("button", name="back to the chip").click()
    assert values(page, "knob-seconds") == [part["seconds"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, open_page: Open, axe: Callable[[Any], list[str]]) -> None:
    page = open_page(page_html(made()), scheme=scheme)
    page.get_by_label("clock.core").focus()
    page.keyboard.press("End")
    assert axe(page) == []
