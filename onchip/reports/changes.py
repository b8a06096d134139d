"""What could be changed about a run, each with a closed form of what that should bring.

In:       a Report, its chip, what is open (the batch, the catalog), and what the search's formula promised.
Out:      `Change`s, the most promising first.
Promises: a prediction is arithmetic on the causes of the time, no estimate is run: it decides what is tried first, and
          stands beside what was then measured. Hardware keys are data: `HARDWARE` says which cause each one shortens.
Does not: decide what is shown: `reports.actions` does, from runs.
Sources:  Hong & Kung 1981: traffic of a matrix product falls with the square root of the memory on chip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from onchip.chip import Chip
from onchip.ir.report import Layer, Report
from onchip.units import format_exact

BATCHES = (2, 4, 8)  # times the batch
SOON = 0.02  # of the time: causes below it are not worth a change
PER_RUN = ("fill", "weights", "sync", "launch", "host")  # causes that a batch shares
ARRAY, MEMORY = ("useful", "underfill"), ("memory", "weights")
LATER = "a batch waits for its last input"
VALUES = "values change: check the accuracy"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to change. `predicted` is the change of the time per inference, as a share; None where no form is."""

    text: str
    settings: tuple[tuple[str, str], ...]
    effort: str
    risk: str = ""
    predicted: float | None = None

    @property
    def kind(self) -> str:
        """Return the key that it turns."""
        return self.settings[0][0]

    @property
    def options(self) -> str:
        """Return the settings as words of a command line."""
        return " ".join(f"--set {key}={value}" for key, value in self.settings)


@dataclass(frozen=True, slots=True)
class Lever:
    """A number of the chip file, what to multiply it by, and the shares of causes that should go away."""

    key: str
    text: str
    unit: str
    value: Callable[[Chip], int]
    shortens: dict[str, float]


HARDWARE = (
    Lever("dram.bandwidth", "twice the DRAM bandwidth", "B/s", lambda c: c.dram.bandwidth_bytes_per_s, {"memory": 0.5}),
    Lever("local.size", "twice the local memory", "B", lambda c: c.local.size_bytes, {"memory": 1 - 0.5**0.5}),
)  # fmt: skip


def candidates(
    report: Report, chip: Chip, *, can_batch: bool, chips: Sequence[Chip] = (), promised: float | None = None,
    fold: tuple[Layer, float] | None = None,
) -> list[Change]:  # fmt: skip
    """Return the changes worth trying, the most promising first.

    `fold` is the layer that reads a picture and what would be left of its passes after space_to_depth.
    `chips` are others to move to. `promised` is the change that the search's formula promised and the run did not give.
    """
    found = _dtypes(report, chip) + _hardware(report, chip) + (_batches(report) if can_batch else [])
    if fold is not None:
        layer, ratio = fold
        gain = sum(seconds for cause, seconds in layer.waterfall if cause in ARRAY) * (1 - ratio)
        predicted = -gain / report.latency_s.value if report.latency_s.value else 0.0
        text = "fold the picture into channels"
        found.append(Change(text, (("rewrite", "space_to_depth"),), "one option", predicted=predicted))
    if promised is not None:
        text, effort = "search every mapping", "compiles about 8 times as long"
        found.append(Change(text, (("effort", "full"),), effort, predicted=promised))
    return sorted(found, key=_promise) + _chips(report, chip, chips)


def _promise(change: Change) -> tuple[float, str]:
    return (0.0 if change.predicted is None else change.predicted, change.options)


def share(report: Report, causes: Sequence[str]) -> float:
    """Return the share of the time that goes to some causes."""
    whole = report.latency_s.value
    return sum(seconds for cause, seconds in report.waterfall if cause in causes) / whole if whole else 0.0


def bits_of(dtype: str) -> int:
    """Return the bits of a dtype in memory; tf32 lies there as fp32."""
    return int(re.sub(r"\D", "", dtype))


def _hardware(report: Report, chip: Chip) -> list[Change]:
    made: list[Change] = []
    for lever in HARDWARE:
        value = format_exact(2 * lever.value(chip), lever.unit).replace(" ", "")
        predicted = -sum(part * share(report, (cause,)) for cause, part in lever.shortens.items())
        made.append(Change(lever.text, ((lever.key, value),), "other hardware", predicted=predicted))
    return made


def _batches(report: Report) -> list[Change]:
    """A batch shares the fixed costs, and of the memory's time what loads weights."""
    traffic, weights = report.memory.dram_traffic_bytes, report.model.parameters * bits_of(report.dtype) / 8
    of_weights = min(1.0, weights / traffic) if traffic else 0.0
    shared = share(report, PER_RUN) + of_weights * share(report, ("memory",))
    found: list[Change] = []
    for times in BATCHES:
        batch = str(times * report.model.batch)
        found.append(
            Change(f"batch {batch}", (("batch", batch),), "one option", LATER, predicted=-(1 - 1 / times) * shared)
        )
    return found


def _dtypes(report: Report, chip: Chip) -> list[Change]:
    """Narrower or faster arithmetic of the same chip."""
    own, bits = chip.peak_ops_per_s(report.dtype), bits_of(report.dtype)
    found: list[Change] = []
    for dtype in chip.dtypes:
        peak, size = chip.peak_ops_per_s(dtype), bits_of(dtype)
        if size > bits or (size == bits and peak <= own):
            continue
        gain = share(report, ARRAY) * (1 - own / peak) + share(report, MEMORY) * (1 - size / bits)
        effort = "quantize with samples" if dtype.startswith("int") else "one option"
        found.append(Change(f"{dtype} instead of {report.dtype}", (("dtype", dtype),), effort, VALUES, predicted=-gain))
    return found


def _chips(report: Report, chip: Chip, chips: Sequence[Chip]) -> list[Change]:
    """Other chips that should be faster, least power first: the catalog has no prices."""
    found: list[tuple[tuple[Fraction, int, str], Change]] = []
    for other in chips:
        own = other.default_dtype
        if other.power is None or other.name == chip.name:
            continue
        predicted = _moved(report, chip, other)
        risk = VALUES if bits_of(own) < bits_of(report.dtype) else ""
        text = f"{other.name} in {own}, {format_exact(other.power.limit_w, 'W')}"
        change = Change(text, (("chip", other.name),), "another chip", risk, predicted=predicted)
        if predicted <= -SOON:
            found.append(((other.power.limit_w, other.peak_ops_per_s(own), other.name), change))
    return [change for _, change in sorted(found, key=lambda pair: pair[0])]


def _moved(report: Report, chip: Chip, other: Chip) -> float:
    """Scale the array's time by the peaks, the memory's by the bandwidths, and the rest by the clocks."""
    array, memory = share(report, ARRAY), share(report, MEMORY)
    peaks = chip.peak_ops_per_s(report.dtype) / other.peak_ops_per_s(other.default_dtype)
    bits = bits_of(other.default_dtype) / bits_of(report.dtype)
    ways = chip.dram.bandwidth_bytes_per_s / other.dram.bandwidth_bytes_per_s * bits
    rest = 1 - array - memory
    return array * peaks + memory * ways + rest * chip.clock_hz / other.clock_hz - 1
