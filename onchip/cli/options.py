"""The options that verbs share, once.

In:       nothing. Out: annotated types for the parameters of verbs, and small readers of their values.
Promises: one spelling of an option in all verbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onchip.errors import UsageError

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.ir.graph import Graph

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="FILE.onnx, @name, or package.module:factory")]
ChipName = Annotated[str, typer.Option("--chip", "-c", help="a chip's name or FILE.toml")]
Batch = Annotated[int | None, typer.Option("--batch", "-b", min=1, help="inputs per run (default 1)")]
Dims = Annotated[list[str] | None, typer.Option("--dim", metavar="NAME=N", help="bind another named dimension")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="arithmetic (default: the chip's)")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change the chip: local.size=512KiB")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="also write it to this file")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="only the verdict")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="every layer")]
Effort = Annotated[int | None, typer.Option("--effort", min=1, help="mappings tried per kernel")]


@dataclass(frozen=True, slots=True)
class Request:
    """What names a network, its sizes and its arithmetic."""

    model: str
    batch: int | None = None
    dims: tuple[str, ...] = ()
    dtype: str | None = None


def load_chip(name: str, sets: list[str] | None) -> Chip:
    """Return the chip with its overrides."""
    from onchip.chip import Chip

    chip = Chip.load(name)
    return chip.replace(dict(_pair(text, "--set", "local.size=512KiB") for text in sets)) if sets else chip


def load_graph(request: Request, *, weights: str | None = None) -> Graph:
    """Return the network as it is read, its batch and other named dimensions still open. Raises OnchipError."""
    from onchip import pipeline

    graph = pipeline.read(request.model, weights=weights)
    bound: dict[str, int] = {}
    for text in request.dims:
        name, value = _pair(text, "--dim", "sequence=128")
        if not value.isdecimal():
            raise UsageError("OC1008", "--dim", f"'{text}' does not bind to a number", next="Write --dim sequence=128")
        bound[name] = int(value)
    return graph.bind(**bound) if bound else graph


def bind(graph: Graph, request: Request) -> Graph:
    """Return the network with its batch, where one was asked for. Raises UsageError where the batch is fixed."""
    if request.batch is None:
        return graph
    if "batch" not in graph.symbols:
        shapes = ", ".join(f"{name} {list(graph.tensor(name).shape)}" for name in graph.inputs)
        fact = f"-b {request.batch}: the batch of this network is fixed"
        raise UsageError("OC1008", request.model, fact, limit=f"Inputs: {shapes}", next="Export it with a named batch")
    return graph.bind(batch=request.batch)


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key or not value:
        fact = f"'{text[:80]}' is no KEY=VALUE"
        raise UsageError("OC1008", option, fact, next=f"Write {option} {example}")
    return key, value
