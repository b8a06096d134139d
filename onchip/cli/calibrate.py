"""`calibrate`: fit a few numbers of a chip file to measurements, and say how good that is on rows left out.

In:       a chip, a measurements file or @public, keys. Out: text or JSON, and with -o a chip file that loads again.
Promises: the file is whole or absent; a bad file, too many scalars, or nothing to fit is refused in one line.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.lists import table, tool
from onchip.cli.output import progress, show, show_json
from onchip.errors import UsageError

if TYPE_CHECKING:
    from onchip.silicon.calibrate import Calibration
    from onchip.silicon.fit import Errors


def calibrate(
    chip: str, file: str, *, keys: str, workloads: list[str], as_json: bool, output: Path | None, quiet: bool
) -> None:
    """Print the fitted numbers and their error. Raises OnchipError."""
    from onchip.silicon.calibrate import calibrate as work
    from onchip.silicon.calibrate import write_calibrated
    from onchip.silicon.measurements import PUBLIC, read_measurements

    begin = time.perf_counter()
    if output is not None and output.suffix != ".toml":
        fact = f"'{output}' does not end in .toml"
        raise UsageError("OC1008", "--output", fact, next="A chip is written as FILE.toml")
    path = PUBLIC if file == "@public" else Path(file)
    rows = read_measurements(path)
    named = tuple(key.strip() for key in keys.split(",") if key.strip())
    with progress(f"{chip}: fit") as step:
        made = work(
            chip, rows, source=path.name, keys=named, workloads=workloads, folder=str(path.parent), progress=step
        )
    if output is not None:
        write_calibrated(made, output)
    if as_json:
        show_json(_json(made, output, time.perf_counter() - begin))
    else:
        show(_verdict(made) if quiet else _text(made, output))


def _verdict(made: Calibration) -> str:
    found = made.fit
    what = f"{made.chip.name}: {', '.join(s.key for s in made.scalars)} fitted on {_counted(found.n_rows, 'row')}"
    if found.left_out is None:
        return f"{what} of one shape: median error {_percent(found.before.median)} -> {_percent(found.inside.median)}."
    return (
        f"{what} of {found.n_groups} shapes: median error of rows left out by shape "
        f"{_percent(found.left_out.median)} (before: {_percent(found.before.median)})."
    )


def _text(made: Calibration, output: Path | None) -> str:
    found = made.fit
    name = "" if output is None else f"./{output}" if output.parent == Path() else str(output)
    hint = f"onchip estimate @resnet50 --chip {name}" if name else "the same with -o FILE.toml writes the chip file"
    rows = [("key", "before", "fitted", "with a shape left out")]
    for scalar, best, low, high in zip(made.scalars, found.point, found.low, found.high, strict=True):
        before = f"{scalar.value:.12g} {scalar.symbol}".rstrip()
        spread = scalar.text(low) if low == high else f"{scalar.text(low)} to {scalar.text(high)}"
        rows.append((scalar.key, before, scalar.text(best), spread))
    errors = [("error", "median", "p90"), ("before", *_both(found.before)), ("of the fit itself", *_both(found.inside))]
    errors += [("left out by shape", *_both(found.left_out))] if found.left_out is not None else []
    blocks = [_verdict(made), f"Next:  {hint}", "", *table(rows, right={1, 2, 3}), "", *table(errors, right={1, 2})]
    notes = list(_notes(made))
    return "\n".join([*blocks, *(["", *notes] if notes else [])])


def _notes(made: Calibration) -> list[str]:
    lines = [f"{key} changes no prediction of these rows and keeps its value." for key in made.idle]
    lines += [
        f"{key} is outside of 0.5 to 1: it stands for an effect that the forecast or the chip file does not have."
        for key in made.implausible
    ]
    if made.n_other:
        lines.append(f"{_counted(made.n_other, 'row')} of other metrics: only times are fitted.")
    reasons = Counter(refusal.reason for refusal in made.refusals)
    return [*lines, *(f"refused, {_counted(n, 'row')}: {reason}" for reason, n in sorted(reasons.items()))]


def _counted(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' if n != 1 else ''}"


def _both(errors: Errors) -> tuple[str, str]:
    return _percent(errors.median), _percent(errors.p90)


def _percent(value: float) -> str:
    return f"{value:,.0f} %" if value >= 10 else f"{value:.1f} %"


def _json(made: Calibration, output: Path | None, seconds: float) -> dict[str, Any]:
    found = made.fit
    scalars = [
        {
            "key": scalar.key, "before": f"{scalar.value:.12g} {scalar.symbol}".rstrip(), "fitted": scalar.text(best),
            "low": scalar.text(low), "high": scalar.text(high),
        }
        for scalar, best, low, high in zip(made.scalars, found.point, found.low, found.high, strict=True)
    ]  # fmt: skip
    return {
        **tool(),
        "chip": {"name": made.chip.name, "hash": made.chip.hash},
        "scalars": scalars,
        "idle": list(made.idle),
        "rows": found.n_rows,
        "shapes": found.n_groups,
        "before": _errors(found.before),
        "inside": _errors(found.inside),
        "left_out": _errors(found.left_out) if found.left_out is not None else None,
        "implausible": list(made.implausible),
        "refused": [{"row": r.measurement.row, "reason": r.reason} for r in made.refusals],
        "file": None if output is None else str(output),
        "timing": {"total_s": round(seconds, 3)},
    }


def _errors(errors: Errors) -> dict[str, float]:
    return {"median_abs_pct_error": errors.median, "p90_abs_pct_error": errors.p90}
