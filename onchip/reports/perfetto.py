"""A trace as a file for Perfetto (ui.perfetto.dev): protobuf packets, written here, without a dependency.

In: a Program and a Trace of it, with events or without. Out: the bytes of a `Trace` message. One process (core 0 of the
chip), a thread for the kernels and one for each place (`ir/events.py`); a slice for every kernel and every event; flows
from what signals data to what waits for it; counters: local memory that the kernel's buffers take, bytes per cycle from
and to DRAM, over all cores. Time is in nanoseconds, rounded down; the arguments of a slice have the exact cycles.
Source of field numbers: perfetto.dev/docs/reference/trace-packet-proto.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from onchip.ir.events import PLACES, places
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from onchip.reports import protobuf as pb
from onchip.reports.tracks import cut, dram_use, flows, texts

PROCESS, KERNELS, LOCAL, DRAM, FIRST_PLACE = 1, 2, 3, 4, 10  # uuids of the tracks
BEGIN, END, COUNTER = 1, 2, 4
SEQUENCE = 1
CLEARED, NEEDS_STATE = 1, 2  # flags of a packet: the strings' numbers begin anew, or are needed
ARGUMENTS = ("text", "kernel", "start_cycle", "end_cycle", "dram_bytes")  # numbered from 1
WINDOWS = 4096
Ints = NDArray[np.int64]


def perfetto(program: Program, trace: Trace) -> bytes:
    """Return the trace as a Perfetto file."""
    numbers, lines = texts(program, trace)
    names = sorted({line.split(" ", 1)[0] for line in lines})
    heads = np.array([names.index(line.split(" ", 1)[0]) for line in lines], np.int64)
    kernels = [kernel.name for kernel in trace.kernels]
    strings = _interned(names, [*lines, *kernels])
    body = _slices(program, trace, numbers, heads, len(lines))
    return b"".join([*_tracks(trace), strings, *_kernels(trace), body, *_counters(program, trace)])


def _ns(cycles: Ints, trace: Trace) -> Ints:
    """Return nanoseconds, rounded down; order is kept."""
    rate = Fraction(10**9, trace.chip.clock_hz)
    return cycles * rate.numerator // rate.denominator


def _packet(*parts: bytes, flags: int = NEEDS_STATE) -> bytes:
    return pb.message(1, *parts, pb.number(10, SEQUENCE), pb.number(13, flags))


def _tracks(trace: Trace) -> list[bytes]:
    told = f"{trace.chip.name}, core 0 of {trace.chip.cores.count}: {trace.name} {trace.dtype}"
    process = pb.message(3, pb.number(1, 1), pb.text(6, told))
    rows = [pb.number(1, PROCESS) + process]
    left = cut(trace)
    threads = [(KERNELS, "kernels" + (f" ({left})" if left else "")), *enumerate(PLACES, FIRST_PLACE)]
    for rank, (uuid, name) in enumerate(threads):
        thread = pb.message(4, pb.number(1, 1), pb.number(2, rank + 2), pb.text(5, name))
        rows.append(pb.number(1, uuid) + pb.number(5, PROCESS) + thread + pb.number(12, rank + 1))
    for uuid, name, unit in ((LOCAL, "local memory in use", "B"), (DRAM, "DRAM, all cores", "B/cycle")):
        rows.append(
            pb.number(1, uuid) + pb.text(2, name) + pb.number(5, PROCESS) + pb.message(8, pb.text(6, unit))
        )  # fmt: skip
    return [_packet(pb.message(60, row), flags=0) for row in rows]


def _interned(names: list[str], lines: list[str]) -> bytes:
    def entries(field: int, values: list[str] | tuple[str, ...]) -> bytes:
        made = (pb.message(field, pb.number(1, at), pb.text(2, value)) for at, value in enumerate(values, 1))
        return b"".join(made)

    body = entries(1, ("instruction", "kernel")) + entries(2, names) + entries(3, ARGUMENTS) + entries(29, lines)
    return _packet(pb.message(12, body), flags=CLEARED | NEEDS_STATE)


def _argument(number: int, field: int, value: int) -> bytes:
    return pb.message(4, pb.number(1, number), pb.number(field, value))


def _kernels(trace: Trace) -> list[bytes]:
    found: list[bytes] = []
    for kernel in trace.kernels:
        ends = np.array([kernel.start, kernel.start + kernel.cycles])
        for kind, cycle, ns in zip((BEGIN, END), ends, _ns(ends, trace), strict=True):
            head = pb.number(9, kind) + pb.number(11, KERNELS)
            if kind == BEGIN:
                head += pb.text(23, kernel.name) + pb.number(3, 2)
                head += _argument(3, 4, int(cycle)) + _argument(4, 4, int(ends[1]))
            found.append(_packet(pb.number(8, int(ns)), pb.message(11, head)))
    return found


def _slices(program: Program, trace: Trace, numbers: Ints, heads: Ints, n_lines: int) -> bytes:
    """Return a begin and an end for every event, in order of time; where both fall together, the end comes first."""
    events = trace.events
    n, tracks = len(events), places(events) + FIRST_PLACE
    starts, frees = events["start"].astype(np.int64), events["free"].astype(np.int64)
    order = np.lexsort((np.repeat([1, 0], n), np.concatenate([starts, frees])))
    keys = np.empty(2 * n, np.int64)
    keys[order] = np.arange(2 * n)
    arguments = (
        (17, numbers + 1),
        (17, events["kernel"] + n_lines + 1),
        (4, starts),
        (4, events["end"].astype(np.int64)),
    )
    columns = [(at, field, values) for at, (field, values) in enumerate((*arguments, (4, events["dram_bytes"])), 1)]
    shared = [pb.same_rows(pb.number(9, BEGIN), n), pb.number_rows(11, tracks, 1)]
    shared += [pb.number_rows(10, heads[numbers] + 1, 2), pb.same_rows(pb.number(3, 1), n)]
    for at, field, values in columns:
        name = pb.same_rows(pb.number(1, at), n)
        shared.append(pb.message_rows(4, [name, pb.number_rows(field, values, pb.width_of(values))]))
    begin, at_begin, at_end = np.concatenate(shared, axis=1), _ns(starts, trace), _ns(frees, trace)
    width = pb.width_of(at_end)
    groups = [
        (keys[rows], _packets(at_begin[rows], width, [begin[rows], *marks]))
        for rows, marks in _with_flows(flows(program, trace), n)
    ]
    end = [pb.same_rows(pb.number(9, END), n), pb.number_rows(11, tracks, 1)]
    return pb.joined([*groups, (keys[n:], _packets(at_end, width, end))])


def _packets(ns: Ints, width: int, event: list[pb.Rows]) -> pb.Rows:
    tail = pb.same_rows(pb.number(10, SEQUENCE) + pb.number(13, NEEDS_STATE), len(ns))
    return pb.message_rows(1, [pb.number_rows(8, ns, width), pb.message_rows(11, event), tail])


def _with_flows(pairs: Ints, n: int) -> list[tuple[Ints, list[pb.Rows]]]:
    """Return events of equal numbers of flows together, with the fields of the flows that leave and that arrive."""
    sides: list[tuple[Ints, Ints, Ints]] = []
    for side in (0, 1):
        order = np.argsort(pairs[:, side], kind="stable")
        counts = np.bincount(pairs[:, side], minlength=n)
        sides.append((order, counts, np.cumsum(counts) - counts))
    shapes = sides[0][1] * 16 + sides[1][1]
    found: list[tuple[Ints, list[pb.Rows]]] = []
    for shape in np.unique(shapes):
        rows, fields = np.flatnonzero(shapes == shape), list[pb.Rows]()
        for field, (order, counts, first) in zip((47, 48), sides, strict=True):
            fields += [pb.fixed_rows(field, order[first[rows] + i] + 1) for i in range(int(counts[rows[0]]))]
        found.append((rows, fields))
    return found


def _counters(program: Program, trace: Trace) -> list[bytes]:
    found: list[bytes] = []
    for kernel in trace.kernels:
        found.append(_sample(trace, LOCAL, kernel.start, pb.number(30, kernel.local_peak_bytes)))
    found.append(_sample(trace, LOCAL, trace.cycles, pb.number(30, 0)))
    width, values = dram_use(program, trace, windows=WINDOWS)
    for at, row in enumerate(pb.double_rows(44, values)):
        found.append(_sample(trace, DRAM, at * width, row.tobytes()))
    found.append(_sample(trace, DRAM, len(values) * width, pb.double_rows(44, np.zeros(1)).tobytes()))
    return found


def _sample(trace: Trace, track: int, cycle: int, value: bytes) -> bytes:
    ns = int(_ns(np.array([cycle]), trace)[0])
    return _packet(pb.number(8, ns), pb.message(11, pb.number(9, COUNTER), pb.number(11, track), value))
