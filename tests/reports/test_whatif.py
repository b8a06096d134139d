"""What-ifs: texts from reports made by hand, and on a real chip each number is that of the command it suggests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

import onchip as oc
from onchip.ir.report import Report
from onchip.ir.trace import Trace
from onchip.reports.summary import summarize
from onchip.reports.whatif import Knob, Variant, knobs, overrides, values, verdict, whatif_json, whatif_text

EDGE = oc.Chip.load("edge-npu-16")


@pytest.fixture
def base(make_trace: Callable[..., Trace]) -> Report:
    return summarize(make_trace())


def slower(report: Report, factor: float) -> Report:
    """The same report with every time stretched."""
    stretched = replace(report.latency_s, value=report.latency_s.value * factor)
    parts = tuple((cause, seconds * factor) for cause, seconds in report.waterfall)
    return replace(report, latency_s=stretched, waterfall=parts)


def test_a_knob_is_halved_and_doubled(base: Report) -> None:
    asked: list[dict[str, str]] = []

    def price(change: dict[str, str]) -> Report | None:
        asked.append(change)
        ((key, value),) = change.items()
        return slower(base, {"dram.bandwidth": 1.25}.get(key, 1.0)) if value != "1.6 GB/s" else None

    made = knobs(base, EDGE, price)
    first = made[0]
    assert (first.key, first.value, first.halved) == ("dram.bandwidth", "3.2 GB/s", None)
    assert first.doubled == pytest.approx(0.25)
    assert {"dram.bandwidth": "6.4 GB/s"} in asked and {"matrix.int8.rows": "8"} in asked
    assert not any("cores.count" in change and change["cores.count"] == "1/2" for change in asked)
    assert all(knob.reach == 0 for knob in made[1:])


def test_every_doubled_number_is_one_that_the_chip_takes() -> None:
    for name in ("edge-npu-16", "a100-sxm-80gb", "tpu-v4", "hailo-8"):
        chip = oc.Chip.load(name)
        for key, value in overrides(values(chip, chip.default_dtype), Fraction(1)).items():
            same = chip.replace({key: value})
            assert values(same, chip.default_dtype) == values(chip, chip.default_dtype), key


def test_texts(base: Report) -> None:
    fast = slower(base, 0.5)
    variants = (Variant("a=1", slower(base, 2.0)), Variant("b=2", None, "does not fit"), Variant("a=1 and c=3", fast))
    told = "tiny on edge-npu-16 with a=1 and c=3 is 50.0 % faster, 8.00 µs to 4.00 µs per inference; still bound by "
    assert verdict(base, variants).startswith(told)
    text = whatif_text(base, variants, (Knob("k", "1", 0.5, -0.25), Knob("quiet", "2", 0.0, None)))
    assert "b=2: does not fit" in text and "+100.0 %" in text
    assert "k = 1    +50.0 %    −25.0 %  ██████" in text and text.endswith("less than 0.5 %: quiet\n")
    assert verdict(base, (), (Knob("k", "1", 0.5, None),)).endswith(
        "reacts most to k: +50.0 % when halved, – when doubled."
    )
    made = whatif_json(base, variants, ())
    assert [v["report"] is None for v in made["variants"]] == [False, True, False]


def test_a_what_if_is_what_the_command_gives() -> None:
    graph = oc.read("@resnet8")
    base = oc.estimate(graph, EDGE)
    found = {knob.key: knob for knob in knobs(base, EDGE, lambda change: oc.estimate(graph, EDGE.replace(change)))}
    again = oc.estimate(graph, "edge-npu-16?dram.bandwidth=6.4GB/s")
    assert found["dram.bandwidth"].doubled == pytest.approx(again.latency_s.value / base.latency_s.value - 1)
    assert found["clock.core"].doubled is not None and found["clock.core"].doubled < -0.15
