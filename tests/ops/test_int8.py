"""int8 ops without a LiteRT kernel of their own, against rounded floats: tables whole, norms on hard rows."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.registry import OPS
from onchip.ops.rowwise import layer_norm_constants, layer_norm_rows, softmax_rows
from onchip.ops.types import Attributes, Quantization, Refusal

F = torch.nn.functional
FUNCTIONS = {
    "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu,
    "exp": torch.exp, "erf": torch.erf, "neg": torch.neg, "sqrt": lambda t: torch.sqrt(t.clamp(min=0)),
    "gelu tanh": lambda t: F.gelu(t, approximate="tanh"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("zero", [-128, 0, 101])
@pytest.mark.parametrize("scale", [0.003, 0.05, 0.4])
def test_tables(name, zero, scale):
    x = np.arange(-128, 128).astype(np.int8)
    made = Quantization((0.031,), (-11,))
    op = OPS[name.split(" ")[0]]
    assert op.integer is not None
    attributes = {**op.defaults, "approximate": "tanh"} if name == "gelu tanh" else op.defaults
    (got,) = op.integer(Attributes(attributes), (Quantization((scale,), (zero,)),), (made,), x)
    real = FUNCTIONS[name](torch.tensor((x.astype(np.float64) - zero) * scale)).numpy() / 0.031 - 11
    assert np.abs(got - np.clip(real, -128, 127)).max() <= 0.5 + 1e-9


def hard_rows(rng, kind, n, rows=200):
    if kind == "random":
        return np.clip(np.rint(rng.normal(rng.uniform(-90, 90), rng.uniform(0.4, 90), (rows, n))), -128, 127)
    if kind == "extremes":
        return rng.choice([-128, 127], (rows, n))
    x = np.full((rows, n), int(rng.integers(-128, 128)))
    if kind == "one differs":
        x[np.arange(rows), rng.integers(0, n, rows)] = rng.integers(-128, 128, rows)
    return x


@pytest.mark.parametrize("kind", ["random", "extremes", "one differs", "constant"])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 65, 256, 768, 4096])
def test_layer_norm(n, kind):
    rng = np.random.default_rng(n)
    for eps in (1e-12, 1e-5, 1e-3):
        x = hard_rows(rng, kind, n).astype(np.int8)
        sx, sy, zy = 10 ** rng.uniform(-3, 0), 10 ** rng.uniform(-2.2, -1), int(rng.integers(-100, 100))
        gamma, beta = rng.normal(0, 1, n).astype(np.float32), rng.normal(0, 1, n).astype(np.float32)
        got = layer_norm_rows(x, layer_norm_constants(gamma, beta, eps, sx, sy, zy))
        t = [torch.tensor(a.astype(np.float64)) for a in (x * np.float64(sx), gamma, beta)]
        real = F.layer_norm(t[0], (n,), t[1], t[2], eps).numpy() / sy + zy
        assert np.abs(got - np.clip(real, -128, 127)).max() <= 0.51


@pytest.mark.parametrize("n", [1, 5, 64, 1000, 4095])
def test_softmax_near_float_and_masked(n):
    rng = np.random.default_rng(n)
    x = rng.integers(-128, 128, (64, n)).astype(np.int8)
    keep = rng.random((64, n)) < 0.7
    keep[0] = False
    for scale in (0.01, 0.1, 1.0):
        got = softmax_rows(x, scale, keep).astype(int) + 128
        scores = torch.tensor(np.where(keep, x * scale, -np.inf))
        want = torch.nan_to_num(torch.softmax(scores, -1)).numpy() * 256
        assert np.abs(got - np.minimum(want, 255)).max() <= 0.51
        assert (got[~keep] == 0).all()


def test_refusals():
    with pytest.raises(Refusal, match="4095"):
        softmax_rows(np.zeros((1, 4096), np.int8), 0.1)
    with pytest.raises(Refusal, match="16384"):
        layer_norm_constants(np.ones(20000), np.zeros(20000), 1e-5, 0.1, 0.1, 0)
    op = OPS["softmax"]
    assert op.integer is not None
    with pytest.raises(Refusal, match="1/256"):
        op.integer(
            Attributes({}), (Quantization((0.1,), (0,)),), (Quantization((0.1,), (0,)),), np.zeros((1, 4), np.int8)
        )


@pytest.mark.parametrize("k", [1023, 1024, 1025, 5000])
def test_accumulators_are_exact_at_the_extremes(k):
    for a, b in ((-128, -128), (-128, 127), (127, 127)):
        x, w = np.full((2, k), a, np.int8), np.full((3, k), b, np.int8)
        op = OPS["linear"]
        assert op.integer is not None
        (got,) = op.integer(Attributes(op.defaults), (Quantization((1.0,), (-5,)), None, None), (None,), x, w)
        assert (got == (a + 5) * b * k).all()


def test_int8_lstm_is_near_float():
    rng = np.random.default_rng(8)
    hidden, features = 16, 12
    x = rng.normal(0, 1, (4, 10, features)).astype(np.float32)
    w = [rng.normal(0, 0.4, (4 * hidden, n)).astype(np.float32) for n in (features, hidden)]
    b = [rng.normal(0, 0.2, 4 * hidden).astype(np.float32) for _ in range(2)]
    op = OPS["lstm"]
    attributes = Attributes({**op.defaults, "hidden": hidden})
    y, _, c = op.reference(attributes, x, *w, *b)
    sx, sh, sc = 4 / 127, 1 / 128, 2.0**-12
    sw = [np.abs(m).max(axis=1) / 127 for m in w]
    qw = [np.rint(m / s[:, None]).astype(np.int8) for m, s in zip(w, sw, strict=True)]
    qb = [np.rint(v / (s0 * s)).astype(np.int32) for v, s0, s in zip(b, (sx, sh), sw, strict=True)]
    given = (Quantization((sx,), (0,)), *(Quantization(tuple(s), (0,) * s.size, 0) for s in sw), None, None)
    made = (Quantization((sh,), (0,)), Quantization((sh,), (0,)), Quantization((sc,), (0,)))
    assert op.integer is not None
    qx = np.clip(np.rint(x / sx), -128, 127).astype(np.int8)
    gy, gh, gc = op.integer(attributes, given, made, qx, *qw, *qb)
    assert np.abs(gy * sh - y).max() < 0.04
    assert np.abs(gc * sc - c).max() < 0.06
    np.testing.assert_array_equal(gh, gy[:, -1])
