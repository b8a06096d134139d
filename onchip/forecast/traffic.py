"""Where a kernel's tensors lie when it starts: in far memory, or still on the chip.

In:       kernels in order, a Machine, what the chip holds at the start.
Out:      a `Traffic` for each kernel: bytes from and to far memory, and through the shared level.
Promises: weights, inputs and outputs of each kernel are counted once; the sum of far bytes is at least the compulsory
          one, given what is on the chip at the start.
Does not: know how a kernel reads its operands again: that is the kernel's price.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from onchip.forecast.kernels import INDEX_BYTES, Kernel
from onchip.forecast.machine import Machine

# what lies on the chip when a run starts: nothing; the activations that the run before left; weights as well
Start = Literal["cold", "activations", "warm"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one kernel, once each: in far memory or near (a shared or local memory)."""

    far_weights: float
    far_inputs: float
    far_outputs: float
    near: float
    zeros: float | None = None  # share of the inputs, where it is known

    @property
    def far(self) -> float:
        return self.far_weights + self.far_inputs + self.far_outputs


def tensor_bytes(kernel: Kernel, name: str, m: Machine) -> float:
    """Return the bytes of a tensor in the machine's dtype; indices and flags have their own."""
    own = {"i64": INDEX_BYTES, "i32": INDEX_BYTES, "bool": 1}
    return kernel.elements(name) * own.get(kernel.graph.tensor(name).dtype, m.bytes)


def traffic_of(kernels: Sequence[Kernel], alias: Mapping[str, str], m: Machine, start: Start) -> tuple[Traffic, ...]:
    """Return the traffic of each kernel.

    A tensor is near where it and what other kernels moved since it was touched fit in half of the shared level; outputs
    where they do alone. A run that is repeated finds what the run before left.
    """
    cache = _Cache(kernels, m)
    if start == "warm":
        for kernel in kernels:
            cache.run(kernel)
    elif start == "activations" and kernels:
        cache.touch(kernels[0].graph.inputs)
    kept = set(kernels[0].graph.kept) if kernels and start == "cold" else set[str]()
    return tuple(cache.run(kernel, kept) for kernel in kernels)


class _Cache:
    """The bytes that were moved so far, and when each tensor was touched last."""

    def __init__(self, kernels: Sequence[Kernel], m: Machine) -> None:
        self.sizes = {t: tensor_bytes(k, t, m) for k in kernels for t in (*k.inputs, *k.outputs, *k.weights)}
        self.room, self.moved, self.touched = m.near_bytes / 2, 0.0, dict[str, float]()

    def touch(self, tensors: Sequence[str]) -> None:
        self.touched.update(dict.fromkeys(tensors, self.moved))

    def run(self, kernel: Kernel, kept: Set[str] = frozenset()) -> Traffic:
        """Move what a kernel moves; `kept` outputs are far."""
        inputs, outputs, weights = (self._bytes(names) for names in (kernel.inputs, kernel.outputs, kernel.weights))
        near_in, near_weights = (self._bytes(filter(self._is_near, names)) for names in (kernel.inputs, kernel.weights))
        near_out = self._bytes(t for t in kernel.outputs if self.sizes[t] <= self.room and t not in kept)
        self.moved += inputs + outputs + weights
        self.touch((*kernel.inputs, *kernel.outputs, *kernel.weights))
        near = near_in + near_weights + near_out
        return Traffic(weights - near_weights, inputs - near_in, outputs - near_out, near)

    def _is_near(self, tensor: str) -> bool:
        return self.moved - self.touched.get(tensor, -math.inf) + self.sizes[tensor] <= self.room

    def _bytes(self, tensors: Iterable[str]) -> float:
        return sum(self.sizes[tensor] for tensor in tensors)
