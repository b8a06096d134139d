"""int8 pad, resize and shuffles against LiteRT's reference kernels, and resize against torch within 1."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.interpolate import integer_weights
from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Refusal
from tests.ops.litert import T, run, schema
from tests.ops.witness import int8, integers, nchw, nhwc, off, ours, q8

Q = q8(0.5, -3)
SIZES = [
    ((4, 5), (8, 10)),
    ((5, 7), (13, 3)),
    ((6, 4), (3, 2)),
    ((1, 3), (5, 1)),
    ((9, 8), (20, 17)),
    ((31, 2), (7, 98)),
]


def litert(builtin, options, x, shape, *more, version=3):
    return run(builtin, options, [T(x, 0.5, -3, is_input=True), *more], [T(shape, 0.5, -3)], version=version)[0]


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize(("size", "sizes"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_resize_equals_litert(mode, size, sizes, coordinates):
    x = int8(np.random.default_rng(1), 2, *size, 3)
    is_linear = mode == "bilinear"
    options = schema.ResizeBilinearOptionsT() if is_linear else schema.ResizeNearestNeighborOptionsT()
    options.alignCorners = coordinates == "align_corners"
    options.halfPixelCenters = coordinates == "half_pixel"
    name = "RESIZE_BILINEAR" if is_linear else "RESIZE_NEAREST_NEIGHBOR"
    want = litert(name, options, x, (2, *sizes, 3), T(np.array(sizes, np.int32)))
    attributes = {"sizes": sizes, "mode": mode, "coordinates": coordinates, "rounding": "double"}
    np.testing.assert_array_equal(integers("resize", attributes, [Q], [Q], x)[0], want)


@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize(("size", "sizes"), SIZES)
def test_resize_is_within_one_of_float(size, sizes, mode, coordinates):
    rng = np.random.default_rng(2)
    x = int8(rng, 2, *size, 3)
    x[1] = rng.choice([-128, 127], x[1].shape)
    attributes = {"sizes": sizes, "mode": mode, "coordinates": coordinates}
    (got,) = integers("resize", attributes, [q8(1.0)], [q8(1.0)], x)
    (want,) = ours("resize", attributes, x.astype(np.float32))
    assert off(got, want, q8(1.0)) <= (0 if mode == "nearest" else 0.75)
    if mode != "nearest" and coordinates in ("half_pixel", "align_corners"):
        is_aligned = coordinates == "align_corners"
        witness = torch.nn.functional.interpolate(nchw(x).float(), sizes, mode=mode, align_corners=is_aligned)
        assert off(got, nhwc(witness), q8(1.0)) <= 0.75
    constant = np.full_like(x, -77)
    assert (integers("resize", attributes, [q8(1.0)], [q8(1.0)], constant)[0] == -77).all()


def test_resize_refusals():
    x = int8(np.random.default_rng(3), 1, 2, 2, 1)
    attributes = {"sizes": (4, 4), "mode": "bilinear", "coordinates": "pytorch_half_pixel", "rounding": "double"}
    with pytest.raises(Refusal, match="LiteRT has no coordinates"):
        integers("resize", attributes, [Q], [Q], x)
    with pytest.raises(Refusal, match="equal quantization"):
        integers("resize", {"sizes": (4, 4)}, [Q], [q8(0.1)], x)


@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 3, 0), (2, 1, 0, 0, 0, 4)])
def test_pad_equals_litert(pads):
    x = int8(np.random.default_rng(4), 3, 4, 6)
    table = np.array(pads, np.int32).reshape(3, 2)
    shape = tuple(int(n) for n in np.array(x.shape) + table.sum(axis=1))
    want = litert("PAD", schema.PadOptionsT(), x, shape, T(table))
    np.testing.assert_array_equal(integers("pad", {"pads": pads}, [Q], [Q], x)[0], want)
    want = litert("PADV2", schema.PadV2OptionsT(), x, shape, T(table), T(np.array(7, np.int8), 0.5, -3))
    np.testing.assert_array_equal(integers("pad", {"pads": pads, "value": 5.0}, [Q], [Q], x)[0], want)
    for mode, number in (("reflect", 0), ("symmetric", 1)):
        options = schema.MirrorPadOptionsT()
        options.mode = number
        small = np.minimum(table, 2)
        shape = tuple(int(n) for n in np.array(x.shape) + small.sum(axis=1))
        want = litert("MIRROR_PAD", options, x, shape, T(small))
        attributes = {"pads": tuple(small.ravel().tolist()), "mode": mode}
        np.testing.assert_array_equal(integers("pad", attributes, [Q], [Q], x)[0], want)


@pytest.mark.parametrize("block", [2, 3])
def test_depth_and_space_equal_litert(block):
    x = int8(np.random.default_rng(5), 2, 3, 4, 2 * block**2)
    options = schema.DepthToSpaceOptionsT()
    options.blockSize = block
    want = litert("DEPTH_TO_SPACE", options, x, (2, 3 * block, 4 * block, 2), version=1)
    np.testing.assert_array_equal(integers("depth_to_space", {"block": block}, [Q], [Q], x)[0], want)
    options = schema.SpaceToDepthOptionsT()
    options.blockSize = block
    np.testing.assert_array_equal(litert("SPACE_TO_DEPTH", options, want, x.shape, version=1), x)
    np.testing.assert_array_equal(integers("space_to_depth", {"block": block}, [Q], [Q], want)[0], x)


def test_integer_weights_sum_to_one():
    """Three thirds round to 8,193 - 2 and their like: the largest weight takes the rest."""
    w = integer_weights(np.array([[1 / 3, 1 / 3, 1 / 3], [-0.1, 0.6, 0.5], [0.0001, 0.9998, 0.0001], [1.0, 0.0, 0.0]]))
    assert (w.sum(axis=1) == 8192).all()
    assert np.abs(w / 8192 - [[1 / 3] * 3, [-0.1, 0.6, 0.5], [0.0001, 0.9998, 0.0001], [1, 0, 0]]).max() < 2 / 8192


@pytest.mark.parametrize(("mode", "cells"), [("nearest", 1), ("bilinear", 4), ("bicubic", 16)])
def test_resize_costs_the_cells_that_it_mixes(mode, cells):
    op = OPS["resize"]
    attributes = Attributes({**op.defaults, "mode": mode, "sizes": (5, 6)})
    assert op.vector_ops(attributes, [(2, 3, 4, 7)], [(2, 5, 6, 7)]) == cells * 2 * 5 * 6 * 7


@pytest.mark.parametrize(("value", "want"), [(0.2, -3), (0.3, -2), (-0.3, -4), (1e9, 127), (-1e9, -128)])
def test_a_padding_value_is_rounded_and_saturates(value, want):
    x = np.zeros((2,), np.int8)
    assert integers("pad", {"pads": (1, 0), "value": value}, [Q], [Q], x)[0][0] == want
