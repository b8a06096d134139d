"""What one attention node computes: batch, heads, lengths, widths, mask."""

from __future__ import annotations

from dataclasses import dataclass

from onchip.forecast.kernels import Kernel
from onchip.ir.graph import attributes_of
from onchip.ops.attention import head_widths
from onchip.ops.registry import look_up_op

INTEGERS = ("int4", "int8", "int16")


@dataclass(frozen=True, slots=True)
class Heads:
    """`heads` query heads over `groups` heads of keys and values, for each of `batch` sequences."""

    batch: int
    heads: int
    groups: int
    queries: int
    keys: int
    width: int
    value_width: int
    is_causal: bool = False
    has_bias: bool = False  # a mask that is added to scores
    is_cached: bool = False  # keys come from outside of the graph, for a decoder
    is_integer: bool = False

    @property
    def group(self) -> int:
        """Return the query heads that share keys."""
        return self.heads // self.groups


def heads_of(kernel: Kernel, dtype: str) -> Heads:
    """Return the sizes of an attention kernel; `dtype` as in chip files."""
    node = kernel.anchor
    q, k, v = (kernel.shape(name) for name in node.inputs[:3])
    heads, groups, width, value_width = head_widths(attributes_of(node, look_up_op(node.op, node.name)), (q, k, v))
    is_causal = bool(node.attribute("causal", False))
    given = kernel.graph.inputs
    return Heads(
        batch=q[0],
        heads=heads,
        groups=groups,
        queries=q[1],
        keys=k[1],
        width=width,
        value_width=value_width,
        is_causal=is_causal,
        has_bias=len(node.inputs) > 3 and bool(node.inputs[3]),
        is_cached=node.inputs[1] in given and (is_causal or q[1] != k[1]),
        is_integer=dtype in INTEGERS,
    )
