"""A report as plain text: verdict first, next action second, then the numbers, the waterfall and the layer table.

In:       a Report, the lines of actions that somebody computed, how many layers to show.
Out:      text of at most WIDTH columns (but for long names) that reads the same on a terminal and in a file.
Promises: every quantity shows its band or a dash, and where it comes from; equal layers stand in one row with their
          count; layers are cut by time, never silently.
Does not: compute; colour is the terminal's business.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onchip.units import DASH, format_value

if TYPE_CHECKING:
    from onchip.ir.report import Layer, Parts, Report

SHOWN_PARTS = 4  # of energy, the largest
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
WIDTH = 100
NAME_WIDTH = 24
LAYERS = 12
WATERFALL = "  where the time goes   "


def verdict(report: Report) -> str:
    """Return one sentence: the time of one inference and its two largest causes, on silicon where that is known."""
    shown = report.expected
    time = format_value(shown.seconds_per_inference, "s")
    batch = f" (a batch of {shown.model.batch} takes {shown.latency_s})" if shown.model.batch > 1 else ""
    takes = "takes" if shown.kind == "program" else "is expected to take"
    head = f"{shown.model.name} on {shown.chip.name} {takes} {time}{_within(shown)} per inference{batch}"
    told = f"{head}: {causes(shown.waterfall, shown.latency_s.value)}"
    if shown is report:
        return f"{told}."
    return f"{told}. Our program takes {format_value(report.seconds_per_inference, 's')}."


def _within(report: Report) -> str:
    return "" if report.latency_s.band == DASH else f" ({report.latency_s.band})"


def causes(waterfall: Parts, whole: float, *, n: int = 2) -> str:
    """Return the `n` largest causes in words: `62 % of the time the array is under-filled, 20 % it loads weights`."""
    largest = sorted(waterfall, key=lambda part: -part[1])[:n]
    shown = [(cause, seconds / whole) for cause, seconds in largest if whole and seconds / whole >= 0.005]
    if not shown:
        return "nothing runs on the chip"
    first, *others = [f"{share * 100:.0f} % of the time {WORDS[cause][1]}" for cause, share in shown]
    return ", ".join([first, *(other.replace(" of the time", "") for other in others)])


def write_report(report: Report, *, actions: Sequence[str] = (), layers: int = LAYERS) -> str:
    """Return the whole text; `layers` = 0 shows every layer, each in a row of its own."""
    lines = [report.verdict, *actions, "", _header(report), ""]
    lines += _on_silicon(report.silicon, layers) if report.silicon is not None else []
    lines += [*_numbers(report), "", *wrapped(WATERFALL, waterfall_items(report))]
    lines += ["", *_table(report, layers)] if report.silicon is None or not layers else []
    if report.assumptions:
        lines += ["", "assumptions"]
        for text in report.assumptions:
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _on_silicon(silicon: Report, layers: int) -> list[str]:
    """Return the part about silicon; the other numbers are then headed as ours."""
    lines = ["on silicon: the vendor's program", *_numbers(silicon), ""]
    lines += [*wrapped(WATERFALL, waterfall_items(silicon)), "", *_table(silicon, layers), ""]
    return [*lines, "our program, exact on a machine with this chip's numbers"]


def _header(report: Report) -> str:
    model, chip = report.model, report.chip
    network = f"{model.name} · {len(report.layers)} kernels · {format_value(model.macs, 'MAC')}"
    network += f" · {format_value(model.parameters, 'parameters')} parameters · batch {model.batch}"
    cores = f"{chip.cores} cores · " if chip.cores > 1 else ""
    peak = format_value(chip.peak_ops_per_s, "op/s")
    clock = format_value(chip.clock_hz, "Hz")
    return f"  {network}\n  {chip.name} · {cores}{clock} · {report.dtype} {peak} · evidence: {chip.evidence}"


def _numbers(report: Report) -> list[str]:
    latency, energy, power, memory = report.latency_s, report.energy_j, report.power_w, report.memory
    origin = f"{latency.provenance}, {latency.fidelity}"
    origin += f", {format_value(report.cycles, 'cycles')}" if report.kind == "program" else ""
    used = report.utilization
    rows = [
        ("latency", f"{latency}", latency.band, origin),
        ("throughput", f"{report.throughput_per_s}", report.throughput_per_s.band, ""),
        ("energy", f"{energy}" if energy else DASH, energy.band if energy else DASH, _energy_parts(report)),
        ("power", f"{power}" if power else DASH, power.band if power else DASH, ""),
        ("utilization", format_value(used.value, "%"), used.band, "of the chip's peak MACs"),
        ("memory", format_value(memory.local_peak_bytes, "B"), "", _memory(report)),
        ("DRAM traffic", format_value(memory.dram_traffic_bytes, "B"), "", "read and written by all cores"),
    ]
    if report.kind == "silicon":
        rows = [row for row in rows if row[0] != "memory"]
    if report.bit_exact is not None:
        said = "every output equals the integer reference" if report.bit_exact else "outputs differ from the reference"
        rows.append(("bit-exact", "yes" if report.bit_exact else "NO", "", said))
    return [f"  {name:<13}{value:>9}  {band:>10}  {note}" for name, value, band, note in rows]


def _energy_parts(report: Report) -> str:
    if report.energy_j is None or not report.energy_j.value:
        return "the chip's energy table cannot price this dtype" if report.energy_j is None else ""
    whole = report.energy_j.value
    parts = sorted(((joules, part) for part, joules in report.energy_parts if joules), reverse=True)
    shown, rest = parts[:SHOWN_PARTS], sum(joules for joules, _ in parts[SHOWN_PARTS:])
    shares = [f"{part} {joules / whole * 100:.0f}" for joules, part in (*shown, *([(rest, "other")] if rest else []))]
    return f"{' · '.join(shares)} %"


def _memory(report: Report) -> str:
    memory = report.memory
    where = f" (in {_cut(memory.layer)})" if memory.layer else ""
    return f"at most, of {format_value(memory.local_bytes, 'B')} a core{where}"


def waterfall_items(report: Report, *, width: int = BAR_WIDTH) -> list[str]:
    """Return a name, a bar and a share for each cause of at least half a percent; `width` cells are the whole time."""
    return [f"{WORDS[cause][0]} {bar(share, width)} {share * 100:.0f} %" for cause, share in waterfall_shares(report)]


def waterfall_shares(report: Report) -> list[tuple[str, float]]:
    """Return each cause and its share of the time, from half a percent up."""
    whole = report.latency_s.value
    return [(cause, seconds / whole) for cause, seconds in report.waterfall if whole and seconds / whole >= 0.005]


def wrapped(head: str, items: Sequence[str]) -> list[str]:
    """Return a head and items behind it, on further lines under the first item where WIDTH is full."""
    lines = [head]
    for item in items:
        if lines[-1] not in (head, " " * len(head)):
            if len(lines[-1]) + len(item) + 3 > WIDTH:
                lines.append(" " * len(head))
            else:
                lines[-1] += "   "
        lines[-1] += item
    return [line.rstrip() for line in lines]


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """Return a bar of eighths, `width` cells for 1."""
    eighths = max(1, round(share * width * 8))
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def _table(report: Report, n: int) -> list[str]:
    """Return the rows of the layers; with a limit equal layers share a row, and the longest rows are kept."""
    groups = _groups(report) if n else [[i] for i in range(len(report.layers))]
    cycles = [sum(report.layers[i].cycles for i in group) for group in groups]
    order = sorted(range(len(groups)), key=lambda g: (-cycles[g], g))
    kept = sorted(order[: n or len(order)])
    names = [_name(report.layers[groups[g][0]].name, len(groups[g])) for g in kept]
    width = max([len("layer"), *map(len, names)])
    lines = [f"  {'#':>3}  {'layer':<{width}}  {'time':>7}  {'share':>8}  {'bound':<7}  {'util':>8}  why"]
    for g, name in zip(kept, names, strict=True):
        layer, count = report.layers[groups[g][0]], len(groups[g])
        used = format_value(layer.utilization, "%") if layer.macs else DASH
        share = format_value(layer.share * count, "%")
        row = f"  {groups[g][0]:>3}  {name:<{width}}  {layer.latency_s!s:>7}  {share:>8}  {layer.bound:<7}  {used:>8}  "
        lines.append(row + why(layer, report))
    if any(len(groups[g]) > 1 for g in kept):
        lines.append("       ×n: n equal layers; time and util of one, share of all")
    rest = [report.layers[i] for g in order[len(kept) :] for i in groups[g]]
    if rest:
        share = format_value(sum(layer.share for layer in rest), "%")
        lines.append(f"  … {len(rest)} more layers take {share} of the time; -v shows every layer")
    return lines


def _groups(report: Report) -> list[list[int]]:
    """Return the indices of layers with the same numbers, in the order of the first of each."""
    groups: dict[object, list[int]] = {}
    for i, layer in enumerate(report.layers):
        key = (layer.kind, layer.macs, layer.bound, layer.cores, layer.dram_bytes, layer.local_peak_bytes)
        groups.setdefault((*key, layer.cycles, layer.waterfall), []).append(i)
    return list(groups.values())


def _name(name: str, count: int) -> str:
    times = f" ×{count}" if count > 1 else ""
    return _cut(name, NAME_WIDTH - len(times)) + times


def _cut(name: str, width: int = NAME_WIDTH) -> str:
    """Return a name of at most `width` characters: its end tells more than its middle."""
    if len(name) <= width:
        return name
    head = (width - 1) // 3
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def why(layer: Layer, report: Report) -> str:
    """Return in a few words why a layer takes its time, or the mapping of a step on silicon."""
    if report.kind == "silicon":
        return _reason(layer)
    parts = dict(layer.waterfall)
    texts = {
        "compute": _fullness(parts),
        "memory": _starved(layer, report),
        "vector": "waits for the vector unit" if layer.macs else "vector work only",
        "fill": _shares(layer, fill="fill/drain", weights="weights"),
        "launch": _shares(layer, launch="launch", sync="sync"),
    }
    idle = f"{layer.cores}/{report.chip.cores} cores" if layer.cores < report.chip.cores else ""
    return "; ".join(text for text in (texts.get(layer.bound, ""), idle) if text)


def _reason(layer: Layer) -> str:
    """Return the mapping of a step, or the largest cause where there is none."""
    return layer.how or WORDS[max(layer.waterfall, key=lambda part: part[1])[0]][0]


def _shares(layer: Layer, **words: str) -> str:
    whole, parts = layer.latency_s.value, dict(layer.waterfall)
    shares = [(word, parts.get(cause, 0.0) / whole if whole else 0.0) for cause, word in words.items()]
    return ", ".join(f"{share * 100:.0f} % {word}" for word, share in shares if share >= 0.005)


def _fullness(parts: dict[str, float]) -> str:
    busy = parts.get("useful", 0.0) + parts.get("underfill", 0.0)
    return f"array {parts.get('useful', 0.0) / busy * 100:.0f} % full" if busy else ""


def _starved(layer: Layer, report: Report) -> str:
    """Say how many operations per byte of DRAM the layer has, of those that the peak needs."""
    ridge = report.chip.peak_ops_per_s / report.chip.dram_bytes_per_s
    if layer.intensity is None or layer.intensity >= ridge:
        return "waits for on-chip memory"
    return f"{format_value(layer.intensity)} of {format_value(ridge, 'OP/B')}"
