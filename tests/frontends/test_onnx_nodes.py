"""The node tests of the ONNX standard, for every operator that the front end claims.

In:       the test cases that the onnx wheel generates: one small model each, its inputs and expected outputs.
Promises: a case is read and evaluates to the expected outputs, or it is refused by an OnchipError; never anything else.
          Every case is read as it stands and, because our weights have to be constants, with all inputs but the first
          as initializers, and once more with its first output alone.
          Counts are asserted, so that no change of onnx or of ours empties the test.
Sources:  https://onnx.ai/onnx/repo-docs/OnnxBackendTest.html
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onchip.errors import OnchipError
from onchip.frontends.onnx import read_model
from onchip.frontends.onnx.ops import TABLE
from onchip.ir.evaluate import evaluate

Arrays = dict[str, NDArray[Any]]
LEAST_IN_ALL = 265  # of 560 cases; the others are refused: 1-D and 3-D windows, caches, unsigned integers, ...
# read only where the shape is known and changes nothing, or is a vector of symbols; the node tests have neither
NEVER_READ = frozenset(("ConstantOfShape", "Expand"))


@functools.cache
def cases() -> tuple[TestCase, ...]:
    """Collect the cases all of whose operators are claimed and whose values are arrays."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators divide by zero and overflow on purpose
        made = collect_testcases(None)
    claimed = {*TABLE, "Constant"}
    return tuple(c for c in made if _is_ours(c, claimed))


def _is_ours(case: TestCase, claimed: set[str]) -> bool:
    if case.model is None or not case.data_sets or not all(n.op_type in claimed for n in case.model.graph.node):
        return False
    values: list[Any] = [v for part in case.data_sets[0] for v in part]  # some are lists, whatever the annotation says
    return all(isinstance(v, (np.ndarray, np.generic, onnx.TensorProto)) for v in values)


def array_of(value: Any) -> NDArray[Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def since_seven(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declare opset 7, the least that is read, where an older operator means the same in it."""
    version = model.opset_import[0].version
    same = (onnx.defs.get_schema(n.op_type, 7).since_version <= version for n in model.graph.node)
    if version < 7 and all(same):
        model.opset_import[0].version = 7
    return model


def forms(model: onnx.ModelProto, given: Arrays) -> Iterator[tuple[onnx.ModelProto, Arrays]]:
    """Give the model as it is, with constants for all inputs but the first, and that with its first output alone."""
    yield model, given
    first = model.graph.input[0].name if given else ""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    since_seven(fixed)
    del fixed.graph.input[1:]
    fixed.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in given.items() if n != first)
    yield fixed, {n: a for n, a in given.items() if n == first}
    if len(fixed.graph.output) > 1:
        del fixed.graph.output[1:]
        yield fixed, {n: a for n, a in given.items() if n == first}


def is_read(case: TestCase) -> bool:
    """Tell whether a form of the case is read; whatever is read has to give the expected outputs."""
    assert case.model is not None and case.data_sets is not None
    inputs, outputs = case.data_sets[0]
    given = {i.name: array_of(a) for i, a in zip(case.model.graph.input, inputs, strict=False)}
    wanted = {o.name: array_of(a) for o, a in zip(case.model.graph.output, outputs, strict=True)}
    found = False
    for model, feeds in forms(case.model, given):
        try:
            made = evaluate(read_model(model), feeds)
        except OnchipError as error:
            assert "\n" not in str(error)
            continue
        assert list(made) == [o.name for o in model.graph.output], case.name
        for name, array in made.items():
            want = wanted[name]
            assert array.shape == want.shape, case.name
            tolerance = (0.0, 0.0) if want.dtype.kind in "iub" else (case.rtol, max(case.atol, 1e-6))
            np.testing.assert_allclose(array.astype(np.float64), want.astype(np.float64), *tolerance, err_msg=case.name)
        found = True
    return found


@pytest.mark.parametrize("op", sorted(TABLE))
def test_node_cases_of(op: str) -> None:
    own = [c for c in cases() if c.model is not None and [n.op_type for n in c.model.graph.node] == [op]]
    read = [c.name for c in own if is_read(c)]
    assert read or op in NEVER_READ, f"{len(own)} cases of {op}, none is read"


def test_models_of_several_nodes_and_the_count() -> None:
    several = [c for c in cases() if c.model is not None and len(c.model.graph.node) > 1]
    assert sum(map(is_read, several)) >= 15
    assert sum(map(is_read, cases())) >= LEAST_IN_ALL
