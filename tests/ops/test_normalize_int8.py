"""int8 normalisations against LiteRT's reference kernels, and against torch on random and adversarial rows."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.types import Refusal
from tests.ops.litert import T, f32, run, schema
from tests.ops.witness import int8, integers, nchw, nhwc, off, q8, real

F = torch.nn.functional


def hard(rng, kind, shape):
    if kind == "extremes":
        return rng.choice([-128, 127], shape).astype(np.int8)
    if kind == "one differs":
        x = np.full(shape, int(rng.integers(-128, 128)), np.int8)
        x[..., 0] = rng.integers(-128, 128, shape[:-1])
        return x
    if kind == "narrow":
        return np.clip(rng.normal(rng.uniform(-90, 90), 1.0, shape), -128, 127).astype(np.int8)
    return int8(rng, *shape)


KINDS = ["random", "extremes", "one differs", "narrow"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7, 64, 768, 8192])
def test_rms_norm(n, kind):
    rng = np.random.default_rng(n)
    for eps in (1e-12, 1e-5, 1e-3):
        x, scale = hard(rng, kind, (40, n)), rng.normal(0, 1, n).astype(np.float32)
        given, made = q8(10 ** rng.uniform(-3, 0), int(rng.integers(-128, 128))), q8(10 ** rng.uniform(-2.2, -1), 5)
        (got,) = integers("rms_norm", {"eps": eps}, [given, None], [made], x, scale)
        want = F.rms_norm(torch.tensor(real(x, given)), (n,), torch.tensor(scale.astype(np.float64)), eps)
        assert off(got, want, made) <= 0.52


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_group_and_instance_norm(groups, kind):
    rng = np.random.default_rng(groups)
    x = hard(rng, kind, (3, 9, 10, 12))
    scale, bias = rng.normal(0, 1, 12).astype(np.float32), rng.normal(0, 1, 12).astype(np.float32)
    given, made = q8(0.03, -9), q8(0.04, 11)
    (got,) = integers("group_norm", {"groups": groups}, [given, None, None], [made], x, scale, bias)
    lanes = [torch.tensor(v.astype(np.float64)) for v in (scale, bias)]
    want = nhwc(F.group_norm(nchw(real(x, given)), groups, lanes[0], lanes[1]))
    assert off(got, want, made) <= 0.52
    if groups == 12:
        (instance,) = integers("instance_norm", {}, [given, None, None], [made], x, scale, bias)
        np.testing.assert_array_equal(instance, got)
    with pytest.raises(Refusal, match="16384"):
        integers("instance_norm", {}, [given], [made], np.zeros((1, 129, 128, 1), np.int8))


@pytest.mark.parametrize("n", [1, 2, 5, 64, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_l2_norm_equals_litert(n, kind):
    rng = np.random.default_rng(n)
    given, made = q8(f32(0.07), int(rng.integers(-128, 128))), q8(1 / 128, 0)
    x = hard(rng, kind, (60, n))
    x[0] = given.zero_point[0]
    inputs = [T(x, given.scale[0], given.zero_point[0], is_input=True)]
    (want,) = run("L2_NORMALIZATION", schema.L2NormOptionsT(), inputs, [T(x.shape, 1 / 128, 0)], version=2)
    (got,) = integers("lp_normalize", {"rounding": "double"}, [given], [made], x)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", [1, 2, 5, 64, 8192])
@pytest.mark.parametrize("kind", KINDS)
def test_l2_norm_is_near_float(n, kind):
    rng = np.random.default_rng(n)
    given, made = q8(0.07, int(rng.integers(-128, 128))), q8(1.0 / 120 / min(n, 9) ** 0.5, -3)
    x = hard(rng, kind, (20, n))
    want = F.normalize(torch.tensor(real(x, given)), dim=-1)
    assert off(integers("lp_normalize", {}, [given], [made], x)[0], want, made) <= 0.52
    (got,) = integers("lp_normalize", {"axis": 1}, [given], [made], x.reshape(2, 10, n).transpose(0, 2, 1).copy())
    np.testing.assert_array_equal(
        got.transpose(0, 2, 1).reshape(x.shape), integers("lp_normalize", {}, [given], [made], x)[0]
    )
    with pytest.raises(Refusal, match="p = 2"):
        integers("lp_normalize", {"p": 1}, [given], [made], x)
    with pytest.raises(Refusal, match="1/128"):
        integers("lp_normalize", {"rounding": "double"}, [given], [made], x)


@pytest.mark.parametrize("n", [1, 2, 10, 128, 1000, 4000])
@pytest.mark.parametrize("scale", [0.003, 0.0625, 0.1, 0.7, 3.0])
def test_log_softmax_equals_litert(n, scale):
    rng = np.random.default_rng(n)
    x = np.concatenate([hard(rng, kind, (12, n)) for kind in KINDS])
    given, made = q8(f32(scale), 5), q8(1 / 16, 127)
    inputs = [T(x, given.scale[0], 5, is_input=True)]
    (want,) = run("LOG_SOFTMAX", schema.LogSoftmaxOptionsT(), inputs, [T(x.shape, 1 / 16, 127)], version=2)
    (got,) = integers("log_softmax", {}, [given], [made], x)
    np.testing.assert_array_equal(got, want)
    assert off(got, torch.log_softmax(torch.tensor(real(x, given)), -1), made) <= 0.52
    with pytest.raises(Refusal, match="1/16"):
        integers("log_softmax", {}, [given], [q8(0.1, 127)], x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "alpha", "beta", "bias"),
    [(5, 1e-4, 0.75, 1.0), (5, 2e-2, 0.75, 2.0), (3, 5.0, 1.5, 0.5), (8, 1.0, 0.5, 1.0)],
)
def test_lrn_is_near_float(size, alpha, beta, bias, kind):
    rng = np.random.default_rng(size)
    attributes = {"size": size, "alpha": alpha, "beta": beta, "bias": bias}
    for scale in (0.004, 0.1, 1.5):
        x, given = hard(rng, kind, (4, 5, 24)), q8(scale, int(rng.integers(-128, 128)))
        r = real(x, given)
        padded = np.pad(r * r, ((0, 0), (0, 0), ((size - 1) // 2, size // 2)))
        total = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1).sum(axis=-1)
        want = r / (bias + alpha / size * total) ** beta
        made = q8(max(np.abs(want).max(), 1e-6) / 126, 1)
        assert off(integers("lrn", attributes, [given], [made], x)[0], want, made) <= 0.52
