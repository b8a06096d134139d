"""Operators with memory: UNIDIRECTIONAL_SEQUENCE_LSTM, SVDF, and variables.

In:       an operator.
Out:      its node; its variables are states of the graph, which start at zero (their zero point).
Promises: LSTM in float, and in int8 with int16 cells as LiteRT's 8x8_16; no projection, peephole, layer norm, coupled
          gates or clipping (refused by name). SVDF in float and in int8 with int16 state.
          Of CALL_ONCE, a subgraph is understood that writes constants into variables, and these have to be zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onchip.frontends.tflite.call import Call
from onchip.frontends.tflite.schema import ACTIVATIONS
from onchip.frontends.tflite.walk import Known, Value, dtype_of, params_of, values_of
from onchip.ops.types import Array, AttributeValue, Quantization

GATES = ("input", "forget", "cell", "output")
# places of the inputs of UNIDIRECTIONAL_SEQUENCE_LSTM
TO_GATES, RECURRENT, PEEPHOLES, BIASES, PROJECTION, STATE, CELL, NORMS = 1, 5, (9, 10, 11), 12, (16, 17), 18, 19, 20


def _stacked(call: Call, first: int, what: str) -> tuple[Array, Quantization | None]:
    """Stack the four gates along axis 0, with a scale per row."""
    known = [call.known(first + g, f"{GATES[g]} gate's {what}") for g in range(4)]
    arrays = [values_of(k.info, k.array) for k in known]
    params = [params_of(k.info) for k in known]
    array = np.concatenate(arrays, axis=0)
    if any(p is None for p in params) or array.dtype.kind == "f":
        return array, None
    if any(p is not None and (p.axis is not None or p.zero_point != (0,)) for p in params):
        raise call.refuse(f"{what} with scales per channel or zero points")
    scale = tuple(p.scale[0] for p, a in zip(params, arrays, strict=True) if p is not None for _ in range(len(a)))
    return array, Quantization(scale, (0,) * len(scale), 0)


def _check_lstm(call: Call, dtype: str) -> None:
    if not all(call.has(TO_GATES + g) and call.has(RECURRENT + g) and call.has(BIASES + g) for g in range(4)):
        raise call.refuse("with coupled gates, or without biases")
    for places, what in ((PEEPHOLES, "peepholes"), (PROJECTION, "a projection"), (range(NORMS, NORMS + 4), "norms")):
        if any(call.has(p) for p in places):
            raise call.refuse(f"with {what}", limit="A plain LSTM is read")
    if call.real(1) or call.real(2):
        raise call.refuse(f"clipped at {call.real(1):g} and {call.real(2):g}", limit="A plain LSTM is read")
    number = call.option(0, "b")
    if not 0 <= number < len(ACTIVATIONS) or ACTIVATIONS[number] != "tanh":
        raise call.refuse(f"with activation number {number}", limit="tanh is read")
    kind = call.info(TO_GATES).kind
    if (dtype == "f32") != (kind in ("float32", "float16")):
        raise call.refuse(f"float activations by {kind} weights (dynamic range)", code="OC1362")
    if dtype == "i8" and (dtype_of(call.info(CELL)) != "i16" or call.is_uint8):
        raise call.refuse("of 8 bits with a cell of other than int16", limit="int8 with int16 cells is read")


def _state(call: Call, place: int) -> str:
    """Give the newest value of a variable operand; `key` is its name."""
    info = call.info(place)
    if not info.is_variable:
        raise call.refuse("a state that is no variable")
    dtype, params = dtype_of(info), params_of(info)
    return call.walk.variable(_key(call, place), info.shape, dtype, params)


def _key(call: Call, place: int) -> str:
    return call.info(place).name or f"state{call.index(place)}"


def _lstm(call: Call) -> list[Value]:
    dtype = _lstm_dtype(call)
    sheet, name = call.walk.sheet, call.made().name or "lstm"
    w_ih, q_ih = _stacked(call, TO_GATES, "weights")
    w_hh, q_hh = _stacked(call, RECURRENT, "recurrent weights")
    bias, _ = _stacked(call, BIASES, "bias")
    hidden = w_hh.shape[1] if w_hh.ndim == 2 else 0
    if w_hh.shape != (4 * hidden, hidden) or w_ih.shape[:1] != (4 * hidden,) or bias.shape != (4 * hidden,):
        raise call.contradiction(f"has weights {list(w_ih.shape)} and {list(w_hh.shape)}")
    given = [_state(call, STATE), _state(call, CELL)]
    q_h, q_c = (params_of(call.info(p)) for p in (STATE, CELL))
    q_y = call.walk.made_params(call.output(0))
    if dtype == "i8" and q_h != q_y:
        raise call.refuse("whose hidden state and output differ in scale")
    x, is_time_major = call.tensor(0), call.flag(3)
    if is_time_major:
        x = call.helper(
            "transpose", (x,), "batch_first", quantization=sheet.quantization(x), dtype=dtype, perm=(1, 0, 2)
        )
    operands = (
        x, sheet.constant(f"{name}.w_ih", w_ih, q_ih), sheet.constant(f"{name}.w_hh", w_hh, q_hh),
        sheet.constant(f"{name}.bias", bias), "", *given,
    )  # fmt: skip
    label = f"{name}.steps" if is_time_major else call.name
    y, h, c = sheet.nodes(
        "lstm", operands, label, {"hidden": hidden}, quantizations=(q_y, q_h, q_c),
        dtypes=(dtype, dtype, "i16" if dtype == "i8" else ""),
    )  # fmt: skip
    call.walk.assign(_key(call, STATE), h)
    call.walk.assign(_key(call, CELL), c)
    return [call.write("transpose", (y,), perm=(1, 0, 2)) if is_time_major else y]


def _lstm_dtype(call: Call) -> str:
    dtype = call.only("f32", "i8")
    if len(call.operator.inputs) not in (20, 24) or len(call.shape(0)) != 3:
        raise call.contradiction(
            f"has {len(call.operator.inputs)} operands, the first of {len(call.shape(0))} dimensions"
        )
    _check_lstm(call, dtype)
    return dtype


def _svdf(call: Call) -> list[Value]:
    """x [B,I], feature weights [F,I], time weights [F,M], bias [F/rank]; state [B,F*M] as [B,F,M]."""
    dtype = call.only("f32", "i8")
    known = call.known(1, "feature weights"), call.known(2, "time weights")
    arrays = [values_of(k.info, k.array) for k in known]
    wanted = ("float32", "float32") if dtype == "f32" else ("int8", "int16")
    if tuple(str(a.dtype) for a in arrays) != wanted or call.is_uint8:
        raise call.refuse(f"of {call.info(0).kind} by {known[0].info.kind} and {known[1].info.kind}", code="OC1362")
    activation = call.activation(1)
    if dtype == "i8" and activation != "relu":  # the reference asks for it, and clamps nothing
        raise call.refuse(f"of int8 with the activation {activation}", limit="relu is read")
    sheet, name = call.walk.sheet, call.made().name or "svdf"
    params = [params_of(k.info) if dtype == "i8" else None for k in known]
    if any(p is not None and (p.zero_point != (0,) or p.axis is not None) for p in params):
        raise call.refuse("weights with scales per channel or zero points")
    constants = [
        sheet.constant(k.info.name or f"{name}.weights{i}", a, p)
        for i, (k, a, p) in enumerate(zip(known, arrays, params, strict=True))
    ]
    rank = call.option(0)
    bias = sheet.constant(call.info(3).name or f"{name}.bias", call.known(3, "bias").array) if call.has(3) else ""
    state = _state(call, 4)
    more: dict[str, AttributeValue] = {"rounding": "double"} if dtype == "i8" else {}
    label = call.name if activation == "none" or dtype == "i8" else f"{name}.linear"
    q_y, q_s = call.walk.made_params(call.output(0)), params_of(call.info(4))
    y, newest = sheet.nodes(
        "svdf", (call.tensor(0), *constants, bias, state), label, {"rank": rank, **more}, quantizations=(q_y, q_s),
        dtypes=(dtype, dtype_of(call.info(4))),
    )  # fmt: skip
    call.walk.assign(_key(call, 4), newest)
    return [y if label == call.name else call.clipped(y, activation)]


# --- variables --------------------------------------------------------------------------------------------------------


def _handle_name(call: Call) -> str:
    table = call.operator.options
    container, shared = ("", "") if table is None else (table.text(0), table.text(1))
    return f"{container}/{shared}".strip("/") or "variable"


def _var_handle(call: Call) -> list[Value]:
    call.walk.handles[call.output(0)] = _handle_name(call)
    return []


def _handle(call: Call) -> str:
    found = call.walk.handles.get(call.index(0))
    if found is None:
        raise call.refuse("a resource that is no variable of this graph")
    return found


def _read_variable(call: Call) -> list[Value]:
    info, key = call.made(), _handle(call)
    if key not in call.walk.states and not _is_assigned(call, key):
        return [_never_assigned(call, key)]
    shape = info.shape
    if key in call.walk.initial:
        shape = call.walk.initial[key].shape
    return [call.walk.variable(key, shape, dtype_of(info), call.walk.made_params(call.output(0)))]


def _is_assigned(call: Call, key: str) -> bool:
    """Tell whether the main graph writes the variable; otherwise it is a constant."""
    source = call.walk.source
    named = {o.outputs[0]: o for o in source.operators if o.kind == "VAR_HANDLE" and o.outputs}
    assigned = (o.inputs[0] for o in source.operators if o.kind == "ASSIGN_VARIABLE" and o.inputs)
    return any(_handle_name(Call(call.walk, named[i])) == key for i in assigned if i in named)


def _never_assigned(call: Call, key: str) -> Value:
    array = call.walk.initial.get(key)
    if array is None:
        raise call.refuse(f"variable '{key}', which nothing writes")
    return Known(array, call.made())


def _assign_variable(call: Call) -> list[Value]:
    key = _handle(call)
    _check_start(call, key)
    call.walk.assign(key, call.tensor(1))
    return []


def _check_start(call: Call, key: str) -> None:
    array, q = call.walk.initial.get(key), call.info(1).quantization
    if array is not None and (array != (q.zero_point[0] if q is not None else 0)).any():
        raise call.refuse(f"variable '{key}' starts at other values than zero", limit="States start at zero")


def _call_once(call: Call) -> list[Value]:
    """Read a subgraph of VAR_HANDLE and ASSIGN_VARIABLE of constants."""
    number = call.option(0)
    graphs = call.walk.model.subgraphs
    if not 1 <= number < len(graphs):
        raise call.contradiction(f"runs subgraph {number} of {len(graphs)}")
    names: dict[int, str] = {}
    for o in graphs[number].operators:
        inner = Call(call.walk, o)
        if o.kind == "VAR_HANDLE" and o.outputs:
            names[o.outputs[0]] = _handle_name(inner)
        elif o.kind == "ASSIGN_VARIABLE" and len(o.inputs) == 2 and o.inputs[0] in names:
            array = graphs[number].tensors[o.inputs[1]].array
            if array is None:
                raise call.refuse("an initial value that is computed")
            call.walk.initial[names[o.inputs[0]]] = array
        else:
            raise call.refuse(f"its subgraph runs {o.kind}", code="OC1361", limit="Only constants are assigned there")
    return []


RULES: dict[str, Callable[[Call], list[Value]]] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm, "SVDF": _svdf, "VAR_HANDLE": _var_handle, "READ_VARIABLE": _read_variable,
    "ASSIGN_VARIABLE": _assign_variable, "CALL_ONCE": _call_once,
}  # fmt: skip
