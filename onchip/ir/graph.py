"""The network: a flat, ordered list of named nodes and the tensors between them.

In: tensors and nodes, from a front end, the zoo or a pass. Out: a frozen noun. The constructor refuses a tensor used
before it is made, a shape that does not follow from the op, an output that nobody makes, a name used twice, and an
unknown op. Dimensions are numbers or names; `bind` gives a name a number. Constants carry their sha256 and, where
known, their values.
`states` are (in, out) pairs: the value of `out` is the value of `in` in the next run (KV cache, RNN state).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import BadFile, NotSupported, UnknownName, did_you_mean
from onchip.ops.registry import look_up_op
from onchip.ops.types import BITS, Attributes, AttributeValue, Dimension, Op, Quantization, Refusal, Shape, show

__all__ = ["AttributeValue", "Constant", "Graph", "Node", "Quantization", "Tensor", "constant_tensor"]
NUMPY_DTYPES = {
    "float32": "f32",
    "float16": "f16",
    "int8": "i8",
    "uint8": "u8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "bool": "bool",
}


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant's identity and, where known, its values (read-only). Unknown values have an empty sha256."""

    sha256: str
    data: NDArray[Any] | None = None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Constant) and self.sha256 == other.sha256 and (self.data is None) == (other.data is None)
        )

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value in the graph."""

    name: str
    shape: Shape
    dtype: str
    quantization: Quantization | None = None
    constant: Constant | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; an empty name among `inputs` is an optional input that is absent. Attributes are sorted by key."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, AttributeValue], ...] = ()

    def attribute(self, key: str, default: AttributeValue) -> AttributeValue:
        """Return an attribute of this node, or the default."""
        return next((value for name, value in self.attributes if name == key), default)


def constant_tensor(
    name: str,
    value: NDArray[Any] | Sequence[Dimension],
    dtype: str | None = None,
    quantization: Quantization | None = None,
) -> Tensor:
    """Return a constant tensor of known values (an array), or of a shape whose values are unknown."""
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        data = data if data is not value and data.base is None else data.copy()
        data.setflags(write=False)
        digest = hashlib.sha256(data.tobytes()).hexdigest()
        if dtype is None and str(data.dtype) not in NUMPY_DTYPES:
            there = ", ".join(NUMPY_DTYPES)
            raise BadFile("OC1226", name, f"the array holds {data.dtype}", limit=f"constants hold {there}")
        return Tensor(
            name, tuple(data.shape), dtype or NUMPY_DTYPES[str(data.dtype)], quantization, Constant(digest, data)
        )
    return Tensor(name, tuple(value), dtype or "f32", quantization, Constant("", None))


@dataclass(frozen=True, slots=True)
class Graph:
    """A network; `bind`, `macs`, `parameters`, `hash` and `str` are what the rooms ask of it."""

    name: str
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[tuple[str, str], ...] = ()
    _index: _Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = _Index(self)
        object.__setattr__(self, "_index", index)
        _verify(self, index)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of that name. Raises UnknownName."""
        found = self._index.tensors.get(name)
        if found is None:
            raise UnknownName("OC1231", self.name, f"no tensor '{name}'", next=did_you_mean(name, self._index.tensors))
        return found

    def node(self, name: str) -> Node:
        """Return the node of that name. Raises UnknownName."""
        found = self._index.nodes.get(name)
        if found is None:
            raise UnknownName("OC1232", self.name, f"no node '{name}'", next=did_you_mean(name, self._index.nodes))
        return found

    def producer(self, tensor: str) -> Node | None:
        """Return the node that makes a tensor, None for inputs and constants."""
        return self._index.producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, in order."""
        return tuple(self._index.consumers.get(tensor, ()))

    def bind(self, **dims: int) -> Graph:
        """Return the graph with named dimensions replaced by numbers. Raises UnknownName for other names."""
        known = {d for t in self.tensors for d in t.shape if isinstance(d, str)}
        for name, value in dims.items():
            if name not in known:
                raise UnknownName(
                    "OC1233", self.name, f"no dimension is named '{name}'", next=did_you_mean(name, sorted(known))
                )
            if value < 1:
                raise BadFile("OC1234", self.name, f"dimension '{name}' cannot be {value}", limit="it is at least 1")
        nodes = tuple(replace(n, attributes=_bound_attributes(n, dims)) for n in self.nodes)
        tensors = tuple(
            t if t.constant else replace(t, shape=tuple(_bound(d, dims) for d in t.shape)) for t in self.tensors
        )
        return Graph(self.name, tensors, nodes, self.inputs, self.outputs, self.states)

    @property
    def kept(self) -> tuple[str, ...]:
        """Return what has to be there after a run: the outputs, and what the states become."""
        return tuple(dict.fromkeys((*self.outputs, *(made for _, made in self.states))))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the names of the dimensions that have no number yet, sorted."""
        return tuple(sorted({d for t in self.tensors for d in t.shape if isinstance(d, str)}))

    def node_macs(self, name: str) -> int:
        """Return the multiply-accumulates of one node. Raises NotSupported where a dimension has no number."""
        node = self.node(name)
        op = look_up_op(node.op, node.name)
        try:
            return op.macs(attributes_of(node, op), _shapes(self, node.inputs), _shapes(self, node.outputs))
        except Refusal as refusal:
            raise NotSupported(refusal.code, node.name, str(refusal), next=refusal.next) from None

    def macs(self) -> int:
        """Return the multiply-accumulates of one run."""
        return sum(self.node_macs(node.name) for node in self.nodes)

    def parameters(self) -> int:
        """Return the number of elements of all constants, without indices and batch norm's running statistics."""
        statistics = {name for node in self.nodes if node.op == "batch_norm" for name in node.inputs[3:5]}
        counted = (t for t in self.tensors if t.constant is not None and t.dtype not in ("i64", "bool"))
        return sum(prod(int(d) for d in t.shape) for t in counted if t.name not in statistics)

    @property
    def hash(self) -> str:
        """Return the sha256 of the canonical text."""
        return _hash(self)

    def __hash__(self) -> int:
        return hash((self.name, self.nodes, self.inputs, self.outputs))

    def __str__(self) -> str:
        from onchip.ir.graph_text import write_graph

        return write_graph(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes>"

    def _repr_html_(self) -> str:
        from onchip.ir.notebook import graph_html

        return graph_html(self)

    def to_pandas(self) -> Any:
        """Return a DataFrame, a row a node. Raises UsageError without pandas."""
        from onchip.ir.notebook import frame, node_rows

        return frame(node_rows(self))

    def save(self, path: str | Path) -> None:
        """Write the graph with its constants to an .npz file, without pickle. Raises UsageError."""
        from onchip.ir.graph_file import save_graph

        save_graph(self, path)

    @staticmethod
    def load(path: str | Path) -> Graph:
        """Read a graph from such a file. Raises BadFile."""
        from onchip.ir.graph_file import load_graph

        return load_graph(path)

    @staticmethod
    def parse(text: str) -> Graph:
        """Read canonical text back; constants come back without values. Raises BadFile."""
        from onchip.ir.graph_text import read_graph

        return read_graph(text)


class _Index:
    """Lookups by name, made once."""

    __slots__ = ("consumers", "nodes", "producers", "tensors")

    def __init__(self, graph: Graph) -> None:
        self.tensors = {t.name: t for t in graph.tensors}
        self.nodes = {n.name: n for n in graph.nodes}
        self.producers = {output: n for n in graph.nodes for output in n.outputs}
        self.consumers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.consumers.setdefault(name, []).append(node)


@functools.lru_cache(maxsize=64)
def _hash(graph: Graph) -> str:
    return hashlib.sha256(str(graph).encode()).hexdigest()


def _bound(dimension: Dimension, dims: Mapping[str, int]) -> Dimension:
    return dims.get(dimension, dimension) if isinstance(dimension, str) else dimension


def _bound_attributes(node: Node, dims: Mapping[str, int]) -> tuple[tuple[str, AttributeValue], ...]:
    return tuple((key, _bound_shape(value, dims) if key == "shape" else value) for key, value in node.attributes)


def _bound_shape(value: AttributeValue, dims: Mapping[str, int]) -> AttributeValue:
    """Bind a reshape target; texts that have all become numbers become integers."""
    if not isinstance(value, tuple):
        return value
    texts = tuple(str(dims.get(v, v)) if isinstance(v, str) else str(v) for v in value)
    return tuple(map(int, texts)) if all(t.lstrip("-").isdigit() for t in texts) else texts


@functools.lru_cache(maxsize=8192)
def _merged(op: str, attributes: tuple[tuple[str, AttributeValue], ...], where: str) -> Attributes:
    return Attributes({**look_up_op(op, where).defaults, **dict(attributes)})


def attributes_of(node: Node, op: Op) -> Attributes:
    """Return a node's attributes over the op's defaults."""
    return _merged(op.name, node.attributes, node.name)


def _shapes(graph: Graph, names: Sequence[str]) -> list[Shape | None]:
    return [graph.tensor(name).shape if name else None for name in names]


def _verify(graph: Graph, index: _Index) -> None:
    if len(index.tensors) != len(graph.tensors):
        raise BadFile("OC1221", graph.name, f"two tensors are named '{_twice([t.name for t in graph.tensors])}'")
    if len(index.nodes) != len(graph.nodes):
        raise BadFile("OC1221", graph.name, f"two nodes are named '{_twice([n.name for n in graph.nodes])}'")
    for tensor in graph.tensors:
        _verify_tensor(tensor)
    ready = {t.name for t in graph.tensors if t.constant is not None}
    for name in graph.inputs:
        if graph.tensor(name).constant is not None:
            raise BadFile("OC1237", name, "a constant cannot be an input")
        ready.add(name)
    for node in graph.nodes:
        _verify_node(graph, node, ready, index)
        for name in node.outputs:
            if name in ready:
                raise BadFile("OC1237", node.name, f"'{name}' is made twice")
            ready.add(name)
    for name in (*graph.outputs, *(made for _, made in graph.states)):
        if name not in ready:
            raise BadFile("OC1223", graph.name, f"output '{name}' is made by no node")
    for given, made in graph.states:
        if given not in graph.inputs or graph.tensor(given).shape != graph.tensor(made).shape:
            raise BadFile("OC1238", graph.name, f"state '{given}' is no input, or has another shape than '{made}'")


def _twice(names: list[str]) -> str:
    return next(n for n in names if names.count(n) > 1)


def _verify_tensor(tensor: Tensor) -> None:
    if tensor.dtype not in BITS:
        raise BadFile("OC1226", tensor.name, f"unknown dtype '{tensor.dtype}'", next=did_you_mean(tensor.dtype, BITS))
    for d in tensor.shape:
        if (isinstance(d, int) and d < 1) or d == "":
            raise BadFile(
                "OC1234", tensor.name, f"shape {show(tensor.shape)} has a dimension below 1 or without a name"
            )
    data = tensor.constant.data if tensor.constant is not None else None
    if data is not None and tuple(data.shape) != tensor.shape:
        raise BadFile("OC1227", tensor.name, f"constant has shape {list(data.shape)}, tensor {show(tensor.shape)}")
    q = tensor.quantization
    rank = len(tensor.shape)
    if q is not None and q.axis is not None and not (-rank <= q.axis < rank and tensor.shape[q.axis] == len(q.scale)):
        raise BadFile("OC1224", tensor.name, f"{len(q.scale)} scales along axis {q.axis} of {show(tensor.shape)}")


def _verify_node(graph: Graph, node: Node, ready: set[str], index: _Index) -> None:
    op = look_up_op(node.op, node.name)
    for name in node.inputs:
        if name and name not in ready:
            is_known = name in index.tensors
            fact = f"input '{name}' is used before it is made" if is_known else f"no tensor '{name}'"
            raise BadFile("OC1222", node.name, fact)
    _verify_form(node, op)
    try:
        shapes = op.shape(attributes_of(node, op), _shapes(graph, node.inputs))
    except Refusal as refusal:
        raise BadFile(refusal.code, node.name, f"{node.op}: {refusal}", next=refusal.next) from None
    if len(node.outputs) != len(shapes):
        raise BadFile("OC1228", node.name, f"{node.op} makes {len(shapes)} outputs, {len(node.outputs)} are named")
    for name, shape in zip(node.outputs, shapes, strict=True):
        got = graph.tensor(name).shape
        if got != shape:
            raise BadFile("OC1230", node.name, f"'{name}' has shape {show(got)}, {node.op} makes {show(shape)}")


def _verify_form(node: Node, op: Op) -> None:
    """Check the number of inputs and the names of the attributes."""
    given, least, most = len(node.inputs), op.n_required, len(op.inputs)
    if given < least or (given > most and not op.variadic) or "" in node.inputs[:least]:
        raise BadFile("OC1228", node.name, f"{node.op} has {given} inputs, needs {least} to {most}")
    keys = [key for key, _ in node.attributes]
    if keys != sorted(set(keys)):
        raise BadFile("OC1236", node.name, f"attributes {keys} are not sorted, or stand twice")
    for key in op.needs:
        if key not in keys:
            raise BadFile("OC1229", node.name, f"{node.op} needs the attribute '{key}'")
    for key in keys:
        if key != "rounding" and key not in op.defaults and key not in op.needs:
            known = (*op.needs, *op.defaults, "rounding")
            raise BadFile("OC1236", node.name, f"{node.op} has no attribute '{key}'", next=did_you_mean(key, known))
