"""Verbs that price a network on chips.

In:       options of the command line. Out: an exit code, by `cli.price`, `cli.check`, `cli.diff`.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onchip.cli.options import (
    Actions,
    AsJson,
    Batch,
    ChipName,
    Dtype,
    Effort,
    Explain,
    Layer,
    ModelName,
    NodeData,
    Output,
    PageOutput,
    Quiet,
    Request,
    Seq,
    Sets,
    Shapes,
    TraceFile,
    Verbose,
)


def estimate(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    sets: Sets = None,
    effort: Effort = "default",
    explain: Explain = False,
    layer: Layer = None,
    actions: Actions = None,
    trace: TraceFile = None,
    node_data: NodeData = None,
    as_json: AsJson = False,
    output: PageOutput = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how long a network takes on a chip, and why.

    Needs shapes only: no weights, no samples, no torch.
    """
    from onchip.cli.price import estimate as work
    from onchip.cli.views import Views

    request, why = Request(model, batch, seq, tuple(shape or ()), dtype, effort), layer or ("" if explain else None)
    views, asked = Views(trace, node_data), {"why": why, "actions": actions}
    work(request, chip, sets, views, **asked, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


def check(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    sets: Sets = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", metavar="WHAT", help="refused or vector: exit with 4 if there is any")
    ] = None,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say where each op of a network runs on a chip, and list all that is refused, with a way out."""
    from onchip.cli.check import check as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype)
    work(request, chip, sets, fail_on=fail_on, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


def compare(
    model: ModelName,
    chips: Annotated[list[str] | None, typer.Option("--chip", "-c", help="again for each chip; default: all")] = None,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    effort: Effort = "default",
    as_json: AsJson = False,
    output: PageOutput = None,
    quiet: Quiet = False,
) -> None:
    """Put chips side by side, fastest first."""
    from onchip.cli.price import compare as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    work(request, chips, as_json=as_json, output=output, quiet=quiet)


def whatif(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    sets: Sets = None,
    knobs: Annotated[bool, typer.Option("--knobs", help="halve and double each number of the chip as well")] = False,
    effort: Effort = "default",
    as_json: AsJson = False,
    output: PageOutput = None,
    quiet: Quiet = False,
) -> None:
    """Say what changes of a chip are worth: each --set, all together, or every number halved and doubled."""
    from onchip.cli.price import whatif as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    work(request, chip, sets or [], knobs=knobs, as_json=as_json, output=output, quiet=quiet)


def diff(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="a report of estimate --json or run --json")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="the report to compare with it")],
    fail_on: Annotated[
        list[str] | None, typer.Option("--fail-on", metavar="LIMIT", help='such as "latency>+3%&+20us"; again for more')
    ] = None,
    form: Annotated[str, typer.Option("--format", help="text, markdown, or github for annotations")] = "text",
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what changed between two reports, and end with exit code 5 where it is more than you allow."""
    from onchip.cli.diff import diff as work

    work(
        before, after, fail_on=fail_on or [], form=form, as_json=as_json, output=output, quiet=quiet, verbose=verbose
    )  # fmt: skip


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="RUN.json, page.json, or a report.html to open again")],
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write it to this file: .html for a page, .json for its data")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make one offline HTML page of a report, or open one again."""
    from onchip.cli.report import report as work

    work(file, output=output, as_json=as_json, quiet=quiet, verbose=verbose)
