"""Predictions: what a chip's forecast says for a row, in the row's own metric.

In:       measurements, in any order.
Out:      for each a `Prediction`, or the reason why there is none.
Promises: all numbers are the forecast's; an op without a price is refused by name, and our own program stands for none.
          rows of the same chip, work and dtype are priced once; the result of a row does not depend on other rows.
          device = launches in the graph included; host = device behind a framework's call (silicon/host.py), or
          + `launch.host` of the chip file for each kernel, or the `empty_kernel_us` of the row in the place of all
          launches; end_to_end = device + inputs and outputs over the host link, where the chip file has one.
          Energy and power are per inference and over the whole time; a chip without an energy table is refused.
Does not: fit anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from onchip import pipeline
from onchip.chip import Chip, chip_dtype
from onchip.errors import DoesNotFit, InternalError, NotSupported, OnchipError, UnknownName, did_you_mean
from onchip.forecast.forecast import forecast
from onchip.forecast.traffic import Start
from onchip.ir.forecast import Forecast
from onchip.ir.graph import Graph
from onchip.ir.program import Model
from onchip.passes.fold import fold
from onchip.silicon.bounds import Work, tensor_bytes, work_of
from onchip.silicon.host import timed_on_host_s
from onchip.silicon.measurements import Measurement
from onchip.silicon.workloads import draw, work_key
from onchip.units import format_value

TIMINGS = ("device", "host", "end_to_end")
TIME_METRICS = ("latency_ms", "throughput_per_s", "tops")
ENERGY_METRICS = ("energy_mj", "power_w")
METRICS = (*TIME_METRICS, *ENERGY_METRICS, "dram_mb", "glb_mb")
UNSURE = 100  # times an assumed size of far memory, and nobody has measured what needs more
Key = tuple[str, str, tuple[tuple[str, str], ...], str, str, str, float | None]


@dataclass(frozen=True, slots=True)
class Case:
    """What a row asks for, whatever the numbers of its chip are: drawn and folded once."""

    measurement: Measurement
    graph: Graph  # folded, its batch a number
    start: Start
    work: Work
    edge_bytes: int
    told: Model


@dataclass(frozen=True, slots=True)
class Run:
    """One network on one chip: seconds on the device, what it moves, its kernels, its energy, its work."""

    chip: Chip
    device_s: float
    n_kernels: int
    dram_bytes: float
    on_chip_bytes: float  # through the memory that cores share, or the local ones
    energy_j: float | None  # of the whole run; None: no table for the dtype
    bound: str
    work: Work
    edge_bytes: int

    @property
    def launch_s(self) -> float:
        """The launches that are inside of the device time."""
        return self.n_kernels * float(self.chip.launch.in_graph_s)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A row's prediction and baselines, in its metric; `bound` is what most of the predicted time goes to."""

    measurement: Measurement
    value: float
    roofline: float | None
    simple: float | None
    bound: str

    @property
    def error(self) -> float:
        """The signed relative error."""
        return self.value / self.measurement.value - 1

    @property
    def beats_bound(self) -> bool:
        """Whether the measured number is better than the roofline with everything in far memory."""
        if self.roofline is None or self.measurement.metric not in TIME_METRICS:
            return False
        is_time = self.measurement.metric == "latency_ms"
        return self.measurement.value < self.roofline if is_time else self.measurement.value > self.roofline


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be predicted, and why."""

    measurement: Measurement
    reason: str


def _as_it_is(chip: Chip) -> Chip:
    return chip


@dataclass(frozen=True, slots=True)
class Memo:
    """What one call of `predict` has priced and loaded."""

    runs: dict[Key, Run | OnchipError]
    chips: dict[str, Chip]
    folder: str
    change: Callable[[Chip], Chip]


def predict(
    measurements: Iterable[Measurement], folder: str = "", *, change: Callable[[Chip], Chip] = _as_it_is
) -> tuple[Prediction | Refusal, ...]:
    """Return a prediction or a refusal for each row, in order; model files are looked for in `folder` as well.

    `change` is done to each chip before anything is priced.
    """
    memo, rows = Memo({}, {}, folder, change), tuple(measurements)
    alike = sorted(range(len(rows)), key=lambda at: (rows[at].workload, rows[at].params))  # each graph is drawn once
    made = {at: _predicted(rows[at], memo) for at in alike}
    return tuple(made[at] for at in range(len(rows)))


def case_of(row: Measurement, chip: Chip, folder: str = "") -> Case:
    """Return what a row asks for. Raises OnchipError where a word, the dtype or the workload is unknown."""
    _check_words(row)
    chip.matrix.array(row.dtype, chip.name)
    dtype = chip_dtype(row.dtype)
    graph, folded, told = _drawn(row.workload, row.params, folder)
    edges = [graph.tensor(name) for name in dict.fromkeys((*graph.inputs, *graph.outputs))]
    edge_bytes = sum(tensor_bytes(tensor, dtype) for tensor in edges)
    return Case(row, folded, _start(row), work_of(graph, dtype), edge_bytes, told)


@functools.lru_cache(maxsize=16)
def _drawn(workload: str, params: tuple[tuple[str, str], ...], folder: str) -> tuple[Graph, Graph, Model]:
    """Return the graph of a row, the same folded, and its counts; of the last rows each is drawn once."""
    graph = pipeline.bind_batch(draw(workload, params, folder))
    return graph, fold(graph), Model(graph.name, graph.hash, graph.macs(), graph.parameters())


def closed_form(case: Case, chip: Chip) -> Forecast:
    """Return the forecast of a case. Raises NotSupported."""
    return forecast(
        case.graph, chip, case.measurement.dtype, start=case.start, zeros=_zeros(case.measurement), model=case.told
    )


def timed(case: Case, chip: Chip) -> Prediction:
    """Return the prediction of a row of time from its forecast alone. Raises NotSupported."""
    return _as_metric(case.measurement, _run(case, chip, closed_form(case, chip)))


def _predicted(row: Measurement, memo: Memo) -> Prediction | Refusal:
    try:
        return _as_metric(row, _priced(row, memo))
    except OnchipError as error:
        return Refusal(row, str(error))
    except Exception as error:  # a bug of ours in one row costs that row, and is told as what it is
        fact = f"internal error: {type(error).__name__}: {error}"[:400]
        return Refusal(row, str(InternalError("OC9099", row.workload, fact)))


def _priced(row: Measurement, memo: Memo) -> Run:
    """Return the run of a row, priced once for all rows of the same work. Raises OnchipError."""
    key = (row.chip, row.workload, work_key(row.params), row.dtype, row.timing, row.metric, _zeros(row))
    if key not in memo.runs:
        try:
            chip = _chip(row.chip, memo)
            case = case_of(row, chip, memo.folder)
            _check_fits(case, chip)
            memo.runs[key] = _run(case, chip, closed_form(case, chip))
        except OnchipError as error:
            memo.runs[key] = error
    found = memo.runs[key]
    if isinstance(found, OnchipError):
        raise found
    return found


def _check_words(row: Measurement) -> None:
    """Refuse metrics and timings that we do not know. Raises NotSupported."""
    for word, known, what in ((row.metric, METRICS, "metric"), (row.timing, TIMINGS, "timing")):
        if word not in known:
            hint = did_you_mean(word, known) or f"There are {', '.join(known)}"
            raise NotSupported("OC1505", what, f"'{word}' is no {what} that is predicted", next=hint)


def _check_fits(case: Case, chip: Chip) -> None:
    """Refuse what needs more bytes than the chip's far memory has; an assumed size may be wrong. Raises DoesNotFit."""
    needed, size = case.work.bytes, chip.dram.size_bytes * (UNSURE if "dram.size" in chip.assumed else 1)
    if needed > size:
        fact = f"weights, inputs and outputs are {format_value(needed, 'B')} in {case.measurement.dtype}"
        limit = f"Far memory of '{chip.name}' has {format_value(size, 'B')}"
        raise DoesNotFit("OC2001", case.measurement.workload, fact, limit=limit)


def _chip(name: str, memo: Memo) -> Chip:
    """Return a chip, loaded and changed once. Raises UnknownName, BadFile."""
    if name not in memo.chips:
        if name.partition("?")[0] not in Chip.names() and not name.endswith(".toml"):
            hint = did_you_mean(name[:80], Chip.names()) or "List them with onchip chips"
            raise UnknownName("OC1001", "chip", f"no chip is named '{name[:80]}'", next=hint)
        memo.chips[name] = memo.change(Chip.load(name))
    return memo.chips[name]


def _run(case: Case, chip: Chip, made: Forecast) -> Run:
    energy = None if made.energy is None else made.energy.total_j
    times = (made.device_s, made.launches, made.dram_bytes)
    return Run(chip, *times, made.near_bytes or 0.0, energy, made.bound, case.work, case.edge_bytes)


def _start(row: Measurement) -> Start:
    """Return what lies on the chip: kernels timed on the device read their weights cold, all others repeat a run."""
    return "activations" if row.timing == "device" and row.workload not in ("network", "layer") else "warm"


def _zeros(row: Measurement) -> float | None:
    text = dict(row.params).get("input_zeros_pct")
    return None if text is None else float(text) / 100


def _as_metric(row: Measurement, run: Run) -> Prediction:
    roofline_s, simple_s = run.work.roofline_s(run.chip, row.dtype), _simple_s(row, run)
    value, roofline, simple = 0.0, None, None
    if row.metric in TIME_METRICS:
        value, roofline, simple = (_timed(row, run, s) for s in (_seconds(row, run), roofline_s, simple_s))
    elif row.metric in ENERGY_METRICS:
        value = _energetic(row, run)
    elif row.metric == "dram_mb":
        value, roofline = run.dram_bytes / 1e6, run.work.bytes / 1e6
    else:
        value = run.on_chip_bytes / 1e6
    if value <= 0:
        raise NotSupported("OC1505", row.workload, f"the {row.metric} of this program is 0")
    return Prediction(row, value, roofline, simple, run.bound)


def _timed(row: Measurement, run: Run, seconds: float) -> float:
    """Return seconds as a metric of time. Raises NotSupported."""
    if row.metric == "latency_ms":
        return seconds * 1e3
    if not seconds or (row.metric == "tops" and not run.work.macs):
        raise NotSupported("OC1505", row.workload, f"no {row.metric}: there are no products, or they take no time")
    return run.work.batch / seconds if row.metric == "throughput_per_s" else 2 * run.work.macs / seconds / 1e12


def _seconds(row: Measurement, run: Run) -> float:
    device = run.device_s
    if row.timing == "end_to_end":
        link = run.chip.host
        return device + (run.edge_bytes / link.bandwidth_bytes_per_s if link is not None else 0.0)
    if row.timing == "host":
        empty = _empty_kernel_s(row)
        if empty is not None:
            return device - run.launch_s + empty
        launch = float(run.chip.launch.host_s)
        return device + run.n_kernels * launch if launch else timed_on_host_s(row, device)
    return device


def _simple_s(row: Measurement, run: Run) -> float:
    launch = run.chip.launch
    in_graph, host = float(launch.in_graph_s), float(launch.host_s)
    empty = _empty_kernel_s(row)
    floor = in_graph if row.timing != "host" else empty if empty is not None else in_graph + host
    return run.work.simple_s(run.chip, row.dtype, floor)


def _empty_kernel_s(row: Measurement) -> float | None:
    text = dict(row.params).get("empty_kernel_us")
    return None if text is None else float(text) * 1e-6


def _energetic(row: Measurement, run: Run) -> float:
    """Return millijoules per inference, or watts. Raises NotSupported."""
    if run.energy_j is None:
        fact = f"has no energy table for {row.dtype}"
        raise NotSupported("OC1505", run.chip.name, fact, next="Add [energy] to the chip file")
    return run.energy_j / run.device_s if row.metric == "power_w" else run.energy_j * 1e3 / run.work.batch
