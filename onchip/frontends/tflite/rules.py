"""The operators of TFLite that are read, and the rule of each.

In:       an operator, through the walk.
Out:      the values of its outputs, in order.
Promises: `TABLE` is the whole list. What is not in it is refused by name, custom operators and control flow as such.
          An operator whose operands are all known is computed where folding.py can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onchip.errors import NotSupported, did_you_mean
from onchip.frontends.tflite import arithmetic, arrange, convolve, folding, recurrent, tables
from onchip.frontends.tflite.call import Call
from onchip.frontends.tflite.model import OperatorInfo, refuse_custom
from onchip.frontends.tflite.walk import Value, Walk, operator_name

Rule = Callable[[Call], Sequence[Value]]
CONTROL = ("IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE")

TABLE: dict[str, Rule] = {
    **convolve.RULES,
    **arithmetic.RULES,
    **tables.RULES,
    **arrange.RULES,
    **recurrent.RULES,
}


def write(walk: Walk, operator: OperatorInfo) -> Sequence[Value]:
    """Write one operator."""
    kind, where = operator.kind, f"{walk.where}: {operator_name(walk, operator)}"
    if kind.startswith("CUSTOM"):
        raise refuse_custom(kind, where)
    if kind in CONTROL:
        raise NotSupported(
            "OC1361", where, f"{kind} runs another subgraph", limit="Of subgraphs, only that of CALL_ONCE is read",
            next="Convert the model without control flow",
        )  # fmt: skip
    call = Call(walk, operator)
    known = folding.compute(call)
    if known is not None:
        return (known,)
    rule = TABLE.get(kind)
    if rule is None:
        raise NotSupported("OC1350", where, f"operator {kind} is not read", next=did_you_mean(kind, TABLE))
    return rule(call)
