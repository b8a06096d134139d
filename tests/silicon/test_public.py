"""The public rows: nothing gets worse than what docs/accuracy.json says, and all of them are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onchip.silicon.measurements import PUBLIC, Measurement
from onchip.silicon.page import BEGIN, END, limits, page_text, replaced
from onchip.silicon.predict import Prediction, Refusal
from onchip.silicon.scores import score
from onchip.silicon.validate import validate

DOCS = Path(__file__).parents[2] / "docs"
POINT = 1.0  # percent


@pytest.mark.slow
def test_no_group_gets_worse() -> None:
    made = validate(PUBLIC)
    assert len(made.predictions) + len(made.refusals) == 2662
    now = limits(made.groups)
    for key, (n, median, p90) in json.loads((DOCS / "accuracy.json").read_text(encoding="utf-8")).items():
        assert key in now and now[key][0] >= n, f"{key}: rows are refused that were predicted"
        if now[key][0] == n:
            assert now[key][1] <= median + POINT and now[key][2] <= p90 + POINT, (
                f"{key}: {now[key]} after {median, p90}"
            )


def test_the_page_tells_bad_rows_and_refusals() -> None:
    def row(number: int, measured: float) -> Measurement:
        return Measurement(number, "c", "gemm", (("M", str(number)),), "bf16", "latency_ms", measured, "device")

    made = score(
        [
            Prediction(row(2, 1.0), 1.1, 0.5, 0.7, "memory"),
            Prediction(row(3, 1.0), 8.0, 2.0, 0.7, "launch"),
            Prediction(row(4, 1.0), 1.0, 0.5, 0.7, "memory"),
            Refusal(row(5, 1.0), "gemm: OC1504 'K' is missing. It needs M | N | K."),
        ]
    )
    text = page_text(made)
    assert "| c | gemm | latency_ms | bf16 | device | 3 | 10 % |" in text
    assert "| c | gemm M=3 | bf16 | latency_ms | 1 | 8 | 8.00x above | launch |" in text
    assert "| c gemm bf16 latency_ms | 1 of 3 | 10 / 562 % | 5 / 9 % |" in text
    assert "| c | gemm | 1 | gemm: OC1504 'K' is missing. It needs M / N / K. |" in text
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
