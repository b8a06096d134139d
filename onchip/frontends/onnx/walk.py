"""The walk over an ONNX graph: what each value is, and what each node is called.

In:       a checked GraphProto without local functions.
Out:      a Graph, through the table of operators (ops.py) and the canvas.
Promises: a value is a tensor of the canvas, an array that is known, a vector of dimensions (the result of Shape, with
          symbols in it), or one number over such a shape. A node whose inputs are all known is computed by
          onnx.reference. Only what the outputs need is written.
          Names: the module path that torch's exporter records, else the node's own name, else its output's.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onchip.errors import BadFile, NotSupported, OnchipError
from onchip.frontends.canvas import Canvas
from onchip.frontends.onnx.computed import BUDGET, compute
from onchip.frontends.onnx.symbols import GIVE_SHAPE, numbers_of, open_name, symbol_of
from onchip.frontends.regroup import Grouped
from onchip.ir.graph import NUMPY_DTYPES, Graph
from onchip.ops.types import Array, Dimension, Quantization, Refusal, Shape

DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "f32", TensorProto.DOUBLE: "f32", TensorProto.FLOAT16: "f16", TensorProto.BFLOAT16: "bf16",
    TensorProto.INT64: "i64", TensorProto.INT32: "i32", TensorProto.INT16: "i16", TensorProto.INT8: "i8",
    TensorProto.UINT8: "u8", TensorProto.BOOL: "bool",
}  # fmt: skip
SCOPES, CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
LIMIT_UNFOLDED = 1 << 17  # assumed: nodes that loops and definitions may unfold to
FIX_BATCH = "With a number for the batch it can be read: read(path, batch=1)"
# what reading a broken attribute or array may raise: the file is to blame, and named
DOUBTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
# what stands beside a module's own operator
ARRANGE = frozenset(
    ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Slice", "Concat", "Gather", "Shape", "Split", "Cast")
)
# modules of torch that are more than one operator
COMPOSITE = tuple(f"torch.nn.modules.{m}" for m in ("activation.MultiheadAttention", "transformer", "container"))


@dataclass(frozen=True, slots=True)
class Known:
    """An array that is known, with the name of the initializer that it is or comes from."""

    array: Array
    name: str


@dataclass(frozen=True, slots=True)
class Dims:
    """A vector of dimensions, some of them symbols; `is_scalar` for one dimension taken out of it."""

    dims: Shape
    is_scalar: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """One number over a shape with symbols."""

    value: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class Quantized:
    """A tensor of int8 (uint8, shifted by 128) or int16 with its scale and zero point."""

    tensor: str
    params: Quantization
    is_unsigned: bool


Value = str | Known | Dims | Fill | Grouped | Quantized | None


class Walk:
    """One walk; `graph()` gives the result."""

    def __init__(
        self, graph: GraphProto, *, name: str, where: str, opset: int, batch: int | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        self.source = graph
        self.canvas = Canvas(name)
        self.where = where
        self.opset = opset
        self.batch = batch
        self.values: dict[str, Value] = {"": None}
        self.symbols: dict[str, str] = {}
        self.numbers = numbers_of(graph, shapes or {})
        self.needed = needed_by(graph.node, [o.name for o in graph.output])
        self._label = ""
        self._budget = BUDGET
        self._unfolded = 0

    def graph(self) -> Graph:
        """Write every node that the outputs need."""
        self.values.update((t.name, self.stored(t)) for t in self.source.initializer)
        inputs = [self._read_input(i) for i in self.source.input if i.name not in self.values]
        self._write(self.source.node)
        names = list(dict.fromkeys(o.name for o in self.source.output))
        return self.canvas.finish([self._output(n) for n in names], inputs, names)

    def _write(self, nodes: Sequence[NodeProto]) -> None:
        from onchip.frontends.onnx.ops import write

        for node in nodes:
            if not self.needed.isdisjoint(node.output):
                made = self._guarded(node, lambda node: self._known(node) or write(self, node))
                self.values.update((o, v) for o, v in zip(node.output, made, strict=False) if o)

    def inside(
        self, nodes: Sequence[NodeProto], outputs: Sequence[str], values: dict[str, Value], *,
        opset: int = 0, label: str = "",
    ) -> tuple[Value, ...]:  # fmt: skip
        """Write the nodes of a body that sees `values`, and give those of its outputs.

        `label` names what is written after the node that the body stands for.
        """
        self._unfolded += len(nodes) + 1
        if self._unfolded > LIMIT_UNFOLDED:
            raise NotSupported("OC1351", "", f"its loops unfold to more than {LIMIT_UNFOLDED} nodes")
        around = (self.values, self.needed, self.opset, self._label)
        self.values, self.needed = values, needed_by(nodes, outputs)
        self.opset, self._label = opset or self.opset, label or self._label
        try:
            self._write(nodes)
            return tuple(self.values[o] for o in outputs)
        finally:
            self.values, self.needed, self.opset, self._label = around

    def stored(self, tensor: TensorProto) -> Known:
        """Give an initializer."""
        return Known(self._array(tensor, tensor.name), tensor.name)

    def _guarded(self, node: NodeProto, rule: Callable[[NodeProto], tuple[Value, ...]]) -> tuple[Value, ...]:
        """Follow a rule; where it fails, name file and node, and doubt the file if the rule does not know why."""
        where = f"{self.where}: {called(node)}"
        try:
            return rule(node)
        except OnchipError as error:
            if error.where.startswith(self.where):
                raise
            fact = error.fact if error.where else f"{node.op_type}: {error.fact}"
            hint = GIVE_SHAPE if error.code == "OC1313" else error.next
            raise type(error)(error.code, where, fact, limit=error.limit, next=hint) from error
        except Refusal as refusal:
            hint = GIVE_SHAPE if refusal.code == "OC1313" else refusal.next
            raise BadFile(refusal.code, where, f"{node.op_type}: {refusal}", next=hint) from refusal
        except DOUBTS as error:
            raise doubted(error, self.where, node) from error

    def _array(self, tensor: TensorProto, name: str) -> Array:
        """Read a stored tensor; what lies in another file has been loaded by now, or must not be."""
        where = f"{self.where}: {name}"
        if tensor.data_location == TensorProto.EXTERNAL:
            raise BadFile("OC1252", where, "its values lie in another file", next="Read the model from its file")
        try:
            return numpy_helper.to_array(tensor)
        except DOUBTS as error:
            text = " ".join(str(error).split())[:120]
            raise BadFile("OC1251", where, f"its values cannot be read: {text}") from error

    def refuse(self, node: NodeProto, fact: str, *, code: str = "OC1351", limit: str = "") -> NotSupported:
        """Make the error that names this node."""
        return NotSupported(code, f"{self.where}: {called(node)}", f"{node.op_type}: {fact}", limit=limit)

    def _read_input(self, info: ValueInfoProto) -> str:
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            raise NotSupported("OC1351", f"{self.where}: {info.name}", "an input that is no tensor")
        if kind.elem_type not in DTYPES:
            raise NotSupported("OC1351", f"{self.where}: {info.name}", f"an input of element type {kind.elem_type}")
        shape: list[Dimension] = []
        for axis, dim in enumerate(kind.shape.dim):
            if dim.HasField("dim_value"):
                shape.append(int(dim.dim_value))
                continue
            given = open_name(info, axis)
            if given in self.numbers:
                shape.append(self.numbers[given])
                continue
            is_batch = axis == 0 and ("batch" not in self.symbols.values() or not dim.dim_param)
            symbol = self.symbols.setdefault(given, "batch" if is_batch else symbol_of(given))
            shape.append(self.batch if symbol == "batch" and self.batch is not None else symbol)
        if any(isinstance(d, int) and d < 1 for d in shape):
            raise BadFile("OC1251", f"{self.where}: {info.name}", f"an input of shape {shape}")
        own = self.canvas.input(info.name, tuple(shape), DTYPES[kind.elem_type])
        self.values[info.name] = own
        return own

    def _output(self, name: str) -> str:
        """Give the tensor that an output is."""
        value = self.values.get(name)
        if isinstance(value, Known):
            value = self.canvas.node("identity", (self._stored(value, f"{value.name}.value", name),), name)
        if isinstance(value, Grouped):
            fact = "an output with a merged dimension that has no number"
            raise NotSupported("OC1353", f"{self.where}: {name}", fact, limit=FIX_BATCH)
        if isinstance(value, Quantized):
            value = self._raw(value)
        if not isinstance(value, str):
            raise NotSupported("OC1353", f"{self.where}: {name}", "an output that is a shape, not a tensor")
        return value

    def name(self, node: NodeProto) -> str:
        """Call a node as the module that has its weight, else as its module and operator, else as itself."""
        if self._label:
            return self._label
        for place in (1, 0):
            value = self.value(node, place)
            if isinstance(value, Known) and value.name.endswith(".weight"):
                return value.name.removesuffix(".weight")
        recorded = {e.key: _texts(e.value) for e in node.metadata_props if e.key in (SCOPES, CLASSES)}
        scopes, classes = recorded.get(SCOPES, []), recorded.get(CLASSES, [])
        if not scopes:
            return called(node).lstrip("/") or node.op_type
        path, kind = scopes[-2] if len(scopes) > 1 else "", classes[-2] if len(classes) > 1 else ""
        is_own = kind.startswith("torch.nn.modules.") and not kind.startswith(COMPOSITE)
        if path and is_own and node.op_type not in ARRANGE:
            return path
        return f"{path}.{node.op_type.lower()}" if path else scopes[-1]

    def spend(self, node: NodeProto, n_elements: int) -> None:
        """Take from what the model's constants may unfold to."""
        self._budget -= n_elements
        if n_elements < 0 or self._budget < 0:
            raise self.refuse(node, f"makes a constant of {n_elements} elements", limit=f"{BUDGET} may be made in all")

    def has_more(self, node: NodeProto) -> bool:
        """Tell whether anybody reads another output than the first."""
        return not self.needed.isdisjoint(o for o in node.output[1:] if o)

    def attributes(self, node: NodeProto) -> Mapping[str, Any]:
        """Read a node's attributes as Python values."""
        return {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def value(self, node: NodeProto, place: int) -> Value:
        """Give the value of an input; None where it is absent."""
        return self.values[node.input[place]] if place < len(node.input) else None

    def tensor(self, node: NodeProto, place: int) -> str:
        """Give the tensor of the canvas that holds an input; "" where it is absent."""
        return self.held(node, self.value(node, place))

    def held(self, node: NodeProto, value: Value) -> str:
        """Give the tensor of the canvas that holds a value; "" where it is absent."""
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, Known):
            return self._stored(value, value.name, called(node))
        if isinstance(value, Quantized):
            return self._raw(value)
        if isinstance(value, Fill):
            return self.canvas.constant(f"{self.canvas.free(node.name)}.fill", np.array(value.value, np.float32))
        if isinstance(value, Grouped):
            raise self.refuse(node, "takes a merged dimension that has no number", code="OC1353", limit=FIX_BATCH)
        raise self.refuse(node, "takes a shape as a tensor", code="OC1353")

    def _raw(self, value: Quantized) -> str:
        """Give the integers of a quantized tensor as they are, without their quantization."""
        canvas, name = self.canvas, value.tensor
        wide = canvas.node("cast", (name,), f"{name}.wide", dtype="i32")
        if value.is_unsigned:
            shift = canvas.constant(f"{name}.shift", np.array(128, np.int32))
            wide = canvas.node("add", (wide, shift), f"{name}.moved")
        dtype = "u8" if value.is_unsigned else canvas.dtype(name)
        return canvas.node("cast", (wide,), f"{name}.integers", dtype=dtype)

    def _stored(self, value: Known, name: str, reader: str) -> str:
        """Write a known array as a constant of the canvas."""
        array = _narrow(value.array)
        if not array.size:
            raise NotSupported("OC1353", f"{self.where}: {reader}", f"takes an empty tensor of shape {array.shape}")
        if str(array.dtype) not in NUMPY_DTYPES:
            raise NotSupported("OC1351", f"{self.where}: {reader}", f"a constant of {array.dtype}")
        return self.canvas.constant(name, array)

    def known(self, node: NodeProto, place: int, what: str) -> Array | None:
        """Give an input that has to be known; None where it is absent."""
        value = self.value(node, place)
        if value is None or isinstance(value, Known):
            return None if value is None else _floats(self, node, value.array, what)
        raise self.refuse(node, f"its {what} is not a constant", limit="Weights have to be constants")

    def integers(self, node: NodeProto, place: int, key: str) -> list[int] | None:
        """Read integers that stand in an attribute in older opsets and in an input in newer ones."""
        found = self.attributes(node).get(key)
        if found is not None:
            return [int(v) for v in found]
        value = self.value(node, place)
        if value is None:
            return None
        if not isinstance(value, Known):
            raise self.refuse(node, f"its {key} are not constant", code="OC1353")
        if value.array.dtype.kind not in "iub":
            raise self.refuse(node, f"its {key} are of {value.array.dtype}")
        return [int(v) for v in value.array.reshape(-1)]

    def _constant(self, node: NodeProto) -> Array:
        attribute = node.attribute[0]
        value: Any = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return self._array(value, called(node))
        if attribute.name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
        raise self.refuse(node, f"a constant as {attribute.name}")

    def _known(self, node: NodeProto) -> tuple[Value, ...] | None:
        """Compute a node whose inputs are all known."""
        if node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type == "Constant":
            return (Known(self._constant(node), node.output[0]),)
        values = {i: self.values.get(i) for i in node.input if i}
        known = {i: v for i, v in values.items() if isinstance(v, Known)}
        if not known or len(known) != len(values):
            return None
        made = compute(node, {i: v.array for i, v in known.items()}, opset=self.opset, budget=self._budget)
        if made is None:
            return None
        self._budget -= sum(a.size for a in made)
        present = iter(made)
        label = known[node.input[0]].name if node.input[0] else next(iter(known.values())).name
        return tuple(Known(next(present), f"{label}.{o}") if o else None for o in node.output)


def needed_by(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> set[str]:
    """Collect the values that the outputs depend on."""
    needed = set(outputs)
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(_reads(node))
    return needed


def _reads(node: NodeProto) -> Iterator[str]:
    """Give what a node reads, the bodies in it included."""
    yield from node.input
    for a in node.attribute:
        for graph in (*((a.g,) if a.HasField("g") else ()), *a.graphs):
            yield from (o.name for o in graph.output)
            for inner in graph.node:
                yield from _reads(inner)


def called(node: NodeProto) -> str:
    """Call a node by its own name, else by its first output's."""
    return node.name or next((o for o in node.output if o), node.op_type)


def doubted(error: BaseException, where: str, node: NodeProto) -> BadFile:
    """Make the error that blames the file for what a node's attributes or constants raise."""
    text = " ".join(str(error).split())[:120]
    fact = f"{node.op_type}: its attributes or constants cannot be read ({type(error).__name__}: {text})"
    return BadFile("OC1251", f"{where}: {called(node)}", fact)


def _floats(walk: Walk, node: NodeProto, array: Array, what: str) -> Array:
    if array.dtype.kind not in "iubf" and str(array.dtype) != "bfloat16":
        raise walk.refuse(node, f"its {what} is of {array.dtype}")
    return _narrow(array)


def _texts(literal: str) -> list[str]:
    """Read a list of texts that the exporter wrote as a Python literal; anything else counts as nothing."""
    try:
        found: Any = ast.literal_eval(literal)
    except (ValueError, SyntaxError):
        return []
    return [str(t) for t in cast("list[Any]", found)] if isinstance(found, list) else []


def _narrow(array: Array) -> Array:
    """Floats become float32: half and double weights are stored forms of one network."""
    is_float = array.dtype.kind == "f" or str(array.dtype) == "bfloat16"
    return array.astype(np.float32) if is_float and array.dtype != np.float32 else array
