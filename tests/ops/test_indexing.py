"""Ops that repeat, pick and place, against the ONNX reference evaluator and torch."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.types import Refusal
from tests.ops.witness import floats, onnx, ours, runtime


def test_broadcast_to():
    x = floats(np.random.default_rng(0), 3, 1)
    for shape in ((2, 1, 6), (3, 1), (1,), (4, 3, 5)):
        np.testing.assert_array_equal(
            ours("broadcast_to", {"shape": shape}, x)[0], onnx("Expand", [x, np.array(shape)])[0]
        )


def test_tile():
    x = floats(np.random.default_rng(1), 2, 3, 4)
    for repeats in ((1, 1, 1), (2, 1, 3)):
        np.testing.assert_array_equal(ours("tile", {"repeats": repeats}, x)[0], torch.tensor(x).repeat(repeats))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_gather_along_an_axis(axis):
    rng = np.random.default_rng(2)
    x, ids = floats(rng, 4, 5, 6), rng.integers(0, 4, (2, 3))
    np.testing.assert_array_equal(ours("gather", {"axis": axis}, x, ids)[0], onnx("Gather", [x, ids], axis=axis)[0])
    with pytest.raises(Refusal, match="outside"):
        ours("gather", {"axis": axis}, x, ids + 6)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(axis):
    rng = np.random.default_rng(3)
    x, ids = floats(rng, 4, 5, 6), rng.integers(-4, 4, (3, 5, 2))
    got = ours("gather_elements", {"axis": axis}, x, ids)[0]
    np.testing.assert_array_equal(got, runtime("GatherElements", [x, ids], axis=axis)[0])
    n = x.shape[axis]
    np.testing.assert_array_equal(
        got, torch.gather(torch.tensor(x), axis, torch.tensor(np.where(ids < 0, ids + n, ids)))
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gather_nd(depth):
    rng = np.random.default_rng(4)
    x, ids = floats(rng, 4, 5, 6), rng.integers(-4, 4, (2, 7, depth))
    np.testing.assert_array_equal(ours("gather_nd", {}, x, ids)[0], onnx("GatherND", [x, ids])[0])


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("depth", [1, 2])
def test_scatter_nd(depth, reduction):
    rng = np.random.default_rng(5)
    x = floats(rng, 4, 5, 6)
    ids = rng.permutation(4)[:3, None] if depth == 1 else np.array([[0, 1], [3, -1], [2, 0]])
    if reduction != "none":
        ids = np.concatenate([ids, ids[:1]])
    updates = floats(rng, len(ids), *x.shape[depth:])
    got = ours("scatter_nd", {"reduction": reduction}, x, ids, updates)[0]
    np.testing.assert_allclose(got, onnx("ScatterND", [x, ids, updates], reduction=reduction)[0], rtol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_elements(axis, reduction):
    rng = np.random.default_rng(6)
    x, updates = floats(rng, 4, 4), floats(rng, 2, 2)
    ids = np.array([[0, 1], [2, 3]]) if reduction == "none" else np.array([[0, 1], [0, 3]])
    got = ours("scatter_elements", {"axis": axis, "reduction": reduction}, x, ids, updates)[0]
    np.testing.assert_allclose(
        got, onnx("ScatterElements", [x, ids, updates], axis=axis, reduction=reduction)[0], rtol=1e-6
    )
    if reduction == "add":
        want = torch.tensor(x).scatter_add(axis, torch.tensor(ids), torch.tensor(updates))
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_scatter_refusals():
    x = np.zeros((3, 4), np.float32)
    with pytest.raises(Refusal, match="updates have shape"):
        ours("scatter_nd", {}, x, np.array([[0]]), np.zeros((1, 3), np.float32))
    with pytest.raises(Refusal, match="outside"):
        ours("scatter_nd", {}, x, np.array([[3]]), np.zeros((1, 4), np.float32))
    with pytest.raises(Refusal, match="reach outside"):
        ours("gather_elements", {"axis": 0}, x, np.zeros((3, 5), np.int64))
    with pytest.raises(Refusal, match="'mean' is none of"):
        ours("scatter_nd", {"reduction": "mean"}, x, np.array([[0]]), np.zeros((1, 4), np.float32))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis):
    ids = np.array([[0, 3, -1], [7, 2, 2]])
    (got,) = ours("one_hot", {"depth": 4, "axis": axis, "on": 2.0, "off": -1.0}, ids)
    ids = np.where(ids == 7, 99, ids)
    (want,) = onnx("OneHot", [ids % 4, np.array(4), np.array([-1.0, 2.0], np.float32)], axis=axis)
    inside = np.moveaxis(got, axis, -1)
    np.testing.assert_array_equal(inside[0], np.moveaxis(want, axis, -1)[0])
    np.testing.assert_array_equal(inside[1, 0], [-1.0] * 4)
    assert ours("one_hot", {"depth": 4, "dtype": "bool"}, ids)[0].dtype == np.bool_


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("k", [-7, -1, 0, 2, 9])
def test_trilu(upper, k):
    x = floats(np.random.default_rng(7), 2, 4, 6)
    want = (torch.triu if upper else torch.tril)(torch.tensor(x), k)
    np.testing.assert_array_equal(ours("trilu", {"k": k, "upper": upper}, x)[0], want)
