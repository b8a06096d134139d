"""The node tests of the ONNX standard, and what becomes of each.

In:       the test cases that the onnx wheel generates: one small model each, its inputs and expected outputs.
Out:      an outcome per case: "as it stands", "weights constant" (our weights have to be), "first output" (alone), or
          "refused" with the message.
Promises: a form that is read has to give the expected outputs, shapes and integer dtypes, else AssertionError; anything
          but an OnchipError passes through. Integers are compared exactly, floats by the case's own tolerance, at least
          two units in the last place of its dtype (bfloat16 and float8 are handed over as float32).
Sources:  https://onnx.ai/onnx/repo-docs/OnnxBackendTest.html
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from onchip.errors import OnchipError
from onchip.frontends.onnx import read_model
from onchip.ir.evaluate import evaluate

Arrays = dict[str, NDArray[Any]]
ULPS = {"float16": 2.0**-9, "bfloat16": 2.0**-6, "float8_e4m3fn": 0.0}  # two units in the last place


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: the form in which it is read, or the message of its refusal."""

    name: str
    op: str
    form: str
    message: str = ""

    @property
    def is_expanded(self) -> bool:
        return "_expanded" in self.name

    @property
    def passed(self) -> bool:
        return self.form != "refused"


@functools.cache
def cases() -> tuple[TestCase, ...]:
    """Collect every case."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators divide by zero and overflow on purpose
        return tuple(c for c in collect_testcases(None) if c.model is not None and c.data_sets)


@functools.cache
def outcomes() -> tuple[Outcome, ...]:
    """Read and evaluate every case."""
    return tuple(outcome(case) for case in cases())


def _array(value: Any) -> NDArray[Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Give narrow floats as float32, which is what evaluate takes."""
    return array.astype(np.float32) if array.dtype.kind == "V" and "float" in str(array.dtype) else array


def _since_seven(model: onnx.ModelProto) -> onnx.ModelProto:
    """Declare opset 7, the least that is read, where an older operator means the same in it."""
    version, ops = model.opset_import[0].version, [n.op_type for n in model.graph.node]
    is_same = all(onnx.defs.has(op, 7, "") and onnx.defs.get_schema(op, 7).since_version <= version for op in ops)
    if version < 7 and is_same:
        model.opset_import[0].version = 7
    return model


def _forms(model: onnx.ModelProto, given: Arrays) -> Iterator[tuple[str, onnx.ModelProto, Arrays]]:
    yield "as it stands", model, given
    first = model.graph.input[0].name if given else ""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    _since_seven(fixed)
    del fixed.graph.input[1:]
    fixed.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in given.items() if n != first)
    yield "weights constant", fixed, {n: a for n, a in given.items() if n == first}
    if len(fixed.graph.output) > 1:
        del fixed.graph.output[1:]
        yield "first output", fixed, {n: a for n, a in given.items() if n == first}


def _compare(case: TestCase, model: onnx.ModelProto, made: Arrays, wanted: Arrays) -> None:
    assert list(made) == [o.name for o in model.graph.output], case.name
    for name, array in made.items():
        want = wanted[name]
        assert array.shape == want.shape, (case.name, array.shape, want.shape)
        if want.dtype.kind in "iub":
            assert array.dtype == want.dtype, (case.name, array.dtype, want.dtype)
            np.testing.assert_array_equal(array, want, err_msg=case.name)
            continue
        rtol = max(case.rtol, ULPS.get(str(want.dtype), 0.0))
        values = (array.astype(np.float64), want.astype(np.float64))
        np.testing.assert_allclose(*values, rtol=rtol, atol=max(case.atol, 1e-6), err_msg=case.name)


def outcome(case: TestCase) -> Outcome:
    """Read a case in each of its forms; the first form that is read counts, and all that are read are compared."""
    assert case.model is not None and case.data_sets is not None
    inputs, outputs = case.data_sets[0]
    op = case.model.graph.node[0].op_type if len(case.model.graph.node) == 1 else ""
    values: list[Any] = [*inputs, *outputs]  # some are lists, whatever the annotation says
    if not all(isinstance(v, (np.ndarray, np.generic, onnx.TensorProto)) for v in values):
        return _only_read(case, op)
    given = {i.name: _array(a) for i, a in zip(case.model.graph.input, inputs, strict=False)}
    wanted = {o.name: _array(a) for o, a in zip(case.model.graph.output, outputs, strict=True)}
    read: list[str] = []
    messages: list[str] = []
    for form, model, feeds in _forms(case.model, given):
        try:
            made = evaluate(read_model(model), {n: _plain(a) for n, a in feeds.items()})
        except OnchipError as error:
            messages.append(str(error))
            assert "\n" not in messages[-1] and error.code, case.name
            continue
        _compare(case, model, made, wanted)
        read.append(form)
    return (
        Outcome(case.name, op, read[0])
        if read
        else Outcome(case.name, op, "refused", messages[min(1, len(messages) - 1)])
    )


def _only_read(case: TestCase, op: str) -> Outcome:
    """Sequences and optionals are no tensors: such a case has to be refused."""
    assert case.model is not None
    try:
        read_model(case.model)
    except OnchipError as error:
        return Outcome(case.name, op, "refused", str(error))
    raise AssertionError(f"{case.name} is read, and its values are no tensors")
