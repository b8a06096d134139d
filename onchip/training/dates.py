"""Dates as people write them, and their digits: a task for a sequence-to-sequence network.

In:       nothing is downloaded; the dates are those of the Gregorian calendar from 1990 to 2089.
Out:      `Dates`: characters int64 [N, 22] (padded with spaces) and the eight digits int64 [N, 8] of YYYYMMDD. Six ways
          to write: 3 march 2021; march 3, 2021; 3rd of march 2021; mar 3 2021; wed, 3 march 2021; 3/3/2021.
Promises: the same dates on every run and machine; no date of the test set is in the training set, in any form.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

FIRST, LAST = date(1990, 1, 1).toordinal(), date(2089, 12, 31).toordinal()
N_TRAIN, N_TEST, SEED = 6000, 540, 0
LENGTH, DIGITS = 22, 8
ALPHABET = " ,/0123456789abcdefghijklmnopqrstuvwxyz"
MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Dates:
    """Characters [N, LENGTH] and digits [N, DIGITS], int64; all arrays are read-only."""

    train_texts: NDArray[np.int64]
    train_digits: NDArray[np.int64]
    test_texts: NDArray[np.int64]
    test_digits: NDArray[np.int64]


@cache
def dates() -> Dates:
    """Write the dates, each in one form."""
    random = np.random.default_rng(SEED)
    days = random.choice(np.arange(FIRST, LAST + 1), N_TRAIN + N_TEST, replace=False)
    written = [date.fromordinal(int(day)) for day in days]
    forms = random.integers(0, len(write(written[0])), len(days))
    texts = np.stack([characters(write(day)[form]) for day, form in zip(written, forms.tolist(), strict=True)])
    digits = np.array([[int(c) for c in f"{day:%Y%m%d}"] for day in written], np.int64)
    parts = (texts[:N_TRAIN], digits[:N_TRAIN], texts[N_TRAIN:], digits[N_TRAIN:])
    for part in parts:
        part.setflags(write=False)
    return Dates(*parts)


def write(day: date) -> tuple[str, ...]:
    """Return a date in every form."""
    d, month, y = day.day, MONTHS[day.month - 1], day.year
    return (
        f"{d} {month} {y}", f"{month} {d}, {y}", f"{d}{ordinal(d)} of {month} {y}", f"{month[:3]} {d} {y}",
        f"{DAYS[day.weekday()]}, {d} {month} {y}", f"{day.month}/{d}/{y}",
    )  # fmt: skip


def ordinal(n: int) -> str:
    """Return the English ending of a number up to 31: 1st, 2nd, 3rd, 11th."""
    return "th" if n in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def characters(text: str) -> NDArray[np.int64]:
    """Return a text as places in the alphabet, spaces behind it. Raises ValueError for other characters."""
    return np.array([ALPHABET.index(c) for c in text.ljust(LENGTH)], np.int64)
