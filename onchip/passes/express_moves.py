"""Express copies that the loads have no box for by gathers with constant row numbers.

In:       the chain of a node (chain.py).
Out:      nodes in its place; a rule gives False where the machine has the node as it is.
Promises: every element is copied, none is computed: values and quantizations stay.

Before -> after:
    slice backwards, or in steps along the last axis      reshape to rows, gather, reshape
    broadcast_to, tile                                     the same
    transpose of more axes than a box has                  the same
    gather along another axis than the first               transpose, gather, transpose
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onchip.passes.chain import Chain, Ids

BOX_AXES = 4  # of a transpose's load: three that move, and the elements


def _rows(chain: Chain, ids: Ids, behind: int, made: tuple[int, ...]) -> bool:
    """Copy rows of `behind` elements by their numbers."""
    table = chain.draft.add_constant(f"{chain.node.name}.rows", (ids.size,), ids.reshape(-1), "i64")
    chain.reshape(prod(chain.shape) // behind, behind)
    chain.then("gather", (ids.size, behind), table, is_main=True, axis=0)
    chain.reshape(*made)
    return True


def _copied(chain: Chain, order: Ids) -> bool:
    """Copy elements by their numbers in the source, whole runs of the last axes at once."""
    behind, made, given = 1, chain.made, prod(chain.shape)
    for axis in range(len(made) - 1, -1, -1):
        wide = behind * made[axis]
        runs = order.reshape(-1, wide)
        if given % wide or (runs[:, 0] % wide).any() or (runs != runs[:, :1] + np.arange(wide)).any():
            break
        behind = wide
    return _rows(chain, order.reshape(-1, behind)[:, 0] // behind, behind, made)


def _numbers(chain: Chain) -> Ids:
    return np.arange(prod(chain.shape)).reshape(chain.shape)


def _slice(chain: Chain) -> bool:
    given, rank = chain.attributes, len(chain.shape)
    axis, step = given.integer("axis") % rank, given.integer("step")
    if step == 1 or (step > 1 and axis < rank - 1):
        return False
    extent = chain.shape[axis]
    places = np.arange(*slice(given.integer("start"), given.integer("stop"), step).indices(extent))
    return len(places) == chain.made[axis] and _copied(chain, np.take(_numbers(chain), places, axis=axis))


def _broadcast(chain: Chain) -> bool:
    return _copied(chain, np.broadcast_to(_numbers(chain), chain.made))


def _tile(chain: Chain) -> bool:
    return _copied(chain, np.tile(_numbers(chain), chain.attributes.integers("repeats")))


def _transpose(chain: Chain) -> bool:
    shape, graph = chain.shape, chain.draft.graph
    if chain.node.inputs[0] in graph.inputs or chain.node.outputs[0] in graph.outputs:
        return False  # the host does it
    perm = [a for a in chain.attributes.integers("perm") if shape[a] > 1]
    order = sorted(perm)
    groups = sum(i == 0 or order.index(a) != order.index(perm[i - 1]) + 1 for i, a in enumerate(perm))
    box = groups + (not perm or perm[-1] != order[-1])
    if box <= BOX_AXES:
        return False
    return _copied(chain, _numbers(chain).transpose(chain.attributes.integers("perm")))


def _gather(chain: Chain) -> bool:
    shape, made = chain.shape, chain.made
    axis = chain.attributes.integer("axis") % len(shape)
    if axis == 0:
        return False
    ids, n_ids = chain.node.inputs[1], len(made) - len(shape) + 1
    before, behind, picked = prod(shape[:axis]), prod(shape[axis + 1 :]), made[axis : axis + n_ids]
    if before == 1:
        chain.reshape(shape[axis], behind)
        chain.then("gather", (*picked, behind), ids, is_main=True, axis=0)
        chain.reshape(*made)
        return True
    chain.reshape(before, shape[axis], behind)
    chain.transpose(1, 0, 2)
    chain.then("gather", (*picked, *chain.shape[1:]), ids, is_main=True, axis=0)
    chain.reshape(prod(picked), *chain.shape[n_ids:])
    chain.transpose(1, 0, 2)
    chain.reshape(*made)
    return True


MOVES: dict[str, Callable[[Chain], bool]] = {
    "slice": _slice, "broadcast_to": _broadcast, "tile": _tile, "transpose": _transpose, "gather": _gather,
}  # fmt: skip
