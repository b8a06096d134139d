"""The command line: which verbs there are, and how words become one of them.

In:       words. Out: an exit code.
Promises: a wrong word is an error of ours that names the nearest right one.
Does not: define verbs: their options stand in `cli.verbs_*`, their work in `cli.price`, `cli.execute`, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from onchip.cli import verbs_lists, verbs_price, verbs_run, verbs_silicon
from onchip.errors import Interrupted, UsageError, did_you_mean

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


VERBS: dict[str, Callable[..., None]] = {  # in the order of --help
    "demo": verbs_run.demo,
    "estimate": verbs_price.estimate,
    "check": verbs_price.check,
    "compare": verbs_price.compare,
    "whatif": verbs_price.whatif,
    "diff": verbs_price.diff,
    "report": verbs_price.report,
    "compile": verbs_run.compile_command,
    "quantize": verbs_run.quantize,
    "run": verbs_run.run_command,
    "validate": verbs_silicon.validate,
    "calibrate": verbs_silicon.calibrate,
    "measure": verbs_silicon.measure,
    "app": verbs_run.serve,
    "inspect": verbs_lists.inspect,
    "models": verbs_lists.models,
    "train": verbs_run.train,
    "explain": verbs_lists.explain,
    "learn": verbs_lists.learn,
}
for verb, function in VERBS.items():
    app.command(verb)(function)
app.add_typer(verbs_lists.chips_app, name="chips")
