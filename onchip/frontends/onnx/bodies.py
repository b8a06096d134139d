"""Nodes that stand for other nodes: If, Loop and Scan, and operators that ONNX defines by simpler ones.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: a condition and a number of steps have to be known; then the branch is read, or the body once per step, in a
          scope of its own. An operator without a rule, or in a form that its rule refuses, is read as the function by
          which the standard defines it. What loops unfold to is bounded.
Does not: run a condition that depends on data: it is refused by the node's name.
Sources:  https://onnx.ai/onnx/operators/ (If, Loop, Scan); onnx.defs for the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TypeProto, defs, helper

from onchip.errors import NotSupported
from onchip.frontends.onnx.walk import DTYPES, Known, Value, Walk
from onchip.ops.types import Shape, axis_of

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]
LIMIT_STEPS = 4096  # assumed: a loop that is unrolled further is no network
CONSTANT = "With constants there it can be read: make them initializers"


def _subgraph(walk: Walk, node: NodeProto, name: str) -> GraphProto:
    found = next((a.g for a in node.attribute if a.name == name), None)
    if found is None:
        raise walk.refuse(node, f"it has no attribute {name}")
    return found


def _inside(walk: Walk, body: GraphProto, given: Sequence[Value]) -> tuple[Value, ...]:
    """Read a body with values for its inputs; it sees the values around it."""
    values = {**walk.values, **{i.name: v for i, v in zip(body.input, given, strict=True)}}
    values |= {t.name: walk.stored(t) for t in body.initializer}
    return walk.inside(body.node, [o.name for o in body.output], values)


def _is_true(walk: Walk, node: NodeProto, value: Value) -> bool:
    if not isinstance(value, Known) or value.array.size != 1:
        raise walk.refuse(node, "a condition that is computed from data", code="OC1353", limit=CONSTANT)
    return bool(value.array.reshape(-1)[0])


def _if(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    is_true = _is_true(walk, node, walk.value(node, 0))
    return _inside(walk, _subgraph(walk, node, "then_branch" if is_true else "else_branch"), ())


def _loop(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Unroll: the body takes step, condition and carried values, and gives condition, carried and collected ones."""
    body, steps, going = _subgraph(walk, node, "body"), walk.value(node, 0), walk.value(node, 1)
    if steps is not None and not (isinstance(steps, Known) and steps.array.dtype.kind in "iu"):
        raise walk.refuse(node, "a number of steps that is computed from data", code="OC1353", limit=CONSTANT)
    last = LIMIT_STEPS + 1 if steps is None else int(steps.array.reshape(-1)[0])
    carried = [walk.value(node, i) for i in range(2, len(node.input))]
    collected: list[tuple[Value, ...]] = []
    step = 0
    while step < last and (going is None or _is_true(walk, node, going)):
        if step == LIMIT_STEPS:
            raise walk.refuse(node, f"more than {LIMIT_STEPS} steps")
        flag = Known(np.array(True), f"{node.output[0]}.condition") if going is None else going
        made = _inside(walk, body, [Known(np.array(step), f"{node.output[0]}.step"), flag, *carried])
        going, carried = made[0], list(made[1 : 1 + len(carried)])
        collected.append(made[1 + len(carried) :])
        step += 1
    n_collected = len(node.output) - len(carried)
    if n_collected and not collected:
        raise walk.refuse(node, "collects the results of no step")
    columns = [[row[i] for row in collected] for i in range(n_collected)]
    return (*carried, *(_stacked(walk, node, column, 0) for column in columns))


def _stacked(walk: Walk, node: NodeProto, parts: Sequence[Value], axis: int) -> Value:
    """Join what the steps gave along a new axis."""
    name = f"{walk.name(node)}.steps"
    known = [p.array for p in parts if isinstance(p, Known)]
    if len(known) == len(parts):
        return Known(np.stack(known, axis_of(axis, known[0].ndim + 1)), name)
    rows: list[str] = []
    for part in parts:
        tensor = walk.held(node, part)
        shape = walk.canvas.shape(tensor)
        place = axis_of(axis, len(shape) + 1)
        rows.append(walk.canvas.reshape(tensor, (*shape[:place], 1, *shape[place:]), f"{name}.row"))
    rank = len(walk.canvas.shape(rows[0]))
    return rows[0] if len(rows) == 1 else walk.canvas.node("concat", rows, name, axis=axis_of(axis, rank))


def _scan(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """Unroll over the scanned inputs; before opset 9 there was a batch, which is not read."""
    a, body = walk.attributes(node), _subgraph(walk, node, "body")
    if walk.opset < 9:
        raise walk.refuse(node, f"as of opset {walk.opset}", limit="Opset 9 and later are read")
    n_scanned = int(a["num_scan_inputs"])
    n_states = len(node.input) - n_scanned
    n_made = len(body.output) - n_states
    axes, directions = _each(a.get("scan_input_axes"), n_scanned), _each(a.get("scan_input_directions"), n_scanned)
    out_axes, out_directions = _each(a.get("scan_output_axes"), n_made), _each(a.get("scan_output_directions"), n_made)
    scanned = [walk.value(node, n_states + i) for i in range(n_scanned)]
    steps = _length(walk, node, scanned[0], axes[0])
    states = [walk.value(node, i) for i in range(n_states)]
    collected: list[tuple[Value, ...]] = []
    for t in range(steps):
        at = [steps - 1 - t if backwards else t for backwards in directions]
        rows = [_row(walk, node, v, axis, i) for v, axis, i in zip(scanned, axes, at, strict=True)]
        made = _inside(walk, body, [*states, *rows])
        states = list(made[:n_states])
        collected.append(made[n_states:])
    results: list[Value] = []
    for i in range(n_made):
        column = [row[i] for row in collected]
        results.append(_stacked(walk, node, column[::-1] if out_directions[i] else column, out_axes[i]))
    return (*states, *results)


def _each(values: Sequence[int] | None, n: int) -> list[int]:
    return [0] * n if values is None else [int(v) for v in values]


def _length(walk: Walk, node: NodeProto, value: Value, axis: int) -> int:
    shape: Shape = value.array.shape if isinstance(value, Known) else walk.canvas.shape(walk.held(node, value))
    size = shape[axis_of(axis, len(shape))]
    if isinstance(size, str) or size > LIMIT_STEPS:
        raise walk.refuse(
            node, f"a sequence of {size} steps", code="OC1353", limit=f"It needs a number to {LIMIT_STEPS}"
        )
    return size


def _row(walk: Walk, node: NodeProto, value: Value, axis: int, at: int) -> Value:
    if isinstance(value, Known):
        return Known(np.take(value.array, at, axis), f"{value.name}.{at}")
    return walk.canvas.select(walk.held(node, value), f"{walk.name(node)}.row", axis=axis, index=at)


def definition(walk: Walk, node: NodeProto) -> FunctionProto | None:
    """Give the function by which the standard defines an operator; None where it does not."""
    if not defs.has(node.op_type, walk.opset, ""):
        return None
    schema: Any = defs.get_schema(node.op_type, walk.opset, "")  # its stub leaves out the functions
    plain = [v for v in schema.function_opset_versions if v <= walk.opset]
    typed = [v for v in schema.context_dependent_function_opset_versions if v <= walk.opset]
    if plain:
        return FunctionProto.FromString(schema.get_function_with_opset_version(max(plain)))
    if typed:
        kinds = [_kind(walk, node, i).SerializeToString() for i in range(len(node.input))]
        text = schema.get_context_dependent_function_with_opset_version(max(typed), node.SerializeToString(), kinds)
        return FunctionProto.FromString(text)
    return None


def _kind(walk: Walk, node: NodeProto, place: int) -> TypeProto:
    """Describe an input as the definitions that depend on types want it."""
    value = walk.value(node, place)
    if value is None:
        return TypeProto()
    if isinstance(value, Known):
        return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.array.dtype), value.array.shape)
    tensor = walk.held(node, value)
    element = next(k for k, v in DTYPES.items() if v == walk.canvas.dtype(tensor))
    return helper.make_tensor_type_proto(element, list(walk.canvas.shape(tensor)))


def _resolved(nodes: Sequence[NodeProto], given: dict[str, AttributeProto]) -> list[NodeProto]:
    """Put a node's attributes where its definition refers to them."""
    made: list[NodeProto] = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.attribute[:]
        for a in node.attribute:
            if a.ref_attr_name and a.ref_attr_name not in given:
                continue
            own = copy.attribute.add()
            own.CopyFrom(given[a.ref_attr_name] if a.ref_attr_name else a)
            own.name = a.name
            own.ref_attr_name = ""
            if own.type == AttributeProto.GRAPH:
                inner = _resolved(own.g.node, given)
                del own.g.node[:]
                own.g.node.extend(inner)
        made.append(copy)
    return made


def expand(walk: Walk, node: NodeProto) -> tuple[Value, ...] | None:
    """Read an operator as its definition; None where it has none. Raises NotSupported where a part is not read."""
    body = definition(walk, node)
    if body is None:
        return None
    given = {a.name: a for a in body.attribute_proto}
    schema = defs.get_schema(node.op_type, walk.opset, "")
    given |= {n: a.default_value for n, a in schema.attributes.items() if a.default_value.name}
    given |= {a.name: a for a in node.attribute}
    values: dict[str, Value] = {"": None, **dict.fromkeys(body.input)}
    values |= {n: walk.value(node, i) for i, n in enumerate(body.input)}
    wanted = [i for i, o in enumerate(node.output) if o and (i == 0 or o in walk.needed)]
    version = next((o.version for o in body.opset_import if o.domain in ("", "ai.onnx")), walk.opset)
    names = [body.output[i] for i in wanted]
    try:
        found = walk.inside(_resolved(body.node, given), names, values, opset=version, label=walk.name(node))
    except NotSupported as error:
        inner = error.fact.removeprefix(f"{node.op_type}: ")
        raise walk.refuse(node, f"as the standard defines it: {inner}", code=error.code, limit=error.limit) from error
    by_place = dict(zip(wanted, found, strict=True))
    return tuple(by_place.get(i) for i in range(len(node.output)))


BODIES: dict[str, Rule] = {"If": _if, "Loop": _loop, "Scan": _scan}
