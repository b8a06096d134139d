"""Predictions: timings and metrics from one report, refusals with reasons, and no influence of other rows."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.forecast import PRICES
from onchip.forecast.traffic import Start
from onchip.ir.program import Model
from onchip.silicon import predict as module
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import METRICS, Prediction, Refusal, predict
from onchip.silicon.workloads import draw

Rows = Callable[..., tuple[Measurement, ...]]
GEMM = "M=256;N=512;K=1024"
CHIP = "a100-sxm-80gb?launch.host=7us&launch.in_graph=2us"


def row(metric: str, *, timing: str = "device", chip: str = CHIP, params: str = GEMM, dtype: str = "bf16") -> str:
    return f"{chip},gemm,{params},{dtype},{metric},1,{timing},"


def values(rows: Rows, *lines: str) -> list[float]:
    made = predict(rows(*lines))
    assert all(isinstance(result, Prediction) for result in made), made
    return [result.value for result in made if isinstance(result, Prediction)]


def test_latency_is_the_forecasts(rows: Rows) -> None:
    """Kernels timed on the device read their weights cold; whatever else is timed repeats a run."""
    (parsed,) = rows(row("latency_ms"))
    made = pipeline.forecast(draw("gemm", parsed.params), CHIP, dtype="bf16", start="activations")
    assert values(rows, row("latency_ms")) == [made.device_s * 1e3]


def test_timings_add_what_the_clock_sees(rows: Rows) -> None:
    """One kernel: host adds one launch; a published empty kernel replaces the launch in the graph."""
    host, empty, board = values(
        rows, row("latency_ms", timing="host"),
        row("latency_ms", timing="host", params=f"{GEMM};empty_kernel_us=50"), row("latency_ms", timing="end_to_end"),
    )  # fmt: skip
    (parsed,) = rows(row("latency_ms"))
    warm = pipeline.forecast(draw("gemm", parsed.params), CHIP, dtype="bf16", start="warm").device_s * 1e3
    assert host - warm == pytest.approx(7e-3, rel=1e-9)
    assert empty - warm == pytest.approx(48e-3, rel=1e-9)
    link = Chip.load(CHIP).host
    assert link is not None
    edges = 2 * (256 * 1024 + 256 * 512)  # the input and the output, bf16
    assert board - warm == pytest.approx(1e3 * edges / link.bandwidth_bytes_per_s, rel=1e-9)


def test_metrics_of_time_are_the_same_time(rows: Rows) -> None:
    ms, per_s, tops = values(rows, row("latency_ms"), row("throughput_per_s"), row("tops"))
    assert per_s == pytest.approx(256 / (ms * 1e-3), rel=1e-12)
    assert tops == pytest.approx(2 * 256 * 512 * 1024 / (ms * 1e-3) / 1e12, rel=1e-12)


def test_energy_is_per_inference_and_power_over_the_time(rows: Rows) -> None:
    ms, mj, watts = values(rows, row("latency_ms"), row("energy_mj"), row("power_w"))
    assert watts == pytest.approx(256 * mj / ms, rel=1e-12)


def test_bytes_are_those_of_the_forecast(rows: Rows) -> None:
    """The weight is far, 1 MiB; through the cache go weight, input and output, 1 MiB + 512 KiB + 256 KiB."""
    dram, on_chip = values(rows, row("dram_mb"), row("glb_mb"))
    assert dram == pytest.approx(2 * 1024 * 512 / 1e6), "the weight; activations are on the chip"
    assert on_chip == pytest.approx(2 * (1024 * 512 + 256 * 1024 + 256 * 512) / 1e6)


def test_no_row_falls_back_to_our_program(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """An op that has a program and no forecast is refused by name, in every metric."""
    monkeypatch.delitem(PRICES, "linear")
    for metric in METRICS:
        (refused,) = predict(rows(row(metric, params="M=4;N=4;K=4", chip="tiny-npu-4", dtype="int8")))
        assert isinstance(refused, Refusal) and refused.reason.startswith("gemm: OC1506 no forecast for op linear.")


@pytest.mark.parametrize("chip", ["tpu-v4", "ethos-u85-512", "hailo-8l", "orin-dla-x2", "eyeriss-v1"])
def test_every_metric_of_a_network_is_above_zero(rows: Rows, chip: str) -> None:
    dtype = Chip.load(chip).default_dtype
    line = f"{chip},network,name=resnet8;batch=4,{dtype},METRIC,1,device,"
    ms, per_s, tops, mj, watts, dram, near = values(rows, *(line.replace("METRIC", metric) for metric in METRICS))
    assert per_s == pytest.approx(4e3 / ms) and watts == pytest.approx(4 * mj / ms)
    assert tops * 1e12 <= Chip.load(chip).peak_ops_per_s(dtype) and 0 < dram <= near


def test_baselines_worked_by_hand(rows: Rows) -> None:
    """A100: 312 TFLOPS, published; 2039 GB/s. This product is bound by its operations, a narrow one by its bytes."""
    (wide,) = predict(rows(row("latency_ms", params="M=4096;N=4096;K=4096")))
    (thin,) = predict(rows(row("latency_ms", params="M=1;N=4096;K=4096", timing="host")))
    assert isinstance(wide, Prediction) and isinstance(thin, Prediction)
    compute, memory = 2 * 4096**3 / 312e12, 2 * (4096 + 4096**2 + 4096) / 2039e9
    assert wide.roofline == pytest.approx(1e3 * compute, rel=1e-3)
    assert wide.simple == pytest.approx(1e3 * (compute / 0.8 + 2e-6), rel=1e-3)
    assert thin.roofline == pytest.approx(1e3 * memory, rel=1e-9)
    assert thin.simple == pytest.approx(1e3 * (memory / 0.82 + 9e-6), rel=1e-9)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (row("latency_ms", chip="a100-sxm"), "chip: OC1001 no chip is named 'a100-sxm'. Did you mean "),
        (row("latency_ms", chip="/absent.toml"), "/absent.toml: OC1101 "),
        (row("latency_ms", dtype="fp4"), "a100-sxm-80gb?launch.host=7us&launch.in_graph=2us: OC1301 no matrix array"),
        (row("latency_s"), "metric: OC1505 'latency_s' is no metric that is predicted. Did you mean 'latency_ms'"),
        (row("latency_ms", timing="wall"), "timing: OC1505 'wall' is no timing that is predicted."),
        (row("latency_ms").replace(",gemm,", ",gemv,"), "gemv: OC1503 no workload is named 'gemv'. Did you mean"),
        ("a100-sxm-80gb,network,name=alexnet9,bf16,latency_ms,1,device,", "@alexnet9: OC1002 no network of that name"),
        ("a100-sxm-80gb,relu,n=4096,fp16,tops,1,device,", "relu: OC1505 no tops: there are no products"),
    ],
)
def test_a_row_is_refused_with_its_name(rows: Rows, line: str, said: str) -> None:
    refused, fine = predict(rows(line, row("latency_ms")))
    assert isinstance(refused, Refusal) and refused.reason.startswith(said), refused
    assert isinstance(fine, Prediction)


def test_a_chip_without_energy_has_no_energy(rows: Rows, tmp_path: Path) -> None:
    text = str(Chip.load("tiny-npu-4"))
    parts = re.split(r"(?m)^(?=\[)", text)
    kept = "".join(part for part in parts if not part.startswith(("[energy", "[[energy")))
    (tmp_path / "mine.toml").write_text(re.sub(r'"energy\.[a-z]+"', '"dram.latency"', kept))
    chip = tmp_path / "mine.toml"
    refused, fine = predict(
        rows(
            *(row(metric, chip=str(chip), dtype="int8", params="M=4;N=4;K=4") for metric in ("energy_mj", "latency_ms"))
        )
    )
    assert isinstance(fine, Prediction) and isinstance(refused, Refusal)
    assert refused.reason.startswith("tiny-npu-4: OC1505 has no energy table for int8.")


def test_rows_do_not_influence_each_other(rows: Rows) -> None:
    lines = [
        row(metric, params=f"M={m};N=64;K={k}", timing=timing)
        for metric in ("latency_ms", "tops") for m in (1, 17, 300) for k in (8, 100) for timing in ("device", "host")
    ]  # fmt: skip
    parsed = rows(*lines, row("latency_ms", chip="nobody"))
    mixed = list(parsed)
    random.Random(1).shuffle(mixed)
    made = {result.measurement.row: result for result in predict(mixed)}
    assert [made[measurement.row] for measurement in parsed] == list(predict(parsed))
    assert predict(parsed[5:6])[0] == made[parsed[5].row]


def test_the_same_work_is_priced_once(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    priced: list[str] = []
    real = module.forecast

    def count(
        graph: pipeline.Graph, chip: Chip, dtype: str, *, start: Start, zeros: float | None, model: Model
    ) -> object:
        priced.append(dtype)
        return real(graph, chip, dtype, start=start, zeros=zeros, model=model)

    monkeypatch.setattr(module, "forecast", count)
    predict(rows(row("latency_ms"), row("latency_ms"), row("latency_ms", params=f"K=1024;{GEMM[:-7]}")))
    assert len(priced) == 1


def test_a_bug_costs_one_row_and_is_told(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_words: object, **_options: object) -> object:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(module, "forecast", broken)
    (refused,) = predict(rows(row("latency_ms")))
    assert isinstance(refused, Refusal)
    assert refused.reason == "gemm: OC9099 internal error: ZeroDivisionError: by zero."
