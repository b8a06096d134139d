"""The verbs of the command line: their words, their options, and where each one is done.

In:       words. Out: an exit code.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute; `cli.price`, `cli.execute`, `cli.lists`, `cli.chips`, `cli.demo` work over the public functions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from onchip.cli.options import (
    AsJson,
    Batch,
    ChipName,
    Dtype,
    Effort,
    Explain,
    Layer,
    ModelName,
    Output,
    Quiet,
    Request,
    Seq,
    Sets,
    Shapes,
    Verbose,
)
from onchip.errors import Interrupted, UsageError, did_you_mean

Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="of what is random")]

app = typer.Typer(
    name="onchip",
    help="Deep learning, on chip: what a network costs on an AI chip, why, and the program that runs it bit for bit.",
    epilog="MODEL is FILE.onnx, .tflite, .npz, .csv (SCALE-Sim), @name (onchip models), or package.module:factory.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def invoke(argv: list[str]) -> int:
    """Parse the words and run the verb. Raises OnchipError."""
    command: Any = typer.main.get_command(app)
    problem = _usage_problem()
    try:
        with command.make_context("onchip", argv) as context:
            result = command.invoke(context)
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        raise Interrupted("OC1009", "onchip", "stopped") from None
    except problem as error:
        return _misused(error, sorted(command.commands))
    return int(result or 0)


def _usage_problem() -> type[Exception]:
    """Return the parser's own exception; typer shows it only as the base of its public BadParameter."""
    family = [kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"]
    return family[0] if family else typer.BadParameter


def _misused(error: Any, verbs: list[str]) -> int:
    """Raise what the parser found as an error of ours; `onchip` alone prints its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 2
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "onchip"
    unknown = re.match(r"No such command '(.*?)'", error.format_message(), re.DOTALL)
    fact = f"there is no verb '{unknown[1][:40]}'" if unknown else error.format_message()[:400]
    hint = did_you_mean(unknown[1], verbs) if unknown else ""
    raise UsageError("OC1008", path, fact, next=hint or f"See {path} --help") from None


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", "-V", help="print the version", is_eager=True)] = False,
) -> None:
    if version:
        from onchip import __version__

        print(f"onchip {__version__}")
        raise typer.Exit


@app.command()
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


@app.command()
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
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how long a network takes on a chip, and why.

    Needs shapes only: no weights, no samples, no torch.
    """
    from onchip.cli.price import estimate as work

    request, why = Request(model, batch, seq, tuple(shape or ()), dtype, effort), layer or ("" if explain else None)
    work(request, chip, sets, why=why, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


@app.command()
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


@app.command()
def compare(
    model: ModelName,
    chips: Annotated[list[str] | None, typer.Option("--chip", "-c", help="again for each chip; default: all")] = None,
    batch: Batch = None,
    seq: Seq = None,
    shape: Shapes = None,
    dtype: Dtype = None,
    effort: Effort = "default",
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Put chips side by side, fastest first."""
    from onchip.cli.price import compare as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    work(request, chips, as_json=as_json, output=output, quiet=quiet)


@app.command()
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
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Say what changes of a chip are worth: each --set, all together, or every number halved and doubled."""
    from onchip.cli.price import whatif as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    work(request, chip, sets or [], knobs=knobs, as_json=as_json, output=output, quiet=quiet)


@app.command()
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


@app.command("compile")
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


@app.command()
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
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Turn a float network into an int8 one, and say which layers that hurts."""
    from onchip.cli.quantize import Options
    from onchip.cli.quantize import quantize as work

    request = Request(model, batch, seq, tuple(shape or ()))
    options = Options(method, percentile, per_tensor, keep_float, int16, target)
    work(
        request, samples, options, chip_name=chip, output=output, as_json=as_json, quiet=quiet, verbose=verbose
    )  # fmt: skip


@app.command("run")
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
    outputs: Annotated[Path | None, typer.Option("--outputs", help="write the outputs to this .npz")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compile and run on the simulated chip, bit for bit."""
    from onchip.cli.execute import Files
    from onchip.cli.execute import run as work

    request = Request(model, batch, seq, tuple(shape or ()), dtype, effort)
    files = Files(inputs, samples, outputs)
    work(request, chip, sets, files, seed=seed, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


@app.command()
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


@app.command()
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


@app.command()
def inspect(
    model: ModelName, batch: Batch = None, seq: Seq = None, shape: Shapes = None, as_json: AsJson = False
) -> None:
    """Print a network's nodes with shapes and MACs."""
    from onchip.cli.lists import inspect as work

    work(Request(model, batch, seq, tuple(shape or ())), as_json=as_json)


class OneOrMore(typer.core.TyperGroup):
    """A group in which a word that is none of its verbs is shown: `chips NAME` is `chips show NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        words = args if args and args[0] in self.commands else ["show", *args]
        return super().resolve_command(ctx, words)


chips_app = typer.Typer(cls=OneOrMore, invoke_without_command=True, rich_markup_mode=None)
app.add_typer(chips_app, name="chips")


@chips_app.callback(epilog="onchip chips NAME prints that chip as TOML; without a word, all are listed.")
def chips(context: typer.Context, as_json: AsJson = False) -> None:
    """List the chips there are, print one, compare two, begin your own."""
    if context.invoked_subcommand is None:
        from onchip.cli.chips import list_chips

        list_chips(as_json=as_json)


@chips_app.command("show")
def chips_show(context: typer.Context, name: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """Print a chip as TOML (`show` can be left away)."""
    from onchip.cli.chips import show_chip

    show_chip(name, as_json=as_json or _said_before(context))


@chips_app.command("diff")
def chips_diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A")],
    second: Annotated[str, typer.Argument(metavar="B")],
    as_json: AsJson = False,
) -> None:
    """Put the numbers in which two chips differ side by side."""
    from onchip.cli.chips import diff

    diff(first, second, as_json=as_json or _said_before(context))


@chips_app.command("new")
def chips_new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="the chip's name: a-z 0-9 . _ -")],
    parent: Annotated[str, typer.Option("--from", metavar="CHIP", help="whose numbers it begins with")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the file (default NAME.toml)")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented file for a chip of your own; nothing is overwritten."""
    from onchip.cli.chips import new

    new(name, parent, output=output, as_json=as_json or _said_before(context))


def _said_before(context: typer.Context) -> bool:
    """Return whether --json stands before the verb of `chips`."""
    return bool(context.parent is not None and context.parent.params.get("as_json"))


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the networks of the zoo."""
    from onchip.cli.lists import models as work

    work(as_json=as_json)


@app.command()
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


@app.command()
def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="as in OC1203; default: list all")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain an error code and what to do."""
    from onchip.cli.lists import explain as work

    work(code, as_json=as_json)
