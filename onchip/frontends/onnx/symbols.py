"""Dimensions of an ONNX graph's inputs that have no number: their names, and the numbers that the user gives them.

In:       inputs as the file describes them, and shapes by the name of an input.
Out:      a name for each open dimension, one that our text form can hold, and numbers by the file's own name.
Promises: an open dimension without a name is called after its input and axis. What a shape says of a dimension that has
          a number in the file is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ValueInfoProto

GIVE_SHAPE = "Give the input a shape: --shape input=1x3x224x224, or read(path, shapes={'input': (1, 3, 224, 224)})"


def open_name(info: ValueInfoProto, axis: int) -> str:
    """Name a dimension of an input that has no number."""
    return info.type.tensor_type.shape.dim[axis].dim_param or f"{info.name}_{axis}"


def numbers_of(graph: GraphProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Give the open dimensions of inputs the numbers of `shapes`."""
    found: dict[str, int] = {}
    for info in graph.input:
        dims, given = info.type.tensor_type.shape.dim, shapes.get(info.name, ())
        if len(dims) == len(given):
            found |= {open_name(info, i): d for i, d in enumerate(given) if not dims[i].HasField("dim_value")}
    return found


def symbol_of(name: str) -> str:
    """Make a name of a dimension that our text form can hold."""
    cleaned = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return cleaned if cleaned[:1].isalpha() or cleaned[:1] == "_" else f"n_{cleaned}"
