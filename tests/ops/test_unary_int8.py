"""int8 unary ops: whole tables against float64 (torch) and against LiteRT's reference kernels."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.unary import FUNCTIONS
from tests.ops.litert import T, f32, run, schema
from tests.ops.test_unary import CASES
from tests.ops.witness import int8, integers, off, q8, real

X = np.arange(-128, 128).astype(np.int8)[None]
SCALES = [0.003, 0.05, 0.4]
ZEROS = [-128, 0, 101]


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "attributes", "torchs"), [c[:3] for c in CASES if c[2] is not None])
def test_tables_are_the_rounded_float_results(name, attributes, torchs, scale, zero):
    given = q8(scale, zero)
    for made in (q8(0.031, -11), q8(0.4, 60), q8(0.0007, 127)):
        (got,) = integers(name, attributes, [given], [made], X)
        want = torchs(torch.tensor(real(X, given))).numpy()
        want = np.nan_to_num(want, nan=np.inf if name == "rsqrt" else -np.inf, posinf=np.inf, neginf=-np.inf)
        assert off(got, want, made) <= 0.5 + 1e-6


def litert(builtin, options, x, given, made, *more, version=1):
    inputs = [T(x, given.scale[0], given.zero_point[0], is_input=True), *more]
    return run(builtin, options, inputs, [T(x.shape, made.scale[0], made.zero_point[0])], version=version)[0]


def pairs(seed, n=12):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        sx, sy = (f32(10 ** rng.uniform(-2.5, 0)) for _ in range(2))
        yield q8(sx, int(rng.integers(-128, 128))), q8(sy, int(rng.integers(-128, 128))), rng


def test_abs_equals_litert():
    for given, made, _ in pairs(1):
        for p in (made, q8(given.scale[0], made.zero_point[0])):
            (got,) = integers("abs", {"rounding": "double"}, [given], [p], X)
            np.testing.assert_array_equal(got, litert("ABS", None, X, given, p))


def test_leaky_relu_equals_litert():
    for given, made, rng in pairs(2):
        for alpha in (0.01, f32(rng.uniform(0, 2)), f32(-rng.uniform(0, 1))):
            options = schema.LeakyReluOptionsT()
            options.alpha = alpha
            (got,) = integers("leaky_relu", {"alpha": alpha, "rounding": "double"}, [given], [made], X)
            np.testing.assert_array_equal(got, litert("LEAKY_RELU", options, X, given, made))


def test_hard_swish_equals_litert():
    options = schema.HardSwishOptionsT()
    for given, made, _ in pairs(3, 30):
        if not 1 / 128 <= made.scale[0] / given.scale[0] <= 256:
            continue
        (got,) = integers("hard_swish", {"rounding": "double"}, [given], [made], X)
        np.testing.assert_array_equal(got, litert("HARD_SWISH", options, X, given, made))


@pytest.mark.parametrize("ratio", [1 / 500, 1 / 129, 257, 2000])
def test_hard_swish_outside_of_litert_is_rounded_float(ratio):
    given, made = q8(0.01, 3), q8(0.01 * ratio, -4)
    (got,) = integers("hard_swish", {"rounding": "double"}, [given], [made], X)
    assert off(got, torch.nn.functional.hardswish(torch.tensor(real(X, given))), made) <= 0.5 + 1e-6


def test_rsqrt_equals_litert():
    for given, made, _ in pairs(4):
        x = X[given.zero_point[0] <= X][None]
        (got,) = integers("rsqrt", {"rounding": "double"}, [given], [made], x)
        np.testing.assert_array_equal(got, litert("RSQRT", None, x, given, made))


def test_log_differs_from_a_table_made_in_float32_by_one_at_halves():
    differing = total = 0
    for given, made, _ in pairs(5, 40):
        (got,) = integers("log", {}, [given], [made], X)
        distance = np.abs(got.astype(int) - litert("LOG", None, X, given, made))
        assert distance.max() <= 1
        differing, total = differing + (distance > 0).sum(), total + X.size
    assert differing / total < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_prelu_equals_litert(seed):
    for given, made, rng in pairs(10 + seed, 5):
        x, slope = int8(rng, 2, 5, 6, 9), int8(rng, 9)
        ps = q8(f32(rng.uniform(0.002, 0.02)), int(rng.integers(-128, 128)))
        alpha = T(slope.reshape(1, 1, 9), ps.scale[0], ps.zero_point[0])
        (got,) = integers("prelu", {"rounding": "double"}, [given, ps], [made], x, slope)
        np.testing.assert_array_equal(got, litert("PRELU", None, x, given, made, alpha))
        want = np.where(real(x, given) >= 0, real(x, given), real(x, given) * real(slope, ps))
        for mode in ("single", "fp32"):
            (got,) = integers("prelu", {"rounding": mode}, [given, ps], [made], x, slope)
            assert off(got, want, made) <= 0.501


def test_every_function_has_a_table():
    for name, (defaults, _) in FUNCTIONS.items():
        (got,) = integers(name, defaults, [q8(0.1)], [q8(0.1)], X)
        assert got.dtype == np.int8
