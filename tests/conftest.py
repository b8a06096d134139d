"""Settings every test shares: deterministic hypothesis, one torch thread."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import hypothesis
import pytest

from onchip.chip import Chip
from onchip.ir.program import Model
from onchip.ir.trace import KernelTrace, Trace

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Keep torch on one thread: two of them on a busy two-core machine cost 16 ms per operator."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    yield


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests of pages were skipped, and why."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "tests/web/" in r.nodeid]
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} tests of pages skipped: {reason}")


@pytest.fixture
def make_trace() -> Callable[..., Trace]:
    """Give a function that makes a trace by hand: two kernels, 1,000 + 3,000 cycles, one core unless told otherwise."""

    def kernel(name: str, start: int, waterfall: dict[str, int], *, macs: int, cores: int, dram: int) -> KernelTrace:
        parts = tuple((cause, Fraction(cycles)) for cause, cycles in waterfall.items())
        busy = waterfall.get("useful", 0) + waterfall.get("underfill", 0)
        return KernelTrace(
            name, (name, f"{name}.relu"), "matmul", start, sum(waterfall.values()), macs, busy,
            waterfall.get("vector", 0), dram, dram // 4, 0, 5000, 1000, 8000, 640, 12, cores,
            70_000 if name == "conv1" else 30_000, parts,
        )  # fmt: skip

    def make(chip: str = "edge-npu-16", *, dtype: str = "int8", batch: int = 1, cores: int = 1) -> Trace:
        first = kernel("conv1", 0, {"useful": 100, "underfill": 800, "fill": 100}, macs=25_600, cores=cores, dram=4000)
        parts = {"useful": 1000, "underfill": 500, "memory": 1400, "vector": 100}
        second = kernel("fc1", 1000, parts, macs=256_000, cores=cores, dram=20_000)
        model = Model("tiny", "ab" * 32, 281_600 * cores, 7000, batch, ("inputs are quantized by the host",))
        return Trace("tiny", Chip.load(chip), dtype, "estimate", "", model, (first, second))

    return make
