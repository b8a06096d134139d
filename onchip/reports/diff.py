"""What changed between two reports: totals, causes, layers, and whether that is more than somebody allows.

In:       two reports of any networks and chips; limits such as `latency>+3%&+20us`.
Out:      a Difference; the limits that it breaks.
Promises: the changes of the causes sum to the change of the latency, and so do those of the layers and what stands
          beside them; layers meet by name; where both reports know their silicon, silicon is compared.
Does not: price anything, or print.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onchip.errors import OnchipError, UsageError, did_you_mean
from onchip.ir.report import Report
from onchip.units import format_value, parse

METRICS = {
    "latency": "s",
    "throughput": "1/s",
    "energy": "J",
    "power": "W",
    "memory": "B",
    "dram": "B",
    "cycles": "cycles",
}
_LIMIT = re.compile(r"\s*(\w+)\s*([<>])\s*(.+)", re.ASCII)
LIMIT_NEXT = "Write it as latency>+3% or latency>+3%&+20us"


@dataclass(frozen=True, slots=True)
class Change:
    """One number before and after; None where it is not there."""

    name: str
    unit: str
    before: float | None
    after: float | None

    @property
    def delta(self) -> float:
        """After less before; what is not there counts as 0."""
        return (self.after or 0.0) - (self.before or 0.0)

    @property
    def ratio(self) -> float | None:
        """The relative change, None where there was nothing before or is nothing now."""
        return self.after / self.before - 1 if self.before and self.after is not None else None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two reports, the changes of their totals, of the causes of their time, and of their layers, largest first."""

    before: Report
    after: Report
    totals: tuple[Change, ...]
    causes: tuple[Change, ...]
    layers: tuple[Change, ...]

    @property
    def bounds(self) -> tuple[str, str]:
        return self.before.bound, self.after.bound

    def total(self, name: str) -> Change:
        """Return the change of a total by its name in METRICS."""
        return next(change for change in self.totals if change.name == name)


@dataclass(frozen=True, slots=True)
class Limit:
    """`metric > +3 % & +20 us`: broken where the change exceeds every part. `sign` is -1 for `<`."""

    text: str
    metric: str
    sign: int
    ratio: float | None
    amount: float | None

    def is_broken(self, difference: Difference) -> bool:
        """Return whether the change is beyond the limit; a number that is missing on one side breaks it."""
        change = difference.total(self.metric)
        if (change.before is None) != (change.after is None):
            return True
        delta = self.sign * change.delta
        over_amount = self.amount is None or delta > self.amount
        share = self.ratio is None or delta > self.ratio * abs(change.before or 0.0)
        return delta > 0 and over_amount and share


def compare(before: Report, after: Report) -> Difference:
    """Return what changed from one report to another."""
    if before.expected.kind == after.expected.kind:
        before, after = before.expected, after.expected
    totals = tuple(Change(name, unit, _total(before, name), _total(after, name)) for name, unit in METRICS.items())
    causes = _matched(dict(before.waterfall), dict(after.waterfall))
    layers = _matched(*({layer.name: layer.latency_s.value for layer in report.layers} for report in (before, after)))
    ordered = sorted(layers, key=lambda change: (-abs(change.delta), change.name))
    return Difference(before, after, totals, tuple(causes), tuple(ordered))


def _total(report: Report, name: str) -> float | None:
    quantities = {
        "latency": report.latency_s, "throughput": report.throughput_per_s, "energy": report.energy_j,
        "power": report.power_w,
    }  # fmt: skip
    if name in quantities:
        quantity = quantities[name]
        return None if quantity is None else quantity.value
    counts = {"memory": report.memory.local_peak_bytes, "dram": report.memory.dram_traffic_bytes}
    return float(counts.get(name, report.cycles))


def _matched(before: dict[str, float], after: dict[str, float]) -> list[Change]:
    names = dict.fromkeys((*before, *after))
    return [Change(name, "s", before.get(name), after.get(name)) for name in names]


def parse_limit(text: str) -> Limit:
    """Return a limit. Raises UsageError (OC1008)."""
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise UsageError("OC1008", "--fail-on", f"'{text[:60]}' is no limit", next=LIMIT_NEXT)
    metric, mark, parts = found.groups()
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS) or f"There are {', '.join(METRICS)}"
        raise UsageError("OC1008", "--fail-on", f"'{metric[:40]}' is no number of a report", next=hint)
    sign = 1 if mark == ">" else -1
    ratio = amount = None
    for part in parts.split("&"):
        value, is_share = _amount(part.strip(), METRICS[metric], "+" if sign > 0 else "-", text)
        ratio, amount = (value, amount) if is_share else (ratio, value)
    return Limit(text, metric, sign, ratio, amount)


def _amount(part: str, unit: str, lead: str, text: str) -> tuple[float, bool]:
    """Return a part of a limit, and whether it is a share: +3% or +20us."""
    if not part.startswith(lead):
        fact = f"'{part[:40]}' in '{text[:60]}' has to start with {lead}"
        raise UsageError("OC1008", "--fail-on", fact, next=LIMIT_NEXT)
    number = part[1:].strip()
    try:
        if not number[:1].isdigit():
            raise ValueError(number)
        if number.endswith("%"):
            return float(number[:-1]) / 100, True
        return float(number if unit in ("cycles", "1/s") else parse(number, unit)), False
    except (ValueError, OnchipError):
        what = f"'{part[:40]}' is no share and no amount in {unit}"
        raise UsageError("OC1008", "--fail-on", what, next=LIMIT_NEXT) from None


def broken(difference: Difference, limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return the limits that a difference breaks."""
    return tuple(limit for limit in limits if limit.is_broken(difference))


def told(change: Change) -> tuple[str, str, str, str]:
    """Return before, after, their difference and the relative change as texts."""
    before, after = (format_value(v, change.unit) if v is not None else "–" for v in (change.before, change.after))
    sign = "+" if change.delta > 0 else "−" if change.delta < 0 else "±"
    share = "–" if change.ratio is None else f"{change.ratio * 100:+.1f} %".replace("-", "−")
    return before, after, f"{sign}{format_value(abs(change.delta), change.unit)}", share
