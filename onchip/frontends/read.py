"""The door of the front ends: whatever names a model becomes a Graph.

In:       a path that ends in .onnx, .tflite, .npz (a Graph that was saved) or .csv (a SCALE-Sim topology), a torch
          module with example inputs, `package.module:factory`, or a Graph.
Out:      a Graph, not folded.
Promises: torch and onnx are imported when they are needed. Pickles are not read (loading one can run any code).
          A factory takes no arguments and gives a module, a pair (module, example), an ONNX model, or a Graph.
Does not: know the zoo: `@name` is resolved by the pipeline.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from onchip.errors import BadFile, OnchipError, UsageError
from onchip.ir.graph import Graph

if TYPE_CHECKING:
    from onchip.frontends.torch import Example, Module

PICKLES = (".pt", ".pth", ".pt2", ".bin", ".ckpt", ".pkl")


def read(
    model: str | Path | Graph | Module,
    example: Example | None = None,
    *,
    name: str = "",
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    is_dynamic: bool = True,
) -> Graph:
    """Read a model.

    `is_dynamic` keeps the batch of a torch module a symbol; `batch` puts a number in its place in an ONNX model, and
    `shapes` in those of all open dimensions of its inputs.
    """
    if isinstance(model, Graph):
        return model
    if not isinstance(model, (str, Path)):
        return _read_object(model, example, name=name, is_dynamic=is_dynamic)
    text = str(model)
    if Path(text).suffix.lower() == ".onnx":
        from onchip.frontends.onnx import read_onnx

        return read_onnx(text, batch=batch, shapes=shapes)
    if Path(text).suffix.lower() == ".tflite":
        from onchip.frontends.tflite import read_tflite

        return read_tflite(text, batch=batch)
    if Path(text).suffix.lower() == ".npz":
        return _read_npz(text)
    if Path(text).suffix.lower() == ".csv":
        from onchip.frontends.scale_sim import read_topology

        return read_topology(text)
    if ":" in text and not Path(text).exists():
        made, own = _call(text)
        return _read_object(made, own if example is None else example, name=name or _last(text), is_dynamic=is_dynamic)
    if Path(text).suffix.lower() in PICKLES:
        raise BadFile(
            "OC1254", text, "pickled models are not read, because loading one can run any code",
            next="Export it: torch.onnx.export(model, example, 'model.onnx', dynamo=True)",
        )  # fmt: skip
    limit = "A model is FILE.onnx, FILE.tflite, FILE.npz, a topology.csv, @name or package.module:factory"
    raise BadFile("OC1254", text, "this is no model", limit=limit)


def _read_npz(path: str) -> Graph:
    """Read a saved graph. Raises BadFile, which names a program file as what it is."""
    from onchip.ir.graph_file import is_graph_file, load_graph

    if Path(path).is_file() and not is_graph_file(path) and is_zipfile(path):
        fact = "holds no network: a compiled program, perhaps"
        raise BadFile("OC1254", path, fact, next="Run a program with onchip run; save a network with graph.save")
    return load_graph(path)


def _last(text: str) -> str:
    return text.rpartition(":")[2].rpartition(".")[2]


def _read_object(model: Any, example: Example | None, *, name: str, is_dynamic: bool) -> Graph:
    """Read what a factory made, or what the caller holds, without importing what it is not."""
    if isinstance(model, Graph):
        return model
    onnx, torch = sys.modules.get("onnx"), sys.modules.get("torch")
    if onnx is not None and isinstance(model, onnx.ModelProto):
        from onchip.frontends.onnx import read_model

        return read_model(model, name=name)
    if torch is None or not isinstance(model, torch.nn.Module):
        kind = type(model).__name__
        raise UsageError("OC1254", name or kind, f"an object of type {kind} is no model")
    label = name or type(model).__name__
    if example is None:
        raise UsageError("OC1257", label, "a torch module needs example inputs", next="read(module, (tensor,))")
    from onchip.frontends.torch import read_torch

    return read_torch(model, example, name=label, is_dynamic=is_dynamic)


def _call(text: str) -> tuple[object, Any]:
    """Import and call `package.module:factory`; the current directory counts as a place for modules."""
    module_name, _, attribute = text.partition(":")
    here = str(Path.cwd())
    is_added = here not in sys.path
    if is_added:
        sys.path.insert(0, here)
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
        made: Any = factory()
    except OnchipError:
        raise
    except Exception as error:
        fact = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UsageError("OC1255", text, f"the factory failed with {fact}") from error
    finally:
        if is_added:
            sys.path.remove(here)
    if isinstance(made, tuple) and len(made) == 2:  # pyright: ignore[reportUnknownArgumentType]
        return made[0], made[1]  # pyright: ignore[reportUnknownVariableType]
    return made, None
