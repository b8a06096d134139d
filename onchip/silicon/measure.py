"""`measure`: a network run for real on the machine at hand, beside what the forecast says of it.

In:       a folded Graph, something that runs it kernel by kernel (silicon/run_torch.py), a Chip, a budget of seconds.
Out:      `Measured`: for each kernel the fastest and the median time and the predicted one, and their sums.
Promises: the time of a kernel is the fastest of all runs, since what else runs on the machine only adds to it; kernels
          that did not run are listed with the reason and are in no sum. Prediction and measurement are of the same
          kernels: those of the forecast.
Does not: probe (silicon/probes.py), or change the chip after it saw the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from statistics import median
from typing import Protocol

from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.forecast import Forecast
from onchip.ir.graph import Graph
from onchip.silicon.desk import Desk
from onchip.silicon.probes import Runner, far_bytes
from onchip.silicon.scores import percentile
from onchip.units import format_value

LEAST_RUNS, MOST_RUNS = 5, 200
DTYPES = ("fp32", "bf16", "fp16")
WORD_BYTES, COPIES = 4, 2  # weights are drawn in fp32 and packed once more


class Network(Protocol):
    """Runs a network once; seconds of each kernel of the forecast, in its order."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def reasons(self) -> Mapping[str, str]: ...

    def run(self) -> list[float]: ...


class Machine(Runner, Protocol):
    """The machine at hand through one runtime: it runs probes, and networks."""

    @property
    def name(self) -> str: ...

    def network(self, graph: Graph, dtype: str) -> Network: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel, seconds."""

    name: str
    op: str
    measured_s: float  # of the fastest run
    median_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """The signed relative error."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A network on the machine at hand: rows, whole runs, and what did not run."""

    forecast: Forecast
    rows: tuple[Row, ...]
    refused: tuple[tuple[str, str], ...]  # kernel, reason
    runs: int
    fastest_run_s: float
    median_run_s: float

    @property
    def measured_s(self) -> float:
        """The sum of the fastest times of all kernels."""
        return sum(row.measured_s for row in self.rows)

    @property
    def predicted_s(self) -> float:
        return sum(row.predicted_s for row in self.rows) + self.forecast.per_run_s

    @property
    def error(self) -> float:
        """The signed relative error of the sum."""
        return self.predicted_s / self.measured_s - 1

    def errors(self) -> tuple[float, float]:
        """Return median and 90th percentile of the |error| of kernels."""
        found = sorted(abs(row.error) for row in self.rows)
        return median(found), percentile(found, 90)


def at_hand(threads: int | None = None, budget_s: float = 0.0) -> Machine:
    """Return the machine through PyTorch, or ONNX Runtime where that is absent. Raises NotSupported (OC1014)."""
    if find_spec("torch") is not None:
        from onchip.silicon.probe_torch import TorchRunner

        return TorchRunner(budget_s=budget_s, threads=threads)
    from onchip.silicon.probe_onnx import OnnxRunner

    return OnnxRunner(budget_s=budget_s, threads=threads)


def check(graph: Graph, dtype: str, desk: Desk, *, is_probed: bool) -> None:
    """Refuse what this machine does not run or hold. Raises NotSupported (OC1510), DoesNotFit (OC2004)."""
    if dtype not in DTYPES or any(t.quantization is not None for t in graph.tensors):
        fact, limit = (
            f"cannot be measured in {dtype if dtype not in DTYPES else 'integers'}",
            f"There are {', '.join(DTYPES)}",
        )
        raise NotSupported("OC1510", graph.name, fact, limit=limit, next="Measure the float network")
    activations = sum(_elements(graph, name) for node in graph.nodes for name in node.outputs)
    needs = {graph.name: WORD_BYTES * (COPIES * graph.parameters() + activations)}
    needs |= {"probe memory": far_bytes(desk.last_bytes)} if is_probed else {}
    for what, needed in needs.items():
        if desk.free_bytes and needed > desk.free_bytes:
            fact, limit = (
                f"needs {format_value(needed, 'B')}",
                f"This machine has {format_value(desk.free_bytes, 'B')} free",
            )
            raise DoesNotFit("OC2004", what, fact, limit=limit, next="Close other programs, or use a smaller batch")


def _elements(graph: Graph, name: str) -> int:
    return prod(int(d) for d in graph.tensor(name).shape)


def measure(
    network: Network, made: Forecast, budget_s: float, clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Measured:  # fmt: skip
    """Run a network while the budget lasts, at least LEAST_RUNS times after one that is not counted."""
    network.run()
    begin, runs = clock(), list[list[float]]()
    while len(runs) < LEAST_RUNS or (len(runs) < MOST_RUNS and clock() - begin < budget_s):
        runs.append(network.run())
        progress(len(runs), MOST_RUNS)
    progress(len(runs), len(runs))
    rows = list[Row]()
    for step, name, times in zip(made.steps, network.names, zip(*runs, strict=True), strict=True):
        assert step.name == name
        if name not in network.reasons:
            rows.append(Row(name, step.op, min(times), median(times), step.seconds))
    sums = [sum(run) for run in runs]
    refused = tuple((name, network.reasons[name]) for name in network.names if name in network.reasons)
    return Measured(made, tuple(rows), refused, len(runs), min(sums), median(sums))
