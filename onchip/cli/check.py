"""`check`: where each op of a network runs on a chip, and everything that is refused.

In:       what the user asked for. Out: text, JSON, a file.
Promises: a refusal is a result here, not a mistake: the exit code is 0 unless `--fail-on` asks for more, and then 4
          after all of it was printed and written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onchip.cli.options import Request, bind, load_chip, load_graph, settled
from onchip.cli.output import dump, show, show_json, write_file
from onchip.errors import DoesNotFit, UsageError, did_you_mean

if TYPE_CHECKING:
    from onchip.ir.check import Check

GATES = {"refused": ("refused",), "vector": ("refused", "vector")}  # what each value of --fail-on does not let pass


def check(
    request: Request,
    chip_name: str,
    sets: list[str] | None,
    *,
    fail_on: str | None,
    as_json: bool,
    output: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Print where each op runs. Raises DoesNotFit where `fail_on` meets something."""
    from onchip import pipeline
    from onchip.reports.check import check_text, verdict

    if fail_on is not None and fail_on not in GATES:
        hint = did_you_mean(fail_on, GATES) or f"Write {' or '.join(GATES)}"
        raise UsageError("OC1008", "--fail-on", f"'{fail_on[:40]}' is nothing to fail on", next=hint)
    request, sets = settled(request, sets)
    graph, chip = load_graph(request), load_chip(chip_name, sets)
    made = pipeline.check(bind(graph, request), chip, dtype=request.dtype)
    words = " ".join([request.words, f"--chip {chip_name}", *(f"--set {text}" for text in sets)])
    action = f"Next:  onchip estimate {words}   (how long it takes, and why)"
    if output is not None:
        text = dump(made.to_json()) if output.suffix == ".json" else check_text(made, action=action, nodes=True)
        write_file(output, text)
    if as_json:
        show_json(made.to_json())
    else:
        show(verdict(made) if quiet else check_text(made, action=action, nodes=verbose))
    if fail_on is not None:
        _gate(made, fail_on)


def _gate(made: Check, fail_on: str) -> None:
    """Refuse what a gate does not let pass. Raises DoesNotFit."""
    met = [(node.name, unit) for unit in GATES[fail_on] for node in made.of(unit)]
    met += [(made.model.name, "refused")] if made.network else []
    if met:
        fact = f"--fail-on {fail_on}: {len(met)} of {len(made.nodes)} ops, first: {met[0][0]} ({met[0][1]})"
        raise DoesNotFit("OC2002", made.model.name, fact, next="See the reasons above")
