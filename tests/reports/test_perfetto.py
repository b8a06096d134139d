"""Trace files decoded by others (Perfetto's own classes, a JSON parser) and compared with the events one by one."""

from __future__ import annotations

import json
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.ir.events import PLACES, places
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from onchip.reports import protobuf as pb
from onchip.reports.chrome import chrome
from onchip.reports.perfetto import perfetto
from onchip.reports.tracks import dram_use, flows
from tests.reports.timelines import all_played, played

pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="perfetto is not installed")


def wanted_slices(program: Program, trace: Trace) -> list[tuple[Any, ...]]:
    """Return (place, start, free, name, text, kernel, start cycle, end cycle, bytes) of each event, times in cycles."""
    found: list[tuple[Any, ...]] = []
    listing = [[str(x) for x in program.instructions(stream)] for stream in range(4)]
    for e, place in zip(trace.events, places(trace.events), strict=True):
        text = listing[e["unit"]][e["record"]]
        kernel = trace.kernels[e["kernel"]].name
        numbers = [int(e[key]) for key in ("start", "free", "end", "dram_bytes")]
        found.append((PLACES[place], *numbers[:2], text.split()[0], text, kernel, numbers[0], *numbers[2:]))
    return found


class Decoded:
    """A Perfetto file as slices, flows and samples, read as its documentation says."""

    def __init__(self, data: bytes) -> None:
        trace = pb2.Trace()
        trace.ParseFromString(data)
        assert trace.SerializeToString()  # the parser took all of it
        self.tracks: dict[int, Any] = {}
        self.slices: list[dict[str, Any]] = []
        self.samples: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.flows: dict[int, list[Any]] = defaultdict(lambda: [None, None])
        self.opened: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.strings: dict[str, dict[int, str]] = {}
        latest = 0
        for packet in trace.packet:
            assert packet.trusted_packet_sequence_id == 1
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            elif packet.HasField("interned_data"):
                assert packet.sequence_flags == 3 and not self.strings
                self.intern(packet.interned_data)
            else:
                assert packet.sequence_flags == 2
                latest = self.event(packet.timestamp, packet.track_event, latest)
        assert not any(self.opened.values())

    def intern(self, data: Any) -> None:
        names = ("event_categories", "event_names", "debug_annotation_names")
        self.strings = {name: {row.iid: row.name for row in getattr(data, name)} for name in names}
        self.strings["texts"] = {row.iid: row.str.decode() for row in data.debug_annotation_string_values}

    def event(self, at: int, event: Any, latest: int) -> int:
        track = self.tracks[event.track_uuid]
        if event.type == pb2.TrackEvent.TYPE_COUNTER:
            value = event.counter_value if event.HasField("counter_value") else event.double_counter_value
            self.samples[track.name].append((at, value))
            return latest
        thread = track.thread.thread_name
        if not thread.startswith("kernels"):  # the writer sorts events: an end never comes behind its successor's begin
            assert at >= latest
            latest = at
        if event.type == pb2.TrackEvent.TYPE_SLICE_END:
            self.opened[event.track_uuid].pop()["until"] = at
            return latest
        assert event.type == pb2.TrackEvent.TYPE_SLICE_BEGIN
        assert not self.opened[event.track_uuid], "slices of a place overlap"
        name = event.name or self.strings["event_names"][event.name_iid]
        arguments = {self.strings["debug_annotation_names"][a.name_iid]: self.value(a) for a in event.debug_annotations}
        made = {"thread": thread, "at": at, "name": name, "arguments": arguments}
        self.slices.append(made)
        self.opened[event.track_uuid].append(made)
        for flow in event.flow_ids:
            self.flows[flow][0] = made
        for flow in event.terminating_flow_ids:
            self.flows[flow][1] = made
        return latest

    def value(self, annotation: Any) -> Any:
        kind = annotation.WhichOneof("value")
        return (
            self.strings["texts"][annotation.string_value_iid] if kind == "string_value_iid" else annotation.int_value
        )


@pytest.mark.parametrize("number", range(15))
def test_perfetto_has_every_event(number: int) -> None:
    program, trace, _ = all_played()[number]
    found = Decoded(perfetto(program, trace))
    rate = Fraction(10**9, trace.chip.clock_hz)
    own = [s for s in found.slices if not s["thread"].startswith("kernels")]
    wanted = wanted_slices(program, trace)
    told = sorted(
        (s["thread"], s["at"], s["until"], s["name"], *(s["arguments"][k] for k in ARGUMENTS)) for s in own
    )  # fmt: skip
    assert told == sorted((p, int(a * rate), int(b * rate), *rest) for p, a, b, *rest in wanted)
    kernels = [(s["name"], s["at"], s["until"]) for s in found.slices if s["thread"] == "kernels"]
    assert kernels == [(k.name, int(k.start * rate), int((k.start + k.cycles) * rate)) for k in trace.kernels]
    rows = wanted_slices(program, trace)
    pairs = sorted((told_of(rows[a]), told_of(rows[b])) for a, b in flows(program, trace))
    assert sorted((flow_end(a), flow_end(b)) for a, b in found.flows.values()) == pairs


ARGUMENTS = ("text", "kernel", "start_cycle", "end_cycle", "dram_bytes")


def told_of(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (row[0], row[4], row[6], row[7])


def flow_end(s: dict[str, Any]) -> tuple[Any, ...]:
    a = s["arguments"]
    return (s["thread"], a["text"], a["start_cycle"], a["end_cycle"])


def test_counters_are_the_memory_of_kernels_and_the_bytes_of_windows() -> None:
    program, trace, _ = played("@digits_cnn", "edge-npu-16")
    found, rate = Decoded(perfetto(program, trace)), Fraction(10**9, trace.chip.clock_hz)
    local = [(int(k.start * rate), float(k.local_peak_bytes)) for k in trace.kernels]
    assert found.samples["local memory in use"] == [*local, (int(trace.cycles * rate), 0)]
    width, values = dram_use(program, trace, windows=4096)
    assert [v for _, v in found.samples["DRAM, all cores"]] == [*values.tolist(), 0]
    assert [t for t, _ in found.samples["DRAM, all cores"]] == [int(i * width * rate) for i in range(len(values) + 1)]
    assert {t.name: t.counter.unit_name for t in found.tracks.values() if t.HasField("counter")} == {
        "local memory in use": "B", "DRAM, all cores": "B/cycle",
    }  # fmt: skip
    process = next(t for t in found.tracks.values() if t.HasField("process"))
    assert process.process.process_name == "edge-npu-16, core 0 of 1: digits_cnn int8"
    assert all(t.parent_uuid == process.uuid for t in found.tracks.values() if t is not process)


def test_a_cut_trace_keeps_all_kernels_and_names_the_cut() -> None:
    program, trace, _ = played("@digits_cnn", "edge-npu-16")
    short = pipeline.record(program, trace, limit=trace.kernels[0].instructions)
    found = Decoded(perfetto(program, short))
    (thread,) = {s["thread"] for s in found.slices if s["thread"].startswith("kernels")}
    assert thread == f"kernels (events of the first 1 of {len(trace.kernels)} kernels ({len(short.events)}); " + (
        f"{len(trace.events) - len(short.events):,} events are left out)"
    )
    assert len([s for s in found.slices if s["thread"] == thread]) == len(trace.kernels)
    assert len([s for s in found.slices if s["thread"] != thread]) == len(short.events)
    none = pipeline.record(program, trace, limit=0)
    assert len(Decoded(perfetto(program, none)).slices) == len(trace.kernels)
    assert "left out" in json.loads("".join(chrome(program, none)))["otherData"]["left_out"]


@pytest.mark.parametrize("number", range(0, 15, 3))
def test_chrome_has_every_event(number: int) -> None:
    program, trace, _ = all_played()[number]
    made = json.loads("".join(chrome(program, trace)))
    threads = {r["tid"]: r["args"]["name"] for r in made["traceEvents"] if r["name"] == "thread_name"}
    own = [r for r in made["traceEvents"] if r.get("cat") == "instruction"]
    told = [
        (threads[r["tid"]], a["start_cycle"], a["free_cycle"], r["name"], a["text"], a["kernel"], a["start_cycle"],
         a["end_cycle"], a["dram_bytes"]) for r in own for a in [r["args"]]
    ]  # fmt: skip
    wanted, us = wanted_slices(program, trace), 1e6 / trace.chip.clock_hz
    assert told == wanted
    assert [r["ts"] for r in own] == pytest.approx([row[1] * us for row in wanted])
    assert [r["ts"] + r["dur"] for r in own] == pytest.approx([row[2] * us for row in wanted])
    kernels = [(r["name"], r["args"]["end_cycle"]) for r in made["traceEvents"] if r.get("cat") == "kernel"]
    assert kernels == [(k.name, k.start + k.cycles) for k in trace.kernels]
    ends = {phase: {r["id"]: r for r in made["traceEvents"] if r["ph"] == phase} for phase in "sf"}
    pairs = flows(program, trace).tolist()
    assert len(ends["s"]) == len(ends["f"]) == len(pairs)
    for at, pair in enumerate(pairs, 1):
        for phase, i in zip("sf", pair, strict=True):
            assert threads[ends[phase][at]["tid"]] == wanted[i][0]
            assert ends[phase][at]["ts"] == pytest.approx(wanted[i][1] * us)


def test_varints_are_those_of_the_documentation() -> None:
    """150 is 96 01, field 1 with it 08 96 01, the text "testing" in field 2 is 12 07 ..: Protocol Buffers' own page."""
    assert pb.varint(150) == b"\x96\x01" and pb.number(1, 150) == b"\x08\x96\x01"
    assert pb.text(2, "testing") == b"\x12\x07testing"
    rows = pb.number_rows(3, np.array([0, 150, 2**40]), 6)
    for row, value in zip(rows, (0, 150, 2**40), strict=True):
        annotation = pb2.DebugAnnotation()
        annotation.ParseFromString(row.tobytes())
        assert annotation.uint_value == value
