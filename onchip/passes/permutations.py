"""Permutations of dimensions, as transposes have them.

In: permutations and shapes as tuples. Out: the same. `perm[i]` is the dimension that comes to place i.
"""

from __future__ import annotations

from onchip.ops.types import Shape

Perm = tuple[int, ...]


def inverse(perm: Perm) -> Perm:
    """Give the permutation that undoes `perm`."""
    return tuple(perm.index(i) for i in range(len(perm)))


def permuted(shape: Shape, perm: Perm) -> Shape:
    """Give the shape after a transpose."""
    return tuple(shape[p] for p in perm)


def is_identity(perm: Perm) -> bool:
    """Tell whether the permutation moves nothing."""
    return perm == tuple(range(len(perm)))


def keeps_order(stored: Shape, perm: Perm) -> bool:
    """Tell whether the permutation moves dimensions of size 1 only, so that a reshape does not see it."""
    places = [p for p in perm if stored[p] != 1]
    return places == sorted(places)
