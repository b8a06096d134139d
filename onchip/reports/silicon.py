"""Forecast -> Report: what the vendor's own program is expected to take, in the words of every other report.

In:       a Forecast.
Out:      a Report of kind `silicon`, a layer for each step.
Promises: parts sum to the whole; the matrix time is split into useful MACs at the peak and under-fill; cycles are
          those of the core clock, rounded; local memory is not told, since nobody knows where the vendor's tiles lie.
Does not: price anything.
"""

from __future__ import annotations

from onchip.ir.bands import band_of
from onchip.ir.energy import Energy
from onchip.ir.forecast import Forecast, Step
from onchip.ir.report import Layer, Memory, Parts, Report
from onchip.ir.trace import CAUSES, bound_of
from onchip.reports.roofline import roofline
from onchip.reports.summary import facts, joules_of, power_of, tool
from onchip.units import Quantity

NAMES = {"memory": "memory", "shared": "memory", "vector": "vector", "sync": "sync", "launch": "launch"}
CLAIM = "expected on silicon: closed forms of the vendor's program, not ours; their errors are in docs/accuracy.md"


def summarize_forecast(forecast: Forecast) -> Report:
    """Return the report of a forecast."""
    chip, seconds, energy = forecast.chip, forecast.device_s, forecast.energy
    layers = tuple(_layer(step, forecast, energy) for step in forecast.steps)
    waterfall = _sum(layers, forecast.per_run_s)
    macs, rate = sum(step.macs for step in forecast.steps), forecast.model.batch / seconds if seconds else 0.0
    band = band_of(chip, "network")
    told = (CLAIM,) if band is None else (CLAIM, str(band))
    return Report(
        model=forecast.model,
        chip=facts(chip, forecast.dtype),
        dtype=forecast.dtype,
        cycles=sum(layer.cycles for layer in layers),
        latency_s=Quantity(seconds, "s") if band is None else band.of_time(seconds),
        throughput_per_s=Quantity(rate, "1/s") if band is None else band.of_rate(rate),
        energy_j=joules_of(energy.total_j, energy, "estimate") if energy is not None else None,
        power_w=power_of(energy, seconds, "estimate"),
        utilization=Quantity(_used(macs, seconds, forecast), ""),
        memory=Memory(0, chip.local.size_bytes, "", round(forecast.dram_bytes)),
        bound=bound_of(waterfall),
        waterfall=waterfall,
        energy_parts=energy.components if energy is not None else (),
        layers=layers,
        assumptions=(*forecast.model.assumptions, *told),
        tool=tool(),
        kind="silicon",
    )


def _layer(step: Step, forecast: Forecast, energy: Energy | None) -> Layer:
    chip, seconds = forecast.chip, step.seconds
    parts = _parts(step, forecast)
    moved = round(step.dram_bytes)
    point = roofline(chip, forecast.dtype, macs=step.macs, dram_bytes=moved, seconds=seconds)
    return Layer(
        name=step.name,
        nodes=step.nodes,
        kind=step.op,
        cycles=round(seconds * chip.clock_hz),
        latency_s=Quantity(seconds, "s"),
        energy_j=joules_of(step.energy_j, energy, "estimate")
        if energy is not None and step.energy_j is not None
        else None,
        share=seconds / forecast.device_s if forecast.device_s else 0.0,
        macs=step.macs,
        utilization=_used(step.macs, seconds, forecast),
        bound=bound_of(parts),
        intensity=point.intensity,
        attainable_ops_per_s=point.attainable_ops_per_s,
        dram_bytes=moved,
        local_peak_bytes=0,
        cores=chip.cores.count,
        waterfall=parts,
        how=step.how,
    )


def _parts(step: Step, forecast: Forecast) -> Parts:
    """Return the step's causes in the words of reports, in their order."""
    found: dict[str, float] = dict.fromkeys(CAUSES, 0.0)
    for cause, seconds in step.causes:
        if cause != "matrix":
            found[NAMES[cause]] += seconds
            continue
        useful = min(seconds, 2 * step.macs / forecast.chip.peak_ops_per_s(forecast.dtype))
        found["useful"] += useful
        found["underfill"] += seconds - useful
    return tuple(found.items())


def _sum(layers: tuple[Layer, ...], per_run_s: float) -> Parts:
    total: dict[str, float] = dict.fromkeys((*CAUSES, "host"), 0.0)
    for layer in layers:
        for cause, seconds in layer.waterfall:
            total[cause] += seconds
    return tuple((total | {"host": per_run_s}).items())


def _used(macs: int, seconds: float, forecast: Forecast) -> float:
    """Return the share of the peak; algorithms with fewer products than the direct one (Winograd) count as full."""
    peak = forecast.chip.peak_ops_per_s(forecast.dtype)
    return min(1.0, 2 * macs / (seconds * peak)) if seconds else 0.0
