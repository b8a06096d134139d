"""The public rows: nothing gets worse than what docs/accuracy.json says, and all of them are told."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import pytest

from onchip.ir.bands import bands
from onchip.silicon.ablation import Ablation
from onchip.silicon.bands import PROMISED, RULES, make_bands, residuals
from onchip.silicon.measurements import PUBLIC, Measurement
from onchip.silicon.overview import overview
from onchip.silicon.page import BEGIN, END, limits, page_text, replaced
from onchip.silicon.predict import Prediction, Refusal
from onchip.silicon.scores import Validation, score
from onchip.silicon.validate import validate

DOCS = Path(__file__).parents[2] / "docs"
POINT = 1.0  # percent


@functools.cache
def public() -> Validation:
    return validate(PUBLIC)


def test_no_group_gets_worse() -> None:
    made = public()
    assert len(made.predictions) + len(made.refusals) == 2662
    now = limits(made.groups)
    for key, (n, median, p90) in json.loads((DOCS / "accuracy.json").read_text(encoding="utf-8")).items():
        assert key in now and now[key][0] >= n, f"{key}: rows are refused that were predicted"
        if now[key][0] == n:
            assert now[key][1] <= median + POINT and now[key][2] <= p90 + POINT, (
                f"{key}: {now[key]} after {median, p90}"
            )


@pytest.mark.slow
def test_the_readme_has_the_table_of_today() -> None:
    for name, is_chinese in (("README.md", False), ("README.zh-CN.md", True)):
        page = (DOCS.parent / name).read_text(encoding="utf-8")
        table = overview(public(), is_chinese=is_chinese)
        assert replaced(page, table) == page, "run python -m onchip.silicon.page"


def test_the_overview_has_every_row_once_and_the_worst_group() -> None:
    def row(number: int, chip: str, workload: str, metric: str = "latency_ms") -> Measurement:
        return Measurement(number, chip, workload, (("M", str(number)),), "bf16", metric, 1.0, "device")

    made = score(
        [
            Prediction(row(2, "h100-sxm", "gemm"), 1.1, 0.5, 0.7, "memory"),
            Prediction(row(3, "h100-sxm", "gemm"), 1.2, 0.5, 0.7, "memory"),
            Prediction(row(4, "a100-sxm-80gb", "gemm"), 0.5, 0.5, 0.8, "memory"),
            Prediction(row(5, "h100-sxm", "network"), 1.3, 0.5, 0.7, "memory"),
            Prediction(row(6, "edge-tpu-usb", "network"), 1.4, 0.5, 0.7, "memory"),
            Prediction(row(7, "edge-tpu-usb", "network", "energy_mj"), 1.4, None, None, "memory"),
        ]
    )
    lines = overview(made).splitlines()[3:-1]
    assert lines[0] == (
        "| matrix products, GPUs and TPU v3 | 2 | 3 | 20 % | 44 % | 30 % | a100-sxm-80gb gemm bf16: 50 % |"
    )
    assert sum(int(line.split(" | ")[2]) for line in lines) == 6 and len(lines) == 4


@pytest.mark.slow
def test_printed_bands_cover_rows_left_out() -> None:
    """Made anew from the public rows they keep the promise, and so do those in the package."""
    rows = residuals(public().predictions)
    assert {(b.level, b.of, b.workload) for b in make_bands(rows)} == set(bands())
    assert all(band.left_out >= PROMISED for band in make_bands(rows))
    for rule in RULES:
        inside = [
            math.log(band.low) <= row.log <= math.log(band.high)
            for row in rows
            if (band := bands().get((rule.level, *rule.pool(row)))) is not None
        ]
        assert sum(inside) >= PROMISED * len(inside), f"{rule.level}: run python -m onchip.silicon.page"


def test_the_page_tells_bad_rows_and_refusals() -> None:
    def row(number: int, measured: float) -> Measurement:
        return Measurement(number, "h100-sxm", "gemm", (("M", str(number)),), "bf16", "latency_ms", measured, "device")

    made = score(
        [
            Prediction(row(2, 1.0), 1.1, 0.5, 0.7, "memory"),
            Prediction(row(3, 1.0), 8.0, 2.0, 0.7, "launch"),
            Prediction(row(4, 1.0), 1.0, 0.5, 0.7, "memory"),
            Refusal(row(5, 1.0), "gemm: OC1504 'K' is missing. It needs M | N | K."),
        ]
    )
    text = page_text(made, (Ablation("nothing", (("gemm", 4.6, 17.0, 10),)),))
    assert "| nothing | 4.6 / 17 |" in text and "| h100-sxm | achieved." in text
    assert "| h100-sxm | gemm | latency_ms | bf16 | device | 3 | 10 % |" in text
    assert "| h100-sxm | gemm M=3 | bf16 | latency_ms | 1 | 8 | 8.00x above | launch |" in text
    assert "| h100-sxm gemm bf16 latency_ms | 1 of 3 | 10 / 562 % | 5 / 9 % |" in text
    assert "| h100-sxm | gemm | 1 | gemm: OC1504 'K' is missing. It needs M / N / K. |" in text
    assert "| same chip | h100-sxm | gemm | " in text and " | 3 | 100 % of 3 |" in text
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, text) == f"before\n{text}after\n"
    with pytest.raises(ValueError, match="no markers"):
        replaced("no markers", text)


def test_the_page_in_docs_is_generated() -> None:
    """The section has the groups of accuracy.json, with the medians that stand there."""
    page = (DOCS / "accuracy.md").read_text(encoding="utf-8")
    section = page.partition(BEGIN)[2].partition(END)[0]
    for key, (n, median, _) in json.loads((DOCS / "accuracy.json").read_text(encoding="utf-8")).items():
        chip, workload, metric, dtype, timing = key.split()
        told = f"{median:,.0f} %" if median >= 10 else f"{median:.1f} %"
        assert f"| {chip} | {workload} | {metric} | {dtype} | {timing} | {n} | {told} |" in section, key
