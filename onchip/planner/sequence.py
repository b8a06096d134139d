"""Mappings of the kernels that have a search of their own: attention, LSTM, GRU and RNN, means over whole images.

In: the node, the graph, the chip. Out: Shape, Mapping and buffers. Attention stands in `attend.py`, means in
`average.py`. A recurrent kernel keeps its weights in local memory for all steps where they fit, and the sequence as a
whole where that fits beside them; the search is over how many rows of a batch run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Buffer, Mapping, Shape
from onchip.isa.machine import columns, machine_of
from onchip.ops.cells import GATES, Product, has_cell, lengths_at, parameter_bytes, products
from onchip.planner import average
from onchip.planner.attend import plan_attention
from onchip.planner.buffers import Piece, fits, place_pieces
from onchip.planner.dimensions import ELEMENT_BYTES, attributes, dims

OPS = ("attention", *GATES, *average.OPS)
RECURRENT_TILES, LENGTH_TILES = 8, 2  # accumulator rows of a lane per hidden unit beside the gates' sums


def plan_sequence(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    """Return what a Kernel needs for a node of OPS. Raises DoesNotFit."""
    if node.op in average.OPS:
        return average.plan_average(node, graph, chip, dtype)
    return (plan_attention if node.op == "attention" else _recurrent)(node, graph, chip, dtype)


@dataclass(frozen=True, slots=True)
class Choice:
    """How a recurrent kernel uses local memory: rows of the batch and steps at a time, and which weights do not stay.

    Products named in `streamed` have their weights loaded in each step, `columns` of them at a time.
    """

    rows: int
    steps: int
    streamed: str = ""
    columns: int = 1


@dataclass(frozen=True, slots=True)
class Recurrent:
    """The sizes of a recurrent node."""

    node: Node
    batch: int
    steps: int
    features: int
    hidden: int
    size: int
    is_integer: bool
    products: tuple[Product, ...]

    def pieces(self, choice: Choice) -> list[Piece]:
        """Return the buffers. Regions: input, weights, what else is loaded, states, what is stored."""
        op, rows, width, size = self.node.op, choice.rows, self.hidden, self.size
        again = 2 if rows < self.batch else 1
        ahead = again if choice.steps == self.steps else 2
        cell = 2 if self.is_integer else size
        found = [Piece("input", "local", rows * choice.steps * self.features * size, ahead, 0)]
        for p in self.products:
            is_streamed = p.name in choice.streamed
            columns = min(choice.columns, p.columns) if is_streamed else p.columns
            found.append(Piece(f"weights.{p.name}", "local", p.k * columns * size, 2 if is_streamed else 1, 1))
        lanes = parameter_bytes(op, width, is_integer=self.is_integer)
        found.append(Piece("parameters", "local", lanes, 1, 2))
        states = {"state0": (5, rows * width * size)}
        if has_cell(op):
            states["state1"] = (6, rows * width * cell)
        states["lengths"] = (lengths_at(op), 4 * rows)
        for name, (place, n_bytes) in states.items():
            if len(self.node.inputs) > place and self.node.inputs[place]:
                found.append(Piece(name, "local", n_bytes, 1, 2))
        found.append(Piece("hidden", "local", rows * width * size, 1, 3))
        if len(self.products) == 3:
            found.append(Piece("reset", "local", rows * width * size, 1, 3))
        found.append(Piece("output", "local", rows * choice.steps * width * size, ahead, 4))
        found.append(Piece("last", "local", rows * width * (size + (cell if has_cell(op) else 0)), again, 4))
        sums = rows * sum(p.columns for p in self.products)
        found.append(Piece("sums", "accumulator", sums, 1, 0))
        tiles = RECURRENT_TILES + LENGTH_TILES * any(self.node.inputs[lengths_at(op) :])
        found.append(Piece("scratch", "accumulator", tiles * rows * width, 1, 0))
        return found

    def choices(self, wide: int) -> Iterator[Choice]:
        """Return what may be done, the best first: weights that stay, many rows, the whole sequence."""
        rows = sorted({self.batch, *(1 << i for i in range(12) if 1 << i < self.batch)}, reverse=True)
        for steps in dict.fromkeys((self.steps, 1)):
            yield from (Choice(n, steps) for n in rows)
        widest = max(p.columns for p in self.products)
        blocks = [wide << i for i in range(12, -1, -1) if wide << i < widest]
        for streamed in ("x", "hc", "xhc"):
            for n in rows:
                yield from (Choice(n, 1, streamed, columns) for columns in blocks or [wide])


def _recurrent(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    batch, steps, features = dims(graph, node.inputs[0])
    hidden, size = attributes(node).integer("hidden"), ELEMENT_BYTES[dtype]
    shape = Shape(
        kind="recurrent",
        dtype=dtype,
        element_bytes=size,
        grid=(batch, steps, 1, hidden),
        source=(batch, steps, 1, features),
        extra=(batch, steps, features, hidden),
    )
    made = products(node.op, attributes(node), features)
    r = Recurrent(node, batch, steps, features, hidden, size, shape.is_integer, made)
    local = accumulator = 0
    for choice in r.choices(columns(machine_of(chip, dtype)) or 8):
        buffers, local, accumulator = place_pieces(r.pieces(choice), chip)
        if fits(chip, local, accumulator):
            return shape, Mapping(choice.rows, choice.steps, 1, hidden, choice.columns), buffers
    limit = (
        f"chip '{chip.name}' has {chip.local.size_bytes} bytes and {chip.local.accumulator_bytes} bytes of accumulator"
    )
    fact = f"one row of {node.op} needs {local} bytes of local memory and {accumulator} bytes of accumulator"
    raise DoesNotFit("OC2104", node.name, fact, limit=limit, next="Try fewer hidden units, or a chip with more memory")
