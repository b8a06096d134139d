"""Quantized ONNX models against ONNX Runtime.

Promises: QLinear*, *Integer and what stands around them give ONNX Runtime's integers, bit for bit. The QDQ form is read
          as integers too; there ONNX Runtime is only near, because it may compute in floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from onchip.errors import NotSupported
from onchip.frontends.onnx import read_model
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph

Array = NDArray[Any]
Arrays = dict[str, Array]
MICROSOFT = "com.microsoft"
KINDS = ("uint8", "int8")


def integers(seed: int, kind: str, *shape: int) -> Array:
    info = np.iinfo(kind)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(kind)


def pair(name: str, scale: float | Array, zero: int, kind: str) -> Arrays:
    """Give a scale and a zero point named after a tensor; the zero point is moved into the range of its type."""
    scales = np.asarray(scale, np.float32)
    moved = np.full(scales.shape, zero - (128 if kind == "int8" else 0), kind)
    return {f"{name}_scale": scales, f"{name}_zero": moved}


def model(nodes: list[NodeProto], inputs: Arrays, outputs: dict[str, str], constants: Arrays) -> onnx.ModelProto:
    def info(name: str, kind: str, shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)

    given = [info(n, str(a.dtype), a.shape) for n, a in inputs.items()]
    made = [info(n, kind, None) for n, kind in outputs.items()]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "quantized", given, made, stored)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def both(proto: onnx.ModelProto, inputs: Arrays) -> tuple[Graph, list[Array], list[Array]]:
    """Run ONNX Runtime without optimizations, and ours."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = read_model(proto)
    made = evaluate(graph, inputs)
    assert list(made) == [o.name for o in proto.graph.output]
    return graph, list(made.values()), [np.asarray(a) for a in session.run(None, inputs)]


def same(nodes: list[NodeProto], inputs: Arrays, outputs: dict[str, str], constants: Arrays) -> Graph:
    graph, made, wanted = both(model(nodes, inputs, outputs, constants), inputs)
    for array, want in zip(made, wanted, strict=True):
        assert array.dtype == want.dtype
        np.testing.assert_array_equal(array, want)
    return graph


def three(name: str) -> list[str]:
    return [name, f"{name}_scale", f"{name}_zero"]


@pytest.mark.parametrize(("kind", "weight_kind"), [("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_qlinear_conv(kind: str, weight_kind: str, groups: int, per_channel: bool) -> None:
    scale = np.linspace(0.002, 0.012, 16, dtype=np.float32) if per_channel else 0.01
    zero = 128 if weight_kind == "int8" else 117
    constants = {"w": integers(1, weight_kind, 16, 8 // groups, 3, 3), "b": integers(2, "int16", 16).astype(np.int32)}
    constants |= pair("x", 0.03, 141, kind) | pair("w", scale, zero, weight_kind) | pair("y", 0.11, 3, kind)
    node = helper.make_node(
        "QLinearConv", [*three("x"), *three("w"), "y_scale", "y_zero", "b"], ["y"], group=groups, pads=[1, 0, 1, 2],
        strides=[2, 1],
    )  # fmt: skip
    graph = same([node], {"x": integers(3, kind, 2, 8, 9, 8)}, {"y": kind}, constants)
    assert [n.attribute("rounding", "") for n in graph.nodes if n.op == "conv2d"] == ["fp32"]


@pytest.mark.parametrize(("kind", "weight_kind"), [("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")])
@pytest.mark.parametrize("form", ["linear", "matmul", "gemm"])
def test_products(kind: str, weight_kind: str, form: str) -> None:
    constants = {"w": integers(1, weight_kind, 300, 40), "b": integers(2, "int16", 40).astype(np.int32)}
    constants |= pair("x", 0.03, 141, kind) | pair("w", 0.01, 128 if weight_kind == "int8" else 120, weight_kind)
    constants |= pair("y", 0.9, 100, kind)
    inputs = {"x": integers(3, kind, 64, 300)}
    if form == "gemm":
        names = [*three("x"), *three("w"), "b", "y_scale", "y_zero"]
        node = helper.make_node("QGemm", names, ["y"], domain=MICROSOFT)
    else:
        node = helper.make_node("QLinearMatMul", [*three("x"), *three("w"), "y_scale", "y_zero"], ["y"])
    if form == "matmul":
        inputs["w"] = constants.pop("w")
    graph = same([node], inputs, {"y": kind}, constants)
    assert ("matmul" if form == "matmul" else "linear") in {n.op for n in graph.nodes}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_sums_and_products(kind: str, op: str) -> None:
    """Scales in the ratio 1 : 3 put many sums on a half, where every float32 rounding shows."""
    inputs = {"x": integers(1, kind, 16, 512), "w": integers(2, kind, 16, 512)}
    node = helper.make_node(op, [*three("x"), *three("w"), "y_scale", "y_zero"], ["y"], domain=MICROSOFT)
    for a, b, c in ((0.03, 0.071, 0.09), (0.05, 0.02, 0.12), (0.1, 0.03, 0.06)):
        constants = pair("x", a, 13, kind) | pair("w", b, 100, kind) | pair("y", c, 30, kind)
        same([node], inputs, {"y": kind}, constants)


@pytest.mark.parametrize("kind", KINDS)
def test_averages_and_joins(kind: str) -> None:
    constants = pair("x", 0.03, 13, kind) | pair("w", 0.071, 100, kind) | pair("y", 0.011, 30, kind)
    names = [*three("x"), "y_scale", "y_zero"]
    node = helper.make_node("QLinearGlobalAveragePool", names, ["y"], domain=MICROSOFT, channels_last=0)
    same([node], {"x": integers(1, kind, 2, 16, 7, 7)}, {"y": kind}, constants)
    names = ["y_scale", "y_zero", *three("x"), *three("w")]
    node = helper.make_node("QLinearConcat", names, ["y"], domain=MICROSOFT, axis=1)
    same([node], {"x": integers(1, kind, 2, 3, 7), "w": integers(2, kind, 2, 4, 7)}, {"y": kind}, constants)


def test_integer_products_are_exact() -> None:
    """700 terms of 255 x 255 go beyond what float32 adds exactly."""
    constants = {"w": integers(1, "uint8", 700, 30), "x_zero": np.array(3, np.uint8), "w_zero": np.array(0, np.uint8)}
    node = helper.make_node("MatMulInteger", ["x", "w", "x_zero", "w_zero"], ["y"])
    same([node], {"x": integers(2, "uint8", 5, 700) | np.uint8(128)}, {"y": "int32"}, constants)
    node = helper.make_node("ConvInteger", ["x", "w", "x_zero"], ["y"], pads=[0, 0, 0, 0])
    constants = {"w": integers(1, "int8", 6, 4, 3, 3), "x_zero": np.array(120, np.uint8)}
    same([node], {"x": integers(2, "uint8", 1, 4, 8, 8)}, {"y": "int32"}, constants)


def test_dynamic_quantization() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    x = np.random.default_rng(0).standard_normal((4, 70), dtype=np.float32)
    same(nodes, {"x": x}, {"y": "float32"}, {"w": integers(1, "int8", 70, 30)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_qoperators(kind: str) -> None:
    """Quantize, convolve, pool, add, average, reshape, multiply, dequantize; the integers never leave int8."""
    constants: Arrays = {"w": integers(1, "int8", 8, 3, 3, 3), "v": integers(2, "int8", 8, 8, 1, 1)}
    constants |= {"b": integers(3, "int16", 8).astype(np.int32), "fc": integers(4, "int8", 8, 5)}
    constants |= {"shape": np.array([2, 8])}
    for name, scale in (("x", 0.02), ("c", 0.05), ("d", 0.07), ("s", 0.06), ("a", 0.02), ("y", 0.1)):
        constants |= pair(name, scale, 110, kind)
    constants |= pair("w", 0.004, 128, "int8") | pair("v", 0.006, 128, "int8") | pair("fc", 0.01, 128, "int8")
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "x_scale", "x_zero"], ["x"]),
        helper.make_node(
            "QLinearConv", [*three("x"), *three("w"), "c_scale", "c_zero", "b"], ["c0"], pads=[1, 1, 1, 1]
        ),
        helper.make_node("MaxPool", ["c0"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("QLinearConv", [*three("c"), *three("v"), "d_scale", "d_zero"], ["d"]),
        helper.make_node("QLinearAdd", [*three("c"), *three("d"), "s_scale", "s_zero"], ["s"], domain=MICROSOFT),
        helper.make_node("QLinearGlobalAveragePool", [*three("s"), "a_scale", "a_zero"], ["a0"], domain=MICROSOFT),
        helper.make_node("Reshape", ["a0", "shape"], ["a"]),
        helper.make_node("QLinearMatMul", [*three("a"), *three("fc"), "y_scale", "y_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "y_scale", "y_zero"], ["y"]),
    ]
    image = np.random.default_rng(5).standard_normal((2, 3, 8, 8), dtype=np.float32)
    graph = same(nodes, {"image": image}, {"y": "float32"}, constants)
    kinds = [n.op for n in graph.nodes if n.op != "transpose"]
    assert kinds == ["quantize", "conv2d", "max_pool2d", "conv2d", "add", "global_avg_pool", "reshape", "linear",
                     "dequantize"]  # fmt: skip


def qdq_model() -> tuple[onnx.ModelProto, Arrays]:
    """Quantize/dequantize pairs around a convolution with ReLU, a sum, an average and a product with float bias."""
    constants: Arrays = {"w": integers(1, "int8", 8, 8, 3, 3), "fc": integers(4, "int8", 5, 8)}
    constants |= {"b": np.linspace(-1, 1, 8, dtype=np.float32), "fcb": np.linspace(-1, 1, 5, dtype=np.float32)}
    for name, scale in (("x", 0.02), ("c", 0.05), ("s", 0.06), ("a", 0.01), ("y", 0.05)):
        constants |= pair(name, scale, 110, "uint8")
    constants |= pair("w", 0.004, 128, "int8") | pair("fc", 0.01, 128, "int8")

    def through(source: str, name: str) -> list[NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [source, f"{name}_scale", f"{name}_zero"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_scale", f"{name}_zero"], [f"{name}_f"]),
        ]

    nodes = [
        *through("image", "x"),
        helper.make_node("DequantizeLinear", three("w"), ["w_f"]),
        helper.make_node("DequantizeLinear", three("fc"), ["fc_f"]),
        helper.make_node("Conv", ["x_f", "w_f", "b"], ["c0"], pads=[1, 1, 1, 1], name="conv1"),
        helper.make_node("Relu", ["c0"], ["c1"]),
        *through("c1", "c"),
        helper.make_node("Add", ["x_f", "c_f"], ["s0"]),
        *through("s0", "s"),
        helper.make_node("GlobalAveragePool", ["s_f"], ["a0"]),
        *through("a0", "a"),
        helper.make_node("Flatten", ["a_f"], ["flat"]),
        *through("flat", "a2"),
        helper.make_node("Gemm", ["a2_f", "fc_f", "fcb"], ["y0"], transB=1, name="fc1"),
        *through("y0", "y"),
    ]
    constants |= pair("a2", 0.01, 110, "uint8")
    image = np.random.default_rng(5).standard_normal((2, 8, 8, 8), dtype=np.float32)
    return model(nodes, {"image": image}, {"y_f": "float32"}, constants), {"image": image}


def test_the_qdq_form_is_read_in_integers() -> None:
    proto, inputs = qdq_model()
    graph, (made,), (wanted,) = both(proto, inputs)
    ops = {n.name: n.op for n in graph.nodes}
    assert (ops["conv1"], ops["fc1"]) == ("conv2d", "linear")
    for name in ("conv1", "fc1"):
        assert graph.tensor(graph.node(name).outputs[0]).dtype == "i8"
    assert graph.node("conv1").attribute("activation", "") == "relu"
    np.testing.assert_allclose(made, wanted, atol=0.05 * 1.01)  # one step of the output


def test_what_a_quantized_model_may_not_do_is_refused() -> None:
    constants = pair("x", 0.1, 128, "uint8") | {"w": integers(1, "int8", 4, 4)} | pair("w", 0.1, 128, "int8")
    constants |= pair("y", 0.1, 128, "uint8") | {"other": np.array(0.2, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["f", "x_scale", "x_zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["x", "other", "x_zero"], ["y"], name="culprit"),
    ]
    f = np.ones((2, 4), np.float32)
    with pytest.raises(NotSupported, match="culprit: OC1351 DequantizeLinear: reads a tensor with another scale"):
        read_model(model(nodes, {"f": f}, {"y": "float32"}, constants))
    node = helper.make_node("QLinearMatMul", [*three("x"), *three("w"), "y_scale", "y_zero"], ["y"], name="culprit")
    inputs = {"x": integers(1, "uint8", 2, 4), "y_scale": np.array(0.1, np.float32)}
    with pytest.raises(NotSupported, match="culprit: OC1351 QLinearMatMul: a scale or zero point that is computed"):
        read_model(model([node], inputs, {"y": "uint8"}, {n: a for n, a in constants.items() if n != "y_scale"}))


FUSED: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    ("Gelu", {}, []), ("BiasGelu", {}, [(16,)]), ("FastGelu", {}, [(16,)]), ("QuickGelu", {}, []),
    ("FusedMatMul", {"alpha": 0.5, "transB": 1}, [(2, 7, 16)]), ("FusedMatMul", {"transA": 1}, [(2, 6, 5)]),
    ("SkipLayerNormalization", {}, [(2, 6, 16), (16,), (16,), (16,)]),
    ("SkipSimplifiedLayerNormalization", {}, [(2, 6, 16), (16,)]),
    ("Attention", {"num_heads": 4}, [(16, 48), (48,)]),
    ("Attention", {"num_heads": 2, "unidirectional": 1}, [(16, 48), (48,)]),
    ("MultiHeadAttention", {"num_heads": 4}, [(2, 5, 16), (2, 5, 16), (48,)]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "attributes", "shapes"), FUSED)
def test_fused_operators_of_onnx_runtime(op: str, attributes: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    constants: Arrays = {f"c{i}": rng.standard_normal(s, dtype=np.float32) for i, s in enumerate(shapes)}
    node = helper.make_node(op, ["x", *constants], ["y"], domain=MICROSOFT, **attributes)
    x = rng.standard_normal((2, 6, 16), dtype=np.float32)
    _, (made,), (wanted,) = both(model([node], {"x": x}, {"y": "float32"}, constants), {"x": x})
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("activation", "values"), [("Relu", []), ("LeakyRelu", [0.1]), ("Clip", [-0.5, 0.5])])
def test_fused_convolution(activation: str, values: list[float]) -> None:
    rng = np.random.default_rng(0)
    constants: Arrays = {"w": rng.standard_normal((6, 4, 3, 3), dtype=np.float32), "b": rng.random(6, np.float32)}
    more: dict[str, Any] = {"activation_params": values} if values else {}
    node = helper.make_node("FusedConv", ["x", "w", "b"], ["y"], domain=MICROSOFT, activation=activation, **more)
    x = rng.standard_normal((2, 4, 9, 8), dtype=np.float32)
    _, (made,), (wanted,) = both(model([node], {"x": x}, {"y": "float32"}, constants), {"x": x})
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=2e-5)
