"""Chips in order: one that has more of everything than another is never slower, whatever runs."""

from __future__ import annotations

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.silicon.bounds import work_of
from onchip.silicon.workloads import draw

# The first has at least the second's cores, clock, peak, bandwidth and cache. V100 SXM and PCIe are no pair: what their
# lanes reach in fp32 was fitted on two publishers' rows, with libraries three years apart.
PAIRS = (
    *(("h200-sxm", "h100-sxm"), ("h100-sxm", "h100-pcie"), ("h100-pcie", "a100-pcie-80gb")),
    *(("a100-sxm-80gb", "a100-sxm-40gb"), ("a100-sxm-40gb", "a30"), ("l40s", "l4"), ("titan-rtx", "t4")),
    *(("v100-sxm", "t4"), ("mi300x", "mi210"), ("titan-xp", "titan-x-pascal"), ("gb200", "b200")),
)
WORK = (
    ("gemm", "M=4096;N=4096;K=4096"),
    ("gemm", "M=8;N=4096;K=11008"),
    ("gemm", "M=512;N=512;K=512"),
    ("bmm", "B=192;M=512;N=64;K=512"),
    ("conv2d", "N=32;C=256;H=14;W=14;K=256;R=3;S=3;stride_h=1;stride_w=1;pad_h=1;pad_w=1"),
    ("conv2d", "N=32;C=144;H=56;W=56;K=144;R=3;S=3;stride_h=1;stride_w=1;pad_h=1;pad_w=1;groups=144"),
    ("attention", "batch=16;heads=16;q_len=384;kv_len=384;head_dim=64;causal=0"),
    ("attention", "batch=8;heads=32;kv_heads=8;q_len=1;kv_len=4096;head_dim=128;causal=1"),
    ("attention", "batch=1;heads=32;q_len=4096;kv_len=4096;head_dim=128;causal=1"),
    ("lstm", "hidden=512;batch=8;timesteps=25"),
    ("softmax", "M=16384;N=768"),
    ("layernorm", "M=16384;N=768"),
    ("gelu", "n=100663296"),
)
SLACK = 1.02  # tiles and splits are discrete


def parameters(text: str) -> tuple[tuple[str, str], ...]:
    words = (pair.split("=") for pair in text.split(";"))
    return tuple((key, value) for key, value in words)


def seconds(chip: str, workload: str, params: str, dtype: str) -> float:
    graph = pipeline.bind_batch(draw(workload, parameters(params)))
    return pipeline.forecast(graph, Chip.load(chip), dtype=dtype, start="cold").device_s


@pytest.mark.parametrize(("workload", "params"), WORK, ids=lambda word: str(word)[:40])
@pytest.mark.parametrize(("more", "less"), PAIRS)
def test_more_of_everything_is_not_slower(more: str, less: str, workload: str, params: str) -> None:
    for dtype in {*Chip.load(more).dtypes} & {*Chip.load(less).dtypes} & {"bf16", "fp16", "fp32"}:
        assert seconds(more, workload, params, dtype) <= SLACK * seconds(less, workload, params, dtype)


@pytest.mark.parametrize(("more", "less"), [("h200-sxm", "h100-pcie"), ("a30", "t4")])
def test_a_network_keeps_the_order(more: str, less: str) -> None:
    for dtype in ("fp16", "int8"):
        assert seconds(more, "network", "name=bert-base;batch=1;seq=384", dtype) < seconds(
            less, "network", "name=bert-base;batch=1;seq=384", dtype
        )


@pytest.mark.parametrize("chip", ["t4", "l4", "l40s", "a10", "b200", "mi210", "mi300x", "orin-agx", "titan-x-pascal"])
def test_products_that_start_cold_keep_under_the_roofline(chip: str) -> None:
    """Peak of the specification, all operands in far memory; the output may stay on the chip."""
    machine = Chip.load(chip)
    for sizes in ("M=4096;N=4096;K=4096", "M=8;N=4096;K=11008", "M=35;N=8457;K=2560"):
        graph = pipeline.bind_batch(draw("gemm", parameters(sizes)))
        for dtype in machine.dtypes:
            made = pipeline.forecast(graph, machine, dtype=dtype, start="cold")
            assert made.device_s >= work_of(graph, dtype).roofline_s(machine, dtype)
