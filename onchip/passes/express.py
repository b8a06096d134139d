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
    group_norm, instance_norm              a layer_norm for each group, concat
    conv_transpose2d with stride s         conv2d with s x s times the channels, one set per phase, then depth to space
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Graph, constant_tensor
from onchip.ops.interpolate import KEPT_BITS, WEIGHT_BITS, integer_weights, nearest_litert
from onchip.ops.picture import nearest_index, taps_of
from onchip.ops.types import Quantization
from onchip.passes.chain import Chain
from onchip.passes.draft import Draft
from onchip.passes.express_moves import MOVES
from onchip.passes.grouped_norms import norm_of_groups
from onchip.passes.phases import phase_weights, phases


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
    "group_norm": norm_of_groups,
    "instance_norm": norm_of_groups,
}
