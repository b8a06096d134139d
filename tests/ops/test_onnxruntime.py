"""Integer references in mode fp32 against ONNX Runtime's QLinearConv and QLinearMatMul: equal, bit for bit."""

# pyright: basic

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onchip.ops.registry import OPS
from onchip.ops.types import Attributes, Quantization

Q = Quantization


def session(node: onnx.NodeProto, x: np.ndarray, constants: dict[str, np.ndarray], element: int) -> np.ndarray:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", element, x.shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(run.run(None, {"x": x})[0])


def test_the_witness_does_not_saturate() -> None:
    """u8s8 products saturate at int16 on CPUs without VNNI; s8s8 is what the tests below use, so check it is exact."""
    x, w = np.full((1, 64), -128, np.int8), np.full((64, 1), -127, np.int8)
    assert saturates(x, w) is False


def saturates(x: np.ndarray, w: np.ndarray) -> bool:
    one, zero = np.float32(1.0), np.int8(0)
    big = np.float32(x.shape[1] * 128.0)
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    values = dict(zip(names[1:], [one, zero, w, one, zero, big, zero], strict=True))
    y = session(helper.make_node("QLinearMatMul", names, ["y"]), x, {k: np.asarray(v) for k, v in values.items()}, 3)
    return int(y.ravel()[0]) != round(float((x.astype(int) @ w.astype(int)).ravel()[0]) / float(big))


@pytest.mark.parametrize("seed", range(10))
def test_conv2d(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = (1, 1, 2, 4)[seed % 4]
    c, k, r, s = 4 * int(rng.integers(1, 5)), 4 * int(rng.integers(1, 5)), int(rng.integers(1, 4)), 3
    stride, dilation = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    x = rng.integers(-128, 128, (2, c, 11, 12)).astype(np.int8)
    w = rng.integers(-127, 128, (k, c // groups, r, s)).astype(np.int8)
    b = rng.integers(-4000, 4000, k).astype(np.int32)
    sx, sy, zx, zy = np.float32(rng.uniform(0.01, 0.1)), np.float32(rng.uniform(0.2, 0.9)), -7, 12
    sw = rng.uniform(0.001, 0.05, k).astype(np.float32)
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    values = [sx, np.int8(zx), w, sw, np.zeros(k, np.int8), sy, np.int8(zy), b]
    pads = [1, 2, 0, 1]
    node = helper.make_node(
        "QLinearConv", names, ["y"], group=groups, strides=[stride] * 2, dilations=[dilation] * 2, pads=pads
    )
    want = session(node, x, {n: np.asarray(v) for n, v in zip(names[1:], values, strict=True)}, TensorProto.INT8)
    attributes = {
        "stride": (stride, stride),
        "padding": (pads[0], pads[2], pads[1], pads[3]),
        "dilation": (dilation, dilation),
        "groups": groups,
        "activation": "none",
        "rounding": "fp32",
    }
    given = (Q((float(sx),), (zx,)), Q(tuple(map(float, sw)), (0,) * k, 0), None)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.ascontiguousarray(w.transpose(0, 2, 3, 1))
    integer = OPS["conv2d"].integer
    assert integer is not None
    (got,) = integer(Attributes(attributes), given, (Q((float(sy),), (zy,)),), *nhwc, b)
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), want)


@pytest.mark.parametrize("k", [1, 7, 300, 2500])
def test_matmul(k: int) -> None:
    rng = np.random.default_rng(k)
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((3, 9, k), (3, k, 17)))
    sa, sb = (np.float32(v) for v in rng.uniform(0.01, 0.05, 2))
    sy, za, zb, zy = np.float32(sa * sb * k**0.5 * 40), 11, -5, 3
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    values = [sa, np.int8(za), b, sb, np.int8(zb), sy, np.int8(zy)]
    node = helper.make_node("QLinearMatMul", names, ["y"])
    want = session(node, a, {n: np.asarray(v) for n, v in zip(names[1:], values, strict=True)}, TensorProto.INT8)
    given = (Q((float(sa),), (za,)), Q((float(sb),), (zb,)))
    integer = OPS["matmul"].integer
    assert integer is not None
    for is_transposed in (False, True):
        right = np.ascontiguousarray(b.swapaxes(1, 2)) if is_transposed else b
        attributes = Attributes({"transpose_b": is_transposed, "rounding": "fp32"})
        (got,) = integer(attributes, given, (Q((float(sy),), (zy,)),), a, right)
        np.testing.assert_array_equal(got, want)
