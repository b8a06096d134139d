"""What an ONNX file may and may not do: everything that is checked before a node is looked at.

In:       a ModelProto, parsed but not believed, and where it came from.
Out:      the same model with its external weights loaded, its local functions inlined, and its opset.
Promises: sizes are checked before memory is taken: of the file, of the weights beside it, of what functions unfold to.
          External weights are read from the model's own directory only, and only for a model that came from a file.
          Every refusal is an OnchipError of one line.
Does not: look at operators (ops.py), or at what constants compute (computed.py).
Sources:  https://onnx.ai/onnx/repo-docs/IR.html, https://onnx.ai/onnx/repo-docs/ExternalData.html,
          https://onnxruntime.ai/docs/execution-providers/EP-Context-Design.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.errors import BadFile, NotSupported, OnchipError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

LIMIT_BYTES = 2 << 30  # protobuf's own limit of one message
LIMIT_NODES = 1 << 20  # assumed: a network of a trillion parameters has 10,000
OPSETS = (7, 28)
LIMIT_TEXT = 300  # characters of a part of a message: names in a file may be of any length, and hold anything
STANDARD = ("", "ai.onnx")


def limit_bytes(size: int, where: str) -> None:
    """Refuse what is larger than is read."""
    if size > LIMIT_BYTES:
        raise BadFile("OC1250", where, f"it has {size} bytes", limit=f"At most {LIMIT_BYTES} are read")


def readable(error: OnchipError) -> OnchipError:
    """Return an error without what no terminal should print, long names of the file cut in their middle."""
    where, fact, limit, following = (_cut(t) for t in (error.where, error.fact, error.limit, error.next))
    return type(error)(error.code, where, fact, limit=limit, next=following)


def _cut(text: str) -> str:
    short = text if len(text) <= LIMIT_TEXT else f"{text[: LIMIT_TEXT - 60]} ... {text[-60:]}"
    return "".join(c if c.isprintable() or c.isspace() else "?" for c in short)


def load_external(model: ModelProto, file: Path) -> bool:
    """Read weights that lie in other files of the same directory, if there are any; paths that leave it are refused."""
    from onnx import external_data_helper

    where = str(file)
    outside = list(_external(model))
    if not outside:
        return False
    limit_bytes(sum(_external_bytes(t, file) for t in outside), where)
    try:
        external_data_helper.load_external_data_for_model(model, str(file.parent))
    except Exception as error:
        text = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadFile("OC1252", where, f"its external weights cannot be read: {text}") from error
    return True


def _external(model: ModelProto) -> Iterator[TensorProto]:
    from onnx import TensorProto

    tensors = [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute if a.HasField("t"))]
    return (t for t in tensors if t.data_location == TensorProto.EXTERNAL)


def _external_bytes(tensor: TensorProto, file: Path) -> int:
    """Count the bytes that a tensor takes from its file."""
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    home = file.parent.resolve()
    try:
        path = (home / location).resolve()
        is_inside = bool(location) and path.is_relative_to(home) and path != home
        size = path.stat().st_size if is_inside and path.is_file() else None
        wanted = int(entries.get("length") or 0)
    except (OSError, ValueError, RuntimeError, TypeError) as error:  # TypeError: a text that is no UTF-8 comes as bytes
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        fact = f"weights of '{tensor.name[:80]}' cannot be found: {reason[:200]}"
        raise BadFile("OC1252", str(file), fact) from error
    if not is_inside:
        raise BadFile(
            "OC1252", str(file), f"weights of '{tensor.name[:80]}' lie in '{location[:80]}'",
            limit="Weights are read from the model's own directory only",
        )  # fmt: skip
    if size is None:
        fact = f"weights of '{tensor.name[:80]}' lie in '{location[:80]}', which is no file beside the model"
        raise BadFile("OC1252", str(file), fact, next="Copy the file of weights there")
    return min(size, wanted) if wanted > 0 else size


def checked(model: ModelProto, where: str, data: bytes | None = None) -> ModelProto:
    """Refuse what breaks the rules of ONNX, and operators of other domains before that.

    `data` are the model's bytes where they are at hand: the checker wants them, and making them anew takes time.
    """
    import onnx

    from onchip.frontends.onnx.microsoft import MICROSOFT

    for node in model.graph.node:
        if node.op_type == "EPContext":
            raise _compiled(node, where)
        is_ours = node.domain in STANDARD or (node.domain == "com.microsoft" and node.op_type in MICROSOFT)
        if not is_ours and not any(f.domain == node.domain for f in model.functions):
            raise NotSupported(
                "OC1352", f"{where}: {node.name or ' '.join(node.output)}",
                f"operator {node.op_type} is of the domain '{node.domain}'",
                limit="Of other domains only com.microsoft is read, in part: docs/ops.md",
            )  # fmt: skip
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise NotSupported("OC1351", f"{where}: {name}", "a sparse initializer", limit="Weights have to be dense")
    for info in model.graph.input:
        if info.type.HasField("tensor_type") and not info.type.tensor_type.HasField("shape"):
            raise NotSupported("OC1353", f"{where}: {info.name}", "an input without a known number of dimensions")
    try:
        shaped = _with_output_shapes(model)
        onnx.checker.check_model(data if data is not None and shaped is model else shaped)
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadFile("OC1251", where, f"it is no valid model: {text}") from error
    if not model.graph.output:
        raise BadFile("OC1251", where, "its graph has no output")
    return model


def _compiled(node: NodeProto, where: str) -> NotSupported:
    """Make the error for a network that ONNX Runtime has compiled for a chip: one node holds it whole."""
    texts = {a.name: a.s.decode(errors="replace") for a in node.attribute}
    fact = f"the network is compiled for '{texts.get('source') or 'an accelerator'}' already (EPContext)"
    return NotSupported(
        "OC1360", f"{where}: {node.name or ' '.join(node.output)}", fact, next="Give the .onnx file from before"
    )


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


def inlined(model: ModelProto, where: str) -> ModelProto:
    """Unfold local functions, if what comes out is of reasonable size."""
    if not model.functions:
        return model
    import onnx.inliner

    sizes: dict[tuple[str, str], int] = {}
    bodies = {(f.domain, f.name): f.node for f in model.functions}

    def size(nodes: Any, depth: int) -> int:
        if depth > len(bodies):
            raise BadFile("OC1251", where, "its functions call each other in a circle")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], depth + 1)
            total += sizes.get(key, 1)
        return total

    if size(model.graph.node, 0) > LIMIT_NODES:
        raise BadFile(
            "OC1250", where, "its functions unfold to too many nodes", limit=f"At most {LIMIT_NODES} are read"
        )
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadFile("OC1251", where, f"its functions cannot be inlined: {text}") from error


def opset_of(model: ModelProto, where: str) -> int:
    """Read the version of the standard domain."""
    versions: list[Any] = [o.version for o in model.opset_import if o.domain in STANDARD]
    version = int(versions[0]) if versions else 0
    if not OPSETS[0] <= version <= OPSETS[1]:
        raise NotSupported("OC1253", where, f"opset {version}", limit=f"Opsets {OPSETS[0]} to {OPSETS[1]} are read")
    return version
