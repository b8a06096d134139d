"""A .tflite file as plain records, everything in them checked.

In:       the bytes of a file.
Out:      `Model`: subgraphs of tensors and operators; constants are read-only views of the file.
Promises: a tensor's bytes are as many as its shape and type ask for; indices of tensors, buffers and operator codes
          exist; an operator has at most `MAX_OPERANDS` operands and a tensor at most `MAX_RANK` dimensions.
          What breaks this raises BadFile (OC1260 for bytes, OC1261 for contradictions). What is compiled for another
          accelerator, or is a custom operator, is refused by name.
Does not: judge operators; the rules do that.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

import numpy as np

from onchip.errors import BadFile, NotSupported
from onchip.frontends.tflite.flatbuffer import Source, Table
from onchip.frontends.tflite.schema import (
    DTYPES,
    FIRST_STABLEHLO,
    IDENTIFIER,
    OPERATORS,
    PLACEHOLDER,
    VERSION,
    Field,
)
from onchip.ops.types import Array, Quantization

MAX_RANK, MAX_OPERANDS, MAX_RECORDS, MAX_ELEMENTS = 8, 4096, 1 << 20, 1 << 31
# custom operators that stand for a whole compiled network
COMPILED = {
    "ethos-u": "Arm Ethos-U (Vela)", "edgetpu-custom-op": "the Edge TPU", "neutron": "NXP Neutron",
    "nnapi": "NNAPI", "QNN": "Qualcomm AI Engine", "DISPATCH_OP": "an NPU of LiteRT",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class TensorInfo:
    """A tensor as the file has it; `array` is None where the values come at run time."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    kind: str  # float32, int8, ...
    quantization: Quantization | None
    array: Array | None
    is_variable: bool


@dataclass(frozen=True, slots=True, eq=False)
class OperatorInfo:
    """An operator: its name, its operands as indices of tensors (-1: absent), its options."""

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Table | None


@dataclass(frozen=True, slots=True, eq=False)
class SubgraphInfo:
    name: str
    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    where: str
    subgraphs: tuple[SubgraphInfo, ...]


def parse(data: bytes, where: str) -> Model:
    """Read a file. Raises BadFile and NotSupported."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise BadFile("OC1260", where, f"its {len(data)} bytes do not start as a TFLite model (no TFL3 at byte 4)")
    source = Source(data, where)
    root = Table.root(source)
    version = root.integer(Field.MODEL_VERSION, "I")
    if version != VERSION:
        raise BadFile("OC1260", where, f"schema version {version}", limit=f"Version {VERSION} is read")
    codes = [_code(t, where) for t in _records(root, Field.MODEL_CODES, "operator codes")]
    buffers = _records(root, Field.MODEL_BUFFERS, "buffers")
    graphs = [_subgraph(t, codes, buffers) for t in _records(root, Field.MODEL_SUBGRAPHS, "subgraphs")]
    if not graphs or not graphs[0].outputs:
        raise contradiction(where, "it has no graph with an output")
    return Model(where, tuple(graphs))


def contradiction(where: str, fact: str) -> BadFile:
    """Make the error for bytes that parse, and a model that does not hold together."""
    return BadFile("OC1261", where, fact, next="Convert the model once more")


def _records(table: Table, index: int, what: str) -> tuple[Table, ...]:
    found = table.tables(index)
    if len(found) > MAX_RECORDS:
        raise contradiction(table.source.where, f"{len(found)} {what}")
    return found


def _code(table: Table, where: str) -> tuple[str, int]:
    """Read an operator code; a code that nobody knows is kept, and refused where it is used."""
    number = max(table.integer(Field.CODE_OLD, "b"), table.integer(Field.CODE_NEW, "i"))
    version = table.integer(Field.CODE_VERSION, "i", 1)
    if 0 <= number < len(OPERATORS) and number != PLACEHOLDER:
        kind = OPERATORS[number]
        return (f"CUSTOM {table.text(Field.CODE_CUSTOM)}" if kind == "CUSTOM" else kind), version
    return (f"STABLEHLO {number}" if number >= FIRST_STABLEHLO else f"builtin {number}"), version


def refuse_custom(kind: str, where: str) -> NotSupported:
    """Make the error for a custom operator; those of compiled files say so."""
    name = kind.removeprefix("CUSTOM ").strip() or "without a name"
    for start, chip in COMPILED.items():
        if name.lower().startswith(start.lower()):
            hint = "Give the .tflite file from before its compiler"
            return NotSupported("OC1360", where, f"the network is compiled for {chip} already ('{name}')", next=hint)
    return NotSupported("OC1352", where, f"custom operator '{name}'", limit="Only builtin operators are read")


def _subgraph(table: Table, codes: list[tuple[str, int]], buffers: tuple[Table, ...]) -> SubgraphInfo:
    where = table.source.where
    tensors = tuple(_tensor(t, buffers) for t in _records(table, Field.GRAPH_TENSORS, "tensors"))
    operators: list[OperatorInfo] = []
    for t in _records(table, Field.GRAPH_OPERATORS, "operators"):
        place = t.integer(Field.OPERATOR_CODE, "I")
        if place >= len(codes):
            raise contradiction(where, f"operator {len(operators)} has code {place} of {len(codes)}")
        kind, version = codes[place]
        operators.append(_operator(t, kind, version, len(tensors)))
    inputs = _indices(table, Field.GRAPH_INPUTS, len(tensors), "an input of the graph")
    outputs = _indices(table, Field.GRAPH_OUTPUTS, len(tensors), "an output of the graph")
    if -1 in inputs or -1 in outputs:
        raise contradiction(where, "an input or output of the graph is absent")
    return SubgraphInfo(table.text(Field.GRAPH_NAME), tensors, tuple(operators), inputs, outputs)


def _indices(table: Table, index: int, limit: int, what: str) -> tuple[int, ...]:
    found = table.integers(index)
    if len(found) > MAX_OPERANDS:
        raise contradiction(table.source.where, f"{what} list has {len(found)} entries")
    for i in found:
        if not -1 <= i < limit:
            raise contradiction(table.source.where, f"{what} is tensor {i} of {limit}")
    return found


def _operator(table: Table, kind: str, version: int, n_tensors: int) -> OperatorInfo:
    return OperatorInfo(
        kind,
        version,
        _indices(table, Field.OPERATOR_INPUTS, n_tensors, f"an input of {kind}"),
        _indices(table, Field.OPERATOR_OUTPUTS, n_tensors, f"an output of {kind}"),
        _indices(table, Field.OPERATOR_INTERMEDIATES, n_tensors, f"an intermediate of {kind}"),
        table.table(Field.OPERATOR_OPTIONS),
    )


def _tensor(table: Table, buffers: tuple[Table, ...]) -> TensorInfo:
    where = table.source.where
    name = table.text(Field.TENSOR_NAME)
    label = f"{where}: {name or 'a tensor'}"
    shape = table.integers(Field.TENSOR_SHAPE)
    number = table.integer(Field.TENSOR_TYPE, "b")
    if number not in DTYPES:
        raise contradiction(label, f"element type {number}")
    if len(shape) > MAX_RANK or any(d < -1 for d in shape) or abs(prod(shape)) > MAX_ELEMENTS:
        raise contradiction(label, f"shape {list(shape[:16])}")
    if table.table(Field.TENSOR_SPARSITY) is not None:
        raise NotSupported("OC1351", label, "a sparse tensor", limit="Dense tensors are read")
    if table.integer(Field.TENSOR_EXTERNAL, "I"):
        raise NotSupported("OC1351", label, "values in another file", limit="Values stand in the file itself")
    return TensorInfo(
        name, shape, table.integers(Field.TENSOR_SIGNATURE), DTYPES[number][0], _quantization(table, label, shape),
        _values(table, buffers, label, shape, DTYPES[number]), table.flag(Field.TENSOR_VARIABLE),
    )  # fmt: skip


def _quantization(table: Table, label: str, shape: tuple[int, ...]) -> Quantization | None:
    found = table.table(Field.TENSOR_QUANTIZATION)
    scale = None if found is None else found.vector(Field.QUANTIZATION_SCALE, "f")
    if found is None or scale is None or not len(scale):
        return None
    if found.integer(Field.QUANTIZATION_DETAILS, "B"):
        raise NotSupported("OC1351", label, "quantization in blocks", limit="Scales are per tensor or per channel")
    zero = found.integers(Field.QUANTIZATION_ZERO, "q") or (0,) * len(scale)
    axis = found.integer(Field.QUANTIZATION_AXIS)
    scales = tuple(float(s) for s in scale)
    if not all(isfinite(s) and s > 0.0 for s in scales):
        raise contradiction(label, "a scale is not a positive number")
    if len(zero) != len(scales) or any(abs(z) > 1 << 31 for z in zero):
        raise contradiction(label, f"{len(scales)} scales with {len(zero)} zero points")
    if len(scales) == 1:
        return Quantization(scales, zero)
    if not 0 <= axis < len(shape) or shape[axis] != len(scales):
        raise contradiction(label, f"{len(scales)} scales along axis {axis} of {list(shape)}")
    return Quantization(scales, zero, axis)


def _values(
    table: Table, buffers: tuple[Table, ...], label: str, shape: tuple[int, ...], dtype: tuple[str, str]
) -> Array | None:
    """View a constant's values; buffer 0 and empty buffers stand for none."""
    place = table.integer(Field.TENSOR_BUFFER, "I")
    if place == 0:
        return None
    if place >= len(buffers):
        raise contradiction(label, f"its values are in buffer {place} of {len(buffers)}")
    raw = _bytes(buffers[place], label)
    if raw is None or (not len(raw) and prod(shape)):
        return None
    kind, code = dtype
    if not code:
        return None
    if any(d < 0 for d in shape):
        raise contradiction(label, f"a constant of shape {list(shape)}")
    wanted = prod(shape) * np.dtype(code).itemsize
    if len(raw) != wanted:
        raise contradiction(label, f"{len(raw)} bytes for {kind} {list(shape)}, which needs {wanted}")
    array = raw.view(np.dtype(code)) if code != "?" else raw != 0
    return array.reshape(shape)


def _bytes(buffer: Table, label: str) -> Array | None:
    """View the bytes of a buffer, which may stand behind the flatbuffer."""
    data = buffer.source.data
    offset = buffer.integer(Field.BUFFER_OFFSET, "Q")
    if offset <= 1:
        return buffer.vector(Field.BUFFER_DATA, "B")
    size = buffer.integer(Field.BUFFER_SIZE, "Q")
    if offset + size > len(data):
        raise contradiction(label, f"bytes {offset} to {offset + size} of a file of {len(data)}")
    return np.frombuffer(data, np.uint8, count=size, offset=offset)
