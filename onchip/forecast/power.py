"""The clock that a chip's power limit sustains while its matrix unit is busy.

In:       a Chip and a dtype. Out: a share of the clock, at most 1.
Promises: 1 where the chip file names no limit or no process; never rises with a lower limit.
          Power at full clock = idle + products a second x operand bytes x energy per byte, the energy scaled from 7 nm
          to the chip's process; above the limit the clock falls until what is dynamic fits.
Does not: know temperature, or the power of memories.
Sources:  energy per operand byte, delivery and instructions included: assumed, as A100's specification has it, if its
          limit just allows its peak: (400 W - 60 W) / (156e12 MAC/s x 2 B). With it H100's limit allows 0.90 of its
          peak (its best public row reaches 0.835, A100's 0.93). Scaling: Stillmaker and Baas 2017 (recalled, not
          re-read).
"""

from __future__ import annotations

from onchip.chip import Chip

# shared by all chips
J_PER_BYTE, REFERENCE_M = 1.09e-12, 7e-9
PROCESS_EXPONENT = 1.2  # energy over feature size, 28 to 5 nm
CLOCK_EXPONENT = 1.5  # dynamic power over clock (assumed): 1 at a fixed voltage, 3 where it follows the clock


def sustained(chip: Chip, dtype: str, operand_bytes: float) -> float:
    """Return the share of the clock that the limit sustains with products of that dtype."""
    power = chip.power
    if power is None or power.process_m is None:
        return 1.0
    static = power.idle_w if power.idle_w is not None else chip.energy.static if chip.energy else 0
    per_mac = operand_bytes * J_PER_BYTE * (float(power.process_m) / REFERENCE_M) ** PROCESS_EXPONENT
    dynamic = chip.peak_ops_per_s(dtype) / 2 * per_mac
    left = max(float(power.limit_w) - float(static), 0.1 * float(power.limit_w))
    return min(1.0, (left / dynamic) ** (1 / CLOCK_EXPONENT))
