"""Which assumptions made a number: the noun behind `onchip estimate --explain`.

In:       cycles of a network on a chip as its file has it, and with one assumption changed at a time; each layer's
          cycles by cause; of one layer its loops and the mappings that did not win.
Out:      a frozen noun, as text (reports/explain.py) or JSON (the block `explain` of report-1.json).
Promises: every number of an alternative comes from running the whole estimate again on the changed chip; the causes of
          a layer sum to its cycles; `matrix_cycles` are those causes that the array alone has.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from onchip.errors import InternalError

MATRIX = ("useful", "underfill", "fill", "weights")  # causes of the matrix unit itself


@dataclass(frozen=True, slots=True)
class Choice:
    """A named assumption, what the other choice would give, in cycles of the whole and of each layer.

    `cycles` is None where the network does not run that way; `options` are words of a command line.
    """

    name: str
    here: str
    other: str
    options: str
    cycles: int | None
    layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerReason:
    """One layer: its cycles by cause; the array alone in one unbroken stream with weights hidden and serial, where the
    array is weight-stationary; the cycles that its bytes need on the port of far memory; and a sentence."""

    name: str
    cycles: int
    parts: tuple[tuple[str, Fraction], ...]
    stream: tuple[int, int] | None
    far_cycles: int
    text: str

    def __post_init__(self) -> None:
        if sum(cycles for _, cycles in self.parts) != self.cycles:
            raise InternalError("OC9043", self.name, f"its causes do not sum to {self.cycles} cycles")

    @property
    def matrix_cycles(self) -> int:
        """Return the cycles of the array itself in this schedule: useful, under-filled, filling, loading weights."""
        return round(sum(cycles for cause, cycles in self.parts if cause in MATRIX))

    def to_json(self) -> dict[str, Any]:
        hidden, serial = self.stream or (None, None)
        return {
            "name": self.name, "cycles": self.cycles, "matrix_cycles": self.matrix_cycles,
            "far_memory_cycles": self.far_cycles, "stream_cycles_hidden": hidden, "stream_cycles_serial": serial,
            "parts": [{"part": part, "cycles": float(cycles)} for part, cycles in self.parts], "why": self.text,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Played:
    """A mapping that was run: what it differs in, how the plan writes it, and its cycles by cause."""

    what: str
    mapping: str
    predicted: int
    cycles: int
    parts: tuple[tuple[str, Fraction], ...]

    def to_json(self) -> dict[str, Any]:
        parts = [{"part": part, "cycles": float(cycles)} for part, cycles in self.parts]
        return {
            "differs_in": self.what, "mapping": self.mapping, "predicted_cycles": self.predicted,
            "cycles": self.cycles, "parts": parts,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class MappingReason:
    """One layer's loops, and its search: how many mappings fit, how many were priced, the one taken and the others."""

    layer: str
    nest: tuple[str, ...]
    n_fitting: int = 0
    n_priced: int = 0
    taken: Played | None = None
    others: tuple[Played, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer, "loops": list(self.nest), "mappings_fitting": self.n_fitting,
            "mappings_priced": self.n_priced, "taken": None if self.taken is None else self.taken.to_json(),
            "others": [other.to_json() for other in self.others],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an estimate says what it says."""

    cycles: int
    clock_hz: int
    choices: tuple[Choice, ...]
    layers: tuple[LayerReason, ...]
    mapping: MappingReason | None

    def to_json(self) -> dict[str, Any]:
        """Return the block `explain` of the report's JSON."""
        return {
            "cycles": self.cycles,
            "choices": [
                {
                    "assumption": c.name, "here": c.here, "other": c.other, "options": c.options, "cycles": c.cycles,
                    "layer_cycles": list(c.layers),
                }
                for c in self.choices
            ],
            "layers": [layer.to_json() for layer in self.layers],
            "mapping": None if self.mapping is None else self.mapping.to_json(),
        }  # fmt: skip
