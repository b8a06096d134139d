"""A measurements file: one published number a row.

In:       a CSV file with the columns of `COLUMNS`, UTF-8; docs/measurements.md says what they mean.
Out:      `Measurement`s in the order of the file.
Promises: strict: a wrong column, a number that is none, a parameter that is no key=value or a size that is no whole
          number is refused with its row and column (OC1501, OC1502); files, rows and fields have limits. Row 1 is the
          header, as editors count.
Does not: know chips, workloads or networks: an unknown one is a matter of its row, not of the file.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from onchip.errors import BadFile

COLUMNS = ("chip", "workload", "params", "dtype", "metric", "value", "timing", "source")
PUBLIC = Path(__file__).parent / "data" / "measurements.csv"
MAX_BYTES, MAX_ROWS, MAX_FIELD, MAX_PARAMETERS = 64 << 20, 200_000, 2000, 32
LARGEST_SIZE = 1 << 31
# parameters that are whole numbers from 1 up, and those that may be 0
SIZES = frozenset(
    {
        *("B", "C", "H", "K", "M", "N", "R", "S", "n", "batch", "seq", "groups"),
        *("heads", "kv_heads", "head_dim", "q_len", "kv_len", "hidden", "input_size", "timesteps"),
        *("stride_h", "stride_w", "dilation_h", "dilation_w"),
    }
)
COUNTS = frozenset({"pad_h", "pad_w", "causal"})
CONDITIONS = frozenset({"empty_kernel_us", "input_zeros_pct"})  # numbers that say how it was measured, not what
SCHEMA_NEXT = f"The columns are {','.join(COLUMNS)}"
_NAME = re.compile(r"[A-Za-z0-9@/][A-Za-z0-9@._/?&= -]{0,199}")  # of a chip: a catalog id or a path
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_NUMBER = re.compile(r"\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row: what was run where, and the number that was published; `row` counts from 1, the header."""

    row: int
    chip: str
    workload: str
    params: tuple[tuple[str, str], ...]
    dtype: str
    metric: str
    value: float
    timing: str
    source: str = ""

    @property
    def words(self) -> str:
        """Return the workload and its parameters as one text."""
        return f"{self.workload} {';'.join(f'{key}={value}' for key, value in self.params)}".rstrip()


def read_measurements(path: str | Path) -> tuple[Measurement, ...]:
    """Return the rows of a file. Raises BadFile."""
    where = str(path)
    return parse_measurements(_text(Path(path), where), where)


def parse_measurements(text: str, where: str) -> tuple[Measurement, ...]:
    """Return the rows of a text; `where` names it in messages. Raises BadFile."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Measurement] = []
    try:
        header = next(reader, [])
        _check_header(header, where)
        for number, cells in enumerate(reader, 2):
            if number - 1 > MAX_ROWS:
                raise BadFile("OC1501", where, f"has more than {MAX_ROWS} rows", next="Split it")
            found.append(_row(cells, number, where))
    except csv.Error as error:
        fact = f"row {len(found) + 2}: {error}"
        raise BadFile("OC1501", where, fact, next="Write CSV with double quotes") from None
    return tuple(found)


def _text(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile("OC1501", where, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise BadFile("OC1501", where, f"is larger than {MAX_BYTES >> 20} MiB", next="Split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile("OC1501", where, f"is no UTF-8 text (byte {error.start})") from None


def _check_header(header: list[str], where: str) -> None:
    if tuple(header) == COLUMNS:
        return
    for i, (got, want) in enumerate(zip(header, COLUMNS, strict=False), 1):
        if got != want:
            fact = f"row 1, column {i}: the header has '{got[:40]}', not '{want}'"
            raise BadFile("OC1501", where, fact, next=SCHEMA_NEXT)
    fact = f"row 1: the header has {len(header)} columns, not {len(COLUMNS)}"
    raise BadFile("OC1501", where, fact, next=SCHEMA_NEXT)


def _row(cells: list[str], number: int, where: str) -> Measurement:
    if len(cells) != len(COLUMNS):
        fact = f"row {number} has {len(cells)} columns, not {len(COLUMNS)}"
        raise BadFile("OC1501", where, fact, next=SCHEMA_NEXT)
    for column, cell in zip(COLUMNS, cells, strict=True):
        if len(cell) > MAX_FIELD:
            raise _bad(where, number, column, f"has {len(cell)} characters", limit=f"At most {MAX_FIELD}")
        if not cell.isprintable():
            raise _bad(where, number, column, "holds a control character or a line break")
    chip, workload, params, dtype, metric, value, timing, source = cells
    if not _NAME.fullmatch(chip):
        raise _bad(where, number, "chip", f"'{chip[:40]}' is no name of a chip")
    for column, word in (("workload", workload), ("dtype", dtype), ("metric", metric), ("timing", timing)):
        if not _WORD.fullmatch(word):
            raise _bad(where, number, column, f"'{word[:40]}' is no word")
    return Measurement(
        number, chip, workload, _parameters(params, number, where), dtype, metric, _value(value, number, where),
        timing, source,
    )  # fmt: skip


def _value(text: str, number: int, where: str) -> float:
    if _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value) and value > 0:
            return value
    raise _bad(where, number, "value", f"'{text[:40]}' is no number above 0")


def _parameters(text: str, number: int, where: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    parts = text.split(";") if text else []
    if len(parts) > MAX_PARAMETERS:
        raise _bad(where, number, "params", f"has {len(parts)} parameters", limit=f"At most {MAX_PARAMETERS}")
    for part in parts:
        key, mark, value = part.partition("=")
        if not mark or not value or not _WORD.fullmatch(key):
            raise _bad(where, number, "params", f"'{part[:40]}' is no key=value")
        if key in found:
            raise _bad(where, number, "params", f"'{key}' stands twice")
        if key in SIZES or key in COUNTS:
            _check_size(key, value, number, where)
        if key in CONDITIONS and not _NUMBER.fullmatch(value):
            raise _bad(where, number, "params", f"{key} = '{value[:40]}' is no number")
        found[key] = value
    return tuple(found.items())


def _check_size(key: str, value: str, number: int, where: str) -> None:
    least = 1 if key in SIZES else 0
    if not _WHOLE.fullmatch(value) or not least <= int(value) <= LARGEST_SIZE:
        limit = f"It is from {least} to {LARGEST_SIZE}"
        raise _bad(where, number, "params", f"{key} = '{value[:40]}' is no whole number", limit=limit)


def _bad(where: str, number: int, column: str, fact: str, *, limit: str = "") -> BadFile:
    return BadFile("OC1502", where, f"row {number}, column {column}: {fact}", limit=limit)
