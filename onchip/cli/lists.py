"""`inspect`, `chips`, `models`, `explain`: what there is.

In: names. Out: tables, TOML or JSON on stdout.
Promises: `onchip chips NAME` prints a chip file that loads again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from onchip.cli.options import Request, bind, load_graph
from onchip.cli.output import show, show_json
from onchip.errors import UnknownName, did_you_mean
from onchip.units import DASH, format_value

if TYPE_CHECKING:
    from onchip.ir.graph import Graph, Node

RIGHT = "right"


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
    lines = [f"{graph.name}: {len(graph.nodes)} nodes, {size}{open_dims}.", ""]
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


def chips(name: str | None, *, as_json: bool) -> None:
    """List the catalog, or print one chip."""
    from onchip.chip import Chip

    if name is not None:
        chip = Chip.load(name)
        if as_json:
            show_json({"name": chip.name, "hash": chip.hash, "toml": str(chip)})
        else:
            print(str(chip), end="")
        return
    loaded = [Chip.load(known) for known in Chip.names()]
    if as_json:
        keys = ("name", "evidence", "default_dtype", "description", "hash")
        show_json([{**{key: getattr(chip, key) for key in keys}, "dtypes": list(chip.dtypes)} for chip in loaded])
        return
    rows = [("name", "evidence", "peak of its default dtype", "cores", "local", "DRAM", "what it is")]
    for chip in loaded:
        peak = f"{chip.default_dtype} {format_value(chip.peak_ops_per_s(chip.default_dtype), 'op/s')}"
        local = format_value(chip.local.size_bytes, "B")
        dram = format_value(chip.dram.bandwidth_bytes_per_s, "B/s")
        rows.append((chip.name, chip.evidence, peak, str(chip.cores.count), local, dram, chip.description))
    show("\n".join([f"{len(loaded)} chips; `onchip chips NAME` prints one.", "", *table(rows, right={3, 4, 5})]))


def models(*, as_json: bool) -> None:
    """List the networks of the zoo, with their size at batch 1."""
    from onchip.zoo.catalog import ZOO, build

    graphs = [(name, build(name, batch=1)) for name in sorted(ZOO)]
    if as_json:
        sizes = [{"name": f"@{name}", "macs": g.macs(), "parameters": g.parameters()} for name, g in graphs]
        show_json([{**size, "nodes": len(g.nodes)} for size, (_, g) in zip(sizes, graphs, strict=True)])
        return
    rows = [("name", "nodes", "MACs", "parameters", "input")]
    for name, graph in graphs:
        macs, parameters = format_value(graph.macs(), "MAC"), format_value(graph.parameters(), "parameters")
        rows.append((f"@{name}", str(len(graph.nodes)), macs, parameters, _shape(graph, graph.inputs[0])))
    show("\n".join([f"{len(graphs)} networks, without weights unless asked.", "", *table(rows, right={1, 2, 3})]))


def explain(code: str) -> None:
    """Print what an error code means. Raises UnknownName."""
    from onchip.error_codes import catalog

    wanted = code.upper()
    entry = catalog().get(wanted)
    if entry is None:
        hint = did_you_mean(wanted, catalog()) or "Codes are OC and four digits, as in OC1001"
        raise UnknownName("OC1016", "explain", f"no error code '{code[:40]}'", next=hint)
    fixes = [f"  {i}. {fix}" for i, fix in enumerate(entry.fixes, 1)]
    show("\n".join([f"{wanted}: {entry.title}.", "", entry.cause, *(["", "What to do", *fixes] if fixes else [])]))


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
