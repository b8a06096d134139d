"""nn.MultiheadAttention in a form that exports well: batch first, one scaled_dot_product_attention.

In:       a copy of a user's module (its parameters are shared, not copied).
Out:      the same copy, where every nn.MultiheadAttention computes the same function through views that keep the batch.
          torch's own forward merges batch and heads into one dimension, which has no symbol, and often writes the
          attention out as bmm, softmax, bmm.
Promises: parameters, names and results are torch's (tests/frontends/test_torch.py compares). Where a module uses
          bias_k, add_zero_attn or unbatched inputs, its forward stays as it is.
Sources:  Vaswani et al. 2017, section 3.2.2; torch/nn/functional.py, multi_head_attention_forward.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from types import MethodType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def exportable_copy(module: nn.Module) -> nn.Module:
    """Copy a module, sharing its tensors, in evaluation mode."""
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # an exported module's own trees warn when they are copied
        twin = copy.deepcopy(module, shared)
    with contextlib.suppress(NotImplementedError):  # an exported module is in one mode for good
        twin = twin.eval()
    for part in twin.modules():
        if type(part) is nn.MultiheadAttention and part.bias_k is None and not part.add_zero_attn:
            object.__setattr__(part, "forward", MethodType(_forward, part))
    return twin


def _forward(
    self: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Stand in for nn.MultiheadAttention.forward."""
    if query.dim() != 3:
        return nn.MultiheadAttention.forward(
            self, query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        )
    if not self.batch_first:
        query, key, value = (t.transpose(0, 1) for t in (query, key, value))
    q, k, v = _project(self, query, key, value)
    can_skip_mask = is_causal and key_padding_mask is None and not need_weights
    mask = None if can_skip_mask else _mask(self, attn_mask, key_padding_mask, query.shape[0])
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=can_skip_mask)
    y = y.transpose(1, 2).reshape(query.shape[0], query.shape[1], self.embed_dim)
    y = self.out_proj(y)
    if not self.batch_first:
        y = y.transpose(0, 1)
    return y, _weights(q, k, mask, is_averaged=average_attn_weights) if need_weights else None


def _project(self: nn.MultiheadAttention, *inputs: Tensor) -> list[Tensor]:
    whole = cast("Tensor | None", self.in_proj_weight)
    apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
    weights = apart if whole is None else whole.chunk(3)
    bias = cast("Tensor | None", self.in_proj_bias)
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    parts: list[Tensor] = []
    for x, weight, bias in zip(inputs, weights, biases, strict=True):
        y = functional.linear(x, weight, bias)
        parts.append(y.view(y.shape[0], y.shape[1], self.num_heads, self.head_dim).transpose(1, 2))
    return parts


def _mask(
    self: nn.MultiheadAttention, attn_mask: Tensor | None, key_padding_mask: Tensor | None, batch: int
) -> Tensor | None:
    """Merge torch's two masks (true = do not attend) into one keep-mask; into one that is added if either is float."""
    masks: list[Tensor] = []
    if attn_mask is not None:
        own = attn_mask
        if own.dim() == 3:
            own = own.view(batch, self.num_heads, own.shape[1], own.shape[2])
        masks.append(own)
    if key_padding_mask is not None:
        masks.append(key_padding_mask.view(key_padding_mask.shape[0], 1, 1, key_padding_mask.shape[1]))
    if not masks:
        return None
    if all(m.dtype == torch.bool for m in masks):
        keep = [torch.logical_not(m) for m in masks]
        return keep[0] if len(keep) == 1 else torch.logical_and(keep[0], keep[1])
    added = [
        torch.zeros_like(m, dtype=torch.float32).masked_fill(m, -math.inf) if m.dtype == torch.bool else m
        for m in masks
    ]
    return added[0] if len(added) == 1 else added[0] + added[1]


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, *, is_averaged: bool) -> Tensor:
    scores = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = scores.masked_fill(torch.logical_not(mask), -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = torch.softmax(scores, dim=-1)
    return weights.mean(dim=1) if is_averaged else weights
