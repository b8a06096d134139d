"""Where results go: stdout in plain text or colour, JSON, files that are whole or absent, and progress.

In:       texts and objects of the verbs.
Out:      stdout for results, stderr for progress.
Promises: colour only on a terminal and without NO_COLOR; moving bars only on a terminal; JSON is the same bytes for
          the same object, in ASCII; a stream that cannot encode a character gets a plain one in its place.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, TextIO

from onchip.files import replacing

Step = Callable[[int, int], None]
PLAIN = "onchip-plain"  # the name of our codec error handler
STAND_INS = dict(zip("µ–−·×±…█▉▊▋▌▍▎▏", "u--|x~.#####|||", strict=True))


def use_plain_characters() -> None:
    """Let stdout and stderr replace what their encoding does not have: `#` for a bar, `u` for µ."""
    codecs.register_error(PLAIN, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding or "ascii").name != "utf-8":
            stream.reconfigure(errors=PLAIN)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(STAND_INS.get(c, "?") for c in error.object[error.start : error.end]), error.end


def has_bars(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that may be coloured."""
    return has_bars(stream) and not os.environ.get("NO_COLOR")


def show(text: str) -> None:
    """Print a text: the first line bold, the action coloured, bars tinted, where the terminal can."""
    if sys.stdout.isatty():
        text = folded(text, shutil.get_terminal_size().columns)
    if not has_colour(sys.stdout):
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from rich.console import Console
    from rich.text import Text

    styled = Text(text.rstrip("\n"))
    styled.highlight_regex(re.compile(r"\A[^\n]+(?:\n  [^\n]+)*"), "bold")
    styled.highlight_regex(r"(?m)^(?:Try first|Next):.*$", "cyan")
    styled.highlight_regex(r"[█▏▎▍▌▋▊▉]+", "green")
    styled.highlight_regex(re.compile(r"^assumptions\n(?:.*\n?)*", re.MULTILINE), "dim")
    Console(soft_wrap=True, highlight=False).print(styled)


def folded(text: str, columns: int) -> str:
    """Return a text whose lines fit a terminal, broken between words, as far as words are short enough."""
    lines: list[str] = []
    for line in text.rstrip("\n").split("\n"):
        indent = " " * min(len(line) - len(line.lstrip()) + 2, columns // 2)
        fits = len(line) <= columns
        lines += [line] if fits else wrap(line, columns, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def dump(value: Any) -> str:
    """Return JSON with a line break at its end."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def show_json(value: Any) -> None:
    """Print an object as JSON."""
    print(dump(value), end="")


def write_file(path: Path, content: str) -> None:
    """Write a text file whole or not at all. Raises UsageError."""
    with replacing(path) as beside:
        beside.write_bytes(content.encode())


@contextmanager
def progress(label: str) -> Generator[Step, None, None]:
    """Give a function `step(done, total)`: a bar with its time left on a terminal, one line at the end elsewhere."""
    if not has_bars(sys.stderr):
        last = [0, 0]

        def count(done: int, total: int) -> None:
            last[:] = [done, total]

        yield count
        print(f"{label}: {last[0]}/{last[1]}" if last[1] > 1 else f"{label}: done", file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(label, total=None)

        def move(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield move


@contextmanager
def working(label: str) -> Generator[None, None, None]:
    """Show on a terminal that something goes on, and for how long; nothing elsewhere, and nothing stays."""
    if not has_bars(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        shown.add_task(label, total=None)
        yield
