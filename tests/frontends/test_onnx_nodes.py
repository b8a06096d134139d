"""Every node test of the ONNX standard: right, or refused by name; never wrong, never anything else.

Promises: the counts are asserted, so that no change of onnx or of ours empties the test; so are the operators all of
          whose cases pass. docs/ops.md says what passes: it is compared here, and written by `python -m
          tests.frontends.ops_page`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.frontends.node_cases import cases, outcomes
from tests.frontends.ops_page import page, whole_operators

LEAST_SINGLE, LEAST_EXPANDED = 920, 394  # of 1,404 and 480; issue: 650 and 250
CASES = 1884
# what no case may lose: operators all of whose node tests pass
WHOLE = frozenset(
    (
        "Abs", "And", "ArgMax", "ArgMin", "Attention", "Ceil", "Celu", "CenterCropPad", "Clip", "Compress",
        "Concat", "Constant", "Conv", "ConvInteger", "Cos", "CumSum", "DepthToSpace", "DynamicQuantizeLinear",
        "Elu", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "GRU", "Gather", "GatherElements",
        "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid",
        "HardSwish", "Hardmax", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization",
        "LeakyRelu", "LinearAttention", "Log", "LogSoftmax", "LpNormalization", "MatMul", "MatMulInteger",
        "Mean", "MeanVarianceNormalization", "Mish", "Neg", "NegativeLogLikelihoodLoss", "Not", "Or", "PRelu",
        "Pad", "QLinearConv", "QLinearMatMul", "RMSNormalization", "RNN", "Reciprocal", "ReduceMean", "Relu",
        "ReverseSequence", "RotaryEmbedding", "Round", "Scatter", "ScatterElements", "ScatterND", "Selu",
        "Sigmoid", "Sign", "Sin", "Size", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus", "Softsign",
        "SpaceToDepth", "Sqrt", "Squeeze", "Sum", "SwiGLU", "Swish", "Tanh", "ThresholdedRelu", "Tile",
        "Transpose", "Unsqueeze", "Upsample", "Where", "Xor",
    )
)  # fmt: skip


def test_no_case_is_wrong_and_the_counts_hold() -> None:
    """A wrong result, or anything but an OnchipError, fails inside of outcomes()."""
    made = outcomes()
    assert len(made) == len(cases()) == CASES
    assert sum(o.passed for o in made if not o.is_expanded) >= LEAST_SINGLE
    assert sum(o.passed for o in made if o.is_expanded) >= LEAST_EXPANDED
    assert sum(o.form == "first output" for o in made) <= 2


def test_refusals_name_a_place_and_a_code() -> None:
    for o in outcomes():
        assert o.passed or re.match(r"^\S[^:]*(: [^:]+)?: OC1\d{3} \S", o.message), o


def test_operators_that_pass_as_a_whole_stay_so() -> None:
    assert not WHOLE - whole_operators()


def test_the_page_is_current() -> None:
    file = Path(__file__).parents[2] / "docs" / "ops.md"
    if file.read_text() != page():
        pytest.fail("docs/ops.md is old: python -m tests.frontends.ops_page")
