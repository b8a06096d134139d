"""Mappings of the kernels that are sequences: attention (scores, softmax, mix) and LSTM (steps).

In: the node, the graph, the chip. Out: Shape, Mapping and buffers. Attention keeps whole score rows on chip: the search
is over how many query rows a tile has. An LSTM keeps its weights in local memory for all steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Buffer, Mapping, Shape, ceil_div
from onchip.planner.buffers import bank_bytes
from onchip.planner.dimensions import ELEMENT_BYTES, attributes, dims

OPS = ("attention", "lstm")
LINE = 64
TABLE_BYTES = 1024
ATTENTION_TILES = 3  # accumulator tiles: scores (later exponentials), and two of the softmax
ROW_WORDS = 16
LSTM_TILES = 14  # accumulator rows of one lane per hidden unit beside the gates' sums


@dataclass(frozen=True, slots=True)
class Piece:
    """A buffer before it has an address; pieces of one region share banks."""

    name: str
    memory: str
    size: int
    slots: int
    region: int


def plan_sequence(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    """Return what a Kernel needs for an attention or lstm node. Raises DoesNotFit."""
    return (_attention if node.op == "attention" else _lstm)(node, graph, chip, dtype)


def _attention(node: Node, graph: Graph, chip: Chip, dtype: str) -> tuple[Shape, Mapping, tuple[Buffer, ...]]:
    q, k, v = (dims(graph, name) for name in node.inputs[:3])
    given = attributes(node)
    heads = given.integer("heads")
    kv_heads = given.integer("kv_heads") or heads
    d, dv = q[2] // heads, v[2] // kv_heads
    masked = (len(node.inputs) > 3 and bool(node.inputs[3])) or given.flag("causal")
    extra = (q[0], heads, kv_heads, q[1], k[1], d, dv, int(masked))
    size = ELEMENT_BYTES[dtype]
    shape = Shape(
        kind="attention",
        dtype=dtype,
        element_bytes=size,
        grid=(q[0], q[1], 1, heads * dv),
        source=(q[0], q[1], 1, q[2]),
        extra=extra,
    )
    least = 0
    head_cores = min(chip.cores.count, kv_heads)
    share = chip.cores.count // head_cores  # what is left shares out the batch, or the query tiles of a single image
    by_batch = min(share, q[0]) if q[0] > 1 else 1
    wanted = ceil_div(q[1], share) if q[0] == 1 else q[1]
    for tq in sorted({q[1], wanted, *(1 << i for i in range(14) if 1 << i < q[1])}, reverse=True):
        if tq > wanted:
            continue
        pieces = _attention_pieces(tq, extra, size, 2 if q[0] * heads > 1 or tq < q[1] else 1)
        buffers, least = _place(pieces, chip)
        if buffers is not None:
            second = by_batch if q[0] > 1 else min(share, ceil_div(q[1], tq))
            axis = "b" if q[0] > 1 else "p"
            mapping = Mapping(
                1, tq, 1, heads * dv, q[2], rows_cores=head_cores, channel_cores=second, core_axis=axis,
                slots=pieces[0].slots
            )  # fmt: skip
            return shape, mapping, buffers
    raise _refuse(node, chip, least)


def _attention_pieces(tq: int, extra: tuple[int, ...], size: int, slots: int) -> list[Piece]:
    _, _, _, _, lk, d, dv, masked = extra
    rows = tq + 1  # one more row of ones: column sums for the zero point of the weights
    tiles = ATTENTION_TILES * tq * lk
    pieces = [
        Piece("query", "local", tq * d * size, slots, 0),
        Piece("keys", "local", lk * d * size, slots, 1),
        Piece("values", "local", lk * dv * size, slots, 1),
        Piece("tables", "local", TABLE_BYTES, 1, 2),
        Piece("mask", "local", tq * lk * masked, slots, 2),
        Piece("weights", "local", rows * lk * size, 1, 3),
        Piece("output", "local", tq * dv * size, slots, 4),
        Piece("scores", "accumulator", tiles, 1, 0),
        Piece("mixed", "accumulator", rows * dv, 1, 0),
        Piece("scratch", "accumulator", ROW_WORDS * tq, 1, 0),
    ]
    return [p for p in pieces if p.size]


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
    least = 0
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
        buffers, least = _place(pieces, chip)
        if buffers is not None:
            return shape, Mapping(rows, steps, 1, hidden, features, rows_cores=1, core_axis="b"), buffers
    raise _refuse(node, chip, least)


def _place(pieces: list[Piece], chip: Chip) -> tuple[tuple[Buffer, ...] | None, int]:
    """Return the buffers, or None and the bytes that are missing room."""
    bank, found = bank_bytes(chip), list[Buffer]()
    at = words = region = 0
    for piece in pieces:
        if piece.memory == "accumulator":
            found.append(Buffer(piece.name, piece.memory, words, piece.size, piece.slots))
            words += piece.size * piece.slots
            continue
        if piece.region != region:
            at, region = -(-at // bank) * bank, piece.region
        size = -(-piece.size // LINE) * LINE
        found.append(Buffer(piece.name, piece.memory, at, size, piece.slots))
        at += size * piece.slots
    if at > chip.local.size_bytes or words * 4 > chip.local.accumulator_bytes:
        return None, max(at, words * 4 * chip.local.size_bytes // max(1, chip.local.accumulator_bytes))
    return tuple(found), at


def _refuse(node: Node, chip: Chip, need: int) -> DoesNotFit:
    limit = (
        f"chip '{chip.name}' has {chip.local.size_bytes} bytes and {chip.local.accumulator_bytes} bytes of accumulator"
    )
    fact = f"one row of {node.op} needs about {need} bytes of local memory"
    return DoesNotFit("OC2104", node.name, fact, limit=limit, next="Try a shorter sequence, or a chip with more memory")
