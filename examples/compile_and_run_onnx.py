"""Make a small ONNX file, compile it for an NPU with int8 arithmetic, run it, and compare with both references.

Run: python examples/compile_and_run_onnx.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import onchip as oc


def write_model(path: Path) -> None:
    """Write conv, relu, average over the image, linear; ONNX keeps channels in front."""
    random = np.random.default_rng(0)
    values = {
        "w": random.normal(0, 0.2, (16, 3, 3, 3)),
        "b": random.normal(0, 0.1, 16),
        "v": random.normal(0, 0.3, (16, 10)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["conv"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"], name="mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "v"], ["scores"], name="scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        write_model(path)
        graph = oc.read(str(path))
    random = np.random.default_rng(1)
    images: list[dict[str, NDArray[np.float32]]] = []
    for _ in range(8):
        images.append({graph.inputs[0]: random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)})

    seen: dict[str, oc.Graph] = {}  # compile shows every noun on its way; "graph" is the int8 network
    program = oc.compile(graph, "edge-npu-16", samples=images, watch=seen.__setitem__)
    trace = oc.simulate(program, images[0])
    name = graph.outputs[0]
    exact = oc.evaluate(seen["graph"], images[0])[name]
    real = oc.evaluate(graph, images[0])[name]
    chip = trace.outputs[name]  # pyright: ignore[reportAttributeAccessIssue]
    assert np.array_equal(chip, exact), "the program and the integer reference differ"

    print(oc.report(trace).verdict)
    print(f"{len(program.kernels)} kernels, {trace.cycles} cycles; the same bits as the integer reference")
    print(f"int8 against float: largest difference {np.abs(chip - real).max():.3f} of {np.abs(real).max():.3f}")


if __name__ == "__main__":
    main()
