"""What if: a chip with other numbers, priced again; and which numbers the time reacts to.

In:       a Report, the reports of changes, a chip.
Out:      `Variant`s with their differences; the knobs of a chip, each halved and doubled; texts and JSON.
Promises: every number is a difference of two reports that were priced the same way; what cannot be priced is told, not
          left out; knobs are ordered by how far the time moves.
Does not: price: the caller does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from onchip.chip import Chip
from onchip.ir.report import SCHEMA_VERSION, Json, Report
from onchip.ir.report_text import bar
from onchip.reports.diff import Change, told
from onchip.units import DASH, format_exact, format_value

BAR = 12  # cells of a bar for a factor of two
LEAST = 0.005  # of the time: knobs that move it less are told by name alone
HEADS = ("change", "inference", "time", "energy", "bound")


@dataclass(frozen=True, slots=True)
class Variant:
    """A change and its report, or why there is none."""

    text: str
    report: Report | None
    refused: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Knob:
    """One number of a chip file and the relative change of the time when it is halved and doubled; None: refused."""

    key: str
    value: str
    halved: float | None
    doubled: float | None

    @property
    def points(self) -> tuple[tuple[float, float | None], ...]:
        """Return (factor, relative change of the time), in order."""
        return ((0.5, self.halved), (1.0, 0.0), (2.0, self.doubled))

    @property
    def reach(self) -> float:
        return max(abs(self.halved or 0.0), abs(self.doubled or 0.0))


def values(chip: Chip, dtype: str) -> dict[str, tuple[Fraction, str]]:
    """Return the numbers of a chip that are worth turning: dotted key -> value and unit."""
    array, row = chip.matrix.array(dtype, chip.name), f"matrix.{dtype}"
    found: dict[str, tuple[Fraction | int | None, str]] = {
        "clock.core": (chip.clock.core_hz, "Hz"),
        "cores.count": (chip.cores.count, ""),
        "matrix.units": (chip.matrix.units, ""),
        f"{row}.rows": (array.rows, ""),
        f"{row}.cols": (array.cols, ""),
        "vector.lanes": (chip.vector.lanes, ""),
        "local.size": (chip.local.size_bytes, "B"),
        "local.accumulator": (chip.local.accumulator_bytes, "B"),
        "local.read": (chip.local.read_bytes_per_cycle, "B/cycle"),
        "local.weight_read": (chip.local.weight_read_bytes_per_cycle, "B/cycle"),
        "dram.bandwidth": (chip.dram.bandwidth_bytes_per_s, "B/s"),
        "dram.latency": (chip.dram.latency_s, "s"),
        "launch.in_graph": (chip.launch.in_graph_s, "s"),
        "launch.per_run": (chip.launch.per_run_s, "s"),
    }
    for i, level in enumerate(chip.shared):
        found[f"shared.{i}.size"] = (level.size_bytes, "B")
        found[f"shared.{i}.bandwidth"] = (level.bandwidth_bytes_per_s, "B/s")
    return {key: (Fraction(value), unit) for key, (value, unit) in found.items() if value}


def overrides(values: dict[str, tuple[Fraction, str]], factor: Fraction) -> dict[str, str]:
    """Return each key with its value times a factor, as a chip file has it, without those that are then not whole."""
    found: dict[str, str] = {}
    for key, (value, unit) in values.items():
        scaled = value * factor
        if unit in ("", "B", "Hz", "B/s") and scaled.denominator != 1:
            continue
        found[key] = format_exact(scaled, unit) if unit else str(scaled)
    return found


def knobs(base: Report, chip: Chip, price: Callable[[dict[str, str]], Report | None]) -> tuple[Knob, ...]:
    """Return how the time reacts to each number, largest reach first; `price` returns None for what is refused."""
    found = values(chip, base.dtype)
    halves, doubles = (overrides(found, factor) for factor in (Fraction(1, 2), Fraction(2)))
    own = overrides(found, Fraction(1))
    made = list[Knob]()
    for key in found:
        sides = [price({key: side[key]}) if key in side else None for side in (halves, doubles)]
        made.append(Knob(key, own[key], *(_moved(base, report) for report in sides)))
    return tuple(sorted(made, key=lambda knob: (-knob.reach, knob.key)))


def _moved(base: Report, report: Report | None) -> float | None:
    return None if report is None else report.seconds_per_inference / base.seconds_per_inference - 1


def verdict(base: Report, variants: Sequence[Variant], turned: Sequence[Knob] = ()) -> str:
    """Return one sentence about the last variant that could be priced, or about the knob with the largest reach."""
    priced = [variant for variant in variants if variant.report is not None]
    head = f"{base.model.name} on {base.chip.name}"
    if not priced or priced[-1].report is None:
        takes = f"{head} takes {format_value(base.seconds_per_inference, 's')} per inference"
        if variants or not turned:
            return f"{takes}; no change can be priced."
        first = turned[0]
        sides = [_change(value) for value in (first.halved, first.doubled)]
        return f"{takes}; it reacts most to {first.key}: {sides[0]} when halved, {sides[1]} when doubled."
    report = priced[-1].report
    moved = report.seconds_per_inference / base.seconds_per_inference - 1
    word = "as fast" if abs(moved) < LEAST else f"{abs(moved) * 100:.1f} % {'slower' if moved > 0 else 'faster'}"
    times = [format_value(r.seconds_per_inference, "s") for r in (base, report)]
    still = report.bound == base.bound
    bound = f"still bound by {report.bound}" if still else f"bound by {report.bound}, was {base.bound}"
    return f"{head} with {priced[-1].text} is {word}, {times[0]} to {times[1]} per inference; {bound}."


def whatif_text(base: Report, variants: Sequence[Variant], turned: Sequence[Knob], *, action: str = "") -> str:
    """Return the table of changes, the causes that moved, and the knobs as a tornado chart."""
    lines = [verdict(base, variants, turned), *([action] if action else []), ""]
    rows = [HEADS, _row("as it is", base, base), *(_row(v.text, v.report, base) for v in variants if v.report)]
    lines += _columns(rows)
    lines += [f"  {variant.text}: {variant.refused}" for variant in variants if variant.report is None]
    last = next((v.report for v in reversed(variants) if v.report is not None), None)
    if last is not None:
        moved = _causes(base, last)
        lines += ["", "where the time went", *_columns([(c.name, *told(c)) for c in moved])] if moved else []
    lines += ["", *_tornado(turned)] if turned else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _causes(base: Report, last: Report) -> list[Change]:
    """Return the causes of the time of one inference that moved."""
    before, after = ({c: s / r.model.batch for c, s in r.waterfall} for r in (base, last))
    causes = [Change(name, "s", before.get(name), after.get(name)) for name in dict.fromkeys((*before, *after))]
    return [cause for cause in causes if abs(cause.delta) >= LEAST * base.seconds_per_inference]


def _row(text: str, report: Report, base: Report) -> tuple[str, ...]:
    moved = _moved(base, report) or 0.0
    joules = [r.energy_j.value / r.model.batch if r.energy_j else None for r in (base, report)]
    energy = _percent(joules[1] / joules[0] - 1) if joules[0] and joules[1] is not None else DASH
    time = format_value(report.seconds_per_inference, "s")
    return (text, time, "" if report is base else _percent(moved), "" if report is base else energy, report.bound)


def _tornado(turned: Sequence[Knob]) -> list[str]:
    """Return a line for each knob that moves the time: faster to the left, slower to the right."""
    shown = [knob for knob in turned if knob.reach >= LEAST]
    width = max((len(f"{knob.key} = {knob.value}") for knob in shown), default=0)
    lines = ["what the time reacts to: each number halved, and doubled"]
    for knob in shown:
        sides = [f"{_change(value):>9}" for value in (knob.halved, knob.doubled)]
        lines.append(f"  {f'{knob.key} = {knob.value}':<{width}}  {sides[0]}  {sides[1]}  {_reach(knob)}")
    quiet = [knob.key for knob in turned if knob.reach < LEAST]
    return [*lines, f"  less than {LEAST:.1%}: {', '.join(quiet)}".replace("%", " %")] if quiet else lines


def _reach(knob: Knob) -> str:
    return bar(min(knob.reach, 1.0), BAR)


def _change(value: float | None) -> str:
    return DASH if value is None else _percent(value)


def _percent(share: float) -> str:
    return f"{share * 100:+.1f} %".replace("-", "−") if abs(share) >= 0.0005 else "±0.0 %"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = list[str]()
    for first, *middle, last in rows:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  " + "  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return lines


def knobs_part(base: Report, turned: Sequence[Knob], command: str) -> Json:
    """Return the object of panel R11, `knobs`.

    `seconds`: the time per inference as it is. `knobs`: largest reach first, each with its `key`, its `value` as the
    chip file has it, and `points`: [factor, change of the time as a share], those that could be priced, in order,
    [1, 0] among them. `command` is what `--set KEY=VALUE` is added to.
    """
    return {
        "seconds": base.seconds_per_inference,
        "command": command,
        "knobs": [
            {"key": k.key, "value": k.value, "points": [[f, share] for f, share in k.points if share is not None]}
            for k in turned
        ],
    }


def whatif_json(base: Report, variants: Sequence[Variant], turned: Sequence[Knob]) -> Json:
    """Return the object of `whatif --json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": base.tool,
        "base": base.to_json(),
        "variants": [
            {"change": v.text, "report": v.report.to_json() if v.report is not None else None, "refused": v.refused}
            for v in variants
        ],
        "knobs": [{"key": k.key, "value": k.value, "halved": k.halved, "doubled": k.doubled} for k in turned],
    }
