"""The operations of the probes in PyTorch, on the processor at hand, or on its CUDA device.

In:       kinds and sizes of `silicon.probes`, a budget of seconds for each probe.
Out:      seconds of the fastest and of the median repeat, None where torch has no such operation.
Promises: torch is imported when a runner is made, not before; its number of threads is put back after each run. Memory
          that ends is DoesNotFit (OC2004), not an absent operation.
Does not: divide a CUDA device: its probes of one core are absent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isqrt
from typing import Any

from onchip.errors import NotSupported
from onchip.ir.graph import Graph
from onchip.silicon.probes import COLD_BYTES, CURVES, PASSES, POINTS, WIDE, Times
from onchip.silicon.repeat import clock_of, refuse_memory, repeated
from onchip.silicon.run_torch import TorchNetwork
from onchip.silicon.torch_ops import MAKERS, attributes


class TorchRunner:
    """Runs operations through torch. Raises NotSupported (OC1014) where torch is not installed."""

    def __init__(
        self, clock: Callable[[], float] | None = None, budget_s: float = 0.0, threads: int | None = None
    ) -> None:
        try:
            import torch
        except ImportError as error:
            hint = "pip install 'onchip[torch]'"
            raise NotSupported(
                "OC1014", "measure", f"torch cannot be imported: {str(error)[:200]}", next=hint
            ) from error
        self.torch: Any = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.name = f"torch {torch.__version__}"
        self._budget_s = budget_s
        own = torch.get_num_threads() if self.device == "cpu" else self.properties.multi_processor_count
        self.threads: int = threads or own
        self._clock = clock or clock_of(self.threads, self.device)

    def network(self, graph: Graph, dtype: str) -> TorchNetwork:
        """Return a network ready to run, on as many threads as the probes. Raises DoesNotFit (OC2004)."""
        if self.device == "cpu":
            self.torch.set_num_threads(self.threads)
        try:
            return TorchNetwork(graph, self.torch, dtype, device=self.device, clock=self._clock)
        except (RuntimeError, MemoryError) as error:
            refuse_memory(error, graph.name)
            raise

    @property
    def properties(self) -> Any:
        """What CUDA tells of its device."""
        return self.torch.cuda.get_device_properties(0)

    def times(self, kind: str, size: int, dtype: str, threads: int) -> Times | None:
        if self.device == "cuda":
            return self._times(kind, size, dtype) if threads == self.threads else None
        before = self.torch.get_num_threads()
        self.torch.set_num_threads(threads)
        try:
            return self._times(kind, size, dtype)
        finally:
            self.torch.set_num_threads(before)

    def _times(self, kind: str, size: int, dtype: str) -> Times | None:
        try:
            with self.torch.inference_mode():
                run = self._operation("convolution" if kind == "cold" else kind, size, dtype)
                ahead = self._operation("copy", COLD_BYTES // 2, dtype) if kind == "cold" else None
                return repeated(run, self._clock, self._budget_s, wait=self.wait, ahead=ahead, wall=time.perf_counter)
        except (RuntimeError, NotImplementedError, KeyError) as error:
            refuse_memory(error, f"probe {kind}")
            return None

    def wait(self) -> None:
        """Wait for the device; calls on the processor return when they are done."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def _operation(self, kind: str, size: int, dtype: str) -> Callable[[], object]:
        torch, on = self.torch, {"device": self.device}
        if kind in {"empty", "forked"}:  # 64 Ki elements are over torch's grain of 32 Ki: every thread takes part
            x = torch.zeros(1 if kind == "empty" else 1 << 16, **on)
            return lambda: x.add_(0)
        if kind == "read":
            x = torch.zeros(size // 4, **on)
            return x.sum
        if kind == "copy":
            x, y = torch.zeros(size // 4, **on), torch.zeros(size // 4, **on)
            return lambda: y.copy_(x)
        if kind == "convolution":
            return self._convolution(size, size, 3, 14, self._dtype(dtype))
        if kind == "thin":
            return self._convolution(size, 4 * size, 1, isqrt(POINTS), self._dtype(dtype))
        if kind == "rows":
            x, w = torch.randn(size, WIDE, **on), torch.randn(WIDE, WIDE, **on)
            return lambda: torch.nn.functional.linear(x, w)
        if kind in (*CURVES, "add"):
            x, y = torch.rand(size, **on).add_(1), torch.zeros(size, **on)
            call = getattr(torch, kind)
            return (lambda: call(x, x, out=y)) if kind in {"add", "div"} else (lambda: call(x, out=y))
        return self._product(kind, size, dtype)

    def _dtype(self, dtype: str) -> Any:
        torch = self.torch
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]

    def _product(self, kind: str, size: int, dtype: str) -> Callable[[], object]:
        torch = self.torch
        a = torch.ones(size, size, device=self.device)
        if dtype == "int8":
            b = a.to(torch.int8)
            return lambda: torch._int_mm(b, b)
        c = torch.randn(size, size, device=self.device).mul_(0.01).to(self._dtype(dtype))
        y = torch.zeros_like(c)

        def vector(x: Any = c) -> object:
            for _ in range(PASSES):
                torch.tanh(x, out=y)
            return y

        return {"product": lambda: c @ c, "vector": vector, "both": lambda: vector(c @ c)}[kind]

    def _convolution(self, channels: int, filters: int, window: int, side: int, dtype: Any) -> Callable[[], object]:
        """Return a convolution as networks run it (torch_ops), over side x side pixels."""
        torch = self.torch
        x = torch.randn(1, side, side, channels, device=self.device).to(dtype)
        w = torch.randn(filters, window, window, channels, device=self.device).to(dtype)
        call = MAKERS["conv2d"](torch, attributes("conv2d", padding=(window // 2,) * 4), [None, w])
        return lambda: call(x)
