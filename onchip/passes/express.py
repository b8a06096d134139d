"""Express ops that the machine has no instructions for by ops that it has, without changing a bit.

In:       a Graph in the chip's dtype.
Out:      a Graph with the same inputs, outputs and values. A node that becomes several gives its name to the one that
          does the work, and its output's name to the last.
Promises: in integers the values are the same bit for bit: what is copied stays copied, sums keep their terms.
Does not: express what it has no exact form for (bicubic `resize`, LiteRT's bilinear one); that is refused later.

Before -> after:
    resize nearest, pad by cells of x      reshape to rows, gather with constant row numbers, reshape
    resize bilinear                        blend along the width to 16 bits, blend along the height
    depth_to_space, space_to_depth         reshape, transpose, reshape
    reduce_max over a whole picture        max_pool2d with a window of its size, reshape
    conv_transpose2d with stride s         conv2d with s x s times the channels, one set per phase, then depth to space
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Graph, Node, attributes_of, constant_tensor
from onchip.ops.interpolate import KEPT_BITS, WEIGHT_BITS, integer_weights, nearest_litert
from onchip.ops.picture import nearest_index, taps_of
from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes, AttributeValue, Quantization
from onchip.passes.draft import Draft
from onchip.passes.express_moves import MOVES
from onchip.passes.phases import phase_weights, phases

Ids = NDArray[np.int64]


def express(graph: Graph) -> Graph:
    """Return the graph in ops that the machine has."""
    rules = RULES | MOVES
    if not any(node.op in rules for node in graph.nodes):
        return graph
    draft = Draft(graph)
    draft.nodes = []
    for node in graph.nodes:
        rule = rules.get(node.op)
        sized = all(isinstance(d, int) for name in (node.inputs[0], *node.outputs) for d in draft.shape(name))
        chain = Chain(draft, node)
        if rule is None or not sized or not rule(chain):
            draft.nodes.append(node)
        else:
            draft.nodes += chain.finish()
    return draft.finish()


class Chain:
    """The nodes that take the place of one, one behind the other, while they grow."""

    def __init__(self, draft: Draft, node: Node) -> None:
        self.draft, self.node, self.at = draft, node, node.inputs[0]
        self.nodes: list[Node] = []
        self.attributes: Attributes = attributes_of(node, look_up_op(node.op, node.name))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(d) for d in self.draft.shape(self.at))

    @property
    def made(self) -> tuple[int, ...]:
        """Return the shape of the node's own output."""
        return tuple(int(d) for d in self.draft.shape(self.node.outputs[0]))

    def then(
        self, op: str, made: tuple[int, ...], /, *inputs: str, is_main: bool = False, **attributes: AttributeValue
    ) -> None:
        """Add a node behind the last one."""
        name = self.node.name if is_main else self.draft.fresh(f"{self.node.name}.{op}")
        out = self.draft.add_tensor(f"{self.node.outputs[0]}.{op}", made, self.node.outputs[0])
        given = tuple(sorted(attributes.items()))
        self.nodes.append(Node(name, op, (self.at, *inputs), (out,), given))
        self.at = out

    def reshape(self, *shape: int) -> None:
        """View what is there in another shape."""
        if shape != self.shape:
            self.then("reshape", shape, shape=shape)

    def transpose(self, *perm: int, is_main: bool = False) -> None:
        if perm != tuple(range(len(perm))):
            self.then("transpose", tuple(self.shape[a] for a in perm), is_main=is_main, perm=perm)

    def pick(self, indices: list[Ids]) -> None:
        """Copy, along each of the first axes, the cells with these numbers."""
        shape, n = self.shape, len(indices)
        ids = np.ravel_multi_index(np.ix_(*indices), shape[:n]).reshape(-1)
        behind = shape[n:]
        table = self.draft.add_constant(f"{self.node.name}.cells", (len(ids),), ids, "i64")
        self.reshape(prod(shape[:n]), prod(behind))
        self.then("gather", (len(ids), prod(behind)), table, is_main=True, axis=0)
        self.reshape(*(len(i) for i in indices), *behind)

    def finish(self) -> list[Node]:
        """Give the last node the output of the node that goes; an empty chain copies."""
        if not self.nodes:
            self.then("identity", self.shape, is_main=True)
        last = self.nodes[-1]
        del self.draft.tensors[last.outputs[0]]
        self.nodes[-1] = replace(last, outputs=self.node.outputs)
        return self.nodes


def _resize(chain: Chain) -> bool:
    attributes, (b, h, w, _) = chain.attributes, chain.shape
    is_litert = "rounding" in attributes and attributes.text("rounding") == "double"
    if attributes.text("mode") != "nearest" and (h, w) != (1, 1):
        return attributes.text("mode") == "bilinear" and not is_litert and _bilinear(chain)
    index = nearest_litert if is_litert else nearest_index
    if (h, w) == (1, 1):
        rows, columns = (np.zeros(n, np.int64) for n in attributes.integers("sizes"))
    else:
        rows, columns = index(attributes, h, 0), index(attributes, w, 1)
    chain.pick([np.arange(b), rows, columns])
    return True


def _bilinear(chain: Chain) -> bool:
    """Blend columns, then rows: KEPT_BITS more bits stand between the two (onchip/ops/interpolate.py)."""
    draft, (b, h, w, c) = chain.draft, chain.shape
    q = draft.tensors[chain.at].quantization
    for axis, size, kept in ((2, w, KEPT_BITS), (1, h, 0)):
        cells, real = taps_of(chain.attributes, size, axis - 1)
        data = real.T.astype(np.float32) if q is None else integer_weights(real).T.astype(np.int32)
        weights = draft.add_constant(f"{chain.node.name}.weights", data.shape, data, "f32" if q is None else "i32")
        ids = [draft.add_constant(f"{chain.node.name}.cells", (len(cells),), own, "i64") for own in cells.T]
        shape = (b, h, len(cells), c) if axis == 2 else chain.made
        if q is None:
            chain.then("blend", shape, weights, *ids, is_main=axis == 1, axis=axis)
            continue
        shift = WEIGHT_BITS - KEPT_BITS if kept else WEIGHT_BITS + KEPT_BITS
        dtype = "i16" if kept else "i8"
        chain.then("blend", shape, weights, *ids, is_main=axis == 1, axis=axis, shift=shift, dtype=dtype)
        if kept:
            finer = Quantization((q.scale[0] / 2**kept,), (q.zero_point[0] << kept,))
            draft.tensors[chain.at] = replace(draft.tensors[chain.at], dtype="i16", quantization=finer)
    return True


def _pad(chain: Chain) -> bool:
    attributes, shape = chain.attributes, chain.shape
    mode, pads = attributes.text("mode"), attributes.integers("pads")
    pairs = list(zip(pads[::2], pads[1::2], strict=True))
    if mode == "constant":
        return False
    last = max((axis for axis, pair in enumerate(pairs) if any(pair)), default=-1)
    cells = [np.pad(np.arange(shape[a]), pairs[a], mode=mode) for a in range(last + 1)]  # pyright: ignore
    if cells:
        chain.pick(cells)
    return True


def _depth_to_space(chain: Chain) -> bool:
    n, (b, h, w, c) = chain.attributes.integer("block"), chain.shape
    if chain.attributes.text("mode") == "CRD":
        chain.reshape(b * h * w, c // (n * n), n * n)
        chain.transpose(0, 2, 1)
    to_space(chain, (b, h, w), (n, n), c // (n * n))
    return True


def to_space(
    chain: Chain, size: tuple[int, int, int], block: tuple[int, int], channels: int, *, is_main: bool = True
) -> None:
    """Spread channels (row in block, column in block, channel) over blocks of cells."""
    (b, h, w), (p, q) = size, block
    chain.reshape(b * h, w, p, q * channels)
    chain.transpose(0, 2, 1, 3, is_main=is_main)
    chain.reshape(b, h * p, w * q, channels)


def _space_to_depth(chain: Chain) -> bool:
    n, (b, h, w, c) = chain.attributes.integer("block"), chain.shape
    chain.reshape(b * h // n, n, w // n, n * c)
    chain.transpose(0, 2, 1, 3, is_main=True)
    if chain.attributes.text("mode") == "CRD":
        chain.reshape(b * h * w // (n * n), n * n, c)
        chain.transpose(0, 2, 1)
    chain.reshape(b, h // n, w // n, n * n * c)
    return True


def _reduce_max(chain: Chain) -> bool:
    shape, axes = chain.shape, chain.attributes.integers("axes")
    quantized = [chain.draft.tensors[name].quantization for name in (chain.at, chain.node.outputs[0])]
    if len(shape) != 4 or sorted(a % 4 for a in axes) != [1, 2] or quantized[0] != quantized[1]:
        return False
    size = shape[1:3]
    chain.then("max_pool2d", (shape[0], 1, 1, shape[3]), is_main=True, kernel=size, stride=size)
    chain.reshape(*chain.made)
    return True


def _transposed(chain: Chain) -> bool:
    """y[s i + f] is a convolution of x with the taps of phase f; phases are channels until they are spread."""
    draft, node, attributes = chain.draft, chain.node, chain.attributes
    (b, h, w, _), (_, p, q, k) = chain.shape, chain.made
    weights = draft.tensors[node.inputs[1]]
    if weights.constant is None:
        return False
    stride = attributes.integers("stride")
    _, r, s, _ = (int(d) for d in weights.shape)
    rows, columns = (phases(attributes, n, i, (h, w)[i], (p, q)[i]) for i, n in ((0, r), (1, s)))
    made = rows.blocks, columns.blocks
    new = _weights(chain, phase_weights(weights.constant.data, rows, columns, attributes.integer("groups")),
                   (k * stride[0] * stride[1], rows.taps, columns.taps, chain.shape[3]))  # fmt: skip
    bias = tuple(_repeated(chain, name, stride[0] * stride[1]) for name in node.inputs[2:3] if name)
    kept = {key: value for key, value in node.attributes if key in ("activation", "rounding")}
    channels = stride[0] * stride[1] * k
    chain.then("conv2d", (b, *made, channels), new, *bias, is_main=True, padding=(*rows.padding, *columns.padding),
               **kept)  # fmt: skip
    to_space(chain, (b, *made), (stride[0], stride[1]), k, is_main=False)
    for axis, extent in ((1, p), (2, q)):
        if chain.shape[axis] != extent:
            shape = (*chain.shape[:axis], extent, *chain.shape[axis + 1 :])
            chain.then("slice", shape, axis=axis, start=0, stop=extent)
    return True


def _weights(chain: Chain, data: NDArray[np.generic] | None, shape: tuple[int, int, int, int]) -> str:
    return _constant(chain, chain.node.inputs[1], data, shape)


def _repeated(chain: Chain, name: str, times: int) -> str:
    """Repeat a bias for every phase."""
    tensor = chain.draft.tensors[name]
    data = None if tensor.constant is None or tensor.constant.data is None else np.tile(tensor.constant.data, times)
    return _constant(chain, name, data, (int(tensor.shape[0]) * times,))


def _constant(chain: Chain, like: str, data: NDArray[np.generic] | None, shape: tuple[int, ...]) -> str:
    """Add a constant in the place of another: its scales are repeated as often as its first axis."""
    old, name = chain.draft.tensors[like], chain.draft.fresh(f"{like}.phases")
    q = old.quantization
    if q is not None and q.axis is not None:
        times = shape[0] // len(q.scale)
        q = Quantization(q.scale * times, q.zero_point * times, q.axis)
    chain.draft.tensors[name] = constant_tensor(name, shape if data is None else data, old.dtype, q)
    return name


RULES: dict[str, Callable[[Chain], bool]] = {
    "resize": _resize,
    "pad": _pad,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "reduce_max": _reduce_max,
    "conv_transpose2d": _transposed,
}
