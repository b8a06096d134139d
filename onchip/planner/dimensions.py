"""A tensor's shape as numbers and a node's attributes with their defaults: what every file of this room asks first."""

from __future__ import annotations

from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node, attributes_of
from onchip.ops.registry import look_up_op
from onchip.ops.types import Attributes

ELEMENT_BYTES = {"int8": 1, "fp8": 1, "bf16": 2, "fp16": 2, "fp32": 4, "tf32": 4}


def dims(graph: Graph, tensor: str) -> tuple[int, ...]:
    """Return a tensor's shape as numbers. Raises NotSupported where a dimension has no number yet."""
    shape = graph.tensor(tensor).shape
    symbols = [d for d in shape if isinstance(d, str)]
    if symbols:
        fact = f"dimension '{symbols[0]}' has no number yet"
        raise NotSupported("OC1306", tensor, fact, next=f"Bind it: graph.bind({symbols[0]}=1)")
    return tuple(int(d) for d in shape)


def attributes(node: Node) -> Attributes:
    """Return a node's attributes over its op's defaults."""
    return attributes_of(node, look_up_op(node.op, node.name))
