"""How much quantization costs a network in precision, layer by layer, and what more bits would give back.

In:       signal-to-quantization-noise ratios (SQNR) in dB, measured by passes/sensitivity.py.
Out:      a frozen noun, as text (reports/sensitivity.py) or as JSON (schemas/quantize-1.json).
Promises: a ratio that does not exist, because there is no noise or no signal, is None and prints as a dash.
SQNR:     10 log10(sum y^2 / sum (y - ŷ)^2) over all elements of all samples, y of the float network; at the network's
          output over all its outputs together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10
from typing import Any

from onchip.errors import InternalError

SCHEMA_VERSION = 1


def decibels(signal: float, noise: float) -> float | None:
    """Return a power ratio in dB, None where one of both is 0."""
    return 10.0 * log10(signal / noise) if signal > 0.0 and noise > 0.0 else None


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """One layer. `isolated_db` and `restored_db` are SQNRs at the network's output, `cumulative_db` at the layer's.

    isolated: this layer alone is quantized; cumulative: everything up to it is; restored: everything but this layer is,
    which computes in floats on the integers that it is given.
    """

    name: str
    op: str
    isolated_db: float | None
    cumulative_db: float | None
    restored_db: float | None
    gain_db: float  # of restoring it, at the output

    def to_json(self) -> dict[str, Any]:
        names = ("name", "op", "isolated_db", "cumulative_db", "restored_db", "gain_db")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Raise:
    """One step of a mixed network: this layer reads int16 too. SQNR and added cycles (a bound) of all so far."""

    name: str
    sqnr_db: float | None
    added_cycles: int | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """A network's precision in int8. `methods` holds the SQNR of every calibration method, `raises` the suggestion."""

    network: str
    hash: str
    method: str
    samples: int
    sqnr_db: float | None
    layers: tuple[LayerSensitivity, ...]
    methods: tuple[tuple[str, float | None], ...]
    target_db: float | None
    raises: tuple[Raise, ...]
    chip: str
    int8_cycles: int | None
    assumptions: tuple[str, ...]
    tool: str

    def __post_init__(self) -> None:
        numbers = [self.sqnr_db, self.target_db, *(db for _, db in self.methods)]
        numbers += [db for layer in self.layers for db in (layer.isolated_db, layer.cumulative_db, layer.gain_db)]
        if any(n is not None and not isfinite(n) for n in numbers):
            raise InternalError("OC9055", self.network, "an SQNR is not finite")
        if self.samples < 1 or (self.chip == "") != (self.int8_cycles is None):
            raise InternalError("OC9055", self.network, "no samples, or cycles without a chip")

    @property
    def ranked(self) -> tuple[LayerSensitivity, ...]:
        """Return the layers that hurt most first: by what restoring them gains."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.gain_db))

    @property
    def is_reached(self) -> bool:
        """Whether the last step of the suggestion has the target."""
        last = self.raises[-1].sqnr_db if self.raises else self.sqnr_db
        return self.target_db is None or last is None or last >= self.target_db

    def to_json(self) -> dict[str, Any]:
        """Return the published object."""
        places = {layer.name: place for place, layer in enumerate(self.ranked, 1)}
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": self.tool,
            "model": {"name": self.network, "hash": self.hash},
            "method": self.method,
            "samples": self.samples,
            "sqnr_db": self.sqnr_db,
            "methods": [{"method": method, "sqnr_db": db} for method, db in self.methods],
            "layers": [layer.to_json() | {"rank": places[layer.name]} for layer in self.layers],
            "target_db": self.target_db,
            "is_reached": self.is_reached,
            "int16": [{"name": r.name, "sqnr_db": r.sqnr_db, "added_cycles": r.added_cycles} for r in self.raises],
            "chip": self.chip or None,
            "int8_cycles": self.int8_cycles,
            "assumptions": list(self.assumptions),
        }
