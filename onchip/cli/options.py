"""The options that verbs share, once.

In:       nothing. Out: annotated types for the parameters of verbs, and small readers of their values.
Promises: one spelling of an option in all verbs; an option that would have no effect is refused.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onchip.errors import NotSupported, UnknownName, UsageError, did_you_mean
from onchip.units import format_value

if TYPE_CHECKING:
    from onchip.case import Case
    from onchip.chip import Chip
    from onchip.ir.graph import Graph

MOST_RANDOM = 400_000_000  # parameters: 1.6 GB as float32, and as much again in a program
LARGEST = 1 << 20  # of a batch or a sequence: far beyond any chip, and products of sizes stay in 64 bits
SEQUENCES = ("seq", "sequence", "seq_len", "seq_length", "sequence_length")  # what exporters name that dimension

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="FILE.onnx, .tflite, .npz or .csv, @name, or package.module:factory")
]
ChipName = Annotated[str, typer.Option("--chip", "-c", help="a chip's name, FILE.toml, or a FILE.cfg of SCALE-Sim")]
Batch = Annotated[int | None, typer.Option("--batch", "-b", min=1, max=LARGEST, help="inputs per run (default 1)")]
Seq = Annotated[int | None, typer.Option("--seq", min=1, max=LARGEST, help="length of sequences")]
Shapes = Annotated[
    list[str] | None, typer.Option("--shape", metavar="INPUT=1x3x224x224", help="shape of an input; again for each")
]
Dtype = Annotated[str | None, typer.Option("--dtype", help="arithmetic (default: the chip's)")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the chip (local.size=512KiB) or the run (batch=2)"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="also write it to this file (.json or text)")]
PageOutput = Annotated[
    Path | None, typer.Option("--output", "-o", help="also write it to this file (.html for a page, .json or text)")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="of what is random")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="only the verdict")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="every layer")]
Effort = Annotated[str, typer.Option("--effort", metavar="N", help="mappings priced per kernel: N, default or full")]

Actions = Annotated[
    str | None, typer.Option("--actions", metavar="N", help="try so many changes, or all (a page does); 0: none")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="which assumptions made the number, and what others would give")
]
TraceFile = Annotated[
    Path | None, typer.Option("--trace", metavar="FILE", help="every event, .pftrace (Perfetto) or .json (Chrome)")
]
NodeData = Annotated[
    Path | None, typer.Option("--node-data", metavar="FILE.json", help="numbers of the nodes, for Model Explorer")
]
Layer = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="explain this layer's loops and mapping")]


@dataclass(frozen=True, slots=True)
class Request:
    """What names a network, its sizes, its arithmetic, and how hard to search."""

    model: str
    batch: int | None = None
    seq: int | None = None
    shapes: tuple[str, ...] = ()
    dtype: str | None = None
    effort: str = "default"
    rewrites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype is not None:
            from onchip.case import check_dtype

            check_dtype(self.dtype)

    @property
    def words(self) -> str:
        """Return the request as words of a command line."""
        pairs = [("-b", self.batch), ("--seq", self.seq), *(("--shape", text) for text in self.shapes)]
        pairs += [("--dtype", self.dtype), ("--effort", self.effort if self.effort != "default" else None)]
        pairs += [("--set", f"rewrite={name}") for name in self.rewrites]
        return " ".join([self.model, *(f"{option} {value}" for option, value in pairs if value is not None)])


def settled(request: Request, sets: list[str] | None) -> tuple[Request, list[str]]:
    """Return the request with the settings of the run in it, and the settings that are the chip's."""
    if not sets:
        return request, []
    from onchip.case import batch_of, refuse_misspelt

    own: list[str] = []
    for text in sets:
        key, value = setting(text)
        if key == "batch":
            request = replace(request, batch=batch_of(value))
        elif key == "dtype":
            request = replace(request, dtype=value)
        elif key == "effort":
            request = replace(request, effort=value)
        elif key == "rewrite":
            request = replace(request, rewrites=(*request.rewrites, value))
        else:
            refuse_misspelt(key)
            own.append(text)
    return request, own


def case_of(request: Request, chip_name: str, sets: list[str] | None = None) -> Case:
    """Return what `case` prices. Raises OnchipError."""
    from onchip.case import Case, effort_of

    effort = effort_of(request.effort)
    return Case(load_graph(request), load_chip(chip_name, sets), request.batch, request.dtype, effort)


def chip_words(name: str, sets: list[str] | None) -> str:
    """Return the chip with its overrides as words of a command line."""
    query = ("&" if "?" in name else "?") + "&".join(sets) if sets else ""
    return f"--chip {shlex.quote(name + query)}"


def setting(text: str) -> tuple[str, str]:
    """Return the key and the value of a --set. Raises UsageError."""
    return _pair(text, "--set", "local.size=512KiB")


def load_chip(name: str, sets: list[str] | None) -> Chip:
    """Return the chip with its overrides."""
    from onchip.chip import Chip

    chip = Chip.load(name)
    return chip.replace(dict(map(setting, sets))) if sets else chip


def load_graph(request: Request, *, weights: str | None = None) -> Graph:
    """Return the network as it is read, its sequence and shapes bound, its batch still open. Raises OnchipError."""
    from onchip import pipeline

    _check_zoo_name(request.model)
    if weights is not None and request.model.startswith("@"):
        _check_random_weights(request.model)
    if request.seq is not None and request.model.startswith("@"):
        from onchip.zoo.catalog import build

        graph = build(request.model, weights=weights, seq=request.seq)
    else:
        graph = pipeline.read(request.model, weights=weights, shapes=_shapes(request))
        graph = graph if request.seq is None else _bind_sequence(graph, request.seq)
    for text in request.shapes:
        graph = _bind_shape(graph, text)
    return _rewritten(graph, request.rewrites)


def _rewritten(graph: Graph, names: tuple[str, ...]) -> Graph:
    if names:
        from onchip.case import rewrite

        for name in names:
            graph = rewrite(graph, name)
    return graph


def _check_zoo_name(model: str) -> None:
    """Say what is missing where a network of the zoo is named without its @. Raises UnknownName."""
    if model.startswith("@") or "." in model or ":" in model or "/" in model:
        return
    from onchip.zoo.catalog import ZOO

    if model in ZOO:
        hint = f"Did you mean '@{model}'?"
        raise UnknownName("OC1002", model, "networks of the zoo are named with an @", next=hint)


def _check_random_weights(model: str) -> None:
    """Refuse to draw more weights than a memory of a few gigabytes holds. Raises NotSupported."""
    from onchip.zoo.catalog import build

    parameters = build(model).parameters()
    if parameters > MOST_RANDOM:
        fact = f"its {format_value(parameters, 'parameters')} parameters are too many to draw at random"
        limit = f"At most {format_value(MOST_RANDOM, 'parameters')}"
        raise NotSupported("OC1017", model, fact, limit=limit, next="Use onchip estimate, which needs shapes only")


def bind(graph: Graph, request: Request) -> Graph:
    """Return the network with its batch, where one was asked for. Raises UsageError where the batch is fixed."""
    from onchip.case import bind_to

    return bind_to(graph, request.batch, request.model)


def _bind_sequence(graph: Graph, length: int) -> Graph:
    name = next((name for name in SEQUENCES if name in graph.symbols), None)
    if name is None:
        fact = f"--seq {length}: no dimension of this network is named {', '.join(SEQUENCES)}"
        raise UsageError("OC1008", graph.name, fact, limit=_inputs(graph), next="Use --shape")
    return graph.bind(**{name: length})


def _bind_shape(graph: Graph, text: str) -> Graph:
    """Bind the open dimensions of one input; those with a number have to agree."""
    name, value = _pair(text, "--shape", "input=1x3x224x224")
    if name not in graph.inputs:
        hint = did_you_mean(name, graph.inputs) or _inputs(graph)
        raise UnknownName("OC1008", "--shape", f"the network has no input '{name[:80]}'", next=hint)
    shape = graph.tensor(name).shape
    sizes = re.split("[x,]", value.strip("[]"))
    if len(sizes) != len(shape) or not all(re.fullmatch("[0-9]{1,7}", s) and 1 <= int(s) <= LARGEST for s in sizes):
        fact = f"'{text[:80]}' is no shape of {len(shape)} dimensions"
        example = "x".join(str(d if isinstance(d, int) else 1) for d in shape)
        raise UsageError("OC1008", "--shape", fact, limit=_inputs(graph), next=f"Write --shape {name}={example}")
    bound: dict[str, int] = {}
    for want, size in zip(shape, map(int, sizes), strict=True):
        if bound.setdefault(want, size) != size if isinstance(want, str) else want != size:
            fact = f"{name} cannot be {'x'.join(sizes)}: dimension {want} is not {size}"
            raise UsageError("OC1008", "--shape", fact, limit=_inputs(graph))
    return graph.bind(**bound) if bound else graph


def _shapes(request: Request) -> dict[str, tuple[int, ...]]:
    """Return the shapes as numbers; what is none is refused when the network is known (_bind_shape)."""
    parts = (text.partition("=") for text in request.shapes)
    sizes = {name: re.split("[x,]", value.strip("[]")) for name, _, value in parts}
    return {n: tuple(map(int, s)) for n, s in sizes.items() if all(re.fullmatch("[1-9][0-9]{0,6}", d) for d in s)}


def _inputs(graph: Graph) -> str:
    from onchip.case import inputs_of

    return inputs_of(graph)


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key or not value:
        fact = f"'{text[:80]}' is no KEY=VALUE"
        raise UsageError("OC1008", option, fact, next=f"Write {option} {example}")
    return key, value
