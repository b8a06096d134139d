"""Reductions against the ONNX reference evaluator and torch."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.types import Refusal
from tests.ops.witness import floats, onnx, ours

NODES = {
    "sum": "ReduceSum", "prod": "ReduceProd", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin",
    "sum_squares": "ReduceSumSquare", "l2_norm": "ReduceL2",
}  # fmt: skip
AXES = [(0,), (-1,), (1, 2), (0, -1), (), (0, 1, 2, 3)]


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("keep", [False, True])
def test_over_axes(name, axes, keep):
    x = floats(np.random.default_rng(len(axes)), 2, 3, 5, 4)
    (got,) = ours(name, {"axes": axes, "keepdims": keep}, x)
    (want,) = onnx(NODES[name], [x, np.array(axes, np.int64)] if axes else [x], keepdims=int(keep))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_integers_stay_integers():
    x = np.arange(24).reshape(2, 3, 4)
    for name in ("sum", "prod", "reduce_max", "reduce_min"):
        np.testing.assert_array_equal(
            ours(name, {"axes": (1,)}, x)[0], onnx(NODES[name], [x, np.array([1])], keepdims=0)[0]
        )


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("correction", [0, 1])
def test_variance(axes, correction):
    x = floats(np.random.default_rng(0), 2, 3, 5, 4) + 100
    want = torch.var(torch.tensor(x), axes or (0, 1, 2, 3), correction=correction)
    np.testing.assert_allclose(ours("variance", {"axes": axes, "correction": correction}, x)[0], want, rtol=1e-4)
    with pytest.raises(Refusal, match="correction 1 needs more than 1"):
        ours("variance", {"axes": (0,), "correction": 1}, x[:1])


@pytest.mark.parametrize(("name", "node"), [("argmax", "ArgMax"), ("argmin", "ArgMin")])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_positions(name, node, axis, keep, last):
    x = np.random.default_rng(axis + 5).integers(-2, 3, (4, 6, 5)).astype(np.float32)
    (got,) = ours(name, {"axis": axis, "keepdims": keep, "select_last": last}, x)
    (want,) = onnx(node, [x], axis=axis, keepdims=int(keep), select_last_index=int(last))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumsum(exclusive, reverse, axis):
    x = floats(np.random.default_rng(3), 3, 4, 6)
    (got,) = ours("cumsum", {"axis": axis, "exclusive": exclusive, "reverse": reverse}, x)
    (want,) = onnx("CumSum", [x, np.array(axis)], exclusive=int(exclusive), reverse=int(reverse))
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(("axis", "k"), [(0, 2), (1, 1), (-1, 6)])
def test_top_k(largest, axis, k):
    rng = np.random.default_rng(k)
    x = rng.permutation(4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
    values, ids = ours("top_k", {"k": k, "axis": axis, "largest": largest}, x)
    want = torch.topk(torch.tensor(x), k, axis, largest)
    np.testing.assert_array_equal(values, want.values)
    np.testing.assert_array_equal(ids, want.indices)
    for got, their in zip(
        (values, ids), onnx("TopK", [x, np.array([k])], 2, axis=axis, largest=int(largest)), strict=True
    ):
        np.testing.assert_array_equal(got, their)


def test_top_k_takes_the_first_of_equal_values_and_the_ends_of_int8():
    x = np.array([[3, -128, 3, 127, -128]], np.int8)
    for largest, want in ((True, [3, 0, 2]), (False, [1, 4, 0])):
        np.testing.assert_array_equal(ours("top_k", {"k": 3, "largest": largest}, x)[1], [want])
    with pytest.raises(Refusal, match="from 1 to 5"):
        ours("top_k", {"k": 6}, x)
