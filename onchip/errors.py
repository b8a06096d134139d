"""Every mistake a user can make, as one family of exceptions.

In:       a code (`OC1203`), where it happened, the fact with its units, the limit, and what to try next.
Out:      one line of text, an exit code for the command line, and the parts as attributes.
Promises: user mistakes raise subclasses of `OnchipError` and nothing else; `str(error)` is always one line;
          an error survives pickling, so it crosses process borders with all its parts.
Does not: print, log, or explain at length; the long explanations stand in `error_codes.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar


class OnchipError(Exception):
    """A mistake with a place, a fact, a limit and a next step; `str()` gives them on one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, where: str, fact: str, *, limit: str = "", next: str = "") -> None:
        super().__init__(code, where, fact)
        self.code = code
        self.where = where
        self.fact = fact
        self.limit = limit
        self.next = next

    def __str__(self) -> str:
        head = f"{self.where}: {self.code}" if self.where else self.code
        sentences = [part.strip().rstrip(".") for part in (self.fact, self.limit, self.next)]
        text = ". ".join(part for part in sentences if part)
        end = "" if text.endswith(("?", "!")) else "."
        return " ".join(f"{head} {text}{end}".split())

    def __reduce__(self) -> tuple[Callable[..., OnchipError], tuple[str, str, str]]:
        return partial(type(self), limit=self.limit, next=self.next), (self.code, self.where, self.fact)


class UsageError(OnchipError):
    """The command or call itself is wrong: a bad option, a bad unit, a combination that means nothing."""

    exit_code = 2


class UnknownName(OnchipError):
    """A chip, network, error code or key of that name does not exist; the message names the nearest ones."""

    exit_code = 2


class BadFile(OnchipError):
    """A file cannot be read: absent, too large, malformed, or it contradicts itself."""

    exit_code = 2


class NotSupported(OnchipError):
    """An operator, dtype or combination that onchip or this chip cannot price or run."""

    exit_code = 3


class DoesNotFit(OnchipError):
    """The network does not fit the chip, or a constraint that the user gave is not met."""

    exit_code = 4


class Mismatch(OnchipError):
    """Two things that must agree do not: values against a reference, a number against its threshold."""

    exit_code = 5


class Interrupted(OnchipError):
    """The user stopped it."""

    exit_code = 130


class InternalError(OnchipError):
    """Our own bug; the message says what to report."""

    exit_code = 1


def nearest(name: str, known: Iterable[str], *, n: int = 3) -> tuple[str, ...]:
    """Return up to `n` of the `known` names that look most like `name`, best first, ties by name."""
    choices = sorted(set(known))
    by_folded = {choice.casefold(): choice for choice in reversed(choices)}
    close = difflib.get_close_matches(name.casefold()[:200], by_folded, n=n, cutoff=0.5)
    return tuple(by_folded[match] for match in close)


def did_you_mean(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """Return `Did you mean 'a' or 'b'?`, or an empty text when nothing looks like `name`."""
    close = [f"'{match}'" for match in nearest(name, known, n=n)]
    if not close:
        return ""
    head = ", ".join(close[:-1])
    return f"Did you mean {head} or {close[-1]}?" if head else f"Did you mean {close[-1]}?"
