"""Exact sums of int16 activations by int8 weights (16x8): 64-bit accumulators.

In: x int16 at zero point 0, w int8 (or int16, for products of two activations), b int64 or int32. Out: int64.
Promises: sums are exact. A product is below 2^30 and float64 holds 2^53, so that BLAS is exact up to 2^23 terms.
"""

import numpy as np

from onchip.ops.types import Array, Refusal

MAX_TERMS = 1 << 22


def wide_matmul(a: Array, b: Array) -> Array:
    """Multiply integers [..., M, K] by [..., K, N] of at most 16 bits exactly, as int64."""
    if a.shape[-1] > MAX_TERMS:
        raise Refusal("OC1333", f"int16 sums over {a.shape[-1]} products; they hold {MAX_TERMS}")
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)


def wide_convolution(view: Array, w: Array, groups: int) -> Array:
    """Sum windows [N,P,Q,R,S,C] by kernels [K,R,S,C/groups] to [N,P,Q,K]."""
    n, p, q, r, s, _ = view.shape
    k, per_group = w.shape[0], w.shape[3]
    split = view.reshape(n * p * q, r * s, groups, per_group)
    kernels = w.reshape(groups, k // groups, r * s * per_group)
    if per_group == 1 and k == groups:
        taps = w.reshape(k, r * s).T.astype(np.int64)
        return np.einsum("mtg,tg->mg", split[..., 0].astype(np.int64), taps).reshape(n, p, q, k)
    parts = [wide_matmul(split[:, :, g].reshape(n * p * q, -1), kernels[g].T) for g in range(groups)]
    return np.concatenate(parts, axis=1).reshape(n, p, q, k)
