"""Rows that nobody published: every chip x ordinary work is told sanely or refused by name, and fast."""

from __future__ import annotations

from itertools import product

import pytest

from onchip.chip import Chip
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import Prediction, Refusal, predict

OPS = (
    ("gemm", "M=4096;N=4096;K=4096"),
    ("gemm", "M=1;N=4096;K=4096"),
    ("bmm", "B=16;M=128;N=128;K=64"),
    ("conv2d", "N=1;C=3;H=224;W=224;K=64;R=7;S=7;stride_h=2;stride_w=2;pad_h=3;pad_w=3"),
    ("conv2d", "N=1;C=64;H=56;W=56;K=64;R=3;S=3;pad_h=1;pad_w=1"),
    ("conv2d", "N=1;C=64;H=56;W=56;K=64;R=3;S=3;pad_h=1;pad_w=1;groups=64"),
    ("lstm", "hidden=512;batch=8;timesteps=25"),
    ("gru", "hidden=512;batch=8;timesteps=25"),
    ("rnn", "hidden=512;batch=8;timesteps=25"),
    ("attention", "batch=1;heads=12;q_len=128;kv_len=128;head_dim=64"),
    ("attention", "batch=4;heads=32;kv_heads=8;q_len=1;kv_len=2048;head_dim=128;causal=1"),
    ("softmax", "M=1024;N=1024"),
    ("layernorm", "M=1024;N=1024"),
    ("rmsnorm", "M=1024;N=1024"),
    ("gelu", "n=1048576"),
    ("add", "n=1048576"),
)
NAMES = ("resnet50", "mobilenet_v2", "bert-base", "yolov8n", "ds_cnn")
NETWORKS = tuple(("network", f"name={name};batch={batch}") for name in NAMES for batch in (1, 8))
SAMPLE = ("l4", "mi300x", "tpu-v4", "ethos-u55-128", "rk3576-1core", "hailo-8l", "orin-dla-x2", "gap9-240mhz")
# A kernel, or a step of a recurrent layer, may take so long whatever its size: calls, starts, fill of an array.
FLOOR_MS = 0.05
MOST = 30.0  # times the simple baseline above that
KERNELS = 250  # at most, of the networks above
WINOGRAD = 4.0  # products that it spares at most, F(4 x 4, 3 x 3)


def ask(chips: tuple[str, ...], works: tuple[tuple[str, str], ...]) -> list[Measurement]:
    """Return a row for each chip, dtype and work."""
    asked = [(chip, dtype, work) for chip in chips for dtype, work in product(Chip.load(chip).dtypes, works)]
    return [
        Measurement(at, chip, kind, pairs(params), dtype, "latency_ms", 1.0, "device")
        for at, (chip, dtype, (kind, params)) in enumerate(asked, 2)
    ]


def pairs(params: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, _, value in (part.partition("=") for part in params.split(";")))


def steps_of(row: Measurement) -> int:
    """Return how many kernels or steps a row may wait for."""
    return KERNELS if row.workload == "network" else int(dict(row.params).get("timesteps", 1))


def check(rows: list[Measurement]) -> None:
    """Check that each row has a time between its bounds."""
    for made in predict(rows):
        row = made.measurement
        what = f"{row.chip} {row.dtype} {row.words}"
        assert isinstance(made, Prediction), f"{what}: {made.reason if isinstance(made, Refusal) else ''}"
        assert made.roofline is not None and made.simple is not None
        chip = Chip.load(row.chip)
        floor = float(chip.launch.per_run_s) * 1e3 + steps_of(row) * FLOOR_MS
        assert made.value <= MOST * made.simple + floor, f"{what}: {made.value} ms, simple {made.simple} ms"
        kept = sum(level.size_bytes for level in chip.shared) + chip.local.size_bytes * chip.cores.count
        near = 1e3 * kept / chip.dram.bandwidth_bytes_per_s  # what need not come from far memory
        spared = WINOGRAD if chip.algorithms.winograd and row.workload in ("conv2d", "network") else 1.0
        assert made.value >= (made.roofline - near) / spared * 0.999, (
            f"{what}: {made.value} ms, roofline {made.roofline}"
        )


@pytest.mark.parametrize("chip", SAMPLE)
def test_ordinary_work_takes_an_ordinary_time(chip: str) -> None:
    check(ask((chip,), (*OPS, *NETWORKS[:4])))


@pytest.mark.slow
def test_the_whole_catalog_takes_an_ordinary_time() -> None:
    check(ask(tuple(Chip.names()), (*OPS, *NETWORKS)))
