"""Attention against torch: scaled_dot_product_attention, MultiheadAttention, and the composed bilinear score."""

# pyright: basic

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.bias import causal_lower_right

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ops.attention import merge_heads, split_heads
from onchip.ops.norm import softmax
from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Quantization


def attention(q, k, v, mask=None, **attributes):
    op = OPS["attention"]
    return op.reference(Attributes({**op.defaults, **attributes}), q, k, v, mask)[0]


def floats(rng, *shape):
    return rng.normal(0, 1, shape).astype(np.float32)


@settings(max_examples=60)
@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 8), st.integers(1, 8),
    st.sampled_from(["none", "bool", "additive", "causal"]), st.integers(0, 2**31),
)  # fmt: skip
def test_equals_scaled_dot_product_attention(batch, lq, lk, heads, d, dv, kind, seed):
    rng = np.random.default_rng(seed)
    q, k, v = floats(rng, batch, lq, heads * d), floats(rng, batch, lk, heads * d), floats(rng, batch, lk, heads * dv)
    mask = None
    if kind == "bool":
        mask = rng.random((batch, 1, lq, lk)) < 0.6
        mask[..., 0] = True
    if kind == "additive":
        mask = floats(rng, 1, heads, lq, lk)
    is_causal = kind == "causal" and lq <= lk
    tq, tk, tv = (torch.tensor(np.ascontiguousarray(split_heads(t, heads))) for t in (q, k, v))
    added = causal_lower_right(lq, lk) if is_causal else None if mask is None else torch.tensor(mask)
    want = torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, attn_mask=added)
    got = attention(q, k, v, mask, heads=heads, causal=is_causal)
    np.testing.assert_allclose(got, merge_heads(want.numpy()), atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_heads(kv_heads):
    rng = np.random.default_rng(3)
    q, k, v = floats(rng, 2, 5, 32), floats(rng, 2, 6, kv_heads * 8), floats(rng, 2, 6, kv_heads * 8)
    split = (split_heads(q, 4), split_heads(k, kv_heads), split_heads(v, kv_heads))
    tq, tk, tv = (torch.tensor(np.ascontiguousarray(t)) for t in split)
    want = torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, enable_gqa=True)
    got = attention(q, k, v, heads=4, kv_heads=kv_heads)
    np.testing.assert_allclose(got, merge_heads(want.numpy()), atol=2e-6)


def test_weights_sum_to_one():
    """With v = 1 every output is the sum of the weights; a row that keeps nothing gives 0."""
    rng = np.random.default_rng(4)
    q, k = floats(rng, 2, 7, 12), floats(rng, 2, 9, 12)
    ones = np.ones((2, 9, 3), np.float32)
    np.testing.assert_allclose(attention(q, k, ones, heads=3), 1.0, atol=1e-6)
    mask = np.ones((2, 1, 7, 9), np.bool_)
    mask[:, :, 2] = False
    got = attention(q, k, ones, mask, heads=3)
    assert (got[:, 2] == 0).all()
    np.testing.assert_allclose(np.delete(got, 2, axis=1), 1.0, atol=1e-6)


@settings(max_examples=40)
@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.integers(1, 12),
    st.integers(1, 12), st.integers(0, 2**31),
)  # fmt: skip
def test_equals_multihead_attention(batch, lq, lk, heads, width, k_width, v_width, seed):
    """q of another length than k and v, all of other widths: projections are linear nodes around one attention node."""
    torch.manual_seed(seed)
    model = heads * width
    module = torch.nn.MultiheadAttention(model, heads, kdim=k_width, vdim=v_width, batch_first=True).eval()
    torch.nn.init.normal_(module.in_proj_bias)
    q, k, v = torch.randn(batch, lq, model), torch.randn(batch, lk, k_width), torch.randn(batch, lk, v_width)
    ignore = torch.rand(batch, lk) < 0.4
    ignore[:, 0] = False
    if k_width == v_width == model:  # then torch keeps the three matrices as one
        parts = module.in_proj_weight.chunk(3)
    else:
        parts = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    with torch.no_grad():
        want = module(q, k, v, key_padding_mask=ignore, need_weights=False)[0].numpy()
    b = GraphBuilder("mha")
    biases = module.in_proj_bias.detach().numpy().reshape(3, model)
    b.input("mask", (batch, 1, 1, lk), "bool")
    names = []
    for name, x, weight, bias in zip("qkv", (q, k, v), parts, biases, strict=True):
        b.input(name, tuple(x.shape))
        inputs = (name, b.constant(f"w{name}", weight.detach().numpy().copy()), b.constant(f"b{name}", bias.copy()))
        names.append(b.node("linear", inputs, name=f"project.{name}"))
    names.append(b.node("logical_not", ("mask",), name="keep"))
    b.node("attention", names, name="mix", heads=heads)
    out = module.out_proj
    last = (b.constant("wo", out.weight.detach().numpy()), b.constant("bo", out.bias.detach().numpy()))
    b.output(str(b.node("linear", ("mix", *last), name="y")))
    given = {n: t.numpy() for n, t in zip("qkv", (q, k, v), strict=True)}
    got = evaluate(b.finish(), {**given, "mask": ignore.numpy()[:, None, None]})["y"]
    np.testing.assert_allclose(got, want, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("heads", "width"), [(3, 5), (1, 16)])
def test_heads_times_width_need_not_be_the_model(heads, width):
    """n_head * d_head = 15 or 16 in a model of 12: the equation, written out with torch."""
    rng = np.random.default_rng(5)
    x, y = floats(rng, 2, 6, 12), floats(rng, 2, 8, 12)
    w = [floats(rng, heads * width, 12) for _ in range(3)]
    q, k, v = (torch.tensor(t) @ torch.tensor(m).T for t, m in zip((x, y, y), w, strict=True))
    parts = [t.reshape(2, -1, heads, width).transpose(1, 2) for t in (q, k, v)]
    weights = torch.softmax(parts[0] @ parts[1].transpose(-1, -2) / width**0.5, dim=-1)
    want = (weights @ parts[2]).transpose(1, 2).reshape(2, 6, heads * width)
    got = attention(q.numpy(), k.numpy(), v.numpy(), heads=heads)
    np.testing.assert_allclose(got, want.numpy(), atol=5e-5, rtol=1e-4)


def bilinear_scores(b, v, h, w, width):
    """Compose e_ij = v_i^T W h_j / sqrt(d_k): linear (W h_j), matmul (v_i . W h_j), mul (1/sqrt(d_k))."""
    turned = str(b.node("linear", (h, w), name="W.h"))
    products = str(b.node("matmul", (v, turned), name="v.W.h", transpose_b=True))
    factor = b.constant("1/sqrt(d_k)", np.array([width**-0.5], np.float32))
    return str(b.node("mul", (products, factor), name="e"))


@pytest.mark.parametrize(("lv", "lh", "dv", "dh"), [(4, 7, 6, 10), (1, 1, 1, 1), (5, 3, 8, 8)])
def test_bilinear_score(lv, lh, dv, dh):
    rng = np.random.default_rng(6)
    v, h, w = floats(rng, 2, lv, dv), floats(rng, 2, lh, dh), floats(rng, dv, dh)
    b = GraphBuilder("bilinear")
    b.input("v", v.shape)
    b.input("h", h.shape)
    b.constant("W", w)
    b.output(bilinear_scores(b, "v", "h", "W", dv))
    b.output(str(b.node("softmax", ("e",), name="alpha")))
    b.output(str(b.node("attention", ("v", "W.h", "h"), name="context", heads=1)))
    got = evaluate(b.finish(), {"v": v, "h": h})
    want = torch.einsum("bid,de,bje->bij", torch.tensor(v), torch.tensor(w), torch.tensor(h)).numpy() / dv**0.5
    np.testing.assert_allclose(got["e"], want, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(got["alpha"].sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(got["context"], softmax(want) @ h, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["none", "bool", "causal"])
def test_int8_is_near_float(kind):
    rng = np.random.default_rng(7)
    scale = Quantization((0.02,), (3,))
    q, k, v = (rng.integers(-128, 128, (2, 9, 32)).astype(np.int8) for _ in range(3))
    real = [(t.astype(np.float32) - 3) * np.float32(0.02) for t in (q, k, v)]
    mask = rng.random((2, 1, 9, 9)) < 0.5 if kind == "bool" else None
    options = {"heads": 4, "causal": kind == "causal", "score_scale": 0.08, "score_zero_point": 0}
    op = OPS["attention"]
    assert op.integer is not None
    (got,) = op.integer(Attributes({**op.defaults, **options}), [scale] * 3, [scale], q, k, v, mask)
    want = attention(real[0], real[1], real[2], mask, **options) / 0.02 + 3
    assert np.abs(got - want).mean() < 1.0
    assert np.abs(got - want).max() < 10
    if mask is not None:
        empty = np.logical_not(mask.any(axis=-1))[:, 0]
        assert (got[empty] == 3).all()
