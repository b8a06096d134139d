"""int8 conv_transpose2d against LiteRT's TRANSPOSE_CONV, and against exact sums in every rounding mode."""

# pyright: basic

import numpy as np
import pytest

from onchip.ops.types import Quantization
from tests.ops.litert import T, f32, run, schema
from tests.ops.witness import int8, integers, off, ours, q8


@pytest.mark.parametrize("seed", range(16))
def test_equals_litert(seed):
    rng = np.random.default_rng(seed)
    h, w, c, k = (int(v) for v in rng.integers(1, 8, 4))
    (r, s), (sh, sw) = rng.integers(1, 5, 2).tolist(), rng.integers(1, 4, 2).tolist()
    is_same = seed % 2 == 1
    x, weights = int8(rng, 2, h, w, c), int8(rng, k, r, s, c, low=-127)
    b = rng.integers(-(2**14), 2**14, k).astype(np.int32)
    px, py = q8(f32(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128))), q8(f32(rng.uniform(0.2, 0.9)), -7)
    scales = [f32(v) for v in rng.uniform(0.001, 0.05, k)]
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW = sh, sw
    options.padding = schema.Padding.SAME if is_same else schema.Padding.VALID
    options.fusedActivationFunction = 1 if seed % 3 == 2 else 0
    padding, extra, out = [], [], []
    for size, taps, stride in ((h, r, sh), (w, s, sw)):
        full = (size - 1) * stride + taps
        n = size * stride if is_same else full + max(0, stride - taps)
        padding += [max(0, full - n) // 2, max(0, full - n) - max(0, full - n) // 2]
        extra, out = [*extra, max(0, n - full)], [*out, n]
    shape = (2, *out, k)
    bias = T(b, [px.scale[0] * v for v in scales])
    inputs = [
        T(np.array(shape, np.int32)),
        T(weights, scales),
        T(x, px.scale[0], px.zero_point[0], is_input=True),
        bias,
    ]
    (want,) = run("TRANSPOSE_CONV", options, inputs, [T(shape, py.scale[0], py.zero_point[0])], version=4)
    attributes = {
        "stride": (sh, sw), "padding": tuple(padding), "output_padding": tuple(extra), "rounding": "double",
        "activation": "relu" if seed % 3 == 2 else "none",
    }  # fmt: skip
    given = [px, Quantization(tuple(scales), (0,) * k, 0), None]
    (got,) = integers("conv_transpose2d", attributes, given, [py], x, weights, b)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("mode", ["single", "double", "fp32"])
def test_accumulators_are_exact(groups, mode):
    rng = np.random.default_rng(groups)
    x, w, b = int8(rng, 2, 5, 6, 8), int8(rng, 4, 3, 2, 8 // groups, low=-127), rng.integers(-999, 999, 4)
    attributes = {"stride": (2, 1), "padding": (1, 0, 1, 1), "dilation": (1, 2), "groups": groups, "rounding": mode}
    scales = Quantization((0.01, 0.02, 0.003, 0.01), (0,) * 4, 0)
    arrays = (x, w, b.astype(np.int32))
    (acc,) = integers("conv_transpose2d", attributes, [q8(0.1, 7), scales, None], [None], *arrays)
    floats = [a.astype(np.float32) for a in (x - np.int16(7), *arrays[1:])]
    (want,) = ours("conv_transpose2d", attributes, *floats)  # sums below 2^24: exact
    np.testing.assert_array_equal(acc, want)
    (got,) = integers("conv_transpose2d", attributes, [q8(0.1, 7), scales, None], [q8(0.9, 3)], *arrays)
    assert off(got, want * 0.1 * np.array(scales.scale), q8(0.9, 3)) <= 0.51
