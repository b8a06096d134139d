"""The machine at hand as a chip file: what the probes found, in the places where chip files have it.

In:       probes, what the operating system tells (silicon/desk.py), the day.
Out:      the text of a chip file, which `Chip.parse` takes.
Promises: every rate and time is a measured one, or is named in `assumed`; a peak is what the best product or
          convolution reached, so that `achieved` is 1; what had no probe is absent.
          The clock is not measured: lanes are the power of two that makes it nearest to NOMINAL_HZ, and clock x lanes
          is the measured rate.
Does not: fit anything to a network; know the processor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onchip.chip_parts import DTYPES
from onchip.errors import NotSupported
from onchip.forecast.cold import ramp
from onchip.silicon.desk import Desk
from onchip.silicon.probes import CURVES, MIB, POINTS, ROWS, THIN, VECTOR_ELEMENTS, Probe, hidden
from onchip.silicon.probes import DTYPES as PROBED

NOMINAL_HZ = 2.5e9  # assumed: any clock near it will do, only clock x lanes is used
REGISTERS_BYTES = 2048  # assumed: 32 vector registers of 64 bytes hold a tile's sums
LATENCY = "100 ns"  # assumed: of far memory
LARGEST_MEMORY = (512 << 30) - (1 << 30)  # addresses of chip files end there
IN_CACHE = 0.5  # a size is in the last level while it is faster than this share of the way from memory to cache
NAME = "host"
NEEDED = ("launch", "memory, all cores", "product, fp32, 1024")
WORDS = "measured on this machine, "
ASSUMED = (
    *("clock.core", "matrix.weight_load", "matrix.row_packing", "matrix.depthwise", "vector.lanes"),
    *("local.accumulator", "local.banks", "dram.latency"),
)
HEAD = """\
#:schema chip-1.json
# {busy}{name}, {cores} cores as {runtime} uses them.
# Written by onchip measure: every rate is that of the fastest of several repeats.
name = "{chip}"
family = "host"
description = "{name}"
evidence = "estimate"
geometry = "unpublished"
default_dtype = "fp32"
source = "{source}"
assumed = [{assumed}]
"""


def host_chip(probes: Sequence[Probe], desk: Desk, runtime: str, day: str, busy: str = "") -> str:
    """Return the chip file; `busy` is why its rates may be too low.

    Raises NotSupported (OC1511) where a probe is missing that every chip file needs.
    """
    found = {probe.name: probe.value for probe in probes}
    for key in NEEDED:
        if found.get(key, 0.0) <= 0:
            raise NotSupported("OC1511", "host", f"{runtime} has no probe '{key}'", next="Try another build of it")
    cores = next(probe.threads for probe in probes if probe.name == "memory, all cores")
    rates = {dtype: _rate(found, dtype) / 2 / cores for dtype in PROBED}  # multiply-accumulates of one core
    lanes = 2 ** max(0, round(math.log2(rates["fp32"] / NOMINAL_HZ)))
    clock = round(rates["fp32"] / lanes / 1e5) * 100_000  # whole tenths of MHz
    arrays = {dtype: max(1, int(rate / clock)) for dtype, rate in rates.items() if rate and dtype != "fp32"}
    assumed = (*ASSUMED, *(f"matrix.{dtype}.native" for dtype in arrays))
    clean = "".join(c for c in desk.name if c.isprintable() and c not in '"\\\\')[:200]
    note = f"The machine was busy, {busy}: rates may be too low.\n# " if busy else ""
    head = HEAD.format(
        name=clean, cores=cores, runtime=runtime, chip=NAME, busy=note, source=f"{WORDS}{day}",
        assumed=", ".join(f'"{key}"' for key in assumed),
    )  # fmt: skip
    sections = [
        _clock(rates, arrays, clock), _cores(found, cores), _matrix(arrays), _vector(found, lanes, clock),
        _local(found, desk, clock), _shared(found, desk), _dram(found, desk), _times(found, desk, cores),
        _peaks(rates, arrays, cores, clock, lanes),
    ]  # fmt: skip
    return head + "\n" + "\n".join(section for section in sections if section)


def _rate(found: Mapping[str, float], dtype: str) -> float:
    """Return the operations per second of the best product or convolution of a dtype; 0 where none runs."""
    names = [f"product, {dtype}, 1024", f"product, {dtype}, 1023", f"convolution, {dtype}"]
    return max(found.get(name, 0.0) for name in names)


def _clock(rates: Mapping[str, float], arrays: Mapping[str, int], clock: int) -> str:
    """Return the clocks: that of another dtype makes its rate come out as measured."""
    others = [f'{dtype} = "{_mhz(max(clock, rates[dtype] / macs))}"' for dtype, macs in arrays.items()]
    return _section("clock", f'core = "{_mhz(clock)}"', *others)


def _cores(found: Mapping[str, float], cores: int) -> str:
    lines = [f"count = {cores}", 'schedule = "dynamic"']
    alone = found.get("memory, one core")
    if alone:
        lines.append(f'bytes_in_flight = "{max(1, round(alone * 100e-9))} B"  # one core alone reaches {alone:.3g} B/s')
    return _section("cores", *lines)


def _matrix(arrays: Mapping[str, int]) -> str:
    rows = ['dataflow = "dot_product"', "units = 1", 'weight_load = "hidden"', 'row_packing = "CRS"']
    rows += ['depthwise = "vector"', 'fp32 = { accumulate = "fp32", unit = "vector" }']
    kinds = {"int8": "int32"}
    rows += [f'{d} = {{ accumulate = "{kinds.get(d, "fp32")}", native = "1x1x{macs}" }}' for d, macs in arrays.items()]
    return _section("matrix", *rows)


def _vector(found: Mapping[str, float], lanes: int, clock: int) -> str:
    """Return lanes, and the rates of the functions that have a probe, the call itself taken off."""
    launch, rates = found["launch"], list[str]()
    for name in CURVES:
        if name in found:
            n = _elements(found[name], launch)
            rates.append(f"{name} = {max(n / clock, 1e-3):.4g}")
    more = [f"ops_per_cycle = {{ mac = {lanes}, {', '.join(rates)} }}"]
    return _section("vector", f"lanes = {lanes}", *more)


def _elements(rate: float, launch_s: float) -> float:
    """Return elements a second without the launch: a probe's rate has it inside."""
    seconds = VECTOR_ELEMENTS / rate
    return VECTOR_ELEMENTS / max(seconds - launch_s, seconds / 10)


def _local(found: Mapping[str, float], desk: Desk, clock: int) -> str:
    """Return a core's own cache: its size as the system tells, its rate where half of it is in use."""
    size = desk.private_bytes or MIB
    found_here = _caches(found, "one core") or _caches(found, "all cores")
    rate = max((value for n, value in found_here if n <= size), default=found["memory, all cores"])
    ports = f"{rate / clock:.4g} B/cycle"
    return _section(
        "local", f'size = "{size // 1024} KiB"', f'accumulator = "{REGISTERS_BYTES} B"', "banks = 8",
        *(f'{key} = "{ports}"' for key in ("read", "write", "weight_read")),
    )  # fmt: skip


def _shared(found: Mapping[str, float], desk: Desk) -> str:
    level = _level(found, desk)
    if level is None:
        return ""
    size, rate = level
    told = f'bandwidth = "{rate / 1e9:.4g} GB/s"'
    return _section("[shared]", f'size = "{size // 1024} KiB"', told, 'managed = "cache"')


def _level(found: Mapping[str, float], desk: Desk) -> tuple[int, float] | None:
    """Return the last-level cache: as large as what is faster than memory, its rate beyond the cores' own caches."""
    far, own = found["memory, all cores"], 2 * (desk.private_bytes or MIB)
    levels = [(n, rate) for n, rate in _caches(found, "all cores") if n > own]
    best = max((rate for _, rate in levels), default=0.0)
    held = [(n, rate) for n, rate in levels if rate > max(far, far + IN_CACHE * (best - far))]
    return (max(n for n, _ in held), sorted(rate for _, rate in held)[len(held) // 2]) if held else None


def _caches(found: Mapping[str, float], where: str) -> list[tuple[int, float]]:
    """Return working sets in bytes and their rates."""
    start = f"cache, {where}, "
    return [(int(key[len(start) : -4]) * 1024, rate) for key, rate in found.items() if key.startswith(start)]


def _dram(found: Mapping[str, float], desk: Desk) -> str:
    size = min(desk.memory_bytes or 8 << 30, LARGEST_MEMORY)
    rate = f"{found['memory, all cores'] / 1e9:.4g} GB/s"
    return _section("dram", f'size = "{size // 1024} KiB"', f'bandwidth = "{rate}"', f'latency = "{LATENCY}"')


def _times(found: Mapping[str, float], desk: Desk, cores: int) -> str:
    """Return launch, synchronisation, overlap, and what the measured rates are of the peaks: all."""
    launch, tile, cold = _start(found)
    parts = [_section("launch", f'in_graph = "{launch * 1e6:.4g} us"', f"cold = {cold:.3f}")]
    if found.get("sync") and cores > 1:
        parts.append(_section("sync", f'all_cores = "{found["sync"] * 1e6:.4g} us"'))
    shares = {"matrix_vector": found.get("overlap"), "memory_compute": _beside(found, desk, cores)}
    parts.append(_section("overlap", *(f"{key} = {share:.2f}" for key, share in shares.items() if share is not None)))
    full = [f"{key} = 1.0" for key in ("matrix", "vector", "dram", "shared")]
    parts.append(_section("achieved", *full, f'tile = "{tile * 1e6:.4g} us"'))
    few = _few_rows(found)
    parts += [_section("algorithms", f"narrow = [{few}, {few}]")] if few else []
    parts.append(_section("rounding", 'modes = ["single", "double", "fp32"]'))
    return "\n".join(parts)


def _start(found: Mapping[str, float]) -> tuple[float, float, float]:
    """Return the seconds of a launch, what a product's start takes besides, and how much more both are when cold."""
    launch = found["launch"]
    whole = max(launch, found.get("smallest convolution", 0.0))
    return launch, whole - launch, max(0.0, found.get("smallest convolution, cold", 0.0) / whole - 1)


def _beside(found: Mapping[str, float], desk: Desk, cores: int) -> float | None:
    """Return how much of memory's time hides behind arithmetic: what is left of both in a thin convolution."""
    thin, (launch, tile, cold) = found.get("thin convolution"), _start(found)
    if thin is None:
        return None
    moved, operations = 4 * POINTS * 5 * THIN, 2 * POINTS * 4 * THIN**2
    _, rate = _level(found, desk) or (0, found["memory, all cores"])
    begin = (launch + tile) * (1 + cold * ramp(moved / cores / (desk.private_bytes or MIB)))
    return hidden(operations / _rate(found, "fp32"), moved / rate, max(thin - begin, 0.0))


def _few_rows(found: Mapping[str, float]) -> int:
    """Return how many rows a product with a matrix takes in about the time of one: it is read once for all of them."""
    times = {rows: found.get(f"{rows} rows by a matrix", 0.0) for rows in ROWS}
    return max((rows for rows in ROWS if 0 < times[rows] < 2 * times[1]), default=0)


def _peaks(rates: Mapping[str, float], arrays: Mapping[str, int], cores: int, clock: int, lanes: int) -> str:
    peaks = {"fp32": 2 * lanes * cores * clock}
    peaks |= {d: 2 * macs * cores * max(clock, int(rates[d] / macs)) for d, macs in arrays.items()}
    # a peak is what the file's own array and clock give, so that it says the same as they
    return _section("peak", *(f'{dtype} = "{peaks[dtype] / 1e12:.5g} TOPS"' for dtype in DTYPES if dtype in peaks))


def _mhz(hertz: float) -> str:
    return f"{hertz / 1e6:.1f} MHz"


def _section(name: str, *lines: str) -> str:
    return "\n".join([f"[{name}]", *lines, ""])
