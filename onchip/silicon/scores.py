"""Errors of predictions, per group of rows: the numbers that `onchip validate` prints.

In:       predictions and refusals. Out: `Validation`, groups in the order of their keys.
Promises: error = predicted / measured - 1. Medians and 90th percentiles are of |error|, between two ranks by linear
          interpolation; bias is the mean error; rank correlation is Spearman's, with mean ranks for ties, between
          log(measured / roofline) and log(predicted / roofline): the roofline alone would otherwise get most of the
          credit. It is None under three rows, where one side has no order, and for metrics without a roofline.
          The simple baseline of energy and power is constant power, in the chip's other rows of the file, times the
          measured time; None where there are no others. Nothing depends on the order of the rows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction, Refusal
from onchip.silicon.workloads import work_key

GroupKey = tuple[str, str, str, str, str]
Json = dict[str, Any]
LEAST_RANKED = 3


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one chip, workload, metric, dtype and timing; percentages."""

    chip: str
    workload: str
    metric: str
    dtype: str
    timing: str
    n: int
    median_abs_pct_error: float
    p90_abs_pct_error: float
    bias_pct: float
    rank_correlation: float | None
    baseline_roofline_median: float | None
    baseline_simple_median: float | None

    @property
    def key(self) -> GroupKey:
        return (self.chip, self.workload, self.metric, self.dtype, self.timing)

    def to_json(self) -> Json:
        """Return the published object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Validation:
    """The errors of a measurements file."""

    groups: tuple[Group, ...]
    predictions: tuple[Prediction, ...]
    refusals: tuple[Refusal, ...]

    @property
    def beats_bound(self) -> tuple[Prediction, ...]:
        """The rows whose measured number is better than their own roofline."""
        return tuple(p for p in self.predictions if p.beats_bound)

    def of(self, group: Group) -> tuple[Prediction, ...]:
        """Return the predictions of a group."""
        return tuple(p for p in self.predictions if group_key(p.measurement) == group.key)


def score(results: Iterable[Prediction | Refusal]) -> Validation:
    """Return the groups of rows with their errors."""
    ordered = sorted(results, key=lambda result: result.measurement.row)
    predictions = tuple(result for result in ordered if isinstance(result, Prediction))
    refusals = tuple(result for result in ordered if isinstance(result, Refusal))
    powers = _constant_powers([result.measurement for result in ordered])
    members: dict[GroupKey, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        members[group_key(prediction.measurement)].append(prediction)
    return Validation(tuple(_group(key, members[key], powers) for key in sorted(members)), predictions, refusals)


def group_key(row: Measurement) -> GroupKey:
    """Return what rows of a group have in common."""
    return (row.chip, row.workload, row.metric, row.dtype, row.timing)


def _group(key: GroupKey, rows: Sequence[Prediction], powers: dict[int, float]) -> Group:
    signed = [100 * row.error for row in rows]
    errors = [abs(error) for error in signed]
    return Group(
        *key,
        n=len(rows),
        median_abs_pct_error=percentile(errors, 50),
        p90_abs_pct_error=percentile(errors, 90),
        bias_pct=math.fsum(sorted(signed)) / len(rows),
        rank_correlation=_rank_correlation(rows),
        baseline_roofline_median=_baseline(rows, {row.measurement.row: row.roofline for row in rows}),
        baseline_simple_median=_baseline(
            rows, {row.measurement.row: powers.get(row.measurement.row, row.simple) for row in rows}
        ),
    )


def _baseline(rows: Sequence[Prediction], values: dict[int, float | None]) -> float | None:
    """Return the median |error| in percent of a baseline, None where it lacks a row."""
    errors: list[float] = []
    for row in rows:
        value = values[row.measurement.row]
        if value is None:
            return None
        errors.append(100 * abs(value / row.measurement.value - 1))
    return percentile(errors, 50)


def _rank_correlation(rows: Sequence[Prediction]) -> float | None:
    pairs = [(row.measurement.value / row.roofline, row.value / row.roofline) for row in rows if row.roofline]
    if len(pairs) < max(LEAST_RANKED, len(rows)):
        return None
    return spearman([measured for measured, _ in pairs], [predicted for _, predicted in pairs])


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value at a percentage of the way from the least to the largest, by linear interpolation."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the correlation of ranks, None where all of one side are equal."""
    a, b = _ranks(x), _ranks(y)
    mean = (len(a) + 1) / 2
    spread_a, spread_b = (math.fsum((r - mean) ** 2 for r in ranks) for ranks in (a, b))
    if spread_a == 0 or spread_b == 0:
        return None
    product = math.fsum((p - mean) * (q - mean) for p, q in zip(a, b, strict=True))
    return max(-1.0, min(1.0, product / math.sqrt(spread_a * spread_b)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for at in order[start : end + 1]:
            ranks[at] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _constant_powers(rows: Sequence[Measurement]) -> dict[int, float]:
    """Return, per row of energy or power, what constant power gives: the median of the chip's other rows.

    Power of an energy row is energy / latency of the same work in the same file.
    """
    seconds = {_work(row): row.value / 1e3 for row in sorted(rows, key=_text) if row.metric == "latency_ms"}
    watts: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        if row.metric == "power_w":
            watts[row.chip].append((row.row, row.value))
        elif row.metric == "energy_mj" and _work(row) in seconds:
            watts[row.chip].append((row.row, row.value / 1e3 / seconds[_work(row)]))
    found: dict[int, float] = {}
    for row in rows:
        others = [value for number, value in watts[row.chip] if number != row.row]
        if not others or row.metric not in ("power_w", "energy_mj"):
            continue
        power = percentile(others, 50)
        if row.metric == "power_w":
            found[row.row] = power
        elif _work(row) in seconds:
            found[row.row] = power * seconds[_work(row)] * 1e3
    return found


def _work(row: Measurement) -> tuple[object, ...]:
    return (row.chip, row.workload, work_key(row.params), row.dtype)


def _text(row: Measurement) -> tuple[str, float]:
    return (row.timing, row.value)
