"""`inspect`, `models`, `explain`: what there is.

In: names. Out: tables or JSON on stdout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from onchip.cli.options import Request, bind, load_graph
from onchip.cli.output import show, show_json
from onchip.errors import UnknownName, did_you_mean
from onchip.units import DASH, format_value

if TYPE_CHECKING:
    from onchip.ir.graph import Graph, Node

WIDTH = 100


def inspect(request: Request, *, as_json: bool) -> None:
    """Print a network's nodes; an open batch counts as 1."""
    opened = load_graph(request)
    graph = bind(opened, request)
    counted = graph.bind(**dict.fromkeys(graph.symbols, 1)) if graph.symbols else graph
    if as_json:
        show_json(_graph_json(graph, counted))
        return
    size = f"{format_value(counted.macs(), 'MAC')}, {format_value(counted.parameters(), 'parameters')} parameters"
    open_dims = f"; open dimensions: {', '.join(graph.symbols)} (counted as 1)" if graph.symbols else ""
    lines = [f"{graph.name}: {len(graph.nodes)} nodes, {size}{open_dims}."]
    lines += [f"Next:  onchip estimate {request.words} --chip edge-npu-16   (or another of onchip chips)", ""]
    lines += [f"  input   {name} {_shape(graph, name)}" for name in graph.inputs]
    lines += [f"  output  {name} {_shape(graph, name)}" for name in graph.outputs]
    rows = [("#", "node", "op", "output", "MACs", "parameters")]
    for i, node in enumerate(graph.nodes):
        macs, parameters = counted.node_macs(node.name), _parameters(counted, node)
        rows.append(
            (
                str(i), node.name, node.op, _shape(graph, node.outputs[0]),
                format_value(macs, "MAC") if macs else DASH,
                format_value(parameters, "parameters") if parameters else DASH,
            )
        )  # fmt: skip
    show("\n".join([*lines, "", *table(rows, right={0, 4, 5})]))


def _shape(graph: Graph, name: str) -> str:
    tensor = graph.tensor(name)
    return f"{tensor.dtype}[{','.join(map(str, tensor.shape))}]"


def _parameters(graph: Graph, node: Node) -> int:
    tensors = [graph.tensor(name) for name in node.inputs if name]
    return sum(prod(int(d) for d in tensor.shape) for tensor in tensors if tensor.constant is not None)


def _graph_json(graph: Graph, counted: Graph) -> dict[str, Any]:
    return {
        **tool(),
        "name": graph.name,
        "hash": graph.hash,
        "macs": counted.macs(),
        "parameters": counted.parameters(),
        "open_dimensions": list(graph.symbols),
        "inputs": [_tensor_json(graph, name) for name in graph.inputs],
        "outputs": [_tensor_json(graph, name) for name in graph.outputs],
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "inputs": list(node.inputs),
                "outputs": [_tensor_json(graph, name) for name in node.outputs],
                "macs": counted.node_macs(node.name),
                "parameters": _parameters(counted, node),
            }
            for node in graph.nodes
        ],
    }


def _tensor_json(graph: Graph, name: str) -> dict[str, Any]:
    tensor = graph.tensor(name)
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def models(*, as_json: bool) -> None:
    """List the networks of the zoo, with their size at batch 1."""
    from onchip.zoo.catalog import ZOO, build

    graphs = [(name, build(name, batch=1)) for name in sorted(ZOO)]
    if as_json:
        sizes = [{"name": f"@{name}", "macs": g.macs(), "parameters": g.parameters()} for name, g in graphs]
        listed = [{**size, "nodes": len(g.nodes)} for size, (_, g) in zip(sizes, graphs, strict=True)]
        show_json({**tool(), "models": listed})
        return
    rows = [("name", "nodes", "MACs", "parameters", "input")]
    for name, graph in graphs:
        macs, parameters = format_value(graph.macs(), "MAC"), format_value(graph.parameters(), "parameters")
        rows.append((f"@{name}", str(len(graph.nodes)), macs, parameters, _shape(graph, graph.inputs[0])))
    head = [f"{len(graphs)} networks, at batch 1; run and compile give them random weights."]
    head += ["Next:  onchip compare @resnet50   (all chips, fastest first)", ""]
    show("\n".join([*head, *table(rows, right={1, 2, 3})]))


def explain(code: str | None, *, as_json: bool) -> None:
    """Print what an error code means, or list all of them. Raises UnknownName."""
    from onchip.error_codes import catalog

    known = catalog()
    wanted = list(known) if code is None else [code.upper()]
    if wanted[0] not in known:
        hint = did_you_mean(wanted[0], known) or "Codes are OC and four digits, as in OC1001"
        raise UnknownName("OC1016", "explain", f"no error code '{str(code)[:40]}'", next=hint)
    if as_json:
        show_json({**tool(), "codes": [{"code": name, **asdict(known[name])} for name in wanted]})
        return
    if code is None:
        rows = [(name, entry.title) for name, entry in known.items()]
        head = [f"{len(known)} error codes.", "Next:  onchip explain OC1008   (cause, fixes and an example)", ""]
        show("\n".join([*head, *table(rows, right=set())]))
        return
    entry = known[wanted[0]]
    lines = [f"{wanted[0]}: {entry.title}.", "", *wrap(f"Cause: {entry.cause}", WIDTH), "", "What to do"]
    for i, fix in enumerate(entry.fixes, 1):
        lines += wrap(fix, WIDTH, initial_indent=f"  {i}. ", subsequent_indent="     ")
    lines += ["", "Example", *wrap(entry.example, WIDTH, initial_indent="  ", subsequent_indent="    ")]
    show("\n".join(lines))


def tool() -> dict[str, Any]:
    from onchip import __version__
    from onchip.ir.report import SCHEMA_VERSION

    return {"schema_version": SCHEMA_VERSION, "tool": f"onchip {__version__}"}


def table(rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    """Return the rows aligned; the columns in `right` to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
