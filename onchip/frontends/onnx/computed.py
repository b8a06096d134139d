"""Nodes all of whose inputs are known, computed by ONNX' own reference implementation.

In:       a node of the standard domain and the arrays of its inputs.
Out:      its outputs as arrays, or None for an operator that is not computed (it is written as a node then).
Promises: an operator is on the list; what it makes is known by shape inference, and within the budget, before it runs:
          a file of 200 bytes can ask for an array of a terabyte.
Does not: run control flow, sequences, convolutions or recurrent operators on constants.
Sources:  https://onnx.ai/onnx/api/reference.html
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, cast

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, defs, helper, numpy_helper, shape_inference

from onchip.errors import NotSupported, OnchipError
from onchip.ops.types import Array

BUDGET = 1 << 27  # assumed: elements that a model's constants may unfold to, all in all (0.5 GiB of float32)
SMALL = 4096  # elements up to which an input's values take part in shape inference
PRODUCTS = ("MatMul", "Gemm")
COMPUTED = frozenset(
    (
        "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Cos", "CumSum",
        "DequantizeLinear", "Div", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather",
        "GatherElements", "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or", "Pad",
        "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin",
        "Size", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu",
        "Unsqueeze", "Where", "Xor",
    )
)  # fmt: skip


def compute(node: NodeProto, given: Mapping[str, Array], *, opset: int, budget: int) -> list[Array] | None:
    """Compute a node from its inputs.

    Raises NotSupported for outputs of more than `budget` elements, and for what the reference cannot do.
    """
    if node.op_type not in COMPUTED:
        return None
    from onnx.reference import ReferenceEvaluator

    try:
        size = _cost(node, given, opset)
        if size > budget:
            raise NotSupported(
                "OC1351", "", f"computes {size} elements from constants", limit=f"{budget} are left of {BUDGET}"
            )
        inputs = [ValueInfoProto(name=i) for i in given]
        outputs = [ValueInfoProto(name=o) for o in node.output if o]
        graph = GraphProto(name="constant", node=[node], input=inputs, output=outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        with np.errstate(all="ignore"):
            made = ReferenceEvaluator(model).run(None, dict(given))
        return [np.asarray(array) for array in cast("list[Any]", made)]
    except OnchipError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise NotSupported("OC1351", "", f"cannot be computed from constants: {text}") from error


def _cost(node: NodeProto, given: Mapping[str, Array], opset: int) -> int:
    """Count the elements of the outputs; a product counts for every 1,024 terms of its sums."""
    schema = defs.get_schema(node.op_type, opset, "")
    types = {
        n: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()
    }
    values = {n: numpy_helper.from_array(a, n) for n, a in given.items() if a.size <= SMALL}
    made = shape_inference.infer_node_outputs(
        schema, node, types, values, opset_imports=[helper.make_opsetid("", opset)]
    )
    terms = given[node.input[0]].shape[-1] if node.op_type in PRODUCTS and given[node.input[0]].ndim else 1
    at_most = max(a.size * max(1, a.ndim) for a in given.values())  # NonZero: a row of indices for each dimension
    total = 0
    for kind in made.values():
        dims = kind.tensor_type.shape.dim
        is_known = kind.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        if not is_known and node.op_type != "NonZero":
            raise NotSupported("OC1351", "", "computes from constants what has no known shape")
        total += prod(d.dim_value for d in dims) if is_known else at_most
    return total * max(1, terms // 1024)
