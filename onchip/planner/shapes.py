"""From a fused group of nodes to the Shape that decides its mapping.

In: the nodes of a group, the graph, the dtype. Out: a Shape. Leading dimensions that nothing distinguishes are folded
into rows, so a matrix product is the grid [1, M, 1, N]; a pointwise convolution too.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node
from onchip.ir.plan import Shape
from onchip.ops.conv import uneven_counts
from onchip.ops.cost import VectorCost, vector_cost
from onchip.planner.dimensions import ELEMENT_BYTES, attributes, dims
from onchip.planner.moves import blend_shape, concat_shape, pad_shape, slice_shape, transpose_shape
from onchip.planner.products import product_shape

WINDOWED = ("conv2d", "max_pool2d", "avg_pool2d")
MOVES = {
    "slice": slice_shape,
    "concat": concat_shape,
    "transpose": transpose_shape,
    "pad": pad_shape,
    "blend": blend_shape,
}


def shape_of(nodes: list[Node], sides: tuple[str, ...], graph: Graph, dtype: str, *, wide: int = 1) -> Shape:
    """Return the Shape of a group: its first node decides the kind, the others add vector work.

    `wide` is how many columns of the array groups of a convolution should fill together.
    """
    anchor, last = nodes[0], nodes[-1]
    integer = dtype == "int8"
    costs = [_cost(node, graph, integer=integer) for node in nodes]
    out = dims(graph, last.outputs[0])
    flat = all(prod(dims(graph, side)) == prod(out) for side in sides)
    rows, n = _rows(out, flat)
    plain = Shape(
        kind="vector", dtype=dtype, element_bytes=ELEMENT_BYTES[dtype], grid=(*rows, n), source=(*rows, n),
        passes=sum(c.passes for c in costs), scratch=max(c.scratch for c in costs) + int(len(nodes) > 1),
        side_bytes=ELEMENT_BYTES[dtype], side_inputs=len(sides), table_bytes=sum(c.table_bytes for c in costs),
        whole_lanes=any(c.row_wise for c in costs), parameters_per_lane=anchor.op in ("layer_norm", "rms_norm"),
    )  # fmt: skip
    if anchor.op in WINDOWED:
        return _windowed(anchor, nodes, graph, flat, replace(plain, blocks=_blocks(anchor, graph, wide)))
    if anchor.op == "linear":
        rows, n = _rows(dims(graph, anchor.outputs[0]), flat)
        source = (*rows, dims(graph, anchor.inputs[0])[-1])
        return replace(plain, kind="matmul", grid=(*rows, n), source=source, parameters_per_lane=True)
    if anchor.op == "rotary":
        return _rotary(anchor, graph, plain)
    if anchor.op == "matmul":
        return product_shape(anchor, graph, plain, flat=flat)
    if anchor.op in ("global_avg_pool", "mean"):
        return _mean(anchor, graph, plain)
    if anchor.op in MOVES:
        return MOVES[anchor.op](anchor, graph, plain)
    if anchor.op == "gather":
        return _gather(anchor, graph, plain)
    return plain


def _gather(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Rows of a table: as many as there are row numbers, each of all that lies behind the table's first axis."""
    axis = attributes(node).integer("axis")
    if axis:
        raise NotSupported("OC1309", node.name, f"gather along axis {axis}", limit="runs along axis 0")
    table, ids = (dims(graph, name) for name in node.inputs[:2])
    grid = (1, 1, prod(ids), prod(table[1:]))
    return replace(plain, grid=grid, source=grid, parameters_per_lane=False)


def _rotary(node: Node, graph: Graph, plain: Shape) -> Shape:
    """Heads as columns, whole heads as lanes; the angles of a row serve all its heads."""
    (b, length, width), heads = dims(graph, node.inputs[0]), attributes(node).integer("heads")
    grid, wide = (b, length, heads, width // heads), graph.tensor(node.inputs[1]).dtype == "i16"
    return replace(plain, grid=grid, source=grid, side_bytes=2 if wide else plain.side_bytes, one_image=True)


def _cost(node: Node, graph: Graph, *, integer: bool) -> VectorCost:
    given, made = (graph.tensor(name).quantization for name in (node.inputs[0], node.outputs[0]))
    fused, variant = (str(node.attribute(key, "none")) for key in ("activation", "approximate"))
    cost = vector_cost(
        node.op, integer=integer, rescales=given != made, activation=fused, approximate=variant
    )  # fmt: skip
    if cost is None:
        raise NotSupported("OC1305", node.name, f"op '{node.op}' has no instruction sequence for this dtype")
    return cost


def _rows(shape: tuple[int, ...], flat: bool) -> tuple[tuple[int, int, int], int]:
    """Return leading dimensions as (B, P, Q), and the last one."""
    lead, n = (shape[:-1], shape[-1]) if shape else ((), 1)
    if flat or len(lead) <= 1:
        return (1, prod(lead), 1), n
    if len(lead) == 2:
        return (lead[0], lead[1], 1), n
    return (prod(lead[:-2]), lead[-2], lead[-1]), n


def _integers(node: Node, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = node.attribute(key, default)
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def _blocks(node: Node, graph: Graph, wide: int) -> int:
    """Return how many blocks a convolution's groups stand in: as many groups together as fill the array's columns."""
    if node.op != "conv2d":
        return 1
    groups, n, c = attributes(node).integer("groups"), dims(graph, node.inputs[1])[0], dims(graph, node.inputs[0])[3]
    if groups == 1 or (groups == n and groups == c):
        return 1
    together = max(g for g in range(1, groups + 1) if groups % g == 0 and (g == 1 or g * n // groups <= wide))
    return groups // together


def _windowed(anchor: Node, nodes: list[Node], graph: Graph, flat: bool, plain: Shape) -> Shape:
    b, h, w, c = dims(graph, anchor.inputs[0])
    _, p, q, n = dims(graph, anchor.outputs[0])
    stride, padding = _integers(anchor, "stride", (1, 1)), _integers(anchor, "padding", (0, 0, 0, 0))
    dilation = _integers(anchor, "dilation", (1, 1))
    pool = (1, 1)
    if anchor.op == "conv2d":
        groups = attributes(anchor).integer("groups")
        window = dims(graph, anchor.inputs[1])[1:3]
        kind = "vector" if groups == c == n and c > 1 else "matmul"
        n, c = n // plain.blocks, c // plain.blocks
        pools = [node for node in nodes[1:] if node.op == "max_pool2d"]
        pool = _integers(pools[0], "kernel", (1, 1)) if pools else (1, 1)
    else:
        window, kind = _integers(anchor, "kernel", (1, 1)), "vector"
        plain = replace(plain, table_bytes=plain.table_bytes + _counts_bytes(anchor, graph, plain.dtype))
    if kind == "matmul" and window == (1, 1) and stride == (1, 1) and not any(padding) and pool == (1, 1) and flat:
        m = b * p * q
        return replace(plain, kind=kind, grid=(1, m, 1, n), source=(1, m, 1, c), parameters_per_lane=True)
    return replace(
        plain, kind=kind, grid=(b, p, q, n), source=(b, h, w, c), window=(window[0], window[1]), stride=(stride[0],
        stride[1]),
        dilation=(dilation[0], dilation[1]), padding=(padding[0], padding[2]), pool=(pool[0], pool[1]),
        parameters_per_lane=anchor.op == "conv2d",
    )  # fmt: skip


def _counts_bytes(node: Node, graph: Graph, dtype: str) -> int:
    """Return the bytes of the table of what each window of an average counts: nothing where all count the same."""
    (_, h, w, _), (_, p, q, _) = dims(graph, node.inputs[0]), dims(graph, node.outputs[0])
    if node.op != "avg_pool2d" or uneven_counts(attributes(node), (h, w), (p, q)) is None:
        return 0
    return p * q * (8 if dtype == "int8" else 4)


def _mean(node: Node, graph: Graph, plain: Shape) -> Shape:
    shape = dims(graph, node.inputs[0])
    axes = (
        (1, 2) if node.op == "global_avg_pool" else tuple(sorted(a % len(shape) for a in _integers(node, "axes", ())))
    )
    if axes == tuple(range(1, len(shape) - 1)) and len(shape) in (3, 4):
        window = (shape[1], shape[2]) if len(shape) == 4 else (shape[1], 1)
        grid, source = (shape[0], 1, 1, shape[-1]), (shape[0], window[0], window[1], shape[-1])
        return replace(plain, grid=grid, source=source, window=window, parameters_per_lane=False)
    fact = f"mean over axes {axes} of {len(shape)} dimensions"
    raise NotSupported("OC1309", node.name, fact, limit="runs over all axes between the first and the last")
