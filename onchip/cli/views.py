"""Files for other viewers: the events of a run for Perfetto and Chrome, numbers on nodes for Model Explorer.

In:       paths that the user named, the nouns of a run. Out: files, and lines that say what they hold.
Promises: a name that no viewer reads is refused before the work begins; a trace is cut by whole kernels above a million
          events, and the line says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.output import dump, write_file
from onchip.errors import UsageError
from onchip.files import replacing

if TYPE_CHECKING:
    from onchip.ir.graph import Graph
    from onchip.ir.program import Program
    from onchip.ir.report import Report
    from onchip.ir.trace import Trace

PERFETTO, CHROME = (".pftrace", ".perfetto-trace"), ".json"


@dataclass(frozen=True, slots=True)
class Views:
    """Where the events and the numbers of nodes go; None where nobody asked."""

    trace: Path | None = None
    node_data: Path | None = None

    def __post_init__(self) -> None:
        if self.trace is not None and self.trace.suffix not in (*PERFETTO, CHROME):
            hint = "Name a FILE.pftrace (Perfetto) or a FILE.json (Chrome)"
            raise UsageError("OC1008", "--trace", f"'{self.trace}' is no file of a trace viewer", next=hint)
        if self.node_data is not None and self.node_data.suffix != ".json":
            fact = f"'{self.node_data}' does not end in .json"
            raise UsageError("OC1008", "--node-data", fact, next="Name a FILE.json: Model Explorer reads those")

    def write(self, seen: Mapping[str, Any], report: Report) -> list[str]:
        """Write the files that were asked for from the nouns of a run; return a line on each."""
        lines = [write_trace(self.trace, seen["program"], seen["trace"])] if self.trace is not None else []
        if self.node_data is not None:
            lines.append(write_node_data(self.node_data, report, seen.get("fold")))
        return lines


def write_trace(path: Path, program: Program, trace: Trace) -> str:
    """Write the events of a run; return what the file holds."""
    from onchip import pipeline
    from onchip.reports.tracks import cut

    recorded = pipeline.record(program, trace)
    with replacing(path) as beside:
        if path.suffix in PERFETTO:
            from onchip.reports.perfetto import perfetto

            beside.write_bytes(perfetto(program, recorded))
        else:
            from onchip.reports.chrome import chrome

            with beside.open("w", encoding="utf-8") as file:
                file.writelines(chrome(program, recorded))
    held = cut(recorded) or f"{len(recorded.events):,} events of {len(recorded.kernels)} kernels"
    return f"trace written to {path}: {held}   (open it at ui.perfetto.dev)"


def write_node_data(path: Path, report: Report, graph: Graph | None) -> str:
    """Write a file for each metric, the latency under the name itself; return which."""
    from onchip.reports.node_data import node_data

    made = node_data(report, graph)
    names: list[str] = []
    for metric, data in made.items():
        target = path if metric == "latency" else path.with_name(f"{path.stem}.{metric}.json")
        write_file(target, dump(data))
        names.append(str(target))
    return f"node data written to {', '.join(names)}   (load them in Model Explorer beside the model)"
