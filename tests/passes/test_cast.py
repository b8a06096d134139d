"""Casting to other float dtypes: torch's own conversions are the witness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onchip.errors import UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.cast import float_dtype, round_to
from onchip.passes.quantize import quantize

WITNESS = {"f16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}


@given(arrays(np.float32, 64, elements=st.floats(-440.0, 440.0, width=32)), st.sampled_from(sorted(WITNESS)))
def test_rounding_equals_torch(values: np.ndarray, dtype: str) -> None:
    expected = torch.tensor(values).to(WITNESS[dtype]).to(torch.float32).numpy()
    np.testing.assert_array_equal(round_to(values, dtype), expected)


@given(arrays(np.float32, 64, elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)))
def test_tf32_keeps_ten_bits(values: np.ndarray) -> None:
    rounded = round_to(values, "tf32")
    assert np.all(np.abs(rounded - values) <= np.abs(values) * 2.0**-11)
    assert np.all(rounded.view(np.uint32) & 0x1FFF == 0)


def test_saturates_at_the_largest_finite_value() -> None:
    assert round_to(np.array([1e9, -1e9], np.float32), "f16").tolist() == [65504.0, -65504.0]
    assert round_to(np.array([1e9, -500.0], np.float32), "fp8").tolist() == [448.0, -448.0]


def network() -> Graph:
    rng = np.random.default_rng(0)
    b = GraphBuilder("g")
    x = b.input("x", ("batch", 8))
    ids = b.input("ids", (3,), "i64")
    w, table = (b.constant(n, rng.standard_normal(s).astype(np.float32)) for n, s in (("w", (5, 8)), ("t", (4, 5))))
    y = str(b.node("linear", (x, w, b.constant("b", (5,))), name="y"))
    b.output(y)
    b.output(str(b.node("gather", (table, ids), name="e")))
    return b.finish()


@pytest.mark.parametrize("dtype", ["f32", "tf32", "f16", "bf16", "fp8"])
def test_every_float_tensor_is_cast(dtype: str) -> None:
    graph = network()
    cast = float_dtype(graph, dtype)
    assert {t.dtype for t in cast.tensors} == {dtype, "i64"}
    assert cast.nodes == graph.nodes and cast.inputs == graph.inputs and cast.outputs == graph.outputs
    assert cast.parameters() == graph.parameters()
    b = cast.tensor("b").constant
    assert b is not None and b.data is None


def test_values_stay_near() -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder("g")
    w = rng.standard_normal((5, 8)).astype(np.float32)
    b.output(str(b.node("linear", (b.input("x", (3, 8)), b.constant("w", w), ""), name="y")))
    graph, x = b.finish(), rng.standard_normal((3, 8)).astype(np.float32)
    real, ours = evaluate(graph, {"x": x})["y"], evaluate(float_dtype(graph, "bf16"), {"x": x})["y"]
    assert 0 < np.abs(real - ours).max() < 0.05


def test_refusals() -> None:
    with pytest.raises(UsageError, match="OC1385 'i8' is no float dtype"):
        float_dtype(network(), "i8")
    b = GraphBuilder("g")
    b.output(str(b.node("relu", (b.input("x", (1, 4)),), name="y")))
    with pytest.raises(UsageError, match="OC1415"):
        float_dtype(quantize(b.finish(), None), "bf16")
