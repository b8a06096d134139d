"""Mappings of the kernels that have a search of their own: attention, LSTM, means over whole images.

In: the node, the graph, the chip. Out: Shape, Mapping and buffers. Attention stands in `attend.py`, means in
`average.py`. An LSTM keeps its weights in local memory for all
steps; the search is over how many images of a batch run side by side.
"""

from __future__ import annotations

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Buffer, Mapping, Shape
from onchip.planner import average
from onchip.planner.attend import plan_attention
from onchip.planner.buffers import Piece, fits, place_pieces
from onchip.planner.dimensions import ELEMENT_BYTES, attributes, dims

OPS = ("attention", "lstm", *average.OPS)
LSTM_TILES = 14  # accumulator rows of one lane per hidden unit beside the gates' sums


def plan_sequence(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    """Return what a Kernel needs for a node of OPS. Raises DoesNotFit."""
    if node.op in average.OPS:
        return average.plan_average(node, graph, chip, dtype)
    return (plan_attention if node.op == "attention" else _lstm)(node, graph, chip, dtype)


def _lstm(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    batch, steps, features = dims(graph, node.inputs[0])
    hidden, size = attributes(node).integer("hidden"), ELEMENT_BYTES[dtype]
    gates = 4 * hidden
    extra = (batch, steps, features, hidden)
    shape = Shape(
        kind="lstm",
        dtype=dtype,
        element_bytes=size,
        grid=(batch, steps, 1, hidden),
        source=(batch, steps, 1, features),
        extra=extra,
    )
    lane = 16 if shape.is_integer else 4  # bias, multiplier, left and right shift of a gate
    local = accumulator = 0
    for rows in sorted({batch, *(1 << i for i in range(12) if 1 << i < batch)}, reverse=True):
        pieces = [
            Piece("input", "local", rows * steps * features * size, 2 if rows < batch else 1, 0),
            Piece("weights", "local", (features + hidden) * gates * size, 1, 1),
            Piece("parameters", "local", 2 * lane * gates, 1, 2),
            Piece("hidden", "local", rows * hidden * size, 1, 3),
            Piece("output", "local", rows * steps * hidden * size + 4 * rows * hidden, 2 if rows < batch else 1, 4),
            Piece("sums", "accumulator", 2 * rows * gates, 1, 0),
            Piece("scratch", "accumulator", LSTM_TILES * rows * hidden, 1, 0),
        ]
        buffers, local, accumulator = place_pieces(pieces, chip)
        if fits(chip, local, accumulator):
            return shape, Mapping(rows, steps, 1, hidden, features, rows_cores=1, core_axis="b"), buffers
    limit = (
        f"chip '{chip.name}' has {chip.local.size_bytes} bytes and {chip.local.accumulator_bytes} bytes of accumulator"
    )
    fact = f"one row of lstm needs {local} bytes of local memory and {accumulator} bytes of accumulator"
    raise DoesNotFit("OC2104", node.name, fact, limit=limit, next="Try a shorter sequence, or a chip with more memory")
