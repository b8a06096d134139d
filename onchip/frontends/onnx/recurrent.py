"""The recurrent operators of ONNX: LSTM, GRU, RNN.

In:       a node, through the walk.
Out:      the values of its outputs, in order: y, and the last states.
Promises: each direction is one node; both are joined behind it. Gates are put into the order of our ops: LSTM from
          i, o, f, c to i, f, c, o, GRU from z, r, h to r, z, h.
Does not: read peepholes, clip, coupled gates, or other activations than the default ones.
Sources:  https://onnx.ai/onnx/operators/ (LSTM, GRU, RNN).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.norms import label
from onchip.frontends.onnx.walk import Fill, Known, Value, Walk
from onchip.ops.types import Array, AttributeValue

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
DEFAULT = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


def _recurrent(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, canvas, name = walk.attributes(node), walk.canvas, walk.name(node)
    way = str(a.get("direction", b"forward"), "ascii")
    kinds = _activations(walk, node, 2 if way == "bidirectional" else 1)
    is_batch_first = bool(a.get("layout", 0))
    x = walk.tensor(node, 0)
    x = x if is_batch_first else canvas.transpose(x, (1, 0, 2))
    parts: list[tuple[str, ...]] = []
    for i, kind in enumerate(kinds):
        is_reverse = way == "reverse" or i == 1
        label = f"{name}.reverse" if i else name
        parts.append(_direction(walk, node, x, label, i, kind, is_reverse=is_reverse))
    return _outputs(walk, name, parts, is_batch_first=is_batch_first)


def _activations(walk: Walk, node: NodeProto, n: int) -> list[str]:
    """Give the activation of each direction of an RNN, "" for the other two; refuse what has no counterpart."""
    a, kind = walk.attributes(node), node.op_type
    wanted = [str(t, "ascii").lower() for t in a.get("activations", ())]
    default = DEFAULT[kind]
    n_own = len(default)
    each = [tuple(wanted[i * n_own : (i + 1) * n_own]) or default for i in range(n)]
    is_plain = all(e == default or (kind == "RNN" and e == ("relu",)) for e in each)
    if not is_plain or a.get("clip") or a.get("input_forget") or walk.value(node, 7) is not None:
        limit = "Default activations without clip, input_forget and peepholes are read"
        raise walk.refuse(node, f"a form with {', '.join(sorted(a))}", limit=limit)
    return [e[0] if kind == "RNN" else "" for e in each]


def _direction(
    walk: Walk, node: NodeProto, x: str, name: str, place: int, activation: str, *, is_reverse: bool
) -> tuple[str, ...]:
    """Write one direction: y [B,T,H] and the states [B,H]."""
    a, canvas, kind = walk.attributes(node), walk.canvas, node.op_type
    hidden, gates = int(a["hidden_size"]), GATES[node.op_type]
    weights = _weights(walk, node, place, hidden)
    inputs = [x, *("" if w is None else canvas.constant(*w) for w in weights)]
    is_batch_first = bool(a.get("layout", 0))
    inputs += [
        _state(walk, node, i, place, is_batch_first=is_batch_first) for i in ((5, 6) if kind == "LSTM" else (5,))
    ]
    inputs.append(walk.tensor(node, 4))
    attributes: dict[str, AttributeValue] = {"reverse": True} if is_reverse else {}
    if kind == "GRU":
        attributes["linear_before_reset"] = bool(a.get("linear_before_reset", 0))
    if kind == "RNN":
        attributes["activation"] = activation
    assert len(gates) * hidden == weights[0][1].shape[0] if weights[0] else True
    return canvas.nodes(kind.lower(), inputs, name, hidden=hidden, **attributes)


def _weights(walk: Walk, node: NodeProto, place: int, hidden: int) -> list[tuple[str, Array] | None]:
    """Give w_ih, w_hh, b_ih and b_hh of one direction, their gates in our order."""
    gates = GATES[node.op_type]
    n = len(gates) * hidden
    w, r, b = walk.known(node, 1, "weight"), walk.known(node, 2, "recurrence"), walk.known(node, 3, "bias")
    assert w is not None and r is not None  # the checker wants them
    if w.ndim != 3 or r.ndim != 3 or w.shape[1] != n or r.shape[1:] != (n, hidden) or len(w) <= place:
        raise walk.refuse(node, f"hidden_size {hidden} with weights of {w.shape} and {r.shape}")
    order = np.concatenate([np.arange(g * hidden, (g + 1) * hidden) for g in gates])
    suffix = ".reverse" if place else ""
    made: list[tuple[str, Array] | None] = [
        (f"{label(walk, node, 1)}{suffix}", np.ascontiguousarray(w[place][order])),
        (f"{label(walk, node, 2)}{suffix}", np.ascontiguousarray(r[place][order])),
    ]
    if b is None:
        return [*made, None, None]
    own = label(walk, node, 3)
    halves = [half[order] for half in np.split(b[place], 2)]
    return [*made, (f"{own}{suffix}.input", halves[0]), (f"{own}{suffix}.recurrent", halves[1])]


def _state(walk: Walk, node: NodeProto, place: int, direction: int, *, is_batch_first: bool) -> str:
    """Give the initial state [B,H]; "" for zeros."""
    value = walk.value(node, place)
    if value is None or (isinstance(value, Fill) and value.value == 0):
        return ""
    if isinstance(value, Known) and not value.array.any():
        return ""
    axis, name = int(is_batch_first), f"{walk.name(node)}.state"
    return walk.canvas.select(walk.tensor(node, place), name, axis=axis, index=direction)


def _outputs(walk: Walk, name: str, parts: Sequence[tuple[str, ...]], *, is_batch_first: bool) -> tuple[Value, ...]:
    """Join the directions: y [T,D,B,H] and states [D,B,H], or with the batch first."""
    canvas, made = walk.canvas, list[str]()
    for i in range(len(parts[0])):
        rows: list[str] = []
        for own in (p[i] for p in parts):
            y = own if i or is_batch_first else canvas.transpose(own, (1, 0, 2))
            shape = canvas.shape(y)
            place = (1 if is_batch_first else 0) if i else (2 if is_batch_first else 1)
            rows.append(canvas.reshape(y, (*shape[:place], 1, *shape[place:]), f"{own}.direction"))
        axis = (1 if is_batch_first else 0) if i else (2 if is_batch_first else 1)
        made.append(rows[0] if len(rows) == 1 else canvas.node("concat", rows, f"{name}.both", axis=axis))
    return tuple(made)


RECURRENT: dict[str, Rule] = {"LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent}
