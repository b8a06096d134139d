"""How large a kernel's buffers are and where they lie: one formula for the search (arrays) and for the plan (numbers).

In: a Shape and tile sizes, as integers or as arrays of candidates. Out: sizes, and Buffer records with addresses.
Regions: source tiles, weights, what the vector unit reads beside them, and output tiles. Each region starts on a bank
of its own: a bank has one read and one write port, the load unit writes and one unit reads each of the first three
regions, and the vector unit writes and the store unit reads the fourth, so no port ever serves two units and nothing
arbitrates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onchip.chip import Chip
from onchip.ir.plan import Buffer, Mapping, Shape, ceil_div

ALIGNMENT = 64  # bytes; the widest port of the catalog
PARAMETER_BYTES, BIAS_BYTES = 12, 4  # a lane's bias, multiplier and shift; a float lane's bias
ROW_WORDS = 16  # accumulator words per row that row-wise kernels keep for maxima, sums and reciprocals


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one slot of each local buffer, and words of one accumulator tile; integers or arrays alike."""

    source: Any
    weights: Any
    parameters: Any
    sides: Any
    output: Any
    sums: Any
    scratch: Any


@dataclass(frozen=True, slots=True)
class Piece:
    """A buffer of a sequence kernel before it has an address; pieces of one region share banks."""

    name: str
    memory: str
    size: int
    slots: int
    region: int


def sizes(
    shape: Shape, tb: Any, tp: Any, tq: Any, tn: Any, tc: Any, *, kept: Any = 1, line: int = ALIGNMENT
) -> Sizes:  # fmt: skip
    """Return the sizes of a tile's buffers, rounded up to lines; with lines of one byte they are what a tile moves.

    `kept` is the number of channel tiles whose sums stay in the accumulator.
    """
    (r, s), es = shape.window, shape.element_bytes
    height = (tp - 1) * shape.stride[0] + (r - 1) * shape.dilation[0] + 1
    width = (tq - 1) * shape.stride[1] + (s - 1) * shape.dilation[1] + 1
    rows = tb * tp * tq
    matmul = shape.kind == "matmul"
    channels = tc if matmul else tn
    lane_bytes = PARAMETER_BYTES if shape.is_integer else BIAS_BYTES

    ones, row_sums = (0, 0) if shape.second is None else (shape.second.has_ones, shape.second.sums_rows)

    def up(n_bytes: Any) -> Any:
        return -(-n_bytes // line) * line

    return Sizes(
        source=up((tb * height * width + ones) * channels * es) * shape.loads_source,
        weights=up(r * s * tc * tn * es) * matmul,
        parameters=(up(lane_bytes * tn) + up(4 * tn) * shape.whole_lanes) * shape.parameters_per_lane
        + (0 if matmul else up(r * s * tn * es)),
        sides=up(rows * tn * shape.side_bytes) * shape.side_inputs,
        output=up(ceil_div(tp, shape.pool[0]) * tb * ceil_div(tq, shape.pool[1]) * tn * es),
        sums=((rows + ones) * tn + rows * row_sums) * matmul * kept,
        scratch=rows * tn * shape.scratch + ROW_WORDS * rows * shape.whole_lanes,
    )


def _align(n_bytes: Any) -> Any:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def slots_of(chip: Chip) -> tuple[int, ...]:
    """Return how many slots buffers may have, the most first: one where nothing moves while the units compute."""
    return (2, 1) if chip.overlap.memory_compute > 0 else (1,)


def regions(shape: Shape, size: Sizes, slots: int) -> tuple[Any, Any, Any, Any]:
    """Return the bytes of the four regions."""
    side = (size.parameters + size.sides) * slots + _align(shape.table_bytes)
    return size.source * slots, size.weights * slots, side, size.output * slots


def local_bytes(shape: Shape, size: Sizes, slots: int, chip: Chip) -> Any:
    """Return the local memory that a tile needs, regions rounded up to whole banks."""
    bank = bank_bytes(chip)
    return sum(-(-region // bank) * bank for region in regions(shape, size, slots))


def bank_bytes(chip: Chip) -> int:
    """Return the bytes of a bank; a memory of fewer than four banks has no bank rule."""
    return chip.local.size_bytes // chip.local.banks if chip.local.banks >= 4 else ALIGNMENT


def place_buffers(shape: Shape, mapping: Mapping, chip: Chip) -> tuple[Buffer, ...]:
    """Give each buffer of a kernel its address."""
    m, bank = mapping, bank_bytes(chip)
    size = sizes(shape, m.tb, m.tp, m.tq, m.tn, m.tc, kept=m.kept(shape))
    found: list[Buffer] = []
    start = 0
    side = (
        ("parameters", size.parameters),
        *((f"side{i}", size.sides // shape.side_inputs) for i in range(shape.side_inputs)),
    )
    for region in ((("source", size.source),), (("weights", size.weights),), side, (("output", size.output),)):
        at = start
        for name, n_bytes in region:
            if n_bytes:
                found.append(Buffer(name, "local", at, int(n_bytes), m.slots))
                at += int(n_bytes) * m.slots
        if region is side and shape.table_bytes:
            found.append(Buffer("tables", "local", at, int(_align(shape.table_bytes)), 1))
            at = found[-1].end
        start = -(-at // bank) * bank
    return (*found, *_accumulator(size, m, chip))


def _accumulator(size: Sizes, mapping: Mapping, chip: Chip) -> tuple[Buffer, ...]:
    words = chip.local.accumulator_bytes // 4
    found: list[Buffer] = []
    slots = 2 if mapping.slots == 2 and 2 * size.sums + size.scratch <= words else 1
    if size.sums:
        found.append(Buffer("sums", "accumulator", 0, int(size.sums), slots))
    if size.scratch:
        found.append(Buffer("scratch", "accumulator", int(size.sums) * slots, int(size.scratch), 1))
    return tuple(found)


def place_pieces(pieces: list[Piece], chip: Chip) -> tuple[tuple[Buffer, ...], int, int]:
    """Return the buffers one behind the other, and the bytes of local memory and accumulator that they take."""
    bank, found = bank_bytes(chip), list[Buffer]()
    at = words = region = 0
    for piece in pieces:
        if piece.memory == "accumulator":
            found.append(Buffer(piece.name, piece.memory, words, piece.size, piece.slots))
            words += piece.size * piece.slots
            continue
        if piece.region != region:
            at, region = -(-at // bank) * bank, piece.region
        found.append(Buffer(piece.name, piece.memory, at, _align(piece.size), piece.slots))
        at += found[-1].size * piece.slots
    return tuple(found), at, 4 * words


def fits(chip: Chip, local: int, accumulator: int) -> bool:
    """Return whether so many bytes of local memory and accumulator are there."""
    return local <= chip.local.size_bytes and accumulator <= chip.local.accumulator_bytes
