"""Verbs that list and explain what there is: networks, chips, error codes.

In:       options of the command line. Out: an exit code, by `cli.lists`, `cli.chips`.
Promises: every verb imports what it needs when it runs, so that `--help` stays fast.
Does not: compute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from onchip.cli.options import AsJson, Batch, ModelName, Quiet, Request, Seq, Sets, Shapes


def inspect(
    model: ModelName, batch: Batch = None, seq: Seq = None, shape: Shapes = None, as_json: AsJson = False
) -> None:
    """Print a network's nodes with shapes and MACs."""
    from onchip.cli.lists import inspect as work

    work(Request(model, batch, seq, tuple(shape or ())), as_json=as_json)


def learn(
    lesson: Annotated[str | None, typer.Argument(metavar="LESSON", help="systolic; default: list them")] = None,
    chip: Annotated[str, typer.Option("--chip", "-c", help="whose array, of at most 16 x 16 cells")] = "tiny-npu-4",
    sets: Sets = None,
    m: Annotated[int, typer.Option("--m", help="rows of A")] = 6,
    k: Annotated[int, typer.Option("--k", help="columns of A, rows of B")] = 4,
    n: Annotated[int, typer.Option("--n", help="columns of B")] = 4,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the lesson: .html, or .json")] = None,
    quiet: Quiet = False,
) -> None:
    """Teach how the machine works, with pages to play: a product in a systolic array, cycle by cycle."""
    from onchip.cli.learn import learn as work

    work(lesson, chip, sets, (m, k, n), output=output, quiet=quiet)


class OneOrMore(typer.core.TyperGroup):
    """A group in which a word that is none of its verbs is shown: `chips NAME` is `chips show NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        words = args if args and args[0] in self.commands else ["show", *args]
        return super().resolve_command(ctx, words)


chips_app = typer.Typer(cls=OneOrMore, invoke_without_command=True, rich_markup_mode=None)


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


def models(as_json: AsJson = False) -> None:
    """List the networks of the zoo."""
    from onchip.cli.lists import models as work

    work(as_json=as_json)


def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="as in OC1203; default: list all")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain an error code and what to do."""
    from onchip.cli.lists import explain as work

    work(code, as_json=as_json)
