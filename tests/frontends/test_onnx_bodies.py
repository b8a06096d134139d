"""Control flow on constants, and defaults that no node test leaves out, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, TensorProto, helper

from onchip.errors import NotSupported
from onchip.frontends.onnx import read_model
from tests.frontends.onnx_models import Arrays, Shapes, model, value
from tests.frontends.test_onnx import same_as_runtime


def body(nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: dict[str, int]) -> GraphProto:
    """Make a body; kinds of inputs and outputs are element types."""

    def info(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, None if kind == FLOAT else [])

    given = [info(n, kind) for n, kind in inputs.items()]
    made = [info(n, kind) for n, kind in outputs.items()]
    return helper.make_graph(nodes, "body", given, made)


FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
INPUT: Shapes = {"x": (3, 4)}


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_whose_condition_is_known(condition: bool) -> None:
    branches: dict[str, Any] = {
        "then_branch": body([helper.make_node("Relu", ["x"], ["t"])], {}, {"t": FLOAT}),
        "else_branch": body([helper.make_node("Neg", ["x"], ["e"])], {}, {"e": FLOAT}),
    }
    node = helper.make_node("If", ["c"], ["y"], **branches)
    folded = same_as_runtime(model([node], INPUT, ["y"], constants={"c": np.array(condition)}))
    assert [n.op for n in folded.nodes] == ["relu" if condition else "neg"]


def test_a_loop_of_known_length_is_unrolled() -> None:
    """The carried value is multiplied three times, and each step collects it."""
    inner = body(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Mul", ["s", "factor"], ["t"]),
            helper.make_node("Add", ["t", "x"], ["row"]),
        ],
        {"i": INT64, "go": BOOL, "s": FLOAT},
        {"again": BOOL, "t": FLOAT, "row": FLOAT},
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["last", "rows"], body=inner)
    constants: Arrays = {"n": np.array(3), "factor": np.array([1.5], np.float32)}
    folded = same_as_runtime(model([node], INPUT, ["last", "rows"], constants=constants))
    assert sum(n.op == "mul" for n in folded.nodes) == 3


@pytest.mark.parametrize(("backwards", "reversed_output"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_scan_in_both_directions(backwards: int, reversed_output: int) -> None:
    inner = body(
        [helper.make_node("Mul", ["s", "half"], ["m"]), helper.make_node("Add", ["m", "row"], ["t"]),
         helper.make_node("Identity", ["t"], ["out"])],
        {"s": FLOAT, "row": FLOAT},
        {"t": FLOAT, "out": FLOAT},
    )  # fmt: skip
    node = helper.make_node(
        "Scan", ["start", "x"], ["last", "rows"], num_scan_inputs=1, body=inner, scan_input_directions=[backwards],
        scan_output_directions=[reversed_output],
    )  # fmt: skip
    constants: Arrays = {"start": value(1, 4), "half": np.array([0.5], np.float32)}
    same_as_runtime(model([node], INPUT, ["last", "rows"], constants=constants))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("ReduceSum", {}), ("ReduceL1", {}), ("ArgMax", {}), ("LogSoftmax", {}), ("Elu", {}), ("Selu", {}),
     ("HardSigmoid", {}), ("LeakyRelu", {}), ("Celu", {}), ("ReduceLogSumExp", {"axes": [1]})],
)  # fmt: skip
def test_defaults(op: str, attributes: dict[str, Any]) -> None:
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    proto = model([node], INPUT, ["y"])
    if op == "ArgMax":
        proto.graph.output[0].type.tensor_type.elem_type = INT64
    same_as_runtime(proto)


def test_a_condition_that_is_data_is_refused() -> None:
    branch = body([helper.make_node("Relu", ["x"], ["t"])], {}, {"t": FLOAT})
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], name="culprit", then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(NotSupported, match="culprit: OC1353 If: a condition that is computed from data"):
        read_model(model(nodes, INPUT, ["y"], constants={"zero": np.array(0, np.float32)}))
