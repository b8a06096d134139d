"""Rotary position embedding on the vector unit: (a, b) -> (a cos - b sin, b cos + a sin).

In: the node's step on a tile of whole heads, the angles of its rows as side tiles. Out: vector instructions. Pairs that
lie half a head apart are lanes; interleaved ones are rows of one lane each, since lanes have no stride.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onchip.isa.memory import ACC, I16, TYPE_BYTES
from onchip.lowering.code import NOTHING, Rows, View
from onchip.lowering.context import attributes

if TYPE_CHECKING:
    from onchip.lowering.step import Step


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of a tile [p, q, D]: the rows to run over, and the parts of each head."""

    counts: tuple[int, int, int]
    width: int
    half: int
    is_paired: bool
    rows: Rows

    def part(self, head: View, size: int, which: int) -> View:
        """Return the first values of all pairs, or the second ones; `size` is one element in the view's memory."""
        offset = which * (1 if self.is_paired else self.half) * size
        _, p, q = head.strides
        return replace(head, at=head.at + offset, strides=(p, q, 2 * size) if self.is_paired else head.strides)

    def angle(self, at: View, size: int) -> View:
        line = self.half * size
        return replace(at, strides=(line, 0, size) if self.is_paired else (0, line, 0))

    def scratch(self, head: View, which: int) -> View:
        """Return room for one value a pair, twice over in a scratch tile of whole heads."""
        (_, p, q), half = self.counts, self.half
        strides = (q * half, half, 1) if self.is_paired else (p * q * half, q * half, half)
        return View(ACC, head.at + which * p * q * half, strides)


def _pairs(step: Step) -> Pairs:
    node, rows = step.node, step.tile.rows
    half = int(step.context.graph.tensor(node.inputs[1]).shape[-1])
    (_, p, q), paired = rows.counts, attributes(node).flag("interleaved")
    own = Rows((p, q, half), 1, (rows.left[1], rows.left[2], NOTHING)) if paired else replace(rows, lanes=half)
    return Pairs(rows.counts, rows.lanes, half, paired, own)


def _angles(step: Step, pairs: Pairs) -> tuple[View, View]:
    found: list[View] = []
    for name, side in zip(step.node.inputs[1:3], step.tile.sides[:2], strict=True):
        type_ = I16 if step.context.graph.tensor(name).dtype == "i16" else step.tile.type
        found.append(pairs.angle(replace(side, type=type_), TYPE_BYTES[type_]))
    return found[0], found[1]


def rotary(step: Step) -> None:
    """int8: exact sums of two products, requantized once."""
    code, pairs, x = step.code, _pairs(step), step.scratch(0)
    cos, sin = _angles(step, pairs)
    code.lanes("sub", x, step.a, step.given().zero_point[0])
    a, b = (pairs.part(x, 1, i) for i in (0, 1))
    u, t = (pairs.scratch(step.scratch(1), i) for i in (0, 1))
    scales = step.given().scale[0], step.given(1).scale[0]
    code.lanes("mul", u, a, cos, rows=pairs.rows)
    code.lanes("mul", t, b, sin, rows=pairs.rows)
    code.lanes("sub", u, u, t, rows=pairs.rows)
    step.scale_to(pairs.part(step.d, 1, 0), u, *scales, rows=pairs.rows)
    code.lanes("mul", u, b, cos, rows=pairs.rows)
    code.lanes("mac", u, a, sin, rows=pairs.rows)
    step.scale_to(pairs.part(step.d, 1, 1), u, *scales, rows=pairs.rows)
    rest = pairs.width - 2 * pairs.half
    if rest:
        behind = replace(step.tile.rows, lanes=rest)
        step.scale_to(step.d.moved(2 * pairs.half), x.moved(2 * pairs.half), scales[0], rows=behind)


def float_rotary(step: Step) -> None:
    """The same in floats."""
    code, pairs, size = step.code, _pairs(step), step.kernel.shape.element_bytes
    cos, sin = _angles(step, pairs)
    a, b = (pairs.part(step.a, size, i) for i in (0, 1))
    u, t = (pairs.scratch(step.scratch(0), i) for i in (0, 1))
    code.lanes("mul", u, a, cos, rows=pairs.rows)
    code.lanes("mul", t, b, sin, rows=pairs.rows)
    code.lanes("sub", pairs.part(step.d, size, 0), u, t, rows=pairs.rows)
    code.lanes("mul", u, b, cos, rows=pairs.rows)
    code.lanes("mul", t, a, sin, rows=pairs.rows)
    code.lanes("add", pairs.part(step.d, size, 1), u, t, rows=pairs.rows)
    rest = pairs.width - 2 * pairs.half
    if rest:
        behind, offset = replace(step.tile.rows, lanes=rest), 2 * pairs.half * size
        code.lanes("copy", step.d.moved(offset), step.a.moved(offset), 0, rows=behind)
