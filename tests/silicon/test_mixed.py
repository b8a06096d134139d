"""Rows that nobody published: every chip x ordinary work is told sanely or refused by name, and fast."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.errors import BadFile
from onchip.silicon.measurements import COLUMNS, Measurement, parse_measurements
from onchip.silicon.predict import Refusal, predict

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
        if isinstance(made, Refusal):
            assert " OC2001 " in made.reason, f"{what}: {made.reason}"  # larger than all of the chip's memory
            continue
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


WORDS = st.sampled_from(("", "0", "1", "7", "2147483648", "999999999999", "1e3", "NaN", "None", "-1", "x", "∞", "NT"))
SIZES = st.sampled_from(("1", "2", "3", "16", "64", "1000", "4096", "1048577", "2147483648"))
KEYS = (
    *"BMNKCHRSWn",
    "heads",
    "kv_heads",
    "head_dim",
    "q_len",
    "kv_len",
    "hidden",
    "batch",
    "timesteps",
    "causal",
    "name",
    "seq",
    "ünd",
)
KINDS = ("gemm", "bmm", "conv2d", "lstm", "gru", "attention", "softmax", "layernorm", "gelu", "add", "network", "layer")
SHAPES = {
    "gemm": "M N K", "bmm": "B M N K", "conv2d": "N C H W K R S", "lstm": "hidden batch timesteps",
    "attention": "batch heads q_len kv_len head_dim", "softmax": "M N", "gelu": "n",
}  # fmt: skip


def told(line: str) -> None:
    """Check that a row is predicted, or refused with a reason of ours; or its file is refused."""
    try:
        rows = parse_measurements(f"{','.join(COLUMNS)}\n{line}\n", "m.csv")
    except BadFile as error:
        assert error.code in ("OC1501", "OC1502")
        return
    for made in predict(rows):
        if isinstance(made, Refusal):
            assert re.search(r"OC[12]\d{3} ", made.reason) and "OC9" not in made.reason, made.reason
        else:
            assert 0 < made.value < float("inf")


@settings(max_examples=150, deadline=None)
@given(
    chip=st.sampled_from((*SAMPLE, "eyeriss-v1", "h100-sxm", "nobody", "Tpu V4")),
    kind=st.sampled_from((*KINDS, "conv3d", "Gemm")),
    params=st.lists(st.tuples(st.sampled_from(KEYS), st.one_of(SIZES, WORDS)), max_size=7),
    rest=st.tuples(
        st.sampled_from(("int8", "bf16", "fp32", "int4", "fp64")),
        st.sampled_from(("latency_ms", "tops", "energy_mj", "power_w", "glb_mb", "fps")),
        st.one_of(st.just("1"), WORDS),
        st.sampled_from(("device", "host", "end_to_end", "wall")),
    ),
)  # fmt: skip
def test_junk_is_refused_with_a_reason(
    chip: str, kind: str, params: list[tuple[str, str]], rest: tuple[str, str, str, str]
) -> None:
    pairs_of = ";".join(f"{key}={value}" for key, value in params)
    told(",".join((chip, kind, pairs_of, *rest, "who")))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from((*SAMPLE, "eyeriss-v1", "h100-sxm", "m40")), st.sampled_from(sorted(SHAPES)))
def test_any_size_is_predicted_or_does_not_fit(data: st.DataObject, chip: str, kind: str) -> None:
    params = ";".join(f"{key}={data.draw(SIZES)}" for key in SHAPES[kind].split())
    told(f"{chip},{kind},{params},{Chip.load(chip).default_dtype},latency_ms,1,device,")


def test_what_is_larger_than_far_memory_is_refused() -> None:
    """Llama 3 70B has 70.6e9 parameters: 131 GiB in bf16."""
    row = Measurement(
        2, "h100-sxm", "network", pairs("name=llama3-70b;batch=1;seq=8"), "bf16", "latency_ms", 1, "device"
    )
    (made,) = predict([row])
    assert isinstance(made, Refusal) and "OC2001 weights, inputs and outputs are 1" in made.reason
    assert "Far memory of 'h100-sxm' has 80.0 GiB." in made.reason
