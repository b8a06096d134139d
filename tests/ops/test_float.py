"""Float references against torch, and elementwise ones against the ONNX reference evaluator."""

# pyright: basic

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes

F = torch.nn.functional


def ours(name, attributes, *arrays):
    op = OPS[name]
    attributes = Attributes({**op.defaults, **attributes})
    made = op.reference(attributes, *arrays)
    shapes = op.shape(attributes, [None if a is None else a.shape for a in arrays])
    assert [m.shape for m in made] == list(shapes)
    return made


def nchw(x):
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def nhwc(t):
    return t.detach().numpy().transpose(0, 2, 3, 1)


def floats(rng, *shape):
    return rng.normal(0, 1, shape).astype(np.float32)


@settings(max_examples=60)
@given(
    st.sampled_from(["plain", "grouped", "depthwise"]), st.tuples(st.integers(5, 12), st.integers(5, 12)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.tuples(*[st.integers(0, 2)] * 4), st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from(["none", "relu", "relu6"]), st.integers(0, 2**31),
)  # fmt: skip
def test_conv2d(kind, size, kernel, stride, padding, dilation, activation, seed):
    rng = np.random.default_rng(seed)
    groups = {"plain": 1, "grouped": 2, "depthwise": 6}[kind]
    x, w, b = floats(rng, 2, *size, 6), floats(rng, 12, *kernel, 6 // groups), floats(rng, 12)
    top, bottom, left, right = padding
    want = F.conv2d(F.pad(nchw(x), (left, right, top, bottom)), nchw(w), torch.tensor(b), stride, 0, dilation, groups)
    want = {"none": lambda t: t, "relu": F.relu, "relu6": F.relu6}[activation](want)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    (got,) = ours("conv2d", {**attributes, "activation": activation}, x, w, b)
    np.testing.assert_allclose(got, nhwc(want), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("is_ceil", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), [(9, 3, 2, 1), (10, 3, 2, 0), (8, 2, 2, 0), (7, 3, 3, 1)])
def test_pools(size, kernel, stride, pad, is_ceil):
    x = floats(np.random.default_rng(0), 2, size, size + 1, 3)
    attributes = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (pad,) * 4, "ceil_mode": is_ceil}
    want = F.max_pool2d(nchw(x), kernel, stride, pad, ceil_mode=is_ceil)
    np.testing.assert_array_equal(ours("max_pool2d", attributes, x)[0], nhwc(want))
    for include in (False, True):
        want = F.avg_pool2d(nchw(x), kernel, stride, pad, ceil_mode=is_ceil, count_include_pad=include)
        (got,) = ours("avg_pool2d", {**attributes, "count_include_pad": include}, x)
        np.testing.assert_allclose(got, nhwc(want), atol=1e-6)
    (got,) = ours("global_avg_pool", {}, x)
    np.testing.assert_allclose(got, nhwc(F.adaptive_avg_pool2d(nchw(x), 1)), atol=1e-6)


@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_lstm(has_bias, has_state):
    torch.manual_seed(0)
    module = torch.nn.LSTM(5, 7, bias=has_bias, batch_first=True)
    p = {k: v.detach().numpy() for k, v in module.named_parameters()}
    x, h0, c0 = torch.randn(3, 6, 5), torch.randn(3, 7), torch.randn(3, 7)
    y, (h, c) = module(x, (h0[None], c0[None]) if has_state else None)
    state = (h0.numpy(), c0.numpy()) if has_state else (None, None)
    weights = (p["weight_ih_l0"], p["weight_hh_l0"], p.get("bias_ih_l0"), p.get("bias_hh_l0"))
    got = ours("lstm", {"hidden": 7}, x.numpy(), *weights, *state)
    for a, b in zip(got, (y, h[0], c[0]), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-6)


def test_norms_and_softmax():
    rng = np.random.default_rng(1)
    x, scale, bias = floats(rng, 4, 5, 12), floats(rng, 12), floats(rng, 12)
    mean, var = floats(rng, 12), rng.uniform(0.1, 2, 12).astype(np.float32)
    t = torch.tensor
    want = F.layer_norm(t(x), (12,), t(scale), t(bias), 1e-5)
    np.testing.assert_allclose(ours("layer_norm", {}, x, scale, bias)[0], want, atol=1e-5)
    np.testing.assert_allclose(ours("layer_norm", {}, x)[0], F.layer_norm(t(x), (12,)), atol=1e-5)
    want = F.batch_norm(t(x).reshape(20, 12), t(mean), t(var), t(scale), t(bias), False, 0.1, 1e-5)
    got = ours("batch_norm", {}, x, scale, bias, mean, var)[0]
    np.testing.assert_allclose(got.reshape(20, 12), want, atol=1e-5)
    np.testing.assert_allclose(ours("softmax", {}, 20 * x)[0], torch.softmax(20 * t(x), -1), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "attributes", "function"),
    [
        ("relu", {}, F.relu), ("relu6", {}, F.relu6), ("sigmoid", {}, torch.sigmoid), ("tanh", {}, torch.tanh),
        ("gelu", {}, F.gelu), ("gelu", {"approximate": "tanh"}, lambda t: F.gelu(t, approximate="tanh")),
        ("silu", {}, F.silu), ("exp", {}, torch.exp), ("erf", {}, torch.erf), ("neg", {}, torch.neg),
        ("clip", {"low": -1.0, "high": 2.0}, lambda t: t.clamp(-1, 2)), ("sqrt", {}, torch.sqrt),
    ],
)  # fmt: skip
def test_unary(name, attributes, function):
    x = np.linspace(-30, 30, 4001, dtype=np.float32)
    np.testing.assert_allclose(ours(name, attributes, x)[0], function(torch.tensor(x)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "onnx_name"), [("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "Div"), ("pow", "Pow")]
)
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (5, 1)), ((1,), (2, 2))])
def test_binary(name, onnx_name, shapes):
    rng = np.random.default_rng(2)
    a, b = (rng.uniform(0.2, 3, s).astype(np.float32) for s in shapes)
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("ab", shapes, strict=True)]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node(onnx_name, ["a", "b"], ["y"])], "g", infos, made)
    (want,) = list(ReferenceEvaluator(helper.make_model(graph)).run(None, {"a": a, "b": b}))
    want = np.asarray(want, np.float32)
    np.testing.assert_allclose(ours(name, {}, a, b)[0], want, rtol=1e-6)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_linear(has_bias, activation):
    """y = g(W x + b)."""
    rng = np.random.default_rng(5)
    x, w, b = 3 * floats(rng, 2, 3, 8), floats(rng, 5, 8), floats(rng, 5)
    given = (x, w, b) if has_bias else (x, w)
    function = {"none": lambda t: t, "relu": F.relu, "relu6": F.relu6}[activation]
    want = function(F.linear(*map(torch.tensor, given)))
    np.testing.assert_allclose(ours("linear", {"activation": activation}, *given)[0], want, atol=1e-5)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_products(is_transposed):
    rng = np.random.default_rng(3)
    x, w, b = floats(rng, 2, 3, 8), floats(rng, 5, 8), floats(rng, 5)
    np.testing.assert_allclose(ours("linear", {}, x, w, b)[0], F.linear(*map(torch.tensor, (x, w, b))), atol=1e-5)
    a, c = floats(rng, 4, 1, 6, 8), floats(rng, 3, 8, 7)
    right = np.ascontiguousarray(c.swapaxes(1, 2)) if is_transposed else c
    (got,) = ours("matmul", {"transpose_b": is_transposed}, a, right)
    np.testing.assert_allclose(got, torch.tensor(a) @ torch.tensor(c), atol=1e-5)


def test_layout():
    rng = np.random.default_rng(4)
    x = floats(rng, 2, 6, 4)
    t = torch.tensor(x)
    np.testing.assert_array_equal(ours("reshape", {"shape": (0, -1)}, x)[0], t.reshape(2, 24))
    np.testing.assert_array_equal(ours("reshape", {"shape": (3, 2, 8)}, x)[0], t.reshape(3, 2, 8))
    np.testing.assert_array_equal(ours("transpose", {"perm": (2, 0, 1)}, x)[0], t.permute(2, 0, 1))
    np.testing.assert_array_equal(ours("concat", {"axis": -2}, x, x[:, :3])[0], torch.cat([t, t[:, :3]], 1))
    np.testing.assert_array_equal(ours("mean", {"axes": (1,)}, x)[0].round(5), t.mean(1).numpy().round(5))
    ids = rng.integers(0, 2, (3, 5))
    np.testing.assert_array_equal(ours("gather", {}, x, ids)[0], t[torch.tensor(ids)])
    for start, stop, step in ((0, 3, 1), (-4, 100, 2), (5, 0, -1), (-1, -100, -2)):
        (got,) = ours("slice", {"axis": 1, "start": start, "stop": stop, "step": step}, x)
        np.testing.assert_array_equal(got, x[:, slice(start, stop if stop > -7 else None, step)])
