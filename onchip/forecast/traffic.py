"""Where a kernel's tensors lie when it starts: in far memory, or still on the chip.

In:       kernels in order, a Machine, what the chip holds at the start.
Out:      a `Traffic` for each kernel: bytes from and to far memory, and through the shared level.
Promises: weights, inputs and outputs of each kernel are counted once; the sum of far bytes is at least the compulsory
          one, given what is on the chip at the start.
Does not: know how a kernel reads its operands again: that is the kernel's price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    @property
    def far(self) -> float:
        return self.far_weights + self.far_inputs + self.far_outputs


def tensor_bytes(kernel: Kernel, name: str, m: Machine) -> float:
    """Return the bytes of a tensor in the machine's dtype; indices and flags have their own."""
    own = {"i64": INDEX_BYTES, "i32": INDEX_BYTES, "bool": 1}
    return kernel.elements(name) * own.get(kernel.graph.tensor(name).dtype, m.bytes)


def traffic_of(kernels: Sequence[Kernel], alias: Mapping[str, str], m: Machine, start: Start) -> tuple[Traffic, ...]:
    """Return the traffic of each kernel.

    First version: an activation that another kernel made is near where it and what the kernel reads besides fit in half
    of the shared level; everything else is far.
    """
    made, found = set[str](), list[Traffic]()
    for kernel in kernels:
        sizes = {name: tensor_bytes(kernel, name, m) for name in (*kernel.inputs, *kernel.outputs)}
        weights = sum(tensor_bytes(kernel, name, m) for name in kernel.weights)
        near_ok = m.shared_bytes / 2
        warm = start != "cold"
        near_in = sum(sizes[n] for n in kernel.inputs if (n in made or warm) and sizes[n] <= near_ok)
        near_w = weights if start == "warm" and weights <= near_ok else 0.0
        kept = set(kernel.graph.kept)
        near_out = sum(sizes[n] for n in kernel.outputs if sizes[n] <= near_ok and (warm or n not in kept))
        all_in, all_out = sum(sizes[n] for n in kernel.inputs), sum(sizes[n] for n in kernel.outputs)
        near = near_in + near_w + near_out
        found.append(Traffic(weights - near_w, all_in - near_in, all_out - near_out, near))
        made.update(kernel.outputs)
    return tuple(found)
