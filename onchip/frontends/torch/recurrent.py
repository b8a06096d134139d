"""The recurrent operators of torch: LSTM, GRU and RNN of any number of layers, in one or both directions.

In:       a node of the exported program, with its arguments bound to their names in the operator's schema.
Out:      the sequence of the last layer, and the last states of all layers and directions.
Promises: one node per layer and direction; both directions are joined behind it.
Does not: read projections, packed or unbatched sequences.
Sources:  https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from onchip.frontends.canvas import Canvas
from onchip.frontends.torch.arrange import Arguments, Rule
from onchip.frontends.torch.walk import Fill, Known, Value, Walk
from onchip.frontends.torch.windows import constant
from onchip.ops.types import AttributeValue


def _recurrent(op: str, **attributes: AttributeValue) -> Rule:
    def rule(walk: Walk, node: fx.Node, a: Arguments) -> Value:
        x = walk.tensor(node, a["input"])
        if len(walk.canvas.shape(x)) != 3:
            raise walk.refuse(node, f"an {op.upper()} over an unbatched sequence")
        layers, ways = int(a["num_layers"]), 2 if a["bidirectional"] else 1
        parameters = [constant(walk, node, p, "weight") for p in a["params"]]
        each = len(parameters) // (layers * ways)
        if each != (4 if a["has_biases"] else 2):
            raise walk.refuse(node, f"an {op.upper()} with projections")
        y = x if a["batch_first"] else walk.canvas.transpose(x, (1, 0, 2))
        name, last = walk.name(node), list[tuple[str, ...]]()
        for layer in range(layers):
            made: list[tuple[str, ...]] = []
            for way in range(ways):
                place = layer * ways + way
                label = name + (f".{layer}" if layers > 1 else "") + (".reverse" if way else "")
                own = parameters[each * place : each * (place + 1)]
                made.append(
                    _layer(
                        walk, node, a, y, op, label, own, place, {**attributes, **({"reverse": True} if way else {})}
                    )
                )
            y = (
                made[0][0]
                if ways == 1
                else walk.canvas.node("concat", [m[0] for m in made], f"{name}.{layer}.both", axis=2)
            )
            last += [m[1:] for m in made]
        y = y if a["batch_first"] else walk.canvas.transpose(y, (1, 0, 2))
        states = [_stack(walk.canvas, [s[i] for s in last], f"{name}.{'hc'[i]}") for i in range(len(last[0]))]
        return (y, *states)

    return rule


def _layer(
    walk: Walk, node: fx.Node, a: Arguments, x: str, op: str, name: str, own: Sequence[Known], place: int,
    attributes: dict[str, AttributeValue],
) -> tuple[str, ...]:  # fmt: skip
    """Write one direction of one layer: y [B,T,H] and the states [B,H]."""
    weights = [walk.canvas.constant(p.name, walk.array(p)) for p in own]
    given = a["hx"]
    states = [_state(walk, node, s, place) for s in (given if op == "lstm" else [given])]
    hidden = int(own[1].tensor.shape[1])
    inputs = [x, *weights, *("",) * (4 - len(weights)), *states]
    return walk.canvas.nodes(op, inputs, name, hidden=hidden, **attributes)


def _state(walk: Walk, node: fx.Node, arg: Any, place: int) -> str:
    """Give the initial state of a layer [B,H]; "" for zeros."""
    value = walk.value(arg)
    if (isinstance(value, Fill) and value.value == 0) or (isinstance(value, Known) and not value.tensor.any()):
        return ""
    return walk.canvas.select(walk.tensor(node, arg), f"{walk.name(node)}.state", axis=0, index=place)


def _stack(canvas: Canvas, parts: Sequence[str], name: str) -> str:
    """[B,H] of every layer -> [layers,B,H]."""
    rows = [canvas.reshape(p, (1, *canvas.shape(p)), f"{p}.stack") for p in parts]
    return rows[0] if len(rows) == 1 else canvas.node("concat", rows, name, axis=0)


RECURRENT: dict[str, Rule] = {
    "lstm.input": _recurrent("lstm"), "gru.input": _recurrent("gru"), "rnn_tanh.input": _recurrent("rnn"),
    "rnn_relu.input": _recurrent("rnn", activation="relu"),
}  # fmt: skip
