"""ONNX files of a thousand nodes, as exporters write large networks.

In:       a file name. Out: the file: a chain of residual convolution blocks with about 50 MB of weights, or of
          transformer blocks with their shape arithmetic, whose weights are small.
Promises: exactly 1,000 nodes; no two layers share their weights; every layer has a name of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

N_NODES = 1000
Arrays = dict[str, NDArray[Any]]


def _save(path: Path, nodes: list[NodeProto], constants: Arrays, inputs: dict[str, list[int | str]], last: str) -> None:
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()]
    made = [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "thousand", given, made, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def convolutions(path: Path) -> None:
    """Write residual blocks (two convolutions, two ReLUs, an addition), their widths 32 to 256 as images shrink."""
    random, constants, nodes = np.random.default_rng(0), Arrays(), list[NodeProto]()
    x, width, block = "x", 8, 0

    def convolve(name: str, source: str, c: int, k: int, window: int, stride: int) -> str:
        constants[f"{name}.weight"] = random.standard_normal((k, c, window, window), np.float32) * np.float32(0.05)
        constants[f"{name}.bias"] = np.zeros(k, np.float32)
        pad = [window // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}.weight", f"{name}.bias"], [name], name=name, pads=pad, strides=[stride] * 2
            )
        )
        return name

    def add(op: str, name: str, *inputs: str) -> str:
        nodes.append(helper.make_node(op, list(inputs), [name], name=name))
        return name

    while len(nodes) < N_NODES - 7:
        wanted = (32, 64, 128, 256)[min(3, block // 50)]
        if wanted != width:
            x, width = convolve(f"stage{wanted}", x, width, wanted, 3, 2), wanted
        name = f"block{block}"
        y = add("Relu", f"{name}.relu1", convolve(f"{name}.conv1", x, width, width // 4, 1, 1))
        y = convolve(f"{name}.conv2", y, width // 4, width, 3, 1)
        x = add("Relu", f"{name}.relu2", add("Add", f"{name}.add", y, x))
        block += 1
    while len(nodes) < N_NODES:
        x = add("Relu", f"tail{len(nodes)}", x)
    _save(path, nodes, constants, {"x": [1, 8, 64, 64]}, x)


def transformer(path: Path) -> None:
    """Write transformer blocks of 25 nodes as exporters do: Shape, Gather, Concat, Reshape around each attention."""
    random, nodes, d = np.random.default_rng(0), list[NodeProto](), 64
    constants: Arrays = {
        "i0": np.array(0),
        "i1": np.array(1),
        "first": np.array([0]),
        "scale": np.array(0.25, np.float32),
    }
    constants |= {"heads": np.array([4]), "each": np.array([16]), "all": np.array([64])}

    def add(op: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def weight(name: str, *shape: int) -> str:
        constants[name] = random.standard_normal(shape, np.float32) * np.float32(0.1)
        return name

    x, block = "x", 0
    while len(nodes) + 30 <= N_NODES:
        b = f"block{block}"
        norm = add("LayerNormalization", f"{b}.norm", x, weight(f"{b}.g", d), weight(f"{b}.h", d), axis=-1)
        dims = add("Shape", f"{b}.shape", x)
        sizes = [
            add("Unsqueeze", f"{b}.u{i}", add("Gather", f"{b}.size{i}", dims, f"i{i}", axis=0), "first") for i in (0, 1)
        ]
        split = add("Concat", f"{b}.split", *sizes, "heads", "each", axis=0)
        q, k, v = (
            add("Transpose", f"{b}.{n}.t", add("Reshape", f"{b}.{n}.r", made, split), perm=turn)
            for n, turn in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))
            for made in (add("MatMul", f"{b}.{n}", norm, weight(f"{b}.{n}.w", d, d)),)
        )
        scores = add("Softmax", f"{b}.p", add("Mul", f"{b}.s", add("MatMul", f"{b}.qk", q, k), "scale"), axis=-1)
        back = add("Transpose", f"{b}.back", add("MatMul", f"{b}.pv", scores, v), perm=[0, 2, 1, 3])
        joined = add("Reshape", f"{b}.join", back, add("Concat", f"{b}.joined", *sizes, "all", axis=0))
        x = add("Add", f"{b}.add1", x, add("MatMul", f"{b}.o", joined, weight(f"{b}.o.w", d, d)))
        hidden = add("Relu", f"{b}.relu", add("MatMul", f"{b}.up", x, weight(f"{b}.up.w", d, 2 * d)))
        x = add("Add", f"{b}.add2", x, add("MatMul", f"{b}.down", hidden, weight(f"{b}.down.w", 2 * d, d)))
        block += 1
    while len(nodes) < N_NODES:
        x = add("Relu", f"tail{len(nodes)}", x)
    _save(path, nodes, constants, {"x": ["batch", "sequence", d]}, x)
