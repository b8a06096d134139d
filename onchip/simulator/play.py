"""The door to the event engine: what it takes and what it gives.

In: a kernel's code, the machine array, the semaphore counts that its BARRIER sets. Out: a row of totals (indices
below) and, where there is room, events (unit, start, completion, record, place free again, DRAM bytes). Time 0 is the
end of the barrier. The engine itself is `engine.py`, which is loaded as kept machine code (`isa/native.py`).
"""

from __future__ import annotations

import numpy as np

from onchip.isa.native import native
from onchip.simulator.code import Code, Ints

# totals
(CYCLES, MATRIX_BUSY, MACS, VECTOR_BUSY, DRAM_READ, DRAM_WRITE, SHARED_BYTES, LOCAL_READ, LOCAL_WRITE, INSTRUCTIONS,
 STALL_MEMORY, STALL_WEIGHTS, STALL_VECTOR, STALL_FILL, N_MATMULS, LAST_MATRIX, LAST_VECTOR, STATUS, VECTOR_LANES,
 ACCUMULATOR_BYTES) = range(20)  # fmt: skip
N_TOTALS = 20
OK, DEADLOCK, OVERFLOW = 0, 1, 2
EVENT_FIELDS = 6
TOKENS = 64  # the most that a semaphore holds
LEVELS = 2  # of loops whose repeating iterations are skipped
SNAPSHOT = 4 * 8 + 8 * (TOKENS + 1) + 16
PARAMETERS = "b1 b1 b1 b1 q2 q3 b2 q1 q1 q1 i i q2 q2 q1 q2 q2 q3 q3 q2"


def play(
    code: Code, machine: Ints, initial: Ints, active: int, fast: bool, ranges: Ints, events: Ints
) -> tuple[Ints, int]:
    """Run one kernel; return its totals and the number of events written.

    `ranges` has, for each level of loops, the first and the last index that clips nothing.
    """
    totals = np.zeros(N_TOTALS, np.int64)
    snapshots, tokens = np.zeros((1 + LEVELS, SNAPSHOT), np.int64), np.zeros((1 + LEVELS, 8, TOKENS), np.int64)
    loops, rows = np.zeros((4, 4, 5), np.int64), np.zeros((17, N_TOTALS), np.int64)
    run = native("simulator.engine", "play_streams", PARAMETERS)
    n = run(
        *code, machine, initial, active, fast, ranges, events, totals, snapshots, tokens[0], tokens[1:], loops, rows
    )
    return totals, n
