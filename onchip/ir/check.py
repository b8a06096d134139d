"""Where each op of a network runs on a chip: the noun of `onchip check`.

In:       the pipeline's findings: a unit for each node, and what is refused.
Out:      a frozen noun; `to_json` is the published object (schemas/check-1.json), `reports.check` its text.
Promises: the constructor refuses an unknown unit, a refusal without its cause, and a fused node without its kernel.
          A claim is about this node (op, attributes, dtypes), never about the op's name.
Does not: say how long anything takes; that is `estimate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onchip.chip import Chip
from onchip.errors import InternalError, OnchipError
from onchip.ir.program import Model

UNITS = ("matrix", "vector", "fused", "host", "free", "refused")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is refused: the parts of its error."""

    code: str
    fact: str
    limit: str
    next: str

    @staticmethod
    def of(error: OnchipError) -> Cause:
        """Take the parts of an error, as sentences."""
        fact, limit, hint = (text.strip().rstrip(".") for text in (error.fact, error.limit, error.next))
        return Cause(error.code, fact, limit, hint)

    def to_json(self) -> dict[str, str]:
        return {"code": self.code, "fact": self.fact, "limit": self.limit, "next": self.next}


@dataclass(frozen=True, slots=True)
class Placed:
    """One node: `runs_as` is its op on the chip, `kernel` the group it runs in, `cause` is there where it is refused.

    `unit` is matrix or vector for the first node of a kernel, fused for the others; host: at the graph's edges, not in
    the time; free: another name for the same bytes, or folded away.
    """

    name: str
    op: str
    runs_as: str
    unit: str
    kernel: str
    macs: int
    vector_ops: int
    reason: str
    cause: Cause | None = None
    is_added: bool = False  # by a pass: not in the network as it was read

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InternalError("OC9028", self.name, f"no unit '{self.unit}'")
        if (self.unit == "refused") != (self.cause is not None):
            raise InternalError("OC9028", self.name, "a refusal and its cause come together")
        if (self.unit in ("matrix", "vector", "fused")) != bool(self.kernel):
            raise InternalError("OC9028", self.name, f"unit '{self.unit}' with kernel '{self.kernel}'")


@dataclass(frozen=True, slots=True)
class Check:
    """Every node of a network on a chip, in the network's order, then those that onchip added.

    `network` holds what is refused of the network as a whole: tensors that do not fit the chip's DRAM.
    """

    model: Model
    chip: Chip
    dtype: str
    nodes: tuple[Placed, ...]
    network: tuple[Cause, ...]
    tool: str

    def of(self, unit: str) -> tuple[Placed, ...]:
        """Return the nodes of a unit."""
        return tuple(node for node in self.nodes if node.unit == unit)

    @property
    def is_refused(self) -> bool:
        """Whether `estimate` would refuse the network."""
        return bool(self.network) or any(node.unit == "refused" for node in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Return the published object."""
        model, chip = self.model, self.chip
        sizes = {"macs": model.macs, "parameters": model.parameters}
        return {
            "schema_version": 1,
            "tool": self.tool,
            "model": {"name": model.name, "hash": model.hash, **sizes},
            "chip": {"name": chip.name, "hash": chip.hash, "evidence": chip.evidence},
            "batch": model.batch,
            "dtype": self.dtype,
            "is_refused": self.is_refused,
            "units": [{"unit": unit, **_sums(self.of(unit))} for unit in UNITS],
            "network": [cause.to_json() for cause in self.network],
            "nodes": [_node(node) for node in self.nodes],
        }


def _sums(nodes: Iterable[Placed]) -> dict[str, int]:
    own = tuple(nodes)
    return {"nodes": len(own), "macs": sum(n.macs for n in own), "vector_ops": sum(n.vector_ops for n in own)}


def _node(node: Placed) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "runs_as": node.runs_as,
        "unit": node.unit,
        "kernel": node.kernel,
        "macs": node.macs,
        "vector_ops": node.vector_ops,
        "is_added": node.is_added,
        "reason": node.reason,
        "refused": node.cause.to_json() if node.cause is not None else None,
    }
