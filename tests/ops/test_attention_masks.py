"""attention with every mask shape that broadcasts, bool and additive, against torch."""

# pyright: basic

from itertools import product

import numpy as np
import pytest
import torch

from onchip.ops.attention import merge_heads, split_heads
from onchip.ops.types import Refusal
from tests.ops.witness import floats, int8, integers, off, ours, q8, real

FULL = (2, 3, 4, 5)  # batch, heads, queries, keys


@pytest.mark.parametrize("kept", list(product([False, True], repeat=4)))
@pytest.mark.parametrize("kind", ["bool", "additive"])
def test_equals_torch(kind, kept):
    rng = np.random.default_rng(1)
    q, k, v = floats(rng, 2, 4, 18), floats(rng, 2, 5, 18), floats(rng, 2, 5, 12)
    shape = tuple(n if is_kept else 1 for n, is_kept in zip(FULL, kept, strict=True))
    mask = rng.random(shape) < 0.7 if kind == "bool" else floats(rng, *shape)
    if kind == "bool":
        mask[..., 0] = True
    heads = (torch.tensor(np.ascontiguousarray(split_heads(t, 3))) for t in (q, k, v))
    want = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=torch.tensor(mask))
    np.testing.assert_allclose(ours("attention", {"heads": 3}, q, k, v, mask)[0], merge_heads(want.numpy()), atol=1e-5)


def test_a_mask_of_another_shape_is_refused():
    x = np.zeros((2, 4, 18), np.float32)
    with pytest.raises(Refusal, match="does not broadcast"):
        ours("attention", {"heads": 3}, x, x, x, np.ones((4, 4), bool))


def test_int8_masks_that_are_added_are_near_the_floats():
    rng, scale = np.random.default_rng(2), 0.05
    pq, pk, pv, py, pm = q8(0.02), q8(0.01), q8(0.02, 3), q8(0.02, -4), q8(scale)
    q, k, v = (int8(rng, 2, n, 18) for n in (4, 9, 9))
    mask = np.where(rng.random((1, 3, 4, 9)) < 0.7, rng.integers(-40, 40, (1, 3, 4, 9)), -128).astype(np.int8)
    mask[..., 0] = 5
    attributes = {"heads": 3, "score_scale": scale}
    (got,) = integers("attention", attributes, [pq, pk, pv, pm], [py], q, k, v, mask)
    added = np.where(mask == -128, -np.inf, real(mask, pm)).astype(np.float32)
    parts = (real(t, p).astype(np.float32) for t, p in ((q, pq), (k, pk), (v, pv)))
    assert off(got, ours("attention", {"heads": 3}, *parts, added)[0], py) <= 6
