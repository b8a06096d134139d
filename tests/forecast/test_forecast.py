"""The forecast as a whole: sums, limits and refusals."""

from __future__ import annotations

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import InternalError, NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Forecast, Step
from onchip.ir.program import Model
from onchip.silicon.bounds import work_of
from onchip.silicon.workloads import draw

CHIPS = ("a100-sxm-80gb", "h100-sxm", "v100-sxm")


def gemm(m: int, n: int, k: int) -> pipeline.Graph:
    return draw("gemm", (("M", str(m)), ("N", str(n)), ("K", str(k))))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", [(1, 4096, 4096), (128, 512, 8192), (4096, 4096, 4096)])
def test_cold_starts_are_not_under_the_roofline(chip: str, size: tuple[int, int, int]) -> None:
    graph, loaded = gemm(*size), Chip.load(chip)
    made = pipeline.forecast(graph, loaded, dtype="fp16", start="cold")
    assert made.device_s >= work_of(graph, "fp16").roofline_s(loaded, "fp16")
    assert made.device_s == pytest.approx(sum(step.seconds for step in made.steps) + made.per_run_s)


def test_more_bandwidth_is_not_slower() -> None:
    graph, chip = gemm(8, 8192, 8192), Chip.load("a100-sxm-80gb")
    slow, fast = (
        pipeline.forecast(graph, chip.replace({"dram.bandwidth": rate}), dtype="bf16").device_s
        for rate in ("1000 GB/s", "2000 GB/s")
    )
    assert fast < slow


def test_an_op_without_a_closed_form_is_refused_by_name() -> None:
    builder = GraphBuilder("sorted")
    values, _ = builder.node("top_k", (builder.input("x", (4, 16)),), "best", k=2)
    builder.output(values)
    with pytest.raises(NotSupported, match="best: OC1506 no forecast for op top_k"):
        pipeline.forecast(builder.finish(), "a100-sxm-80gb", dtype="bf16")


def test_a_time_that_is_none_is_refused() -> None:
    step = Step("fc1", ("fc1",), "linear", 1, 1.0, (("memory", float("nan")),))
    with pytest.raises(InternalError, match="fc1: OC9013"):
        Forecast(Model("net", "", 1, 0), Chip.load("tpu-v4"), "bf16", (step,))


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(NotSupported, match="OC1301"):
        pipeline.forecast(gemm(8, 8, 8), "tpu-v1", dtype="fp32")
