"""What a kernel's lowering may ask for: tensors' addresses, constants to be stored, the chip's numbers.

In: the plan. Out: `Constants`, which collects each kernel's weights, parameters and tables as regions of far memory
behind the tensors. Building the bytes is put off until somebody wants them: an estimate never does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node, Quantization, attributes_of
from onchip.ir.plan import Kernel, Plan
from onchip.ir.program import Region
from onchip.isa.floats import PROGRAM_TYPES, write_floats
from onchip.isa.memory import I8
from onchip.lowering.tree import Tree
from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes

FAR_ALIGNMENT = 64
TYPES = {"int8": I8, **PROGRAM_TYPES}


@dataclass(frozen=True, slots=True)
class Lowered:
    """A kernel's trees, its buffers' slots, and how many cores have work in it."""

    trees: tuple[Tree, Tree, Tree, Tree]
    slots: dict[str, int]
    active: int = 1


@dataclass(slots=True)
class Context:
    """The plan in lookup form, and the constants collected so far. `with_data` builds their bytes."""

    plan: Plan
    with_data: bool
    addresses: dict[str, int] = field(default_factory=dict[str, int])
    regions: list[Region] = field(default_factory=list[Region])
    next_address: int = 0

    def __post_init__(self) -> None:
        self.addresses = {p.tensor: p.address for p in self.plan.places}
        end = max((p.address + p.size for p in self.plan.places), default=0)
        self.next_address = -(-end // FAR_ALIGNMENT) * FAR_ALIGNMENT

    @property
    def graph(self) -> Graph:
        return self.plan.graph

    def constant(self, name: str, n_bytes: int, build: Callable[[], NDArray[np.uint8]]) -> int:
        """Reserve a constant's place, build its bytes if wanted, and return its address."""
        address = self.next_address
        data = build() if self.with_data else None
        if data is not None and data.nbytes != n_bytes:
            raise ValueError(f"{name}: {data.nbytes} bytes built, {n_bytes} reserved")
        self.regions.append(Region(name, address, n_bytes, "constant", (n_bytes,), "u8", data))
        self.next_address = -(-(address + n_bytes) // FAR_ALIGNMENT) * FAR_ALIGNMENT
        return address

    def array(self, tensor: str) -> NDArray[np.generic]:
        """Return a constant tensor's values."""
        constant = self.graph.tensor(tensor).constant
        if constant is None or constant.data is None:
            raise NotSupported(
                "OC1302",
                tensor,
                "the values of this constant are not known",
                next="Compile with weights: weights='random'",
            )
        return constant.data

    def quantization(self, tensor: str) -> Quantization:
        q = self.graph.tensor(tensor).quantization
        if q is None:
            raise NotSupported("OC1303", tensor, "the tensor has no quantization", next="Quantize the graph first")
        return q

    def nodes(self, kernel: Kernel) -> list[Node]:
        return [self.graph.node(name) for name in kernel.nodes]

    def level(self, tensor: str) -> int:
        """Return 1 where a tensor stays in the shared memory."""
        return self.plan.level(tensor)


def floats_as(type_: int, array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the bytes of an array's numbers in a float type."""
    return write_floats(type_, np.ascontiguousarray(array, np.float32).reshape(-1))


def as_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return an array's bytes in order."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1)


def attributes(node: Node) -> Attributes:
    """Return a node's attributes over its op's defaults."""
    return attributes_of(node, look_up_op(node.op, node.name))
