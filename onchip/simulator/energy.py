"""Energy: the counts of a trace times the chip's energy per event.

In:       a Trace; `events` of its chip and dtype: joules of a MAC, of a byte of each memory, of a lane operation, of a
          cycle; static watts.
Out:      `Energy` with the parts of COMPONENTS for each kernel; None when the chip has no table, or the tables no MAC
          of this dtype: nothing is borrowed from another dtype.
Promises: components sum to the total; every active core counts with the share of the fullest one, so work is never
          counted too low; a write costs as much as a read of the same SRAM (assumed); clocks of all cores run for the
          whole of the time.
Does not: price wires between cores, or the host; `NOTES` say so.
Sources:  chip_energy.py.
"""

from __future__ import annotations

from onchip.chip import Chip
from onchip.chip_energy import Events, events
from onchip.ir.energy import Energy
from onchip.ir.trace import KernelTrace, Trace

NOTES = (
    "energy: an SRAM write costs as much as a read (assumed)",
    "energy: wires between cores and the host are not counted",
)


def energy(trace: Trace) -> Energy | None:
    """Return the energy of a run, or None where the chip's table cannot price it."""
    chip = trace.chip
    each = events(chip, trace.dtype)
    if each is None or chip.energy is None:
        return None
    kernels = tuple(_parts(kernel, each, chip) for kernel in trace.kernels)
    outside = float(each.static_w * chip.launch.per_run_s)
    return Energy(kernels, outside, chip.energy.band, chip.energy.sources, NOTES)


def _parts(kernel: KernelTrace, each: Events, chip: Chip) -> tuple[float, ...]:
    """Return a kernel's joules in the order of COMPONENTS; bytes and lanes are those of one core, so cores multiply."""
    cores = kernel.cores
    return (
        kernel.macs * each.mac,
        kernel.macs * each.operands,
        (kernel.local_read_bytes + kernel.local_write_bytes) * each.local * cores,
        kernel.accumulator_bytes * each.accumulator * cores,
        kernel.shared_bytes * each.shared * cores,
        (kernel.dram_read_bytes + kernel.dram_write_bytes) * each.dram * cores,
        kernel.vector_lanes * each.lane * cores,
        kernel.cycles * each.cycle * chip.cores.count,
        kernel.cycles * each.static_w / chip.clock_hz,
    )
