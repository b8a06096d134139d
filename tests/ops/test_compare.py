"""Comparisons, logic, remainder and cast against the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest

from onchip.ops.types import Refusal
from tests.ops.witness import floats, onnx, ours

SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (5, 1)), ((), (2, 2))]
NODES = {
    "maximum": "Max", "minimum": "Min", "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "less": "Less", "less_equal": "LessOrEqual",
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_comparisons(name, shapes, dtype):
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-2, 3, s).astype(dtype) for s in shapes)
    np.testing.assert_array_equal(ours(name, {}, a, b)[0], onnx(NODES[name], [a, b])[0])


@pytest.mark.parametrize(("name", "node"), [("logical_or", "Or"), ("logical_xor", "Xor")])
def test_logic(name, node):
    a, b = np.array([[False, True]]), np.array([[False], [True]])
    np.testing.assert_array_equal(ours(name, {}, a, b)[0], onnx(node, [a, b])[0])


@pytest.mark.parametrize("fmod", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_mod(fmod, dtype):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(1, 9, (40,)) * rng.choice([-1, 1], 40) for _ in range(2))
    a, b = a.astype(dtype), b.astype(dtype)
    if dtype is np.float32:
        a, b = a + np.float32(0.25), b * np.float32(1.5)
    want = (
        onnx("Mod", [a, b], fmod=1)[0]
        if fmod
        else np.array([x % y for x, y in zip(a.tolist(), b.tolist(), strict=True)], dtype)
    )
    np.testing.assert_allclose(ours("mod", {"fmod": fmod}, a, b)[0], want, rtol=1e-6)


def test_cast():
    x = np.array([-2.7, -0.5, 0.0, 0.4, 3.9], np.float32)
    for dtype, code in (("i64", 7), ("i32", 6), ("i8", 3), ("bool", 9), ("f32", 1)):
        np.testing.assert_array_equal(ours("cast", {"dtype": dtype}, x)[0], onnx("Cast", [x], to=code)[0])
    np.testing.assert_array_equal(ours("cast", {"dtype": "f32"}, np.array([True, False]))[0], [1.0, 0.0])
    with pytest.raises(Refusal, match="'q7' is none of"):
        ours("cast", {"dtype": "q7"}, x)


def test_nan_goes_through_maximum():
    a, b = np.array([np.nan, 1], np.float32), floats(np.random.default_rng(0), 2)
    assert np.isnan(ours("maximum", {}, a, b)[0][0])
