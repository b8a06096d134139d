"""Pipelines: cores dealt out to stages, reloads of what does not fit, and engines that work alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.stages import cores_for, slowest
from onchip.silicon.workloads import draw


def scaling(work: float) -> Callable[[int], float]:
    """Return the time of a stage that any number of cores shares evenly."""
    return lambda n: work / n


def seconds(name: str, chip: str | Chip, batch: int) -> float:
    return pipeline.forecast(draw("network", (("name", name), ("batch", str(batch)))), chip, dtype="int8").device_s


def test_two_equal_stages_take_a_core_each() -> None:
    assert slowest([scaling(3.0), scaling(3.0)], 2) == pytest.approx(3.0)


def test_a_stage_that_cannot_be_split_is_the_slowest() -> None:
    assert slowest([lambda n: 5.0, scaling(1.0)], 8) == pytest.approx(5.0)


def test_a_core_that_is_not_filled_works_for_others() -> None:
    assert cores_for(scaling(1.0), 4.0, 8) == 0.25
    assert slowest([scaling(1.0)] * 6, 2) == pytest.approx(3.0)


def test_stages_that_are_too_slow_need_more_than_there_are() -> None:
    assert cores_for(scaling(10.0), 1.0, 8) == float("inf")


@given(work=st.lists(st.floats(0.01, 100), min_size=1, max_size=12), cores=st.integers(1, 40))
def test_no_period_is_under_all_work_on_all_cores(work: list[float], cores: int) -> None:
    period = slowest([scaling(w) for w in work], cores)
    assert period >= sum(work) / cores * (1 - 1e-6)
    assert period >= max(work) / cores * (1 - 1e-6)


def test_what_fits_takes_the_same_for_each_inference() -> None:
    """The public rows: Hailo-8 has 1,372 fps at batch 1 and at batch 8, Hailo-10H 316 and 1,010 (SILICON facts)."""
    assert seconds("resnet50", "hailo-8", 8) == pytest.approx(8 * seconds("resnet50", "hailo-8", 1), rel=0.02)


def test_what_does_not_fit_reloads_its_weights_once_a_run() -> None:
    """25.5 MB of weights at 17.07 GB/s x 0.85 = 1.76 ms once, whatever the batch."""
    one, eight = (seconds("resnet50", "hailo-10h", batch) for batch in (1, 8))
    reload = (8 * one - eight) / 7
    assert reload == pytest.approx(25.5e6 / (17.07e9 * 0.85), rel=0.03)


def test_engines_that_work_alone_share_no_inference() -> None:
    """One inference takes as long on one engine as on two; two take as long as one where memory is no limit."""
    keys = {"dram.bandwidth": "10000 GB/s"}
    two = Chip.load("orin-dla-x2").replace(keys)
    one = Chip.load("orin-dla-x2").replace({**keys, "cores.count": 1})
    assert seconds("resnet18", two, 1) == pytest.approx(seconds("resnet18", one, 1), rel=1e-6)
    assert seconds("resnet18", two, 2) == pytest.approx(seconds("resnet18", two, 1), rel=0.15)
