"""Normalisations against torch and the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.types import Refusal
from tests.ops.witness import floats, nchw, nhwc, onnx, ours, runtime

F = torch.nn.functional


@pytest.mark.parametrize("eps", [1e-6, 0.1])
@pytest.mark.parametrize("n", [1, 7, 64])
def test_rms_norm(n, eps):
    rng = np.random.default_rng(n)
    x, scale = floats(rng, 3, 5, n), floats(rng, n)
    want = F.rms_norm(torch.tensor(x), (n,), torch.tensor(scale), eps)
    np.testing.assert_allclose(ours("rms_norm", {"eps": eps}, x, scale)[0], want, atol=1e-5)
    np.testing.assert_allclose(
        ours("rms_norm", {"eps": eps}, x)[0], F.rms_norm(torch.tensor(x), (n,), eps=eps), atol=1e-5
    )


@pytest.mark.parametrize("groups", [1, 2, 4, 12])
@pytest.mark.parametrize("shape", [(2, 5, 6, 12), (3, 7, 12), (4, 12)])
def test_group_norm(groups, shape):
    rng = np.random.default_rng(groups)
    x, scale, bias = 2 * floats(rng, *shape) + 3, floats(rng, 12), floats(rng, 12)
    want = F.group_norm(nchw(x), groups, torch.tensor(scale), torch.tensor(bias), 1e-3)
    np.testing.assert_allclose(
        ours("group_norm", {"groups": groups, "eps": 1e-3}, x, scale, bias)[0], nhwc(want), atol=1e-4
    )
    (want,) = onnx("GroupNormalization", [nchw(x).numpy(), scale, bias], num_groups=groups, epsilon=1e-3)
    np.testing.assert_allclose(
        ours("group_norm", {"groups": groups, "eps": 1e-3}, x, scale, bias)[0], nhwc(want), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(2, 5, 6, 4), (3, 7, 4)])
def test_instance_norm(shape):
    rng = np.random.default_rng(0)
    x, scale, bias = floats(rng, *shape), floats(rng, 4), floats(rng, 4)
    want = F.instance_norm(nchw(x), weight=torch.tensor(scale), bias=torch.tensor(bias))
    np.testing.assert_allclose(ours("instance_norm", {}, x, scale, bias)[0], nhwc(want), atol=1e-5)
    np.testing.assert_allclose(ours("instance_norm", {}, x)[0], nhwc(F.instance_norm(nchw(x))), atol=1e-5)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lp_normalize(p, axis):
    x = floats(np.random.default_rng(p), 3, 4, 5)
    x[0] = 0
    (got,) = ours("lp_normalize", {"p": p, "axis": axis, "eps": 1e-12}, x)
    np.testing.assert_allclose(got, F.normalize(torch.tensor(x), p, axis), atol=1e-6)
    np.testing.assert_allclose(ours("lp_normalize", {"p": p, "axis": axis}, x)[0], got, atol=1e-6)
    (got,) = ours("lp_normalize", {"p": p, "axis": axis}, x[1:])
    np.testing.assert_allclose(got, runtime("LpNormalization", [x[1:]], p=p, axis=axis)[0], atol=1e-6)
    with pytest.raises(Refusal, match="1 or 2"):
        ours("lp_normalize", {"p": 3}, x)


def test_log_softmax():
    x = 30 * floats(np.random.default_rng(4), 3, 4, 50)
    np.testing.assert_allclose(ours("log_softmax", {}, x)[0], torch.log_softmax(torch.tensor(x), -1), atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("channels", [1, 6, 17])
def test_lrn(size, channels):
    x = 3 * floats(np.random.default_rng(size), 2, 3, 4, channels)
    attributes = {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.5}
    (got,) = ours("lrn", attributes, x)
    if size % 2 == 0:  # ONNX Runtime takes odd windows only; the evaluator is right for as many pictures as channels
        x = np.ascontiguousarray(np.broadcast_to(x[:1], (channels, *x.shape[1:])))
        got = ours("lrn", attributes, x)[0]
    run = onnx if size % 2 == 0 else runtime
    np.testing.assert_allclose(got, nhwc(run("LRN", [nchw(x).numpy()], **attributes)[0]), rtol=1e-5)
    if size % 2:  # torch puts the longer half of an even window on the other side
        np.testing.assert_allclose(got, nhwc(F.local_response_norm(nchw(x), size, 0.3, 0.6, 1.5)), rtol=1e-5)
