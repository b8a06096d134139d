"""Reshapes that merge a symbol with a number, as [N, heads, L, D] to [N*heads, L, D].

In:       the stored shape of a tensor, how its dimensions are grouped into logical ones, and a wanted logical shape.
Out:      the stored shape that serves the wanted one, and its grouping.
Promises: no dimension of a Graph is a product of a symbol: the tensor stays split, and only the grouping says that two
          of its dimensions count as one. `regroup` gives None where the dimensions cannot be cut to fit.
Does not: know operators; onnx/walk.py lets those through that work on a grouped tensor as they do on a plain one.

    stored [N,4,8,16], grouped (N,4),(8),(16)   is   logical [4N,8,16]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from onchip.ops.types import Dimension, Shape


@dataclass(frozen=True, slots=True)
class Grouped:
    """A stored tensor whose consecutive dimensions, `sizes` at a time, are the logical ones."""

    tensor: str
    sizes: tuple[int, ...]


def regroup(stored: Shape, wanted: Sequence[Shape | None]) -> tuple[Shape, tuple[int, ...]] | None:
    """Cut the stored dimensions so that consecutive runs of them make the wanted ones.

    A wanted dimension is the tuple of its factors; None stands for the one that is left over (-1).
    """
    complete = _fill_in(stored, wanted)
    if complete is None:
        return None
    plain = _plain(stored, complete)
    if plain is not None:
        return plain, (1,) * len(plain)
    rest: list[Dimension] = [d for d in stored if d != 1]
    made: list[Dimension] = []
    sizes: list[int] = []
    for factors in complete:
        taken = _take(rest, factors)
        if taken is None:
            return None
        made += taken
        sizes.append(len(taken))
    return (tuple(made), tuple(sizes)) if not rest else None


def _plain(stored: Shape, wanted: Sequence[Shape]) -> Shape | None:
    """Give the wanted shape itself where none of its dimensions is a product of a symbol."""
    made: list[Dimension] = []
    for factors in wanted:
        symbols = [d for d in factors if isinstance(d, str)]
        size = prod(d for d in factors if isinstance(d, int))
        if len(symbols) > 1 or (symbols and size != 1):
            return None
        made.append(symbols[0] if symbols else size)
    return tuple(made) if _content(stored) == _content(made) else None


def _content(shape: Sequence[Dimension]) -> tuple[int, list[str]]:
    return prod(d for d in shape if isinstance(d, int)), sorted(d for d in shape if isinstance(d, str))


def _fill_in(stored: Shape, wanted: Sequence[Shape | None]) -> list[Shape] | None:
    """Replace None by the factors that no other wanted dimension has."""
    if None not in wanted:
        return [w for w in wanted if w is not None]
    symbols = [d for d in stored if isinstance(d, str)]
    size = prod(d for d in stored if isinstance(d, int))
    for factors in wanted:
        for d in factors or ():
            if isinstance(d, str):
                if d not in symbols:
                    return None
                symbols.remove(d)
            else:
                if d == 0 or size % d:
                    return None
                size //= d
    left = (*symbols, *((size,) if size != 1 or not symbols else ()))
    return [left if w is None else w for w in wanted]


def _take(rest: list[Dimension], factors: Shape) -> list[Dimension] | None:
    """Take dimensions off the front of `rest` whose product is that of `factors`; numbers side by side become one."""
    symbols = [d for d in factors if isinstance(d, str)]
    size = prod(d for d in factors if isinstance(d, int))
    taken: list[Dimension] = []
    while symbols or size != 1:
        if not rest:
            return None
        first = rest.pop(0)
        if isinstance(first, str):
            if first not in symbols:
                return None
            symbols.remove(first)
            taken.append(first)
            continue
        if size % first == 0:
            part = first
        elif first % size == 0:
            part = size
            rest.insert(0, first // size)
        else:
            return None
        if part == 1:
            return None
        size //= part
        if taken and isinstance(taken[-1], int):
            taken[-1] *= part
        else:
            taken.append(part)
    return taken or [1]
