"""What one attention node computes: batch, heads, lengths, widths, mask."""

from __future__ import annotations

from dataclasses import dataclass

from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import Machine
from onchip.ir.graph import attributes_of
from onchip.ops.attention import head_widths
from onchip.ops.registry import look_up_op

FLOATS = ("fp8", "fp16", "bf16", "tf32", "fp32")


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
    holds_rows: bool = False  # softmax over whole score rows, in integers

    @property
    def group(self) -> int:
        """Return the query heads that share keys."""
        return self.heads // self.groups


def heads_of(kernel: Kernel, m: Machine) -> Heads:
    """Return the sizes of an attention kernel. An online softmax needs floats: a chip without keeps score rows."""
    node = kernel.anchor
    names = list(node.inputs)
    q, k, v = (kernel.shape(name) for name in names[:3])
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
        has_bias=any(names[3:]),
        is_cached=names[1] in given and (is_causal or q[1] != k[1]),
        holds_rows=not any(dtype in FLOATS for dtype in m.chip.dtypes),
    )
