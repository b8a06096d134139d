"""What must not get slower: better chips, smaller work, narrower dtypes. Each up to a step of tiles or waves."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.ir.graph import Graph
from onchip.silicon.workloads import draw

CHIPS = (
    *("h100-sxm", "v100-sxm", "mi210", "tpu-v4", "tpu-v5e", "tpu-v3-core", "ethos-u55-128", "ethos-u85-1024"),
    *("hailo-8l", "rk3588-1core", "rk3576-1core", "stm32n6", "hexagon-8gen3", "orin-dla-x2", "edge-tpu-usb"),
    *("ax650n-3core", "gap9-370mhz", "nvdla-large", "eyeriss-v1"),
)
ARRAYS = tuple(name for name in CHIPS if name not in ("h100-sxm", "v100-sxm", "mi210"))
WORKS = (
    ("gemm", (("M", 64), ("N", 1000), ("K", 2048))),
    ("gemm", (("M", 1), ("N", 4096), ("K", 4096))),
    ("bmm", (("B", 16), ("M", 128), ("N", 128), ("K", 64))),
    ("conv2d", (("N", 1), ("C", 64), ("H", 56), ("W", 56), ("K", 64), ("R", 3), ("S", 3))),
    ("conv2d", (("N", 1), ("C", 64), ("H", 28), ("W", 28), ("K", 64), ("R", 3), ("S", 3), ("groups", 64))),
    ("lstm", (("hidden", 512), ("batch", 8), ("timesteps", 25))),
    ("attention", (("batch", 1), ("heads", 12), ("q_len", 128), ("kv_len", 128), ("head_dim", 64))),
    ("softmax", (("M", 1024), ("N", 1024))),
    ("add", (("n", 1 << 20),)),
)
Sizes = tuple[tuple[str, int], ...]


@functools.cache
def drawn(kind: str, sizes: Sizes) -> Graph:
    return draw(kind, tuple((key, str(size)) for key, size in sizes))


def seconds(kind: str, sizes: Sizes, chip: Chip, dtype: str = "") -> float:
    made = pipeline.forecast(drawn(kind, sizes), chip, dtype=dtype or chip.default_dtype, start="activations")
    return made.device_s


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(CHIPS),
    work=st.sampled_from(WORKS),
    key=st.sampled_from(("achieved.dram", "achieved.matrix", "dram.latency")),
    worse=st.floats(0.3, 0.95),
)
def test_a_better_chip_is_not_slower(name: str, work: tuple[str, Sizes], key: str, worse: float) -> None:
    """A larger share of a peak that is reached, and a shorter latency."""
    chip = Chip.load(name)
    less = {
        "achieved.dram": round(chip.achieved.dram * worse, 4),
        "achieved.matrix": round(chip.achieved.matrix * worse, 4),
        "dram.latency": f"{float(chip.dram.latency_s) * 1e9 / worse:.6f} ns",
    }[key]
    assert seconds(*work, chip) <= seconds(*work, chip.replace({key: less})) * (1 + 1e-9)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(ARRAYS),
    m=st.integers(1, 600),
    n=st.integers(1, 3000),
    k=st.integers(1, 3000),
    side=st.sampled_from("MNK"),
    more=st.integers(1, 2000),
)
def test_a_larger_product_is_not_faster(name: str, m: int, n: int, k: int, side: str, more: int) -> None:
    """On arrays a side that grows adds folds, blocks and bytes; which core has which part may save a part of a fold."""
    chip, small = Chip.load(name), {"M": m, "N": n, "K": k}
    large = {**small, side: small[side] + more}
    before, after = (seconds("gemm", tuple(sizes.items()), chip) for sizes in (small, large))
    assert after >= before * 0.93


@pytest.mark.parametrize("name", [n for n in Chip.names() if n.startswith(("tpu-v", "hexagon"))])
@pytest.mark.parametrize("work", WORKS)
def test_a_dtype_with_a_higher_peak_is_not_slower(name: str, work: tuple[str, Sizes]) -> None:
    """On arrays, int8 and fp8 beside a 16-bit float: fewer folds, fewer bytes, the same lanes or more."""
    chip = Chip.load(name)
    wide = next((dtype for dtype in ("bf16", "fp16") if dtype in chip.dtypes), None)
    for narrow in (dtype for dtype in ("int8", "fp8") if dtype in chip.dtypes and wide is not None):
        assert seconds(*work, chip, narrow) <= seconds(*work, chip, wide or "") * 1.001, narrow
