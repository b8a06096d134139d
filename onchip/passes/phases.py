"""The phases of a transposed convolution along one axis: which taps reach the outputs s i + f, and from where.

In: stride s, dilation d, padding and taps of the axis. Out: `Phases`, and the weights of all phases.
Output p gets x[h] w[r] where h s + r d - before = p (onchip/ops/transposed.py). With p = s i + f that is
h = i + (f + before - r d) / s for the taps r for which the quotient is whole. All phases read one window of x: the
union of what they read; where a phase has no tap its weight is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.ops.types import Attributes


@dataclass(frozen=True, slots=True)
class Phases:
    """A window of `taps` cells of x around each block of `stride` outputs; `sources[f]` are pairs (tap, cell)."""

    sources: tuple[tuple[tuple[int, int], ...], ...]
    taps: int
    padding: tuple[int, int]
    blocks: int  # how many blocks of outputs the convolution makes: as many as are wanted, or more


def phases(attributes: Attributes, taps: int, axis: int, size: int, out: int) -> Phases:
    """Return the phases along the height (axis 0) or the width (1) of x of `size` cells and `out` outputs."""
    s, d = attributes.integers("stride")[axis], attributes.integers("dilation")[axis]
    before = attributes.integers("padding")[2 * axis]
    found = [[(r, (f + before - r * d) // s) for r in range(taps) if (f + before - r * d) % s == 0] for f in range(s)]
    cells = [cell for phase in found for _, cell in phase]
    first, last = min(0, min(cells, default=0)), max(0, max(cells, default=0))
    window, wanted = last - first + 1, -(-out // s)
    after = max(0, wanted - size + first + window - 1)
    sources = tuple(tuple((r, cell - first) for r, cell in phase) for phase in found)
    return Phases(sources, window, (-first, after), size - first + after - window + 1)


def phase_weights(
    w: NDArray[np.generic] | None, rows: Phases, columns: Phases, groups: int
) -> NDArray[np.generic] | None:
    """Give w [K, R, S, C / groups] as [phases K, rows, columns, C], zeros where a phase has no tap."""
    if w is None:
        return None
    k, _, _, own = w.shape
    wide = np.zeros((len(rows.sources), len(columns.sources), k, rows.taps, columns.taps, own * groups), w.dtype)
    for i, row_taps in enumerate(rows.sources):
        for j, column_taps in enumerate(columns.sources):
            for r, to_row in row_taps:
                for s, to_column in column_taps:
                    for g in range(groups):
                        made, given = (slice(g * n, (g + 1) * n) for n in (k // groups, own))
                        wide[i, j, made, to_row, to_column, given] = w[made, r, s]
    return wide.reshape(-1, rows.taps, columns.taps, own * groups)
