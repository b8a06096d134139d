"""Every ONNX operator that is read, and how a node finds its rule.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: `TABLE` is the whole list of rules. An operator without one, or in a form that its rule refuses, is read as
          the standard defines it, where it does (bodies.py). What remains is refused with the node's name.
Sources:  https://onnx.ai/onnx/operators/ (defaults and layouts stand there; the opset where they changed stands here).
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto

from onchip.errors import NotSupported, did_you_mean
from onchip.frontends.onnx.arrange import ARRANGING
from onchip.frontends.onnx.attended import ATTENDED
from onchip.frontends.onnx.bodies import BODIES, expand
from onchip.frontends.onnx.elementwise import ELEMENTWISE
from onchip.frontends.onnx.grouped import carry
from onchip.frontends.onnx.indexed import INDEXED
from onchip.frontends.onnx.microsoft import MICROSOFT
from onchip.frontends.onnx.norms import NORMS
from onchip.frontends.onnx.pictures import PICTURES
from onchip.frontends.onnx.products import PRODUCTS
from onchip.frontends.onnx.quantized import QUANTIZED, carry_quantized
from onchip.frontends.onnx.recurrent import RECURRENT
from onchip.frontends.onnx.reductions import REDUCTIONS
from onchip.frontends.onnx.walk import Quantized, Value, Walk, called
from onchip.frontends.onnx.windows import WINDOWS
from onchip.frontends.regroup import Grouped

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def write(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Write one node on the canvas."""
    rule = (MICROSOFT if node.domain == "com.microsoft" else TABLE).get(node.op_type)
    if rule is not None and any(isinstance(walk.values.get(i), Quantized) for i in node.input):
        copied = carry_quantized(walk, node, rule)
        if copied is not None:
            return copied
    carried = carry(walk, node) if any(isinstance(walk.values.get(i), Grouped) for i in node.input) else None
    if carried is not None:
        return carried
    if rule is None:
        made = expand(walk, node)
        if made is None:
            where, limit = f"{walk.where}: {called(node)}", did_you_mean(node.op_type, TABLE)
            raise NotSupported("OC1350", where, f"operator {node.op_type} is not read", next=limit)
        return made
    try:
        return rule(walk, node)
    except NotSupported as refusal:
        if refusal.code != "OC1351" or node.op_type in BODIES or node.domain == "com.microsoft":
            raise
        made = _or_else(walk, node)
        if made is None:
            raise
        return made


def _or_else(walk: Walk, node: NodeProto) -> tuple[Value, ...] | None:
    """Read what a rule has refused as its definition; None where that is not read either."""
    try:
        return expand(walk, node)
    except NotSupported:
        return None


TABLE: dict[str, Rule] = {
    **ELEMENTWISE, **REDUCTIONS, **NORMS, **WINDOWS, **PICTURES, **PRODUCTS, **RECURRENT, **ATTENDED, **INDEXED,
    **ARRANGING, **BODIES, **QUANTIZED,
}  # fmt: skip
