"""The order of things, and the only place that knows it: model -> Graph -> Plan -> Program -> Trace -> Report.

In: what a user names. Out: nouns. Each function is a few calls; `watch(name, noun)` sees every noun on its way, which
is what `--emit`, debugging and the docs use. Nothing here decides anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from onchip import __version__
from onchip.chip import Chip, chip_dtype
from onchip.errors import NotSupported
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.plan import Plan
from onchip.ir.program import Model, Program
from onchip.ir.report import Report
from onchip.ir.trace import RunTrace, Trace
from onchip.lowering.lower import lower
from onchip.passes import quantize as int8
from onchip.passes.cast import float_dtype
from onchip.passes.express import express
from onchip.passes.fold import fold, forget_weights
from onchip.passes.qdq import is_paired
from onchip.passes.rounding import round_as
from onchip.planner.plan import plan
from onchip.planner.tile import EFFORT
from onchip.reports.summary import summarize
from onchip.simulator.clock import MAX_EVENTS, estimate_cycles, record_events, simulate_cycles
from onchip.simulator.energy import energy

if TYPE_CHECKING:
    from onchip.forecast.traffic import Start
    from onchip.ir.check import Check
    from onchip.ir.comparison import Comparison
    from onchip.ir.forecast import Forecast

FLOAT_NAMES = {"fp32": "f32", "fp16": "f16"}  # chip files spell these two as vendors do
Watch = Callable[[str, Any], None]
Samples = Sequence[Mapping[str, NDArray[Any]]]
INTEGERS_WITHOUT_PROGRAMS = ("int4", "int16")
CHIP_ROUNDING = "chip"  # the value of `rounding` that rewrites a graph to what the chip offers

__all__ = [
    "check",
    "compare",
    "compile",
    "compile_graph",
    "estimate",
    "estimate_trace",
    "evaluate",
    "expect",
    "forecast",
    "quantize",
    "read",
    "record",
    "report",
    "simulate",
]


def _nothing(_name: str, _noun: Any) -> None:
    """Watch nothing."""


def read(
    model: Any, example: Any = None, *, batch: int | None = None, shapes: Mapping[str, Sequence[int]] | None = None,
    weights: str | None = None,
) -> Graph:  # fmt: skip
    """Return the Graph of a model: `@name` of the zoo, a path, `package.module:factory`, or a module with inputs.

    `shapes` gives inputs of an ONNX file their shapes, where it leaves dimensions open that have to be numbers.
    """
    if isinstance(model, str) and model.startswith("@"):
        graph = importlib.import_module("onchip.zoo.catalog").build(model[1:], weights=weights)
    else:
        graph = importlib.import_module("onchip.frontends.read").read(model, example, batch=batch, shapes=shapes)
    return graph.bind(batch=batch) if batch is not None and "batch" in graph.symbols else graph


def quantize(
    graph: Graph, samples: Samples | None, *, method: str = "minmax", percentile: float | None = None,
    per_channel: bool = True, keep_float: Collection[str] = (), int16: Collection[str] = (),
    rounding: str = "single",
) -> Graph:  # fmt: skip
    """Return the int8 graph of a float graph, folded first; see `passes.quantize` for methods and errors."""
    return int8.quantize(
        fold(graph), samples, method=method, percentile=percentile, per_channel=per_channel, keep_float=keep_float,
        int16=int16, rounding=rounding,
    )  # fmt: skip


def compile_graph(
    graph: Graph, chip: Chip, *, samples: Samples | None = None, dtype: str | None = None, rounding: str | None = None,
    with_weights: bool = True, watch: Watch = _nothing,
) -> Graph:  # fmt: skip
    """Return the graph that the chip runs: folded, int8 (quantized here unless it comes so) or of the float dtype.

    Without weights, those of products become unknown behind the folding: layers of one shape then look the same.
    """
    folded = fold(bind_batch(graph) if samples is None else graph)  # samples may come in any number at once
    folded = folded if with_weights else forget_weights(folded)
    watch("fold", folded)
    refuse_int16(folded)
    wanted = dtype_of(graph, chip, dtype)
    chip.matrix.array(wanted, chip.name)
    if wanted in INTEGERS_WITHOUT_PROGRAMS:
        hint = "Name another dtype of the chip, or another chip: onchip chips"
        raise NotSupported("OC1339", chip.name, f"arithmetic in {wanted}", limit="Programs are in int8", next=hint)
    if wanted == "int8":
        mode = chip.rounding.modes[0] if rounding in (None, CHIP_ROUNDING) else rounding
        made = (
            folded if is_quantized(folded) and not is_paired(folded) else int8.quantize(folded, samples, rounding=mode)
        )
        made = fold(bind_batch(made))
        made = round_as(made, chip.rounding.modes) if rounding == CHIP_ROUNDING else made
        check_rounding(made, chip)
        made = express(made)
    else:
        made = express(float_dtype(bind_batch(folded), FLOAT_NAMES.get(wanted, wanted)))
    watch("graph", made)
    return made


def bind_batch(graph: Graph) -> Graph:
    """Bind a batch that is still a symbol to 1."""
    symbols = {d for name in graph.inputs for d in graph.tensor(name).shape if isinstance(d, str)}
    return graph.bind(batch=1) if "batch" in symbols else graph


def is_quantized(graph: Graph) -> bool:
    """Return whether some activation of the graph is int8 already."""
    return any(t.dtype == "i8" and t.quantization is not None and t.constant is None for t in graph.tensors)


def dtype_of(graph: Graph, chip: Chip, dtype: str | None) -> str:
    """Return the dtype of a run: asked for, the quantized graph's own, or the chip's default."""
    if dtype is not None:
        return chip_dtype(dtype)
    return "int8" if is_quantized(graph) else chip.default_dtype


def refuse_int16(graph: Graph) -> None:
    """Refuse a graph of int16 activations: `evaluate` runs it, no chip's program does yet. Raises NotSupported."""
    for node in graph.nodes:
        tensor = graph.tensor(node.outputs[0])
        angles = all(reader.op == "rotary" for reader in graph.consumers(tensor.name))
        if tensor.dtype == "i16" and tensor.quantization is not None and not (node.op == "quantize" and angles):
            hint = "Quantize the float network to int8, or run the reference: oc.evaluate"
            raise NotSupported("OC1339", node.name, "int16 activations", limit="programs have int8 ones", next=hint)


def check_rounding(graph: Graph, chip: Chip) -> None:
    """Refuse a graph whose rounding the chip does not have. Raises NotSupported."""
    for node in graph.nodes:
        mode = node.attribute("rounding", chip.rounding.modes[0])
        if mode not in chip.rounding.modes:
            limit = f"chip '{chip.name}' rounds {', '.join(chip.rounding.modes)}"
            hint = f'Rewrite it with rounding="{CHIP_ROUNDING}": outputs may differ by one step'
            raise NotSupported("OC1330", node.name, f"rounding '{mode}'", limit=limit, next=hint)


def compile(
    graph: Graph, chip: Chip | str, *, samples: Samples | None = None, dtype: str | None = None,
    rounding: str | None = None, effort: int = EFFORT, watch: Watch = _nothing,
) -> Program:  # fmt: skip
    """Return the program of a network on a chip, with the constants' bytes. Raises NotSupported, DoesNotFit."""
    chip = Chip.load(chip) if isinstance(chip, str) else chip
    if chip.evidence == "estimate":
        is_known = chip.geometry == "published"
        why = f"no program for dataflow {chip.matrix.dataflow}" if is_known else "array and dataflow unpublished"
        fact = f"{why}; estimate only"
        raise NotSupported("OC1331", chip.name, fact, next="Use onchip estimate, or a chip of another evidence level")
    return _program(graph, chip, samples, dtype, rounding, effort, watch, with_data=True)


def _program(
    graph: Graph, chip: Chip, samples: Samples | None, dtype: str | None, rounding: str | None, effort: int, watch:
    Watch, *, with_data: bool,
) -> Program:  # fmt: skip
    ready = prepare(graph, chip, samples=samples, dtype=dtype, rounding=rounding, with_weights=with_data, watch=watch)
    return schedule(ready, chip, effort=effort, with_data=with_data, watch=watch)


@dataclass(frozen=True, slots=True)
class Ready:
    """The graph that a chip runs, what it is told about the network, and the dtype of its products."""

    graph: Graph
    model: Model
    dtype: str


def prepare(
    graph: Graph, chip: Chip, *, samples: Samples | None = None, dtype: str | None = None, rounding: str | None = None,
    with_weights: bool = False, watch: Watch = _nothing,
) -> Ready:  # fmt: skip
    """Return a network as the chip runs it; it is the same for chips that differ in sizes and rates alone."""
    made = compile_graph(
        graph, chip, samples=samples, dtype=dtype, rounding=rounding, with_weights=with_weights, watch=watch
    )
    return Ready(made, _model(graph, made, samples), dtype_of(graph, chip, dtype))


def schedule(
    ready: Ready, chip: Chip, *, effort: int = EFFORT, with_data: bool = False, watch: Watch = _nothing
) -> Program:
    """Return the program of a network that is ready for the chip."""
    exact = _exact_cycles(ready.model) if effort > EFFORT else None
    planned = plan(ready.graph, chip, ready.dtype, effort=effort, exact=exact)
    watch("plan", planned)
    program = lower(planned, ready.model, with_data=with_data)
    watch("program", program)
    return program


def _exact_cycles(model: Model) -> Callable[[Plan], int]:
    """Return what prices a plan by running its program: more effort than the default pays for it (decision 8)."""
    return lambda planned: estimate_cycles(lower(planned, model, with_data=False)).cycles


def _model(graph: Graph, made: Graph, samples: Samples | None) -> Model:
    bound = bind_batch(graph)
    batch = bound.tensor(bound.inputs[0]).shape[0] if bound.inputs and bound.tensor(bound.inputs[0]).shape else 1
    order = "puts inputs in channels-last order; not in the time"
    notes = [f"the host quantizes and {order}" if is_quantized(made) else f"the host {order}"]
    if is_quantized(made) and not is_quantized(graph) and samples is None:
        notes.append("scales are placeholders: no samples were given; they change values, not the schedule")
    return Model(graph.name, bound.hash, bound.macs(), bound.parameters(), int(batch), tuple(notes))


def estimate_trace(
    graph: Graph, chip: Chip | str, *, dtype: str | None = None, effort: int = EFFORT, watch: Watch = _nothing
) -> Trace:
    """Return the exact cycles of our program for a network on a chip, from shapes and dtypes alone."""
    chip = Chip.load(chip) if isinstance(chip, str) else chip
    program = _program(graph, chip, None, dtype, None, effort, watch, with_data=False)
    trace = estimate_cycles(program)
    watch("trace", trace)
    return trace


def estimate(
    graph: Graph, chip: Chip | str, *, dtype: str | None = None, effort: int = EFFORT, watch: Watch = _nothing
) -> Report:
    """Return the report of a network on a chip: latency, energy, memory, and where the time goes.

    The numbers are those of our program; `report.silicon` is what the vendor's own is expected to take, None where the
    silicon runs ours, or where an op has no forecast (an assumption says so).
    """
    chip = Chip.load(chip) if isinstance(chip, str) else chip
    ours = report(estimate_trace(graph, chip, dtype=dtype, effort=effort, watch=watch))
    if chip.toolchain == "onchip":
        return ours
    try:
        return replace(ours, silicon=expect(graph, chip, dtype=dtype, watch=watch))
    except NotSupported as error:
        return replace(ours, assumptions=(*ours.assumptions, f"no forecast for silicon: {error}"))


def expect(graph: Graph, chip: Chip | str, *, dtype: str | None = None, watch: Watch = _nothing) -> Report:
    """Return the report of what the vendor's own program is expected to take on silicon. Raises NotSupported."""
    from onchip.reports.silicon import summarize_forecast

    return summarize_forecast(forecast(graph, chip, dtype=dtype, watch=watch))


def forecast(
    graph: Graph, chip: Chip | str, *, dtype: str | None = None, start: Start = "warm", zeros: float | None = None,
    watch: Watch = _nothing,
) -> Forecast:  # fmt: skip
    """Return what the vendor's own program is expected to take on silicon, from shapes and dtypes alone.

    `zeros` is the share of activations that are zero, for chips that code or skip them; None where it is not known.
    """
    from onchip.forecast.forecast import forecast as price_kernels

    chip = Chip.load(chip) if isinstance(chip, str) else chip
    bound, told = bind_batch(graph), "shapes and dtypes alone; inputs and outputs lie in far memory"
    model = replace(_model(graph, bound, None), assumptions=(told,))
    made = price_kernels(fold(bound), chip, dtype_of(graph, chip, dtype), start=start, zeros=zeros, model=model)
    watch("forecast", made)
    return made


@overload
def simulate(
    program: Program, inputs: None = None, *, events: bool = ..., progress: Callable[[int, int], None] | None = ...
) -> Trace: ...


@overload
def simulate(
    program: Program, inputs: Mapping[str, NDArray[Any]], *, events: bool = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> RunTrace: ...  # fmt: skip


def simulate(
    program: Program, inputs: Mapping[str, NDArray[Any]] | None = None, *, events: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Trace | RunTrace:  # fmt: skip
    """Play every instruction; with inputs also run the values, bit for bit."""
    trace = simulate_cycles(program, events=events, progress=progress)
    if inputs is None:
        return trace
    return importlib.import_module("onchip.simulator.values").run_values(program, inputs, trace)


def record(program: Program, trace: Trace, *, limit: int = MAX_EVENTS) -> Trace:
    """Return a trace of the program with events: those of the first kernels, whole, at most `limit`."""
    return record_events(program, trace, limit=limit)


def report(trace: Trace) -> Report:
    """Return the report of a trace."""
    return summarize(trace, energy(trace))


def compare(graph: Graph, chips: Sequence[Chip | str], *, dtype: str | None = None) -> Comparison:
    """Return a report per chip, fastest first: what its silicon is expected to take."""
    from onchip.ir.comparison import Comparison

    loaded = [Chip.load(chip) if isinstance(chip, str) else chip for chip in chips]
    reports = [on_silicon(graph, chip, dtype=dtype) for chip in loaded]
    return Comparison(sorted(reports, key=lambda r: (r.latency_s.value, r.chip_name)))


def on_silicon(graph: Graph, chip: Chip, *, dtype: str | None = None, effort: int = EFFORT) -> Report:
    """Return what silicon is expected to take: our program's report where it runs ours, else the vendor's."""
    if chip.toolchain == "onchip":
        return estimate(graph, chip, dtype=dtype, effort=effort)
    return expect(graph, chip, dtype=dtype)


def check(graph: Graph, chip: Chip | str, *, dtype: str | None = None) -> Check:
    """Return where each node runs on a chip and every refusal, not the first alone."""
    from onchip.claims import Scene, place_nodes
    from onchip.ir.check import Cause, Check
    from onchip.probe import probe

    chip = Chip.load(chip) if isinstance(chip, str) else chip
    wanted, bound = dtype_of(graph, chip, dtype), bind_batch(graph)
    chip.matrix.array(wanted, chip.name)
    model, folded = _model(graph, bound, None), fold(bound)

    def arithmetic(whole: Graph) -> Graph:
        if wanted != "int8" or not is_quantized(folded):
            return compile_graph(whole, chip, dtype=wanted)
        refuse_int16(whole)
        check_rounding(whole, chip)
        return express(whole)

    def planned(made: Graph) -> Plan:
        found = plan(made, chip, wanted)
        lower(found, model, with_data=False)
        return found

    found = probe(folded, arithmetic, planned)
    nodes = place_nodes(Scene(bound, folded, found, chip))
    return Check(model, chip, wanted, nodes, tuple(map(Cause.of, found.network)), f"onchip {__version__}")
