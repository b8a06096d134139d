"""The loops of a mapping as counters for `replay.py`: where each stream is, what is loaded, and the credits.

In: numbers of the shape (`tile.py` lists them) and a mapping. Out: rows of `counts`: loops in their order, the place of
each stream, and groups of loads in the order in which the load unit makes them.
Promises: loads stand at the loop levels of the lowering, and credits follow from the order of fillings and releases as
there (lowering/grid.py, lowering/tree.py).
"""

# pyright: basic

from __future__ import annotations

from numba import njit

from onchip.isa.native import OPTIONS
from onchip.planner.tile import (
    BATCHES,
    BLOCKS,
    CHANNELS,
    DEPTH,
    IS_MATMUL,
    LANE_BYTES,
    LOADS_SOURCE,
    SIDE_BYTES,
    SIDE_INPUTS,
    SOURCE_CHANNELS,
    TABLE_BYTES,
    B,
    N,
    P,
    Q,
)  # fmt: skip

inner = njit(**OPTIONS)
# axes, and which of them a load goes with, as bits
AB, AP, AQ, AG, AN, AK = range(6)
WITH_TILE, WITH_LANES, WITH_WEIGHTS = 0b011111, 0b011000, 0b111000
WITH_ROWS = 0b101111
# loads
SOURCE, WEIGHTS, PARAMETERS, SIDES, TABLES = 1, 2, 4, 8, 16
# rows of `counts`: the loops' counts in order, their axes, then four odometers
COUNT, AXIS, LOADED, MULTIPLIED, FINISHED, STORED = range(6)
TILES, SHARES, EXTENTS, GROUPS = range(6, 10)  # of each axis; groups of loads from here, one a row
LEVEL, READER, SPAN, ITEMS, FILLS, RELEASES = range(6)  # of a group
MOST_GROUPS, ORDERED = 5, 64  # steps whose order decides the credits
# rows of `times`: credits and signals of both readers by number, and when each output was summed, finished, stored
CREDITS, SIGNALS, SUMMED, DONE, OUT, VOLUME = 0, 2, 4, 5, 6, 7


@inner
def advance(counts, row, skip):
    """Go to the next iteration of the nest; `skip` is a loop that the stream does not have, or -1."""
    for d in range(5, -1, -1):
        if d == skip:
            continue
        counts[row, d] += 1
        if counts[row, d] < counts[COUNT, d]:
            return
        counts[row, d] = 0


@inner
def part(counts, row, axis):
    """Return the extent of a stream's tile along an axis."""
    for d in range(6):
        if counts[AXIS, d] == axis:
            first = counts[row, d] * counts[TILES, axis] * counts[SHARES, axis]
            return 1.0 * max(0, min(counts[TILES, axis], counts[EXTENTS, axis] - first))
    return 1.0


@inner
def first_of(counts, row, axis):
    for d in range(6):
        if counts[AXIS, d] == axis:
            return counts[row, d] * counts[TILES, axis] * counts[SHARES, axis]
    return 0


@inner
def own(counts, axis, n):
    """Return the extent of all n tiles of core (0, 0, 0) along an axis; the last one may be cut."""
    tile, share = counts[TILES, axis], counts[SHARES, axis]
    return 1.0 * ((n - 1) * tile + max(0, min(tile, counts[EXTENTS, axis] - (n - 1) * tile * share)))


@inner
def inside(first, size, limit):
    return 1.0 * max(0, min(first + size, limit) - max(first, 0))


@inner
def span_of(counts, axes, is_deep, ends_early):
    """Return (level, iterations between two loads) of what goes with these axes; without the depth for outputs."""
    level = 0
    for d in range(6):
        if (axes >> counts[AXIS, d]) & 1 and counts[COUNT, d] > 1:
            level = d + 1
    span = 1
    for d in range(level, 6):
        if not (ends_early and counts[AXIS, d] == AK):
            span *= counts[COUNT, d]
    return level, span


@inner
def add_group(counts, n, level, reader, span, item):
    """Add a load to the groups, kept in order of level and reader."""
    for g in range(n):
        if counts[GROUPS + g, LEVEL] == level and counts[GROUPS + g, READER] == reader:
            counts[GROUPS + g, ITEMS] |= item
            return n
    g = n
    while g > 0 and counts[GROUPS + g - 1, LEVEL] * 2 + counts[GROUPS + g - 1, READER] > level * 2 + reader:
        for f in range(4):
            counts[GROUPS + g, f] = counts[GROUPS + g - 1, f]
        g -= 1
    counts[GROUPS + g, LEVEL], counts[GROUPS + g, READER] = level, reader
    counts[GROUPS + g, SPAN], counts[GROUPS + g, ITEMS] = span, item
    return n + 1


@inner
def set_loops(x, counts, order, tb, tp, tq, tn, tc, down, along, images):
    """Write the loops of a mapping."""
    tiles = (tb, tp, tq, 1, tn, tc)
    extents = (x[B], x[P], x[Q], x[BLOCKS], x[N], x[SOURCE_CHANNELS])
    shares = (images, down, 1, 1, along, 1)
    axes = (AG, AN, AB, AP, AQ, AK) if order == CHANNELS else (AB, AP, AQ, AG, AN, AK)
    axes = (AB, AP, AQ, AG, AK, AN) if order == DEPTH else axes
    for d in range(6):
        axis = axes[d]
        whole = -(-int(extents[axis]) // tiles[axis])
        n = -(-whole // shares[axis])
        counts[AXIS, d], counts[COUNT, d] = axis, 1 if axis == AK and x[IS_MATMUL] == 0 else n
        counts[TILES, d], counts[SHARES, d], counts[EXTENTS, d] = tiles[d], shares[d], int(extents[d])
        for row in range(LOADED, STORED + 1):
            counts[row, d] = 0


@inner
def set_groups(x, counts, is_deep):
    """Write the groups of loads; returns how many there are."""
    n = 0
    if x[IS_MATMUL] != 0:
        batches = 0 if x[BATCHES] == 0 else (1 if x[BATCHES] == 1 else 3)
        level, span = span_of(counts, WITH_WEIGHTS | batches, is_deep, False)
        n = add_group(counts, n, level, 0, span, WEIGHTS)
        if x[LOADS_SOURCE] != 0 and not is_deep:
            level, span = span_of(counts, WITH_ROWS, is_deep, False)
            n = add_group(counts, n, level, 0, span, SOURCE)
    elif x[LOADS_SOURCE] != 0:
        level, span = span_of(counts, WITH_TILE, is_deep, True)
        n = add_group(counts, n, level, 1, span, SOURCE)
    if x[LANE_BYTES] > 0:
        level, span = span_of(counts, WITH_LANES, is_deep, True)
        n = add_group(counts, n, level, 1, span, PARAMETERS)
    if x[TABLE_BYTES] > 0:
        level, span = span_of(counts, 0, is_deep, True)
        n = add_group(counts, n, level, 1, span, TABLES)
    if x[SIDE_INPUTS] > 0 and x[SIDE_BYTES] > 0:
        level, span = span_of(counts, WITH_TILE, is_deep, True)
        n = add_group(counts, n, level, 1, span, SIDES)
    return n


@inner
def credit(counts, n_groups, reader, iterations, slots):
    """Return the credits that a reader's semaphore starts with: fillings in order against releases in order."""
    n, released = min(iterations, ORDERED), 0
    positions = counts[GROUPS + MOST_GROUPS :]
    for g in range(n_groups):
        counts[GROUPS + g, FILLS], counts[GROUPS + g, RELEASES] = 0, 0
    for t in range(n):
        for g in range(n_groups - 1, -1, -1):
            span = counts[GROUPS + g, SPAN]
            if counts[GROUPS + g, READER] == reader and t % span == span - 1:
                released += 1
                positions[counts[GROUPS + g, RELEASES], g] = released
                counts[GROUPS + g, RELEASES] += 1
    position, found = 0, 15
    for t in range(n):
        for g in range(n_groups):
            if counts[GROUPS + g, READER] == reader and t % counts[GROUPS + g, SPAN] == 0:
                position += 1
                before = counts[GROUPS + g, FILLS] - slots
                counts[GROUPS + g, FILLS] += 1
                if 0 <= before < counts[GROUPS + g, RELEASES]:
                    found = min(found, position - positions[before, g])
    return found
