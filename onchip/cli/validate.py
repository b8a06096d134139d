"""`validate`: how far our numbers are from published measurements.

In:       a measurements file, or @public for the published ones in the package. Out: text, JSON, files.
Promises: exit code 0 whatever the errors are; a file that cannot be read is a mistake (2).
"""

from __future__ import annotations

import time
from pathlib import Path

from onchip.cli.output import dump, show, show_json, working, write_file


def validate(file: str, *, as_json: bool, output: Path | None, rows: Path | None, quiet: bool, verbose: bool) -> None:
    """Print the errors per group."""
    from onchip.silicon import text
    from onchip.silicon.measurements import PUBLIC
    from onchip.silicon.validate import validate as work

    begin = time.perf_counter()
    path = PUBLIC if file == "@public" else Path(file)
    with working(f"{path.name}: predict"):
        made = work(path)
    seconds = time.perf_counter() - begin
    if rows is not None:
        write_file(rows, text.rows_csv(made))
    if output is not None:
        is_json = output.suffix == ".json"
        whole = text.validation_text(made, path.name, is_whole=True)
        write_file(output, dump(text.validation_json(made, seconds)) if is_json else whole)
    if as_json:
        show_json(text.validation_json(made, seconds))
    elif quiet:
        show(text.verdict(made, path.name))
    else:
        show(text.validation_text(made, path.name, is_whole=verbose))
