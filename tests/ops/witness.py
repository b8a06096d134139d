"""Run one op of ours, and beside it one node of the ONNX reference evaluator or of ONNX Runtime."""

# pyright: basic

import numpy as np
import onnxruntime
import torch
from onnx import defs, helper
from onnx.reference import ReferenceEvaluator

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Quantization

DTYPES = {"float32": "f32", "int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "int64": "i64", "bool": "bool"}


def ours(name, attributes, *arrays):
    """Compute in floats; shapes and dtypes have to be those that the rules promise."""
    op = OPS[name]
    attributes = Attributes({**op.defaults, **attributes})
    shapes = op.shape(attributes, [None if a is None else a.shape for a in arrays])
    dtypes = op.dtypes(attributes, [None if a is None else DTYPES[str(a.dtype)] for a in arrays])
    made = op.reference(attributes, *arrays)
    assert [m.shape for m in made] == list(shapes)
    assert [DTYPES[str(m.dtype)] for m in made] == [dtypes[min(i, len(dtypes) - 1)] for i in range(len(made))]
    return made


def integers(name, attributes, given, made, *arrays):
    """Compute in integers; shapes have to be those that the rule promises, and the inputs stay as they are."""
    op = OPS[name]
    assert op.integer is not None
    attributes = Attributes({**op.defaults, **attributes})
    before = [None if a is None else a.copy() for a in arrays]
    shapes = op.shape(attributes, [None if a is None else a.shape for a in arrays])
    results = op.integer(attributes, given, made, *arrays)
    assert [m.shape for m in results] == list(shapes)
    for a, b in zip(arrays, before, strict=True):
        assert a is None or (a == b).all()
    return results


def _model(name, arrays, outputs, opset, attributes):
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    feeds = {n: a for n, a in zip(names, arrays, strict=True) if n}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    results = [f"y{i}" for i in range(outputs)]
    made = [helper.make_tensor_value_info(n, 1, None) for n in results]
    graph = helper.make_graph([helper.make_node(name, names, results, **attributes)], "g", infos, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), feeds


def onnx(name, arrays, outputs=1, opset=0, **attributes):
    """Run one node of the reference evaluator; an absent input is None."""
    model, feeds = _model(name, arrays, outputs, opset or min(defs.onnx_opset_version(), 25), attributes)
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]


def runtime(name, arrays, **attributes):
    """Run one float node of ONNX Runtime, where the reference evaluator is wrong or narrower than the standard."""
    model, feeds = _model(name, arrays, 1, 19, attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, feeds)]


def floats(rng, *shape):
    return rng.normal(0, 1, shape).astype(np.float32)


def int8(rng, *shape, low=-128):
    return rng.integers(low, 128, shape).astype(np.int8)


def q8(scale, zero=0):
    return Quantization((float(scale),), (int(zero),))


def real(x, params):
    """Give the float64 values of integers."""
    return (x.astype(np.float64) - params.zero_point[0]) * params.scale[0]


def off(got, want, params):
    """Give the largest distance, in steps, of int8 results from real values, which saturate."""
    exact = np.clip(np.asarray(want, np.float64) / params.scale[0] + params.zero_point[0], -128, 127)
    return np.abs(got.astype(np.float64) - exact).max()


def nchw(x):
    return torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def nhwc(t):
    return np.moveaxis(np.asarray(t.detach() if isinstance(t, torch.Tensor) else t), 1, -1)
