"""The reference: a graph's outputs for its inputs, node by node, in floats or in integers.

In: a Graph and a dict of arrays. Out: a dict of arrays. Quantized nodes run by the op's integer meaning, the others by
its float meaning; tensors of narrow floats (tf32, f16, bf16, fp8) are computed in float32 and rounded to their dtype.
`boundary="int"` leaves out quantize nodes at graph inputs and dequantize nodes at graph outputs: integers in (by the
name of the quantized tensor), integers out. A value given for an inner tensor stands for it.
`watch(name, value)` sees every tensor as it is made.
A state that is not given is zero (its zero point); `evaluate_steps` runs a sequence and carries the states on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported, UnknownName, UsageError, did_you_mean
from onchip.ir.graph import Graph, Node, Tensor, attributes_of
from onchip.numerics import round_float
from onchip.ops.registry import look_up_op
from onchip.ops.types import FLOAT_DTYPES, Quantization, Refusal, show

Arrays = dict[str, NDArray[Any]]
Watch = Callable[[str, NDArray[Any]], None]
INTEGER_DTYPES = ("i8", "i16", "u8")
NARROW = ("tf32", "f16", "bf16", "fp8")
NUMPY = {"bool": np.bool_, "i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
KINDS = {"bool": "b", "i8": "iu", "u8": "iu", "i16": "iu", "i32": "iu", "i64": "iu"}


def evaluate(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], *, boundary: str = "float", watch: Watch | None = None
) -> Arrays:
    """Return the outputs of a graph.

    Raises UsageError for missing or misshapen inputs, UnknownName for names the graph does not have, NotSupported for
    constants without values.
    """
    if boundary not in ("float", "int"):
        raise UsageError("OC1404", graph.name, f"boundary '{boundary}'", limit="it is 'float' or 'int'")
    values = _run_all(graph, inputs, boundary, watch)
    return {name: _value(graph, name, values) for name in graph.outputs}


def evaluate_steps(
    graph: Graph, steps: Iterable[Mapping[str, NDArray[Any]]], *, boundary: str = "float", watch: Watch | None = None
) -> Iterator[Arrays]:
    """Yield the outputs of run after run: a state that a step does not give has the value that the run before made.

    A step is asked for when the outputs of the one before have been taken. Raises what `evaluate` raises.
    """
    states: Arrays = {}
    for inputs in steps:
        values = _run_all(graph, {**states, **inputs}, boundary, watch)
        states = {given: _value(graph, made, values) for given, made in graph.states}
        yield {name: _value(graph, name, values) for name in graph.outputs}


def initial_states(graph: Graph) -> Arrays:
    """Return zeros (zero points) for every state whose shape has only numbers."""
    found: Arrays = {}
    for name, _ in graph.states:
        tensor = graph.tensor(name)
        if all(isinstance(d, int) for d in tensor.shape):
            zero = tensor.quantization.zero_point[0] if tensor.quantization is not None else 0
            dtype = NUMPY.get(tensor.dtype, np.float32)
            found[name] = np.full(tuple(int(d) for d in tensor.shape), zero, dtype)
    return found


def _run_all(graph: Graph, inputs: Mapping[str, NDArray[Any]], boundary: str, watch: Watch | None) -> Arrays:
    """Return the values that are left after a run: what the graph keeps."""
    values = _given(graph, {**initial_states(graph), **inputs}, boundary)
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    kept = set(graph.kept)
    for position, node in enumerate(graph.nodes):
        if all(output in values for output in node.outputs):
            continue
        for name, value in zip(node.outputs, _run(graph, node, values, boundary), strict=True):
            tensor = graph.tensor(name)
            values[name] = round_float(value, tensor.dtype) if tensor.dtype in NARROW else value
            if watch is not None:
                watch(name, values[name])
        for name in node.inputs:
            if last_use[name] == position and name not in kept:
                values.pop(name, None)
    return values


def _given(graph: Graph, inputs: Mapping[str, NDArray[Any]], boundary: str) -> Arrays:
    """Check what is given; with boundary "int" the output of a quantize node stands for the input before it."""
    names = {t.name for t in graph.tensors}
    for name in inputs:
        if name not in names:
            raise UnknownName("OC1408", graph.name, f"no tensor '{name}'", next=did_you_mean(name, graph.inputs))
    values = {name: _checked(graph.tensor(name), np.asarray(value)) for name, value in inputs.items()}
    for name in graph.inputs:
        consumers = graph.consumers(name)
        is_cut = boundary == "int" and consumers and all(o in values for n in consumers for o in n.outputs)
        if name not in values and not is_cut:
            given = ", ".join(sorted(inputs)) or "none"
            raise UsageError("OC1402", name, "input is missing", next=f"Inputs given: {given}")
    return values


def _checked(tensor: Tensor, value: NDArray[Any]) -> NDArray[Any]:
    """Check shape and kind; floats become float32, rounded to a narrow dtype."""
    fits = len(tensor.shape) == value.ndim and all(
        isinstance(d, str) or d == n for d, n in zip(tensor.shape, value.shape, strict=True)
    )
    if not fits:
        needs = f"it needs {show(tensor.shape)}"
        raise UsageError("OC1403", tensor.name, f"the array has shape {show(value.shape)}", limit=needs)
    if tensor.dtype in FLOAT_DTYPES:
        if value.dtype.kind not in "fiu":
            raise UsageError("OC1407", tensor.name, f"the array holds {value.dtype}", limit=f"it needs {tensor.dtype}")
        return round_float(value.astype(np.float32, copy=False), tensor.dtype)
    if value.dtype.kind not in KINDS[tensor.dtype]:
        raise UsageError("OC1407", tensor.name, f"the array holds {value.dtype}", limit=f"it needs {tensor.dtype}")
    return value


def _run(graph: Graph, node: Node, values: Arrays, boundary: str) -> tuple[NDArray[Any], ...]:
    op = look_up_op(node.op, node.name)
    arrays = [_value(graph, name, values) if name else None for name in node.inputs]
    if boundary == "int" and node.op == "dequantize" and node.outputs[0] in graph.outputs and arrays[0] is not None:
        return (arrays[0],)
    given = [graph.tensor(name).quantization if name else None for name in node.inputs]
    made = [graph.tensor(name).quantization if name else None for name in node.outputs]
    is_integer = _is_integer(graph, node, given, has_meaning=op.integer is not None)
    attributes = attributes_of(node, op)
    try:
        if is_integer and op.integer is None:
            raise Refusal("OC1335", "has no integer meaning", next="Fold it away, or keep it in floats")
        if is_integer and op.integer is not None:
            return op.integer(attributes, given, made, *arrays)
        return op.reference(attributes, *arrays)
    except Refusal as refusal:
        raise NotSupported(refusal.code, node.name, f"{node.op}: {refusal}", next=refusal.next) from None


def _is_integer(graph: Graph, node: Node, given: list[Quantization | None], *, has_meaning: bool) -> bool:
    """Return whether a node works on integers: it makes them, or (a comparison) makes no floats of quantized ones."""
    made = graph.tensor(node.outputs[0]).dtype
    if made in INTEGER_DTYPES or node.op == "dequantize":
        return True
    return has_meaning and made not in FLOAT_DTYPES and any(q is not None for q in given)


def _value(graph: Graph, name: str, values: Arrays) -> NDArray[Any]:
    if name in values:
        return values[name]
    tensor = graph.tensor(name)
    if tensor.constant is None or tensor.constant.data is None:
        hint = "Read or build the network with weights"
        raise NotSupported("OC1405", name, "the values of this constant are not known", next=hint)
    data = tensor.constant.data
    return round_float(data, tensor.dtype) if tensor.dtype in NARROW else data
