"""`measure`: a network run for real on the machine at hand, beside the forecast of a chip file made from probes.

In:       a network, `host` or a chip file, seconds. Out: text or JSON, and with -o the chip file of this machine.
Promises: the file is whole or absent, and written last; what other programs do to the times is said in the second line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.lists import table, tool
from onchip.cli.options import Request, bind, load_chip, load_graph
from onchip.cli.output import progress, show, show_json, write_file
from onchip.errors import UsageError
from onchip.files import NEXT
from onchip.units import format_value

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.ir.graph import Graph
    from onchip.silicon.desk import Desk
    from onchip.silicon.measure import Machine, Measured, Row
    from onchip.silicon.probes import Probe

HOST, MOST_ROWS = "host", 20
SHOWN = ("launch", "smallest convolution", "sync", "overlap", "memory, one core", "memory, all cores")


@dataclass(frozen=True, slots=True)
class Found:
    """What one call found: of the network, and of the machine."""

    chip: Chip
    measured: Measured
    probes: tuple[Probe, ...]
    machine: Machine
    desk: Desk
    busy: str
    file: Path | None

    @property
    def place(self) -> str:
        return f"{self.desk.name}, {self.machine.threads} threads of {self.machine.name}"


def measure(
    request: Request, chip_name: str, *, seconds: float, threads: int | None, output: Path | None, as_json: bool,
    quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Print measured and predicted times of each layer. Raises OnchipError."""
    from onchip import pipeline
    from onchip.passes.fold import fold
    from onchip.silicon import measure as silicon
    from onchip.silicon.desk import desk, others
    from onchip.silicon.probes import busy, planned

    begin = time.perf_counter()
    _check(chip_name, output)
    system, graph, dtype = desk(), bind(load_graph(request), request), request.dtype or "fp32"
    folded, is_probed = fold(pipeline.bind_batch(graph)), chip_name == HOST
    silicon.check(folded, dtype, system, is_probed=is_probed)
    running = others()
    n_probes = len(tuple(planned(2, system.last_bytes)))
    machine = silicon.at_hand(threads, seconds / n_probes)
    probes, text = _probed(machine, system, running) if is_probed else ((), "")
    chip = _parsed(text) if is_probed else load_chip(chip_name, None)
    made = pipeline.forecast(graph, chip, dtype=dtype)
    with progress(f"{graph.name}: run") as step:
        measured = silicon.measure(machine.network(folded, dtype), made, seconds / 2, progress=step)
    if output is not None:
        write_file(output, text)
    found = Found(chip, measured, probes, machine, system, busy(probes, running), output)
    if as_json:
        show_json(_json(found, time.perf_counter() - begin))
    else:
        show("\n".join(_head(found)) if quiet else _text(found, graph, request, is_whole=verbose))


def _check(chip_name: str, output: Path | None) -> None:
    """Refuse an output that is no chip file, or that nothing is written to. Raises UsageError."""
    if output is not None and output.suffix != ".toml":
        fact = f"'{output}' does not end in .toml"
        raise UsageError("OC1008", "--output", fact, next="The chip of this machine is written as FILE.toml")
    if output is not None and not output.resolve().parent.is_dir():  # known before minutes of probes
        raise UsageError("OC1015", str(output), "cannot be written: No such file or directory", next=NEXT)
    if output is not None and chip_name != HOST:
        fact = f"--chip {chip_name[:80]} is a chip that there is: nothing is probed and written"
        raise UsageError("OC1008", "--output", fact, next="Leave -o out, or use --chip host")


def _probed(machine: Machine, system: Desk, running: float) -> tuple[tuple[Probe, ...], str]:
    """Return the probes of this machine and its chip file."""
    from onchip.silicon.host_chip import host_chip
    from onchip.silicon.probes import busy, probe

    with progress("this machine: probe") as step:
        probes = probe(machine, system.last_bytes, step)
    today = datetime.now(UTC).date().isoformat()
    return probes, host_chip(probes, system, machine.name, today, busy(probes, running))


def _parsed(text: str) -> Chip:
    from onchip.chip import Chip

    return Chip.parse(text, HOST)


def _head(found: Found) -> list[str]:
    """Return the verdict, and what disturbed it."""
    measured, name = found.measured, found.measured.forecast.model.name
    where = "this machine" if found.probes else f"this machine, by {found.chip.name}"
    if not measured.rows:
        lines = [f"{name} on {where}: no layer could be run."]
    else:
        both = (_time(measured.measured_s), _time(measured.predicted_s), _percent(measured.error, sign="+"))
        middle, most = (_percent(e) for e in measured.errors())
        n = len(measured.rows)
        lines = [
            f"{name} on {where}: measured {both[0]}, predicted {both[1]} ({both[2]}); half of {n} layers within "
            f"{middle}, nine of ten within {most}."
        ]  # fmt: skip
    if found.busy:
        hint = " Better: --threads 1, or let it rest." if found.machine.threads > 1 else ""
        lines.append(f"the machine is busy: {found.busy}. Times are of the fastest of {measured.runs} runs.{hint}")
    return lines


def _text(found: Found, graph: Graph, request: Request, *, is_whole: bool) -> str:
    measured, total = found.measured, found.measured.measured_s
    name = "" if found.file is None else f"./{found.file}" if found.file.parent == Path() else str(found.file)
    hint = f"onchip estimate {request.words} --chip {name}" if name else "the same with -o host.toml writes a chip file"
    rows = sorted(measured.rows, key=lambda row: -row.measured_s)
    kept = {row.name for row in (rows if is_whole else rows[:MOST_ROWS])}
    shown = [("layer", "op", "share", "measured", "median", "predicted", "error")]
    shown += [_row(row, total) for row in measured.rows if row.name in kept]
    left = len(rows) - len(kept)
    lines = [*_head(found), *([f"Next:  {hint}"] if found.probes else []), ""]
    lines += table(shown, right={2, 3, 4, 5, 6})
    lines += [f"  {left} more layers with {_percent(sum(r.measured_s for r in rows[len(kept):]) / total)} of the time: -v"] if left else []  # fmt: skip  # noqa: E501
    lines += ["", f"whole runs: fastest {_time(measured.fastest_run_s)}, median {_time(measured.median_run_s)}"]
    lines += [f"not run: {name}: {reason}" for name, reason in measured.refused]
    return "\n".join([*lines, "", found.place, *_probes(found, is_whole=is_whole)])


def _row(row: Row, total: float) -> tuple[str, ...]:
    times = (_time(s) for s in (row.measured_s, row.median_s, row.predicted_s))
    return (row.name, row.op, _percent(row.measured_s / total), *times, _percent(row.error, sign="+"))


def _probes(found: Found, *, is_whole: bool) -> list[str]:
    """Return the probes, or the ones that decide most, and what products reach in each dtype."""
    rows = [(p.name, _value(p)) for p in found.probes if is_whole or p.name in SHOWN]
    if not is_whole:
        rows += [(f"products in {dtype}", format_value(peak, "op/s")) for dtype, peak in found.chip.peak]
    return table(rows, right={1}) if rows and found.probes else []


def _value(probe: Probe) -> str:
    return _percent(probe.value) if probe.unit == "1" else format_value(probe.value, probe.unit)


def _time(seconds: float) -> str:
    return format_value(seconds, "s")


def _percent(share: float, *, sign: str = "") -> str:
    text = f"{100 * share:{sign}.0f} %"
    return text.replace("-", "−")


def _json(found: Found, seconds: float) -> dict[str, Any]:
    measured, chip = found.measured, found.chip
    middle, most = (100 * e for e in measured.errors()) if measured.rows else (None, None)
    model = measured.forecast.model
    probes = [
        {"name": p.name, "value": p.value, "unit": p.unit, "threads": p.threads, "spread": p.spread}
        for p in found.probes
    ]
    rows = [
        {
            "name": row.name, "op": row.op, "measured_s": row.measured_s, "median_s": row.median_s,
            "predicted_s": row.predicted_s,
        }
        for row in measured.rows
    ]  # fmt: skip
    return {
        **tool(),
        "model": {"name": model.name, "hash": model.hash},
        "chip": {"name": chip.name, "hash": chip.hash},
        "machine": {"name": found.desk.name, "runtime": found.machine.name, "threads": found.machine.threads},
        "dtype": measured.forecast.dtype,
        "busy": found.busy or None,
        "probes": probes,
        "runs": measured.runs,
        "measured_s": measured.measured_s,
        "predicted_s": measured.predicted_s,
        "fastest_run_s": measured.fastest_run_s,
        "median_run_s": measured.median_run_s,
        "median_abs_pct_error": middle,
        "p90_abs_pct_error": most,
        "layers": rows,
        "refused": [{"layer": name, "reason": reason} for name, reason in measured.refused],
        "file": None if found.file is None else str(found.file),
        "timing": {"total_s": round(seconds, 3)},
    }
