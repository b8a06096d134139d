"""Verbs about measurements of real chips.

In:       options of the command line. Out: an exit code, by `cli.validate`, `cli.calibrate`, `cli.measure`.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onchip.cli.options import AsJson, Batch, ModelName, Output, Quiet, Request, Seq, Shapes, Verbose


def validate(
    file: Annotated[
        str, typer.Argument(metavar="FILE.csv", help="measurements; @public: the published ones in the package")
    ],
    as_json: AsJson = False,
    output: Output = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE.csv", help="write every row with its prediction")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how far the numbers are from measurements of real chips.

    Predicts every row of a measurements file, refuses the rest with a reason, and puts the errors per group beside two
    baselines. Exit code 0 whatever the errors.
    """
    from onchip.cli.validate import validate as work

    work(file, as_json=as_json, output=output, rows=rows, quiet=quiet, verbose=verbose)


def calibrate(
    chip: Annotated[str, typer.Argument(metavar="CHIP", help="a chip's name or FILE.toml, as the rows name it")],
    rows: Annotated[str, typer.Option("--rows", metavar="FILE.csv", help="measurements, or @public")],
    keys: Annotated[
        str, typer.Option("--keys", metavar="A,B", help="numbers to fit (default achieved.dram, .matrix, .shared)")
    ] = "",
    rows_of: Annotated[
        list[str] | None, typer.Option("--rows-of", metavar="WORKLOAD", help="only rows of it; again for more")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the chip file, FILE.toml")] = None,
    quiet: Quiet = False,
) -> None:
    """Fit up to three numbers of a chip file to measurements.

    Prints the error of rows left out by shape; with -o writes a chip file that names what was fitted on which rows.
    """
    from onchip.cli.calibrate import calibrate as work

    work(chip, rows, keys=keys, workloads=rows_of or [], as_json=as_json, output=output, quiet=quiet)


def measure(
    model: ModelName,
    chip: Annotated[
        str, typer.Option("--chip", "-c", help="host: probe this machine; or FILE.toml of an earlier call, or a chip")
    ] = "host",
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="fp32 (default), bf16 or fp16")] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=3600, help="for the probes; half as many for the network")
    ] = 20,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=4096, help="cores to use (default: those of torch)")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write the machine's chip file, FILE.toml")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a network on this machine, and put measured and predicted times side by side.

    Probes the machine (memory, caches, launch, products, overlap), makes a chip file of what it finds, runs the network
    layer by layer through PyTorch or ONNX Runtime, and says how far the forecast is off. Times are those of the fastest
    run; with -o the chip file is written.
    """
    from onchip.cli.measure import measure as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype)
    work(
        request, chip, seconds=seconds, threads=threads, output=output, as_json=as_json, quiet=quiet, verbose=verbose
    )  # fmt: skip
