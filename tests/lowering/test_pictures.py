"""What networks of pictures are made of: programs equal the integer reference on random small chips, in any mapping.

One node at a time, its attributes drawn at random, some with vector work behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.lowering.picture_steps import divisors
from onchip.numerics import rounding_divide_by_pot, srdhm32
from onchip.ops.types import AttributeValue
from onchip.passes.express import express
from onchip.passes.fold import fold
from onchip.passes.quantize import quantize
from tests.networks import inputs_of, small_chip
from tests.trial import RANGES, run_floats, run_trial


class Picture:
    """A graph of one node on a picture `x` while it is drawn."""

    def __init__(self, rng: Random, size: int = 9) -> None:
        self.rng, self.builder = rng, GraphBuilder("picture")
        self.values = np.random.default_rng(rng.getrandbits(30))
        self.batch, self.height, self.width = rng.choice((1, 1, 2)), rng.randint(4, size), rng.randint(4, size)

    def input(self, channels: int) -> str:
        return self.builder.input("x", (self.batch, self.height, self.width, channels))

    def constant(self, name: str, *shape: int) -> str:
        return self.builder.constant(name, self.values.standard_normal(shape, dtype=np.float32))

    def node(self, op: str, *inputs: str, **attributes: AttributeValue) -> str:
        return str(self.builder.node(op, inputs, f"{op}.node", **attributes))

    def finish(self, at: str, *, behind: bool = False) -> Graph:
        """Close the graph, sometimes with vector work behind the node."""
        shape = tuple(int(d) for d in self.builder.shape(at))
        match self.rng.choice(("", "curve", "sum", "product")) if behind else "":
            case "curve":
                at = self.node("sigmoid", at)
            case "sum":
                at = self.node("add", at, self.builder.input("y", shape))
            case "product":
                own = self.rng.choice(((1, 1, 1, shape[3]), (*shape[:3], 1)))
                at = self.node("mul", at, self.builder.input("y", own))
            case _:
                pass
        self.builder.output(at)
        return self.builder.finish()


def grouped(rng: Random) -> Graph:
    """Return a convolution of several groups, or a depthwise one that multiplies its channels."""
    d, groups = Picture(rng), rng.choice((2, 3, 4, 6, 8))
    given, made = rng.choice((1, 2, 3, 5)), rng.choice((1, 2, 3, 5))
    made += given == made == 1
    kernel, stride = rng.choice(((1, 1), (1, 1), (3, 3), (2, 3), (3, 1))), rng.choice((1, 1, 2))
    weight, bias = d.constant("w", groups * made, *kernel, given), d.constant("b", groups * made)
    dilation = rng.choice((1, 1, min(2, (min(d.height, d.width) - 1) // 2)))
    padding = (rng.randint(0, 1), rng.randint(0, 1), rng.randint(0, 1), rng.randint(0, 1))
    at = d.node(
        "conv2d", d.input(groups * given), weight, bias, groups=groups, stride=(stride, stride), padding=padding,
        dilation=(dilation, dilation),
    )  # fmt: skip
    return d.finish(at, behind=True)


def transposed(rng: Random) -> Graph:
    """Return a transposed convolution: any strides, dilations, paddings, one group or two."""
    d, groups = Picture(rng, 5), rng.choice((1, 1, 1, 2))
    given, made = rng.choice((1, 2, 3)), groups * rng.choice((1, 2, 5))
    kernel, stride = (rng.randint(1, 4), rng.randint(1, 4)), (rng.randint(1, 3), rng.randint(1, 3))
    dilation = rng.randint(1, 2), rng.randint(1, 2)
    most = [min(2, dilation[i] * (kernel[i] - 1)) for i in (0, 0, 1, 1)]
    padding = (rng.randint(0, most[0]), rng.randint(0, most[1]), rng.randint(0, most[2]), rng.randint(0, most[3]))
    extra = tuple(rng.randint(0, max(stride[i], dilation[i]) - 1) for i in range(2))
    weight, bias = d.constant("w", made, *kernel, given), d.constant("b", made)
    return d.finish(d.node(
        "conv_transpose2d", d.input(groups * given), weight, bias, groups=groups, stride=stride, dilation=dilation,
        padding=padding, output_padding=extra,
    ))  # fmt: skip


def nearest(rng: Random) -> Graph:
    """Return a picture of another size, each cell a copy of one."""
    d = Picture(rng, 6)
    coordinates = rng.choice(("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"))
    rounded = rng.choice(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    sizes = rng.randint(1, 12), rng.randint(1, 12)
    return d.finish(
        d.node("resize", d.input(rng.choice((1, 3, 5))), sizes=sizes, coordinates=coordinates, nearest=rounded)
    )


def blocks(rng: Random) -> Graph:
    """Return a picture whose channels go to cells, or the way back."""
    d, n, mode = Picture(rng, 6), rng.randint(1, 3), rng.choice(("DCR", "CRD"))
    if rng.random() < 0.5:
        return d.finish(d.node("depth_to_space", d.input(n * n * rng.randint(1, 3)), block=n, mode=mode))
    d.height, d.width = n * rng.randint(1, 3), n * rng.randint(1, 3)
    return d.finish(d.node("space_to_depth", d.input(rng.randint(1, 3)), block=n, mode=mode))


def padded(rng: Random) -> Graph:
    """Return a picture with cells around it, sometimes with images and channels too."""
    d, channels = Picture(rng, 6), rng.randint(1, 4)
    mode = rng.choice(("constant", "constant", "reflect", "symmetric", "edge", "wrap"))
    pads: list[int] = []
    for n in (d.batch, d.height, d.width, channels):
        most = min(2, n - 1 if mode == "reflect" else n)
        pads += [rng.randint(0, most) if rng.random() < 0.6 else 0 for _ in range(2)]
    value = rng.choice((0.0, 0.0, 0.7, -9.0))
    return d.finish(d.node("pad", d.input(channels), pads=tuple(pads), mode=mode, value=value), behind=True)


def largest(rng: Random) -> Graph:
    d = Picture(rng, 6)
    return d.finish(d.node("reduce_max", d.input(5), axes=(1, 2), keepdims=rng.random() < 0.5))


def averaged(rng: Random) -> Graph:
    """Return an average whose windows hang over the edge or leave the padding out: they count different cells."""
    d = Picture(rng)
    kernel = rng.choice(((2, 2), (3, 3), (3, 2), (4, 1)))
    padding = tuple(rng.randint(0, kernel[i // 2] // 2) for i in range(4))
    stride = rng.randint(1, 3), rng.randint(1, 3)
    return d.finish(d.node(
        "avg_pool2d", d.input(rng.choice((1, 3, 9))), kernel=kernel, stride=stride, padding=padding,
        ceil_mode=rng.random() < 0.6, count_include_pad=rng.random() < 0.4,
    ))  # fmt: skip


def dilated(rng: Random) -> Graph:
    """Return a maximum over cells apart, its last windows over the edge where it counts so."""
    d = Picture(rng)
    dilation = rng.randint(1, 3), rng.randint(1, 2)
    return d.finish(d.node(
        "max_pool2d", d.input(rng.choice((1, 3, 9))), kernel=(2, 2), stride=(rng.randint(1, 3), 2), dilation=dilation,
        padding=(1, 0, 0, 1), ceil_mode=rng.random() < 0.6,
    ))  # fmt: skip


def response(rng: Random) -> Graph:
    """Return a local response norm; some draw u over many powers of two."""
    d = Picture(rng, 5)
    size, channels = rng.choice((1, 2, 5, 5, 9)), rng.choice((3, 8, 12))
    alpha, beta, bias = rng.choice((1e-4, 0.1, 3.0)), rng.choice((0.75, 0.5, 1.3)), rng.choice((1.0, 2.0))
    return d.finish(d.node("lrn", d.input(channels), size=size, alpha=alpha, beta=beta, bias=bias))


def parametric(rng: Random) -> Graph:
    d, channels = Picture(rng, 6), rng.choice((1, 3, 8))
    x, slope = d.input(channels), d.constant("slope", rng.choice((1, channels)))
    if rng.random() < 0.5:
        x = d.node("conv2d", x, d.constant("w", channels, 2, 2, channels))
    return d.finish(d.node("prelu", x, slope))


def bilinear(rng: Random) -> Graph:
    """Return a picture of another size, each cell mixed from four."""
    d = Picture(rng, 6)
    coordinates = rng.choice(("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"))
    sizes = rng.randint(1, 12), rng.randint(1, 12)
    at = d.node("resize", d.input(rng.choice((1, 3, 5))), sizes=sizes, coordinates=coordinates, mode="bilinear")
    return d.finish(at)


def normed(rng: Random) -> Graph:
    """Return a norm over groups of channels, or over each channel."""
    d, groups = Picture(rng, 5), rng.choice((1, 2, 3))
    channels = groups * rng.choice((2, 3))
    inputs = [d.input(channels), d.constant("scale", channels), d.constant("bias", channels)][: rng.choice((1, 3, 3))]
    if rng.random() < 0.3:
        return d.finish(d.node("instance_norm", *inputs))
    return d.finish(d.node("group_norm", *inputs, groups=groups))


FLOATS = (grouped, transposed, averaged, response, parametric, padded, nearest, bilinear, blocks, largest, normed)


def run_many(draw: Callable[[Random], Graph], seeds: int, mappings: int = 1) -> Counter[str]:
    """Run drawn graphs on drawn chips; returns how many programs ran, and how many of them one by one."""
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        rng = Random(seed)
        graph, chip = draw(rng), small_chip(rng)
        ranges = {name: rng.choice(RANGES) for name in graph.inputs}
        counts["ran"] += run_trial(graph, chip, ranges, rng, counts, mappings=mappings)
    return counts


def test_groups_of_channels() -> None:
    counts = run_many(grouped, 14)
    assert counts["ran"] >= 26 and counts["naive"] >= 24, counts


@pytest.mark.parametrize("draw", [transposed, nearest, bilinear, blocks, padded, largest, normed])
def test_ops_expressed_by_others_keep_every_bit(draw: Callable[[Random], Graph]) -> None:
    for seed in range(30):
        graph = draw(Random(seed))
        inputs = inputs_of(graph, seed)
        made = fold(quantize(fold(graph), [inputs]))
        expressed, wanted = evaluate(express(made), inputs), evaluate(made, inputs)
        for name, value in wanted.items():
            np.testing.assert_array_equal(expressed[name], value, err_msg=str(made))


@pytest.mark.parametrize(
    ("draw", "seeds"), [(transposed, 4), (nearest, 5), (blocks, 5), (padded, 12), (largest, 4), (normed, 4)]
)
def test_ops_expressed_by_others_run(draw: Callable[[Random], Graph], seeds: int) -> None:
    counts = run_many(draw, seeds)
    assert counts["ran"] >= seeds and counts["naive"] >= seeds, counts


@pytest.mark.parametrize(
    ("draw", "seeds"), [(averaged, 14), (dilated, 5), (response, 8), (parametric, 8), (bilinear, 10)]
)
def test_vector_work_of_pictures(draw: Callable[[Random], Graph], seeds: int) -> None:
    counts = run_many(draw, seeds)
    assert counts["ran"] >= seeds and counts["naive"] >= seeds, counts


@pytest.mark.parametrize("draw", FLOATS)
def test_floats(draw: Callable[[Random], Graph]) -> None:
    ran = 0
    for seed in range(4):
        rng = Random(seed)
        graph = draw(rng)
        ran += run_floats(graph, small_chip(rng), {name: (-1.0, 1.0) for name in graph.inputs}, rng)
    assert ran >= 3


def test_every_sum_over_every_count_is_rounded_as_the_quotient() -> None:
    """The multiplier and shift of each count, by the instructions' own arithmetic, against whole numbers."""
    counts = np.array([*range(1, 40), 63, 64, 65, 143, 144])
    multipliers, shifts = np.frombuffer(divisors(counts, integer=True), np.int32).reshape(2, -1)
    for count, multiplier, shift in zip(counts.tolist(), multipliers.tolist(), shifts.tolist(), strict=True):
        size = np.arange(255 * count + 1)
        found = rounding_divide_by_pot(srdhm32(size << (23 - (144 - 1).bit_length()), multiplier), shift)
        np.testing.assert_array_equal(found, (2 * size + count) // (2 * count))
