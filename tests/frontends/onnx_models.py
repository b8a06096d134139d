"""ONNX models for the tests: made by hand, node by node, and exported by torch.

In:       nodes, inputs and constants; or the name of one of the architectures.
Out:      a ModelProto; or a path, once per session, with the example and what torch computes from it.
Promises: constants are seeded; the exporter is silent, and its batch is a symbol.
"""

from __future__ import annotations

import contextlib
import functools
import io
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.architectures import make, run

Arrays = dict[str, NDArray[Any]]
Shapes = dict[str, Sequence[int | str]]
IMAGE: Shapes = {"x": ("N", 4, 9, 8)}


def value(seed: int, *shape: int) -> NDArray[np.float32]:
    """Give normal values of that seed."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Sequence[str],
    *,
    constants: Arrays | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Make a model of float inputs and outputs; the outputs' shapes are inferred."""
    domains = {"": opset} | {n.domain: 1 for n in nodes if n.domain}
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    initializers = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "hand", given, made, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid(*d) for d in domains.items()], ir_version=8)
    return onnx.shape_inference.infer_shapes(proto)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def exported(name: str) -> tuple[Path, tuple[torch.Tensor, ...], list[torch.Tensor]]:
    """Export an architecture by torch's exporter, with a symbolic batch; once per session, it takes a second."""
    module, example = make(name)
    batch = torch.export.Dim("batch", min=1)
    file = Path(_folder().name) / f"{name}.onnx"
    twice = tuple(torch.cat([t, t]) for t in example)
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")  # the exporter's own
        shapes = tuple({0: batch} for _ in twice)
        torch.onnx.export(
            module, twice, str(file), dynamo=True, external_data=False, dynamic_shapes=shapes, verbose=False
        )
    return file, example, run(module, example)
