"""pad, resize and the shuffles of space and depth against torch, NumPy and the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.types import Refusal
from tests.ops.witness import floats, nchw, nhwc, onnx, ours, runtime

F = torch.nn.functional


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 3, 0), (2, 1, 0, 0, 0, 4), (0, 0, 0, 0, 0, 0)])
def test_pad(mode, pads):
    x = floats(np.random.default_rng(0), 3, 4, 6)
    (got,) = ours("pad", {"pads": pads, "mode": mode, "value": 1.5}, x)
    inputs = [x, np.array([*pads[::2], *pads[1::2]]), np.array(1.5, np.float32)]
    np.testing.assert_array_equal(got, onnx("Pad", inputs, mode=mode)[0])


def test_pad_symmetric_and_refusals():
    x = np.arange(3.0, dtype=np.float32)
    np.testing.assert_array_equal(ours("pad", {"pads": (3, 2), "mode": "symmetric"}, x)[0], [2, 1, 0, 0, 1, 2, 2, 1])
    for attributes, text in (
        ({"pads": (3, 0), "mode": "reflect"}, "by 2 at most"), ({"pads": (1,)}, "1 pads for 1"),
        ({"pads": (-1, 0)}, "at least 0"), ({"pads": (1, 0), "mode": "mirror"}, "'mirror' is none of"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=text):
            ours("pad", attributes, x)


SIZES = [((4, 5), (8, 10)), ((4, 5), (7, 3)), ((6, 4), (3, 2)), ((1, 3), (5, 1)), ((7, 7), (7, 7)), ((3, 8), (1, 20))]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize(("size", "sizes"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_equals_torch(mode, size, sizes, align):
    x = floats(np.random.default_rng(1), 2, *size, 3)
    want = F.interpolate(nchw(x), sizes, mode=mode, align_corners=align)
    attributes = {"sizes": sizes, "mode": mode, "coordinates": "align_corners" if align else "half_pixel"}
    np.testing.assert_allclose(ours("resize", attributes, x)[0], nhwc(want), atol=3e-5)


@pytest.mark.parametrize(("size", "sizes"), SIZES)
def test_nearest_equals_torch(size, sizes):
    x = floats(np.random.default_rng(2), 2, *size, 3)
    attributes = {"sizes": sizes, "coordinates": "asymmetric", "nearest": "floor"}
    np.testing.assert_array_equal(ours("resize", attributes, x)[0], nhwc(F.interpolate(nchw(x), sizes)))
    attributes = {"sizes": sizes, "coordinates": "half_pixel", "nearest": "round_prefer_ceil"}
    want = F.interpolate(nchw(x), sizes, mode="nearest-exact")
    np.testing.assert_array_equal(ours("resize", attributes, x)[0], nhwc(want))


@pytest.mark.parametrize("coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize(("size", "sizes"), SIZES)
def test_resize_equals_onnx(coordinates, size, sizes):
    x = floats(np.random.default_rng(3), 1, *size, 2)
    given = [np.ascontiguousarray(nchw(x).numpy()), None, None, np.array([1, 2, *sizes])]
    ways = [("linear", "bilinear", "floor"), ("cubic", "bicubic", "floor")]
    ways += [("nearest", "nearest", n) for n in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")]
    for theirs, mode, nearest in ways:
        # the evaluator takes -0.5 where one cell is made, against the text of the standard
        run = runtime if coordinates == "pytorch_half_pixel" else onnx
        options = {"mode": theirs, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
        (want,) = run("Resize", given, **options)
        attributes = {"sizes": sizes, "mode": mode, "coordinates": coordinates, "nearest": nearest}
        (got,) = ours("resize", attributes, x)
        np.testing.assert_allclose(got, nhwc(want), atol=1e-5)


@pytest.mark.parametrize("scale", [0.6, 1.7, 2.3])
def test_resize_by_a_scale_that_is_not_the_ratio(scale):
    x = floats(np.random.default_rng(4), 1, 5, 9, 2)
    want = F.interpolate(nchw(x), scale_factor=scale, mode="bilinear", recompute_scale_factor=False)
    attributes = {"sizes": tuple(want.shape[2:]), "mode": "bilinear", "scales": (scale, scale)}
    np.testing.assert_allclose(ours("resize", attributes, x)[0], nhwc(want), atol=1e-5)


@pytest.mark.parametrize("block", [1, 2, 3])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(block, mode):
    x = floats(np.random.default_rng(5), 2, 3, 4, 2 * block**2)
    (got,) = ours("depth_to_space", {"block": block, "mode": mode}, x)
    (want,) = onnx("DepthToSpace", [np.ascontiguousarray(nchw(x).numpy())], blocksize=block, mode=mode)
    np.testing.assert_array_equal(got, nhwc(want))
    np.testing.assert_array_equal(ours("space_to_depth", {"block": block, "mode": mode}, got)[0], x)
    if mode == "CRD":
        np.testing.assert_array_equal(got, nhwc(F.pixel_shuffle(nchw(x), block)))
        np.testing.assert_array_equal(
            ours("space_to_depth", {"block": block, "mode": mode}, got)[0], nhwc(F.pixel_unshuffle(nchw(got), block))
        )
    else:
        (want,) = onnx("SpaceToDepth", [np.ascontiguousarray(nchw(got).numpy())], blocksize=block)
        np.testing.assert_array_equal(x, nhwc(want))


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("is_ceil", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_max_pool_with_dilation(dilation, is_ceil, stride):
    x = floats(np.random.default_rng(6), 2, 11, 12, 3)
    want = F.max_pool2d(nchw(x), (3, 2), stride, 1, dilation, ceil_mode=is_ceil)
    attributes = {
        "kernel": (3, 2), "stride": (stride, stride), "padding": (1,) * 4, "dilation": dilation, "ceil_mode": is_ceil,
    }  # fmt: skip
    np.testing.assert_array_equal(ours("max_pool2d", attributes, x)[0], nhwc(want))
