"""A trace as Chrome JSON (chrome://tracing, ui.perfetto.dev, Speedscope): the same tracks as `perfetto.py`, as text.

In: a Program and a Trace of it, with events or without. Out: lines of JSON, to be written one after another. `ts` and
`dur` are microseconds; the arguments of a slice have the exact cycles. Source: the Trace Event Format, a public
document of the Chromium project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from onchip.ir.events import PLACES, places
from onchip.ir.program import Program
from onchip.ir.trace import Trace
from onchip.reports.tracks import cut, dram_use, flows, texts

KERNELS, FIRST_PLACE = 1, 2  # threads
WINDOWS = 4096


def chrome(program: Program, trace: Trace) -> Iterator[str]:
    """Return the trace as the lines of a JSON file."""
    yield '{"displayTimeUnit":"ns","otherData":' + _dump(_about(trace)) + ',"traceEvents":['
    parts = (_names(trace), _kernels(trace), _slices(program, trace), _flows(program, trace), _counters(program, trace))
    is_first = True
    for part in parts:
        for line in part:
            yield line if is_first else f",\n{line}"
            is_first = False
    yield "]}\n"


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _about(trace: Trace) -> dict[str, Any]:
    about = {"model": trace.name, "chip": trace.chip.name, "dtype": trace.dtype, "cycles": trace.cycles}
    return {**about, "clock_hz": trace.chip.clock_hz, "fidelity": trace.fidelity, "left_out": cut(trace)}


def _us(cycle: int, trace: Trace) -> float:
    return cycle * 1e6 / trace.chip.clock_hz


def _names(trace: Trace) -> Iterator[str]:
    told = f"{trace.chip.name}, core 0 of {trace.chip.cores.count}: {trace.name} {trace.dtype}"
    yield _dump({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": told}})
    for tid, name in enumerate(("kernels", *PLACES), KERNELS):
        yield _dump({"ph": "M", "pid": 1, "tid": tid, "name": "thread_name", "args": {"name": name}})
        yield _dump({"ph": "M", "pid": 1, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}})


def _kernels(trace: Trace) -> Iterator[str]:
    for k in trace.kernels:
        args = {"start_cycle": k.start, "end_cycle": k.start + k.cycles, "bound": k.bound, "nodes": list(k.nodes)}
        ts, until = _us(k.start, trace), _us(k.start + k.cycles, trace)
        head = {"ph": "X", "pid": 1, "tid": KERNELS, "name": k.name, "cat": "kernel"}
        yield _dump({**head, "ts": ts, "dur": until - ts, "args": args})


def _slices(program: Program, trace: Trace) -> Iterator[str]:
    numbers, lines = texts(program, trace)
    heads = [(_dump(line.split(" ", 1)[0]), _dump(line)) for line in lines]
    kernels = [_dump(kernel.name) for kernel in trace.kernels]
    e, where, scale = trace.events, places(trace.events) + FIRST_PLACE, 1e6 / trace.chip.clock_hz
    columns = (e["kernel"], e["start"], e["free"], e["end"], e["dram_bytes"], where, numbers)
    for kernel, start, free, end, n_bytes, tid, number in zip(*(c.tolist() for c in columns), strict=True):
        name, line = heads[number]
        yield (
            f'{{"ph":"X","pid":1,"tid":{tid},"name":{name},"cat":"instruction","ts":{start * scale!r},'
            f'"dur":{(free - start) * scale!r},"args":{{"kernel":{kernels[kernel]},"text":{line},"start_cycle":{start},'
            f'"free_cycle":{free},"end_cycle":{end},"dram_bytes":{n_bytes}}}}}'
        )


def _flows(program: Program, trace: Trace) -> Iterator[str]:
    e, where = trace.events, places(trace.events) + FIRST_PLACE
    for number, pair in enumerate(flows(program, trace).tolist(), 1):
        for (phase, more), at in zip((("s", ""), ("f", ',"bp":"e"')), pair, strict=True):
            ts = _us(int(e["start"][at]), trace)
            yield (
                f'{{"ph":"{phase}","pid":1,"tid":{where[at]},"name":"data","cat":"data","id":{number},"ts":{ts!r}{more}}}'
            )


def _counters(program: Program, trace: Trace) -> Iterator[str]:
    def sample(name: str, cycle: int, key: str, value: float) -> str:
        return _dump({"ph": "C", "pid": 1, "name": name, "ts": _us(cycle, trace), "args": {key: value}})

    for kernel in trace.kernels:
        yield sample("local memory in use", kernel.start, "bytes", kernel.local_peak_bytes)
    yield sample("local memory in use", trace.cycles, "bytes", 0)
    width, values = dram_use(program, trace, windows=WINDOWS)
    for at, value in enumerate([*values.tolist(), 0.0]):
        yield sample("DRAM, all cores", at * width, "bytes per cycle", value)
