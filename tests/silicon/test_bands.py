"""Bands: quantiles worked by hand, left out by the definition, and what the package has in store."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.bands import LEVELS, Band, band_of, bands, write
from onchip.silicon.bands import (
    PROMISED,
    RULES,
    TARGET,
    WIDEN,
    Logs,
    Residual,
    class_of,
    covered,
    make_bands,
    misses,
    pools_of,
    residuals,
    span,
    widening,
)
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction


def row(log: float, shape: object, chip: str = "a", family: str = "f", workload: str = "gemm") -> Residual:
    return Residual(chip, family, workload, (shape,), log)


def test_a_span_is_worked_by_hand() -> None:
    """Ten rows of one part: a tenth lies at or below the second least, a tenth at or above the second largest."""
    assert span([np.arange(-4.0, 6.0)]) == (-3.0, 4.0)
    assert span([np.array([2.0, 3.0])]) == (0.0, 3.0), "the prediction itself lies inside"
    assert span([np.array([-2.0, -1.0])]) == (-2.0, 0.0)


def test_parts_weigh_the_same() -> None:
    """One row on a part of its own is half of all: a thousand rows of another part do not drown it."""
    assert span([np.zeros(1000), np.array([2.0])]) == (0.0, 2.0)
    assert span([np.zeros(1000), np.append(np.zeros(9), 2.0)]) == (0.0, 0.0), "a twentieth is less than a tenth"


def test_what_is_left_out_has_no_part_in_its_band() -> None:
    """Of three shapes each alone in being far off, the other two make the band; both ends are widened alike."""
    parts: dict[Hashable, Logs] = {name: np.array([log]) for name, log in (("x", 0.0), ("y", 0.1), ("z", 1.0))}
    assert [float(miss[0]) for miss in misses(parts)] == pytest.approx([0.0, 0.0, 0.9])
    assert widening(misses(parts)) == pytest.approx(0.9)
    assert covered(misses(parts), 0.89) == pytest.approx(2 / 3) and covered(misses(parts), 0.9) == 1


def test_rows_and_parts_both_have_to_be_covered() -> None:
    """Nineteen of twenty rows are inside, but they are of one part of two."""
    missed = [np.zeros(19), np.array([1.0])]
    assert covered(missed, 0.5) == 0.5 and widening(missed) == pytest.approx(1.0)


@given(st.lists(st.integers(-300, 300), min_size=20, max_size=40), st.randoms())
def test_bands_hold_for_rows_left_out_by_the_definition(logs: list[int], order: random.Random) -> None:
    """Made anew without each row, with the same widening: at least TARGET of the rows lie inside."""
    rows = [row(log / 100, i) for i, log in enumerate(logs)]
    (band,) = [band for band in make_bands(rows) if band.level == "same chip"]
    _, high = span([np.array([r.log]) for r in rows])
    wider = math.log(band.high) - high
    inside = 0
    for left in rows:
        others = [np.array([r.log]) for r in rows if r is not left]
        least, most = span(others)
        inside += least - wider - 1e-3 <= left.log <= most + wider + 1e-3
    assert inside / len(rows) >= TARGET > PROMISED or wider == WIDEN[-1]
    mixed = list(rows)
    order.shuffle(mixed)
    assert make_bands(mixed) == make_bands(rows)


def test_levels_need_evidence_of_their_kind() -> None:
    """One chip says nothing of other chips of its family, one family nothing of others."""
    one = [row(i / 10, i) for i in range(30)]
    assert [(b.level, b.workload) for b in make_bands(one)] == [("same chip", "gemm")]
    two = [*one, *(row(i / 10, i, chip="b") for i in range(30))]
    assert [(b.level, b.of) for b in make_bands(two)] == [("same chip", "a"), ("same chip", "b"), ("same family", "f")]
    far = [*two, *(row(3.0, i, chip="c", family="g") for i in range(30))]
    transfer = [b for b in make_bands(far) if b.level == "other family"]
    assert [(b.of, b.workload) for b in transfer] == [("", "gemm"), ("", "any")]
    assert all(math.log(b.high) >= 3.0 for b in transfer), "a family that is 3 off is within the band of families"


def test_small_pools_are_judged_together() -> None:
    """Three shapes cannot tell how wide their band has to be; ten chips of three shapes can."""
    rows = [row(log, i, chip=f"c{c}") for c in range(10) for i, log in enumerate((0.0, 0.1, c / 10))]
    made = [band for band in make_bands(rows) if band.level == "same chip"]
    assert {band.n for band in made} == {3} and {band.n_judged for band in made} == {30}
    tight = next(band for band in made if band.of == "c0")
    assert tight.high > 1.5, "its own rows are within 10 %"


def test_residuals_are_of_times() -> None:
    def predicted(metric: str, value: float) -> Prediction:
        params = (("M", "1"), ("N", "2"), ("K", "3"))
        row = Measurement(2, "v100-sxm", "lstm", params, "fp16", metric, value, "device")
        return Prediction(row, 2.0, None, None, "memory")

    slow, fast, power = predicted("latency_ms", 4.0), predicted("throughput_per_s", 4.0), predicted("power_w", 4.0)
    made = residuals([slow, fast, power])
    assert [r.log for r in made] == pytest.approx([math.log(2), -math.log(2)])
    assert {(r.family, r.workload) for r in made} == {("nvidia volta", "recurrent")}
    assert class_of("tanh") == class_of("mul") == "elementwise" and class_of("network") == "network"


def test_the_stored_bands_keep_the_promise() -> None:
    stored = bands()
    assert {level for level, _, _ in stored} == set(LEVELS)
    for band in stored.values():
        assert band.left_out >= PROMISED and band.low <= 1 <= band.high, band
    assert write(tuple(stored.values())).count("\n") == len(stored) + 2


def test_every_chip_has_a_band_for_networks_from_the_nearest_evidence() -> None:
    for name in Chip.names():
        chip = Chip.load(name)
        band = band_of(chip, "network")
        assert band is not None
        own = {level: of for level, of, workload in bands() if workload == "network" and of in (name, chip.family)}
        wanted = next((level for level in LEVELS if level in own), "other family")
        assert band.level == wanted, name
    whatif = band_of(Chip.load("a100-sxm-40gb").replace({"dram.bandwidth": "1 GB/s"}), "network")
    assert whatif is not None and whatif.level == "same family", "nobody measured a chip with other numbers"
    nothing = band_of(Chip.load("mi300x"), "attention")
    assert nothing is not None and nothing.level == "other family"


def test_a_band_goes_around_times_and_rates() -> None:
    band = Band("same chip", "c", "network", 0.8, 2.0, 10, 10, 0.9)
    time, rate = band.of_time(3.0), band.of_rate(8.0)
    assert (time.low, time.high) == pytest.approx((2.4, 6.0)) and (rate.low, rate.high) == pytest.approx((4.0, 10.0))
    assert str(band) == (
        "the band stems from 10 measured rows of this chip; bands made so held for 90 % of them when left out"
    )
    with pytest.raises(OnchipError, match="OC9014"):
        Band("same chip", "c", "network", 1.1, 2.0, 10, 10, 0.9)


def test_rules_are_of_all_levels() -> None:
    assert [rule.level for rule in RULES] == [*LEVELS, "other family"]
    assert pools_of([], RULES[0]) == {}
