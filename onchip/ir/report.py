"""What a run costs and why: the noun that people and programs read.

In:       quantities, the layer table and the waterfall, from `reports.summary`.
Out:      a frozen noun; `to_json` is the published object (schemas/report-1.json), `str` its plain text.
Promises: the constructor refuses a quantity without provenance, a ratio above 1, a waterfall, layers or energy parts
          that do not sum to the whole; the same report gives the same bytes, except `timing`, which the caller adds.
Does not: compute anything about the machine, or invent a band: one that nobody has validated is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from onchip.errors import InternalError
from onchip.ir.program import Model
from onchip.units import Fidelity, Provenance, Quantity

SCHEMA_VERSION = 1
SUM_TOLERANCE = 1e-9  # relative: parts are exact fractions until they are rounded to floats
Parts = tuple[tuple[str, float], ...]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """What a report says about the chip; rates are those of the whole chip for the report's dtype."""

    name: str
    hash: str
    evidence: str
    clock_hz: int
    cores: int
    peak_ops_per_s: int
    dram_bytes_per_s: int
    local_bytes: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The fullest moment of a core's local memory, in which layer it is, and what went to and from DRAM in all."""

    local_peak_bytes: int
    local_bytes: int
    layer: str
    dram_traffic_bytes: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One kernel: a fused group of nodes. `intensity` is in operations per byte of DRAM, None without DRAM traffic."""

    name: str
    nodes: tuple[str, ...]
    kind: str
    cycles: int
    latency_s: Quantity
    energy_j: Quantity | None
    share: float
    macs: int
    utilization: float
    bound: str
    intensity: float | None
    attainable_ops_per_s: float
    dram_bytes: int
    local_peak_bytes: int
    cores: int
    waterfall: Parts
    how: str = ""  # the mapping, in a few words


@dataclass(frozen=True, slots=True)
class Report:
    """A network on a chip: how long, how much energy, where the time goes, and what was assumed.

    `kind` says whose program it is: ours, exact on a machine with the chip's numbers, or the one that the vendor runs
    on silicon, whose numbers are expected; `silicon` is the second beside the first.
    """

    model: Model
    chip: ChipFacts
    dtype: str
    cycles: int
    latency_s: Quantity
    throughput_per_s: Quantity
    energy_j: Quantity | None
    power_w: Quantity | None
    utilization: Quantity
    memory: Memory
    bound: str
    waterfall: Parts
    energy_parts: Parts
    layers: tuple[Layer, ...]
    assumptions: tuple[str, ...]
    tool: str
    program_hash: str = ""
    bit_exact: bool | None = None
    kind: Literal["program", "silicon"] = "program"
    silicon: Report | None = None

    def __post_init__(self) -> None:
        _verify(self)

    @property
    def chip_name(self) -> str:
        return self.chip.name

    @property
    def expected(self) -> Report:
        """Return the report of what runs on silicon, this one where nothing else is known."""
        return self if self.silicon is None else self.silicon

    @property
    def seconds_per_inference(self) -> float:
        """Return the latency of a batch divided by its size."""
        return self.latency_s.value / self.model.batch

    @property
    def verdict(self) -> str:
        """Return one sentence: how long it takes, and what most of the time goes to."""
        from onchip.ir.report_text import verdict

        return verdict(self)

    def to_json(self, *, timing: Mapping[str, float] | None = None) -> Json:
        """Return the published object; `timing` is the one block that differs from run to run."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": self.tool,
            "kind": self.kind,
            "model": {
                "name": self.model.name,
                "hash": self.model.hash,
                "macs": self.model.macs,
                "parameters": self.model.parameters,
                "assumptions": list(self.model.assumptions),
            },
            "chip": {name: getattr(self.chip, name) for name in ChipFacts.__slots__},
            "batch": self.model.batch,
            "dtype": self.dtype,
            "latency_s": self.latency_s.to_json(),
            "throughput_per_s": self.throughput_per_s.to_json(),
            "energy_j": _quantity(self.energy_j),
            "power_w": _quantity(self.power_w),
            "utilization": self.utilization.to_json(),
            "memory": _memory(self.memory),
            "bound": self.bound,
            "waterfall": _parts(self.waterfall),
            "energy_parts": [{"part": part, "joules": joules} for part, joules in self.energy_parts],
            "layers": [_layer(layer) for layer in self.layers],
            "assumptions": list(self.assumptions),
            "program_hash": self.program_hash,
            "bit_exact": self.bit_exact,
            "cycles": self.cycles,
            "silicon": None if self.silicon is None else self.silicon.to_json(),
            "timing": dict(timing or {}),
        }

    def __str__(self) -> str:
        from onchip.ir.report_text import write_report

        return write_report(self)

    def __repr__(self) -> str:
        return f"<Report {self.verdict}>"

    def _repr_html_(self) -> str:
        from onchip.ir.notebook import report_html

        return report_html(self)

    def to_pandas(self) -> Any:
        """Return a DataFrame, a row a layer, SI units in the names of columns. Raises UsageError without pandas."""
        from onchip.ir.notebook import frame, layer_rows

        return frame(layer_rows(self))


def _quantity(quantity: Quantity | None) -> Json | None:
    return None if quantity is None else dict(quantity.to_json())


def _parts(parts: Parts) -> list[Json]:
    return [{"part": part, "seconds": seconds} for part, seconds in parts]


def _memory(memory: Memory) -> Json:
    return {
        "local_peak_bytes": memory.local_peak_bytes,
        "local_bytes": memory.local_bytes,
        "layer": memory.layer,
        "dram_traffic_bytes": memory.dram_traffic_bytes,
    }


def _layer(layer: Layer) -> Json:
    return {
        "name": layer.name,
        "nodes": list(layer.nodes),
        "kind": layer.kind,
        "cycles": layer.cycles,
        "latency_s": layer.latency_s.to_json(),
        "energy_j": _quantity(layer.energy_j),
        "share": layer.share,
        "macs": layer.macs,
        "utilization": layer.utilization,
        "bound": layer.bound,
        "intensity_op_per_byte": layer.intensity,
        "attainable_ops_per_s": layer.attainable_ops_per_s,
        "dram_bytes": layer.dram_bytes,
        "local_peak_bytes": layer.local_peak_bytes,
        "cores": layer.cores,
        "waterfall": _parts(layer.waterfall),
        "how": layer.how,
    }


def _verify(report: Report) -> None:
    where = f"{report.model.name} on {report.chip.name}"
    quantities = [report.latency_s, report.throughput_per_s, report.utilization, report.energy_j, report.power_w]
    quantities += [quantity for layer in report.layers for quantity in (layer.latency_s, layer.energy_j)]
    for quantity in quantities:
        _verify_quantity(quantity, where)
    ratios = [report.utilization.value, *(layer.utilization for layer in report.layers)]
    if any(not 0 <= ratio <= 1 + SUM_TOLERANCE for ratio in ratios):
        raise InternalError("OC9045", where, f"a utilization is {max(ratios):.6g}, above its peak")
    _verify_sum((seconds for _, seconds in report.waterfall), report.latency_s.value, "the waterfall", where)
    for layer in report.layers:
        _verify_sum((s for _, s in layer.waterfall), layer.latency_s.value, f"the waterfall of {layer.name}", where)
    if sum(layer.cycles for layer in report.layers) != report.cycles:
        raise InternalError("OC9043", where, f"the layers' cycles do not sum to {report.cycles}")
    if report.energy_j is not None:
        _verify_sum((joules for _, joules in report.energy_parts), report.energy_j.value, "energy", where)


def _verify_quantity(quantity: Quantity | None, where: str) -> None:
    if quantity is None:
        return
    if quantity.provenance not in get_args(Provenance) or quantity.fidelity not in get_args(Fidelity):
        raise InternalError("OC9044", where, f"a quantity in {quantity.unit} has no provenance or fidelity")
    if quantity.value < 0:
        raise InternalError("OC9044", where, f"a quantity is {quantity.value} {quantity.unit}")


def _verify_sum(parts: Iterable[float], whole: float, what: str, where: str) -> None:
    values = list(parts)
    total = math.fsum(values)
    if any(value < 0 for value in values) or not math.isclose(total, whole, rel_tol=SUM_TOLERANCE, abs_tol=1e-18):
        raise InternalError("OC9042", where, f"{what} sums to {total!r} of {whole!r}")
