"""A measured network beside its forecast: which times count, what is refused. The machine is made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

import onchip as oc
from onchip import pipeline
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.silicon.measure import LEAST_RUNS, MOST_RUNS, check, measure
from onchip.silicon.probes import MIB
from tests.silicon.made_machine import DESK, Made


def folded(name: str) -> Graph:
    return fold(pipeline.bind_batch(oc.read(name)))


def test_the_fastest_and_the_median_of_each_kernel() -> None:
    graph = folded("@resnet8")
    made = pipeline.forecast(graph, oc.Chip.load("knl-7250"))
    found = measure(Made().network(graph, "fp32"), made, 0.0, clock=lambda: 0.0)
    assert len(found.rows) == len(made.steps) and found.runs == LEAST_RUNS
    assert {(row.measured_s, row.median_s) for row in found.rows} == {(1e-3, 2e-3)}
    assert found.measured_s == pytest.approx(1e-3 * len(made.steps))
    assert found.predicted_s == pytest.approx(made.device_s)
    assert (found.fastest_run_s, found.median_run_s) == pytest.approx((found.measured_s, 2 * found.measured_s))
    wanted = sorted(abs(step.seconds / 1e-3 - 1) for step in made.steps)
    assert found.errors()[0] == pytest.approx((wanted[5] + wanted[6]) / 2)  # of 12


def test_what_did_not_run_is_in_no_sum() -> None:
    graph = folded("@resnet8")
    made = pipeline.forecast(graph, oc.Chip.load("knl-7250"))
    found = measure(Made(reasons={"conv1": "why"}).network(graph, "fp32"), made, 0.0, clock=lambda: 0.0)
    assert found.refused == (("conv1", "why"),)
    assert found.measured_s == pytest.approx(1e-3 * (len(made.steps) - 1))
    assert found.predicted_s == pytest.approx(made.device_s - made.steps[0].seconds)


def test_runs_go_on_while_the_budget_lasts_and_end() -> None:
    graph = folded("@digits_cnn")
    made, now = pipeline.forecast(graph, oc.Chip.load("knl-7250")), iter(range(10_000))
    assert measure(Made().network(graph, "fp32"), made, 30.0, clock=lambda: next(now)).runs == LEAST_RUNS + 29
    assert measure(Made().network(graph, "fp32"), made, 1e9, clock=lambda: 0.0).runs == MOST_RUNS


def test_what_the_machine_does_not_run_or_hold_is_refused() -> None:
    graph = folded("@resnet8")
    check(graph, "fp32", DESK, is_probed=True)
    with pytest.raises(NotSupported, match="OC1510 cannot be measured in int8"):
        check(graph, "int8", DESK, is_probed=False)
    with pytest.raises(NotSupported, match="OC1510 cannot be measured in integers"):
        check(oc.quantize(graph, None), "fp32", DESK, is_probed=False)
    with pytest.raises(DoesNotFit, match="resnet8: OC2004 needs"):
        check(graph, "fp32", replace(DESK, free_bytes=8 * graph.parameters()), is_probed=False)
    with pytest.raises(DoesNotFit, match=r"probe memory: OC2004 needs 80\.0 MiB"):
        check(graph, "fp32", replace(DESK, last_bytes=0, free_bytes=70 * MIB), is_probed=True)
    check(graph, "fp32", replace(DESK, free_bytes=0), is_probed=True)  # nobody tells
