"""Trace -> Report: cycles become seconds, counts become rates, and every number says where it comes from.

In:       a Trace, and the run's Energy where the chip has an energy table.
Out:      a Report.
Promises: latency = cycles / clock + the fixed time per run, whose part of the waterfall is `host`; parts sum to the
          whole; no band is invented: latency has none, energy has that of its table.
Does not: simulate, or know about texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from onchip.chip import Chip
from onchip.ir.energy import Energy
from onchip.ir.report import ChipFacts, Layer, Memory, Parts, Report
from onchip.ir.trace import KernelTrace, Trace, bound_of
from onchip.reports.roofline import roofline
from onchip.units import Fidelity, Quantity

FIDELITIES: dict[str, Fidelity] = {"estimate": "estimate", "event": "event", "rtl": "rtl", "roofline": "roofline"}
EVIDENCE = {
    "rtl": "evidence rtl: our hardware runs this program in lockstep",
    "program": "evidence program: our program on a machine with this chip's numbers; vendors time their own programs",
    "estimate": "evidence estimate: array or dataflow is unpublished or has no program, so this is a price",
}


def summarize(trace: Trace, energy: Energy | None = None) -> Report:
    """Return the report of a run; without `energy` its energy and power are None."""
    chip, fidelity = trace.chip, FIDELITIES[trace.fidelity]
    host = chip.launch.per_run_s
    cycles = [*trace.waterfall(), ("host", host * chip.clock_hz)]
    latency = Fraction(trace.cycles, chip.clock_hz) + host
    seconds = float(latency)
    batch = trace.model.batch
    return Report(
        model=trace.model,
        chip=facts(chip, trace.dtype),
        dtype=trace.dtype,
        cycles=trace.cycles,
        latency_s=Quantity(seconds, "s", fidelity=fidelity),
        throughput_per_s=Quantity(float(batch / latency) if latency else 0.0, "1/s", fidelity=fidelity),
        energy_j=joules_of(energy.total_j, energy, fidelity) if energy is not None else None,
        power_w=power_of(energy, seconds, fidelity),
        utilization=Quantity(_utilization(trace, latency), "", fidelity=fidelity),
        memory=_memory(trace),
        bound=bound_of(tuple(cycles)),
        waterfall=_seconds(cycles, chip),
        energy_parts=energy.components if energy is not None else (),
        layers=_layers(trace, energy, fidelity),
        assumptions=assumptions(trace, energy),
        tool=tool(),
        program_hash=trace.program_hash,
    )


def tool() -> str:
    """Return who made the report."""
    from onchip import __version__

    return f"onchip {__version__}"


def facts(chip: Chip, dtype: str) -> ChipFacts:
    """Return what a report says about a chip."""
    return ChipFacts(
        chip.name, chip.hash, chip.evidence, chip.clock_hz, chip.cores.count, chip.peak_ops_per_s(dtype),
        chip.dram.bandwidth_bytes_per_s, chip.local.size_bytes,
    )  # fmt: skip


def _seconds(parts: Iterable[tuple[str, Fraction]], chip: Chip) -> Parts:
    return tuple((cause, float(cycles / chip.clock_hz)) for cause, cycles in parts)


def joules_of(value: float, energy: Energy, fidelity: Fidelity) -> Quantity:
    return Quantity(value, "J", value / energy.band, value * energy.band, "analytic", fidelity)


def power_of(energy: Energy | None, seconds: float, fidelity: Fidelity) -> Quantity | None:
    if energy is None or not seconds:
        return None
    watts = energy.total_j / seconds
    return Quantity(watts, "W", watts / energy.band, watts * energy.band, "analytic", fidelity)


def _utilization(trace: Trace, latency: Fraction) -> float:
    """Return the MACs over those that all cores could do in the time.

    A trace counts the fullest core, so cores times its MACs may exceed the network's own: the smaller number holds.
    """
    counted = sum(kernel.macs for kernel in trace.kernels)
    macs = min(trace.model.macs, counted) if trace.model.macs else counted
    return float(macs / _possible_macs(trace.chip, trace.dtype, latency)) if latency else 0.0


def _possible_macs(chip: Chip, dtype: str, seconds: Fraction) -> Fraction:
    return seconds * chip.clock_hz * chip.peak_macs_per_cycle(dtype) * chip.cores.count


def _memory(trace: Trace) -> Memory:
    fullest = max(trace.kernels, key=lambda kernel: kernel.local_peak_bytes, default=None)
    peak, layer = (fullest.local_peak_bytes, fullest.name) if fullest is not None else (0, "")
    return Memory(peak, trace.chip.local.size_bytes, layer, trace.dram_bytes)


def _layers(trace: Trace, energy: Energy | None, fidelity: Fidelity) -> tuple[Layer, ...]:
    total = float(Fraction(trace.cycles, trace.chip.clock_hz) + trace.chip.launch.per_run_s)
    joules: Sequence[float | None]
    joules = [sum(parts) for parts in energy.kernels] if energy is not None else [None] * len(trace.kernels)
    return tuple(
        _layer(kernel, trace, total, joules_of(j, energy, fidelity) if j is not None and energy is not None else None)
        for kernel, j in zip(trace.kernels, joules, strict=True)
    )


def _layer(kernel: KernelTrace, trace: Trace, total: float, joules: Quantity | None) -> Layer:
    chip, dtype = trace.chip, trace.dtype
    exact = Fraction(kernel.cycles, chip.clock_hz)
    seconds, macs = float(exact), kernel.macs
    moved = (kernel.dram_read_bytes + kernel.dram_write_bytes) * kernel.cores
    point = roofline(chip, dtype, macs=macs, dram_bytes=moved, seconds=seconds)
    return Layer(
        name=kernel.name,
        nodes=kernel.nodes,
        kind=kernel.kind,
        cycles=kernel.cycles,
        latency_s=Quantity(seconds, "s", fidelity=FIDELITIES[trace.fidelity]),
        energy_j=joules,
        share=seconds / total if total else 0.0,
        macs=macs,
        utilization=float(macs / _possible_macs(chip, dtype, exact)) if kernel.cycles else 0.0,
        bound=kernel.bound,
        intensity=point.intensity,
        attainable_ops_per_s=point.attainable_ops_per_s,
        dram_bytes=moved,
        local_peak_bytes=kernel.local_peak_bytes,
        cores=kernel.cores,
        waterfall=_seconds(kernel.waterfall, chip),
    )


def assumptions(trace: Trace, energy: Energy | None) -> tuple[str, ...]:
    """Return what the numbers rest on, equal kinds in one line: the model's notes, the chip's guesses and defaults."""
    chip = trace.chip
    lines = list(trace.model.assumptions)
    if chip.assumed:
        lines.append(f"assumed in the chip file ({len(chip.assumed)}): {', '.join(chip.assumed)}")
    lines += grouped(chip.defaults)
    lines.append(EVIDENCE[chip.evidence])
    if energy is not None:
        lines += [f"energy table: {energy.source}, within a factor of {energy.band:g}", *energy.notes]
    lines.append(
        "no latency band: the cycles of our program are exact, and nobody has measured it on silicon of this chip"
    )
    return tuple(dict.fromkeys(lines))


def grouped(defaults: Sequence[str]) -> list[str]:
    """Return defaults as few lines with counts: equal rates stand together, plain defaults in one line."""
    groups: dict[tuple[str, str], list[str]] = {}
    plain = [line.removesuffix(" (default)") for line in defaults if line.endswith(" (default)")]
    for line in defaults:
        if line.endswith(" (default)"):
            continue
        key, _, value = line.partition(" = ")
        group, mark, rest = key.partition("(")
        groups.setdefault((group if mark else key, value), []).append(rest.removesuffix(")"))
    texts: list[str] = []
    for (group, value), members in groups.items():
        names = f"({', '.join(members)})" if members != [""] else ""
        texts.append(f"default{f' ({len(members)})' if len(members) > 1 else ''}: {group}{names} = {value}")
    return [*texts, f"defaults ({len(plain)}): {', '.join(plain)}"] if plain else texts
