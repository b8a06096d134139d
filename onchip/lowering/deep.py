"""The depth loop around the channels: each depth tile of all channels before the next one.

In: the loops of a kernel with `depth_outer`, its loads, and its work on one tile. Out: the four streams' code inside of
the loops over blocks and rows: depth tiles but the last one, then the last one, in which tiles get done one by one.
A source tile comes with the first channels of its depth tile and needs no signal of its own: when the weights of two
channel tiles ago are released, and there are two channel tiles or more, so is the source tile of two depth tiles ago.
"""

from __future__ import annotations

from onchip.isa import LOAD, MATRIX, VECTOR
from onchip.lowering.loops import Grid, Load
from onchip.lowering.tree import Loop, Op, later, nest, put, sync

Code = list[Op | Loop]


def deep_code(grid: Grid, loads: list[Load], products: Code, vector: Code, store: Op) -> tuple[Code, Code, Code, Code]:
    """Return the code of LOAD, MATRIX, VECTOR and STORE for one tile of rows."""
    n, own = grid.counts["n"], _names(loads, VECTOR)
    products = [sync(wait=((LOAD, MATRIX),)), *products]
    release = sync(signal=((MATRIX, LOAD),), releases=("weights",))
    matrix = [
        sync(wait=((VECTOR, MATRIX),), fills=("sums",)),
        *_deep(grid, nest([("n", n)], (*products, release))),
        *_last(grid, nest([("n", n)], (*products, sync(signal=((MATRIX, VECTOR),)), release))),
    ]
    before = [sync(wait=((LOAD, VECTOR),))] if own else []
    after = [sync(signal=((VECTOR, LOAD),), releases=own)] if own else []
    behind = [*nest([("n", n)], (*before, *vector, *after)), sync(signal=((VECTOR, MATRIX),), releases=("sums",))]
    load = [*_deep(grid, _loads(grid, loads, is_last=False)), *_last(grid, _loads(grid, loads, is_last=True))]
    return load, matrix, behind, list(nest([("n", n)], (store,)))


def _deep(grid: Grid, code: tuple[Op | Loop, ...]) -> Code:
    """Return the code of all depth tiles but the last one."""
    return list(nest([("k", grid.counts["k"] - 1)], code))


def _last(grid: Grid, code: tuple[Op | Loop, ...]) -> Code:
    return [put(node, "k", grid.counts["k"] - 1) for node in code]


def _names(loads: list[Load], reader: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(x.buffer for x in loads if x.reader == reader))


def _loads(grid: Grid, loads: list[Load], *, is_last: bool) -> tuple[Op | Loop, ...]:
    """Return the loads of one depth tile: its source, the weights of its channels, and what finished tiles need."""
    source, weights = (
        [x for x in loads if x.reader == MATRIX and (x.buffer == "source") == own] for own in (True, False)
    )
    behind = [x for x in loads if x.reader == VECTOR] if is_last else []
    is_single = grid.mapping.slots == 1
    first = _boxes([*source, *weights], behind, is_single=is_single)
    others = _boxes(weights, behind, is_single=is_single)
    return (*(put(node, "n", 0) for node in first), *nest([("n", grid.counts["n"] - 1)], later(others, "n")))


def _boxes(near: list[Load], behind: list[Load], *, is_single: bool) -> tuple[Op | Loop, ...]:
    code: Code = []
    ends: Code = []
    for group, reader in ((near, MATRIX), (behind, VECTOR)):
        if not group:
            continue
        names = tuple(name for name in _names(group, reader) if name != "source")
        wait = sync(wait=((reader, LOAD),), fills=() if is_single else names)
        ends += [wait] if is_single else []
        code += [] if is_single else [wait]
        code += [*(x.code for x in group), sync(signal=((LOAD, reader),))]
    return (*code, *ends)
