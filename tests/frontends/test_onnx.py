"""The ONNX front end against ONNX Runtime, and against torch for what its exporter writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onchip.errors import NotSupported, OnchipError
from onchip.frontends.onnx import read_model, read_onnx
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from tests.frontends.architectures import captured
from tests.frontends.onnx_models import IMAGE, Arrays, Shapes, exported, model, value


@pytest.mark.parametrize("name", ["cnn", "lstm", "attention", "resnet", "mixed", "cross_attention", "encoder"])
def test_networks_that_torch_exports(name: str) -> None:
    file, example, wanted = exported(name)
    graph = read_onnx(file)
    assert graph.symbols == ("batch",)
    for version in (graph, fold(graph)):
        bound = version.bind(batch=example[0].shape[0])
        given = {n: t.numpy() for n, t in zip(bound.inputs, example, strict=True)}
        made = evaluate(bound, given)
        for output, tensor in zip(bound.outputs, wanted, strict=True):
            np.testing.assert_allclose(made[output], tensor.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "lstm", "attention", "resnet", "cross_attention"])
def test_both_front_ends_agree_on_parameters_and_macs(name: str) -> None:
    file, _, _ = exported(name)
    ours, theirs = fold(read_onnx(file)), fold(captured(name))
    assert ours.bind(batch=1).macs() == theirs.bind(batch=1).macs()
    assert ours.parameters() == theirs.parameters()
    assert [n.op for n in ours.nodes] == [n.op for n in theirs.nodes]


def test_names_are_the_paths_of_the_modules() -> None:
    graph = fold(read_onnx(exported("resnet")[0]))
    assert {"conv1", "maxpool", "layer1.0.conv1", "layer1.1.downsample.0", "layer1.1.add", "avgpool", "fc"} <= {
        n.name for n in graph.nodes
    }


def test_a_number_for_the_batch() -> None:
    graph = read_onnx(exported("cnn")[0], batch=4)
    assert graph.tensor(graph.inputs[0]).shape == (4, 1, 8, 8)


def same_as_runtime(proto: onnx.ModelProto, *, batch: int = 2) -> Graph:
    """Compare with ONNX Runtime before and after the fold; gives the folded graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = read_model(proto)
    given: Arrays = {}
    for seed, info in enumerate(proto.graph.input):
        shape = [d.dim_value or batch for d in info.type.tensor_type.shape.dim]
        given[info.name] = value(100 + seed, *shape)
    wanted = [np.asarray(array) for array in session.run(None, given)]
    folded = fold(graph)
    for version in (graph, folded):
        bound = version.bind(batch=batch) if version.symbols else version
        made = evaluate(bound, given)
        assert list(made) == [o.name for o in proto.graph.output]
        for name, array in zip(made, wanted, strict=True):
            np.testing.assert_allclose(made[name], array, rtol=1e-4, atol=1e-4)
    return folded


POOL = {"kernel_shape": [3, 2], "strides": [2, 2]}


@pytest.mark.parametrize(
    ("op", "attributes", "constants", "opset"),
    [
        ("Conv", {"pads": [1, 0, 2, 1], "strides": [2, 1]}, {"w": value(1, 6, 4, 3, 3), "b": value(2, 6)}, 7),
        ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"w": value(1, 6, 4, 3, 3)}, 11),
        ("Conv", {"auto_pad": "SAME_LOWER", "dilations": [1, 1]}, {"w": value(1, 6, 4, 2, 2)}, 11),
        ("Conv", {"auto_pad": "VALID"}, {"w": value(1, 6, 4, 3, 3)}, 13),
        ("Conv", {"group": 4, "dilations": [2, 2]}, {"w": value(1, 8, 1, 3, 3), "b": value(2, 8)}, 17),
        ("Conv", {"group": 2, "pads": [1, 1, 1, 1]}, {"w": value(1, 6, 2, 3, 3)}, 17),
        ("MaxPool", {**POOL, "pads": [1, 0, 1, 1]}, {}, 12),
        ("MaxPool", {**POOL, "ceil_mode": 1}, {}, 12),
        ("AveragePool", {**POOL, "pads": [1, 0, 1, 1]}, {}, 17),
        ("AveragePool", {**POOL, "pads": [1, 0, 1, 1], "count_include_pad": 1}, {}, 17),
        ("GlobalAveragePool", {}, {}, 7),
        ("Flatten", {}, {}, 9),
        ("Transpose", {"perm": [2, 0, 3, 1]}, {}, 13),
        ("Softmax", {"axis": 1}, {}, 11),
        ("Softmax", {"axis": 1}, {}, 13),
        ("Softmax", {}, {}, 17),
        ("Clip", {"min": -0.5, "max": 0.25}, {}, 7),
        ("Clip", {}, {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}, 13),
        ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, {}, 13),
        ("ReduceMean", {}, {"axes": np.array([-1, 1])}, 18),
        ("LayerNormalization", {"epsilon": 1e-3}, {"s": value(1, 8), "b": value(2, 8)}, 17),
        ("Gelu", {"approximate": "tanh"}, {}, 20),
        ("Gelu", {}, {}, 20),
        ("Reshape", {}, {"shape": np.array([0, -1, 6])}, 14),
        ("Slice", {"starts": [1, 0], "ends": [9999, -1], "axes": [1, 3]}, {}, 9),
        ("Slice", {}, {"s": np.array([-1]), "e": np.array([-9999]), "a": np.array([2]), "t": np.array([-2])}, 13),
        ("Unsqueeze", {"axes": [1]}, {}, 11),
        ("Unsqueeze", {}, {"axes": np.array([-1, 0])}, 13),
        ("Gather", {"axis": 2}, {"i": np.array(3)}, 13),
        ("Add", {}, {"b": value(1, 4, 1, 1)}, 14),
        ("Mul", {}, {"b": value(1, 8)}, 14),
        ("MatMul", {}, {"b": value(1, 8, 5)}, 13),
        ("Sigmoid", {}, {}, 13), ("Tanh", {}, {}, 13), ("Erf", {}, {}, 13), ("Identity", {}, {}, 13),
    ],
)  # fmt: skip
def test_one_operator(op: str, attributes: dict[str, Any], constants: Arrays, opset: int) -> None:
    node = helper.make_node(op, ["x", *constants], ["y"], **attributes)
    same_as_runtime(model([node], IMAGE, ["y"], constants=constants, opset=opset))


def test_batch_normalization_and_relu_fold() -> None:
    variance = np.abs(value(5, 6)) + np.float32(0.5)
    constants = {"w": value(1, 6, 4, 3, 3), "s": value(2, 6), "b": value(3, 6), "m": value(4, 6), "v": variance}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    folded = same_as_runtime(model(nodes, IMAGE, ["y"], constants=constants))
    assert [n.op for n in folded.nodes] == ["transpose", "conv2d", "transpose"]


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,)])
def test_gemm(attributes: dict[str, Any], bias: tuple[int, ...]) -> None:
    weight = value(1, 5, 7) if attributes.get("transB") else value(1, 7, 5)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], **attributes)
    folded = same_as_runtime(model([node], {"x": ("N", 7)}, ["y"], constants={"w": weight, "b": value(2, *bias)}))
    assert [n.op for n in folded.nodes] == ["linear"]


@pytest.mark.parametrize("has_state", [False, True])
def test_lstm(has_state: bool) -> None:
    constants = {"w": value(1, 1, 20, 3), "r": value(2, 1, 20, 5), "b": value(3, 1, 40)}
    states = ["", "h", "c"] if has_state else []
    node = helper.make_node("LSTM", ["x", "w", "r", "b", *states], ["y", "yh", "yc"], hidden_size=5)
    inputs: Shapes = {"x": (4, 2, 3)}
    if has_state:
        inputs |= {"h": (1, 2, 5), "c": (1, 2, 5)}
    same_as_runtime(model([node], inputs, ["y", "yh", "yc"], constants=constants))


def test_shape_arithmetic_is_carried_out() -> None:
    """Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as exporters write a flatten with a symbolic batch."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["one"]),
        helper.make_node("Concat", ["one", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Relu", ["flat"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    folded = same_as_runtime(model(nodes, IMAGE, ["y"], constants=constants))
    assert [n.op for n in folded.nodes] == ["reshape", "relu"]


def test_merged_heads_stay_split() -> None:
    """[N,4,L,D] is written as [4N,L,D] around the products; ours keeps N apart, and finds the attention."""
    nodes = [
        helper.make_node("Reshape", ["x", "merged"], ["m"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["m", "t"], ["scores"]),
        helper.make_node("Mul", ["scores", "factor"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "m"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "split"], ["y"]),
    ]
    constants = {
        "merged": np.array([-1, 9, 8]), "split": np.array([-1, 4, 9, 8]), "factor": np.array([0.25], np.float32),
    }  # fmt: skip
    folded = same_as_runtime(model(nodes, IMAGE, ["y"], constants=constants))
    assert [n.op for n in folded.nodes if n.op not in ("transpose", "reshape")] == ["attention"]


def test_what_is_not_read_is_refused_by_the_name_of_its_node() -> None:
    def one(
        op: str, *inputs: str, opset: int = 17, domain: str = "", constants: Arrays | None = None
    ) -> onnx.ModelProto:
        node = helper.make_node(op, ["x", *inputs], ["y"], name="culprit", domain=domain)
        return model([node], IMAGE, ["y"], constants=constants, opset=opset)

    with pytest.raises(NotSupported, match=r"culprit: OC1350 operator Det is not read"):
        read_model(one("Det"))
    with pytest.raises(NotSupported, match=r"culprit: OC1352 operator MatMulNBits is of the domain 'com\.microsoft'"):
        read_model(one("MatMulNBits", domain="com.microsoft"))
    with pytest.raises(NotSupported, match="OC1253 opset 6"):
        read_model(one("Relu", opset=6))
    with pytest.raises(NotSupported, match=r"culprit: OC1351 Conv: its weight is not a constant"):
        read_model(one("Conv", "x"))
    with pytest.raises(NotSupported, match=r"culprit: OC1353 Reshape: a shape that is computed from data"):
        node = helper.make_node("Reshape", ["x", "target"], ["y"], name="culprit")
        proto = model([node], IMAGE, ["y"])
        proto.graph.input.append(helper.make_tensor_value_info("target", TensorProto.INT64, [2]))
        read_model(proto)
    flow = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="culprit", hidden_size=5, clip=3.0)
    constants = {"w": value(1, 1, 20, 3), "r": value(2, 1, 20, 5)}
    with pytest.raises(NotSupported, match=r"culprit: OC1351 LSTM"):
        read_model(model([flow], {"x": (4, 2, 3)}, ["y"], constants=constants))


@pytest.mark.parametrize(
    ("op", "attributes", "constants", "opset", "message"),
    [
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "dilations": [2, 2]},
            {},
            19,
            r"culprit: OC1351 AveragePool: dilation",
        ),
        ("Conv", {"auto_pad": "SAME"}, {"w": value(1, 6, 4, 3, 3)}, 17, r"culprit: OC1351 Conv: auto_pad 'SAME'"),
        (
            "Dropout",
            {},
            {"ratio": np.array(0.5, np.float32), "train": np.array(True)},
            13,
            "OC1351 Dropout: in training",
        ),
        ("Softmax", {"axis": 7}, {}, 17, r"culprit: OC1316 Softmax: axis 7"),
    ],
)
def test_a_form_that_means_something_else_is_refused(
    op: str, attributes: dict[str, Any], constants: Arrays, opset: int, message: str
) -> None:
    node = helper.make_node(op, ["x", *constants], ["y"], name="culprit", **attributes)
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 9, 8])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    initializers = [onnx.numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph([node], "hand", given, made, initializers)
    imports = [helper.make_opsetid("", opset)]
    with pytest.raises(OnchipError, match=message):
        read_model(helper.make_model(graph, opset_imports=imports, ir_version=10))
