"""`compile` and `run`: a network becomes a program, and the program runs on the simulated chip.

In:       what the user asked for, inputs and calibration samples from .npz or .npy files.
Out:      texts, JSON, a listing, output values.
Promises: every output value is compared with the integer reference, and a difference ends with exit code 5; random
          weights and random inputs are named among the assumptions.
Does not: run values of float programs; they are timed, and the report says that no values ran.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from onchip.cli.options import Request, bind, load_chip, load_graph
from onchip.cli.output import replacing, show, show_json, write_file
from onchip.cli.price import publish
from onchip.errors import BadFile, Mismatch, UnknownName, UsageError, did_you_mean
from onchip.units import format_value

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.ir.graph import Graph
    from onchip.ir.program import Program
    from onchip.ir.report import Report

Arrays = dict[str, NDArray[Any]]
EMITTED = ("fold", "graph", "plan", "program")
NUMPY = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "u8": np.uint8, "i32": np.int32, "i64": np.int64}
RANDOM_SAMPLES = 4


def compile(
    request: Request,
    chip_name: str,
    sets: list[str] | None,
    *,
    samples: Path | None,
    emit: str | None,
    as_json: bool,
    output: Path | None,
    quiet: bool,
) -> None:
    """Compile a network and say what the program is; `emit` prints the noun of that name instead."""
    if emit is not None and emit not in EMITTED:
        hint = did_you_mean(emit, EMITTED)
        raise UsageError(
            "OC1008", "--emit", f"nothing is named '{emit}'", limit=f"There are {', '.join(EMITTED)}", next=hint
        )
    chip = load_chip(chip_name, sets)
    graph = bind(load_graph(request, weights=weights_of(request)), request)
    seen: dict[str, Any] = {}
    program = _compile(graph, chip, request, _calibration(graph, samples), seen)
    if output is not None:
        write_file(output, str(program))
    if emit is not None:
        print(str(seen[emit]), end="")
    elif as_json:
        show_json(_program_json(program, request))
    else:
        lines = _program_lines(program, request, chip_name)
        show(lines[0] if quiet else "\n".join(lines))


def weights_of(request: Request) -> str | None:
    """Return how the constants come: random for networks of the zoo, their own otherwise."""
    return "random" if request.model.startswith("@") else None


def _compile(graph: Graph, chip: Chip, request: Request, samples: list[Arrays] | None, seen: dict[str, Any]) -> Program:
    from onchip import pipeline

    return pipeline.compile(graph, chip, samples=samples, dtype=request.dtype, watch=seen.__setitem__)


def _program_lines(program: Program, request: Request, chip_name: str) -> list[str]:
    made = _program_json(program, request)
    size = f"{made['kernels']} kernels, {sum(made['instructions'].values())} instructions"
    streams = " · ".join(f"{name} {count}" for name, count in made["instructions"].items())
    return [
        f"{program.name} compiled for {program.chip.name} in {program.dtype}: {size}.",
        f"Next:  onchip run {request.model} --chip {chip_name}   (runs it, checked bit for bit)",
        "",
        f"  instructions  {streams}",
        f"  constants     {format_value(made['constant_bytes'], 'B')}",
        f"  far memory    {format_value(made['far_memory_bytes'], 'B')}",
        f"  program hash  {program.hash}",
        *([f"  weights       {RANDOM_WEIGHTS}"] if weights_of(request) else []),
    ]


RANDOM_WEIGHTS = "weights are random (seed 0): the zoo has none"


def _program_json(program: Program, request: Request) -> dict[str, Any]:
    from onchip.isa import STREAMS

    counts = {name: len(records) for name, records in zip(STREAMS, program.streams, strict=True)}
    return {
        "model": {"name": program.model.name, "hash": program.model.hash},
        "chip": {"name": program.chip.name, "hash": program.chip.hash, "evidence": program.chip.evidence},
        "dtype": program.dtype,
        "batch": program.model.batch,
        "kernels": len(program.kernels),
        "instructions": counts,
        "constant_bytes": sum(region.n_bytes for region in program.regions if region.kind == "constant"),
        "far_memory_bytes": program.far_bytes,
        "program_hash": program.hash,
        "weights": weights_of(request) or "given",
    }


def run(
    request: Request,
    chip_name: str,
    sets: list[str] | None,
    files: tuple[Path | None, Path | None, Path | None],
    *,
    seed: int,
    as_json: bool,
    output: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compile and run a network, compare its outputs with the reference, and print the report. Raises Mismatch."""
    begin = time.perf_counter()
    chip = load_chip(chip_name, sets)
    opened = load_graph(request, weights=weights_of(request))
    inputs_file, samples_file, outputs_file = files
    given = _read_arrays(inputs_file, opened) if inputs_file is not None else None
    graph = bind(opened, _with_batch_of(given, opened, request))
    graph = graph.bind(batch=1) if "batch" in graph.symbols else graph
    inputs = given if given is not None else random_inputs(graph, seed)
    _check_shapes(graph, inputs)
    report, outputs = _execute(graph, chip, request, inputs, _calibration(graph, samples_file, inputs))
    notes = [RANDOM_WEIGHTS] if weights_of(request) else []
    notes += [f"inputs are random (seed {seed})"] if given is None else []
    report = replace(report, assumptions=(*notes, *report.assumptions))
    if outputs_file is not None and outputs:
        with replacing(outputs_file) as beside, beside.open("wb") as file:
            cast("Any", np.savez)(file, **outputs)
    publish(report, spent=time.perf_counter() - begin, as_json=as_json, output=output, quiet=quiet, verbose=verbose)
    if report.bit_exact is False:
        raise Mismatch("OC3001", request.model, "outputs differ from the integer reference", next="Report it as a bug")


def _execute(
    graph: Graph, chip: Chip, request: Request, inputs: Arrays, samples: list[Arrays] | None
) -> tuple[Report, Arrays]:
    """Return the report and the outputs; float programs have none."""
    from onchip import pipeline
    from onchip.ir.trace import RunTrace

    seen: dict[str, Any] = {}
    program = _compile(graph, chip, request, samples, seen)
    trace = pipeline.simulate(program, inputs if program.dtype == "int8" else None)
    report = pipeline.report(trace)
    if not isinstance(trace, RunTrace):
        note = f"no values ran: {program.dtype} programs are timed only"
        return replace(report, assumptions=(note, *report.assumptions)), {}
    outputs = dict(trace.outputs)
    return replace(report, bit_exact=same_bits(outputs, pipeline.evaluate(seen["graph"], inputs))), outputs


def same_bits(outputs: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether both have the same names, types and values."""
    if outputs.keys() != expected.keys():
        return False
    pairs = [(outputs[name], expected[name]) for name in outputs]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def random_inputs(graph: Graph, seed: int) -> Arrays:
    """Return normal numbers for float inputs, small integers for integer ones."""
    random = np.random.default_rng(seed)
    made: Arrays = {}
    for name in graph.inputs:
        tensor = graph.tensor(name)
        shape = tuple(int(d) for d in tensor.shape)
        if tensor.dtype in ("f32", "f16"):
            made[name] = random.standard_normal(shape).astype(NUMPY[tensor.dtype])
        elif tensor.dtype == "bool":
            made[name] = np.ones(shape, np.bool_)
        else:
            made[name] = random.integers(0, 100, shape).astype(NUMPY.get(tensor.dtype, np.int32))
    return made


def _calibration(graph: Graph, path: Path | None, inputs: Arrays | None = None) -> list[Arrays]:
    """Return the samples of a file, else the inputs, else random ones."""
    if path is not None:
        samples = _read_arrays(path, graph)
        _check_shapes(graph, samples, any_batch=True)
        return [samples]
    if inputs is not None:
        return [inputs]
    bound = graph.bind(batch=1) if "batch" in graph.symbols else graph
    return [random_inputs(bound, seed) for seed in range(RANDOM_SAMPLES)]


def _with_batch_of(given: Arrays | None, graph: Graph, request: Request) -> Request:
    """Let the inputs decide the batch where the command does not."""
    if given is None or request.batch is not None or "batch" not in graph.symbols:
        return request
    for name in graph.inputs:
        shape = graph.tensor(name).shape
        if "batch" in shape and name in given and given[name].ndim == len(shape):
            return replace(request, batch=int(given[name].shape[shape.index("batch")]))
    return request


def _read_arrays(path: Path, graph: Graph) -> Arrays:
    """Read one array per input of the network. Raises BadFile, UnknownName."""
    try:
        loaded = np.load(path, allow_pickle=False)
        found: Arrays = dict(loaded) if not isinstance(loaded, np.ndarray) else {graph.inputs[0]: loaded}
    except Exception as error:
        text = " ".join(str(error).split())[:160]
        raise BadFile("OC1421", str(path), f"cannot be read: {text}", next="Write it with numpy.savez") from None
    for name in found:
        if name not in graph.inputs:
            hint = did_you_mean(name, graph.inputs) or f"Inputs: {', '.join(graph.inputs)}"
            raise UnknownName("OC1421", str(path), f"the network has no input '{name}'", next=hint)
    missing = [name for name in graph.inputs if name not in found]
    if missing:
        raise BadFile("OC1421", str(path), f"has no array '{missing[0]}'", limit=f"It has {', '.join(found) or 'none'}")
    return {name: _as_dtype(found[name], graph.tensor(name).dtype) for name in graph.inputs}


def _as_dtype(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    wanted = NUMPY.get(dtype)
    return array.astype(wanted) if wanted is not None and array.dtype != wanted else array


def _check_shapes(graph: Graph, arrays: Arrays, *, any_batch: bool = False) -> None:
    for name in graph.inputs:
        shape, got = graph.tensor(name).shape, arrays[name].shape
        fits = len(shape) == len(got) and all(
            isinstance(want, str) or want == have or (any_batch and axis == 0)
            for axis, (want, have) in enumerate(zip(shape, got, strict=True))
        )
        if not fits:
            limit = f"The network takes {list(shape)}"
            raise BadFile(
                "OC1421", name, f"the array has shape {list(got)}", limit=limit, next="See onchip inspect MODEL"
            )
