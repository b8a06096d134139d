"""A graph as canonical text, and back: one line a tensor, one line a node.

In: a Graph, or its text. Out: the other. `read_graph(write_graph(g))` equals g but for the values of constants, which
the text names by their sha256 only. The text is what `--emit` prints, what goldens hold, and what a graph's hash is
made of.
"""

from __future__ import annotations

import json
from typing import Any

from onchip.errors import BadFile
from onchip.ir.graph import Constant, Graph, Node, Tensor
from onchip.ops.types import Dimension, Quantization

MAX_BYTES = 64 << 20


def write_graph(graph: Graph) -> str:
    """Return the canonical text; a line is a keyword and JSON values."""
    lines = [f"graph {_json(graph.name)}"]
    lines += [f"tensor {_tensor(t)}" for t in graph.tensors]
    for n in graph.nodes:
        attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in n.attributes}
        lines.append(f"node {_json(n.name)} {n.op} {_json(n.inputs)} -> {_json(n.outputs)} {_json(attributes)}")
    lines.append(f"inputs {_json(graph.inputs)}")
    lines.append(f"outputs {_json(graph.outputs)}")
    lines += [f"state {_json(list(pair))}" for pair in graph.states]
    return "\n".join(lines) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _tensor(t: Tensor) -> str:
    parts = [_json(t.name), t.dtype, _json(list(t.shape))]
    if t.quantization is not None:
        q = t.quantization
        parts.append("q=" + _json({"scale": list(q.scale), "zero": list(q.zero_point), "axis": q.axis}))
    if t.constant is not None:
        parts.append(f"constant={t.constant.sha256 or 'unknown'}")
    return " ".join(parts)


def read_graph(text: str) -> Graph:
    """Read canonical text. Raises BadFile with the line."""
    if len(text) > MAX_BYTES:
        raise BadFile("OC1235", "graph text", f"{len(text)} bytes", limit=f"at most {MAX_BYTES}")
    parts: dict[str, list[Any]] = {"tensor": [], "node": [], "inputs": [], "outputs": [], "state": [], "graph": []}
    for number, line in enumerate(text.split("\n"), 1):
        keyword, _, rest = line.partition(" ")
        if not line.strip():
            continue
        try:
            parts[keyword].append(_READERS[keyword](rest))
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError, BadFile):
            raise BadFile("OC1235", f"line {number}", f"not a line of a graph: {line[:60]!r}") from None
    if len(parts["graph"]) != 1 or len(parts["inputs"]) != 1 or len(parts["outputs"]) != 1:
        raise BadFile("OC1235", "graph text", "needs one graph, one inputs and one outputs line")
    return Graph(
        parts["graph"][0], tuple(parts["tensor"]), tuple(parts["node"]), parts["inputs"][0], parts["outputs"][0],
        tuple(parts["state"]),
    )  # fmt: skip


def _values(text: str, count: int) -> tuple[list[Any], str]:
    """Read `count` JSON values or bare words from the front of a line."""
    decoder, found = json.JSONDecoder(), list[Any]()
    text = text.lstrip()
    while len(found) < count:
        if text[0] in '"[{':
            value, end = decoder.raw_decode(text)
        else:
            value, end = text.split(" ", 1)[0], len(text.split(" ", 1)[0])
        found.append(value)
        text = text[end:].lstrip()
    return found, text


def _read_tensor(text: str) -> Tensor:
    (name, dtype, shape), rest = _values(text, 3)
    quantization = constant = None
    if rest.startswith("q="):
        (q,), rest = _values(rest[2:], 1)
        quantization = Quantization(tuple(q["scale"]), tuple(q["zero"]), q["axis"])
    if rest.startswith("constant="):
        digest = rest[len("constant=") :]
        constant = Constant("" if digest == "unknown" else digest, None)
    dims: tuple[Dimension, ...] = tuple(d if type(d) is int else _text(d) for d in shape)
    return Tensor(_text(name), dims, dtype, quantization, constant)


def _read_node(text: str) -> Node:
    (name, op, inputs, _, outputs, attributes), _ = _values(text, 6)
    pairs = [(str(k), tuple(v) if isinstance(v, list) else v) for k, v in attributes.items()]
    return Node(_text(name), op, _texts(inputs), _texts(outputs), tuple(sorted(pairs)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(map(_text, values))


def _names(text: str) -> tuple[str, ...]:
    return _texts(json.loads(text))


def _name(text: str) -> str:
    return _text(json.loads(text))


_READERS: dict[str, Any] = {
    "graph": _name,
    "tensor": _read_tensor,
    "node": _read_node,
    "inputs": _names,
    "outputs": _names,
    "state": _names,
}
