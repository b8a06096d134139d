"""Differences of two reports, worked by hand: 1,000 + 3,000 cycles at 500 MHz, then other numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from onchip.errors import UsageError
from onchip.ir.report import Report
from onchip.ir.trace import Trace
from onchip.reports.diff import Difference, broken, compare, parse_limit
from onchip.reports.diff_text import diff_json, diff_markdown, diff_text, verdict, workflow_text
from onchip.reports.summary import summarize
from onchip.simulator.energy import energy


@pytest.fixture
def pair(make_trace: Callable[..., Trace]) -> tuple[Report, Report]:
    """Before: 8 us. After: fc1 takes 3,600 cycles, 600 of them more for memory, so 9.2 us; conv1 is named conv2."""
    before = make_trace()
    first, second = before.kernels
    parts = dict(second.waterfall)
    slower = tuple((parts | {"memory": parts["memory"] + 600}).items())
    after = replace(
        before, kernels=(replace(first, name="conv2"), replace(second, cycles=second.cycles + 600, waterfall=slower))
    )
    return summarize(before, energy(before)), summarize(after)


def test_totals_causes_and_layers(pair: tuple[Report, Report]) -> None:
    found = compare(*pair)
    latency = found.total("latency")
    assert latency.before == pytest.approx(8e-6) and latency.delta == pytest.approx(1.2e-6)
    assert latency.ratio == pytest.approx(0.15)
    assert {c.name for c in found.causes if c.delta} == {"memory"}
    assert [(c.name, c.before, c.after) for c in found.layers] == [
        ("conv1", pytest.approx(2e-6), None), ("conv2", None, pytest.approx(2e-6)),
        ("fc1", pytest.approx(6e-6), pytest.approx(7.2e-6)),
    ]  # fmt: skip
    for changes in (found.causes, found.layers):
        assert math.fsum(change.delta for change in changes) == pytest.approx(latency.delta)


@pytest.mark.parametrize(
    ("limit", "breaks"),
    [
        ("latency>+14%", True), ("latency>+16%", False), ("latency>+1us", True), ("latency>+2us", False),
        ("latency>+14%&+2us", False), ("latency>+14%&+1us", True), ("latency<-1%", False), ("throughput<-10%", True),
        ("throughput<-14%", False), ("cycles>+599", True), ("cycles>+600", False), ("energy>+50%", True),
        ("dram>+0%", False), (" latency > +14 % & +1 us ", True),
    ],
)  # fmt: skip
def test_limits(pair: tuple[Report, Report], limit: str, breaks: bool) -> None:
    """The energy is gone, which no limit allows; 1 / 9.2 us is 13 % less throughput."""
    assert bool(broken(compare(*pair), [parse_limit(limit)])) is breaks


@pytest.mark.parametrize("text", ["latency", "speed>+1%", "latency>3%", "latency>+3", "latency>+3kg", "latency>+-3%"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-on: OC1008"):
        parse_limit(text)


def test_texts_say_the_same(pair: tuple[Report, Report]) -> None:
    found = compare(*pair)
    over = broken(found, [parse_limit("latency>+14%")])
    told = "tiny on edge-npu-16: 15.0 % slower, 8.00 µs to 9.20 µs; memory +1.20 µs; beyond latency>+14%."
    assert verdict(found, over) == told and diff_text(found, over).splitlines()[0] == told
    assert "fc1    6.00 µs  7.20 µs  +1.20 µs  +20.0 %" in diff_text(found)
    assert "| fc1 | 6.00 µs | 7.20 µs | +1.20 µs | +20.0 % |" in diff_markdown(found)
    assert workflow_text(found, over) == (
        "::error title=onchip diff latency>+14%25::8.00 µs to 9.20 µs, +1.20 µs (+15.0 %25)\n"
    )
    assert workflow_text(found, ()).startswith("::notice title=onchip diff::tiny on edge-npu-16")
    assert diff_json(found, over)["broken"] == ["latency>+14%"]
    assert "… 2 more layers" in diff_text(found, layers=1)


def test_markdown_shows_names_as_they_are(pair: tuple[Report, Report]) -> None:
    before, after = pair
    layer = replace(after.layers[1], name="a|b*<c>")
    text = diff_markdown(compare(before, replace(after, layers=(after.layers[0], layer))))
    assert "| a\\|b\\*\\<c\\> |" in text


def test_silicon_is_compared_where_both_have_it(pair: tuple[Report, Report]) -> None:
    before, after = pair
    inner = replace(before, kind="silicon")
    both: Difference = compare(replace(before, silicon=inner), replace(after, silicon=inner))
    assert both.total("latency").delta == 0 and both.after.kind == "silicon"
    one = compare(before, replace(after, silicon=inner))
    assert one.after.kind == "program" and one.total("latency").delta == pytest.approx(1.2e-6)
