"""The lesson in a browser: what it draws is what the cells do in Python, register by register, for every choice; and
it can be guessed, played, stepped and read with a keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from onchip.chip import Chip
from onchip.ir.page import Page
from onchip.lesson import WAYS, systolic
from onchip.reports.html import page_html
from onchip.simulator.systolic import Array, Pass, play_cells
from tests.web.conftest import Open

FIELDS = ("item", "x", "weight", "sum", "shadow")
KEYS = {"matrix.int8.rows": 3, "matrix.int8.cols": 2, "matrix.units": 2, "peak.int8": "2400 MOPS"}
SLOW = {"local.read": "3 B/cycle", "local.weight_read": "3 B/cycle"}


def html(part: dict[str, Any]) -> str:
    return page_html(Page("A systolic array", (), {"lesson": part}))


@pytest.fixture(scope="module")
def part() -> dict[str, Any]:
    return systolic(Chip.load("tiny-npu-4"))


def array_of(part: dict[str, Any], way: str) -> Array:
    given, ports = part["array"], part["ways"][way]
    return Array(
        given["rows"], given["columns"], given["units"], way == "output_stationary",
        way == "weight_stationary_serial", given["bytes"], tuple(ports["read"]), tuple(ports["weight_read"]),
    )  # fmt: skip


def check_run(page: Any, part: dict[str, Any], way: str, size: tuple[int, int, int], run: Any) -> None:
    """Compare every cell of every cycle, the sums, and the phases."""
    m, k, n = size
    array = array_of(part, way)
    high, wide = (k, n) if array.is_output_stationary else (array.rows, array.wide)
    passes = [Pass(load, start, m, min(high, k - i), min(wide, n - j), i, j) for load, start, i, j in run[1]]
    a, b = np.array(part["a"])[:m, :k], np.array(part["b"])[:k, :n]
    played = play_cells(array, passes, a, b)
    shown = page.evaluate(
        """([way, m, k, n, fields]) => {
            const found = onchipLesson.play(onchip.page.parts.lesson, {way, m, k, n});
            const plane = field => found.frames.map(frame => frame.map(row => row.map(cell => cell[field])));
            return JSON.stringify({...found, frames: fields.map(plane)});
        }""",
        [way, m, k, n, FIELDS],
    )
    shown = json.loads(shown)
    assert shown["cycles"] == played.cycles == run[0]
    is_busy = played.item != -1
    for field, plane in zip(FIELDS, shown["frames"], strict=True):
        mine, theirs = getattr(played, field), np.array(plane)
        if field == "sum":  # a sum that stays is drawn while nothing is added to it
            mine, theirs = mine[is_busy], theirs[is_busy]
        np.testing.assert_array_equal(mine, theirs, err_msg=f"{way} {size} {field}")
    assert shown["result"] == (a @ b).tolist()
    assert [one["useful"] + one["empty"] for one in shown["busy"]] == is_busy.sum((1, 2)).tolist()
    assert sum(one["useful"] for one in shown["busy"]) == m * k * n
    phases = shown["phases"]
    assert phases[0]["from"] == 0 and phases[-1]["to"] == run[0]
    assert all(p["to"] == q["from"] for p, q in pairwise(phases))
    assert all(p["to"] > p["from"] for p in phases)


def check_lesson(open_page: Open, keys: dict[str, Any], every: int) -> None:
    chip = Chip.load("tiny-npu-4")
    part = systolic(chip.replace(keys) if keys else chip, m=3, k=5, n=3)
    page = open_page(html(part))
    sizes = list(product(*part["sizes"]))
    for number, way in enumerate(WAYS):
        runs = part["ways"][way]["runs"]
        assert len(runs) == len(sizes)
        for size, run in list(zip(sizes, runs, strict=True))[number::every]:
            check_run(page, part, way, size, run)


@pytest.mark.parametrize("keys", [{}, KEYS | SLOW])
def test_the_page_draws_what_the_cells_do(keys: dict[str, Any], open_page: Open) -> None:
    check_lesson(open_page, keys, 29)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, KEYS, KEYS | SLOW])
def test_every_choice_is_drawn_as_the_cells_do(keys: dict[str, Any], open_page: Open) -> None:
    check_lesson(open_page, keys, 1)


def test_guess_then_see(part: dict[str, Any], open_page: Open) -> None:
    page = open_page(html(part))
    assert page.locator(".why").count() == 0 and page.locator('[data-name="answer"]').count() == 0
    assert "of 16" not in page.locator(".clock").inner_text()
    page.get_by_label("Your guess in cycles").fill("14")
    page.get_by_role("button", name="check").click()
    assert page.locator('[data-name="answer"]').inner_text() == "16 cycles"
    assert "14: 2 too few" in page.locator(".answer").inner_text()
    terms = page.locator("button.term")
    assert [int(t) for t in terms.all_inner_texts()] == [4, 6, 6]
    terms.nth(2).click()
    assert page.locator("[data-cycle]").get_attribute("data-cycle") == "10"
    page.get_by_role("button", name="Next: a product larger than the array").click()
    page.get_by_label("Your guess in cycles").fill("34")
    page.keyboard.press("Enter")
    assert "Exactly right" in page.locator(".answer").inner_text()  # 4 + 4 x 6 + 6, the formula by hand


def test_the_drawing_is_the_cycle(part: dict[str, Any], open_page: Open) -> None:
    page = open_page(html(part))
    page.locator(".theatre").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    cell = page.locator('.cell[data-row="1"][data-column="2"]')
    a, b = np.array(part["a"]), np.array(part["b"])
    assert int(cell.get_attribute("data-item")) == 0  # row 0 entered in cycle 4, three cells away from the corner
    assert int(cell.get_attribute("data-sum")) == a[0, 0] * b[0, 2] + a[0, 1] * b[1, 2]
    page.keyboard.press("ArrowLeft")
    assert page.locator("[data-cycle]").get_attribute("data-cycle") == "6"
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert "done after 16 cycles" in page.locator(".clock").inner_text()
    made = page.locator(".results .made").evaluate_all("g => g.map(e => Number(e.dataset.value))")
    assert made == (a[:6, :4] @ b[:4, :4]).ravel().tolist()


def test_it_plays_and_stops(part: dict[str, Any], open_page: Open) -> None:
    page = open_page(html(part))
    page.get_by_label("speed").select_option("8")
    page.get_by_role("button", name="play").click()
    page.wait_for_function("() => Number(document.querySelector('[data-cycle]').dataset.cycle) >= 16", timeout=10_000)
    page.get_by_role("button", name="play again").wait_for()
    assert page.locator('[data-name="answer"]').inner_text() == "16 cycles"  # who watched to the end has seen it


def test_reduced_motion_jumps(part: dict[str, Any], open_page: Open) -> None:
    page = open_page(html(part))
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="step").click()
    assert page.locator(".stage").evaluate("e => getComputedStyle(e).getPropertyValue('--step').trim()") == "0ms"
    assert "none" in page.locator(".chip").first.evaluate("e => getComputedStyle(e).transition")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    scheme: str, part: dict[str, Any], open_page: Open, axe: Callable[[Any], list[str]]
) -> None:  # fmt: skip
    page = open_page(html(part), scheme=scheme)
    page.get_by_role("button", name="show me").click()
    page.locator(".theatre").focus()
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(700)
    assert axe(page) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(width: int, part: dict[str, Any], open_page: Open) -> None:
    page = open_page(html(part), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
