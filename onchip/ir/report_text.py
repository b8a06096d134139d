"""A report as plain text: verdict first, next action second, then the numbers, the waterfall and the layer table.

In:       a Report, the lines of actions that somebody computed, how many layers to show.
Out:      text of at most 120 columns that reads the same on a terminal and in a file.
Promises: every quantity shows its band or a dash, and where it comes from; layers are cut by time, never silently.
Does not: compute; colour is the terminal's business.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onchip.units import DASH, format_value

if TYPE_CHECKING:
    from onchip.ir.report import Layer, Parts, Report

WORDS = {  # cause -> (in the waterfall, in the verdict)
    "useful": ("useful MACs", "the array does useful MACs"),
    "underfill": ("under-fill", "the array is under-filled"),
    "fill": ("fill/drain", "the array fills or drains"),
    "weights": ("weights", "it loads weights"),
    "memory": ("memory", "it waits for memory"),
    "vector": ("vector", "the vector unit works"),
    "sync": ("sync", "cores wait for each other"),
    "launch": ("launch", "kernels are launched"),
    "host": ("host", "the run is started"),
}
EIGHTHS = " ▏▎▍▌▋▊▉█"
BAR_WIDTH = 24
WIDTH = 118
NAME_WIDTH = 30
LAYERS = 12


def verdict(report: Report) -> str:
    """Return one sentence: the time of one inference and its two largest causes."""
    time = format_value(report.seconds_per_inference, "s")
    batch = f" (batch of {report.model.batch} in {report.latency_s})" if report.model.batch > 1 else ""
    head = f"{report.model.name} on {report.chip.name}: {time} per inference{batch}"
    return f"{head}: {causes(report.waterfall, report.latency_s.value)}."


def causes(waterfall: Parts, whole: float, *, n: int = 2) -> str:
    """Return the `n` largest causes in words: `62 % of the time the array is under-filled, 20 % it loads weights`."""
    largest = sorted(waterfall, key=lambda part: -part[1])[:n]
    shown = [(cause, seconds / whole) for cause, seconds in largest if whole and seconds / whole >= 0.005]
    if not shown:
        return "nothing runs on the chip"
    first, *others = [f"{share * 100:.0f} % of the time {WORDS[cause][1]}" for cause, share in shown]
    return ", ".join([first, *(other.replace(" of the time", "") for other in others)])


def write_report(report: Report, *, actions: Sequence[str] = (), layers: int = LAYERS) -> str:
    """Return the whole text; `layers` = 0 shows every layer."""
    lines = [report.verdict, *_action_lines(actions), ""]
    lines += [_header(report), "", *_numbers(report), "", f"  where the time goes   {waterfall_text(report)}", ""]
    lines += _table(report, layers or len(report.layers))
    if report.assumptions:
        lines += ["", "assumptions"]
        for text in report.assumptions:
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _action_lines(actions: Sequence[str]) -> list[str]:
    heads = ["Try first: ", *["           "] * max(0, len(actions) - 1)]
    return [f"{head} {action}" for head, action in zip(heads, actions, strict=False)]


def _header(report: Report) -> str:
    model, chip = report.model, report.chip
    network = f"{model.name} · {len(report.layers)} kernels · {format_value(model.macs, 'MAC')}"
    network += f" · {format_value(model.parameters, 'parameters')} parameters · batch {model.batch}"
    cores = f"{chip.cores} cores · " if chip.cores > 1 else ""
    peak = format_value(chip.peak_ops_per_s, "op/s")
    clock = format_value(chip.clock_hz, "Hz")
    return f"  {network}\n  {chip.name} · {cores}{clock} · {report.dtype} {peak} · evidence: {chip.evidence}"


def _numbers(report: Report) -> list[str]:
    latency, energy, memory = report.latency_s, report.energy_j, report.memory
    origin = f"{latency.provenance}, {latency.fidelity}"
    rows = [
        ("latency", f"{latency}", latency.band, f"{origin}, {format_value(report.cycles, 'cycles')}"),
        ("throughput", f"{report.throughput_per_s}", report.throughput_per_s.band, ""),
        ("energy", f"{energy}" if energy else DASH, energy.band if energy else DASH, _energy_parts(report)),
        ("power", f"{report.power_w}" if report.power_w else DASH, report.power_w.band if report.power_w else DASH, ""),
        (
            "utilization",
            format_value(report.utilization.value, "%"),
            report.utilization.band,
            "of the chip's peak MACs",
        ),
        ("memory", format_value(memory.local_peak_bytes, "B"), "", _memory(report)),
    ]
    if report.bit_exact is not None:
        said = "every output equals the integer reference" if report.bit_exact else "outputs differ from the reference"
        rows.append(("bit-exact", "yes" if report.bit_exact else "NO", "", said))
    return [f"  {name:<12}{value:>12}  {band:>12}  {note}" for name, value, band, note in rows]


def _energy_parts(report: Report) -> str:
    if report.energy_j is None or not report.energy_j.value:
        return "the chip's energy table cannot price this dtype" if report.energy_j is None else ""
    whole = report.energy_j.value
    shares = [f"{part} {joules / whole * 100:.0f}" for part, joules in report.energy_parts if joules]
    return f"{' · '.join(shares)} %"


def _memory(report: Report) -> str:
    memory = report.memory
    where = f" ({memory.layer})" if memory.layer else ""
    traffic = format_value(memory.dram_traffic_bytes, "B")
    return f"of {format_value(memory.local_bytes, 'B')} per core{where}; DRAM traffic {traffic}"


def waterfall_text(report: Report) -> str:
    """Return the waterfall on one line: a bar and a share for each cause of at least half a percent."""
    whole = report.latency_s.value
    shown = [(cause, seconds / whole) for cause, seconds in report.waterfall if whole and seconds / whole >= 0.005]
    return "   ".join(f"{WORDS[cause][0]} {bar(share)} {share * 100:.0f} %" for cause, share in shown)


def bar(share: float) -> str:
    """Return a bar of eighths, BAR_WIDTH cells for 1."""
    eighths = max(1, round(share * BAR_WIDTH * 8))
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def _table(report: Report, n: int) -> list[str]:
    order = sorted(range(len(report.layers)), key=lambda i: (-report.layers[i].cycles, i))
    kept = sorted(order[:n])
    width = max([len("op"), *(min(len(report.layers[i].name), NAME_WIDTH) for i in kept)])
    lines = [f"  {'#':>3}  {'op':<{width}}  {'time':>8}  {'share':>7}  {'bound':<8}{'util':>7}  why"]
    for i in kept:
        layer = report.layers[i]
        name = layer.name if len(layer.name) <= NAME_WIDTH else f"{layer.name[: NAME_WIDTH - 1]}…"
        share, used = format_value(layer.share, "%"), format_value(layer.utilization, "%")
        row = f"  {i:>3}  {name:<{width}}  {layer.latency_s!s:>8}  {share:>7}  {layer.bound:<8}{used:>7}  "
        lines.append(row + _why(layer, report))
    rest = [report.layers[i] for i in order[n:]]
    if rest:
        share = format_value(sum(layer.share for layer in rest), "%")
        lines.append(f"  … {len(rest)} more layers take {share} of the time; --json has all of them")
    return lines


def _why(layer: Layer, report: Report) -> str:
    parts = dict(layer.waterfall)
    texts = {
        "compute": _fullness(parts),
        "memory": _starved(layer, report),
        "vector": "the matrix unit waits for the vector unit" if layer.macs else "vector work only",
        "fill": f"array {_share(parts, 'fill', layer)} filling or draining, {_share(parts, 'weights', layer)} weights",
        "launch": f"{_share(parts, 'launch', layer)} launch, {_share(parts, 'sync', layer)} sync",
    }
    idle = f"; {layer.cores} of {report.chip.cores} cores" if layer.cores < report.chip.cores else ""
    return texts.get(layer.bound, "") + idle


def _share(parts: dict[str, float], cause: str, layer: Layer) -> str:
    whole = layer.latency_s.value
    return f"{parts.get(cause, 0.0) / whole * 100:.0f} %" if whole else DASH


def _fullness(parts: dict[str, float]) -> str:
    busy = parts.get("useful", 0.0) + parts.get("underfill", 0.0)
    return f"array {parts.get('useful', 0.0) / busy * 100:.0f} % full while it works" if busy else ""


def _starved(layer: Layer, report: Report) -> str:
    ridge = report.chip.peak_ops_per_s / report.chip.dram_bytes_per_s
    if layer.intensity is None:
        return "waits for on-chip memory"
    return f"{format_value(layer.intensity, 'OP/B')}, the peak needs {format_value(ridge, 'OP/B')}"
