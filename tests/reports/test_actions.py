"""Advice is run before it is shown, shown only where it helps, and best first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from onchip.chip import Chip
from onchip.ir.comparison import comparison_text
from onchip.ir.report import Report
from onchip.ir.trace import Trace
from onchip.reports.actions import Action, How, action_lines, action_of, actions_json, how, ranked
from onchip.reports.changes import Change
from onchip.reports.summary import summarize
from onchip.reports.text import report_text
from onchip.simulator.energy import energy
from onchip.units import Quantity

COMMAND = "onchip whatif @tiny --chip edge-npu-16"


def scaled(report: Report, factor: float, **changed: object) -> Report:
    """Make the same report with all times multiplied."""
    return dataclasses.replace(
        report,
        latency_s=Quantity(report.latency_s.value * factor, "s", fidelity=report.latency_s.fidelity),
        waterfall=tuple((cause, seconds * factor) for cause, seconds in report.waterfall),
        **changed,
    )


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    trace = make_trace()
    return summarize(trace, energy(trace))


def change(key: str, value: str, risk: str = "") -> Change:
    return Change(f"{key} to {value}", ((key, value),), "one option", risk, predicted=-0.5)


def action(key: str, value: str, time: float, *, how: How = "simulated", program: float | None = None) -> Action:
    return Action(change(key, value), time, None, 1.0 + time, None, how, program)


def test_a_gain_is_the_difference_of_two_reports_per_inference(report: Report) -> None:
    after = scaled(report, 1.4, model=dataclasses.replace(report.model, batch=2))
    made = action_of(change("batch", "2"), report, after)
    assert made.time == pytest.approx(1.4 / 2 - 1) and made.energy == pytest.approx(-0.5)
    assert made.seconds == pytest.approx(0.7 * report.latency_s.value)
    assert report.energy_j is not None and made.joules == pytest.approx(report.energy_j.value / 2)
    assert made.gain == "−30 % time, −50 % energy"
    without = dataclasses.replace(report, energy_j=None, energy_parts=(), power_w=None)
    assert action_of(change("batch", "2"), without, after).energy is None


def test_how_says_what_ran(report: Report) -> None:
    played = dataclasses.replace(report, latency_s=dataclasses.replace(report.latency_s, fidelity="event"))
    priced = dataclasses.replace(report, latency_s=dataclasses.replace(report.latency_s, fidelity="estimate"))
    vendors = dataclasses.replace(priced, kind="silicon")
    assert (how(priced, played), how(priced, priced)) == ("simulated", "estimated")
    assert how(vendors, played) == how(priced, vendors) == "forecast"


def test_only_what_helps_is_shown_best_first() -> None:
    kept = [action("a", "1", -0.30), action("b", "1", -0.02), action("c", "1", -0.2, how="forecast", program=-0.001)]
    lost = [action("d", "1", -0.019), action("e", "1", 0.1), action("f", "1", -0.9, how="forecast", program=0.0)]
    assert [a.change.kind for a in ranked([*lost, *kept])] == ["a", "c", "b"]


def test_the_smallest_batch_that_gains_nearly_the_most_is_shown() -> None:
    batches = [action("batch", n, time) for n, time in (("16", -0.50), ("2", -0.30), ("8", -0.46), ("4", -0.44))]
    assert [a.change.settings[0][1] for a in ranked([*batches, action("a", "1", -0.4)])] == ["8", "1"]


def test_lines_carry_the_command_once(report: Report) -> None:
    lines = action_lines(
        [action("batch", "2", -0.3), dataclasses.replace(action("dtype", "int8", -0.1, how="forecast"), energy=0.0)],
        COMMAND,
    )
    assert lines[0] == f"Try first:  batch to 2     −30 % time               {COMMAND} --set batch=2"
    assert lines[1] == "            dtype to int8  −10 % time, ±0 % energy  … --set dtype=int8   (forecast)"
    assert report_text(report, lines).splitlines()[1:3] == lines
    assert report_text(report).splitlines()[1] == ""
    risky = dataclasses.replace(action("dtype", "int8", -0.1), change=change("dtype", "int8", risk="check it"))
    assert action_lines([risky], COMMAND)[0].endswith("--set dtype=int8   (check it)")
    assert action_lines([], COMMAND) == []


def test_json_has_both_gains(report: Report) -> None:
    made = actions_json(report, [action("batch", "2", -0.3)], COMMAND, tried=5)
    assert made["base"]["seconds"] == report.latency_s.value and made["tried"] == 5
    (only,) = made["actions"]
    assert only["command"] == f"{COMMAND} --set batch=2" and only["settings"] == {"batch": "2"}
    assert only["predicted"] == {"time": -0.5} and only["verified"]["time"] == -0.3
    assert only["verified"]["how"] == "simulated" and only["verified"]["program"] is None


def test_the_layer_table_is_never_cut_silently(report: Report) -> None:
    text = report_text(report, layers=1)
    assert "… 1 more layers take 25.0 % of the time; -v shows every layer" in text
    assert "conv1 " not in text.split("where the time goes")[1]
    assert "more layers" not in report_text(report, layers=0)


def test_a_comparison_keeps_its_order_and_names_the_refused(make_trace: Callable[..., Trace]) -> None:
    traces = [make_trace("tpu-v1"), make_trace("edge-npu-16")]
    reports = [summarize(trace, energy(trace)) for trace in traces]
    text = comparison_text(reports, ["x: OC1301 no matrix array."])
    lines = text.splitlines()
    assert lines[0].startswith("tiny: tpu-v1 is fastest, 5.71 µs per inference in int8, 1.40x ahead of edge-npu-16; ")
    rows = [line.split()[0] for line in lines[3:5]]
    assert rows == ["tpu-v1", "edge-npu-16"]
    assert "x: OC1301 no matrix array." in text
    assert comparison_text([]).startswith("No chip can run this network.")
    assert Chip.load("tpu-v1").name in text
