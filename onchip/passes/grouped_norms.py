"""group_norm and instance_norm as layer norms: the values of a group, over all positions, are one row.

In: a Chain at the node. Out: the nodes that take its place.
Before -> after: group_norm(x) -> for each group slice, reshape to a row per image, layer_norm, reshape; concat.
Scale and bias are repeated for every position. In integers this is the op's own definition (onchip/ops/normalize.py).
"""

from __future__ import annotations

from math import prod

import numpy as np

from onchip.passes.chain import Chain

MOST_GROUPS = 64  # assumed: beyond, a kernel per group is no way to run it


def norm_of_groups(chain: Chain) -> bool:
    """Write a norm over groups of channels as one layer norm for each; leaves the node alone where that is no way."""
    draft, shape = chain.draft, chain.shape
    groups = chain.attributes.integer("groups") if "groups" in chain.attributes else shape[-1]
    own, positions, source = shape[-1] // groups, prod(shape[1:-1]), chain.at
    known = all(draft.tensors[name].constant is not None for name in chain.node.inputs[1:] if name)
    if groups > MOST_GROUPS or not known:
        return False
    parts: list[str] = []
    for g in range(groups):
        chain.at = chain.like = source  # until the norm
        if groups > 1:
            chain.then("slice", (*shape[:-1], own), axis=len(shape) - 1, start=g * own, stop=(g + 1) * own)
        chain.reshape(shape[0], positions * own)
        chain.like = chain.node.outputs[0]
        lanes = [_repeated(chain, name, g * own, own, positions) if name else "" for name in chain.node.inputs[1:]]
        chain.then("layer_norm", chain.shape, *lanes, is_main=g == 0, eps=chain.attributes.number("eps"))
        chain.reshape(*shape[:-1], own)
        parts.append(chain.at)
    if groups > 1:
        chain.at = parts[0]
        chain.then("concat", shape, *parts[1:], axis=len(shape) - 1)
    return True


def _repeated(chain: Chain, name: str, start: int, own: int, times: int) -> str:
    data = chain.draft.array(name)
    lanes = None if data is None else np.tile(data[start : start + own], times)
    return chain.draft.add_constant(f"{name}.lanes", (own * times,), lanes, chain.draft.tensors[name].dtype)
