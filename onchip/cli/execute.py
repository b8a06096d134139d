"""`compile` and `run`: a network becomes a program, and the program runs on the simulated chip.

In:       what the user asked for, inputs and calibration samples from .npz or .npy files, or a program file.
Out:      texts, JSON, a program file or listing, output values.
Promises: every output value is compared with the reference; a difference from integers ends with exit code 5, the
          largest one from floats stands among the assumptions, as random weights and random inputs do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from onchip.cli.arrays import Arrays, check_shapes, random_arrays, read_arrays, wanted_by, wanted_by_program
from onchip.cli.options import Request, bind, load_chip, load_graph, settled
from onchip.cli.output import show, show_json, working, write_file
from onchip.cli.price import publish
from onchip.cli.report import is_page, write_page
from onchip.cli.views import Views
from onchip.errors import Mismatch, UsageError, did_you_mean
from onchip.files import replacing
from onchip.ir.report import SCHEMA_VERSION
from onchip.units import format_value

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.ir.graph import Graph
    from onchip.ir.program import Program
    from onchip.ir.report import Report

EMITTED = ("fold", "graph", "plan", "program", "trace")
RANDOM_SAMPLES = 4
RANDOM_WEIGHTS = "weights are random (seed 0): the zoo has none"


@dataclass(frozen=True, slots=True)
class Files:
    """The array files of a run: inputs and samples to read, outputs and a page to write."""

    inputs: Path | None = None
    samples: Path | None = None
    outputs: Path | None = None
    page: Path | None = None


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
        limit = f"There are {', '.join(EMITTED)}"
        hint = did_you_mean(emit, EMITTED)
        raise UsageError("OC1008", "--emit", f"nothing is named '{emit[:40]}'", limit=limit, next=hint)
    request, sets = settled(request, sets)
    chip = load_chip(chip_name, sets)
    graph = bind(load_graph(request, weights=weights_of(request)), request)
    seen: dict[str, Any] = {}
    program = _compile(graph, chip, request, _calibration(graph, samples), seen)
    if output is not None:
        _write_program(program, seen["graph"], output)
    if emit is not None:
        print(_emitted(emit, program, seen), end="")
    elif as_json:
        show_json(_program_json(program, request))
    else:
        lines = _program_lines(program, request, f"{output}" if output is not None else "", chip_name, sets)
        show(lines[0] if quiet else "\n".join(lines))


def _emitted(emit: str, program: Program, seen: Mapping[str, Any]) -> str:
    from onchip import pipeline

    return str(pipeline.simulate(program) if emit == "trace" else seen[emit])


def _write_program(program: Program, reference: Graph, output: Path) -> None:
    from onchip.ir.program_file import save_program

    if output.suffix == ".npz":
        save_program(program, output, reference=reference)
    else:
        write_file(output, str(program))


def weights_of(request: Request) -> str | None:
    """Return how the constants come: random for networks of the zoo, their own otherwise."""
    return "random" if request.model.startswith("@") else None


def _compile(graph: Graph, chip: Chip, request: Request, samples: list[Arrays] | None, seen: dict[str, Any]) -> Program:
    from onchip import pipeline
    from onchip.case import effort_of

    effort = effort_of(request.effort)
    with working(f"{graph.name}: compile for {chip.name}"):
        return pipeline.compile(
            graph, chip, samples=samples, dtype=request.dtype, effort=effort, watch=seen.__setitem__
        )  # fmt: skip


def _program_lines(
    program: Program, request: Request, output: str, chip_name: str, sets: list[str] | None
) -> list[str]:
    made = _program_json(program, request)
    size = f"{made['kernels']} kernels, {sum(made['instructions'].values())} instructions"
    streams = " · ".join(f"{name} {count}" for name, count in made["instructions"].items())
    words = f"{request.words} --chip {chip_name}" + "".join(f" --set {text}" for text in sets or ())
    subject = output if output.endswith(".npz") else words
    check = "runs it, checked bit for bit" if program.dtype == "int8" else "runs it, compared with the float reference"
    return [
        f"{program.name} compiled for {program.chip.name} in {program.dtype}: {size}.",
        f"Next:  onchip run {subject}   ({check})",
        "",
        f"  instructions  {streams}",
        f"  constants     {format_value(made['constant_bytes'], 'B')}",
        f"  far memory    {format_value(made['far_memory_bytes'], 'B')}",
        f"  program hash  {program.hash}",
        *([f"  written to    {output}"] if output else []),
        *([f"  note          {RANDOM_WEIGHTS}"] if weights_of(request) else []),
    ]


def _program_json(program: Program, request: Request) -> dict[str, Any]:
    from onchip import __version__
    from onchip.isa import STREAMS

    counts = {name: len(records) for name, records in zip(STREAMS, program.streams, strict=True)}
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"onchip {__version__}",
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
    chip_name: str | None,
    sets: list[str] | None,
    files: Files,
    views: Views,
    *,
    seed: int,
    as_json: bool,
    output: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Compile and run a network, compare its outputs with the reference, and print the report. Raises Mismatch."""
    from onchip import pages

    begin = time.perf_counter()
    if files.page is not None and not is_page(files.page):
        raise UsageError("OC1008", "--report", "a page is written as .html", next=f"Write {files.page.stem}.html")
    seen: dict[str, Any] = {}
    if _is_program(request.model):
        _refuse_compile_options(request, chip_name, sets, files)
        report, outputs = _run_file(Path(request.model), files.inputs, seed, seen)
        action = "Next:  onchip compile MODEL --chip CHIP -o FILE.npz   (another chip, batch or dtype)"
    else:
        if chip_name is None:
            raise UsageError("OC1008", "onchip run", "Missing option '--chip' / '-c'", next="See onchip run --help")
        request, sets = settled(request, sets)
        report, outputs = _run_model(request, load_chip(chip_name, sets), files, seed, seen)
        action = f"Next:  onchip estimate {request.words} --chip {chip_name}   (what to change, and its gain)"
    if files.outputs is not None and outputs:
        with replacing(files.outputs) as beside, beside.open("wb") as file:
            cast("Any", np.savez)(file, **outputs)
    spent, chip = time.perf_counter() - begin, seen["program"].chip
    if files.page is not None:
        write_page(files.page, pages.page(report, chip, seen))
    publish(
        report, action, spent=spent, as_json=as_json, output=output, quiet=quiet, verbose=verbose, chip=chip, seen=seen,
        views=views,
    )  # fmt: skip
    if report.bit_exact is False:
        raise Mismatch("OC3001", request.model, "outputs differ from the integer reference", next="Report it as a bug")


def _is_program(model: str) -> bool:
    """Tell a program file from a saved network: both end in .npz."""
    from onchip.ir.graph_file import is_graph_file

    return model.endswith(".npz") and not is_graph_file(model)


def _refuse_compile_options(request: Request, chip: str | None, sets: list[str] | None, files: Files) -> None:
    given = {
        "--chip": chip, "--batch": request.batch, "--seq": request.seq, "--shape": request.shapes or None,
        "--dtype": request.dtype, "--set": sets or None, "--samples": files.samples,
        "--effort": None if request.effort == "default" else request.effort,
    }  # fmt: skip
    extra = [option for option, value in given.items() if value is not None]
    if extra:
        fact = f"a program is compiled already, {', '.join(extra)} would have no effect"
        raise UsageError("OC1008", request.model, fact, next="Give these options to onchip compile")


def _run_file(path: Path, inputs_file: Path | None, seed: int, seen: dict[str, Any]) -> tuple[Report, Arrays]:
    from onchip.ir.program_file import load_with_reference

    program, reference = load_with_reference(path)
    wanted = wanted_by(reference) if reference is not None else wanted_by_program(program)
    inputs = read_arrays(inputs_file, wanted) if inputs_file is not None else random_arrays(wanted, seed)
    check_shapes(wanted, inputs)
    report, outputs = execute(program, reference, inputs, seen)
    return _noted(report, [] if inputs_file is not None else [f"inputs are random (seed {seed})"]), outputs


def _run_model(request: Request, chip: Chip, files: Files, seed: int, seen: dict[str, Any]) -> tuple[Report, Arrays]:
    opened = load_graph(request, weights=weights_of(request))
    given = read_arrays(files.inputs, wanted_by(opened)) if files.inputs is not None else None
    graph = bind(opened, _with_batch_of(given, opened, request))
    graph = graph.bind(batch=1) if "batch" in graph.symbols else graph
    inputs = given if given is not None else random_arrays(wanted_by(graph), seed)
    check_shapes(wanted_by(graph), inputs)
    seen["samples"] = _calibration(graph, files.samples, inputs)
    program = _compile(graph, chip, request, seen["samples"], seen)
    report, outputs = execute(program, seen["graph"], inputs, seen)
    notes = [RANDOM_WEIGHTS] if weights_of(request) else []
    return _noted(report, notes + ([f"inputs are random (seed {seed})"] if given is None else [])), outputs


def _noted(report: Report, notes: list[str]) -> Report:
    return replace(report, assumptions=(*notes, *report.assumptions))


def execute(
    program: Program, reference: Graph | None, inputs: Arrays, seen: dict[str, Any] | None = None
) -> tuple[Report, Arrays]:
    """Return the report and the outputs; without reference nothing is compared. `seen` gets the nouns on the way."""
    from onchip import pipeline

    with working(f"{program.name}: run on {program.chip.name}"):
        trace = pipeline.simulate(program, inputs)
    if seen is not None:
        seen |= {"program": program, "trace": trace, "inputs": inputs}
    report, outputs = pipeline.report(trace), dict(trace.outputs)
    if reference is None:
        return _noted(report, ["not compared: the program file has no reference network"]), outputs
    with working(f"{program.name}: compare with the reference"):
        expected = pipeline.evaluate(reference, inputs)
    if program.dtype != "int8":
        return _noted(report, [_distance(outputs, expected, program.dtype)]), outputs
    return replace(report, bit_exact=same_bits(outputs, expected)), outputs


def _distance(outputs: Arrays, expected: Arrays, dtype: str) -> str:
    """Say how far the outputs of a float program are from the float reference, relative to its largest value."""
    errors = [float(np.abs(outputs[n].astype(np.float64) - v).max(initial=0)) for n, v in expected.items()]
    tops = [float(np.abs(v).max(initial=0)) for v in expected.values()]
    worst = max((e / t if t else e for e, t in zip(errors, tops, strict=True)), default=0.0)
    return f"outputs differ from the {dtype} reference by {worst:.2g} of its largest value"


def same_bits(outputs: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether both have the same names, types, shapes and bits."""
    if outputs.keys() != expected.keys():
        return False
    pairs = [(outputs[name], expected[name]) for name in outputs]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def _calibration(graph: Graph, path: Path | None, inputs: Arrays | None = None) -> list[Arrays]:
    """Return the samples of a file, else the inputs, else random ones."""
    if path is not None:
        samples = read_arrays(path, wanted_by(graph))
        check_shapes(wanted_by(graph), samples, any_batch=True)
        return [samples]
    if inputs is not None:
        return [inputs]
    bound = graph.bind(batch=1) if "batch" in graph.symbols else graph
    return [random_arrays(wanted_by(bound), seed) for seed in range(RANDOM_SAMPLES)]


def _with_batch_of(given: Arrays | None, graph: Graph, request: Request) -> Request:
    """Let the inputs decide the batch where the command does not."""
    if given is None or request.batch is not None or "batch" not in graph.symbols:
        return request
    for name in graph.inputs:
        shape = graph.tensor(name).shape
        if "batch" in shape and given[name].ndim == len(shape):
            return replace(request, batch=int(given[name].shape[shape.index("batch")]))
    return request
