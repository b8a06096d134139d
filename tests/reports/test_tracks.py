"""What exporters and the timeline share, against plain replays of the same events: tokens, and the DRAM port."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from onchip import pipeline
from onchip.errors import InternalError
from onchip.ir.events import PLACES, check_events, is_work, places
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from onchip.isa import LD, MM, WLD, timing
from onchip.isa.fields import SEMAPHORES
from onchip.isa.machine import machine_of
from onchip.reports.tracks import cut, dram_service, dram_use, flows, texts
from tests.naive_machine import initial_counts, kernel_streams
from tests.reports.timelines import all_played, played


def own_flows(program: Program, trace: Trace) -> set[tuple[int, int]]:
    """Play the tokens of each kernel one by one, in the order of the events."""
    found: set[tuple[int, int]] = set()
    for number, kernel in enumerate(program.kernels):
        streams, barrier = kernel_streams(program, kernel)
        counts = initial_counts(barrier)
        mine = [int(i) for i in np.flatnonzero(trace.events["kernel"] == number)]
        queues: list[deque[list[int]]] = [deque([[]] * n) for n in counts]
        works = {i: trace.events["op"][i] in range(1, 9) for i in mine}
        loads: list[int] = []
        last: dict[int, int] = {}
        for at, i in enumerate(mine):
            unit = int(trace.events["unit"][i])
            x = streams[unit][int(trace.events["record"][i]) - kernel.starts[unit] - 1]
            later = [j for j in mine[at:] if trace.events["unit"][j] == unit]
            for q in range(8):
                if x.wait >> q & 1:
                    makers = queues[q].popleft()
                    takers = [j for j in later if (trace.events["op"][j] == MM.OP if unit == 1 else works[j])]
                    found |= {(maker, (takers or [i])[0]) for maker in makers}
            if works[i]:
                last[unit] = i
                loads += [i] if x.OP == LD.OP else []
            for q in range(8):
                if x.signal >> q & 1:
                    makers = loads if unit == 0 else [last.get(unit, i)]
                    queues[q].append(list(makers) if counts[q] == 0 else [])
            if unit == 0 and any(x.signal >> q & 1 and counts[q] == 0 for q in range(8)):
                loads = []
    return found


def test_flows_are_the_tokens_of_a_plain_replay() -> None:
    n, ops = 0, set[tuple[int, int]]()
    for program, trace, _ in all_played():
        found, e = flows(program, trace), trace.events
        if len(e) > 4000:
            continue
        assert set(map(tuple, found.tolist())) == own_flows(program, trace), program.name
        assert len({tuple(pair) for pair in found.tolist()}) == len(found)
        assert (e["end"][found[:, 0]] <= e["end"][found[:, 1]]).all()
        n += len(found)
        ops |= set(zip(e["op"][found[:, 0]].tolist(), e["op"][found[:, 1]].tolist(), strict=True))
    assert n > 500
    assert (LD.OP, MM.OP) in ops and any(a == MM.OP and 5 <= b <= 8 for a, b in ops) and any(b == 2 for _, b in ops)


def test_the_port_serves_what_the_engine_says() -> None:
    """An exact recurrence in fractions: T = max(T, start) + bytes / rate; DRAM alone decides when a place is free."""
    checked = 0
    for program, trace, _ in all_played():
        begins, ends, sizes = dram_service(program, trace)
        asking = trace.events[trace.events["dram_bytes"] > 0]
        assert sizes.tolist() == asking["dram_bytes"].tolist()
        m = [int(v) for v in machine_of(program.chip, program.dtype)[: timing.RATES]]
        at, rate, kernel = Fraction(0), Fraction(1), -1
        for event, begin, end in zip(asking, begins, ends, strict=True):
            if event["kernel"] != kernel:
                kernel, at = int(event["kernel"]), Fraction(0)
                _, barrier = kernel_streams(program, program.kernels[kernel])
                rate = min(
                    Fraction(m[timing.DRAM_NUM], m[timing.DRAM_DEN] * barrier.active),
                    Fraction(m[timing.CORE_NUM], m[timing.CORE_DEN]),
                )
            began = max(at, Fraction(int(event["start"])))
            at = began + int(event["dram_bytes"]) / rate
            assert begin == pytest.approx(float(began), abs=1e-3) and end == pytest.approx(float(at), abs=1e-3)
            if not program.chip.shared:
                assert int(event["free"]) == max(ceil(at), int(event["start"]) + 1)
                checked += 1
    assert checked > 200


def test_the_area_under_the_dram_counter_is_the_bytes_and_no_average_exceeds_the_peak() -> None:
    for program, trace, _ in all_played():
        for windows in (7, 500):
            width, values = dram_use(program, trace, windows=windows)
            assert values.sum() * width == pytest.approx(trace.dram_bytes)
            assert len(values) <= windows and len(values) * width >= trace.cycles
            assert values.max() <= float(program.chip.dram_bytes_per_cycle) * (1 + 1e-9)


def test_texts_are_the_instructions() -> None:
    for program, trace, _ in all_played():
        numbers, lines = texts(program, trace)
        listing = [[str(x) for x in program.instructions(stream)] for stream in range(4)]
        e = trace.events
        wanted = [listing[u][r] for u, r in zip(e["unit"].tolist(), e["record"].tolist(), strict=True)]
        assert [lines[n] for n in numbers] == wanted and len(set(lines)) == len(lines)
        heads = [line.split()[0].partition(".")[0] for line in wanted]
        assert [CODES[h] for h in heads] == e["op"].tolist()


CODES = {"NOP": 0, "LD": 1, "ST": 2, "WLD": 3, "MM": 4, "RQ": 5, "VOP": 6, "RED": 7, "LUT": 8, "LOOP": 9}


def test_events_agree_with_the_totals_of_the_kernels() -> None:
    for _, trace, _ in all_played():
        e, where = trace.events, places(trace.events)
        assert (e["free"] > e["start"]).all() and (e["end"] >= e["free"]).all()
        for number, kernel in enumerate(trace.kernels):
            own = e["kernel"] == number
            busy = {
                p: int((e["free"] - e["start"])[own & is_work(e) & (where == i)].sum()) for i, p in enumerate(PLACES)
            }
            assert busy["matrix"] == kernel.matrix_busy and busy["vector"] == kernel.vector_busy
            for unit, told in ((0, kernel.dram_read_bytes), (3, kernel.dram_write_bytes)):
                assert int(e["dram_bytes"][own & (e["unit"] == unit)].sum()) == told
            assert int(own.sum()) == kernel.instructions
            assert (e["start"][own] >= kernel.start).all() and e["end"][own].max() == kernel.start + kernel.cycles
        assert set(e["op"][where == PLACES.index("weights")]) <= {WLD.OP}


def test_a_trace_is_cut_by_whole_kernels_and_says_so() -> None:
    program, trace, _ = played("@digits_cnn", "edge-npu-16")
    counts = np.cumsum([k.instructions for k in trace.kernels]).tolist()
    for limit, wanted in ((0, 0), (counts[0] - 1, 0), (counts[1], 2), (counts[2] - 1, 2), (10**6, len(counts))):
        short = pipeline.record(program, trace, limit=limit)
        assert short.n_recorded == wanted and len(short.events) == ([0, *counts])[wanted]
        assert short.events.tolist() == trace.events[: len(short.events)].tolist()
        said = [int(n.replace(",", "")) for n in re.findall(r"[0-9][0-9,]*", cut(short))]
        left = [] if wanted == len(counts) else [wanted, len(counts), len(short.events), counts[-1] - len(short.events)]
        assert said == left
        assert len(dram_use(program, short, windows=10)[1]) <= 10


def test_events_that_cannot_be_are_refused() -> None:
    _, trace, _ = played("@digits_cnn", "edge-npu-16")
    counts = [k.instructions for k in trace.kernels]
    with pytest.raises(InternalError, match="OC9033"):
        check_events("x", trace.events[:-1], counts)
    with pytest.raises(InternalError, match="OC9033"):
        check_events("x", trace.events[::-1], counts)
    late = trace.events.copy()
    at = np.flatnonzero(places(late) == PLACES.index("matrix"))[3]
    late["free"][at] += 1000
    with pytest.raises(InternalError, match=r"OC9034.*matrix"):
        check_events("x", late, counts)
    other, _, _ = played("@digits_attention", "h100-sxm")
    with pytest.raises(InternalError, match="OC9035"):
        pipeline.record(other, trace)


def test_every_semaphore_has_two_streams() -> None:
    assert len(SEMAPHORES) == 8 and all(a != b for a, b in SEMAPHORES)
