"""What is tried: each change with a prediction worked out by hand from the causes of the time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from onchip.chip import Chip
from onchip.ir.report import Memory, Report
from onchip.ir.trace import Trace
from onchip.reports.changes import HARDWARE, bits_of, candidates, share
from onchip.reports.summary import summarize

EDGE = Chip.load("edge-npu-16")


@pytest.fixture
def report(make_trace: Callable[..., Trace]) -> Report:
    """Ten microseconds: 4 useful, 1 under-fill, 1 weights, 3 memory, 1 launch; 0.5 MB of weights in 1 MB of traffic."""
    made = summarize(make_trace())
    parts = {"useful": 4e-6, "underfill": 1e-6, "weights": 1e-6, "memory": 3e-6, "launch": 1e-6}
    return dataclasses.replace(
        made,
        latency_s=dataclasses.replace(made.latency_s, value=1e-5),
        waterfall=tuple(parts.items()),
        memory=Memory(1, 2, "x", 1_000_000),
        model=dataclasses.replace(made.model, parameters=500_000),
    )


def predicted(report: Report, chip: Chip = EDGE, **how: object) -> dict[str, float | None]:
    found = candidates(report, chip, **{"can_batch": True, **how})  # pyright: ignore[reportArgumentType]
    return {change.options: change.predicted for change in found}


def test_predictions_are_arithmetic_on_the_causes(report: Report) -> None:
    found = predicted(report, promised=-0.01)
    assert found.pop("--set dram.bandwidth=6.4GB/s") == pytest.approx(-0.15)  # half of 30 %
    assert found.pop("--set local.size=512KiB") == pytest.approx(-0.3 * (1 - 0.5**0.5))  # Hong & Kung
    # weights and launch 20 %, and the half of the memory's 30 % that loads weights
    for batch in (2, 4, 8):
        assert found.pop(f"--set batch={batch}") == pytest.approx(-(1 - 1 / batch) * 0.35)
    assert found.pop("--set effort=full") == -0.01
    assert not found  # int8 is the narrowest dtype of this chip


def test_what_promises_most_comes_first(report: Report) -> None:
    found = [change.predicted for change in candidates(report, EDGE, can_batch=True, promised=-0.2)]
    assert found == sorted(found, key=lambda p: p or 0.0)
    assert not any(change.kind == "batch" for change in candidates(report, EDGE, can_batch=False))


def test_a_narrower_dtype_is_as_much_faster_as_its_peak(report: Report) -> None:
    h100 = Chip.load("h100-sxm")
    wide = dataclasses.replace(report, dtype="bf16")
    found = predicted(wide, h100)
    peaks = h100.peak_ops_per_s("int8") / h100.peak_ops_per_s("bf16")
    # array time 50 %, memory and weights 40 % of which half is gone with half of the bytes
    assert found["--set dtype=int8"] == pytest.approx(-(0.5 * (1 - 1 / peaks) + 0.4 * 0.5))
    a100 = Chip.load("a100-sxm-80gb")
    slow = predicted(dataclasses.replace(report, dtype="fp32"), a100)["--set dtype=bf16"]
    assert slow == pytest.approx(-(0.5 * (1 - 19.5 / 312) + 0.4 * 0.5), rel=1e-3)  # TFLOPS of the datasheet
    assert "--set dtype=fp32" not in found and "--set dtype=bf16" not in found and "--set dtype=tf32" not in found
    risks = {c.kind: c.risk for c in candidates(wide, h100, can_batch=True)}
    assert "accuracy" in risks["dtype"] and "waits" in risks["batch"] and not risks["dram.bandwidth"]
    assert [bits_of(d) for d in ("int4", "fp8", "bf16", "tf32")] == [4, 8, 16, 32]


def test_every_override_is_one_that_the_chip_takes(report: Report) -> None:
    for name in ("edge-npu-16", "h100-sxm", "hailo-8", "tpu-v4"):
        chip = Chip.load(name)
        levers = {lever.key: lever for lever in HARDWARE}
        for change in candidates(dataclasses.replace(report, dtype=chip.default_dtype), chip, can_batch=False):
            if change.kind in levers:
                changed = chip.replace(dict(change.settings))
                assert levers[change.kind].value(changed) == 2 * levers[change.kind].value(chip)


def test_other_chips_come_by_their_power(report: Report) -> None:
    chips = [Chip.load(name) for name in Chip.names()]
    found = [c for c in candidates(report, EDGE, can_batch=False, chips=chips) if c.kind == "chip"]
    limits = [power.limit_w for c in found if (power := Chip.load(c.settings[0][1]).power) is not None]
    assert len(found) > 5 and limits == sorted(limits) and len(limits) == len(found)
    names = [c.settings[0][1] for c in found]
    assert "edge-npu-32" in names and "edge-npu-16" not in names and "edge-npu-4" not in names


def test_folding_saves_passes_of_the_first_layer(report: Report) -> None:
    layer = report.layers[0]
    array = sum(seconds for cause, seconds in layer.waterfall if cause in ("useful", "underfill"))
    found = predicted(report, fold=(layer, 0.25))
    assert found["--set rewrite=space_to_depth"] == pytest.approx(-array * 0.75 / 1e-5) and array > 0


def test_shares_are_of_the_whole(report: Report) -> None:
    assert share(report, ("memory", "launch")) == pytest.approx(0.4)
    assert share(dataclasses.replace(report, latency_s=dataclasses.replace(report.latency_s, value=0.0),
                                     waterfall=()), ("memory",)) == 0.0  # fmt: skip
