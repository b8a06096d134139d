"""The roofline of a chip: what a kernel could reach, given how many operations it does per byte of DRAM.

In:       MACs, bytes and seconds of a kernel on the whole chip; a Chip and a dtype.
Out:      arithmetic intensity, attainable and achieved operations per second.
Promises: a zero denominator gives None, never infinity; one MAC is two operations.
Sources:  Williams, Waterman, Patterson, "Roofline", CACM 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.chip import Chip

OPS_PER_MAC = 2


@dataclass(frozen=True, slots=True)
class Roofline:
    """One point under the roof; `intensity` is in operations per byte, None without DRAM traffic."""

    intensity: float | None
    attainable_ops_per_s: float
    achieved_ops_per_s: float | None


def roofline(chip: Chip, dtype: str, *, macs: int, dram_bytes: int, seconds: float) -> Roofline:
    """Return the point of a kernel: attainable = min(peak, intensity x DRAM bandwidth)."""
    peak = float(chip.peak_ops_per_s(dtype))
    operations = OPS_PER_MAC * macs
    intensity = operations / dram_bytes if dram_bytes else None
    attainable = peak if intensity is None else min(peak, intensity * chip.dram.bandwidth_bytes_per_s)
    return Roofline(intensity, attainable, operations / seconds if seconds else None)


def ridge(chip: Chip, dtype: str) -> float:
    """Return the operations per byte at which the roof turns flat."""
    return chip.peak_ops_per_s(dtype) / chip.dram.bandwidth_bytes_per_s
