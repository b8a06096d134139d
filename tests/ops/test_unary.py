"""Unary ops against torch and the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes
from onchip.ops.unary import FUNCTIONS
from tests.ops.witness import floats, onnx, ours

F = torch.nn.functional
# name, attributes, torch, ONNX node (or none), its attributes
CASES = [
    ("abs", {}, torch.abs, "Abs", {}),
    ("ceil", {}, torch.ceil, "Ceil", {}),
    ("floor", {}, torch.floor, "Floor", {}),
    ("round", {}, torch.round, "Round", {}),
    ("sign", {}, torch.sign, "Sign", {}),
    ("log", {}, torch.log, "Log", {}),
    ("sin", {}, torch.sin, "Sin", {}),
    ("cos", {}, torch.cos, "Cos", {}),
    ("reciprocal", {}, torch.reciprocal, "Reciprocal", {}),
    ("rsqrt", {}, torch.rsqrt, "", {}),
    ("hard_sigmoid", {}, F.hardsigmoid, "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("hard_sigmoid", {"alpha": 0.2}, None, "HardSigmoid", {}),
    ("hard_swish", {}, F.hardswish, "HardSwish", {}),
    ("leaky_relu", {}, F.leaky_relu, "LeakyRelu", {}),
    ("leaky_relu", {"alpha": 0.3}, lambda t: F.leaky_relu(t, 0.3), "LeakyRelu", {"alpha": 0.3}),
    ("elu", {"alpha": 0.7}, lambda t: F.elu(t, 0.7), "Elu", {"alpha": 0.7}),
    ("celu", {"alpha": 1.8}, lambda t: F.celu(t, 1.8), "", {}),
    ("selu", {}, F.selu, "Selu", {}),
    ("selu", {"alpha": 0.5, "gamma": 2.0}, None, "Selu", {"alpha": 0.5, "gamma": 2.0}),
    ("softplus", {}, lambda t: F.softplus(t, threshold=100), "", {}),
    ("softsign", {}, F.softsign, "Softsign", {}),
    ("mish", {}, F.mish, "", {}),
]


def test_every_unary_op_is_tested():
    assert {c[0] for c in CASES} == set(FUNCTIONS)


@pytest.mark.parametrize(("name", "attributes", "torchs", "node", "theirs"), CASES)
def test_unary(name, attributes, torchs, node, theirs):
    edges = np.array([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 80, -80, 1e-6, -1e-6, np.inf, -np.inf], np.float32)
    if name in ("mish", "softsign", "selu", "elu", "celu", "hard_swish", "sin", "cos"):
        edges = edges[np.isfinite(edges)]  # inf times 0, inf over inf: not the same nan in all
    x = np.concatenate([np.linspace(-20, 20, 4001, dtype=np.float32), edges])
    with np.errstate(all="ignore"):
        (got,) = ours(name, attributes, x)
        if torchs is not None:
            np.testing.assert_allclose(got, torchs(torch.tensor(x)), atol=1e-6, rtol=2e-6)
        if node:
            (want,) = onnx(node, [x], **theirs)
            np.testing.assert_allclose(got, want, atol=1e-6, rtol=2e-6)


@pytest.mark.parametrize("name", ["abs", "sign", "floor", "ceil", "round"])
def test_integers_stay_integers(name):
    x = np.arange(-5, 6)
    (got,) = ours(name, {}, x)
    np.testing.assert_array_equal(got, {"abs": np.abs, "sign": np.sign}.get(name, lambda v: v)(x))


@pytest.mark.parametrize("is_shared", [False, True])
def test_prelu(is_shared):
    rng = np.random.default_rng(0)
    x, slope = floats(rng, 3, 4, 5, 7), floats(rng, 1 if is_shared else 7)
    want = F.prelu(torch.tensor(np.moveaxis(x, -1, 1).copy()), torch.tensor(slope)).numpy()
    np.testing.assert_array_equal(ours("prelu", {}, x, slope)[0], np.moveaxis(want, 1, -1))
    np.testing.assert_array_equal(ours("prelu", {}, x, slope)[0], onnx("PRelu", [x, slope])[0])


def test_costs_one_vector_operation_per_element():
    for name in (*FUNCTIONS, "prelu"):
        assert OPS[name].vector_ops(Attributes({}), [(2, 3)], [(2, 3)]) == 6
