"""Why a mapping won: the best of the others, one for each thing that could have been chosen differently.

In:       a kernel's Shape, the chip, the effort of its search, and the mapping that was taken.
Out:      how many mappings fit and were priced, and the runners-up: the one with the fewest predicted cycles of those
          that differ in tile, depth, channels, order, buffers or cores.
Does not: price exactly: whoever asks runs them (`explain.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.ir.plan import Mapping, Shape
from onchip.planner.nest import GRID_KINDS
from onchip.planner.tile import CHANNELS, DEPTH, ROWS, Prices, played


@dataclass(frozen=True, slots=True)
class Search:
    """How many mappings there were, and the best ones with another choice; `others` are (what differs, mapping)."""

    n_fitting: int
    n_priced: int
    others: tuple[tuple[str, Mapping], ...]


def search(shape: Shape, chip: Chip, effort: int, taken: Mapping) -> Search | None:
    """Return the search that a mapping came from; None for kernels with a search of their own."""
    if shape.kind not in GRID_KINDS:
        return None
    tables = tuple(table for table, _ in played(shape, chip, effort))
    others: list[tuple[str, Mapping]] = []
    for what in ("tile of rows", "tile of channels", "depth", "order of loops", "number of buffers", "grid of cores"):
        best = _best(tables, what, taken)
        if best is not None and all(best != mapping for _, mapping in others):
            others.append((what, best))
    fitting, priced = sum(t.n_fitting for t in tables), sum(len(t.cycles) for t in tables)
    return Search(fitting, priced, tuple(others))


def _best(tables: tuple[Prices, ...], what: str, taken: Mapping) -> Mapping | None:
    """Return the mapping with the least predicted cycles among those that differ from `taken` in `what`."""
    found: list[Mapping] = []
    for table in tables:
        rows = np.flatnonzero(_differs(table, what, taken))
        if len(rows):
            found.append(table.mapping(int(rows[np.argmin(table.cycles[rows])])))
    return min(found, key=lambda mapping: mapping.predicted_cycles, default=None)


def _differs(p: Prices, what: str, taken: Mapping) -> NDArray[np.bool_]:
    t = p.table
    match what:
        case "tile of rows":
            return (t.tb != taken.tb) | (t.tp != taken.tp) | (t.tq != taken.tq)
        case "tile of channels":
            return t.tn != taken.tn
        case "depth":
            return t.tc != taken.tc
        case "order of loops":
            return t.outer != (CHANNELS if taken.channels_outer else DEPTH if taken.depth_outer else ROWS)
        case "number of buffers":
            return np.full(len(p.cycles), p.n_slots != taken.slots)
        case _:
            shared = (t.rows_cores != taken.rows_cores) | (t.channel_cores != taken.channel_cores)
            return shared | (t.batch_cores != taken.batch_cores)
