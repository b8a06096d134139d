"""Probes of the machine at hand: one small program per effect, and the rate that its time stands for.

In:       a Runner, which runs an operation of a named kind and size several times; the sizes of the caches.
Out:      Probe records: a rate or a time, its unit, the run that it came from, and how far repeats were apart.
Promises: the value is that of the fastest repeat: what else runs on the machine only ever adds time. A kind or dtype
          that the runner does not have gives no record, never a 0; a time of 0 or less is no rate.
Does not: import a runtime (silicon/probe_torch.py, probe_onnx.py), or know what processor it is: no instruction set is
          assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

KIB, MIB = 1 << 10, 1 << 20
SMALLEST, UNKNOWN_LAST = 32 * KIB, 64 * MIB  # of the caches that are looked for; the last level where nobody tells
FAR_FACTOR = 1.25  # the buffer of the memory probe, in sizes of the last-level cache
SPREAD = 1.15  # median over fastest repeat, of half of the probes: above it something else runs
SLICE_S = 1e-3  # a fork and join takes microseconds; this long one of the threads waited for a core
PRODUCT, UNALIGNED = 1024, 1023  # M = N = K of a matrix product
OVERLAPPED, PASSES = 256, 4  # a product, and a function of as many elements so often: about as long
COLD_BYTES = 16 * MIB  # moved ahead of an operation: several times a core's own cache
POINTS, THIN = 112 * 112, 16  # of a 1 x 1 convolution from THIN to 4 THIN channels: about as much memory as arithmetic
CHANNELS = 256  # of a 3 x 3 convolution over 14 x 14 pixels
WIDE, ROWS = 2048, (1, 4, 16)  # few rows by a WIDE x WIDE matrix
DTYPES = ("fp32", "bf16", "fp16", "int8")
VECTOR_ELEMENTS = 64 * KIB  # 256 KiB of fp32
CURVES = ("exp", "div", "sqrt", "tanh", "sigmoid", "erf")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one run: of the fastest repeat, and the median of the repeats."""

    least_s: float
    median_s: float


class Runner(Protocol):
    """Runs one operation several times; None where the runtime has no such operation."""

    @property
    def threads(self) -> int: ...

    def times(self, kind: str, size: int, dtype: str, threads: int) -> Times | None: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """One effect: `value` in `unit` (B/s, op/s, s or 1), from an operation of `kind` and size on `threads` threads."""

    name: str
    value: float
    unit: str
    kind: str
    size: int
    threads: int
    spread: float = 1.0  # median over fastest

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0:
            raise ValueError(f"probe {self.name}: {self.value} {self.unit} is no measurement")


Planned = tuple[str, str, int, str, int, int]


def probe(
    runner: Runner, last_bytes: int = 0, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> tuple[Probe, ...]:
    """Run every probe that the runner has, in order of `planned`, and the two that follow from several runs."""
    found: list[Probe] = []
    plan = tuple(planned(runner.threads, last_bytes))
    for done, (name, kind, size, dtype, threads, work) in enumerate(plan):
        progress(done, len(plan))
        times = runner.times(kind, size, dtype, threads)
        if times is None or times.least_s <= 0:
            continue
        least, spread = times.least_s, times.median_s / times.least_s
        value, unit = (least, "s") if work == 0 else (work / least, "B/s" if kind in ("copy", "read") else "op/s")
        found.append(Probe(name, value, unit, kind, size, threads, spread))
    made = (*found, *_derived(runner, found))
    progress(len(plan), len(plan))
    return made


def planned(threads: int, last_bytes: int) -> Iterator[Planned]:
    """Yield name, kind, size, dtype, threads, and bytes or operations of one run (0: the time itself counts)."""
    yield "launch", "empty", 1, "fp32", 1, 0
    if threads > 1:
        yield "forked, one thread", "forked", 1, "fp32", 1, 0
        yield "forked, all threads", "forked", 1, "fp32", threads, 0
    yield "smallest convolution", "convolution", 8, "fp32", threads, 0
    yield "smallest convolution, cold", "cold", 8, "fp32", threads, 0
    yield "thin convolution", "thin", THIN, "fp32", threads, 0
    for rows in ROWS:
        yield f"{rows} rows by a matrix", "rows", rows, "fp32", threads, 0
    far = far_bytes(last_bytes)
    for at, n in (("one core", 1), ("all cores", threads))[0 if threads > 1 else 1 :]:
        yield f"memory, {at}", "read", far, "fp32", n, far
        for size in cache_sizes(last_bytes):
            yield f"cache, {at}, {size // KIB} KiB", "copy", size // 2, "fp32", n, size  # half read, half written
    for dtype in DTYPES:
        for size in (PRODUCT, UNALIGNED):
            yield f"product, {dtype}, {size}", "product", size, dtype, threads, 2 * size**3
        macs = 14 * 14 * 9 * CHANNELS**2
        yield f"convolution, {dtype}", "convolution", CHANNELS, dtype, threads, 2 * macs
    for kind in (*CURVES, "add"):
        yield kind, kind, VECTOR_ELEMENTS, "fp32", 1, VECTOR_ELEMENTS


def far_bytes(last_bytes: int) -> int:
    """Return the size of the buffer of the memory probe: larger than the last-level cache, whole words."""
    return int(FAR_FACTOR * max(last_bytes, UNKNOWN_LAST)) // 64 * 64


def cache_sizes(last_bytes: int) -> tuple[int, ...]:
    """Return doubled sizes up to the last-level cache."""
    sizes = [SMALLEST]
    while 2 * sizes[-1] <= max(last_bytes, UNKNOWN_LAST):
        sizes.append(2 * sizes[-1])
    return tuple(sizes)


def busy(probes: Sequence[Probe], others: float) -> str:
    """Return why the machine is not ours alone, empty where it seems to be; `others` is how many other tasks ran."""
    typical = median([probe.spread for probe in probes] or [1.0])
    if others >= 1:
        return f"{others:.1f} other tasks ran at the start"
    if typical > SPREAD:
        return f"half of the probes take {typical - 1:.0%}".replace("%", " %") + " longer than their fastest repeat"
    late = [probe for probe in probes if probe.name == "sync" and probe.value > SLICE_S]
    return f"threads wait {1e3 * late[0].value:.0f} ms for each other" if late else ""


def _derived(runner: Runner, found: list[Probe]) -> list[Probe]:
    """Return the synchronisation of all threads and the share of vector work that hides under a product."""
    by_name = {one.name: one for one in found}
    made: list[Probe] = []
    named = [by_name.get(name) for name in ("launch", "forked, one thread", "forked, all threads")]
    launch, one, every = (None if probe is None else probe.value for probe in named)
    if launch is not None and one is not None and every is not None:
        made.append(Probe("sync", waited(launch, one, every, runner.threads), "s", "forked", 1, runner.threads))
    times = [runner.times(kind, OVERLAPPED, "fp32", runner.threads) for kind in ("product", "vector", "both")]
    seconds = [time.least_s for time in times if time is not None and time.least_s > 0]
    if len(seconds) == len(times):
        made.append(Probe("overlap", hidden(*seconds), "1", "both", OVERLAPPED, runner.threads))
    return made


def waited(launch_s: float, one_s: float, every_s: float, threads: int) -> float:
    """Return what fork and join add: all threads take launch + work / threads + sync, one takes launch + work."""
    return max(0.0, every_s - launch_s - max(0.0, one_s - launch_s) / threads)


def hidden(matrix_s: float, vector_s: float, both_s: float) -> float:
    """Return the share of the shorter part that both together save: 0 one after the other, 1 wholly hidden."""
    saved = (matrix_s + vector_s - both_s) / min(matrix_s, vector_s)
    return min(1.0, max(0.0, saved))
