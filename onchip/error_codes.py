"""The catalog of error codes: what each one means, why it happens, up to three ways out, and an example.

In:       errors_catalog/NN.toml, one file per hundred: [OC1203] with `title`, `cause`, `fixes` and `example`.
Out:      `catalog()`, code -> `Explanation`, sorted; `onchip explain OC1203` prints an entry.
Promises: every code that stands in the package has an entry (tests/errors/test_error_codes.py reads the source);
          hundreds group by subject: 10 usage and names, 11 chip files, 12 model files, graphs and program files,
          13 operators and shapes, 14 inputs, 20 and 21 does not fit, 30 mismatch, 90 our own bugs.
Does not: hold the numbers of an actual mistake; these are in the message that was raised.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "errors_catalog"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code means, why it happens, what to do, and a message as it is printed."""

    title: str
    cause: str
    fixes: tuple[str, ...]
    example: str


@functools.cache
def catalog() -> dict[str, Explanation]:
    """Return every code with its explanation."""
    found: dict[str, Explanation] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        for code, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found[code] = Explanation(entry["title"], entry["cause"], tuple(entry["fixes"]), entry["example"])
    return found
