"""A SCALE-Sim topology (CSV) as a Graph: a list of layers that do not feed each other.

In:       a path of a .csv file with the columns `Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width,
          Channels, Num Filter, Strides,` or `Layer, M, N, K,`.
Out:      a Graph in which every layer reads an input of its own and is an output: conv2d without padding (IFMAP sizes
          hold it already), linear for M x K by K x N and for filters as wide as their input. Images have an open batch.
Promises: the file is untrusted: limited in bytes, layers and sizes. As many MACs as SCALE-Sim counts: it rounds the
          rows of the output up, so the last window may reach over the edge (one-sided padding). Layers with DP in their
          name are depthwise, as there. Sparse rows, and anything that is no number, are refused with their line.
Does not: know values: weights have none. A repeated name gets a number.
Sources:  https://scale-sim-project.readthedocs.io/en/latest/topology.html; scalesim/topology_utils.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from onchip.errors import BadFile, NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph

LIMIT_BYTES = 2**20
LIMIT_LAYERS = 2000
LARGEST = 2**20  # of a number in the file
LARGEST_TENSOR = 2**36  # elements
CONV = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
GEMM = ("M", "N", "K")
HEADERS = f"The first line is `Layer name, {', '.join(CONV)},` or `Layer, {', '.join(GEMM)},`"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: where it stands, the layer's name, and its numbers in the order of the header."""

    where: str
    name: str
    numbers: tuple[int, ...]


def read_topology(path: str | Path) -> Graph:
    """Read a file. Raises BadFile (OC1262) and NotSupported (OC1263)."""
    where, stem = str(path), Path(path).stem
    lines = [(i, line.strip()) for i, line in enumerate(_text(Path(path)).splitlines(), 1)]
    filled = [(i, line) for i, line in lines if line.strip(", \t")]
    if not filled:
        raise BadFile("OC1262", where, "the file has no lines", next=HEADERS)
    header = [cell.strip().lower() for cell in filled[0][1].split(",")]
    is_gemm = header[1:4] == ["m", "n", "k"]
    if not is_gemm and (len(header) < 8 or "ifmap" not in header[1]):
        raise BadFile("OC1262", where, f"line {filled[0][0]} is no header of a topology", limit=HEADERS)
    if len(filled) - 1 > LIMIT_LAYERS:
        raise BadFile("OC1262", where, f"{len(filled) - 1} layers", limit=f"At most {LIMIT_LAYERS} are read")
    if len(filled) == 1:
        raise BadFile("OC1262", where, "there is no layer below the header", next="Add a line for each layer")
    builder, known = GraphBuilder(stem), dict[str, int]()
    for line, text in filled[1:]:
        row = _row(f"{where}: line {line}", text, header, GEMM if is_gemm else CONV, known)
        (_add_product if is_gemm else _add_convolution)(builder, row)
    return builder.finish()


def _text(path: Path) -> str:
    where = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile("OC1262", where, f"it cannot be read: {reason}", next="Check the path") from None
    if len(raw) > LIMIT_BYTES:
        raise BadFile("OC1262", where, "it is larger than a topology", limit=f"At most {LIMIT_BYTES} bytes are read")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile("OC1262", where, f"it is no UTF-8 text (byte {error.start})") from None


def _row(where: str, text: str, header: list[str], keys: tuple[str, ...], known: dict[str, int]) -> Row:
    """Return a line as a row; a second stride counts where the header has a column for it."""
    cells = [cell.strip() for cell in text.split(",")]
    name = "".join(c for c in cells[0] if c.isprintable())[:80] or f"layer{len(known)}"
    known[name] = known.get(name, 0) + 1
    while known[name] > 1 and f"{name}.{known[name]}" in known:
        known[name] += 1
    name = name if known[name] == 1 else f"{name}.{known[name]}"
    known.setdefault(name, 1)
    _refuse_sparse(where, cells, header)
    n = len(keys) + (keys is CONV and len(header) > 8 and header[8].startswith("stride"))
    names = (*keys, "Stride Width")
    return Row(where, name, tuple(_number(where, cells, i, names[i - 1]) for i in range(1, n + 1)))


def _number(where: str, cells: list[str], i: int, key: str) -> int:
    text = cells[i] if i < len(cells) else ""
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= LARGEST:
        fact = f"{key} is '{text[:40]}'" if text else f"{key} is missing"
        raise BadFile("OC1262", where, fact, limit=f"It is a whole number from 1 to {LARGEST}")
    return int(text)


def _refuse_sparse(where: str, cells: list[str], header: list[str]) -> None:
    """Refuse weights of which only n in m are kept; 1:1 is dense."""
    for key, cell in zip(header, cells, strict=False):
        n, mark, m = cell.partition(":")
        if key.startswith("sparsity") and mark and n.strip() != m.strip():
            hint = "Take the column out to price dense weights"
            raise NotSupported("OC1263", where, f"sparsity {cell[:20]}", limit="weights are dense", next=hint)


def _add_product(builder: GraphBuilder, row: Row) -> None:
    m, n, k = row.numbers
    _limit(row, m * k, n * k, m * n)
    _linear(builder, row, (1, m, k), n)


def _linear(builder: GraphBuilder, row: Row, shape: tuple[int | str, ...], n: int) -> None:
    x = builder.input(f"{row.name}.input", shape)
    w = builder.constant(f"{row.name}.weight", (n, shape[-1]), "f32")
    b = builder.constant(f"{row.name}.bias", (n,), "f32")
    builder.output(str(builder.node("linear", (x, w, b), row.name)))


def _add_convolution(builder: GraphBuilder, row: Row) -> None:
    h, w, r, s, c, k, down, *rest = row.numbers
    along = rest[0] if rest else down
    if r > h or s > w:
        raise BadFile("OC1262", row.where, f"a filter of {r} x {s} over an input of {h} x {w}", next="Swap the columns")
    is_depthwise = "DP" in row.name
    filters = c * k if is_depthwise else k
    p, q = -(-(h - r) // down) + 1, -(-(w - s) // along) + 1
    _limit(row, h * w * c, r * s * c * k, p * q * filters)
    if r == 1 and s == w and c == 1 and (down == 1 or h == 1):
        _linear(builder, row, ("batch", h, w), k)
        return
    x = builder.input(f"{row.name}.input", ("batch", h, w, c))
    weight = builder.constant(f"{row.name}.weight", (filters, r, s, 1 if is_depthwise else c), "f32")
    bias = builder.constant(f"{row.name}.bias", (filters,), "f32")
    over = (0, (p - 1) * down + r - h, 0, (q - 1) * along + s - w)
    made = builder.node(
        "conv2d", (x, weight, bias), row.name, stride=(down, along), padding=over, groups=c if is_depthwise else 1
    )
    builder.output(str(made))


def _limit(row: Row, *elements: int) -> None:
    if max(elements) > LARGEST_TENSOR:
        limit = f"At most {LARGEST_TENSOR} are read"
        raise BadFile("OC1262", row.where, f"a tensor of {max(elements)} elements", limit=limit)
