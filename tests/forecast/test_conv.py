"""Convolutions: what each algorithm takes, worked by hand; which of them a library would pick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.forecast.forecast import forecast
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Step
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.silicon.bounds import work_of

V100 = Chip.load("v100-sxm")


def with_tiles(*tiles: int) -> Chip:
    """Return V100 with these Winograd tiles in fp32, and memory and lanes at their peak."""
    text = f"""
extends = "v100-sxm"
name = "v100-tiles"
algorithms.winograd.fp32 = {list(tiles)}
achieved = {{ vector = 1.0, dram = 1.0, tile = "0 us" }}
"""
    return Chip.parse(text)


def conv(
    x: tuple[int, int, int, int], filters: int, side: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> Graph:
    builder = GraphBuilder("conv")
    weights = builder.constant("w", (filters, side, side, x[3] // groups), "f32")
    pad = side // 2 * dilation
    made = builder.node(
        "conv2d",
        (builder.input("x", x), weights),
        "conv",
        stride=(stride, stride),
        padding=(pad,) * 4,
        groups=groups,
        dilation=(dilation, dilation),
    )
    builder.output(made if isinstance(made, str) else made[0])
    return fold(builder.finish())


def step(graph: Graph, dtype: str, chip: Chip = V100) -> Step:
    return forecast(graph, chip, dtype, start="cold").steps[0]


def cause(made: Step, name: str) -> float:
    return sum(seconds for key, seconds in made.causes if key == name)


def test_one_channel_costs_a_matrix_unit_what_a_block_costs() -> None:
    one, block, more = (cause(step(conv((16, 64, 64, c), 64, 5), "fp16"), "matrix") for c in (1, 32, 33))
    assert one == block
    assert more == pytest.approx(2 * block, rel=0.1)  # another block for each tap


def rows_of_tile(made: Step) -> int:
    return int(made.how.split("tile ")[1].split(" x ")[0])


@pytest.mark.parametrize("pixels", [1, 7, 20])
def test_a_library_call_has_tall_tiles_of_pixels(pixels: int) -> None:
    """256 pixels on the matrix unit, 128 on the lanes, however few there are; runtimes have smaller ones."""
    shape = (1, pixels, pixels, 512)
    assert rows_of_tile(step(conv(shape, 2048, 1), "fp16")) == 256
    assert rows_of_tile(step(conv(shape, 2048, 1), "fp32", with_tiles())) >= 128
    builder = GraphBuilder("two")
    x = builder.input("x", (1, 7, 7, 512))
    for i, (depth, filters) in enumerate(((512, 2048), (2048, 512))):
        made = builder.node("conv2d", (x, builder.constant(f"w{i}", (filters, 1, 1, depth), "f32")), f"c{i}")
        x = made if isinstance(made, str) else made[0]
    builder.output(x)
    graph = fold(builder.finish())
    assert rows_of_tile(step(graph, "fp16")) < 256 and rows_of_tile(step(graph, "fp32", with_tiles())) < 128


def test_lanes_pack_channels() -> None:
    one, block = (step(conv((16, 64, 64, c), 64, 5), "fp32").seconds for c in (1, 32))
    assert one < block / 8


def test_a_large_convolution_in_fp32_is_winograd_and_takes_its_products() -> None:
    graph = conv((64, 64, 64, 256), 256, 3)
    made = step(graph, "fp32", with_tiles(2))
    assert made.how.startswith("Winograd F(2x2, 3x3)")
    # 16 products for each of 64 x 32 x 32 tiles; the share of the lanes that is left beside the transforms is 0.8
    products = 16 * 64 * 32 * 32 * 256 * 256
    seconds = products / (80 * 64 * 1530e6) / 0.8
    assert cause(made, "matrix") == pytest.approx(seconds, rel=0.01)
    assert made.launches == 2


def test_larger_winograd_tiles_write_their_transforms() -> None:
    graph = conv((64, 64, 64, 256), 256, 3)
    made = step(graph, "fp32", with_tiles(4))
    assert made.how.startswith("Winograd F(4x4, 3x3)")
    tiles = 64 * 16 * 16
    # the input of each tile is read once and scattered to 36 points, outputs the other way; weights stay in L2
    far = 2 * (16 + 36) * tiles * 256 * 4 / 900e9
    assert cause(made, "memory") >= far
    assert made.launches == 4


@pytest.mark.parametrize("graph", [conv((8, 56, 56, 64), 64, 3, 2), conv((8, 56, 56, 64), 64, 3, 1, 1, 2)])
def test_winograd_needs_neighbours(graph: Graph) -> None:
    assert "Winograd" not in step(graph, "fp32").how
    assert "Winograd" not in step(conv((8, 56, 56, 64), 64, 5), "fp32").how
    assert "Winograd" not in step(conv((8, 56, 56, 64), 64, 3), "fp16").how


def test_depthwise_convolutions_move_bytes() -> None:
    x = (64, 56, 56, 256)
    made = step(conv(x, 256, 3, 1, 256), "fp16", Chip.load("a100-sxm-80gb").replace({"achieved.dram": 0.8}))
    moved = (2 * 64 * 56 * 56 * 256 + 9 * 256) * 2
    assert made.how == "direct on lanes"
    assert cause(made, "memory") == pytest.approx(moved / (2039e9 * 0.8))


def test_small_groups_share_a_tile() -> None:
    """32 groups of 4 channels: 4 tiles of 8 groups each take no more than 16 x the MACs of the groups."""
    graph = conv((32, 56, 56, 128), 128, 3, 1, 32)
    macs = 32 * 56 * 56 * 128 * 4 * 9
    made = step(graph, "fp16")
    assert made.seconds < 16 * 2.5 * macs / (80 * 512 * 1530e6)


def test_other_machines_have_no_library() -> None:
    made = step(conv((1, 56, 56, 64), 64, 3), "int8", Chip.load("edge-npu-16"))
    assert "Winograd" not in made.how


@given(
    st.integers(1, 8), st.integers(4, 40), st.sampled_from((3, 16, 64, 96)), st.sampled_from((16, 64, 200)),
    st.sampled_from((1, 3, 5)), st.sampled_from((1, 2)),
)  # fmt: skip
def test_never_under_the_roofline_of_the_chosen_algorithm(
    n: int, size: int, channels: int, filters: int, side: int, stride: int
) -> None:
    graph = conv((n, size, size, channels), filters, side, stride)
    for dtype, gain in (("fp16", 1), ("fp32", 4)):  # F(4x4, 3x3) has a quarter of the products
        work = work_of(graph, dtype)
        made = step(graph, dtype)
        assert made.seconds >= work.macs / gain / (V100.peak_ops_per_s(dtype) / 2)
        assert made.seconds >= made.dram_bytes / 900e9 * 0.999 or gain > 1


def test_more_algorithms_are_not_slower() -> None:
    for size in (7, 14, 28, 56):
        graph = conv((16, size, size, 128), 128, 3)
        both, none = (step(graph, "fp32", with_tiles(*tiles)) for tiles in ((2, 4), ()))
        assert both.seconds <= none.seconds
