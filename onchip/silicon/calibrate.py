"""`calibrate`: at most three numbers of a chip file, fitted to measurements.

In:       a chip, rows of a measurements file, dotted keys.
Out:      a `Calibration`: the chip file's text with the fitted numbers and `[calibration]`, and how good the fit is.
Promises: no more than three scalars, nor more than a quarter of the rows (one where there are four rows or fewer).
          Rows of time alone are fitted (energy stays apart), by the mean of |log(predicted / measured)|; the error that
          the file states is that of rows left out by distinct shape: all rows of the same sizes, whatever their dtype,
          layout or timing. A number that changes no row keeps its value and is not called fitted; without keys, the
          first of DEFAULT_KEYS that change rows are fitted, as many as the rows carry.
          Each network is drawn and folded once; after that only its closed form is evaluated.
Does not: choose which keys: three numbers can stand for many effects, and their values have to be plausible.
Sources:  rules of docs/measurements.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onchip.chip import Chip
from onchip.chip_file import Document, read_toml, write_toml
from onchip.errors import BadFile, NotSupported, OnchipError, UnknownName, UsageError
from onchip.files import replacing
from onchip.silicon.fit import RATIO, Fit, Logs, Point, Progress, fit
from onchip.silicon.measurements import COUNTS, SIZES, Measurement
from onchip.silicon.predict import TIME_METRICS, Case, Refusal, case_of, closed_form, timed
from onchip.units import split_number

DEFAULT_KEYS = ("achieved.dram", "achieved.matrix", "achieved.shared")
MOST_SCALARS, ROWS_PER_SCALAR = 3, 4
FIRST_TIME = 1.0, "us"  # where a time that is 0 starts from
PLAUSIBLE = 0.5, 1.0  # of shares in [achieved]
NAMES = ("name", "network", "layer", "input")  # words that say what was run; others say how


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number of a chip file: its key, its value in the file's unit, and where its search starts."""

    key: str
    value: float
    start: float
    symbol: str

    def text(self, steps: int) -> str:
        """Return the value that many steps of the lattice away, as a file writes it; three significant digits."""
        digits = f"{float(f'{self.start * RATIO**steps:.3g}'):.12f}".rstrip("0").rstrip(".")
        return f"{digits} {self.symbol}".rstrip()

    def written(self, steps: int) -> str | float:
        """Return the same as a value of a document."""
        return self.text(steps) if self.symbol else float(self.text(steps))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fitted numbers of a chip, what they were fitted on, and what could not be."""

    chip: Chip
    name: str  # as the user gave it: what the file extends
    scalars: tuple[Scalar, ...]
    idle: tuple[str, ...]  # keys that change no row
    fit: Fit
    rows: str
    refusals: tuple[Refusal, ...]
    n_other: int  # rows of the chip that are not of time

    @property
    def implausible(self) -> tuple[str, ...]:
        """The shares of a peak that no program reaches, or hardly any program misses: some effect is missing."""
        values = _fitted(self)
        low, high = PLAUSIBLE
        return tuple(
            key for key, value in values.items()
            if key.startswith("achieved.") and isinstance(value, float) and not low <= value <= high
        )  # fmt: skip


def calibrate(
    name: str, rows: Sequence[Measurement], *, source: str, progress: Progress, keys: Sequence[str] = (),
    workloads: Sequence[str] = (), folder: str = "",
) -> Calibration:  # fmt: skip
    """Return the fit of a chip's numbers to its rows; `source` names the file. Raises OnchipError."""
    chip = Chip.load(name)
    if "?" in name:
        hint = "Write the changed chip to a file first: onchip chips NAME > FILE.toml"
        raise UsageError("OC1509", name, "has overrides, which a file cannot extend", next=hint)
    own = _own_rows(chip, name, rows, workloads, source)
    timed_rows = [row for row in own if row.metric in TIME_METRICS]
    cases, refusals = _cases(timed_rows, chip, folder)
    allowed = _allowed(chip, keys, len(cases), source)
    scalars = tuple(_scalar(chip, key) for key in dict.fromkeys(keys or DEFAULT_KEYS))
    moving = _moving(chip, scalars, cases)
    idle = tuple(scalar.key for scalar in scalars if scalar not in moving)
    moving = moving[:allowed]
    if not moving:
        fact = f"{', '.join(idle)}: changes no prediction of the {len(cases)} rows"
        raise UsageError("OC1508", name, fact, next="Name other keys with --keys")
    _check_earlier(chip, moving)
    found = fit(lambda point: _logs(chip, moving, cases, point), _shapes(cases), len(moving), progress)
    told = f"{len(cases)} rows of {source}: {', '.join(sorted({case.measurement.workload for case in cases}))}"
    return Calibration(chip, name, moving, idle, found, told, refusals, len(own) - len(timed_rows))


def _own_rows(
    chip: Chip, name: str, rows: Sequence[Measurement], workloads: Sequence[str], source: str
) -> list[Measurement]:
    """Return the chip's rows of the workloads asked for. Raises UnknownName where there are none."""
    names = {name, chip.name}
    own = [row for row in rows if row.chip in names]
    if not own:
        others = sorted({row.chip for row in rows})
        raise UnknownName(
            "OC1508", source, f"has no row of {name}", limit=f"It has {', '.join(others[:8]) or 'no rows'}",
            next="Name the chip as the rows do",
        )  # fmt: skip
    known = sorted({row.workload for row in own})
    for workload in workloads:
        if workload not in known:
            raise UnknownName(
                "OC1508", source, f"has no row of {name} {workload}", limit=f"There are {', '.join(known)}"
            )
    return [row for row in own if not workloads or row.workload in workloads]


def _cases(
    rows: Sequence[Measurement], chip: Chip, folder: str
) -> tuple[tuple[Case, ...], tuple[Refusal, ...]]:  # fmt: skip
    """Return the rows drawn, and those that have no closed form."""
    cases, refusals = list[Case](), list[Refusal]()
    for row in rows:
        try:
            case = case_of(row, chip, folder)
            closed_form(case, chip)
            cases.append(case)
        except OnchipError as error:
            refusals.append(Refusal(row, str(error)))
    return tuple(cases), tuple(refusals)


def _allowed(chip: Chip, keys: Sequence[str], n_rows: int, source: str) -> int:
    """Return how many numbers the rows carry. Raises UsageError where more are asked for."""
    if n_rows == 0:
        fact = f"no row of {chip.name} is a time that can be predicted"
        raise NotSupported("OC1508", source, fact, next=f"See why: onchip validate {source}")
    allowed = min(MOST_SCALARS, max(1, n_rows // ROWS_PER_SCALAR))
    if len(set(keys)) > allowed:
        limit = f"At most {MOST_SCALARS}, and a quarter of the rows: {allowed} on {n_rows} rows"
        raise UsageError("OC1507", chip.name, f"{len(set(keys))} scalars: {', '.join(keys)[:200]}", limit=limit)
    return allowed


def _scalar(chip: Chip, key: str) -> Scalar:
    """Return a key's number, after seeing that the chip takes another one. Raises UsageError, OnchipError."""
    number = split_number(chip.value_of(key))
    if number is None:
        chip.replace({key: "1"})  # an unknown key is refused there, with the nearest one
        fact = f"'{key[:80]}' is no number of this chip file"
        raise UsageError("OC1509", chip.name, fact, next="Name a number, as achieved.dram or launch.host")
    value, symbol = number
    start, symbol = (value, symbol) if value else FIRST_TIME if symbol else (0.0, symbol)
    found = Scalar(key, value, start, symbol)
    tries = [_replaced(chip, {key: found.written(steps)}) for steps in (8, -8)]
    if not start or key.partition(".")[0] in ("peak", "published", "calibration") or tries == [None, None]:
        raise UsageError("OC1509", chip.name, f"'{key[:80]}' is no number that can be a little more or less")
    return found


def _replaced(chip: Chip, values: dict[str, str | float]) -> Chip | None:
    """Return the chip with other numbers, None where it refuses them."""
    try:
        return chip.replace(values)
    except (BadFile, UsageError):
        return None


def _moving(chip: Chip, scalars: Sequence[Scalar], cases: Sequence[Case]) -> tuple[Scalar, ...]:
    """Return the scalars that change a prediction: doubled, or halved."""
    before, moving = _predicted(chip, cases), list[Scalar]()
    for scalar in scalars:
        others = [_replaced(chip, {scalar.key: scalar.written(steps)}) for steps in (139, -139)]
        if any(other is not None and not np.array_equal(before, _predicted(other, cases)) for other in others):
            moving.append(scalar)
    return tuple(moving)


def _predicted(chip: Chip, cases: Sequence[Case]) -> Logs:
    return np.array([timed(case, chip).value for case in cases])


def _logs(chip: Chip, scalars: Sequence[Scalar], cases: Sequence[Case], point: Point) -> Logs | None:
    values = {scalar.key: scalar.written(steps) for scalar, steps in zip(scalars, point, strict=True)}
    changed = _replaced(chip, values)
    if changed is None:
        return None
    return np.log(_predicted(changed, cases)) - np.log([case.measurement.value for case in cases])


def _shapes(cases: Sequence[Case]) -> list[tuple[object, ...]]:
    return [shape_of(case.measurement) for case in cases]


def shape_of(row: Measurement) -> tuple[object, ...]:
    """Return what rows of one distinct shape have in common: workload and sizes, no dtype, layout or timing."""
    sizes = (pair for pair in row.params if pair[0] in (*SIZES, *COUNTS, *NAMES))
    return (row.workload, *sorted(sizes))


def _check_earlier(chip: Chip, moving: Sequence[Scalar]) -> None:
    """Refuse a fit that would leave the chip with more than three fitted numbers. Raises UsageError."""
    earlier = chip.calibration.keys if chip.calibration is not None else ()
    kept = [key for key in earlier if key not in {scalar.key for scalar in moving}]
    if len(kept) + len(moving) > MOST_SCALARS:
        fact = f"has fitted numbers already that are not among the keys: {', '.join(kept)}"
        limit = f"At most {MOST_SCALARS} in all"
        raise UsageError("OC1507", chip.name, fact, limit=limit, next="Fit them again with --keys")


# --- the chip file ------------------------------------------------------------------------------------------------


def write_calibrated(made: Calibration, path: Path) -> str:
    """Write the chip file whole or not at all, and return its name. Raises UsageError."""
    if path.suffix != ".toml":
        raise UsageError("OC1008", "--output", f"'{path}' does not end in .toml", next="A chip is written as FILE.toml")
    if made.name.endswith(".toml") and path.exists() and Path(made.name).resolve() == path.resolve():
        hint = "Name another file with -o"
        raise UsageError("OC1018", str(path), "is the chip that is calibrated, which its file extends", next=hint)
    with replacing(path) as beside:
        beside.write_text(file_text(made, path), encoding="utf-8")
        return Chip.load(beside).name


def file_text(made: Calibration, path: Path) -> str:
    """Return the text of a chip file at `path`: it extends the chip, with the fitted numbers and their error."""
    whole = read_toml(str(made.chip.replace(_fitted(made))), made.chip.name)
    document: Document = {"extends": _parent(made, path), "name": _own_name(made, path)}
    document["description"] = f"{made.chip.name}, {count_of(made.scalars)} fitted"
    assumed = [key for key in made.chip.assumed if key not in _fitted(made)]
    document |= {"assumed": assumed} if len(assumed) < len(made.chip.assumed) else {}
    for scalar, steps in zip(made.scalars, made.fit.point, strict=True):
        section = scalar.key.partition(".")[0]
        if isinstance(whole.get(section), list):  # a list of tables stands in one piece
            document[section] = whole[section]
        else:
            _put(document, scalar.key, scalar.written(steps))
    document["calibration"] = _section(made)
    return write_toml(document)


def count_of(scalars: Sequence[object]) -> str:
    return f"{len(scalars)} number{'s' if len(scalars) > 1 else ''}"


def _fitted(made: Calibration) -> dict[str, str | float]:
    return {scalar.key: scalar.written(steps) for scalar, steps in zip(made.scalars, made.fit.point, strict=True)}


def _section(made: Calibration) -> Document:
    """Return `[calibration]`; numbers that the chip was fitted on before stay named."""
    earlier, keys = made.chip.calibration, [scalar.key for scalar in made.scalars]
    kept = [key for key in earlier.keys if key not in keys] if earlier is not None else []
    rows = f"{made.rows}; {', '.join(kept)}: {earlier.rows}" if earlier is not None and kept else made.rows
    told = made.fit.left_out or made.fit.inside
    rows = rows if made.fit.left_out is not None else f"{rows} (one shape: the error is that of the fit itself)"
    family = {"family": list(earlier.family)} if earlier is not None and earlier.family else {}
    errors = {"median": round(told.median, 2), "p90": round(told.p90, 2)}
    return {"keys": [*keys, *kept], "rows": rows[:2000], "n": made.fit.n_rows, **errors, **family}


def _put(document: Document, key: str, value: str | float) -> None:
    *tables, last = key.split(".")
    node: Any = document
    for table in tables:
        node = node.setdefault(table, {})
    node[last] = value


def _parent(made: Calibration, path: Path) -> str:
    if not made.name.endswith(".toml"):
        return made.name
    return Path(os.path.relpath(Path(made.name).resolve(), path.resolve().parent)).as_posix()


def _own_name(made: Calibration, path: Path) -> str:
    """Return the file's name where it can be a chip's, otherwise the chip's with a word behind it."""
    is_name = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", path.stem) is not None
    return path.stem if is_name and path.stem not in Chip.names() else f"{made.chip.name}-calibrated"
