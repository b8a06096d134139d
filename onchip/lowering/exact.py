"""Integer forms that an imported network may have and the machine has no instructions for.

In:       a Plan.
Out:      nothing, or NotSupported (OC1363) with the node's name.
Promises: a program never computes other integers than `evaluate` because an attribute was not looked at: weights have
          zero point 0, multipliers are the exact ratios of the scales, averages round halves away from zero.
"""

from __future__ import annotations

from onchip.errors import NotSupported
from onchip.ir.graph import Node
from onchip.ir.plan import Plan

# (op, attribute) -> the one value that is lowered
LOWERED = {
    ("add", "multiplier"): "exact", ("mul", "multiplier"): "exact", ("mean", "multiplier"): "exact",
    ("requantize", "multiplier"): "exact", ("avg_pool2d", "ties"): "away",
    ("prelu", "rounding"): "single",
}  # fmt: skip


NO_FP32 = ("add", "sub", "attention")


def refuse_other_integers(plan: Plan) -> None:
    """Check every node that the machine runs."""
    host = {*plan.host_before, *plan.host_after}
    for node in plan.graph.nodes:
        if node.name not in host:
            _check(node, plan)


def _check(node: Node, plan: Plan) -> None:
    for (op, key), value in LOWERED.items():
        if node.op == op and node.attribute(key, value) != value:
            fact = f"{op} with {key} '{node.attribute(key, value)}'"
            hint = 'rounding="chip" rewrites it: outputs may differ by one step'
            raise NotSupported("OC1363", node.name, fact, limit=f"The machine has '{value}'", next=hint)
    if node.op in NO_FP32 and node.attribute("rounding", "single") == "fp32":
        limit = "Its sums run in integers: single or double"
        raise NotSupported("OC1363", node.name, f"{node.op} with rounding fp32", limit=limit, next="Quantize it here")
    if node.op not in ("conv2d", "linear", "conv_transpose2d") or len(node.inputs) < 2:
        return
    q = plan.graph.tensor(node.inputs[1]).quantization
    zero = next((z for z in q.zero_point if z), 0) if q is not None else 0
    if zero:
        limit = "The matrix unit takes weights with zero point 0"
        raise NotSupported("OC1363", node.name, f"weights with zero point {zero}", limit=limit, next="Quantize to int8")
