"""rotary against the ONNX reference evaluator and the complex product; and a key cache around attention."""

# pyright: basic

import numpy as np
import pytest
import torch

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ops.types import Refusal
from tests.ops.witness import floats, onnx, ours


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("heads", "width", "turned"), [(1, 8, 8), (4, 6, 6), (3, 10, 4), (2, 2, 2)])
@pytest.mark.parametrize("is_shared", [False, True])
def test_equals_onnx(heads, width, turned, interleaved, is_shared):
    rng = np.random.default_rng(width)
    x = floats(rng, 2, 5, heads * width)
    angle = floats(rng, 2, 5, turned // 2) * 3
    if is_shared:
        angle[1] = angle[0]
    cos, sin = np.cos(angle), np.sin(angle)
    (want,) = onnx(
        "RotaryEmbedding", [x, cos, sin], interleaved=int(interleaved), num_heads=heads, rotary_embedding_dim=turned
    )
    shared = (cos[0], sin[0]) if is_shared else (cos, sin)
    (got,) = ours("rotary", {"heads": heads, "interleaved": interleaved}, x, *shared)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_equals_the_complex_product():
    rng = np.random.default_rng(0)
    x, angle = floats(rng, 1, 6, 12), floats(rng, 6, 3)
    turn = torch.polar(torch.ones(6, 3), torch.tensor(angle))
    pairs = torch.view_as_complex(torch.tensor(x).reshape(1, 6, 2, 3, 2))
    want = torch.view_as_real(pairs * turn[None, :, None]).reshape(1, 6, 12)
    (got,) = ours("rotary", {"heads": 2, "interleaved": True}, x, np.cos(angle), np.sin(angle))
    np.testing.assert_allclose(got, want, atol=1e-6)
    with pytest.raises(Refusal, match="does not take angles"):
        ours("rotary", {"heads": 4}, x, np.cos(angle), np.sin(angle))


def test_a_key_cache_is_concat_slice_and_states():
    """A window of 4 tokens slides: each run adds one token, and equals attention over the last 4."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("decode")
    b.input("q", (1, 1, 8))
    for name in "kv":
        b.input(name, (1, 1, 8))
        b.input(f"{name}.cache", (1, 4, 8))
        b.node("concat", (f"{name}.cache", name), f"{name}.all", axis=1)
        b.node("slice", (f"{name}.all",), f"{name}.next", axis=1, start=1, stop=5)
        b.state(f"{name}.cache", f"{name}.next")
        b.output(f"{name}.next")
    b.input("mask", (1, 1, 1, 4))
    b.output(str(b.node("attention", ("q", "k.next", "v.next", "mask"), "y", heads=2)))
    graph = b.finish()
    tokens = {n: floats(rng, 1, 7, 8) for n in "qkv"}
    cache = {f"{n}.cache": np.zeros((1, 4, 8), np.float32) for n in "kv"}
    for t in range(7):
        mask = np.where(np.arange(4) >= 3 - t, 0, -np.inf).astype(np.float32)[None, None, None]
        made = evaluate(graph, {**{n: tokens[n][:, t : t + 1] for n in "qkv"}, **cache, "mask": mask})
        cache = {f"{n}.cache": made[f"{n}.next"] for n in "kv"}
        q, k, v = (torch.tensor(tokens[n]).reshape(1, 7, 2, 4).transpose(1, 2) for n in "qkv")
        seen = slice(max(0, t - 3), t + 1)
        want = torch.nn.functional.scaled_dot_product_attention(q[:, :, t : t + 1], k[:, :, seen], v[:, :, seen])
        np.testing.assert_allclose(made["y"], want.transpose(1, 2).reshape(1, 1, 8), atol=1e-6)
