"""int8 gru and rnn against torch in floats: quantized weights, real inputs, every direction and length."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.numerics import tanh16
from onchip.ops.gru_int8 import RecurrentConstants, gru_cell
from onchip.ops.types import Quantization, Refusal
from tests.ops.test_gru import MODULES
from tests.ops.witness import integers, ours, q8, real

KINDS = ["gru", "rnn", "relu"]


def quantized_net(kind, rng, features=12, hidden=16, steps=10):
    """Give the op's integer arguments, and the float ones that they stand for."""
    gates = 3 if kind == "gru" else 1
    px = q8(4 / 127, 3)
    py = q8(3 / 255, -128) if kind == "relu" else q8(1 / 128, -2)
    x = np.clip(np.rint(rng.normal(0, 1, (4, steps, features)) / px.scale[0]) + 3, -128, 127).astype(np.int8)
    weights, params = [], []
    for n in (features, hidden):
        w = rng.normal(0, 0.15 if kind == "relu" else 0.3, (gates * hidden, n)).astype(np.float32)
        scale = np.abs(w).max(axis=1) / 127
        weights.append(np.rint(w / scale[:, None]).astype(np.int8))
        params.append(Quantization(tuple(scale.tolist()), (0,) * len(scale), 0))
    biases = [rng.normal(0, 0.2, gates * hidden) for _ in range(2)]
    units = [np.array(p.scale) * s for p, s in zip(params, (px.scale[0], py.scale[0]), strict=True)]
    q_biases = [np.rint(b / u).astype(np.int32) for b, u in zip(biases, units, strict=True)]
    floats = [
        real(x, px), *(w * np.array(p.scale)[:, None] for w, p in zip(weights, params, strict=True)),
        *(b * u for b, u in zip(q_biases, units, strict=True)),
    ]  # fmt: skip
    return (px, *params, None, None), (py, py), (x, *weights, *q_biases), [f.astype(np.float32) for f in floats]


def torch_net(kind, floats, hidden, *, reverse):
    module, options, _ = MODULES[kind]
    net = module(floats[0].shape[2], hidden, batch_first=True, bidirectional=True, **options)
    suffix = "_reverse" if reverse else ""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    with torch.no_grad():
        for name, value in zip(names, floats[1:], strict=True):
            getattr(net, name + suffix).copy_(torch.tensor(value))
        y = net(torch.tensor(floats[0]))[0].numpy()
    return y[..., hidden:] if reverse else y[..., :hidden]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_near_torch(kind, reverse, seed):
    given, made, arrays, floats = quantized_net(kind, np.random.default_rng(seed))
    name, extra = ("rnn", MODULES[kind][2]) if kind != "gru" else ("gru", {})
    y, h = integers(name, {"hidden": 16, "reverse": reverse, **extra}, given, made, *arrays)
    want = torch_net(kind, floats, 16, reverse=reverse)
    assert want.max() < 3  # nothing saturates
    error = np.abs(real(y, made[0]) - want) / made[0].scale[0]
    assert error.max() <= 3.0
    assert error.mean() <= 0.6
    np.testing.assert_array_equal(h, y[:, 0 if reverse else -1])


@pytest.mark.parametrize("is_linear", [False, True])
def test_both_forms_of_the_reset(is_linear):
    given, made, arrays, floats = quantized_net("gru", np.random.default_rng(7))
    attributes = {"hidden": 16, "linear_before_reset": is_linear}
    y, _ = integers("gru", attributes, given, made, *arrays)
    want = ours("gru", attributes, *floats)[0]
    assert np.abs(real(y, made[0]) - want).max() <= 3.0 / 128


def test_a_slow_gate_keeps_its_state():
    """z near 1 for 60 steps: a state kept in int8 would not move, h = 1 - z^t does (within 2 steps of the float)."""
    hidden, steps = 4, 60
    w, u = np.zeros((12, 1), np.int8), np.zeros((12, hidden), np.int8)
    b = np.concatenate([np.zeros(4), np.full(4, 5.0), np.full(4, 3.0)])
    p = q8(1 / 128, 0)
    given, made = (q8(1.0), q8(2.0**-10), q8(2.0**-10), None, None), (p, p)
    arrays = (np.zeros((1, steps, 1), np.int8), w, u, np.rint(b * 2**10).astype(np.int32), None)
    y, _ = integers("gru", {"hidden": hidden}, given, made, *arrays)
    kept = 1 / (1 + np.exp(-5.0))
    want = np.tanh(3.0) * (1 - kept ** np.arange(1, steps + 1))
    assert np.abs(real(y[0, :, 0], p) - want).max() <= 2 / 128
    assert y[0, -1, 0] > 30


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_and_state(kind):
    """A shorter sequence gives what it gives alone, then the zero point; a sequence in two calls equals one call."""
    given, made, arrays, _ = quantized_net(kind, np.random.default_rng(9))
    name, extra = ("rnn", MODULES[kind][2]) if kind != "gru" else ("gru", {})
    lengths = np.array([10, 3, 7, 1])
    for reverse in (False, True):
        attributes = {"hidden": 16, "reverse": reverse, **extra}
        y, h = integers(name, attributes, (*given, None, None), made, *arrays, None, lengths)
        for i, n in enumerate(lengths):
            alone, last = integers(name, attributes, given, made, arrays[0][i : i + 1, :n], *arrays[1:])
            np.testing.assert_array_equal(y[i, :n], alone[0])
            np.testing.assert_array_equal(h[i], last[0])
            assert (y[i, n:] == made[0].zero_point[0]).all()
    attributes = {"hidden": 16, **extra}
    whole, _ = integers(name, attributes, given, made, *arrays)
    _, middle = integers(name, attributes, given, made, arrays[0][:, :4], *arrays[1:])
    rest, _ = integers(name, attributes, (*given, made[0]), made, arrays[0][:, 4:], *arrays[1:], middle)
    assert np.abs(rest.astype(int) - whole[:, 4:]).max() <= (2 if kind == "gru" else 0)
    with pytest.raises(Refusal, match="one quantization"):
        integers(name, attributes, given, (made[0], q8(0.5)), *arrays)


def test_lstm_reverse_and_lengths():
    """int8 lstm: backwards is forwards over the flipped sequence; a shorter sequence gives what it gives alone."""
    rng = np.random.default_rng(11)
    hidden, p = 6, q8(1 / 128, -3)
    x, w, u = (rng.integers(-127, 128, s).astype(np.int8) for s in ((4, 9, 5), (24, 5), (24, hidden)))
    b = rng.integers(-3000, 3000, 24).astype(np.int32)
    given = (q8(0.02, 5), q8(0.004), q8(0.004), None, None, None, None, None)
    made, attributes = (p, p, q8(2.0**-12)), {"hidden": hidden}
    lengths = np.array([9, 2, 5, 1])
    backwards = integers("lstm", {**attributes, "reverse": True}, given, made, x, w, u, b)
    flipped = integers("lstm", attributes, given, made, x[:, ::-1], w, u, b)
    np.testing.assert_array_equal(backwards[0], flipped[0][:, ::-1])
    for reverse in (False, True):
        attributes = {"hidden": hidden, "reverse": reverse}
        y, h, c = integers("lstm", attributes, given, made, x, w, u, b, None, None, None, lengths)
        for i, n in enumerate(lengths):
            alone = integers("lstm", attributes, given, made, x[i : i + 1, :n], w, u, b)
            np.testing.assert_array_equal(y[i, :n], alone[0][0])
            np.testing.assert_array_equal(h[i], alone[1][0])
            np.testing.assert_array_equal(c[i], alone[2][0])
            assert (y[i, n:] == -3).all()


def test_a_step_by_hand():
    """Gates of 0 give z = 16,384 of 32,768; a full candidate of 32,767 then gives half of it, rounded away: 16,384."""
    lanes = np.full(3, 1 << 30), np.full(3, 1)  # multipliers of 1
    k = RecurrentConstants(*lanes, *lanes, (0, 0), (0, 0), 0, 0)
    h = gru_cell(np.array([[0, 0, 32767]]), np.zeros((1, 3), np.int64), np.zeros((1, 1), np.int64), k)
    assert tanh16(32767) == 32767
    assert h == 16384
