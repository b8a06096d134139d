"""The vector unit's instructions for each op on one tile.

In: a kernel's nodes in order, and the tile's views. Out: Ops. The first node reads the accumulator (matmul kernels) or
the source tile; every later one reads what the node before it left, and its other input from a side buffer. Integer
sequences follow docs/arithmetic.md instruction for instruction; float sequences have the same shape and are for timing.
"""

from __future__ import annotations

from math import inf

import numpy as np

from onchip.errors import NotSupported
from onchip.ir.graph import Node
from onchip.ir.plan import Kernel
from onchip.isa.floats import write_floats
from onchip.isa.memory import I8
from onchip.lowering.code import VectorCode, View
from onchip.lowering.context import TYPES, Context, attributes
from onchip.lowering.float_steps import FLOAT
from onchip.lowering.integer_steps import INTEGER
from onchip.lowering.step import Step, Tile
from onchip.lowering.tree import Loop, Op
from onchip.ops.copying import integer_of

POOLS = ("max_pool2d",)


def tile_code(kernel: Kernel, context: Context, tile: Tile) -> list[Op | Loop]:
    """Return the instructions of all the kernel's nodes on one tile."""
    table = INTEGER if tile.type == I8 else FLOAT
    nodes = context.nodes(kernel)
    code = VectorCode(tile.rows)
    has_sums = tile.sums is not None
    chain = tile.sums if tile.sums is not None else tile.scratch_tile(0)
    free = 0 if has_sums else int(len(nodes) > 1)
    for number, (node, (a, b)) in enumerate(zip(nodes, _operands(kernel, nodes, tile, chain), strict=True)):
        d = tile.output if number == len(nodes) - 1 else chain
        emit = table.get(node.op)
        if emit is None:
            raise NotSupported("OC1305", node.name, f"op '{node.op}' has no instruction sequence for this dtype")
        emit(Step(node, context, kernel, tile, code, a, b, d, free))
        if node.op in POOLS and number > 0:
            code.rows = tile.stored_rows
    return code.ops


def _operands(kernel: Kernel, nodes: list[Node], tile: Tile, chain: View) -> list[tuple[View, View | None]]:
    """Return (a, b) of each node, in the order of its inputs: what the node before it made, and sides in their order.

    The kernel's far inputs are those of its first node, then what each later node reads beside the chain.
    """
    made = [nodes[i - 1].outputs[0] if i else "" for i in range(len(nodes))]
    joined = [
        sum(bool(name) and name != before for name in node.inputs) for node, before in zip(nodes, made, strict=True)
    ]
    own = 1 + len(tile.sides) - sum(joined[1:])
    first = tile.sums if tile.sums is not None else tile.source
    assert first is not None and own >= 1
    sides = list(tile.sides)
    found: list[tuple[View, View | None]] = [(first, sides[0] if own > 1 else None)]
    if own == 2 and nodes[0].inputs[0] != kernel.inputs[0]:  # the source is the second input
        found = [(sides[0], first)]
    del sides[: own - 1]
    for node, before in zip(nodes[1:], made[1:], strict=True):
        views = [chain if name == before else sides.pop(0) for name in node.inputs if name]
        found.append((views[0], views[1] if len(views) > 1 else None))
    return found


def source_fill(kernel: Kernel, context: Context) -> int:
    """Return the word that stands outside the source tensor: zeros, the lowest value for a maximum, what a pad says."""
    node, type_ = context.graph.node(kernel.nodes[0]), TYPES[kernel.shape.dtype]
    if node.op == "concat":
        return 0
    if node.op == "avg_pool2d" and not attributes(node).flag("count_include_pad"):
        return 0  # sums are of the integers as they are
    real = {"max_pool2d": -inf, "pad": attributes(node).number("value") if node.op == "pad" else 0.0}.get(node.op, 0.0)
    if not kernel.shape.is_integer:
        least = write_floats(type_, np.array([real], np.float32))
        return int(np.resize(least, 4).view(np.uint32)[0])
    return (integer_of(real, context.quantization(node.inputs[0])) & 0xFF) * 0x01010101
