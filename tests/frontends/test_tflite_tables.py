"""Functions of one value: all 256 inputs of int8 and uint8, at many scales, against LiteRT's reference kernels."""

# pyright: basic

from __future__ import annotations

import numpy as np
import pytest

from tests.frontends.tflite_models import Writer, compare, f32, options

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
BOTH = ("int8", "uint8")
# builtin -> options, version, dtypes of the reference kernel, fixed output (scale, zero point of int8)
CASES = {
    "LOGISTIC": (None, 2, BOTH, (1 / 256, -128)),
    "TANH": (None, 2, BOTH, (1 / 128, 0)),
    "EXP": (None, 2, ("int8",), None),
    "LOG": (None, 2, ("int8",), None),
    "GELU": (("Gelu", {"approximate": False}), 2, BOTH, None),
    "GELU tanh": (("Gelu", {"approximate": True}), 2, BOTH, None),
    "LEAKY_RELU": (("LeakyRelu", {"alpha": 0.13}), 2, BOTH, None),
    "HARD_SWISH": (None, 1, BOTH, None),
    "ABS": (None, 2, ("int8",), None),
    "RSQRT": (None, 2, ("int8",), None),
    "RELU": (None, 2, BOTH, None),
    "RELU6": (None, 2, BOTH, None),
    "RELU_N1_TO_1": (None, 1, BOTH, None),
    "RELU_0_TO_1": (None, 1, BOTH, None),
}


def one(builtin, dtype, given, made, opts, version, x):
    w = Writer()
    i = w.tensor("x", x.shape, dtype, scale=given[0], zero=given[1])
    y = w.tensor("y", x.shape, dtype, scale=made[0], zero=made[1])
    w.op(builtin, [i], [y], opts, version=version)
    w.io([i], [y])
    return compare(w.bytes(), [{"x": x}], atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_all_values(case):
    kind, version, dtypes, fixed = CASES[case]
    rng = np.random.default_rng(len(case))
    for dtype in dtypes:
        shift = 128 if dtype == "uint8" else 0
        x = np.arange(LIMITS[dtype][0], LIMITS[dtype][1] + 1).astype(dtype)[None]
        for trial in range(8):
            sx, sy = (f32(v) for v in np.exp(rng.uniform(np.log(0.006), np.log(0.15), 2)))
            zx, zy = (int(v) for v in rng.integers(-128, 128, 2))
            if trial % 3 == 0:
                sy, zy = sx, zx
            if trial == 4:
                sx, sy = 1 / 64, 1 / 32
            if case == "RSQRT":
                zx = -128
            sy, zy = fixed or (sy, zy)
            opts = options(kind[0], **kind[1]) if kind else None
            one(case.split()[0], dtype, (sx, zx + shift), (sy, zy + shift), opts, version, x)


@pytest.mark.parametrize("builtin", ["RELU", "RELU6"])
def test_int16(builtin):
    rng = np.random.default_rng(4)
    x = np.arange(-32768, 32768).astype(np.int16)[None]
    for trial in range(4):
        sx = f32(rng.uniform(0.0001, 0.0005))
        sy = sx if trial == 0 else f32(rng.uniform(0.0001, 0.0005))
        one(builtin, "int16", (sx, 0), (sy, 0), None, 3, x)


@pytest.mark.parametrize("builtin", ["EXP", "LOG", "RSQRT"])
def test_points_of_int16(builtin):
    """513 points in float32, and straight lines between."""
    rng = np.random.default_rng(7)
    x = np.arange(-32768, 32768).astype(np.int16)[None]
    x = np.abs(x.clip(-32767)) if builtin == "RSQRT" else x
    versions = {"EXP": 2, "LOG": 2, "RSQRT": 3}
    for _ in range(4):
        sx, sy = (f32(v) for v in np.exp(rng.uniform(np.log(0.0001), np.log(0.001), 2)))
        one(builtin, "int16", (sx, 0), (sy, 0), None, versions[builtin], x)


@pytest.mark.parametrize("builtin", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-11, 2.0**-14, 2.0**-12 * 1.0005, f32(0.0003), f32(0.002)])
def test_curves_of_int16(builtin, scale):
    x = np.arange(-32768, 32768).astype(np.int16)[None]
    one(builtin, "int16", (scale, 0), (1 / 32768, 0), None, 3, x)


@pytest.mark.parametrize(
    "builtin",
    [
        "LOGISTIC", "TANH", "EXP", "LOG", "GELU", "LEAKY_RELU", "HARD_SWISH", "ABS", "RSQRT", "RELU", "RELU6", "SQRT",
        "RELU_N1_TO_1", "NEG", "SIN", "COS", "FLOOR", "SQUARE", "LOG_SOFTMAX",
        "L2_NORMALIZATION", "SIGN",
    ],
)  # fmt: skip
def test_floats(builtin):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 40)).astype(np.float32) * 3
    if builtin in ("LOG", "RSQRT", "SQRT"):
        x = np.abs(x) + np.float32(0.01)
    kinds = {"GELU": ("Gelu", {}), "LEAKY_RELU": ("LeakyRelu", {"alpha": 0.2}), "L2_NORMALIZATION": ("L2Norm", {})}
    opts = options(kinds[builtin][0], **kinds[builtin][1]) if builtin in kinds else None
    one(builtin, "float32", (None, 0), (None, 0), opts, 1, x)


def test_a_table_is_a_lookup_where_our_op_rounds_otherwise():
    """The node keeps its op where the tables agree; a lookup of other results stands in where they do not."""
    x = np.arange(-128, 128).astype(np.int8)[None]
    graph = one("RELU", "int8", (0.05, 3), (0.05, 3), None, 2, x)
    assert [n.op for n in graph.nodes] == ["quantize", "relu", "dequantize"]
    graph = one("RELU_N1_TO_1", "int8", (0.05, 3), (0.03, -7), None, 1, x)
    assert [n.op for n in graph.nodes] == ["quantize", "lookup", "dequantize"]
