"""The verbs of the command line: their words, their options, and where each one is done.

In:       words. Out: an exit code.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute; `cli.price`, `cli.execute` and `cli.lists` do the work over the public functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onchip.cli.options import (
    AsJson,
    Batch,
    ChipName,
    Dims,
    Dtype,
    Effort,
    ModelName,
    Output,
    Quiet,
    Request,
    Sets,
    Verbose,
)
from onchip.errors import Interrupted, UsageError

app = typer.Typer(
    name="onchip",
    help="Deep learning, on chip: what a network costs on an AI chip, why, and the program that runs it bit for bit.",
    epilog="MODEL is FILE.onnx, @name of the zoo (onchip models), or package.module:factory.",
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
        return _misused(error, argv)
    return int(result or 0)


def _usage_problem() -> type[Exception]:
    """Return the parser's own exception; typer shows it only as the base of its public BadParameter."""
    family = [kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"]
    return family[0] if family else typer.BadParameter


def _misused(error: Any, argv: list[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 2
    path = error.ctx.command_path if getattr(error, "ctx", None) is not None else "onchip"
    help_of = path if path != "onchip" or not argv else "onchip"
    raise UsageError("OC1008", path, error.format_message(), next=f"See {help_of} --help") from None


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
    dims: Dims = None,
    dtype: Dtype = None,
    sets: Sets = None,
    effort: Effort = None,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say how long a network takes on a chip, and why.

    Needs shapes only: no weights, no samples, no torch.
    """
    from onchip.cli.price import estimate as work

    asked = (Request(model, batch, tuple(dims or ()), dtype), chip, sets)
    work(*asked, effort=effort, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


@app.command()
def compare(
    model: ModelName,
    chips: Annotated[list[str] | None, typer.Option("--chip", "-c", help="again for each chip; default: all")] = None,
    batch: Batch = None,
    dims: Dims = None,
    dtype: Dtype = None,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Put chips side by side, fastest first."""
    from onchip.cli.price import compare as work

    work(Request(model, batch, tuple(dims or ()), dtype), chips, as_json=as_json, output=output, quiet=quiet)


@app.command("compile")
def compile_command(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    dims: Dims = None,
    dtype: Dtype = None,
    sets: Sets = None,
    samples: Annotated[Path | None, typer.Option("--samples", help="calibration inputs, .npz or .npy")] = None,
    emit: Annotated[str | None, typer.Option("--emit", help="print instead: fold, graph, plan or program")] = None,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Turn a network into a program; -o writes its listing."""
    from onchip.cli.execute import compile as work

    request = Request(model, batch, tuple(dims or ()), dtype)
    work(request, chip, sets, samples=samples, emit=emit, as_json=as_json, output=output, quiet=quiet)


@app.command("run")
def run_command(
    model: ModelName,
    chip: ChipName,
    batch: Batch = None,
    dims: Dims = None,
    dtype: Dtype = None,
    sets: Sets = None,
    inputs: Annotated[Path | None, typer.Option("--input", "-i", help=".npz or .npy; default: random inputs")] = None,
    samples: Annotated[Path | None, typer.Option("--samples", help="calibration inputs; default: the inputs")] = None,
    outputs: Annotated[Path | None, typer.Option("--outputs", help="write the outputs to this .npz")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of random inputs")] = 0,
    as_json: AsJson = False,
    output: Output = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compile and run on the simulated chip, bit for bit."""
    from onchip.cli.execute import run as work

    request = Request(model, batch, tuple(dims or ()), dtype)
    files = (inputs, samples, outputs)
    work(request, chip, sets, files, seed=seed, as_json=as_json, output=output, quiet=quiet, verbose=verbose)


@app.command()
def inspect(model: ModelName, batch: Batch = None, dims: Dims = None, as_json: AsJson = False) -> None:
    """Print a network's nodes with shapes and MACs."""
    from onchip.cli.lists import inspect as work

    work(Request(model, batch, tuple(dims or ()), None), as_json=as_json)


@app.command()
def chips(
    name: Annotated[str | None, typer.Argument(help="print this chip's file")] = None, as_json: AsJson = False
) -> None:
    """List the chips there are, or print one as TOML."""
    from onchip.cli.lists import chips as work

    work(name, as_json=as_json)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the networks of the zoo."""
    from onchip.cli.lists import models as work

    work(as_json=as_json)


@app.command()
def train(
    name: Annotated[str, typer.Argument(metavar="NETWORK", help="cnn, lstm or attention")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the network to this .onnx")] = None,
) -> None:
    """Train a demo network (needs the torch extra)."""
    from onchip.cli.demo import train as work

    work(name, seed=seed, as_json=as_json, output=output)


@app.command()
def explain(code: Annotated[str, typer.Argument(metavar="CODE", help="as in OC1203")]) -> None:
    """Explain an error code and what to do."""
    from onchip.cli.lists import explain as work

    work(code)
