"""The networks' shapes, and the attention equation against torch's fused attention over random shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from onchip.training.networks import AttentionClassifier, Cnn, LstmClassifier, MultiHeadAttention, attention

size = st.integers(1, 9)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("channels", "image"), [(1, 8), (3, 32), (3, 64), (2, 12)])
@pytest.mark.parametrize("batch", [1, 5])
def test_cnn_takes_other_images(channels: int, image: int, batch: int) -> None:
    assert Cnn(channels, image_size=image, classes=7)(torch.zeros(batch, channels, image, image)).shape == (batch, 7)


def test_cnn_refuses_a_size_that_two_poolings_do_not_divide() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Cnn(image_size=10)


@pytest.mark.parametrize("batch", [1, 5])
def test_sequence_classifiers_keep_the_batch(batch: int) -> None:
    x = torch.randn(batch, 8, 8, generator=seeded(0))
    assert LstmClassifier()(x).shape == AttentionClassifier()(x).shape == (batch, 10)


def test_flatten_keeps_images_apart() -> None:
    """Each image's logits are the same alone and within a batch."""
    x = torch.randn(4, 3, 32, 32, generator=seeded(1))
    network = Cnn(3, image_size=32).eval()
    alone = torch.cat([network(x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(network(x), alone)


@given(size, size, size, size, size, size, st.booleans(), st.integers(0, 2**16))
def test_equation_equals_torch(
    batch: int, heads: int, lq: int, lk: int, d: int, dv: int, is_masked: bool, seed: int
) -> None:
    g = seeded(seed)
    q, k = torch.randn(batch, heads, lq, d, generator=g), torch.randn(batch, heads, lk, d, generator=g)
    v = torch.randn(batch, heads, lk, dv, generator=g)
    mask = torch.rand(batch, 1, lq, lk, generator=g) < 0.6 if is_masked else None
    if mask is not None:
        mask[..., 0] = True  # a row that may attend nowhere has no softmax
    torch.testing.assert_close(
        attention(q, k, v, mask), functional.scaled_dot_product_attention(q, k, v, attn_mask=mask), rtol=1e-4, atol=1e-5
    )


@given(st.integers(1, 3), st.integers(1, 4), size, size, st.integers(0, 2**16))
def test_multi_head_equals_torch(batch: int, heads: int, lq: int, lk: int, seed: int) -> None:
    """Against nn.MultiheadAttention with the same weights, where its restriction n_heads * d_head = d_model holds."""
    d_model = 4 * heads
    torch.manual_seed(seed)
    ours, theirs = MultiHeadAttention(d_model, heads), nn.MultiheadAttention(d_model, heads, batch_first=True)
    with torch.no_grad():
        parts = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    q, k, v = torch.randn(batch, lq, d_model), torch.randn(batch, lk, d_model), torch.randn(batch, lk, d_model)
    torch.testing.assert_close(ours(q, k, v), theirs(q, k, v, need_weights=False)[0], rtol=1e-4, atol=1e-5)


def test_heads_need_not_fill_the_model() -> None:
    layer = MultiHeadAttention(10, 3, d_head=7)
    assert layer.output.in_features == 21
    assert layer(torch.zeros(2, 5, 10), torch.zeros(2, 4, 10), torch.zeros(2, 4, 10)).shape == (2, 5, 10)
    with pytest.raises(ValueError, match="d_head"):
        MultiHeadAttention(10, 3)


def test_scale_is_the_head_size_not_the_model_size() -> None:
    """With q = k the scores depend on the divisor: written out by hand for one head of 4 in a model of 16."""
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(16, 2, d_head=4), torch.randn(1, 3, 16)
    q, k, v = (p(x).view(1, 3, 2, 4).transpose(1, 2) for p in (layer.query, layer.key, layer.value))
    weights = torch.softmax((q @ k.mT) / 2.0, -1)  # sqrt(4)
    expected = layer.output((weights @ v).transpose(1, 2).reshape(1, 3, 8))
    torch.testing.assert_close(layer(x, x, x), expected)


def test_masked_keys_do_not_matter() -> None:
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(8, 2), torch.randn(1, 4, 8)
    mask = torch.tensor([True, True, False, True]).view(1, 1, 1, 4)
    other = x.clone()
    other[:, 2] += 100.0
    torch.testing.assert_close(layer(x, x, x, mask), layer(x, other, other, mask))


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch.export about its own nn.LSTM
@pytest.mark.parametrize(
    ("module", "shape", "fused"),
    [
        (Cnn(), (2, 1, 8, 8), "aten.conv2d.default"),
        (LstmClassifier(), (2, 8, 8), "aten.lstm.input"),
        (AttentionClassifier(), (2, 8, 8), "aten.scaled_dot_product_attention.default"),
    ],
    ids=["cnn", "lstm", "attention"],
)
def test_exports_with_a_dynamic_batch(module: nn.Module, shape: tuple[int, ...], fused: str) -> None:
    """The layers stay whole nodes of the exported graph, and the graph takes another batch than the example."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(module.eval(), (torch.zeros(shape),), dynamic_shapes=({0: batch},))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert targets.count(fused) == {"aten.lstm.input": 1}.get(fused, 2)
    x = torch.randn(5, *shape[1:], generator=seeded(2))
    torch.testing.assert_close(program.module()(x), module(x))
