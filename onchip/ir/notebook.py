"""Nouns in a notebook: as HTML, and as rows of a data frame.

In:       a Report, a Comparison, a Graph. Out: HTML for `_repr_html_`; rows for `to_pandas`.
Promises: the same numbers and words as the text of the noun; SI units stand in the names of columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onchip.errors import UsageError
from onchip.fragments import box, folded, line, shares, table
from onchip.ir.report_text import WORDS, waterfall_shares
from onchip.units import DASH, Quantity, format_value

if TYPE_CHECKING:
    from onchip.ir.graph import Graph
    from onchip.ir.report import Layer, Report

Row = Mapping[str, Any]
LAYERS = 200  # of a table in a notebook; a data frame has all


def report_html(report: Report) -> str:
    """Return verdict, numbers with bands, where the time goes, and the layers folded away."""
    shown = report.expected
    parts = [line(report.verdict, is_bold=True), table(_numbers(shown), left=(0, 2, 3)), _waterfall(shown)]
    layers = sorted(shown.layers, key=lambda layer: -layer.share)[:LAYERS]
    heads = ("layer", "time", "share", "bound", "utilization", "MACs", "DRAM")
    cut = "" if len(layers) == len(shown.layers) else f", the {LAYERS} longest"
    parts.append(folded(f"{len(shown.layers)} layers{cut}", table(map(_layer_cells, layers), heads=heads, left=(0, 3))))
    parts.append(folded("assumptions", "".join(line(text) for text in shown.assumptions)))
    return box(*parts)


def _numbers(report: Report) -> list[tuple[str, str, str, str]]:
    quantities: tuple[tuple[str, Quantity | None], ...] = (
        ("latency", report.latency_s), ("throughput", report.throughput_per_s), ("energy", report.energy_j),
        ("power", report.power_w),
    )  # fmt: skip
    return [
        (name, str(q) if q else DASH, q.band if q else "", f"{q.provenance}, {q.fidelity}" if q else "")
        for name, q in quantities
    ]


def _waterfall(report: Report) -> str:
    return shares([(WORDS[cause][0], share) for cause, share in waterfall_shares(report)])


def _layer_cells(layer: Layer) -> tuple[str, ...]:
    return (
        layer.name, str(layer.latency_s), format_value(layer.share, "%"), layer.bound,
        format_value(layer.utilization, "%"), format_value(layer.macs, "MAC"), format_value(layer.dram_bytes, "B"),
    )  # fmt: skip


def comparison_html(reports: Sequence[Report]) -> str:
    """Return the table of a comparison."""
    from onchip.ir.comparison import LEFT, comparison_cells, comparison_verdict

    heads, *rows = comparison_cells(reports)
    left = [i for i, head in enumerate(heads) if head in LEFT]
    return box(line(comparison_verdict(reports), is_bold=True), table(rows, heads=heads, left=left))


def graph_html(graph: Graph) -> str:
    """Return the size of a network, what goes in and out, and the nodes folded away."""
    macs = "" if graph.symbols else f", {format_value(graph.macs(), 'MAC')}"
    head = f"{graph.name}: {len(graph.nodes)} nodes{macs}, {format_value(graph.parameters())} parameters"
    ends = [
        (side, name, _shape(graph, name), graph.tensor(name).dtype)
        for side, names in (("in", graph.inputs), ("out", graph.outputs))
        for name in names
    ]
    nodes = [(n.name, n.op, ", ".join(_shape(graph, name) for name in n.outputs)) for n in graph.nodes]
    shown = table(nodes[:LAYERS], heads=("node", "op", "makes"), left=(0, 1, 2))
    cut = f", the first {LAYERS}" if len(nodes) > LAYERS else ""
    return box(line(head, is_bold=True), table(ends, left=(0, 1, 2, 3)), folded(f"{len(nodes)} nodes{cut}", shown))


def _shape(graph: Graph, name: str) -> str:
    return "x".join(map(str, graph.tensor(name).shape)) or "scalar"


def layer_rows(report: Report) -> list[Row]:
    """Return a row per layer of what is expected, in the order of the run."""
    return [
        {
            "layer": layer.name, "kind": layer.kind, "latency_s": layer.latency_s.value,
            "energy_j": layer.energy_j.value if layer.energy_j else None, "share": layer.share, "macs": layer.macs,
            "utilization": layer.utilization, "bound": layer.bound, "intensity_op_per_byte": layer.intensity,
            "dram_bytes": layer.dram_bytes, "local_peak_bytes": layer.local_peak_bytes, "cores": layer.cores,
            **{f"{cause}_s": seconds for cause, seconds in layer.waterfall},
        }
        for layer in report.expected.layers
    ]  # fmt: skip


def comparison_rows(reports: Sequence[Report]) -> list[Row]:
    """Return a row per chip."""
    return [
        {
            "chip": r.chip.name, "batch": r.model.batch, "dtype": r.dtype, "latency_s": r.latency_s.value,
            "latency_low_s": r.latency_s.low, "latency_high_s": r.latency_s.high,
            "throughput_per_s": r.throughput_per_s.value, "energy_j": r.energy_j.value if r.energy_j else None,
            "utilization": r.utilization.value, "bound": r.bound, "evidence": r.chip.evidence,
        }
        for r in reports
    ]  # fmt: skip


def node_rows(graph: Graph) -> list[Row]:
    """Return a row per node, in order."""
    return [
        {
            "node": node.name, "op": node.op, "inputs": node.inputs, "outputs": node.outputs,
            "shape": graph.tensor(node.outputs[0]).shape, "dtype": graph.tensor(node.outputs[0]).dtype,
            "macs": None if graph.symbols else graph.node_macs(node.name),
        }
        for node in graph.nodes
    ]  # fmt: skip


def frame(rows: Sequence[Row]) -> Any:
    """Return rows as a pandas DataFrame. Raises UsageError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise UsageError(
            "OC1014", "to_pandas", "pandas is not installed", next="pip install 'onchip[notebook]'"
        ) from None
    return pandas.DataFrame(list(rows))
