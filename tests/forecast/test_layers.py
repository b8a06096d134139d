"""Kernels on managed chips: blocks by hand, depthwise, first layers, and the roofline below them all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.arrays import array_cycles, native_cycles
from onchip.forecast.machine import Machine, machine
from onchip.forecast.product import Product
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Step
from onchip.silicon.bounds import work_of
from onchip.silicon.workloads import draw

FAST = {"dram.bandwidth": "100000 GB/s", "dram.latency": "0 ns", "achieved.matrix": 1.0, "achieved.dram": 1.0}


def one(made: str | tuple[str, ...]) -> str:
    assert isinstance(made, str)
    return made


def conv(size: int, channels: int, filters: int, window: int = 3, groups: int = 1, before: bool = True) -> Step:
    """Return the step of a convolution behind another one, on an Ethos-U65 whose memories cost nothing."""
    builder = GraphBuilder("conv")
    x = builder.input("x", (1, size, size, channels))
    if before:
        x = one(builder.node("conv2d", (x, builder.constant("w0", (channels, 1, 1, channels), "f32")), "first"))
    weight = builder.constant("w1", (filters, window, window, channels // groups), "f32")
    padding = (window // 2,) * 4
    builder.output(one(builder.node("conv2d", (x, weight), "conv", groups=groups, padding=padding)))
    keys = {**FAST, "shared.0.bandwidth": "100000 GB/s", "shared.0.size": "64 MiB", "vector.lanes": 4096}
    chip = Chip.load("ethos-u65-256").replace({**keys, "vector.ops_per_cycle.requantize": 4096})
    made = pipeline.forecast(builder.finish(), chip, dtype="int8")
    return made.steps[-1]


def unit(native: str, **keys: str) -> Machine:
    """Return an Ethos with another unit, and a port of weights that hides."""
    array = {"matrix.int8": {"accumulate": "int32", "native": native}, "peak": {}, "evidence": "estimate"}
    chip = Chip.load("ethos-u65-256").replace({**array, "local.weight_read": "4096 B/cycle", **keys})  # pyright: ignore[reportArgumentType]
    return machine(chip, "int8")


def test_blocks_of_an_ethos_are_whole() -> None:
    """A 7 x 7 map is 4 x 4 blocks of 2 x 2 pixels; 60 filters are 8 blocks of 8; 9 taps of 3 blocks of 8 channels.

    Aligned, 20 channels of a tap take a step of 4 cycles; of 4 taps side by side 3 steps.
    """
    p = Product(1, 49, 60, 9 * 20, taps=9)
    assert native_cycles(p, unit("4x8x8"), 7, 7) == 16 * 8 * 9 * 3
    assert conv(7, 20, 60).seconds == pytest.approx(16 * 8 * 9 * 4 / 1e9)


def test_pixels_of_other_blocks_are_rows_of_squares() -> None:
    """8 pixels are 2 x 4, 16 are 4 x 4; a map of 6 x 6 is 3 x 2 and 2 x 2 of them."""
    p = Product(1, 36, 16, 16)
    assert native_cycles(p, unit("8x16x16"), 6, 6) == 6
    assert native_cycles(p, unit("16x16x8"), 6, 6) == 4 * 2


def test_rows_of_a_matrix_are_pixels_of_one_row() -> None:
    """8 rows are 2 blocks of 4 pixels in a row; one row takes a block, or its weights through a narrow port."""
    assert array_cycles(Product(1, 8, 64, 80), unit("4x8x8")) == 2 * 8 * 10
    assert array_cycles(Product(1, 1, 64, 80), unit("4x8x8")) == 8 * 10
    assert array_cycles(Product(3, 1, 64, 80), unit("4x8x8", **{"local.weight_read": "8 B/cycle"})) == 3 * 64 * 80 / 8


def test_weights_are_read_again_for_each_block_of_sums() -> None:
    """16 KiB hold 4,096 sums of 4 bytes: 512 pixels of 8 channels; 1,025 pixels read the weights 3 times."""
    narrow = unit("4x8x8", **{"local.weight_read": "0.5 B/cycle", "local.accumulator": "16 KiB"})
    assert array_cycles(Product(1, 1025, 64, 80), narrow) == 3 * 64 * 80 / 0.5


def test_depthwise_takes_four_taps_a_step() -> None:
    """Vela: 7 x 7 blocks of 2 x 2 pixels by 8 blocks of 8 channels, 9 taps in 3 steps of 4 cycles."""
    assert conv(14, 64, 64, groups=64).seconds == pytest.approx(49 * 8 * 12 / 1e9)


def test_depth_goes_in_aligned_steps() -> None:
    """Vela: 32 channels of a tap, or 8 of 4 taps, in 4 cycles: 3 channels of 9 taps take 12, 64 take 9 x 2 x 4."""
    assert conv(8, 3, 8).seconds == pytest.approx(16 * 12 / 1e9)
    assert conv(8, 64, 8).seconds == pytest.approx(16 * 72 / 1e9)
    assert conv(8, 16, 8).seconds == pytest.approx(16 * 12 * 2 / 1e9)  # 9 x 4 with one tap at a time


def test_the_first_layer_takes_a_row_of_its_window() -> None:
    """On 64 x 48 cells 7 rows of a window, 7 x 3 deep, are 7 folds; 49 taps behind another layer are 49."""

    def cycles(before: bool) -> float:
        builder = GraphBuilder("conv")
        x = builder.input("x", (1, 112, 112, 3))
        if before:
            x = one(builder.node("relu", (x,), "first"))
        weight = builder.constant("w", (48, 7, 7, 3), "f32")
        builder.output(one(builder.node("conv2d", (x, weight), "conv", padding=(3, 3, 3, 3))))
        keys = {**FAST, "matrix.row_packing": "C", "vector.lanes": 8192, "local.read": "4096 B/cycle"}
        chip = Chip.load("ax650n-1core").replace({**keys, "local.accumulator": "64 MiB", "local.write": "4096 B/cycle"})
        return pipeline.forecast(builder.finish(), chip, dtype="int8").steps[-1].seconds * chip.clock.core_hz

    fill = 2 * 64 + 48 - 2
    assert cycles(before=False) == pytest.approx(7 * 112 * 112 + fill)
    assert cycles(before=True) == pytest.approx(49 * 112 * 112 + fill)


def test_narrow_groups_lie_side_by_side() -> None:
    """32 groups of 8 channels on 128 x 128 cells: 2 products of 128 x 128 with 9 taps, 18 folds in the place of 288."""
    sizes = {"N": 1, "C": 256, "H": 58, "W": 58, "K": 256, "R": 3, "S": 3, "groups": 32}
    graph = draw("conv2d", tuple((key, str(size)) for key, size in sizes.items()))
    ports = {"local.read": "65536 B/cycle", "local.weight_read": "65536 B/cycle", "local.accumulator": "64 MiB"}
    chip = Chip.load("tpu-v3-core").replace(
        {**FAST, **ports, "launch.per_run": "0 us", "matrix.units": 1, "published.units": 1}
    )
    chip = chip.replace({"peak.bf16": "30.8 TFLOPS"})
    made = pipeline.forecast(graph, chip, dtype="bf16").device_s
    assert made * chip.clock.core_hz == pytest.approx(18 * 56 * 56 + 2 * 128 + 128 - 2, rel=1e-3)


def test_sums_apart_are_kernels_that_scale_three_times() -> None:
    """Vela's 0.75 cycles an element, three times what a product's sums take; fused they are part of the product."""
    builder = GraphBuilder("sum")
    x, y = (builder.input(name, (1, 16, 16, 32)) for name in "xy")
    made = builder.node("conv2d", (x, builder.constant("w", (32, 1, 1, 32), "f32")), "conv")
    builder.output(one(builder.node("add", (one(made), y), "sum")))
    keys = {**FAST, "shared.0.bandwidth": "100000 GB/s"}
    apart, fused = (
        pipeline.forecast(builder.finish(), Chip.load("ethos-u65-256").replace({**keys, **more}), dtype="int8").steps
        for more in ({}, {"execution.sums": "fused"})
    )
    assert [step.op for step in apart] == ["conv2d", "add"] and [step.op for step in fused] == ["conv2d"]
    assert apart[1].seconds == pytest.approx(0.75 * 16 * 16 * 32 / 1e9)


@pytest.mark.parametrize("chip", ["tpu-v1", "hexagon-qcs8550", "ax650n-3core", "ethos-u85-512", "rk3566"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_no_network_is_under_its_roofline(chip: str, name: str) -> None:
    """Weights come from far memory in every run, inputs and outputs as well, and no array is faster than its peak."""
    graph, loaded = draw("network", (("name", name),)), Chip.load(chip)
    made = pipeline.forecast(graph, loaded, dtype="int8").device_s
    assert made >= work_of(graph, "int8").roofline_s(loaded, "int8")


@given(rate=st.sampled_from(["vector.lanes", "local.read", "dram.bandwidth"]), times=st.integers(2, 8))
def test_more_of_a_thing_is_not_slower(rate: str, times: int) -> None:
    chip, unit = Chip.load("rk3566"), {"vector.lanes": "", "local.read": " B/cycle", "dram.bandwidth": " GB/s"}[rate]
    start = {"vector.lanes": 32, "local.read": 64, "dram.bandwidth": 8}[rate]
    graph = draw("network", (("name", "mobilenet_v1_0.25"),))
    slow, fast = (
        pipeline.forecast(graph, chip.replace({rate: f"{n}{unit}" if unit else n}), dtype="int8").device_s
        for n in (start, start * times)
    )
    assert fast <= slow


def test_attention_is_priced_on_the_array() -> None:
    """Two products of 197 x 197 x 64 a head; twelve heads on 64 x 48 cells, and scores on the lanes."""
    sizes = {"batch": 1, "heads": 12, "q_len": 197, "kv_len": 197, "head_dim": 64}
    graph = draw("attention", tuple((key, str(size)) for key, size in sizes.items()))
    step = pipeline.forecast(graph, "ax650n-1core", dtype="int8").steps[0]
    assert step.seconds >= step.macs / (64 * 48 * 977e6)
    assert step.seconds >= 12 * 197 * 197 / (1 * 977e6)  # one exponential a cycle
