"""The clock that a chip's power limit sustains while its matrix unit, or its lanes, multiply.

In:       a Chip and a dtype. Out: a share of the clock, at most 1.
Promises: 1 where the chip file names no limit or no process; never rises with a lower limit.
          Power at full clock = idle + products a second x energy of one, scaled from 7 nm to the chip's process; above
          the limit the clock falls until what is dynamic fits. A product of the matrix unit costs its operand bytes;
          one of the lanes is an instruction, fetched and read from registers by itself.
Does not: know temperature, or the power of memories.
Sources:  energy per operand byte, delivery and instructions included: assumed, as A100's specification has it, if its
          limit just allows its peak: (400 W - 60 W) / (156e12 MAC/s x 2 B). With it H100's limit allows 0.90 of its
          peak (its best public row reaches 0.835, A100's 0.93). Energy of a lane's product: the same of V100 PCIe in
          fp32, whose public rows reach 0.98 of its peak: (250 W - 45 W) / 7.07e12 MAC/s = 29 pJ at 12 nm; P100's limit,
          at 0.95, just allows it too. Scaling: Stillmaker and Baas 2017 (recalled, not re-read).
"""

from __future__ import annotations

from onchip.chip import Chip

# shared by all chips
J_PER_BYTE, J_PER_LANE, REFERENCE_M = 1.09e-12, 15.2e-12, 7e-9
PROCESS_EXPONENT = 1.2  # energy over feature size, 28 to 5 nm
CLOCK_EXPONENT = 1.5  # dynamic power over clock (assumed): 1 at a fixed voltage, 3 where it follows the clock


def sustained(chip: Chip, dtype: str, operand_bytes: float) -> float:
    """Return the share of the clock that the limit sustains with products of that dtype."""
    power = chip.power
    if power is None or power.process_m is None:
        return 1.0
    static = power.idle_w if power.idle_w is not None else chip.energy.static if chip.energy else 0
    on_lanes = chip.matrix.array(dtype, chip.name).unit == "vector"
    product = J_PER_LANE if on_lanes else operand_bytes * J_PER_BYTE
    dynamic = chip.peak_ops_per_s(dtype) / 2 * product * (float(power.process_m) / REFERENCE_M) ** PROCESS_EXPONENT
    left = max(float(power.limit_w) - float(static), 0.1 * float(power.limit_w))
    return min(1.0, (left / dynamic) ** (1 / CLOCK_EXPONENT))
