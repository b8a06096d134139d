"""A network run for real through ONNX Runtime, kernel by kernel: for machines without PyTorch.

In:       a folded Graph whose dimensions are numbers, random inputs for each kernel.
Out:      seconds of each kernel and of all of them.
Promises: the kernels are those that the forecast prices, each a model of its own whose weights are constants, so that
          the runtime packs and fuses as it does; images are channels first, which is what its kernels read. A kernel
          with an op that is not in WRITERS is not run and is named with the reason.
Does not: run what the forecast counts as free (reshapes, transposes between kernels), or hand tensors from one kernel
          to the next: each starts with its own inputs, warm as far as the caches hold them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onchip.forecast.kernels import Kernel, kernels_of
from onchip.ir.graph import Graph, Node, attributes_of
from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes
from onchip.silicon.repeat import refuse_memory

OPSET, IR_VERSION = 20, 9
NCHW = (0, 3, 1, 2)
IMAGES = ("conv2d", "max_pool2d", "avg_pool2d", "global_avg_pool")
LARGEST_MODEL = 2**31 - 2**20  # bytes of a protobuf
KINDS = {
    "f32": (TensorProto.FLOAT, np.float32),
    "i64": (TensorProto.INT64, np.int64),
    "i32": (TensorProto.INT64, np.int64),
}


@dataclass(slots=True)
class Text:
    """A kernel as an ONNX graph that is written node by node."""

    graph: Graph
    is_image: bool  # tensors of four dimensions are channels first
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def value(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name


def turned(value: NDArray[Any], *, is_image: bool) -> NDArray[Any]:
    """Return an array channels first, where images are."""
    return np.ascontiguousarray(value.transpose(NCHW)) if is_image and value.ndim == 4 else value


def _activated(t: Text, a: Attributes, made: str, write: Callable[[str], object]) -> None:
    """Write a node and the activation behind it."""
    name = a.text("activation") if "activation" in a else "none"
    write(made if name == "none" else f"{made}.sum")
    if name == "relu":
        t.add("Relu", [f"{made}.sum"], made)
    elif name == "relu6":
        _clip(t, f"{made}.sum", made, 0.0, 6.0)
    elif name != "none":
        raise KeyError(f"activation {name}")


def _clip(t: Text, given: str, made: str, low: float, high: float) -> None:
    ends = [t.value(f"{made}.{end}", np.array(value, np.float32)) for end, value in (("low", low), ("high", high))]
    t.add("Clip", [given, *ends], made)


def _conv(t: Text, node: Node, a: Attributes) -> None:
    (top, bottom, left, right), made = a.integers("padding"), node.outputs[0]
    inputs = [name for name in node.inputs if name]
    _activated(t, a, made, lambda to: t.add(
        "Conv", inputs, to, pads=[top, left, bottom, right], strides=a.integers("stride"),
        dilations=a.integers("dilation"), group=a.integer("groups"),
    ))  # fmt: skip


def _pool(t: Text, node: Node, a: Attributes) -> None:
    (top, bottom, left, right), is_max = a.integers("padding"), node.op == "max_pool2d"
    more = {} if is_max else {"count_include_pad": int(a.flag("count_include_pad"))}
    t.add(
        "MaxPool" if is_max else "AveragePool", node.inputs, node.outputs[0], kernel_shape=a.integers("kernel"),
        pads=[top, left, bottom, right], strides=a.integers("stride"), ceil_mode=int(a.flag("ceil_mode")), **more,
    )  # fmt: skip


def _linear(t: Text, node: Node, a: Attributes) -> None:
    given, weight, *more = node.inputs
    values = t.constants.get(weight)
    if values is None:
        raise KeyError("weights that are no constant")
    turned_weight = t.value(f"{weight}.turned", np.ascontiguousarray(values.T))
    bias = [name for name in more if name]

    def write(to: str) -> None:
        made = t.add("MatMul", [given, turned_weight], f"{to}.product" if bias else to)
        if bias:
            t.add("Add", [made, *bias], to)

    _activated(t, a, node.outputs[0], write)


def _matmul(t: Text, node: Node, a: Attributes) -> None:
    first, second = node.inputs
    if a.flag("transpose_b"):
        rank = len(t.graph.tensor(second).shape)
        second = t.add("Transpose", [second], f"{node.name}.b", perm=[*range(rank - 2), rank - 1, rank - 2])
    t.add("MatMul", [first, second], node.outputs[0])


def _both(kind: str) -> Callable[[Text, Node, Attributes], None]:
    return lambda t, node, a: _activated(t, a, node.outputs[0], lambda to: t.add(kind, node.inputs, to))


def _one(kind: str, **attributes: Any) -> Callable[[Text, Node, Attributes], None]:
    return lambda t, node, _a: (t.add(kind, node.inputs[:1], node.outputs[0], **attributes), None)[1]


def _silu(t: Text, node: Node, _a: Attributes) -> None:
    gate = t.add("Sigmoid", node.inputs, f"{node.name}.gate")
    t.add("Mul", [node.inputs[0], gate], node.outputs[0])


def _norm(t: Text, node: Node, a: Attributes) -> None:
    t.add(
        "LayerNormalization", [name for name in node.inputs if name], node.outputs[0], axis=-1, epsilon=a.number("eps")
    )


def _gelu(t: Text, node: Node, a: Attributes) -> None:
    t.add("Gelu", node.inputs, node.outputs[0], approximate=a.text("approximate"))


def _concat(t: Text, node: Node, a: Attributes) -> None:
    if t.is_image:
        raise KeyError("a concatenation of images")
    t.add("Concat", node.inputs, node.outputs[0], axis=a.integer("axis"))


WRITERS: dict[str, Callable[[Text, Node, Attributes], None]] = {
    "conv2d": _conv,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "global_avg_pool": _one("GlobalAveragePool"),
    "linear": _linear,
    "matmul": _matmul,
    **{op: _both(kind) for op, kind in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "Div"))},
    **{op: _one(kind) for op, kind in (("relu", "Relu"), ("sigmoid", "Sigmoid"), ("tanh", "Tanh"), ("exp", "Exp"))},
    "sqrt": _one("Sqrt"),
    "softmax": _one("Softmax", axis=-1),
    "hard_swish": _one("HardSwish"),
    "relu6": lambda t, node, _a: _clip(t, node.inputs[0], node.outputs[0], 0.0, 6.0),
    "silu": _silu,
    "gelu": _gelu,
    "layer_norm": _norm,
    "concat": _concat,
}


def kernel_model(kernel: Kernel, rng: np.random.Generator) -> tuple[onnx.ModelProto, Text]:
    """Return a kernel as a model of its own. Raises KeyError for an op that is not written."""
    graph = kernel.graph
    text = Text(graph, any(node.op in IMAGES for node in kernel.nodes))
    made = {name for node in kernel.nodes for name in node.outputs}
    names = dict.fromkeys(name for node in kernel.nodes for name in node.inputs if name and name not in made)
    for name in names:
        if graph.tensor(name).constant is not None:
            text.constants[name] = _constant(text, name, rng)
    for node in kernel.nodes:
        WRITERS[node.op](text, node, attributes_of(node, look_up_op(node.op, node.name)))
    read = {name for node in text.nodes for name in node.input}
    text.constants = {name: value for name, value in text.constants.items() if name in read}
    if sum(value.nbytes for value in text.constants.values()) > LARGEST_MODEL:
        raise KeyError("weights of more than 2 GiB")
    given = [_told(text, name) for name in names if graph.tensor(name).constant is None]
    body = helper.make_graph(
        text.nodes, "kernel", given, [_told(text, name) for name in kernel.outputs],
        [numpy_helper.from_array(value, name) for name, value in text.constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(body, opset_imports=opset, ir_version=IR_VERSION), text


def _constant(t: Text, name: str, rng: np.random.Generator) -> NDArray[Any]:
    """Return a constant's values, or random ones; a row beside images is one value a channel."""
    tensor = t.graph.tensor(name)
    data = tensor.constant.data if tensor.constant is not None else None
    if data is None:
        shape = tuple(int(d) for d in tensor.shape)
        data = (rng.standard_normal(shape, np.float32) / np.sqrt(max(prod(shape[1:]), 1))).astype(np.float32)
    is_row = t.is_image and data.ndim == 1 and any(n.op not in IMAGES for n in t.graph.consumers(name))
    return data.reshape(-1, 1, 1) if is_row else turned(data, is_image=t.is_image)


def _told(t: Text, name: str) -> onnx.ValueInfoProto:
    tensor = t.graph.tensor(name)
    shape = [int(d) for d in tensor.shape]
    if t.is_image and len(shape) == 4:
        shape = [shape[i] for i in NCHW]
    return helper.make_tensor_value_info(name, KINDS[tensor.dtype][0], shape)


@dataclass(slots=True)
class Part:
    """A kernel ready to run: a session and its inputs, or why there is none."""

    name: str
    session: Any = None
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    reason: str = ""


class OnnxNetwork:
    """A network as sessions, one a kernel."""

    def __init__(
        self, graph: Graph, start: Callable[[onnx.ModelProto], Any], *, seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._start, self._clock, self._rng = start, clock, np.random.default_rng(seed)
        self.parts = [self._part(kernel) for kernel in kernels_of(graph)[0]]

    @property
    def names(self) -> tuple[str, ...]:
        """The kernels in order."""
        return tuple(part.name for part in self.parts)

    @property
    def reasons(self) -> dict[str, str]:
        """The kernels that do not run, and why."""
        return {part.name: part.reason for part in self.parts if part.reason}

    def run(self) -> list[float]:
        """Run each kernel once; return the seconds of each, 0 for those that do not run."""
        seconds: list[float] = []
        for part in self.parts:
            begin = self._clock()
            if part.session is not None:
                self._once(part)
            seconds.append(self._clock() - begin if part.session is not None else 0.0)
        return seconds

    def _once(self, part: Part) -> None:
        try:
            part.session.run(None, part.inputs)
        except Exception as error:  # the runtime's own derive from Exception
            refuse_memory(error, part.name)
            raise

    def _part(self, kernel: Kernel) -> Part:
        part = Part(kernel.anchor.name)
        try:
            model, text = kernel_model(kernel, self._rng)
            part.session = self._start(model)
        except (KeyError, RuntimeError, ValueError) as error:
            part.reason = f"{kernel.anchor.op}: not run through ONNX Runtime ({str(error)[:80]})"
            return part
        for given in part.session.get_inputs():
            kind = KINDS[text.graph.tensor(given.name).dtype][1]
            is_float = kind is np.float32
            drawn = self._rng.standard_normal(given.shape, np.float32) if is_float else np.zeros(given.shape, kind)
            part.inputs[given.name] = drawn
        return part
