"""Calls on the host: formulas by hand, limits, and which number wins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.silicon.host import PUBLISHERS, call_s, timed_on_host_s
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction, predict

Rows = Callable[..., tuple[Measurement, ...]]
LLM, DEEPBENCH = "HenryChang213/LLMCompass_ISCA_AE@f2bb5f9", "baidu-research/DeepBench@da81ba7 gemm train"


def measured(workload: str, source: str) -> Measurement:
    return Measurement(2, "c", workload, (), "fp16", "latency_ms", 1.0, "host", source)


@pytest.mark.parametrize(
    ("workload", "source", "device_us", "host_us"),
    [
        ("gelu", LLM, 2.5, 47.0),  # published: 47.2 to 48.6 us up to 4 M elements
        ("gelu", LLM, 100.0, 135.25),  # 0.75 x 47 before the kernel
        ("softmax", LLM, 0.0, 13.0),
        ("gemm", DEEPBENCH, 8.0, 8.0),
        ("bmm", "sitar-lab/NeuSight@6945927", 10.0, 50.0),
        ("network", "NVIDIA/DeepLearningExamples@729963d paddle", 900.0, 1350.0),  # 0.75 x 600 before the first kernel
        ("network", "NVIDIA/TensorRT demo/BERT 8.5.1.7", 900.0, 900.0),
        ("network", "sitar-lab/NeuSight@6945927", 900.0, 900.0),
        ("relu", "a paper", 4.5, 18.0),
    ],
)
def test_a_call_by_hand(workload: str, source: str, device_us: float, host_us: float) -> None:
    assert timed_on_host_s(measured(workload, source), device_us * 1e-6) == pytest.approx(host_us * 1e-6)


@given(st.sampled_from([*PUBLISHERS, "x"]), st.sampled_from(["gemm", "gelu", "network"]), *[st.floats(0, 1)] * 2)
def test_never_below_the_device_or_the_call(source: str, workload: str, one: float, two: float) -> None:
    row = measured(workload, source)
    short, long = (timed_on_host_s(row, seconds) for seconds in sorted((one, two)))
    assert max(one, two) <= long <= max(one, two) + call_s(row) and call_s(row) <= short <= long


def test_the_chip_and_the_row_win(rows: Rows) -> None:
    def told(chip: str, params: str, source: str) -> float:
        (made,) = predict(rows(f"{chip},gemm,M=64;N=64;K=64{params},fp16,latency_ms,1,host,{source}"))
        assert isinstance(made, Prediction)
        return made.value * 1e3

    chip = "a100-sxm-80gb?launch.in_graph=2us"
    device = told(chip, "", DEEPBENCH)
    assert told(chip, "", LLM) == pytest.approx(21) and device < 5
    assert told(f"{chip}&launch.host=7us", "", LLM) == pytest.approx(device + 7)
    assert told(chip, ";empty_kernel_us=50", LLM) == pytest.approx(device + 48)
