"""Events of a trace: one row for each instruction that a core issued, and the places where its time is spent.

In: rows from the simulator. Out: a structured array and what follows from a row alone. `start` is the cycle of issue,
`free` the first cycle in which the place is free again, `end` the completion (a load's latency and an array's drain
are over, and so is everything before it in the stream). `record` is the number of the instruction in its stream of
the Program, `dram_bytes` what it asked of the DRAM port. A MATRIX stream feeds two places, the array and its shadow
weights, which work at one time; its LOOPs and NOPs are a third, because they overlap with both. Refuses two things at
one time in one place, and kernels that are recorded in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import InternalError
from onchip.isa import LD, MM, ST, WLD
from onchip.isa.fields import MATRIX

EVENT = np.dtype(
    [("kernel", np.int32), ("unit", np.int32), ("op", np.int32), ("record", np.int32),
     ("start", np.int64), ("free", np.int64), ("end", np.int64), ("dram_bytes", np.int64)]
)  # fmt: skip
NO_EVENTS: NDArray[np.void] = np.zeros(0, EVENT)
PLACES = ("load", "weights", "matrix", "vector", "store", "control")  # control: LOOP and NOP of the MATRIX stream
WORK = (LD.OP, ST.OP, WLD.OP, MM.OP, 5, 6, 7, 8)  # 5 to 8: RQ VOP RED LUT; the rest are LOOP, NOP
_PLACE_OF_UNIT = np.array([0, 5, 3, 4])


def places(events: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the index in PLACES of each event."""
    found = _PLACE_OF_UNIT[events["unit"]]
    on_array = events["unit"] == MATRIX
    found[on_array & (events["op"] == WLD.OP)] = PLACES.index("weights")
    found[on_array & (events["op"] == MM.OP)] = PLACES.index("matrix")
    return found


def is_work(events: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which events move or compute something."""
    return np.isin(events["op"], WORK)


def check_events(name: str, events: NDArray[np.void], instructions: Sequence[int]) -> None:
    """Refuse kernels recorded in part, and two events at one time in one place. Raises InternalError."""
    if not len(events):
        return
    counts = np.bincount(events["kernel"], minlength=len(instructions))
    recorded = n_recorded(events)
    if list(counts[:recorded]) != list(instructions[:recorded]) or (np.diff(events["kernel"]) < 0).any():
        raise InternalError("OC9033", name, "events do not cover whole kernels in order")
    where = places(events)
    for place, told in enumerate(PLACES):
        own: Any = events[where == place]
        late = np.flatnonzero(own["start"][1:] < own["free"][:-1])
        if len(late):
            at = own[late[0] + 1]
            raise InternalError("OC9034", name, f"{told} does two things at cycle {at['start']}")


def n_recorded(events: NDArray[np.void]) -> int:
    """Return how many kernels, from the first on, the events cover."""
    return int(events["kernel"][-1]) + 1 if len(events) else 0
