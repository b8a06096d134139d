"""The data of panels: equal to the nouns that it is made of, and to numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from onchip import pages, pipeline
from onchip.chip import Chip
from onchip.ir.bands import bands
from onchip.ir.energy import COMPONENTS
from onchip.ir.report import Report
from onchip.reports.chip_view import chip_part
from onchip.reports.compare_view import WHOLE, comparison_page
from onchip.reports.energy_view import energy_part
from onchip.reports.graph_view import graph_part
from onchip.reports.validation import validation_part


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    found: dict[str, Any] = {}
    chip = Chip.load("a100-sxm-80gb")
    found["report"] = pipeline.estimate(pipeline.read("@digits_cnn"), chip, watch=found.__setitem__)
    return found


def test_energy_by_component_sums_to_every_layer_and_to_the_report(seen: dict[str, Any]) -> None:
    report: Report = seen["report"]
    part = pages.page(report, None, seen).parts["energy"]
    assert part["components"] == list(COMPONENTS)
    for side, whole in (("program", report), ("silicon", report.silicon)):
        assert whole is not None
        rows, outside = part[side]["layers"], part[side]["outside"]
        for row, layer in zip(rows, whole.layers, strict=True):
            assert layer.energy_j is not None
            assert math.fsum(row) == pytest.approx(layer.energy_j.value, rel=1e-5), layer.name
        for i, (name, joules) in enumerate(whole.energy_parts):
            more = outside if name == "static" else 0.0
            assert math.fsum(row[i] for row in rows) + more == pytest.approx(joules, rel=1e-4, abs=1e-18), name
    assert energy_part(None, None) is None


def test_a_graph_has_its_nodes_and_every_edge_once(seen: dict[str, Any]) -> None:
    graph = seen["graph"]
    part = graph_part(graph)
    assert part is not None
    assert [row[:2] for row in part["nodes"]] == [[node.name, node.op] for node in graph.nodes]
    made = {name: node.name for node in graph.nodes for name in node.outputs}
    edges = {(made[name], node.name) for node in graph.nodes for name in node.inputs if name in made}
    names = [row[0] for row in part["nodes"]]
    assert [(names[a], names[b]) for a, b in part["edges"]] == sorted(
        edges, key=lambda edge: (names.index(edge[0]), names.index(edge[1]))
    )
    assert all(a < b for a, b in part["edges"])


def test_memories_and_peaks_are_those_of_the_whole_chip() -> None:
    part = chip_part(Chip.load("mi300x"), "fp16")
    memories = {row["name"]: row for row in part["memories"]}
    chip = Chip.load("mi300x")
    assert next(iter(memories)) == "local"
    assert list(memories)[-1] == "DRAM"
    assert memories["DRAM"]["bytes_per_s"] == chip.dram.bandwidth_bytes_per_s
    grouped = [i for i, level in enumerate(chip.shared) if level.cores_per_instance == 38]
    (level,) = grouped
    name = "shared" if len(chip.shared) == 1 else f"shared {level}"
    # 304 cores in 8 dies of 38: eight instances
    assert memories[name]["size_bytes"] == 8 * chip.shared[level].size_bytes
    assert memories[name]["bytes_per_s"] == 8 * float(chip.shared[level].bandwidth_bytes_per_s)
    edge = chip_part(Chip.load("edge-npu-16"), "int8")
    # 16 x 16 cells at 500 MHz, two operations each; 32 bytes a cycle
    assert {row["dtype"]: row["ops_per_s"] for row in edge["peaks"]}["int8"] == 256 * 2 * 500_000_000
    assert edge["memories"][0]["bytes_per_s"] == 32 * 500e6
    assert Chip.parse(edge["toml"]) == Chip.load("edge-npu-16")


def test_events_have_their_band_and_source() -> None:
    events = {row["event"]: row for row in chip_part(Chip.load("edge-npu-16"), "int8")["events"]}
    # DRAM of the chip file in pJ a bit, eight bits; int8 product and int32 sum at 45 nm: Horowitz, 0.2 + 0.1 pJ
    chip = Chip.load("edge-npu-16")
    assert chip.energy is not None
    assert events["byte of DRAM"]["pj"] == pytest.approx(8 * chip.energy.dram_pj_per_bit.value)
    assert chip.energy.node_nm == 45
    assert events["multiply-accumulate"]["pj"] == pytest.approx(0.3)
    for row in events.values():
        assert row["low"] == pytest.approx(row["pj"] / chip.energy.band)
        assert row["high"] == pytest.approx(row["pj"] * chip.energy.band)
        assert row["source"]
    assert chip_part(Chip.load("edge-npu-16").replace({"energy.node": "45 nm"}), "fp8")["events"] == []


def test_bands_of_a_chip_are_the_published_ones() -> None:
    chip = Chip.load("a100-sxm-80gb")
    part = validation_part(chip)
    own = [band for band in bands().values() if band.level == "same chip" and band.of == chip.name]
    assert [row["workload"] for row in part["bands"] if row["level"] == "same chip"] == sorted(b.workload for b in own)
    assert part["used"] in part["bands"]
    assert part["used"]["workload"] == "network"
    assert validation_part(chip, is_forecast=False)["used"] is None
    assert {row["of"] for row in part["bands"]} == {chip.name, chip.family, ""}


def test_a_comparison_has_a_row_for_each_chip_and_whole_reports_of_the_first() -> None:
    graph = pipeline.read("@digits_cnn")
    names = ["edge-npu-16", "a100-sxm-80gb", "ethos-u55-128"]
    reports = [pipeline.on_silicon(graph, Chip.load(name)) for name in names] * 4
    page = comparison_page(reports, [("hailo-8", "OC1331", "no")])
    part = page.parts["compare"]
    assert page.reports == tuple(reports[:WHOLE])
    assert [row["chip"] for row in part["rows"]] == [r.chip.name for r in reports]
    assert [row["report"] for row in part["rows"]] == [*range(WHOLE), None, None, None, None]
    assert part["refused"] == [{"chip": "hailo-8", "code": "OC1331", "error": "no"}]
    batch = replace(reports[1], model=replace(reports[1].model, batch=4))
    row = comparison_page([batch], []).parts["compare"]["rows"][0]
    assert row["seconds"] == batch.latency_s.value / 4
    assert batch.energy_j is not None
    assert row["joules"] == batch.energy_j.value / 4
    assert page.verdict == part["verdict"]


def test_the_catalog_completes_a_page_only_where_the_chip_is_the_same(seen: dict[str, Any]) -> None:
    report: Report = seen["report"]
    assert set(pages.page(report).parts) == {"chip", "validation"}
    changed = replace(report, chip=replace(report.chip, hash="0" * 64))
    assert set(pages.page(changed).parts) == set()
    assert set(pages.page(replace(report, chip=replace(report.chip, name="mine"))).parts) == set()
    assert set(pages.completed(pages.page_of(report)).parts) == {"chip", "validation"}
