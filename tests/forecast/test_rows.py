"""Softmax, norms and elementwise kernels: how rows are dealt, bytes by hand, limits."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.forecast import forecast
from onchip.forecast.kernels import kernels_of
from onchip.forecast.lanes import kernel_cycles, step_cycles
from onchip.forecast.machine import machine
from onchip.forecast.rows import Rows, cache_bytes, hit_share, rows_of
from onchip.ir.build import GraphBuilder
from onchip.silicon.bounds import work_of
from onchip.silicon.workloads import draw

GPU, NPU = "v100-sxm", "edge-npu-16"
CHIPS = ("v100-sxm", "a100-sxm-80gb", "h100-sxm", "mi210", "t4", "tpu-v4")


def rows(workload: str, m: int, n: int) -> pipeline.Graph:
    return draw(workload, (("M", str(m)), ("N", str(n))))


def dealt(workload: str, n: int, dtype: str) -> Rows:
    (kernel,), _ = kernels_of(rows(workload, 64, n))
    return rows_of(kernel, machine(Chip.load(GPU), dtype))


@pytest.mark.parametrize(
    ("n", "dtype", "reads", "threads", "loads"),
    [
        (1024, "fp32", 1, 32, 1),  # stays in the registers of a warp
        (1280, "fp32", 3, 256, 1 + 1),  # 320 loads of 4: 256 threads load once, 256 elements are left
        (1600, "fp32", 3, 256, 1 + 3),  # 576 elements are left
        (2048, "fp32", 3, 256, 2),
        (3072, "fp32", 3, 512, 1 + 2),
        (8192, "fp32", 3, 512, 4),
        (4096, "fp16", 3, 256, 2),  # 512 loads of 8
    ],
)
def test_a_row_of_softmax_by_hand(n: int, dtype: str, reads: int, threads: int, loads: int) -> None:
    assert dealt("softmax", n, dtype) == Rows(64, n, reads, threads, loads)


def test_a_row_of_layer_norm_is_read_twice() -> None:
    assert dealt("layernorm", 768, "fp32") == Rows(64, 768, 2, 128, 2)  # 192 loads of 4


def test_groups_are_rows() -> None:
    builder = GraphBuilder("g")
    builder.output(str(builder.node("group_norm", (builder.input("x", (2, 8, 8, 32)),), "norm", groups=4)))
    (kernel,), _ = kernels_of(builder.finish())
    made = rows_of(kernel, machine(Chip.load(GPU), "fp32"))
    assert (made.n, made.width) == (2 * 4, 8 * 8 * 8)


@pytest.mark.parametrize(("n", "streams"), [(1024, 2), (4096, 2), (16384, 4)])
def test_long_rows_come_from_far_memory_each_time(n: int, streams: int) -> None:
    """In flight on 80 cores: 4 rows each; 5 MiB of 4,096 fit L2 of 6 MiB nearly, 20 MiB of 16,384 do not."""
    graph = rows("softmax", 65536, n)
    made = forecast(graph, Chip.load(GPU).replace({"shared.0.size": "12 MiB"}), "fp32", start="cold")
    assert made.dram_bytes == streams * 65536 * n * 4


def test_hits_fall_with_the_rows_in_flight() -> None:
    m = machine(Chip.load(GPU), "fp32")
    shares = [hit_share(x * cache_bytes(m), m) for x in (0.1, 0.5, 0.8, 1.0, 1.5, 3.0)]
    assert shares == sorted(shares, reverse=True) and shares[:2] == [1.0, 1.0] and shares[-2:] == [0.0, 0.0]
    assert hit_share(1.0, machine(Chip.load("tpu-v4"), "bf16")) == 0.0


def test_a_cache_of_two_halves_holds_half_of_its_size() -> None:
    """A100: two halves of 20 MiB. MI300X: eight dies of 4 MiB, but 256 MiB behind them."""
    sizes = [cache_bytes(machine(Chip.load(name), "fp16")) / 2**20 for name in ("a100-sxm-80gb", "v100-sxm", "mi300x")]
    assert sizes == [20, 6, 256]


def test_lane_cycles_by_hand() -> None:
    """GELU on 64 lanes, exponentials on 16: mul, 9 multiply-adds, exp, mac, add, mul."""
    vector = Chip.load(GPU).vector
    assert step_cycles(vector, "gelu") == pytest.approx(13 / 64 + 1 / 16)
    assert step_cycles(vector, "tanh") == pytest.approx(1 / 16)  # rated by the file
    (kernel,), _ = kernels_of(draw("gelu", (("n", "4096"),)))
    assert kernel_cycles(kernel, vector, integer=False) == pytest.approx(4096 * (13 / 64 + 1 / 16))


def test_pooling_costs_its_window() -> None:
    builder = GraphBuilder("p")
    x = builder.input("x", (1, 8, 8, 16))
    builder.output(str(builder.node("max_pool2d", (x,), "pool", kernel=(2, 2), stride=(2, 2))))
    (kernel,), _ = kernels_of(builder.finish())
    assert kernel_cycles(kernel, Chip.load(NPU).vector, integer=True) == 4 * 4 * 16 * 4 / 16


def test_few_rows_leave_cores_idle() -> None:
    """One row takes as long as one row on every core; one more on a core takes longer."""
    one, all_, more = (
        forecast(rows("softmax", m, 512), Chip.load(GPU), "fp32", start="warm").device_s for m in (1, 80, 40000)
    )
    assert one == pytest.approx(all_, rel=0.05) and more > 2 * all_


def test_engines_load_a_row_once_where_it_fits() -> None:
    """16,384 int8 elements and their result are 32 KiB."""
    graph, elements = rows("softmax", 8, 16384), 8 * 16384
    once, thrice = (
        forecast(graph, Chip.load(NPU).replace({"local.size": size}), "int8", start="cold").dram_bytes
        for size in ("64 KiB", "16 KiB")
    )
    assert (once, thrice) == (2 * elements, 4 * elements)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CHIPS),
    st.sampled_from(["softmax", "layernorm", "rmsnorm"]),
    st.integers(1, 5000),
    st.integers(1, 20000),
)
def test_never_under_the_roofline_and_more_bandwidth_is_not_slower(chip: str, work: str, m: int, n: int) -> None:
    graph, loaded = rows(work, m, n), Chip.load(chip)
    made = forecast(graph, loaded, "fp16" if "tpu" not in chip else "bf16", start="cold")
    assert made.device_s >= work_of(graph, made.dtype).roofline_s(loaded, made.dtype)
    faster = loaded.replace({"dram.bandwidth": f"{loaded.dram.bandwidth_bytes_per_s * 2} B/s"})
    assert forecast(graph, faster, made.dtype, start="cold").device_s <= made.device_s


def test_a_pick_reads_what_it_gives() -> None:
    builder = GraphBuilder("embed")
    table, ids = builder.constant("table", (50000, 256), "f32"), builder.input("ids", (1, 8), "i32")
    builder.output(str(builder.node("gather", (table, ids), "rows", axis=0)))
    made = forecast(builder.finish(), Chip.load(GPU), "fp32", start="cold")
    assert made.dram_bytes <= 2 * prod((8, 256)) * 4 + 8 * 4
