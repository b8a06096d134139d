"""Probes of the machine at hand: one small program per effect, and the rate that its time stands for.

In:       a Runner, which runs an operation of a named kind and size and returns the median seconds of it.
Out:      Probe records: a rate or a time, its unit, and the runs that it came from.
Promises: a kind or dtype that the runner does not have gives no record, never a 0; a time of 0 or less is no rate.
Does not: import a runtime (silicon/probe_torch.py), or know what processor it is: no instruction set is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

KIB, MIB = 1 << 10, 1 << 20
FAR_BYTES = 512 * MIB  # copied from and to; a last-level cache that is larger holds a part of it
CACHE_BYTES = (32 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB)
PRODUCT = 1024  # M = N = K of a matrix product
UNALIGNED = 1023
DTYPES = ("fp32", "bf16", "int8")
VECTOR_ELEMENTS = 64 * KIB  # 256 KiB of fp32


class Runner(Protocol):
    """Runs one operation several times; median seconds, None where the runtime has no such operation."""

    @property
    def threads(self) -> int: ...

    def seconds(self, kind: str, size: int, dtype: str, threads: int) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """One effect: `value` in `unit` (B/s, op/s, s or 1), from an operation of `kind` and size on `threads` threads."""

    name: str
    value: float
    unit: str
    kind: str
    size: int
    threads: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0:
            raise ValueError(f"probe {self.name}: {self.value} {self.unit} is no measurement")


def probe(runner: Runner, progress: Callable[[str], None] = lambda _: None) -> tuple[Probe, ...]:
    """Run every probe that the runner has, in order of `_plan`, and the two that follow from several runs."""
    found: list[Probe] = []
    for name, kind, size, dtype, threads, work in _plan(runner.threads):
        progress(name)
        seconds = runner.seconds(kind, size, dtype, threads)
        if seconds is None or seconds <= 0:
            continue
        value, unit = (seconds, "s") if work == 0 else (work / seconds, "op/s" if kind in RATES else "B/s")
        found.append(Probe(name, value, unit, kind, size, threads))
    return (*found, *_derived(runner, found))


RATES = ("product", "exp", "add")
Planned = tuple[str, str, int, str, int, int]


def _plan(threads: int) -> Iterator[Planned]:
    """Yield name, kind, size, dtype, threads, and bytes or operations of one run (0: the time itself counts)."""
    yield "launch", "empty", 1, "fp32", 1, 0
    yield "forked, one thread", "forked", 1, "fp32", 1, 0
    yield "forked, all threads", "forked", 1, "fp32", threads, 0
    yield "memory, one core", "copy", FAR_BYTES, "fp32", 1, 2 * FAR_BYTES
    yield "memory, all cores", "copy", FAR_BYTES, "fp32", threads, 2 * FAR_BYTES
    for size in CACHE_BYTES:
        yield f"cache, {size // KIB} KiB", "copy", size // 2, "fp32", 1, size  # half read, half written
    for dtype in DTYPES:
        for size in (PRODUCT, UNALIGNED):
            yield f"product, {dtype}, {size}", "product", size, dtype, threads, 2 * size**3
    for kind in ("exp", "add"):
        yield kind, kind, VECTOR_ELEMENTS, "fp32", 1, VECTOR_ELEMENTS


def _derived(runner: Runner, found: list[Probe]) -> list[Probe]:
    """Return the synchronisation of all threads and the share of vector work that hides under a product."""
    by_name = {one.name: one for one in found}
    made: list[Probe] = []
    named = [by_name.get(name) for name in ("launch", "forked, one thread", "forked, all threads")]
    launch, one, every = (None if probe is None else probe.value for probe in named)
    if launch is not None and one is not None and every is not None:
        made.append(Probe("sync", waited(launch, one, every, runner.threads), "s", "forked", 1, runner.threads))
    times = [runner.seconds(kind, PRODUCT, "fp32", runner.threads) for kind in ("product", "vector", "both")]
    if all(time is not None and time > 0 for time in times):
        made.append(Probe("overlap", hidden(*(float(t or 0) for t in times)), "1", "both", PRODUCT, runner.threads))
    return made


def waited(launch_s: float, one_s: float, every_s: float, threads: int) -> float:
    """Return what fork and join add: all threads take launch + work / threads + sync, one takes launch + work."""
    return max(0.0, every_s - launch_s - max(0.0, one_s - launch_s) / threads)


def hidden(matrix_s: float, vector_s: float, both_s: float) -> float:
    """Return the share of the shorter part that both together save: 0 one after the other, 1 wholly hidden."""
    saved = (matrix_s + vector_s - both_s) / min(matrix_s, vector_s)
    return min(1.0, max(0.0, saved))
