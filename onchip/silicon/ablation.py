"""What each modelled effect is worth: the errors of all rows of time with one effect switched off at a time.

In:       measurements.
Out:      `Ablation`s: an effect, and the median and 90th percentile of |error| for each class of rows without it.
Promises: an effect is switched off by changing numbers of the chip alone, or what the host adds; nothing is fitted
          again, so an effect that others were fitted beside looks larger than it is; the first switches nothing off.
Does not: judge: an effect whose absence lowers an error stays in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from onchip.chip import Chip
from onchip.chip_parts import Algorithms, Execution, Launch, Overlap
from onchip.silicon.bands import class_of
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import TIME_METRICS, Prediction, predict
from onchip.silicon.scores import percentile

ENDLESS = 1 << 40  # bytes, or a factor of bandwidth, that limit nothing
MANAGED = "network, placed"  # on chips whose memory a compiler manages
CLASSES = ("gemm", "bmm", "conv2d", "attention", "recurrent", "elementwise", "rows", "network", MANAGED)


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that the forecast models, and how a chip or a row looks without it."""

    name: str
    chip: Callable[[Chip], Chip] = lambda chip: chip
    row: Callable[[Measurement], Measurement] = lambda row: row


@dataclass(frozen=True, slots=True)
class Ablation:
    """Percent of |error| without an effect, by class of rows: median, 90th percentile, rows."""

    effect: str
    errors: tuple[tuple[str, float, float, int], ...]


def _achieved(**shares: float | int | Fraction) -> Callable[[Chip], Chip]:
    return lambda chip: replace(chip, achieved=replace(chip.achieved, **shares))


def _shared(**fields: int) -> Callable[[Chip], Chip]:
    return lambda chip: replace(chip, shared=tuple(replace(level, **fields) for level in chip.shared))


def _no_call(row: Measurement) -> Measurement:
    """Return a row whose host adds nothing; a published empty kernel stays."""
    told = {key for key, _ in row.params}
    if row.timing != "host" or "empty_kernel_us" in told:
        return row
    return replace(row, params=(*row.params, ("empty_kernel_us", "0")))


EFFECTS = (
    Effect("nothing"),
    Effect("launches on the device, fixed cost of a run", lambda chip: replace(chip, launch=Launch())),
    Effect("calls of the host", row=_no_call),
    Effect("far memory is not reached in full", _achieved(dram=1.0)),
    Effect("matrix unit and lanes are not reached in full", _achieved(matrix=1.0, vector=1.0)),
    Effect("bandwidth of the shared level", _achieved(shared=100.0)),
    Effect("what stays in the shared level", _shared(size_bytes=1)),
    Effect("a core's bytes in flight", lambda chip: replace(chip, cores=replace(chip.cores, bytes_in_flight=None))),
    Effect("waiting for loads along the depth", _achieved(prefetch_bytes=ENDLESS)),
    Effect("start and end of tiles", _achieved(tile_s=Fraction(0))),
    Effect("partial overlap of units and memory", lambda chip: replace(chip, overlap=Overlap())),
    Effect("the clock that the power limit sustains", lambda chip: replace(chip, power=None)),
    Effect("Winograd, kernels for narrow products", lambda chip: replace(chip, algorithms=Algorithms())),
    Effect("pipelines, independent cores, resident weights", lambda chip: replace(chip, execution=Execution())),
)


def ablate(measurements: Iterable[Measurement], effects: Sequence[Effect] = EFFECTS) -> tuple[Ablation, ...]:
    """Return the errors without each effect, for the rows of time."""
    rows = [row for row in measurements if row.metric in TIME_METRICS]
    return tuple(Ablation(effect.name, _errors(rows, effect)) for effect in effects)


def _errors(rows: Sequence[Measurement], effect: Effect) -> tuple[tuple[str, float, float, int], ...]:
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for made in predict([effect.row(row) for row in rows], change=effect.chip):
        if isinstance(made, Prediction):
            found.setdefault(class_of_prediction(made), []).append(100 * abs(made.error))
    return tuple((name, percentile(e, 50), percentile(e, 90), len(e)) for name, e in found.items() if e)


def class_of_prediction(made: Prediction) -> str:
    """Return the class of a row: its kind of workload, networks apart by who manages the memory of the chip."""
    name = class_of(made.measurement.workload)
    if name not in ("network", "layer"):
        return name
    shared = Chip.load(made.measurement.chip).shared
    return "network" if any(level.managed == "cache" for level in shared) else MANAGED


def ablation_table(ablations: Sequence[Ablation]) -> list[str]:
    """Return the rows of a Markdown table: effects down, classes of rows across, `median / p90` in percent."""
    names = [name for name, *_ in ablations[0].errors]
    counts = [f"{name} ({n})" for name, _, _, n in ablations[0].errors]
    lines = [f"| without | {' | '.join(counts)} |", f"| --- |{' ---: |' * len(names)}"]
    whole = dict((name, (median, p90)) for name, median, p90, _ in ablations[0].errors)
    for ablation in ablations:
        cells = {name: (median, p90) for name, median, p90, _ in ablation.errors}
        texts = [_cell(cells.get(name), whole[name], is_whole=ablation is ablations[0]) for name in names]
        lines.append(f"| {ablation.effect} | {' | '.join(texts)} |")
    return lines


def _cell(errors: tuple[float, float] | None, whole: tuple[float, float], *, is_whole: bool) -> str:
    """Return `median / p90`, a dot where nothing moves by a tenth of a point."""
    if errors is None:
        return "–"
    if not is_whole and all(abs(a - b) < 0.1 for a, b in zip(errors, whole, strict=True)):
        return "·"
    return " / ".join(f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in errors)
