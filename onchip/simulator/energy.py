"""Energy: the counts of a trace times the chip's energy table.

In:       a Trace; the chip's `[energy]` table: joules per MAC of a dtype, per byte of an SRAM of a size, per bit of
          DRAM, static watts.
Out:      `Energy` with the components compute, sram (local and shared memory), accumulator, dram and static per
kernel;
          None when the chip has no table, or the table no MAC of this dtype: nothing is borrowed from another dtype.
Promises: components sum to the total; every active core counts with the share of the fullest one, so work is never
          counted too low; a write costs as much as a read of the same SRAM (assumed).
Does not: price the arithmetic of the vector lanes, wires or the host; `notes` says so.
Sources:  as the chip file's [energy] names them; SRAM energy by size is interpolated log-log between its points.
"""

from __future__ import annotations

from onchip.chip import Chip
from onchip.ir.energy import Energy
from onchip.ir.trace import KernelTrace, Trace

PICO = 1e-12
NOTES = (
    "energy: an SRAM write costs as much as a read (assumed)",
    "energy: the arithmetic of the vector lanes, on-chip wires and the host are not counted",
)


def energy(trace: Trace) -> Energy | None:
    """Return the energy of a run, or None where the chip's table cannot price it."""
    table = trace.chip.energy
    mac = table.mac_pj(trace.dtype) if table is not None else None
    if table is None or mac is None:
        return None
    rates = _Rates(trace.chip, mac.value)
    kernels = tuple(rates.of(kernel) for kernel in trace.kernels)
    outside = float(table.static * trace.chip.launch.per_run_s)
    return Energy(kernels, outside, table.band, table.source, NOTES)


class _Rates:
    """Joules per event of one chip."""

    __slots__ = ("accumulator", "clock_hz", "dram", "local", "mac", "shared", "static_w")

    def __init__(self, chip: Chip, mac_pj: float) -> None:
        table = chip.energy
        assert table is not None
        self.mac = mac_pj * PICO
        self.local = table.sram_pj_per_byte(chip.local.size_bytes).value * PICO
        self.accumulator = table.sram_pj_per_byte(chip.local.accumulator_bytes).value * PICO
        self.shared = table.sram_pj_per_byte(chip.shared[0].size_bytes).value * PICO if chip.shared else 0.0
        self.dram = float(table.dram_j_per_bit) * 8
        self.static_w, self.clock_hz = float(table.static), chip.clock_hz

    def of(self, kernel: KernelTrace) -> tuple[float, ...]:
        """Return a kernel's joules in the order of COMPONENTS; bytes are those of one core, so cores multiply."""
        local = (kernel.local_read_bytes + kernel.local_write_bytes) * self.local
        one_core = (
            kernel.macs * self.mac / kernel.cores,
            local + kernel.shared_bytes * self.shared,
            kernel.accumulator_bytes * self.accumulator,
            (kernel.dram_read_bytes + kernel.dram_write_bytes) * self.dram,
        )
        return (*(joules * kernel.cores for joules in one_core), self.static_w * kernel.cycles / self.clock_hz)
