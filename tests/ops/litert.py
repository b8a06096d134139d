"""A witness: one-operator .tflite models, run by LiteRT's reference kernels.

In: arrays, scales and zero points of one operator. Out: what `OpResolverType.BUILTIN_REF` gives, never XNNPACK.
The flatbuffer is made from the schema that ai_edge_litert ships.
"""

# pyright: basic

import warnings
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai_edge_litert import schema_py_generated
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

schema: Any = schema_py_generated  # its annotations promise lists where arrays are meant as well

TYPES = {"int8": 9, "uint8": 3, "int16": 7, "int32": 2, "float32": 0, "bool": 6}


@dataclass
class T:
    """A tensor: data for a constant, else its shape; scale and zero point, a list for per-channel."""

    data: object
    scale: object = None
    zero: int = 0
    dtype: str = "int8"
    axis: int = 0
    is_input: bool = False
    is_variable: bool = False


def run(
    builtin: str, options: object, inputs: list, outputs: list, *, intermediates: list | None = None, version: int = 1
):
    """Run one operator; returns its outputs. Inputs of `is_input` are fed, the others are constants; None is absent."""
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, builtin)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    buffers, tensors = [schema.BufferT()], []

    def add(t):
        if t is None:
            return -1
        tensor = schema.TensorT()
        is_fixed = not t.is_input and not t.is_variable and isinstance(t.data, np.ndarray)
        tensor.shape = list(t.data.shape if isinstance(t.data, np.ndarray) else t.data)
        tensor.type = TYPES[str(t.data.dtype) if isinstance(t.data, np.ndarray) else t.dtype]
        tensor.name = f"t{len(tensors)}"
        tensor.isVariable = t.is_variable
        tensor.buffer = 0
        if is_fixed:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(t.data).tobytes(), np.uint8)
            buffers.append(buffer)
            tensor.buffer = len(buffers) - 1
        if t.scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(t.scale, np.float32))
            q.zeroPoint = np.full(q.scale.shape, t.zero, np.int64)
            q.quantizedDimension = t.axis
            tensor.quantization = q
        tensors.append(tensor)
        return len(tensors) - 1

    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs = [add(t) for t in inputs]
    operator.outputs = [add(t) for t in outputs]
    if intermediates:
        operator.intermediates = [add(t) for t in intermediates]
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        operator.builtinOptions = options
    fed = [(i, t) for i, t in zip(operator.inputs, inputs, strict=True) if t is not None and t.is_input]
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = [i for i, _ in fed], operator.outputs
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_content=bytes(builder.Output()),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
    interpreter.allocate_tensors()
    for detail, (_, t) in zip(interpreter.get_input_details(), fed, strict=True):
        interpreter.set_tensor(detail["index"], t.data)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


def f32(x: float) -> float:
    """Give the float32 that a .tflite stores for a scale."""
    return float(np.float32(x))
