"""What to try first: a few changes, each priced by running the estimate again, and shown only where it helps.

In:       a Report, and a function that prices a change (None where it does not apply or does not fit).
Out:      actions, best first, each with its gain per inference and the options that try it.
Promises: nothing is guessed: a gain is the difference of two reports. At most MOST changes are priced, and only the
          most promising one of a network that is much work: work is counted in layers, not in seconds, so that the
          same request gives the same advice on any machine.
Does not: know how to price, or change the network's arithmetic without saying that accuracy needs a check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onchip.chip import Chip
from onchip.ir.report import Report
from onchip.units import format_exact

MOST = 4
WORK = 100  # of all changes together, see `work`: about 0.3 s
TWICE = {"local.size": "twice the local memory", "dram.bandwidth": "twice the DRAM bandwidth"}
LEAST_GAIN = 0.02  # below 2 % an action is not worth a line


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to change; what is None or empty stays."""

    text: str
    options: str
    risk: str
    batch: int | None = None
    dtype: str | None = None
    overrides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """A change that was priced: shares of time and energy per inference, negative is better."""

    change: Change
    time: float
    energy: float | None

    @property
    def gain(self) -> str:
        """Return what it changes per inference, as in `−30 % time, −12 % energy`."""
        energy = f", {_percent(self.energy)} energy" if self.energy is not None else ""
        return f"{_percent(self.time)} time{energy}"


def action_lines(actions: Sequence[Action]) -> list[str]:
    """Return the actions as lines: what, its gain per inference, the options that try it, and a risk in brackets."""
    texts = [action.change.text for action in actions]
    width, gain = max(map(len, texts), default=0), max((len(action.gain) for action in actions), default=0)
    lines: list[str] = []
    for action in actions:
        head = "Try first: " if not lines else "           "
        risk = f"   ({action.change.risk})" if action.change.risk else ""
        lines.append(f"{head} {action.change.text:<{width}}  {action.gain:<{gain}}  {action.change.options}{risk}")
    return lines


Reprice = Callable[[Change], Report | None]


def work(report: Report) -> int:
    """Return the work of one estimate: layers that are planned and lowered, and a quarter for each that equals one."""
    distinct = len({(layer.cycles, layer.macs, layer.dram_bytes) for layer in report.layers})
    return distinct + (len(report.layers) - distinct) // 4


def try_first(report: Report, chip: Chip, reprice: Reprice, *, can_batch: bool, effort: int = 1) -> tuple[Action, ...]:
    """Price the most promising changes and return those that help, best first.

    `effort` is how many times the usual work one estimate is; one change is priced in any case.
    """
    found: list[Action] = []
    most = max(1, min(MOST, WORK // max(1, effort * work(report))))
    for change in candidates(report, chip, can_batch=can_batch)[:most]:
        changed = reprice(change)
        if changed is None:
            continue
        time = changed.seconds_per_inference / report.seconds_per_inference - 1
        if time <= -LEAST_GAIN:
            found.append(Action(change, time, _energy(report, changed)))
    return tuple(sorted(found, key=lambda action: (action.time, action.change.options)))


def candidates(report: Report, chip: Chip, *, can_batch: bool) -> list[Change]:
    """Return the changes worth pricing, those that concern the bound first."""
    batch = 2 * report.model.batch
    found: list[Change] = []
    if report.dtype != "int8" and "int8" in chip.dtypes:
        found.append(Change(f"int8 instead of {report.dtype}", "--dtype int8", "check the accuracy", dtype="int8"))
    doubled = {
        "local.size": format_exact(2 * chip.local.size_bytes, "B"),
        "dram.bandwidth": format_exact(2 * chip.dram.bandwidth_bytes_per_s, "B/s"),
    }
    sets = {key: value.replace(" ", "") for key, value in doubled.items()}
    memories = [Change(TWICE[k], f"--set {k}={v}", "", overrides=((k, v),)) for k, v in sets.items()]
    if dict(report.waterfall).get("memory", 0.0) >= LEAST_GAIN * report.latency_s.value:
        found.append(memories.pop())
    if can_batch:
        found.append(Change(f"batch {batch}", f"-b {batch}", "a batch waits for its last input", batch=batch))
    return found + memories


def _energy(before: Report, after: Report) -> float | None:
    if before.energy_j is None or after.energy_j is None or not before.energy_j.value:
        return None
    each = before.energy_j.value / before.model.batch, after.energy_j.value / after.model.batch
    return each[1] / each[0] - 1


def _percent(share: float) -> str:
    points = round(share * 100)
    return f"{points:+d} %".replace("-", "−") if points else "±0 %"
