"""The statistics, against cases worked by hand and against SciPy and NumPy."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction, Refusal
from onchip.silicon.scores import percentile, score, spearman


def prediction(row: int, measured: float, predicted: float, roofline: float | None = 1.0, **words: str) -> Prediction:
    names = {"chip": "c", "workload": "gemm", "dtype": "bf16", "metric": "latency_ms", "timing": "device"} | words
    params = (("M", str(row % 100)),)
    measurement = Measurement(
        row, names["chip"], names["workload"], params, names["dtype"], names["metric"], measured, names["timing"]
    )
    return Prediction(measurement, predicted, roofline, None if roofline is None else 2 * roofline, "memory")


def test_percentiles_worked_by_hand() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([10.0, 0.0, 20.0], 90) == 18.0
    assert percentile([7.0], 90) == 7.0


def test_percentiles_are_numpys() -> None:
    chance = random.Random(3)
    for n in range(1, 30):
        values = [chance.random() for _ in range(n)]
        for percent in (0, 13, 50, 90, 100):
            assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-12)


def test_ranks_worked_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 40]) == 1
    assert spearman([1, 2, 3, 4], [9, 7, 5, 3]) == -1
    # differences of ranks 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15)
    assert spearman([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(0.8, abs=1e-15)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    assert spearman([1, 5, 5, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5), abs=1e-15)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_ranks_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = random.Random(5)
    for n in range(3, 25):
        x, y = ([chance.randint(0, 6) for _ in range(n)] for _ in range(2))
        made = spearman(x, y)
        if made is not None:
            assert made == pytest.approx(float(stats.spearmanr(x, y).statistic), abs=1e-12)


def test_a_group_worked_by_hand() -> None:
    # errors +50 %, -50 %, +10 %, 0 %; |.| sorted 0, 10, 50, 50
    rows = [prediction(2, 2, 3), prediction(3, 4, 2), prediction(4, 10, 11), prediction(5, 8, 8)]
    (group,) = score(rows).groups
    assert group.key == ("c", "gemm", "latency_ms", "bf16", "device") and group.n == 4
    assert group.median_abs_pct_error == pytest.approx(30) and group.p90_abs_pct_error == pytest.approx(50)
    assert group.bias_pct == pytest.approx(2.5)
    # ranks of measured 1, 2, 4, 3; of predicted 2, 1, 4, 3
    assert group.rank_correlation == pytest.approx(0.8)
    # roofline 1 is off by 50, 75, 90, 87.5 %; simple 2 by 0, 50, 80, 75 %
    assert group.baseline_roofline_median == pytest.approx(81.25)
    assert group.baseline_simple_median == pytest.approx(62.5)


def test_rank_correlation_leaves_the_roofline_out() -> None:
    """Time follows the roofline perfectly here; what is left is in the opposite order."""
    rows = [prediction(i, 10.0**i * (1 + i / 10), 10.0**i * (2 - i / 10), 10.0**i) for i in range(1, 6)]
    assert score(rows).groups[0].rank_correlation == -1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_under_three_rows_there_is_no_rank(n: int) -> None:
    (group,) = score([prediction(i, i, i * i) for i in range(2, 2 + n)]).groups
    assert (group.rank_correlation is None) == (n < 3)


def test_groups_are_apart_and_sorted() -> None:
    rows = [prediction(2, 1, 1, chip="z"), prediction(3, 1, 1, timing="host"), prediction(4, 1, 1)]
    made = score([*rows, Refusal(prediction(5, 1, 1).measurement, "why")])
    assert [group.key[0] + group.key[4] for group in made.groups] == ["cdevice", "chost", "zdevice"]
    assert [refusal.reason for refusal in made.refusals] == ["why"]
    assert made.of(made.groups[1]) == (rows[1],)


def test_the_order_of_rows_does_not_matter() -> None:
    chance = random.Random(7)
    rows = [prediction(i, chance.random() + 0.1, chance.random() + 0.1, chance.random() + 0.1) for i in range(2, 90)]
    mixed = rows[:]
    chance.shuffle(mixed)
    assert score(mixed) == score(rows)


def test_rows_that_beat_their_bound() -> None:
    slow, fast = prediction(2, 1.5, 1), prediction(3, 0.5, 1)
    much, little = prediction(4, 1.5, 1, metric="tops"), prediction(5, 0.5, 1, metric="tops")
    bytes_, energy = prediction(6, 0.5, 1, metric="dram_mb"), prediction(7, 0.5, 1, None, metric="energy_mj")
    made = score([slow, fast, much, little, bytes_, energy])
    assert made.beats_bound == (fast, much)
    assert sum(group.n for group in made.groups) == 6, "they stay in their groups"


def test_constant_power_is_that_of_the_other_rows() -> None:
    """Powers 1, 2 and 4 W: each row gets the median of the other two, times its own measured time."""
    times = [prediction(i, 10.0, 1, metric="latency_ms") for i in (102, 103, 104)]
    joules = [prediction(i + 100, mj, 1, None, metric="energy_mj") for i, mj in ((102, 10.0), (103, 20.0), (104, 40.0))]
    group = next(g for g in score([*times, *joules]).groups if g.metric == "energy_mj")
    # 3 W, 2.5 W, 1.5 W against 1, 2, 4 W: 200, 25, 62.5 %
    assert group.baseline_simple_median == pytest.approx(62.5) and group.baseline_roofline_median is None
    watts = [prediction(i, w, 1, None, metric="power_w") for i, w in ((2, 1.0), (3, 2.0), (4, 4.0))]
    (group,) = score(watts).groups
    assert group.baseline_simple_median == pytest.approx(62.5) and group.rank_correlation is None
    (alone,) = score(watts[:1]).groups
    assert alone.baseline_simple_median is None
