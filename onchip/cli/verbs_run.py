"""Verbs that make programs and networks, and run them.

In:       options of the command line. Out: an exit code, by `cli.demo`, `cli.execute`, `cli.quantize`.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onchip.cli.options import (
    AsJson,
    Batch,
    ChipName,
    Dtype,
    Effort,
    ModelName,
    NodeData,
    PageOutput,
    Quiet,
    Request,
    Seed,
    Seq,
    Sets,
    Shapes,
    TraceFile,
    Verbose,
)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the reports go")] = Path("demo-out"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show it all: train, quantize, compile, run, compare.

    Trains three networks on real images, runs the whole test set on the simulated chip, and compares six chips.
    """
    from onchip.cli.demo import demo as work

    work(output, as_json=as_json, quiet=quiet)


def compile_command(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    sets: Sets = None,
    effort: Effort = "default",
    samples: Annotated[Path | None, typer.Option("--samples", help="calibration inputs, .npz or .npy")] = None,
    emit: Annotated[
        str | None, typer.Option("--emit", metavar="NOUN", help="print fold, graph, plan, program or trace instead")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write the program (.npz) or its listing (any other name)")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Turn a network into a program, and write it to a file."""
    from onchip.cli.execute import compile as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    work(request, chip, sets, samples=samples, emit=emit, as_json=as_json, output=output, quiet=quiet)


def quantize(
    model: ModelName,
    samples: Annotated[Path | None, typer.Option("--samples", help="calibration inputs, .npz or .npy")] = None,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    method: Annotated[str, typer.Option("--method", help="ranges: minmax, percentile or mse")] = "minmax",
    percentile: Annotated[
        float | None, typer.Option("--percentile", help="what method percentile keeps on either side (99.99)")
    ] = None,
    per_tensor: Annotated[bool, typer.Option("--per-tensor", help="one scale for all of a layer's weights")] = False,
    keep_float: Annotated[str, typer.Option("--keep-float", metavar="LAYERS", help="stay in floats: a,b")] = "",
    int16: Annotated[str, typer.Option("--int16", metavar="LAYERS", help="read int16 activations: a,b")] = "",
    target: Annotated[
        float | None,
        typer.Option("--target-sqnr", metavar="DB", help="which layers in int16 reach it; else exit 4"),
    ] = None,
    chip: Annotated[str | None, typer.Option("--chip", "-c", help="price int16 layers on this chip")] = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the int8 network to this .npz")] = None,
    page: Annotated[Path | None, typer.Option("--report", metavar="R.html", help="draw the layers on a page")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a float network into an int8 one, and say which layers that hurts."""
    from onchip.cli.quantize import Options
    from onchip.cli.quantize import quantize as work

    request = Request(model, batch, seq, tuple(shape or ()))
    options = Options(method, percentile, per_tensor, keep_float, int16, target, page)
    work(
        request, samples, options, chip_name=chip, output=output, as_json=as_json, quiet=quiet, verbose=verbose
    )  # fmt: skip


def run_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="a model, or the PROGRAM.npz of onchip compile")],
    chip: Annotated[
        str | None, typer.Option("--chip", "-c", help="a chip's name or FILE.toml; a program has its own")
    ] = None,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    sets: Sets = None,
    effort: Effort = "default",
    inputs: Annotated[Path | None, typer.Option("--input", "-i", help=".npz or .npy; default: random inputs")] = None,
    samples: Annotated[Path | None, typer.Option("--samples", help="calibration inputs; default: the inputs")] = None,
    page: Annotated[Path | None, typer.Option("--report", metavar="R.html", help="write the report as a page")] = None,
    outputs: Annotated[Path | None, typer.Option("--outputs", help="write the outputs to this .npz")] = None,
    seed: Seed = 0,
    trace: TraceFile = None,
    node_data: NodeData = None,
    as_json: AsJson = False,
    output: PageOutput = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compile and run on the simulated chip, bit for bit."""
    from onchip.cli.execute import Files
    from onchip.cli.execute import run as work
    from onchip.cli.views import Views

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    files = Files(inputs, samples, outputs, page)
    views = Views(trace, node_data)
    work(request, chip, sets, files, views, seed=seed, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


def train(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="cnn, lstm, attention or dates")],
    seed: Seed = 0,
    qat: Annotated[bool, typer.Option("--qat", help="then train on with int8 rounding, and quantize")] = False,
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write it to this .onnx; with --qat in int8 to this .npz")
    ] = None,
) -> None:
    """Train a demo network (needs the torch extra)."""
    from onchip.cli.demo import train as work

    work(name, seed=seed, is_aware=qat, as_json=as_json, output=output)


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="on this machine; 0: a free one")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="questions that run at once")] = 2,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="of a worker")] = "6 GiB",
    upload: Annotated[str, typer.Option("--upload", metavar="SIZE", help="the largest file it takes")] = "128 MiB",
    opens: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Open the app: choose a network and a chip, change numbers, see the verdict (needs the app extra)."""
    from onchip.cli.serve import app as work

    work(port, workers=workers, memory=memory, upload=upload, opens=opens)
