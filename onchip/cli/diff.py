"""`diff`: two reports, what changed, and a gate for CI.

In:       two files of `estimate --json`, limits.
Out:      text, Markdown, workflow_text or JSON; exit code 5 where a limit breaks, after the output.
"""

from __future__ import annotations

from pathlib import Path

from onchip.cli.output import dump, show, show_json, write_file
from onchip.errors import Mismatch, UsageError

FORMS = ("text", "markdown", "github")


def diff(
    before: Path, after: Path, *, fail_on: list[str], form: str, as_json: bool, output: Path | None, quiet: bool,
    verbose: bool,
) -> None:  # fmt: skip
    """Print what changed between two reports. Raises BadFile, UsageError, Mismatch."""
    from onchip.ir.report_read import read_report
    from onchip.reports.diff import broken, compare, parse_limit
    from onchip.reports.diff_text import diff_json, diff_markdown, diff_text, verdict, workflow_text

    if form not in FORMS:
        raise UsageError(
            "OC1008", "--format", f"no format is named '{form[:40]}'", limit=f"There are {', '.join(FORMS)}"
        )
    action = f"Next:  onchip report {after} -o report.html   (where the time goes now, and what to change)"
    limits = [parse_limit(text) for text in fail_on]
    found = compare(read_report(before), read_report(after))
    over, layers = broken(found, limits), 0 if verbose else 12
    made = {
        "text": lambda: diff_text(found, over, action=action, layers=layers),
        "markdown": lambda: diff_markdown(found, over, layers=layers),
        "github": lambda: workflow_text(found, over),
    }[form]()
    if output is not None:
        write_file(output, dump(diff_json(found, over)) if output.suffix == ".json" else made)
    if as_json:
        show_json(diff_json(found, over))
    else:
        show(verdict(found, over) if quiet else made)
    if over:
        worst = ", ".join(limit.text for limit in over)
        raise Mismatch(
            "OC3002", str(after), f"is beyond {worst}", next="See the layers above, or accept it: raise --fail-on"
        )
