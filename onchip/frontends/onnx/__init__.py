"""An ONNX file as a Graph.

In:       a path, or a ModelProto that is already in memory.
Out:      a float Graph. The symbol of dimension 0 of the first input becomes `batch`, other symbols keep their names.
          Inputs and outputs have the names of the model.
Promises: the file is untrusted: it is size-limited, parsed as protobuf and checked before anything is built; weights in
          other files are read only from its own directory. Opsets 7 to 26. Shape arithmetic (Shape, Gather, Concat,
          Reshape) is carried out on numbers and symbols. What only depends on initializers is computed by ONNX' own
          reference implementation.
Does not: accept custom domains, or operators that are not in ops.py: refused by the name of the node.
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.errors import BadFile, NotSupported
from onchip.ir.graph import Graph

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LIMIT_BYTES = 2 << 30  # protobuf's own limit of one message
OPSETS = (7, 26)
STANDARD = ("", "ai.onnx")


def read_onnx(path: str | Path, *, batch: int | None = None) -> Graph:
    """Read a file, with a number in place of the symbol `batch` where one is given.

    Raises BadFile for what is no model, NotSupported for what is not read.
    """
    file = Path(path)
    return read_model(_load(file), name=file.stem, where=str(path), batch=batch)


def read_model(model: ModelProto, *, name: str = "", where: str = "model", batch: int | None = None) -> Graph:
    """Write a ModelProto as a Graph."""
    from onchip.frontends.onnx.walk import Walk

    checked = _inlined(_checked(model, where))
    opset = _opset(checked, where)
    return Walk(
        checked.graph, name=name or checked.graph.name or "model", where=where, opset=opset, batch=batch
    ).graph()


def _load(file: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    where = str(file)
    try:
        size = file.stat().st_size
        if not file.is_file():
            raise BadFile("OC1250", where, "it is not a regular file")
        _limit(size, where)
        data = file.read_bytes()
    except OSError as error:
        raise BadFile("OC1250", where, f"it cannot be read: {error.strerror or error}") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise BadFile("OC1251", where, f"{size} bytes that do not parse as an ONNX model") from error
    _load_external(model, file)
    return model


def _limit(size: int, where: str) -> None:
    if size > LIMIT_BYTES:
        raise BadFile("OC1250", where, f"it has {size} bytes", limit=f"At most {LIMIT_BYTES} are read")


def _load_external(model: ModelProto, file: Path) -> None:
    """Read weights that lie in other files of the same directory; onnx refuses paths that leave it."""
    from onnx import TensorProto, external_data_helper

    outside = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return
    named = {_location(t) for t in outside}
    _limit(sum((file.parent / n).stat().st_size for n in named if (file.parent / n).is_file()), str(file))
    try:
        external_data_helper.load_external_data_for_model(model, str(file.parent))
    except Exception as error:
        text = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadFile("OC1252", str(file), f"its external weights cannot be read: {text}") from error


def _location(tensor: TensorProto) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def _checked(model: ModelProto, where: str) -> ModelProto:
    """Refuse what breaks the rules of ONNX, and operators of other domains before that."""
    import onnx

    for node in model.graph.node:
        if node.domain not in STANDARD and not any(f.domain == node.domain for f in model.functions):
            raise NotSupported(
                "OC1352", f"{where}: {node.name or node.output[0]}",
                f"operator {node.op_type} is of the domain '{node.domain}'", limit="Only the standard domain is read",
            )  # fmt: skip
    for info in model.graph.input:
        if info.type.HasField("tensor_type") and not info.type.tensor_type.HasField("shape"):
            raise NotSupported("OC1353", f"{where}: {info.name}", "an input without a known number of dimensions")
    try:
        onnx.checker.check_model(_with_output_shapes(model))
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadFile("OC1251", where, f"it is no valid model: {text}") from error
    if not model.graph.output:
        raise BadFile("OC1251", where, "its graph has no output")
    return model


def _with_output_shapes(model: ModelProto) -> ModelProto:
    """Give outputs without a shape one, in a copy: the checker wants it, and nobody reads it."""
    if all(not o.type.HasField("tensor_type") or o.type.tensor_type.HasField("shape") for o in model.graph.output):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for output in copy.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()
    return copy


def _inlined(model: ModelProto) -> ModelProto:
    if not model.functions:
        return model
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model)


def _opset(model: ModelProto, where: str) -> int:
    versions: list[Any] = [o.version for o in model.opset_import if o.domain in STANDARD]
    version = int(versions[0]) if versions else 0
    if not OPSETS[0] <= version <= OPSETS[1]:
        raise NotSupported("OC1253", where, f"opset {version}", limit=f"Opsets {OPSETS[0]} to {OPSETS[1]} are read")
    return version
