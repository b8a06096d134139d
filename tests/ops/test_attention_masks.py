"""attention with every mask shape that broadcasts, bool and additive, against torch."""

# pyright: basic

from itertools import product

import numpy as np
import pytest
import torch

from onchip.ops.attention import merge_heads, split_heads
from onchip.ops.types import Refusal
from tests.ops.witness import floats, ours

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
