"""Reports of forecasts: sums, words, and which of two times leads."""

from __future__ import annotations

import jsonschema
import pytest

import onchip as oc
from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import NotSupported
from onchip.ir.forecast import Forecast, Step
from onchip.ir.program import Model
from onchip.ir.report_schema import report_schema
from onchip.reports.silicon import summarize_forecast

CHIP = Chip.load("a100-sxm-80gb?launch.per_run=5us")
# 312 TFLOPS: 156 G MACs a millisecond
STEPS = (
    Step("fc1", ("fc1", "relu"), "linear", 78_000_000_000, 1e6, (("matrix", 1e-3), ("launch", 2e-6)), "tile 64 x 64"),
    Step("norm", ("norm",), "layer_norm", 0, 3e6, (("memory", 4e-6), ("shared", 1e-6), ("launch", 2e-6))),
)


def report() -> oc.Report:
    return summarize_forecast(Forecast(Model("net", "0" * 64, 78_000_000_000, 7, batch=4), CHIP, "bf16", STEPS, 5e-6))


def test_parts_worked_by_hand() -> None:
    made = report()
    assert made.kind == "silicon" and made.latency_s.value == pytest.approx(1.014e-3)
    found = {cause: seconds for cause, seconds in made.waterfall if seconds}
    # half of the matrix time is work at the published peak; the array x clock of the chip is 0.03 % off 312 TFLOPS
    assert found["useful"] == pytest.approx(5e-4, rel=1e-3) and found["underfill"] == pytest.approx(5e-4, rel=1e-3)
    assert found["memory"] == pytest.approx(5e-6) and found["launch"] == pytest.approx(4e-6)
    assert found["host"] == pytest.approx(5e-6) and len(found) == 5
    assert made.seconds_per_inference == pytest.approx(1.014e-3 / 4)
    assert [layer.bound for layer in made.layers] == ["compute", "memory"]
    assert made.utilization.value == pytest.approx(5e-4 / 1.014e-3, rel=1e-3)


def test_fewer_products_than_direct_ones_are_not_above_the_peak() -> None:
    step = Step("conv", ("conv",), "conv2d", 10**12, 1.0, (("matrix", 1e-3),), "Winograd")
    made = summarize_forecast(Forecast(Model("net", "", 10**12, 0), CHIP, "bf16", (step,)))
    assert made.utilization.value == 1 and dict(made.waterfall)["underfill"] == 0


def test_a_vendors_chip_has_two_times_and_silicon_leads() -> None:
    graph = oc.read("@resnet8")
    made = oc.estimate(graph, "ethos-u65-256")
    assert made.kind == "program" and made.silicon is not None and made.expected is made.silicon
    assert made.verdict.startswith("resnet8 on ethos-u65-256 is expected to take ")
    assert made.verdict.endswith(f"Our program takes {made.latency_s}.")
    text = str(made)
    assert text.index("on silicon: the vendor's program") < text.index("our program, exact on")
    jsonschema.validate(made.to_json(timing={"wall_s": 0.1}), report_schema())


def test_our_own_chip_has_one_time() -> None:
    made = oc.estimate(oc.read("@resnet8"), "edge-npu-16")
    assert made.silicon is None and made.expected is made and "expected" not in made.verdict
    assert Chip.parse('extends = "edge-npu-16"\nname = "mine"').toolchain == "onchip"


def test_comparisons_are_of_silicon() -> None:
    graph = oc.read("@resnet8")
    reports = oc.compare(graph, ["ethos-u65-256", "edge-npu-16"])
    kinds = {r.chip_name: r.kind for r in reports}
    assert kinds == {"ethos-u65-256": "silicon", "edge-npu-16": "program"}
    assert [r.latency_s.value for r in reports] == sorted(r.latency_s.value for r in reports)


def test_what_cannot_be_forecast_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_words: object, **_options: object) -> object:
        raise NotSupported("OC1506", "best", "no forecast for op top_k")

    monkeypatch.setattr(pipeline, "forecast", refused)
    made = oc.estimate(oc.read("@resnet8"), "ethos-u65-256")
    assert made.silicon is None and made.assumptions[-1].startswith("no forecast for silicon: best: OC1506")
