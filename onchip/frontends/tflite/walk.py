"""The walk over a TFLite model: what each tensor is in the Graph, and what each node is called.

In:       a `Model` (model.py).
Out:      a Graph, through the table of operators (rules.py) and the sheet.
Promises: a value is a tensor of the sheet, an array that is known, or a PAD that waits for its reader. What has only
          known operands is computed here, shapes among them. Only what the outputs and states need is written.
          A node has the name of the tensor that it makes; a quantized output of the model is `name.int8`, and `name` is
          its float, behind `dequantize`.
          Variables (of LSTM, SVDF, VAR_HANDLE) become states: inputs of the graph, which start at zero.
Does not: follow subgraphs, but for the one that CALL_ONCE runs at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onchip.errors import NotSupported
from onchip.frontends.tflite.model import Model, OperatorInfo, SubgraphInfo, TensorInfo, contradiction
from onchip.frontends.tflite.sheet import Sheet
from onchip.ir.graph import Graph
from onchip.ops.types import Array, Quantization

FLOATS = {"float32": "f32"}
PLAIN = {"int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "int64": "i64", "bool": "bool"}
SUFFIX = {"i8": "int8", "i16": "int16"}


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An array that is known, as the file has it."""

    array: Array
    info: TensorInfo


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """A tensor with borders that a convolution or a pool may take over; `pads` = (begin, end) per axis."""

    tensor: str
    pads: tuple[tuple[int, int], ...]
    info: TensorInfo
    index: int

    def shape(self, sheet: Sheet) -> tuple[int, ...]:
        """Give the shape with the borders."""
        return tuple(d + sum(p) for d, p in zip(sheet.shape(self.tensor), self.pads, strict=True))


Value = str | Known | Padded


def dtype_of(info: TensorInfo) -> str:
    """Give our dtype of a tensor; uint8 with a scale is int8 here. Empty where we have none."""
    if info.kind in FLOATS:
        return FLOATS[info.kind]
    if info.kind == "uint8" and info.quantization is not None:
        return "i8"
    return PLAIN.get(info.kind, "")


def params_of(info: TensorInfo) -> Quantization | None:
    """Give the quantization of a tensor in the Graph; the zero points of uint8 move with its values."""
    q = info.quantization
    if q is None or info.kind not in ("int8", "uint8", "int16", "int32", "int64"):
        return None
    if info.kind == "uint8":
        return Quantization(q.scale, tuple(z - 128 for z in q.zero_point), q.axis)
    return q


def values_of(info: TensorInfo, array: Array) -> Array:
    """Give a constant's values as the Graph has them."""
    if info.kind == "uint8" and info.quantization is not None:
        return (array ^ 0x80).view(np.int8)
    return array.astype(np.float32) if info.kind in ("float16", "float64") else array


class Walk:
    """One walk; `graph()` gives the result."""

    def __init__(self, model: Model, *, name: str, batch: int | None) -> None:
        self.model = model
        self.where = model.where
        self.source: SubgraphInfo = model.subgraphs[0]
        self.sheet = Sheet(name)
        self.batch = batch
        self.values: dict[int, Value] = {}
        self.states: dict[str, tuple[str, str]] = {}  # by the variable's name: the input, and its newest value
        self.initial: dict[str, Array] = {}  # what CALL_ONCE writes into the variables
        self.handles: dict[int, str] = {}
        self.is_float_edge: set[int] = set()
        self.outputs = frozenset(self.source.outputs)

    def graph(self) -> Graph:
        """Write every operator that is needed."""
        from onchip.frontends.tflite.rules import write

        for index, info in enumerate(self.source.tensors):
            if info.array is not None:
                self.values[index] = Known(info.array, info)
        for index in dict.fromkeys(self.source.inputs):
            self._read_input(index)
        needed = self._needed()
        for operator, is_needed in zip(self.source.operators, needed, strict=True):
            if not is_needed:
                continue
            made = write(self, operator)
            for index, value in zip(operator.outputs, made, strict=False):
                if index in self.values:
                    raise contradiction(self.where, f"tensor '{self.info(index).name}' is made twice")
                self.values[index] = value
        for index in dict.fromkeys(self.source.outputs):
            self._write_output(index)
        for given, made in self.states.values():
            if given != made:
                self.sheet.state(given, made)
        return self.sheet.finish()

    def _needed(self) -> list[bool]:
        """Mark the operators that an output or a variable depends on."""
        wanted = set(self.source.outputs)
        marks: list[bool] = []
        for operator in reversed(self.source.operators):
            has_effect = operator.kind in ("ASSIGN_VARIABLE", "CALL_ONCE") or operator.kind.startswith(
                ("CUSTOM", "STABLEHLO", "builtin")
            )
            is_needed = has_effect or not wanted.isdisjoint(operator.outputs)
            if is_needed:
                wanted.update(i for i in operator.inputs if i >= 0)
            marks.append(is_needed)
        return marks[::-1]

    def info(self, index: int) -> TensorInfo:
        return self.source.tensors[index]

    def label(self, index: int) -> str:
        """Name the tensor of the Graph that a tensor of the file becomes."""
        info = self.info(index)
        name = info.name or f"tensor{index}"
        is_edge = params_of(info) is not None and (index in self.outputs or index in self.is_float_edge)
        return f"{name}.{SUFFIX[dtype_of(info)]}" if is_edge and dtype_of(info) in SUFFIX else name

    def refuse(self, index: int, fact: str, *, code: str = "OC1351", limit: str = "", next: str = "") -> NotSupported:
        """Make the error that names a tensor."""
        name = self.info(index).name or f"tensor {index}"
        return NotSupported(code, f"{self.where}: {name}", fact, limit=limit, next=next)

    def shape(self, index: int) -> tuple[int, ...]:
        """Give the shape of an input of the model; a first dimension that is open takes `batch`."""
        info = self.info(index)
        shape = info.shape
        is_open = bool(info.signature) and len(info.signature) == len(shape) and info.signature[0] == -1
        if shape and (is_open or shape[0] == -1) and self.batch is not None:
            shape = (self.batch, *shape[1:])
        if any(d < 0 for d in shape):
            raise self.refuse(index, f"an input of shape {list(shape)}", code="OC1353", next="read(path, batch=1)")
        if any(d == 0 for d in shape):
            raise self.refuse(index, f"an input of shape {list(shape)}, which is empty", code="OC1353")
        return shape

    def _read_input(self, index: int) -> None:
        info = self.info(index)
        if index in self.values:
            raise contradiction(self.where, f"input '{info.name}' has values of its own")
        dtype = dtype_of(info)
        if not dtype:
            raise self.refuse(index, f"an input of type {info.kind}")
        params = params_of(info)
        name = info.name or f"tensor{index}"
        if params is None or dtype not in SUFFIX:
            self.values[index] = self.sheet.input(name, self.shape(index), dtype)
            return
        self.is_float_edge.add(index)
        self._check_tensor(index, params, info)
        edge = self.sheet.input(name, self.shape(index), "f32")
        self.values[index] = self.sheet.node(
            "quantize", (edge,), self.label(index), quantization=params, out_dtype=dtype, dtype=dtype
        )

    def _check_tensor(self, index: int, params: Quantization, info: TensorInfo) -> None:
        low, high = (-128, 127) if dtype_of(info) == "i8" else (0, 0)
        if len(params.scale) > 1:
            raise self.refuse(index, "an activation with a scale per channel", limit="Only weights have these")
        if dtype_of(info) in SUFFIX and not low <= params.zero_point[0] <= high:
            fact = f"{info.kind} with zero point {self.info(index).quantization.zero_point[0]}"  # type: ignore[union-attr]
            raise self.refuse(index, fact, limit="int16 has zero point 0, int8 and uint8 one of their 256 values")

    def made_params(self, index: int) -> Quantization | None:
        """Give the quantization that an operator's output has to have, checked."""
        info = self.info(index)
        params = params_of(info)
        if params is not None and dtype_of(info) in SUFFIX:
            self._check_tensor(index, params, info)
        return params

    def _write_output(self, index: int) -> None:
        """Give an output the name of the model; quantized ones are dequantized."""
        info = self.info(index)
        name = info.name or f"tensor{index}"
        tensor = self.tensor(index)
        if self.sheet.quantization(tensor) is not None and self.sheet.dtype(tensor) in SUFFIX:
            if index in self.is_float_edge:  # an input that is an output
                name = f"{name}.output"
            self.sheet.output(self.sheet.node("dequantize", (tensor,), name, out_dtype="f32"))
            return
        if index in self.source.inputs or isinstance(self.values.get(index), Known):
            tensor = self.sheet.node("identity", (tensor,), f"{name}.output", out_dtype=self.sheet.dtype(tensor))
        self.sheet.output(tensor)

    def tensor(self, index: int) -> str:
        """Give the tensor of the sheet that a tensor of the file is; "" for an absent one."""
        if index < 0:
            return ""
        value = self.values.get(index)
        if value is None:
            raise contradiction(self.where, f"tensor '{self.info(index).name or index}' is read before it is made")
        if isinstance(value, Known):
            return self.constant(value)
        if isinstance(value, Padded):
            value = self._pad(value)
            self.values[index] = value
        return value

    def constant(self, value: Known, *, name: str = "") -> str:
        info = value.info
        array = values_of(info, value.array)
        if not dtype_of(replace(info, kind="float32") if array.dtype.kind == "f" else info):
            raise NotSupported("OC1351", f"{self.where}: {info.name}", f"a constant of type {info.kind}")
        return self.sheet.constant(name or info.name or "constant", array, params_of(info))

    def _pad(self, value: Padded) -> str:
        """Write a PAD that nobody takes over."""
        flat = tuple(n for pair in value.pads for n in pair)
        q = self.sheet.quantization(value.tensor)
        return self.sheet.node(
            "pad", (value.tensor,), self.label(value.index), quantization=q, out_dtype=self.sheet.dtype(value.tensor),
            pads=flat, mode="constant", value=0.0,
        )  # fmt: skip

    # --- variables ------------------------------------------------------------------------------------------------

    def variable(self, key: str, shape: tuple[int, ...], dtype: str, params: Quantization | None) -> str:
        """Give the newest value of a variable; at its first use it is an input of the graph."""
        if key not in self.states:
            given = self.sheet.input(key, shape, dtype, params)
            self.states[key] = (given, given)
        return self.states[key][1]

    def assign(self, key: str, tensor: str) -> None:
        """Give a variable its newest value."""
        given = self.states[key][0] if key in self.states else None
        if given is None:
            given = self.sheet.input(
                key, self.sheet.shape(tensor), self.sheet.dtype(tensor), self.sheet.quantization(tensor)
            )
        if self.sheet.shape(given) != self.sheet.shape(tensor) or self.sheet.dtype(given) != self.sheet.dtype(tensor):
            raise contradiction(self.where, f"variable '{key}' changes its shape or type")
        self.states[key] = (given, tensor)


def operator_name(walk: Walk, operator: OperatorInfo) -> str:
    """Call an operator by the tensor that it makes, else by its kind."""
    if operator.outputs and operator.outputs[0] >= 0:
        return walk.info(operator.outputs[0]).name or operator.kind
    return operator.kind
