"""The errors of a measurements file as text and as JSON.

In:       a Validation. Out: text whose first line is the verdict and whose second is the next action; the object of
          `onchip validate --json` (schemas/validate-1.json); rows as CSV.
Promises: bad rows are shown, not hidden: the worst ones, those that beat their own bound, and every reason of a
          refusal with its number of rows.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections import defaultdict
from collections.abc import Sequence

from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction
from onchip.silicon.scores import Group, Json, Validation, percentile
from onchip.units import DASH

WIDTH = 100
WORST, TOLD_BOUND, TOLD_REASONS = 8, 4, 12
HEADS = ("chip", "workload", "metric", "dtype", "timing", "n", "median", "p90", "bias", "rank", "roof", "simple")
ROW_COLUMNS = (
    "row", "chip", "workload", "params", "dtype", "metric", "timing", "measured", "predicted", "error_pct", "roofline",
    "simple", "bound", "beats_bound",
)  # fmt: skip


def validation_json(validation: Validation, seconds: float) -> Json:
    """Return the published object; `seconds` is the one field that differs from run to run."""
    from onchip import __version__
    from onchip.ir.report import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"onchip {__version__}",
        "groups": [group.to_json() for group in validation.groups],
        "refused": [{"row": refusal.measurement.row, "reason": refusal.reason} for refusal in validation.refusals],
        "beats_bound": [_bound_json(prediction) for prediction in validation.beats_bound],
        "seconds": round(seconds, 3),
    }  # fmt: skip


def _bound_json(prediction: Prediction) -> Json:
    row = prediction.measurement
    return {"row": row.row, "metric": row.metric, "measured": row.value, "bound": prediction.roofline}


def validation_text(validation: Validation, name: str, *, is_whole: bool = False) -> str:
    """Return the terminal report; `is_whole` tells every reason, worst row and row that beats its bound."""
    lines = [verdict(validation, name), _action(validation), ""]
    if validation.groups:
        lines += [*group_table(validation.groups), "", *textwrap.wrap(_note(), WIDTH), ""]
        lines += ["worst rows", *worst_rows(validation.predictions, None if is_whole else WORST), ""]
    lines += _bound_lines(validation.beats_bound, None if is_whole else TOLD_BOUND)
    lines += _refusal_lines(validation, None if is_whole else TOLD_REASONS)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def verdict(validation: Validation, name: str) -> str:
    """Return one sentence: how many rows, how far off, and how many groups are better than both baselines."""
    predicted, groups = len(validation.predictions), validation.groups
    total = predicted + len(validation.refusals)
    if not groups:
        return f"{name}: none of {total:,} rows can be predicted."
    middle = percentile([abs(p.error) for p in validation.predictions], 50)
    better = sum(beats_baselines(group) for group in groups)
    return (
        f"{name}: {predicted:,} of {total:,} rows predicted, median error {_percent(100 * middle)}; "
        f"{better} of {len(groups)} groups beat both baselines."
    )


def beats_baselines(group: Group) -> bool:
    """Return whether a group's median error is below that of every baseline it has."""
    baselines = (group.baseline_roofline_median, group.baseline_simple_median)
    return all(baseline is None or group.median_abs_pct_error < baseline for baseline in baselines)


def _action(validation: Validation) -> str:
    if not validation.groups:
        return "Next:  onchip chips   (the names that a measurements file may use)"
    worst = max(validation.groups, key=lambda group: (group.median_abs_pct_error, group.key))
    what = f"{' '.join(worst.key)}, {_percent(worst.median_abs_pct_error)} off"
    return f"Next:  look at {what}   (--rows FILE.csv writes its rows)"


def group_table(groups: Sequence[Group]) -> list[str]:
    """Return the groups as an aligned table."""
    rows = [HEADS, *(group_cells(group) for group in groups)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    lines: list[str] = []
    for row in rows:
        cells = [cell.rjust(w) if i > 4 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"  {'  '.join(cells)}")
    return lines


def group_cells(group: Group) -> tuple[str, ...]:
    """Return a group as the texts of a table's row."""
    rank = DASH if group.rank_correlation is None else f"{group.rank_correlation:.2f}"
    numbers = (group.median_abs_pct_error, group.p90_abs_pct_error, group.bias_pct)
    baselines = (group.baseline_roofline_median, group.baseline_simple_median)
    return (*group.key, str(group.n), *map(_percent, numbers), rank, *map(_percent, baselines))


def worst_rows(predictions: Sequence[Prediction], most: int | None) -> list[str]:
    """Return the rows whose prediction is off by the largest factor."""
    ordered = sorted(predictions, key=lambda p: (-_factor(p), p.measurement.row))
    return [line for p in ordered[:most] for line in _item(f"{_told(p.measurement)}: {_values(p)}, mostly {p.bound}")]


def _factor(prediction: Prediction) -> float:
    ratio = prediction.value / prediction.measurement.value
    return max(ratio, 1 / ratio)


def _values(prediction: Prediction) -> str:
    return (
        f"measured {prediction.measurement.value:.4g}, predicted {prediction.value:.4g} "
        f"{prediction.measurement.metric} ({_percent(100 * prediction.error)})"
    )


def _told(row: Measurement) -> str:
    return f"row {row.row}, {row.chip} {row.words} {row.dtype} {row.timing}"


def _bound_lines(rows: Sequence[Prediction], most: int | None) -> list[str]:
    if not rows:
        return []
    lines = [f"better than their own roofline (warm caches, resident weights, another algorithm): {len(rows)}"]
    for p in rows[:most]:
        values = f"measured {p.measurement.value:.4g}, roofline {p.roofline:.4g} {p.measurement.metric}"
        lines += _item(f"{_told(p.measurement)}: {values}")
    return [*lines, *([f"  and {len(rows) - most} more"] if most is not None and len(rows) > most else []), ""]


def _refusal_lines(validation: Validation, most: int | None) -> list[str]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for refusal in validation.refusals:
        reasons[refusal.reason].append(refusal.measurement.row)
    if not reasons:
        return []
    ordered = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [f"refused: {len(validation.refusals):,}"]
    for reason, rows in ordered[:most]:
        text = f"{len(rows)} {'rows' if len(rows) > 1 else 'row'} (first: {rows[0]}): {reason}"
        lines += _item(text)
    return [
        *lines,
        *([f"  and {len(ordered) - most} more reasons"] if most is not None and len(ordered) > most else []),
    ]


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _note() -> str:
    return (
        "median, p90: of |predicted / measured - 1|; bias: its mean; rank: correlation of ranks of "
        "log(value / roofline); roof, simple: median error of the two baselines (docs/measurements.md)"
    )


def _percent(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.0f} %" if abs(value) >= 10 else f"{value:.1f} %"


def rows_csv(validation: Validation) -> str:
    """Return every predicted row with its prediction, baselines and what bounds it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(ROW_COLUMNS)
    for p in validation.predictions:
        row = p.measurement
        params = ";".join(f"{key}={value}" for key, value in row.params)
        numbers = (row.value, p.value, 100 * p.error, p.roofline, p.simple)
        told = ("" if number is None else f"{number:.6g}" for number in numbers)
        head = (row.row, row.chip, row.workload, params, row.dtype, row.metric, row.timing)
        writer.writerow((*head, *told, p.bound, int(p.beats_bound)))
    return out.getvalue()
