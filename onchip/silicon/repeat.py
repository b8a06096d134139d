"""One operation, repeated on the machine at hand, and what it means when that fails.

In:       a call and a clock. Out: `Times`: the fastest and the median repeat.
Promises: short calls are looped, so that the clock itself is not what is measured; the first two calls do not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from onchip.errors import DoesNotFit
from onchip.silicon.probes import Times

REPEATS, LONG_S, LONG_REPEATS = 7, 0.1, 3  # at least, and where a repeat takes that long; more while the budget lasts
MOST_REPEATS, COLD_REPEATS = 2000, 60  # many short ones: on a busy machine some are undisturbed
LEAST_S = 5e-5  # one repeat loops for at least this long: the clock's own cost is then under 1 %


def repeated(
    run: Callable[[], object],
    clock: Callable[[], float],
    budget_s: float = 0.0,
    *,
    wait: Callable[[], None] = lambda: None,
    ahead: Callable[[], object] | None = None,
    wall: Callable[[], float] | None = None,
) -> Times:
    """Return the seconds of one run: fastest and median of at least REPEATS, of more while the budget lasts.

    Short runs are looped, unless `ahead` runs before each, outside of the time; the first two are not counted. `wall`
    is the clock of the budget, `clock` by default.
    """
    wall = wall or clock
    start = wall()
    run()
    wait()
    begin = clock()
    run()
    wait()
    once = max(clock() - begin, 1e-9)
    loops = 1 if ahead is not None else max(1, round(LEAST_S / once))
    repeats = COLD_REPEATS if ahead is not None else REPEATS if once < LONG_S else LONG_REPEATS
    times: list[float] = []
    while len(times) < repeats or (len(times) < MOST_REPEATS and wall() - start < budget_s):
        if ahead is not None:
            ahead()
        begin = clock()
        for _ in range(loops):
            run()
        wait()
        times.append((clock() - begin) / loops)
    return Times(min(times), statistics.median(times))


def clock_of(threads: int, device: str = "cpu") -> Callable[[], float]:
    """Return the clock of a run: on one thread the time that it had the processor, what other programs take left out.

    With several threads, whose waiting for each other counts, and for devices, it is the time that went by.
    """
    return time.thread_time if threads == 1 and device == "cpu" else time.perf_counter


def refuse_memory(error: Exception, where: str) -> None:
    """Raise DoesNotFit where an error of a runtime says that memory ended; return for all others."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text:
        fact = "the machine's memory does not hold it"
        raise DoesNotFit("OC2004", where, fact, next="Close other programs, or use a smaller batch") from None
