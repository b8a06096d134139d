"""Numbers on nodes for Model Explorer: the published format, and values that add up to the report's."""

from __future__ import annotations

from typing import Any

import pytest

from onchip import pipeline
from onchip.reports.node_data import node_data


def test_values_stand_under_node_and_tensor_names_and_add_up() -> None:
    seen: dict[str, Any] = {}
    report = pipeline.estimate(pipeline.read("@mobilenet_v1"), "edge-npu-16", watch=seen.__setitem__)
    made = node_data(report, seen["fold"])
    assert list(made) == ["latency", "energy", "utilization"]
    names = [layer.name for layer in report.layers]
    for data in made.values():
        assert set(data) == {"name", "results", "gradient"}  # GraphNodeData
        assert [stop["stop"] for stop in data["gradient"]] == [0, 0.5, 1]
        assert all(set(r) <= {"value", "textColor"} for r in data["results"].values())
        for layer in report.layers:
            outputs = seen["fold"].node(layer.name).outputs
            assert {data["results"][key]["value"] for key in outputs} == {data["results"][layer.name]["value"]}
    latency = sum(made["latency"]["results"][name]["value"] for name in names) / 1e6
    assert latency + float(report_host(report)) == pytest.approx(report.latency_s.value)
    assert report.energy_j is not None
    assert sum(made["energy"]["results"][name]["value"] for name in names) / 1e6 == pytest.approx(report.energy_j.value)
    most = max(report.layers, key=lambda layer: layer.utilization)
    assert made["utilization"]["results"][most.name] == {"value": most.utilization * 100, "textColor": "#ffffff"}


def report_host(report: Any) -> float:
    return dict(report.waterfall)["host"]


def test_without_a_graph_or_energy_table_the_rest_is_there() -> None:
    report = pipeline.estimate(pipeline.read("@digits_cnn"), "h100-sxm")
    made = node_data(report, None)
    assert list(made["latency"]["results"]) == [layer.name for layer in report.expected.layers]
    assert ("energy" in made) == all(layer.energy_j is not None for layer in report.expected.layers)
