"""`quantize`: a float network becomes an int8 one, with what that costs in precision, layer by layer.

In:       what the user asked for, and samples from an .npz or .npy file.
Out:      text or JSON, and with -o the int8 network as an .npz file that every other verb reads.
Promises: without samples they are random, and the report says that its ratios are those of random inputs; ratios are
          measured on at most MEASURED of the samples, and the report says on how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onchip.cli.arrays import Arrays, check_shapes, random_arrays, read_arrays, wanted_by
from onchip.cli.options import Request, bind, load_chip, load_graph
from onchip.cli.output import progress, show, show_json
from onchip.cli.report import is_page, write_page
from onchip.errors import DoesNotFit, UsageError

if TYPE_CHECKING:
    from onchip.ir.graph import Graph

MEASURED = 32
AT_ONCE = 32  # samples in one evaluation
RANDOM = 8


@dataclass(frozen=True, slots=True)
class Options:
    """How to quantize; names of layers stand between commas."""

    method: str = "minmax"
    percentile: float | None = None
    per_tensor: bool = False
    keep_float: str = ""
    int16: str = ""
    target_db: float | None = None
    page: Path | None = None

    def named(self, text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())

    @property
    def words(self) -> str:
        """Return the options as words of a command line, but for those that the next action sets."""
        pairs = (("--percentile", self.percentile), ("--keep-float", self.keep_float or None))
        told = [f"--method {self.method}"] if self.method != "minmax" else []
        told += [f"{option} {value}" for option, value in pairs if value is not None]
        return " ".join([*told, *(["--per-tensor"] if self.per_tensor else [])])


def quantize(
    request: Request,
    samples: Path | None,
    options: Options,
    *,
    chip_name: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Quantize a network, write it, and say what it costs in precision. Raises DoesNotFit for a target not met."""
    from onchip import pipeline
    from onchip.ir.page import Page
    from onchip.precision import sensitivity
    from onchip.reports.numerics import numerics_of
    from onchip.reports.sensitivity import sensitivity_text, verdict

    if output is not None and output.suffix != ".npz":
        raise UsageError("OC1008", "--output", f"'{output}' is no .npz file", next="A network is written as FILE.npz")
    if options.page is not None and not is_page(options.page):
        raise UsageError("OC1008", "--report", "a page is written as .html", next=f"Write {options.page.stem}.html")
    if options.int16 and options.target_db is not None:
        fact = "--target-sqnr chooses the layers that --int16 names"
        raise UsageError("OC1008", "--int16", fact, next="Leave one of both away")
    graph = bind(load_graph(request, weights="random" if request.model.startswith("@") else None), request)
    chip = load_chip(chip_name, None) if chip_name is not None else None
    given, notes = _samples(graph, request, samples)
    how: dict[str, Any] = {
        "method": options.method, "percentile": options.percentile, "per_channel": not options.per_tensor,
        "keep_float": options.named(options.keep_float), "int16": options.named(options.int16),
    }  # fmt: skip
    made = pipeline.quantize(graph, given, **how)
    with progress(f"{graph.name}: measure") as step:
        found = sensitivity(
            graph, given, measured=_first(given, MEASURED), target_db=options.target_db, chip=chip, progress=step, **how
        )
    if output is not None:
        made.save(output)
    if options.page is not None:
        write_page(options.page, Page(f"{graph.name} in int8", (), {"numerics": numerics_of(found)}))
    found = replace(found, assumptions=(*notes, *found.assumptions))
    words = " ".join([request.words, *([f"--samples {samples}"] if samples else []), options.words]).strip()
    words += f" --chip {chip_name}" if chip_name is not None else ""
    if as_json:
        show_json(found.to_json())
    else:
        text = sensitivity_text(found, words=words, output=str(output or ""), all_layers=verbose)
        show(verdict(found) if quiet else text)
    if not found.is_reached:
        fact = f"SQNR of {options.target_db} dB is not met"
        raise DoesNotFit("OC2003", graph.name, fact, next="See the steps above, or keep layers in floats")


def _samples(graph: Graph, request: Request, path: Path | None) -> tuple[list[Arrays], list[str]]:
    notes = ["weights are random (seed 0): the zoo has none"] if request.model.startswith("@") else []
    wanted = wanted_by(graph)
    if path is None:
        bound = graph.bind(batch=RANDOM) if "batch" in graph.symbols else graph
        notes.append("samples are random: ranges and ratios are those of random inputs (--samples FILE)")
        return [random_arrays(wanted_by(bound), seed) for seed in range(1 if bound is not graph else RANDOM)], notes
    arrays = read_arrays(path, wanted)
    check_shapes(wanted, arrays, any_batch=True)
    return _cut(graph, arrays, path), notes


def _cut(graph: Graph, arrays: Arrays, path: Path) -> list[Arrays]:
    """Cut arrays of many samples into what the network takes at once."""
    firsts = {name: graph.tensor(name).shape[0] for name in graph.inputs if graph.tensor(name).shape}
    counts = {len(arrays[name]) for name in firsts}
    if len(counts) != 1:
        return [arrays]
    total = counts.pop()
    fixed = {int(d) for d in firsts.values() if isinstance(d, int)}
    size = fixed.pop() if len(fixed) == 1 else AT_ONCE
    if fixed or (size != AT_ONCE and total % size) or not total:
        fact = f"holds {total} samples, the network takes {size} at once"
        raise UsageError("OC1421", str(path), fact, next="Give a multiple of that")
    return [{n: a[i : i + size] if n in firsts else a for n, a in arrays.items()} for i in range(0, total, size)]


def _first(samples: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """Return the samples up to `most` rows of their first input."""
    kept: list[Mapping[str, Any]] = []
    rows = 0
    for sample in samples:
        if rows >= most:
            break
        kept.append(sample)
        rows += len(np.atleast_1d(next(iter(sample.values()))))
    return kept
