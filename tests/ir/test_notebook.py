"""Nouns in notebooks: the same words and numbers as their text, escaped; data frames with all rows."""

from __future__ import annotations

import html
import re
import sys

import pytest

import onchip as oc
from onchip.errors import UsageError
from onchip.fragments import box, line, shares, table
from onchip.units import format_value


def words(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def test_a_report_says_what_its_text_says() -> None:
    report = oc.estimate(oc.read("@resnet8"), "a100-sxm-80gb")
    told = words(report._repr_html_())
    assert report.verdict in told and repr(report) == f"<Report {report.verdict}>"
    assert str(report.expected.latency_s) in told and report.expected.latency_s.band in told
    assert all(layer.name in told for layer in report.expected.layers)


def test_a_comparison_is_a_tuple_of_reports_and_a_table() -> None:
    found = oc.compare(oc.read("@resnet8"), ["tiny-npu-4", "edge-npu-16"])
    assert [report.chip.name for report in found] == ["edge-npu-16", "tiny-npu-4"]
    assert str(found).startswith("resnet8: edge-npu-16 is fastest")
    told = words(found._repr_html_())
    assert all(format_value(report.seconds_per_inference, "s") in told for report in found)
    assert ", level with edge-npu-16" in str(oc.compare(oc.read("@resnet8"), ["edge-npu-16", "edge-npu-16"]))
    frame = found.to_pandas()
    assert list(frame["chip"]) == ["edge-npu-16", "tiny-npu-4"]
    assert list(frame["latency_s"]) == [report.latency_s.value for report in found]


def test_a_graph_and_a_chip() -> None:
    open_ended = oc.read("@resnet8")
    assert set(open_ended.to_pandas()["macs"]) == {None}  # the batch has no number yet
    graph = open_ended.bind(batch=1)
    told = words(graph._repr_html_())
    assert f"{len(graph.nodes)} nodes" in told and format_value(graph.macs(), "MAC") in told
    assert graph.to_pandas()["macs"].sum() == graph.macs()
    chip = oc.Chip.load("edge-npu-16")
    assert (repr(chip), repr(graph)) == ("<Chip edge-npu-16>", f"<Graph resnet8: {len(graph.nodes)} nodes>")
    told = words(chip._repr_html_())
    assert format_value(chip.peak_ops_per_s("int8"), "op/s") in told and 'dataflow = "weight_stationary"' in told


def test_a_frame_has_every_layer_and_its_causes() -> None:
    report = oc.estimate(oc.read("@resnet8"), "edge-npu-16")
    frame = report.to_pandas()
    assert list(frame["layer"]) == [layer.name for layer in report.layers]
    assert frame["latency_s"].sum() == pytest.approx(report.latency_s.value)
    assert frame["macs"].sum() == report.model.macs
    causes = [name for name in frame if name.endswith("_s") and name != "latency_s"]
    assert frame[causes].sum().sum() == pytest.approx(report.latency_s.value)


def test_texts_are_escaped() -> None:
    made = box(line("<script>"), table([("<b>", "&")], heads=("<h>", "x")), shares([("<i>", 0.4), ("none", 0.001)]))
    assert not re.search(r"<(script|b|h|i)>", made)
    assert words(made.partition("</style>")[2]).split() == ["<script>", "<h>", "x", "<b>", "&", "<i>", "40", "%"]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"OC1014.*onchip\[notebook\]"):
        oc.read("@resnet8").to_pandas()
