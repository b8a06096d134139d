"""How each op becomes its int8 self: one rule per op, and the `Rewrite` that they write into.

In:       a float node, with the quantization chosen for every activation.
Out:      one int8 node (more where a concat input needs `requantize`) with its int8 and int32 constants.
Promises: a rule reads the source graph and appends to its Rewrite, nothing else; constants without data stay so.
Does not: choose the activations' parameters (quantize.py).
Sources:  Jacob 2018, eq. 5 to 7 (weights, biases); LiteRT's int8 LSTM (cell at a power of two, gates Q3.12).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported, UsageError
from onchip.ir.graph import Graph, Node, Tensor, constant_tensor
from onchip.ops.cost import TABLES
from onchip.ops.types import FLOAT_DTYPES, AttributeValue, Quantization
from onchip.passes.calibrate import Calibration
from onchip.passes.ranges import grid_scales

Array = NDArray[Any]
SAME_SCALE = (
    *("max_pool2d", "avg_pool2d", "reshape", "transpose", "slice", "identity", "clip", "gather"),
    *("broadcast_to", "tile", "pad", "resize", "depth_to_space", "space_to_depth", "reduce_max"),
)
BIAS_LIMIT = 2.0**30  # of an int32 accumulator's 2^31: the other half is for the products


def activation_parameters(low: float, high: float) -> Quantization:
    """Give scale and zero point of int8 values over [low, high], which holds 0 (Jacob 2018, section 3)."""
    scale = float(np.float32((high - low) / 255.0))
    if not scale > 0.0:
        return Quantization((1.0 / 128.0,), (0,))
    return Quantization((scale,), (min(127, max(-128, round(-128.0 - low / scale))),))


def finite(name: str, data: Array) -> Array:
    """Give weights as float64. Raises UsageError where they are not finite."""
    if not np.isfinite(data).all():
        limit, fix = "A step needs a finite range", "Look for an overflow or a NaN in the weights"
        raise UsageError("OC1413", name, "its values are not finite", limit=limit, next=fix)
    return np.asarray(data, np.float64)


def symmetric_parameters(low: float, high: float) -> Quantization:
    """Give the scale of int8 values in 127 steps on either side of 0."""
    scale = float(np.float32(max(-low, high) / 127.0))
    return Quantization((scale if scale > 0.0 else 1.0 / 128.0,), (0,))


def wide_parameters(low: float, high: float) -> Quantization:
    """Give the scale of int16 values in 32,767 steps on either side of 0."""
    scale = float(np.float32(max(-low, high) / 32767.0))
    return Quantization((scale if scale > 0.0 else 2.0**-15,), (0,))


def widened(q: Quantization | None) -> Quantization:
    """Give int16 parameters that hold all of an int8 tensor."""
    assert q is not None
    return wide_parameters((-128 - q.zero_point[0]) * q.scale[0], (127 - q.zero_point[0]) * q.scale[0])


def symmetric(bound: Array) -> Array:
    """Give scales over [-bound, bound] in 127 steps; a channel of zeros takes the largest scale there is."""
    largest = float(bound.max(initial=0.0)) or 1.0
    return np.where(bound > largest * 2.0**-24, bound, largest).astype(np.float32).astype(np.float64) / 127.0


@dataclass(slots=True)
class Rewrite:
    """The int8 graph while it grows; local to one call of `quantize`."""

    graph: Graph
    chosen: Mapping[str, Quantization]
    calibration: Calibration
    rounding: str
    per_channel: bool = True
    held: Mapping[str, Quantization] = field(default_factory=dict[str, Quantization])  # activations in int16 (wide.py)
    is_gridded: bool = False  # weights lie on grids of their own (qdq.py), which are kept
    is_wide: bool = False  # the node that is being written reads int16
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    nodes: list[Node] = field(default_factory=list[Node])
    outside: set[str] = field(default_factory=set[str])  # float tensors on the host's side
    made: dict[str, str] = field(default_factory=dict[str, str])  # source tensor -> its int8 (int16) tensor
    forms: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])  # in another dtype; constants
    restored: dict[str, str] = field(
        default_factory=dict[str, str]
    )  # source tensor -> its float tensor after dequantize

    def __post_init__(self) -> None:
        for name in self.graph.inputs:
            self.tensors[name] = self.graph.tensor(name)
            if self._is_float(name):
                self.outside.add(name)

    def _is_float(self, name: str) -> bool:
        return self.graph.tensor(name).dtype in FLOAT_DTYPES

    def append(self, node: Node, *tensors: Tensor) -> None:
        """Add a node with the tensors that it makes or that it brings."""
        for t in tensors:
            self.tensors[t.name] = t
        self.nodes.append(node)

    def int8(self, name: str) -> str:
        """Name the int8 tensor of an activation or a constant operand; quantizes a host-side float at its first use.

        While a node that reads int16 is written, the int16 tensor.
        """
        source, wanted = self.graph.tensor(name), "i16" if self.is_wide else "i8"
        if source.constant is not None:
            if (name, wanted) not in self.forms:
                self.forms[name, wanted] = self.constant_operand(name)
            return self.forms[name, wanted]
        if name not in self.made:
            if name not in self.outside:
                raise NotSupported("OC1381", name, f"an int8 op cannot read a tensor of dtype {source.dtype}")
            q = self._typed(f"{name}.int8", name, self.chosen[name])
            self.append(Node(f"{name}.quantize", "quantize", (name,), (q.name,), (("dtype", q.dtype),)), q)
            self.made[name] = q.name
        return self._as(name, wanted)

    def _typed(self, new: str, name: str, quantization: Quantization) -> Tensor:
        """Make the tensor of an activation: int16 where it is held so, else int8."""
        wide = self.held.get(name)
        return Tensor(new, self.graph.tensor(name).shape, "i16" if wide else "i8", wide or quantization)

    def _as(self, name: str, wanted: str) -> str:
        """Name the tensor of an activation in the wanted dtype; requantizes at its first use."""
        own = self.tensors[self.made[name]]
        if own.dtype == wanted:
            return own.name
        if own.dtype not in ("i8", "i16") or (own.dtype == "i16" and name not in self.held):
            raise NotSupported(
                "OC1381", own.name, f"an int8 op cannot read a tensor of dtype {own.dtype}", next="Read y or h"
            )
        if (name, wanted) not in self.forms:
            q = self.chosen[name] if wanted == "i8" else widened(own.quantization)
            new = Tensor(f"{own.name}.as_{wanted}", own.shape, wanted, q)
            attributes = (("dtype", wanted), ("rounding", self.rounding))
            self.append(Node(f"{new.name}.requantize", "requantize", (own.name,), (new.name,), attributes), new)
            self.forms[name, wanted] = new.name
        return self.forms[name, wanted]

    def params(self, name: str) -> Quantization:
        """Give the quantization of the int8 (int16) tensor of a source activation or constant operand."""
        q = self.tensors[self.int8(name)].quantization
        assert q is not None
        return q

    def result(self, name: str, *, quantization: Quantization | None = None) -> Tensor:
        """Make the quantized tensor of a node's output; a graph output's name is left to its float."""
        q = f"{name}.int8" if name in self.graph.outputs else name
        if quantization is None and name not in self.chosen:
            fact = f"an int8 op cannot make a tensor of dtype {self.graph.tensor(name).dtype}"
            raise NotSupported("OC1381", name, fact)
        self.made[name] = q
        return self._typed(q, name, quantization or self.chosen[name])

    def constant(self, name: str, data: Array | None, *, like: str, dtype: str, quantization: Quantization) -> str:
        """Add a constant of the shape of the source tensor `like`, under `name`."""
        value = self.graph.tensor(like).shape if data is None else data
        self.tensors[name] = constant_tensor(name, value, dtype, quantization)
        return name

    def keep(self, name: str) -> str:
        """Bring a tensor over as it is: masks, token ids, float parameters of a norm, constants of a float node."""
        if not name:
            return name
        tensor = self.graph.tensor(name)
        if tensor.constant is not None and self.tensors.get(name, tensor).dtype != tensor.dtype:  # int8 has that name
            tensor = replace(tensor, name=f"{name}.float")
        self.tensors.setdefault(tensor.name, tensor)
        return tensor.name

    def constant_operand(self, name: str) -> str:
        """Quantize a constant operand (a position table, an embedding, a factor) per tensor; int8 is asymmetric."""
        constant = self.graph.tensor(name).constant
        assert constant is not None
        dtype, parameters = ("i16", wide_parameters) if self.is_wide else ("i8", activation_parameters)
        new = name if name not in self.tensors else f"{name}.int{dtype[1:]}"
        if constant.data is None:
            return self.constant(new, None, like=name, dtype=dtype, quantization=parameters(-1.0, 1.0))
        data = finite(name, constant.data)
        q = parameters(min(0.0, float(data.min(initial=0))), max(0.0, float(data.max(initial=0))))
        limits = np.iinfo(np.int16 if self.is_wide else np.int8)
        values = np.clip(np.rint(data / q.scale[0]) + q.zero_point[0], limits.min, limits.max).astype(limits.dtype)
        return self.constant(new, values, like=name, dtype=dtype, quantization=q)

    def copy(self, node: Node) -> None:
        """Bring a node over unchanged: integer bookkeeping, transposes on the host's side, what is kept in floats."""
        inputs = tuple(self.float(name) if name and self._is_float(name) else self.keep(name) for name in node.inputs)
        tensors = [self.graph.tensor(name) for name in node.outputs]
        self.outside.update(t.name for t in tensors if t.dtype in FLOAT_DTYPES)
        self.append(Node(node.name, node.op, inputs, node.outputs, node.attributes), *tensors)

    def float(self, name: str) -> str:
        """Name the float tensor of an activation or constant for the host's side; dequantizes at its first use."""
        if name in self.outside or name not in self.made or self.graph.tensor(name).constant is not None:
            return self.keep(name)
        if name not in self.restored:
            restored = name if name in self.graph.outputs else f"{name}.float"
            tensor = Tensor(restored, self.graph.tensor(name).shape, "f32")
            self.append(Node(f"{name}.dequantize", "dequantize", (self.made[name],), (restored,), ()), tensor)
            self.restored[name] = restored
        return self.restored[name]

    def finish(self) -> Graph:
        """Close the graph with the dequantized outputs."""
        for name in self.graph.outputs:
            self.keep(self.float(name))
        g = self.graph
        states = tuple((given, self.float(made) if self._is_float(made) else made) for given, made in g.states)
        return Graph(g.name, tuple(self.tensors.values()), tuple(self.nodes), g.inputs, g.outputs, states)


Rule = Callable[[Rewrite, Node], None]


def with_more(node: Node, **more: AttributeValue) -> tuple[tuple[str, AttributeValue], ...]:
    return tuple(sorted({**dict(node.attributes), **more}.items()))


def _plain(rewrite: Rewrite, node: Node) -> None:
    """Every float input int8, the output int8, nothing to round: tables, copies, softmax."""
    inputs = tuple(_operand(rewrite, name) for name in node.inputs)
    rewrite.append(Node(node.name, node.op, inputs, made_of(rewrite, node), node.attributes))


def _rounded(rewrite: Rewrite, node: Node) -> None:
    """As `_plain`, with the rounding of its requantization."""
    inputs = tuple(_operand(rewrite, name) for name in node.inputs)
    attributes = with_more(node, rounding=rewrite.rounding)
    rewrite.append(Node(node.name, node.op, inputs, made_of(rewrite, node), attributes))


def _operand(rewrite: Rewrite, name: str) -> str:
    is_float = bool(name) and rewrite.graph.tensor(name).dtype in FLOAT_DTYPES
    return rewrite.int8(name) if is_float else rewrite.keep(name)


def made_of(rewrite: Rewrite, node: Node) -> tuple[str, ...]:
    tensors = [rewrite.result(name) for name in node.outputs]
    for t in tensors:
        rewrite.tensors[t.name] = t
    return tuple(t.name for t in tensors)


def weights(rewrite: Rewrite, name: str, bias: str, x: Quantization) -> str:
    """Quantize weights [K, ...] symmetrically, per output channel or with one scale; gives the new constant's name.

    A channel's scale is widened where its bias at sx*sw would leave 30 bits.
    """
    constant = rewrite.graph.tensor(name).constant
    if constant is None:
        raise NotSupported("OC1382", name, "weights that are computed at run time have no int8 form", next="Use matmul")
    new = name if name not in rewrite.tensors else f"{name}.{len(rewrite.tensors)}"
    if constant.data is None:
        return rewrite.constant(new, None, like=name, dtype="i8", quantization=Quantization((1 / 127,), (0,)))
    data = finite(name, constant.data)
    flat = np.abs(data.reshape(len(data), -1)).max(axis=1, initial=0.0)
    grid = grid_scales(data.reshape(len(data), -1)) if rewrite.is_gridded else np.zeros_like(flat)
    scale = symmetric(flat if rewrite.per_channel else np.full_like(flat, flat.max(initial=0.0)))
    scale = np.where(grid > 0.0, grid, scale)
    b = data_of(rewrite, bias)
    if b is not None:
        scale = np.maximum(scale, np.abs(finite(bias, b)) / (x.scale[0] * BIAS_LIMIT))
    shape = (-1, *(1,) * (data.ndim - 1))
    values = np.clip(np.rint(data / scale.reshape(shape)), -127, 127).astype(np.int8)
    q = Quantization(tuple(scale.tolist()), (0,) * len(data), axis=0)
    return rewrite.constant(new, values, like=name, dtype="i8", quantization=q)


def data_of(rewrite: Rewrite, name: str) -> Array | None:
    constant = rewrite.graph.tensor(name).constant if name else None
    return None if constant is None or constant.data is None else np.asarray(constant.data, np.float64)


def biases(rewrite: Rewrite, name: str, x: Quantization, w: str) -> str:
    """Quantize a bias [K] to int32 at sx * sw (Jacob 2018, eq. 11); gives the new constant's name."""
    if not name:
        return ""
    qw = rewrite.tensors[w].quantization
    assert qw is not None
    scale = np.array(qw.scale) * x.scale[0]
    q = Quantization(tuple(scale.tolist()), (0,) * len(scale), axis=qw.axis)
    new = name if name not in rewrite.tensors else f"{name}.{len(rewrite.tensors)}"
    b = data_of(rewrite, name)
    values = None if b is None else np.clip(np.rint(b / scale), -(2**31), 2**31 - 1).astype(np.int32)
    return rewrite.constant(new, values, like=name, dtype="i32", quantization=q)


def _weighted(rewrite: Rewrite, node: Node) -> None:
    """conv2d, linear, conv_transpose2d."""
    names = (*node.inputs, "")[:3]
    x, qx = rewrite.int8(names[0]), rewrite.params(names[0])
    w = weights(rewrite, names[1], names[2], qx)
    inputs = (x, w, biases(rewrite, names[2], qx, w))
    attributes = with_more(node, rounding=rewrite.rounding)
    rewrite.append(Node(node.name, node.op, inputs, made_of(rewrite, node), attributes))


def _norm(rewrite: Rewrite, node: Node) -> None:
    """Scale and bias stay float: the integer op derives its int32 constants from them."""
    inputs = (rewrite.int8(node.inputs[0]), *(rewrite.keep(name) for name in node.inputs[1:]))
    rewrite.append(Node(node.name, node.op, inputs, made_of(rewrite, node), node.attributes))


def _joined(rewrite: Rewrite, node: Node) -> None:
    """concat: inputs with other parameters than the output's are requantized."""
    result = rewrite.result(node.outputs[0])
    inputs = [matched(rewrite, name, result, node) for name in node.inputs]
    rewrite.append(Node(node.name, node.op, tuple(inputs), (result.name,), node.attributes), result)


def matched(rewrite: Rewrite, name: str, like: Tensor, node: Node) -> str:
    """Name the int8 tensor of an activation in the quantization of `like`; requantizes at its first use."""
    given = rewrite.int8(name)
    tensor = rewrite.tensors[given]
    if tensor.quantization == like.quantization:
        return given
    new = Tensor(f"{given}.{node.name}", tensor.shape, "i8", like.quantization)
    if new.name not in rewrite.tensors:
        attributes = (("dtype", "i8"), ("rounding", rewrite.rounding))
        rewrite.append(Node(f"{new.name}.requantize", "requantize", (given,), (new.name,), attributes), new)
    return new.name


def _copied(rewrite: Rewrite, node: Node) -> None:
    """Ops that copy bits: the output has the parameters of the input (of the table, for gather)."""
    first = rewrite.int8(node.inputs[0])
    result = rewrite.result(node.outputs[0], quantization=rewrite.tensors[first].quantization)
    inputs = (first, *(rewrite.keep(name) for name in node.inputs[1:]))
    rewrite.append(Node(node.name, node.op, inputs, (result.name,), node.attributes), result)


RULES: dict[str, Rule] = {
    "conv2d": _weighted,
    "linear": _weighted,
    "conv_transpose2d": _weighted,
    **dict.fromkeys(("layer_norm", "rms_norm", "group_norm", "instance_norm"), _norm),
    **dict.fromkeys(("concat", "maximum", "minimum"), _joined),
    **dict.fromkeys(("matmul", "add", "sub", "mul", "mean", "global_avg_pool", "prelu"), _rounded),
    **dict.fromkeys(SAME_SCALE, _copied),
    **dict.fromkeys(("softmax", "lrn", "relu", "relu6", *TABLES), _plain),
}
