"""gru, rnn and lstm, both ways and with lengths, against torch and the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Refusal
from tests.ops.witness import floats, onnx, ours

MODULES = {
    "gru": (torch.nn.GRU, {}, {}), "lstm": (torch.nn.LSTM, {}, {}), "rnn": (torch.nn.RNN, {}, {}),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}, {"activation": "relu"}),
}  # fmt: skip


@pytest.mark.parametrize("has_lengths", [False, True])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_both_directions_equal_torch(kind, has_bias, has_state, has_lengths):
    torch.manual_seed(1)
    module, theirs, extra = MODULES[kind]
    net = module(5, 7, bias=has_bias, batch_first=True, bidirectional=True, **theirs)
    p = {k: v.detach().numpy() for k, v in net.named_parameters()}
    x, states = torch.randn(3, 6, 5), [torch.randn(2, 3, 7) for _ in range(2 if kind == "lstm" else 1)]
    lengths = torch.tensor([6, 2, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    start = (tuple(states) if kind == "lstm" else states[0]) if has_state else None
    y, last = net(packed if has_lengths else x, start)
    y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0] if has_lengths else y
    last = last if kind == "lstm" else (last,)
    for direction, suffix in enumerate(("", "_reverse")):
        names = (f"{k}_l0{suffix}" for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        given = [s[direction].numpy() for s in states] if has_state else [None] * len(states)
        given += [lengths.numpy() if has_lengths else None]
        attributes = {"hidden": 7, "reverse": bool(direction), **extra}
        name = "rnn" if kind == "relu" else kind
        got = ours(name, attributes, x.numpy(), *(p.get(n) for n in names), *given)
        np.testing.assert_allclose(got[0], y[..., 7 * direction : 7 * (direction + 1)].detach(), atol=1e-6)
        for a, b in zip(got[1:], last, strict=True):
            np.testing.assert_allclose(a, b[direction].detach(), atol=1e-6)


@pytest.mark.parametrize("is_linear", [False, True])
def test_gru_equals_onnx(is_linear):
    """ONNX orders the gates z, r, h; the form without linear_before_reset is its default."""
    rng = np.random.default_rng(2)
    x, h0 = floats(rng, 2, 5, 3), floats(rng, 2, 4)
    w, u, b = floats(rng, 3, 4, 3), floats(rng, 3, 4, 4), floats(rng, 2, 3, 4)
    order = [1, 0, 2]
    theirs = [m[order].reshape(1, 12, -1) for m in (w, u)] + [b[:, order].reshape(1, 24)]
    flag = int(is_linear)
    y, h = onnx("GRU", [x.transpose(1, 0, 2), *theirs, None, h0[None]], 2, hidden_size=4, linear_before_reset=flag)
    arrays = (x, w.reshape(12, 3), u.reshape(12, 4), b[0].ravel(), b[1].ravel(), h0)
    got = ours("gru", {"hidden": 4, "linear_before_reset": is_linear}, *arrays)
    np.testing.assert_allclose(got[0], y[:, 0].transpose(1, 0, 2), atol=1e-5)
    np.testing.assert_allclose(got[1], h[0], atol=1e-5)


def test_macs_and_refusals():
    for name, gates in (("gru", 3), ("rnn", 1)):
        op = OPS[name]
        attributes = Attributes({**op.defaults, "hidden": 7})
        inputs = [(2, 6, 5), (7 * gates, 5), (7 * gates, 7)]
        assert op.macs(attributes, inputs, op.shape(attributes, inputs)) == 2 * 6 * gates * 7 * (5 + 7)
        with pytest.raises(Refusal, match="h0 has shape"):
            op.shape(attributes, [*inputs, None, None, (3, 7)])
        with pytest.raises(Refusal, match="lengths has shape"):
            op.shape(attributes, [*inputs, None, None, None, (3,)])
