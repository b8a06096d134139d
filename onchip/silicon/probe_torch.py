"""The operations of the probes in PyTorch, on the processor at hand.

In:       kinds and sizes of `silicon.probes`. Out: median seconds, None where torch has no such operation.
Promises: torch is imported when a runner is made, not before; its number of threads is put back after each run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from onchip.errors import NotSupported

REPEATS = 7
LEAST_S = 1e-3  # one repeat loops for at least this long: the clock's own cost is then under 0.1 %


class TorchRunner:
    """Runs operations through torch. Raises NotSupported (OC1014) where torch is not installed."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        try:
            import torch
        except ImportError as error:
            hint = "pip install 'onchip[torch]'"
            raise NotSupported("OC1014", "onchip", "torch is not installed; probes need it", next=hint) from error
        self._torch: Any = torch
        self._clock = clock
        self.threads: int = torch.get_num_threads()

    def seconds(self, kind: str, size: int, dtype: str, threads: int) -> float | None:
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(threads)
        try:
            with self._torch.inference_mode():
                return median_s(self._operation(kind, size, dtype), self._clock)
        except (RuntimeError, NotImplementedError, KeyError):
            return None
        finally:
            self._torch.set_num_threads(before)

    def _operation(self, kind: str, size: int, dtype: str) -> Callable[[], object]:
        torch = self._torch
        if kind in {"empty", "forked"}:  # 64 Ki elements are over torch's grain of 32 Ki: every thread takes part
            x = torch.zeros(1 if kind == "empty" else 1 << 16)
            return lambda: x.add_(0)
        if kind == "copy":
            x, y = torch.zeros(size // 4), torch.zeros(size // 4)
            return lambda: y.copy_(x)
        if kind in {"exp", "add"}:
            x, y = torch.zeros(size), torch.zeros(size)
            return (lambda: torch.exp(x, out=y)) if kind == "exp" else (lambda: torch.add(x, x, out=y))
        a = torch.ones(size, size)
        if kind == "product" and dtype == "int8":
            b = a.to(torch.int8)
            return lambda: torch._int_mm(b, b)
        c = a.to({"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
        matrix, vector = (lambda: c @ c), (lambda: torch.exp(c))
        return {"product": matrix, "vector": vector, "both": lambda: torch.exp(c @ c)}[kind]


def median_s(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the median over REPEATS of the seconds of one run; short ones are looped, the first is not counted."""
    run()
    begin = clock()
    run()
    loops = max(1, round(LEAST_S / max(clock() - begin, 1e-9)))
    times: list[float] = []
    for _ in range(REPEATS):
        begin = clock()
        for _ in range(loops):
            run()
        times.append((clock() - begin) / loops)
    return statistics.median(times)
