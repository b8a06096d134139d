"""Networks and layers of measurements: by the zoo's ids, or in a model file.

In:       the parameters of a row: name (or network), batch, input (CxHxW, one number, or default), seq, layer.
Out:      a float Graph whose dimensions are numbers.
Promises: an unknown name is refused with the nearest ones; sizes that the network does not have are refused, never
          rounded to those that it has. A name with a `.` and a known ending is a path, from the working directory or
          else from the measurements file's. Code is never imported because of a name.
          Networks of `tpu-v1-` without a batch have the batch that was published.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onchip import pipeline
from onchip.errors import NotSupported, OnchipError
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.silicon.measurements import CONDITIONS
from onchip.zoo.catalog import ZOO, build, spelled
from onchip.zoo.tpu_v1 import BATCHES

ENDINGS = (".onnx", ".tflite")
SEQUENCES = ("seq", "sequence", "seq_len", "seq_length", "sequence_length")
KEYS = ("name", "network", "layer", "batch", "input", "seq")


def draw_network(params: Mapping[str, str], folder: str = "") -> Graph:
    """Return the network of a row. Raises OnchipError."""
    for key, value in params.items():
        if key not in KEYS and key not in CONDITIONS and value[0].isdigit():
            limit = f"It has {', '.join(KEYS)}"
            raise NotSupported("OC1504", "network", f"has no parameter '{key}'", limit=limit)
    name = params.get("name") or params.get("network")
    if name is None:
        raise NotSupported("OC1504", "network", "'name' is missing")
    batch = int(params["batch"]) if "batch" in params else BATCHES.get(name, 1)
    seq = int(params["seq"]) if "seq" in params else None
    if name.endswith(ENDINGS):
        return _from_file(name, batch, params.get("input", "default"), seq, folder)
    return _from_zoo(name, batch, params.get("input", "default"), seq)


@functools.lru_cache(maxsize=64)
def _from_zoo(name: str, batch: int, size: str, seq: int | None) -> Graph:
    options: dict[str, Any] = {} if seq is None else {"seq": seq}
    graph = build(name, batch=batch, **options)
    if _has_size(graph, size):
        return graph
    side = _square(size)
    if side is not None and "image_size" in _options(name):
        graph = build(name, batch=batch, image_size=side, **options)
        if _has_size(graph, size):
            return graph
    raise _refused_size(name, size, graph)


def _options(name: str) -> Mapping[str, inspect.Parameter]:
    known_as = spelled()[name.removeprefix("@").lower().replace("-", "").replace("_", "")]
    return inspect.signature(ZOO[known_as].builder(known_as)).parameters


@functools.lru_cache(maxsize=64)
def _from_file(name: str, batch: int, size: str, seq: int | None, folder: str) -> Graph:
    path = Path(name)
    path = path if path.exists() or path.is_absolute() else Path(folder) / path
    graph = pipeline.read(str(path))
    symbols = graph.symbols
    if "batch" in symbols:
        graph = graph.bind(batch=batch)
    elif graph.inputs and graph.tensor(graph.inputs[0]).shape[:1] != (batch,):
        raise NotSupported("OC1504", name, f"batch = {batch}: the batch of this network is fixed")
    if seq is not None:
        symbol = next((s for s in SEQUENCES if s in symbols), None)
        if symbol is None:
            raise NotSupported("OC1504", name, f"seq = {seq}: no dimension is named {', '.join(SEQUENCES)}")
        graph = graph.bind(**{symbol: seq})
    if graph.symbols:
        raise NotSupported("OC1504", name, f"dimensions without a number: {', '.join(graph.symbols)}")
    if not _has_size(graph, size):
        raise _refused_size(name, size, graph)
    return graph


def _has_size(graph: Graph, size: str) -> bool:
    """Return whether the first input has the size of a row: CxHxW in either order of channels, or one number."""
    if size == "default":
        return True
    shape = tuple(int(d) for d in graph.tensor(graph.inputs[0]).shape[1:])
    parts = size.split("x")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        return False
    wanted = tuple(map(int, parts))
    if len(wanted) == 1 and len(shape) == 3:
        return shape[0] == shape[1] == wanted[0] or shape[1] == shape[2] == wanted[0]
    return wanted in (shape, (*shape[-1:], *shape[:-1]))


def _square(size: str) -> int | None:
    parts = size.split("x")
    side = parts[-1]
    is_square = len(parts) == 1 or (len(parts) == 3 and parts[1] == side)
    return int(side) if is_square and side.isascii() and side.isdecimal() and len(side) < 10 and int(side) else None


def _refused_size(name: str, size: str, graph: Graph) -> OnchipError:
    shape = "x".join(str(d) for d in graph.tensor(graph.inputs[0]).shape[1:])
    return NotSupported("OC1504", name, f"has no input {size[:40]}", limit=f"Its input is {shape}, channels last")


def draw_layer(params: Mapping[str, str], folder: str = "") -> Graph:
    """Return one named layer of a network as a graph of its own. Raises OnchipError."""
    layer = params.get("layer")
    if layer is None:
        raise NotSupported("OC1504", "layer", "'layer' is missing")
    whole = draw_network({key: value for key, value in params.items() if key != "layer"}, folder)
    node = whole.node(layer)
    builder = GraphBuilder(f"{whole.name}.{layer}")
    for name in dict.fromkeys(name for name in node.inputs if name):
        tensor = whole.tensor(name)
        if tensor.constant is None:
            builder.input(name, tensor.shape, tensor.dtype)
        else:
            builder.constant(name, tensor.shape if tensor.constant.data is None else tensor.constant.data, tensor.dtype)
    made = builder.node(node.op, node.inputs, node.name, **dict(node.attributes))
    builder.output(made if isinstance(made, str) else made[0])
    return builder.finish()
