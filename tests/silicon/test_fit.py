"""Fits: optima worked by hand, leave-one-out by the definition, and the lattice searched exhaustively."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.silicon.fit import RATIO, STRIDES, Fit, Logs, Point, errors_of, fit

STEP = math.log(RATIO)


def one(offsets: list[int], groups: list[int] | None = None) -> Fit:
    """Fit one scalar that shifts all rows: row i is predicted exactly at `offsets[i]` steps."""

    def price(point: Point) -> Logs:
        return STEP * (np.array(offsets, dtype=float) - point[0])

    return fit(price, groups or list(range(len(offsets))), 1, lambda _done, _total: None)


def percent(steps: int) -> float:
    return 100 * abs(RATIO**steps - 1)


def test_one_scalar_ends_on_the_median_and_rows_left_out_on_that_of_the_others() -> None:
    """The mean of |x - a| is least at the median: without 10 or 20 at 40, without 40 or 80 at 20."""
    made = one([10, 20, 40, 80])
    assert 20 <= made.point[0] <= 40
    assert made.low == (20,) and made.high == (40,)
    left = sorted(percent(n) for n in (10 - 40, 20 - 40, 40 - 20, 80 - 20))
    assert made.left_out is not None
    assert made.left_out.median == pytest.approx((left[1] + left[2]) / 2, rel=1e-9)
    assert made.left_out.p90 == pytest.approx(left[2] + 0.7 * (left[3] - left[2]), rel=1e-9)


def test_rows_of_a_group_are_left_out_together() -> None:
    """Three rows at 50 and one group of two at 0: without a group the other decides, alone it cannot help itself."""
    made = one([50, 50, 50, 0, 0], groups=[1, 1, 1, 2, 2])
    assert made.point == (50,) and made.inside.median == 0 and made.n_groups == 2
    assert made.left_out is not None and made.left_out.median == pytest.approx(percent(50), rel=0.3)
    assert made.left_out.median > 20, "each group is predicted from the other one alone"


def test_one_group_has_nobody_to_be_left_out_by() -> None:
    made = one([7, 7], groups=[1, 1])
    assert made.left_out is None and made.point == (7,)


def test_two_scalars_that_work_against_each_other() -> None:
    """Rows see the sum of both, or their difference: the one optimum is where both hold."""

    def price(point: Point) -> Logs:
        a, b = point
        return STEP * np.array([a + b - 60, a + b - 60, a - b - 20, a - b - 20], dtype=float)

    made = fit(price, [1, 2, 3, 4], 2, lambda _d, _t: None)
    assert made.point == (40, 20) and made.inside.p90 == 0


@given(st.lists(st.integers(-120, 120), min_size=3, max_size=9))
def test_no_lattice_point_is_better(offsets: list[int]) -> None:
    made = one(offsets)

    def loss(at: int) -> int:
        return sum(abs(offset - at) for offset in offsets)

    assert loss(made.point[0]) == min(loss(at) for at in range(-130, 131))


def test_the_search_stays_inside_of_what_is_allowed() -> None:
    def price(point: Point) -> Logs | None:
        return None if point[0] > 12 else STEP * np.array([40.0 - point[0]] * 3)

    made = fit(price, [1, 2, 3], 1, lambda _d, _t: None)
    assert made.point == (12,)
    with pytest.raises(ValueError, match="outside"):
        fit(lambda _point: None, [1], 1, lambda _d, _t: None)


def test_points_are_priced_once_and_searches_counted() -> None:
    asked: list[Point] = []
    seen: list[tuple[int, int]] = []
    offsets = np.array([3.0, 9.0, 30.0, 31.0])

    def price(point: Point) -> Logs:
        asked.append(point)
        return STEP * (offsets - point[0])

    fit(price, [0, 1, 2, 3], 1, lambda done, total: seen.append((done, total)))
    assert len(asked) == len(set(asked)) < 60
    assert seen == [(i, 5) for i in range(1, 6)]


def test_errors_worked_by_hand() -> None:
    """Twice, half and exact: |error| of 100, 50 and 0 percent."""
    errors = errors_of(np.log([2.0, 0.5, 1.0]))
    assert errors.median == pytest.approx(50) and errors.p90 == pytest.approx(90)
    assert STRIDES[-1] == 1
