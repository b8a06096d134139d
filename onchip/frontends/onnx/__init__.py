"""An ONNX file as a Graph.

In:       a path, or a ModelProto that is already in memory.
Out:      a float Graph; one of int8 where the model is quantized (QLinear*, or pairs of QuantizeLinear and
          DequantizeLinear). The symbol of dimension 0 of the first input becomes `batch`, other symbols keep their
          names. Inputs and outputs have the names of the model.
Promises: the file is untrusted: it is size-limited, parsed as protobuf and checked before anything is built; weights in
          other files are read only from its own directory. Opsets 7 to 28. Shape arithmetic (Shape, Gather, Concat,
          Reshape) is carried out on numbers and symbols. What only depends on initializers is computed by ONNX' own
          reference implementation.
Does not: accept custom domains (of com.microsoft a part), or operators that are not in ops.py: refused by the name of
          the node.
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onchip.errors import BadFile, OnchipError
from onchip.frontends.onnx.trust import LIMIT_BYTES, checked, inlined, limit_bytes, load_external, opset_of, readable
from onchip.ir.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

Shapes = Mapping[str, Sequence[int]]  # by the name of an input


def read_onnx(path: str | Path, *, batch: int | None = None, shapes: Shapes | None = None) -> Graph:
    """Read a file, with numbers in place of the symbol `batch` and of the dimensions that `shapes` gives by input.

    Raises BadFile for what is no model, NotSupported for what is not read.
    """
    file = Path(path)
    model, data = _load(file)
    return _read(model, data, name=file.stem, where=str(path), batch=batch, shapes=shapes or {})


def read_model(
    model: ModelProto, *, name: str = "", where: str = "model", batch: int | None = None, shapes: Shapes | None = None
) -> Graph:
    """Write a ModelProto as a Graph."""
    return _read(model, None, name=name, where=where, batch=batch, shapes=shapes or {})


def _read(model: ModelProto, data: bytes | None, *, name: str, where: str, batch: int | None, shapes: Shapes) -> Graph:
    from onchip.frontends.onnx.qdq import integer_form
    from onchip.frontends.onnx.walk import Walk

    try:
        whole = inlined(checked(model, where, data), where)
        label, opset = name or whole.graph.name or "model", opset_of(whole, where)
        body = integer_form(whole.graph, where)
        return Walk(body, name=label, where=where, opset=opset, batch=batch, shapes=shapes).graph()
    except OnchipError as error:
        raise readable(error) from error


def _load(file: Path) -> tuple[ModelProto, bytes | None]:
    """Return the model and its bytes, None where weights came from other files."""
    import onnx
    from google.protobuf.message import DecodeError

    where = str(file)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise BadFile("OC1250", where, "it is not a regular file")
        limit_bytes(size, where)
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        text = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise BadFile("OC1250", where, f"it cannot be read: {text}") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise BadFile("OC1251", where, f"{size} bytes that do not parse as an ONNX model") from error
    return model, None if load_external(model, file) else data


__all__ = ["LIMIT_BYTES", "read_model", "read_onnx"]
