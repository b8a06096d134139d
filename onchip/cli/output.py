"""Where results go: stdout in plain text or colour, JSON, files that are whole or absent, and progress.

In:       texts and objects of the verbs.
Out:      stdout for results, stderr for progress.
Promises: colour and moving bars only on a terminal and without NO_COLOR; a file is written beside its place and then
          renamed; JSON is the same bytes for the same object.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from onchip.errors import UsageError

Step = Callable[[int, int], None]


def has_colour(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that may be coloured."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(text: str) -> None:
    """Print a text: the first line bold, the action coloured, bars tinted, where the terminal can."""
    if not has_colour(sys.stdout):
        print(text, end="" if text.endswith("\n") else "\n")
        return
    from rich.console import Console
    from rich.text import Text

    styled = Text(text.rstrip("\n"))
    styled.highlight_regex(re.compile(r"\A[^\n]+"), "bold")
    styled.highlight_regex(r"(?m)^Try first:.*$", "cyan")
    styled.highlight_regex(r"[█▏▎▍▌▋▊▉]+", "green")
    styled.highlight_regex(re.compile(r"^assumptions\n(?:.*\n?)*", re.MULTILINE), "dim")
    Console(soft_wrap=True).print(styled)


def dump(value: Any) -> str:
    """Return JSON with a line break at its end."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def show_json(value: Any) -> None:
    """Print an object as JSON."""
    print(dump(value), end="")


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. Raises UsageError."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as beside:
        beside.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Give a path beside `path` to write to, and rename it when the block ends well. Raises UsageError."""
    beside: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        beside = Path(name)
        yield beside
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    except OSError as error:
        fact = f"cannot be written: {error.strerror or error}"
        raise UsageError("OC1015", str(path), fact, next="Create the directory, or name another file with -o") from None
    finally:
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def progress(label: str) -> Generator[Step, None, None]:
    """Give a function `step(done, total)`: a bar with its time left on a terminal, one line at the end elsewhere."""
    if not has_colour(sys.stderr):
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
