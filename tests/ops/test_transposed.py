"""conv_transpose2d against torch."""

# pyright: basic

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Refusal
from tests.ops.witness import floats, nchw, nhwc, ours

F = torch.nn.functional


def torch_weights(w, groups):
    """Turn [K,R,S,C/g] into torch's [C,K/g,R,S]."""
    k, r, s, per_group = w.shape
    parts = w.reshape(groups, k // groups, r, s, per_group).transpose(0, 4, 1, 2, 3)
    return torch.tensor(np.ascontiguousarray(parts).reshape(groups * per_group, k // groups, r, s))


@settings(max_examples=80)
@given(
    st.sampled_from([1, 2, 6]), st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from(["none", "relu6"]), st.integers(0, 2**31),
)  # fmt: skip
def test_equals_torch(groups, size, kernel, stride, padding, dilation, extra, activation, seed):
    rng = np.random.default_rng(seed)
    x, w, b = floats(rng, 2, *size, 6), floats(rng, 12, *kernel, 6 // groups), floats(rng, 12)
    attributes = {
        "stride": stride, "padding": (padding[0], padding[0], padding[1], padding[1]), "dilation": dilation,
        "groups": groups, "output_padding": extra, "activation": activation,
    }  # fmt: skip

    def torchs():
        return F.conv_transpose2d(
            nchw(x), torch_weights(w, groups), torch.tensor(b), stride, padding, extra, groups, dilation
        )

    try:
        (got,) = ours("conv_transpose2d", attributes, x, w, b)
    except Refusal as refusal:
        if refusal.code == "OC1317":  # nothing is left; torch gives an empty tensor, or refuses too
            return
        with pytest.raises(RuntimeError):
            torchs()
        return
    want = torchs()
    want = want if activation == "none" else F.relu6(want)
    np.testing.assert_allclose(got, nhwc(want), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("padding", [(0, 1, 2, 0), (1, 0, 0, 3)])
def test_uneven_padding_cuts_the_full_output(padding):
    rng = np.random.default_rng(0)
    x, w = floats(rng, 1, 4, 5, 3), floats(rng, 2, 3, 4, 3)
    full = nhwc(F.conv_transpose2d(nchw(x), torch_weights(w, 1), stride=2))
    top, bottom, left, right = padding
    want = full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]
    np.testing.assert_allclose(
        ours("conv_transpose2d", {"stride": (2, 2), "padding": padding}, x, w)[0], want, atol=1e-5
    )


def test_macs():
    """Every input cell meets every tap of every kernel of its group."""
    op = OPS["conv_transpose2d"]
    attributes = Attributes({**op.defaults, "groups": 2, "stride": (2, 2)})
    inputs = [(2, 5, 7, 6), (12, 3, 4, 3)]
    assert op.macs(attributes, inputs, op.shape(attributes, inputs)) == 2 * 5 * 7 * 3 * 4 * 12 * 3
