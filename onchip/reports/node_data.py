"""Numbers of a report on the nodes of a network, as Model Explorer takes them (custom node data).

In: a Report, and the Graph (where it is known) whose node and tensor names the model file has. Out: an object for each
metric in the format of a single graph: `results` by node, and a `gradient` from the least value to the greatest. A
kernel's value stands at its first node, under the names that Model Explorer may know it by: the node's own, and those
of its output tensors, of which it uses the ones that the model has. So values add up to those of the report.
Source: github.com/google-ai-edge/model-explorer, `node_data_builder.py` (GraphNodeData).
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ir.report import Json, Layer, Report

METRICS = ("latency", "energy", "utilization")
UNITS = {"latency": "µs", "energy": "µJ", "utilization": "%"}
GRADIENT = ({"stop": 0, "bgColor": "#fff7d6"}, {"stop": 0.5, "bgColor": "#f5a742"}, {"stop": 1, "bgColor": "#b5281e"})
TEXT_FROM = 0.75  # of the greatest value: text on the dark end of the gradient is white


def node_data(report: Report, graph: Graph | None) -> dict[str, Json]:
    """Return the object of each metric; `energy` is absent where the chip has no energy table."""
    made: dict[str, Json] = {}
    outputs = {node.name: node.outputs for node in graph.nodes} if graph is not None else {}
    for metric in METRICS:
        values = {layer.name: _value(layer, metric) for layer in report.expected.layers}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            most = max(known.values())
            keys = {name: dict.fromkeys((name, *outputs.get(name, ()))) for name in known}
            results = {key: _result(value, most) for name, value in known.items() for key in keys[name]}
            made[metric] = {"name": f"{metric} ({UNITS[metric]})", "results": results, "gradient": list(GRADIENT)}
    return made


def _value(layer: Layer, metric: str) -> float | None:
    if metric == "latency":
        return layer.latency_s.value * 1e6
    if metric == "energy":
        return None if layer.energy_j is None else layer.energy_j.value * 1e6
    return layer.utilization * 100


def _result(value: float, most: float) -> Json:
    return {"value": value} | ({"textColor": "#ffffff"} if value > TEXT_FROM * most else {})
