"""A kernel's constants as the chip stores them: weights in tile order, lane parameters, lookup tables.

In: the graph's constants. Out: addresses in far memory, and the bytes when the program is to be run. Weights stand as a
matrix [taps * C, N], the taps of one depth tile together: row (k tile, r, s, c in tile). Lane parameters are (bias,
multiplier, shift) with the source's zero point folded in: bias - zero_x * sum(w). Sources: docs/arithmetic.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Node, attributes_of
from onchip.ir.plan import Kernel
from onchip.lowering import norms, picture_steps, rowwise
from onchip.lowering.context import TYPES, Context, as_bytes, floats_as
from onchip.numerics import quantize_multipliers
from onchip.ops.cost import is_table
from onchip.ops.registry import look_up_op
from onchip.ops.requantizing import f32_multipliers, real_multipliers

LINE = 64  # bytes; parts of the parameter buffer start on such a line
TABLE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """Addresses of a kernel's constants; per_lane holds (name, address, bytes per lane of a row)."""

    weights: int | None = None
    per_lane: tuple[tuple[str, int, int], ...] = ()
    lane_rows: tuple[int, ...] = ()
    tables: int | None = None
    table_places: tuple[tuple[str, int], ...] = ()  # node, where its tables start
    table_bytes: int = 0

    def rows(self, name: str) -> int:
        return next(r for (n, _, _), r in zip(self.per_lane, self.lane_rows, strict=True) if n == name)

    def offset(self, name: str, tn: int) -> int:
        """Return where a part starts in the parameter buffer of a tile of tn lanes."""
        at = 0
        for (part, _, width), rows in zip(self.per_lane, self.lane_rows, strict=True):
            if part == name:
                return at
            at += -(-rows * width * tn // LINE) * LINE
        raise KeyError(name)

    def table_offset(self, node: str) -> int:
        return dict(self.table_places)[node]


def store_constants(kernel: Kernel, context: Context) -> Stored:
    """Reserve (and, where wanted, build) all constants of a kernel."""
    nodes = context.nodes(kernel)
    anchor, shape, integer = nodes[0], kernel.shape, kernel.shape.dtype == "int8"
    n, taps = shape.grid[3], shape.window[0] * shape.window[1]
    size = shape.element_bytes
    weights = None
    if shape.kind == "matmul" and shape.second is None:
        n_bytes = taps * shape.source[3] * shape.blocks * n * size
        weights = context.constant(f"{kernel.name}.weights", n_bytes, lambda: _weights(kernel, anchor, context))
    lanes: list[tuple[str, int, int, int, Callable[[], NDArray[np.uint8]]]] = []
    if anchor.op in ("conv2d", "linear"):
        width = 12 if integer else 4
        lanes.append(("scale", width, 1, n * shape.blocks * width, lambda: _lane_parameters(kernel, anchor, context)))
    if anchor.op == "conv2d" and shape.kind == "vector":
        lanes.append(("taps", size, taps, n * taps * size, lambda: _depthwise(anchor, context)))
    lanes += (rowwise.lane_constants if integer else norms.float_lane_constants)(nodes, context)
    per_lane, rows = [], []
    for name, width, count, n_bytes, build in lanes:
        per_lane.append((name, context.constant(f"{kernel.name}.{name}", n_bytes, build), width))
        rows.append(count)
    address, places, n_bytes = _tables(kernel.name, nodes, context, integer=integer)
    return Stored(weights, tuple(per_lane), tuple(rows), address, places, n_bytes)


def _tables(
    kernel: str, nodes: list[Node], context: Context, *, integer: bool
) -> tuple[int | None, tuple[tuple[str, int], ...], int]:
    """Reserve the tables of all nodes as one constant; gives its address, where each node's start, and the bytes."""
    found: list[tuple[str, int, Callable[[], NDArray[np.uint8]]]] = []
    for node in nodes:
        own = picture_steps.picture_tables(node, context, integer=integer)
        if own is not None:
            found.append((node.name, *own))
        elif integer and (node.op in rowwise.TABLE_OPS or looks_up(node, context)):
            found.append((node.name, TABLE_BYTES, _table(node, context)))
    if not found:
        return None, (), 0
    starts = [sum(n_bytes for _, n_bytes, _ in found[:i]) for i in range(len(found) + 1)]
    build_all: Callable[[], Any] = lambda: np.concatenate([build() for _, _, build in found])  # noqa: E731
    address = context.constant(f"{kernel}.tables", starts[-1], build_all)
    return address, tuple((name, at) for (name, _, _), at in zip(found, starts, strict=False)), starts[-1]


def _weights(kernel: Kernel, node: Node, context: Context) -> NDArray[np.uint8]:
    """[N, R, S, C] (linear: [N, C]) -> [block, k tile, r, s, c, N]."""
    shape, tc = kernel.shape, kernel.mapping.tc
    n, c, (r, s) = shape.grid[3], shape.source[3], shape.window
    w = context.array(node.inputs[1]).reshape(shape.blocks, n, r, s, -1)
    if w.shape[4] != c:
        w = _diagonal(w, c)
    parts = [w[..., k : k + tc].transpose(0, 2, 3, 4, 1).reshape(shape.blocks, -1, n) for k in range(0, c, tc)]
    return _stored(np.concatenate(parts, axis=1), context)


def _stored(w: NDArray[np.generic], context: Context) -> NDArray[np.uint8]:
    """Return weights as the chip holds them: int8, or the program's float type."""
    dtype = context.plan.dtype
    return as_bytes(w) if dtype == "int8" else floats_as(TYPES[dtype], w)


def _diagonal(w: NDArray[np.generic], c: int) -> NDArray[np.generic]:
    """Give each group of a block its own channels: [block, N, R, S, C / groups] -> [block, N, R, S, C], zeros beside.

    The zeros are products that the array does beside the network's own.
    """
    blocks, n, r, s, own = w.shape
    wide = np.zeros((blocks, n, r, s, c), w.dtype)
    for g in range(c // own):
        rows = slice(g * n * own // c, (g + 1) * n * own // c)
        wide[:, rows, :, :, g * own : (g + 1) * own] = w[:, rows]
    return wide


def _depthwise(node: Node, context: Context) -> NDArray[np.uint8]:
    """[C, R, S, 1] -> [r * S + s, C]."""
    w = context.array(node.inputs[1])
    return _stored(w.reshape(w.shape[0], -1).T, context)


def _lane_parameters(kernel: Kernel, node: Node, context: Context) -> NDArray[np.uint8]:
    n = kernel.shape.grid[3] * kernel.shape.blocks
    if kernel.shape.dtype != "int8":
        name = node.inputs[2] if len(node.inputs) > 2 else ""
        return as_bytes(context.array(name).astype(np.float32) if name else np.zeros(n, np.float32))
    px, pw, py = (context.quantization(t) for t in (node.inputs[0], node.inputs[1], node.outputs[0]))
    w = context.array(node.inputs[1]).astype(np.int64)
    bias = np.zeros(n, np.int64)
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = context.array(node.inputs[2]).astype(np.int64)
    bias = bias - px.zero_point[0] * w.reshape(n, -1).sum(axis=1)
    if node.attribute("rounding", "single") == "fp32":
        multiplier = np.broadcast_to(f32_multipliers((px, pw), py), (n,)).astype(np.float32).view(np.int32)
        shift = np.zeros(n, np.int64)
    else:
        multiplier, shift = (np.broadcast_to(v, (n,)) for v in quantize_multipliers(real_multipliers((px, pw), py)))
    table = np.stack([bias, multiplier, shift], axis=1)
    return as_bytes((table & 0xFFFFFFFF).astype(np.uint32))


def _table(node: Node, context: Context) -> Callable[[], NDArray[np.uint8]]:
    if node.op in rowwise.TABLE_OPS:
        return lambda: rowwise.table(node, context)

    def build() -> NDArray[np.uint8]:
        """The op's integer meaning of every int8."""
        op = look_up_op(node.op, node.name)
        assert op.integer is not None
        given, made = ((context.quantization(name),) for name in (node.inputs[0], node.outputs[0]))
        values = op.integer(attributes_of(node, op), given, made, np.arange(-128, 128).astype(np.int8))[0]
        return as_bytes(np.asarray(values).astype(np.int32))

    return build


def looks_up(node: Node, context: Context) -> bool:
    """Return whether an int8 node is one table lookup."""
    given, made = (context.graph.tensor(name).quantization for name in (node.inputs[0], node.outputs[0]))
    return is_table(node.op, rescales=given != made)
