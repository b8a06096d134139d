"""`report`: a page from a file, and the page that other verbs write where the name of their output ends in .html.

In:       the JSON of a report or of a page, or an HTML file that onchip wrote.
Out:      an HTML file, or the report as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from onchip.cli.output import dump, show, show_json, write_file
from onchip.errors import UsageError

if TYPE_CHECKING:
    from onchip.ir.page import Page

HTML = (".html", ".htm")


def is_page(path: Path | None) -> bool:
    """Return whether a file's name asks for a page."""
    return path is not None and path.suffix.lower() in HTML


def write_page(path: Path, page: Page) -> None:
    """Write a page as one HTML file. Raises UsageError."""
    from onchip.reports.html import page_html

    write_file(path, page_html(page))


def report(file: Path, *, output: Path | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Open a file and draw it: to an HTML file, back to its JSON, or as text. Raises BadFile, UsageError."""
    from onchip import pages
    from onchip.ir.page_read import read_page

    page = read_page(file)
    if output is not None:
        if output.suffix.lower() not in (*HTML, ".json"):
            hint = f"Write {output.with_suffix('.html')}"
            raise UsageError("OC1008", "--output", "a report is written as .html or .json", next=hint)
        if is_page(output):
            page = pages.completed(page)
            write_page(output, page)
        else:
            write_file(output, dump(page.to_json()))
    if as_json:
        show_json(page.to_json())
    elif output is not None:
        verdict = page.verdict
        next_line = f"Next:  open {output} in a browser   (one file, needs no network)"
        show(verdict if quiet else f"{verdict}\n{next_line}\n")
    else:
        show(_text(page, quiet=quiet, verbose=verbose))


def _text(page: Page, *, quiet: bool, verbose: bool) -> str:
    from onchip.reports.text import report_text

    if not page.reports:
        return f"{page.title}\n"
    first = page.reports[0]
    action = "Next:  give it a name that ends in .html with -o   (a page that shows all of this)"
    return first.verdict if quiet else report_text(first, action=action, layers=0 if verbose else 12)
