"""The data of the timeline and of the memory map, decoded by hand and compared with the nouns they are made from."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest

from onchip import pages, pipeline
from onchip.ir.events import PLACES, is_work, places
from onchip.reports.columns import packed, unpacked, varints
from onchip.reports.memory_map import memory_map_part
from onchip.reports.timeline import timeline_part
from tests.reports.timelines import all_played, played


def read_columns(part: Any) -> tuple[dict[str, list[int]], list[str]]:
    """Read the columns byte by byte, as the page does."""
    data, at = zlib.decompress(base64.b64decode(part["data"])), 0
    found: dict[str, list[int]] = {}
    for name, count, n_bytes in part["columns"]:
        values, end = list[int](), at + n_bytes
        while at < end:
            value = shift = 0
            while True:
                value |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if data[at - 1] < 128:
                    break
            values.append(value)
        assert len(values) == count
        found[name] = values
    return found, data[at:].decode().split("\n")


@pytest.mark.parametrize("number", range(15))
def test_every_piece_of_work_comes_back(number: int) -> None:
    program, trace, _ = all_played()[number]
    part = timeline_part(program, trace)
    assert json.loads(json.dumps(part)) == part
    columns, lines = read_columns(part)
    listing = [[str(x) for x in program.instructions(stream)] for stream in range(4)]
    works: Any = trace.events[is_work(trace.events)]
    where = places(works)
    assert part["n_events"] == len(works) == sum(len(columns[f"{p}.gap"]) for p in part["places"])
    for place in part["places"]:
        time, line, told = 0, 0, list[tuple[Any, ...]]()
        names = ("gap", "cycles", "tail", "text")
        for gap, cycles, tail, text in zip(*(columns[f"{place}.{name}"] for name in names), strict=True):
            start = time + gap
            time = start + cycles
            line += -((text + 1) // 2) if text % 2 else text // 2
            told.append((start, time, time + tail, lines[line]))
        own = works[where == PLACES.index(place)]
        texts = [listing[u][r] for u, r in zip(own["unit"].tolist(), own["record"].tolist(), strict=True)]
        assert told == list(zip(*(own[k].tolist() for k in ("start", "free", "end")), texts, strict=True))
        if place in ("load", "store"):
            assert columns[f"{place}.bytes"] == own["dram_bytes"].tolist()
    assert [(k["name"], k["start"], k["cycles"]) for k in part["kernels"]] == [
        (k.name, k.start, k.cycles) for k in trace.kernels
    ]
    assert part["cycles"] == trace.cycles and part["clock_hz"] == program.chip.clock_hz and part["cut"] == ""
    assert sum(k["dram_bytes"] for k in part["kernels"]) == trace.dram_bytes
    assert all(k["dram_bytes_per_cycle"] <= part["dram_bytes_per_cycle"] for k in part["kernels"])


def test_a_small_budget_leaves_whole_kernels_out_and_says_so() -> None:
    program, trace, _ = played("@digits_cnn", "edge-npu-16")
    whole = timeline_part(program, trace)
    less = timeline_part(program, trace, budget=len(whole["data"]) - 1)
    assert 0 < less["n_recorded"] < whole["n_recorded"] == len(trace.kernels)
    assert len(less["data"]) < len(whole["data"]) and "left out" in less["cut"]
    assert less["kernels"] == whole["kernels"]
    none = timeline_part(program, trace, budget=10)
    assert (none["n_recorded"], none["n_events"]) == (0, 0) and none["cut"]


def test_columns_of_any_size_come_back() -> None:
    rng = np.random.default_rng(0)
    wide = np.concatenate([[0, 127, 128, 2**14 - 1, 2**14, 2**61], rng.integers(0, 2**50, 100)]).astype(np.int64)
    columns, lines = unpacked(packed({"a": wide, "b": np.zeros(0, np.int64)}, ["x", "µ"]))
    assert columns["a"].tolist() == wide.tolist() and len(columns["b"]) == 0 and lines == ["x", "µ"]
    assert varints(np.array([300])) == b"\xac\x02"  # the example of the Protocol Buffers page


@pytest.mark.parametrize("number", range(15))
def test_the_memory_map_has_every_buffer_and_tensor(number: int) -> None:
    program, trace, plan = all_played()[number]
    part = memory_map_part(plan, program, trace)
    spaces = {space["name"]: space for space in part["spaces"]}
    for memory, unit in (("local", 1), ("accumulator", 4)):
        wanted = [
            (b.name, b.address * unit, b.size * unit, b.slots, n, n)
            for n, kernel in enumerate(plan.kernels)
            for b in kernel.buffers
            if b.memory == memory
        ]
        boxes = spaces.get(memory, {"boxes": []})["boxes"]
        assert [(x["name"], x["address"], x["bytes"], x["slots"], x["from"], x["to"]) for x in boxes] == wanted
    report = pipeline.report(trace)
    assert spaces["local"]["peak"]["bytes"] == report.memory.local_peak_bytes
    assert trace.kernels[spaces["local"]["peak"]["kernel"]].name == report.memory.layer
    assert spaces["local"]["size"] == program.chip.local.size_bytes
    far = spaces["far"]["boxes"]
    for i, one in enumerate(far):  # a drawing on which two tensors overlap would be wrong
        for other in far[i + 1 :]:
            together = one["from"] <= other["to"] and other["from"] <= one["to"]
            apart = (
                one["address"] + one["bytes"] <= other["address"] or other["address"] + other["bytes"] <= one["address"]
            )
            assert apart or not together, (one, other)
    regions = {r.name: r for r in program.regions}
    for box in far:
        assert box["address"] == regions[box["name"]].address
        assert 0 <= box["bytes"] - regions[box["name"]].n_bytes < 64  # places are whole lines
    for n, kernel in enumerate(plan.kernels):  # what a kernel reads is there, and was made before
        for name in kernel.inputs:
            place = plan.place(name)
            if place.kind == "constant":
                continue
            there = [x for x in far if x["address"] == place.address and x["from"] <= n <= x["to"]]
            assert any(x["kind"] == "input" or x["from"] < n for x in there), (kernel.name, name)
        assert [x["from"] for x in far if x["name"] == kernel.output] in ([n], [])
    assert part["constant_bytes"] == sum(r.n_bytes for r in program.regions if r.kind == "constant")


def test_a_page_has_both_where_a_program_exists() -> None:
    seen: dict[str, Any] = {}
    report = pipeline.estimate(pipeline.read("@digits_cnn"), "edge-npu-16", watch=seen.__setitem__)
    made = pages.page(report, seen["program"].chip, seen)
    assert made.parts["timeline"]["n_recorded"] == len(report.layers)
    assert [k["name"] for k in made.parts["memory_map"]["kernels"]] == [layer.name for layer in report.layers]
    without = pages.page(report, seen["program"].chip)
    assert not {"timeline", "memory_map"} & set(without.parts)
