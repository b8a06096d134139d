"""`learn`: lessons that one can play with, as pages.

In:       a lesson's name, a chip, the sizes of a product. Out: text, and with -o a page (.html) or its data (.json).
Promises: every number of a lesson comes from a program that the simulator ran.
"""

from __future__ import annotations

from pathlib import Path

from onchip.cli.options import load_chip
from onchip.cli.output import dump, show, write_file
from onchip.cli.report import is_page, write_page
from onchip.errors import UnknownName, UsageError, did_you_mean
from onchip.ir.page import Page

LESSONS = {"systolic": "a small product in a systolic array, cell by cell and cycle by cycle"}


def learn(
    lesson: str | None, chip_name: str, sets: list[str] | None, size: tuple[int, int, int], *, output: Path | None,
    quiet: bool,
) -> None:  # fmt: skip
    """Make a lesson; without a name, list them."""
    if lesson is None:
        lines = [f"{len(LESSONS)} lesson.", "Next:  onchip learn systolic -o lesson.html", ""]
        show("\n".join([*lines, *(f"  {name}   {about}" for name, about in LESSONS.items())]))
        return
    if lesson not in LESSONS:
        hint = did_you_mean(lesson, LESSONS) or f"There is {', '.join(LESSONS)}"
        raise UnknownName("OC1008", "learn", f"no lesson is named '{lesson[:40]}'", next=hint)
    if output is not None and not is_page(output) and output.suffix != ".json":
        hint = f"Write {output.with_suffix('.html')}"
        raise UsageError("OC1008", "--output", "a lesson is written as .html or .json", next=hint)
    _systolic(chip_name, sets, size, output=output, quiet=quiet)


def _systolic(
    chip_name: str, sets: list[str] | None, size: tuple[int, int, int], *, output: Path | None, quiet: bool
) -> None:
    from onchip.lesson import systolic
    from onchip.reports.lesson import lesson_text, lesson_verdict

    m, k, n = size
    chip = load_chip(chip_name, sets)
    part = systolic(chip, m=m, k=k, n=n)
    page = Page(f"A systolic array: {chip.name}", (), {"lesson": part})
    if output is not None and is_page(output):
        write_page(output, page)
    elif output is not None:
        write_file(output, dump(page.to_json()))
    words = f"--chip {chip_name}" + "".join(f" --set {text}" for text in sets or ())
    action = f"Next:  onchip learn systolic {words} -o lesson.html   (guess first, then watch each cell)"
    if output is not None and is_page(output):
        action = f"Next:  open {output} in a browser   (guess first, then watch each cell; no network needed)"
    show(lesson_verdict(part) if quiet else lesson_text(part, action=action))
