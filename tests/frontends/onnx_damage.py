"""ONNX models damaged on purpose, field by field: what the reader has to survive.

In:       a seed number. Out: the bytes of a model with one to three fields changed to what no exporter writes, now and
          then with flipped bytes or a cut; the same bytes for the same number.
Promises: every field that the reader looks at has a way to be damaged: dimensions, element types, stored bytes, links,
          attributes, names, domains, opsets, bodies, functions, weights in other files.
Run:      `python -m tests.frontends.onnx_damage FIRST COUNT FOLDER` reads so many in a process with limits of time and
          memory, prints the number before each, and at the end the most memory that it held.
"""

# pyright: basic

from __future__ import annotations

import functools
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from onchip.errors import OnchipError
from onchip.frontends.onnx import read_onnx
from onchip.passes.fold import fold

SECONDS, BYTES = 10, 2 << 30
EXTREME = (-(2**63), -(2**31), -3, -1, 0, 1, 2, 7, 1000, 10**6, 2**31, 2**40, 2**62)
Random = np.random.Generator


# --- models ---------------------------------------------------------------------------------------------------------
def _value(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _model(nodes, inputs, outputs, constants, opset=17) -> ModelProto:
    domains = {"": opset} | {n.domain: 1 for n in nodes if n.domain}
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "seed", given, made, stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid(*d) for d in domains.items()], ir_version=8)
    return onnx.shape_inference.infer_shapes(proto)


def _image() -> ModelProto:
    constants = {"w": _value(1, 6, 4, 3, 3), "s": _value(2, 6), "b": _value(3, 6), "m": _value(4, 6)}
    constants |= {"v": np.abs(_value(5, 6)) + 0.5, "fc": _value(6, 5, 6), "axes": np.array([2, 3])}
    constants |= {"sizes": np.array([1, 6, 10, 8])}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2], name="conv1"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Clip", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
        helper.make_node("Resize", ["p", "", "", "sizes"], ["z"], mode="nearest"),
        helper.make_node("ReduceMean", ["z", "axes"], ["a"], keepdims=0),
        helper.make_node("Gemm", ["a", "fc"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"], axis=-1),
    ]
    return _model(nodes, {"x": (1, 4, 9, 8)}, ["y"], constants, 18)


def _sequence() -> ModelProto:
    """Attention over a symbolic batch with the shape arithmetic that exporters write, behind an LSTM."""
    constants = {"w": _value(1, 1, 32, 3), "r": _value(2, 1, 32, 8), "b": _value(3, 1, 64), "q": _value(4, 8, 8)}
    constants |= {"one": np.array([1]), "tail": np.array([2, 4]), "axis": np.array([1]), "scale": np.float32(0.5)}
    constants |= {"g": _value(5, 8), "h": _value(6, 8)}
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b"], ["seq", "", "last"], hidden_size=8),
        helper.make_node("Squeeze", ["seq", "axis"], ["s"]),
        helper.make_node("LayerNormalization", ["s", "g", "h"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "q"], ["p"]),
        helper.make_node("Shape", ["p"], ["dims"]),
        helper.make_node("Slice", ["dims", "zero", "two"], ["lead"]),
        helper.make_node("Concat", ["lead", "tail"], ["heads"], axis=0),
        helper.make_node("Reshape", ["p", "heads"], ["k"]),
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["k"], ["u"], perm=[0, 2, 1, 3]),
        helper.make_node("MatMul", ["u", "t"], ["m"]),
        helper.make_node("Mul", ["m", "scale"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=-1),
    ]
    constants |= {"zero": np.array([0]), "two": np.array([2])}
    return _model(nodes, {"x": (4, "N", 3)}, ["y", "last"], constants)


def _quantized() -> ModelProto:
    """A convolution as QLinearConv, and one in pairs of QuantizeLinear and DequantizeLinear."""
    random = np.random.default_rng(5)
    constants = {"s": np.float32(0.05), "z": np.uint8(120), "ws": np.float32(0.02), "wz": np.int8(0)}
    constants |= {"w": random.integers(-99, 99, (4, 4, 3, 3)).astype(np.int8), "b": np.arange(4, dtype=np.int32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["i"]),
        helper.make_node("QLinearConv", ["i", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["f"]),
        helper.make_node("Conv", ["d", "f"], ["e"]),
        helper.make_node("Relu", ["e"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["o"]),
        helper.make_node("DequantizeLinear", ["o", "s", "z"], ["y"]),
    ]
    return _model(nodes, {"x": (1, 4, 6, 6)}, ["y"], constants)


def _body(nodes, inputs, outputs):
    def info(names):
        kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "again": TensorProto.BOOL}
        return [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in names]

    return helper.make_graph(nodes, "body", info(inputs), info(outputs))


def _control() -> ModelProto:
    """A loop, a branch and a scan, all on known conditions, and a local function."""
    step = [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Mul", ["s", "f"], ["t"])]
    loop = _body([*step, helper.make_node("Add", ["t", "x"], ["row"])], ["i", "go", "s"], ["again", "t", "row"])
    then, other = (_body([helper.make_node(op, ["z"], ["o"])], [], ["o"]) for op in ("Relu", "Neg"))
    scan = _body([helper.make_node("Add", ["a", "v"], ["c"]), helper.make_node("Identity", ["c"], ["e"])],
                 ["a", "v"], ["c", "e"])  # fmt: skip
    nodes = [
        helper.make_node("Loop", ["n", "yes", "x"], ["l", "rows"], body=loop),
        helper.make_node("Add", ["l", "x"], ["z"]),
        helper.make_node("If", ["yes"], ["o2"], then_branch=then, else_branch=other),
        helper.make_node("Scan", ["f4", "o2"], ["q", "y"], body=scan, num_scan_inputs=1),
        helper.make_node("Twice", ["y"], ["y2"], domain="own"),
    ]
    constants = {"n": np.array(3), "yes": np.array(True), "f": _value(1, 3, 4), "f4": _value(2, 4)}
    proto = _model(nodes, {"x": (3, 4)}, ["y2", "q", "rows"], constants)
    calls = [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("Tanh", ["b"], ["c"])]
    proto.functions.append(helper.make_function("own", "Twice", ["a"], ["c"], calls, [helper.make_opsetid("", 17)]))
    return proto


@functools.cache
def seeds() -> tuple[ModelProto, ...]:
    """Four models that are read as they are, and node tests of the standard, twenty of each hundred."""
    from tests.frontends.node_cases import cases

    own = (_image(), _sequence(), _quantized(), _control())
    return own + tuple(case.model for case in cases()[::5] if case.model is not None)


# --- damage ---------------------------------------------------------------------------------------------------------
def _one(random: Random, items) -> Any:
    """Choose an item; None where there is none."""
    return items[int(random.integers(len(items)))] if len(items) else None


def _graphs(graph):
    """A graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            if a.type == AttributeProto.GRAPH:
                yield from _graphs(a.g)


def _nodes(proto: ModelProto) -> list[NodeProto]:
    return [n for g in _graphs(proto.graph) for n in g.node] + [n for f in proto.functions for n in f.node]


def _tensors(proto: ModelProto) -> list[TensorProto]:
    own = [t for g in _graphs(proto.graph) for t in g.initializer]
    return own + [a.t for n in _nodes(proto) for a in n.attribute if a.HasField("t")]


def _names(proto: ModelProto) -> list[str]:
    made = [o for n in _nodes(proto) for o in n.output]
    return ["", *made, *(t.name for t in proto.graph.initializer), *(i.name for i in proto.graph.input), "nobody"]


def dimension_of_an_input(proto, random):
    info = _one(random, [*proto.graph.input, *proto.graph.value_info, *proto.graph.output])
    dims = info.type.tensor_type.shape.dim if info is not None else []
    kind = random.integers(5)
    if kind == 0 and info is not None:
        for _ in range(int(_one(random, (1, 3, 70, 5000)))):
            info.type.tensor_type.shape.dim.add().dim_value = int(_one(random, (1, 2, 2**40)))
    elif kind == 1 and len(dims):
        dims[0].dim_param = _one(random, ("N", "a b", "2", "batch", "-1", "é\n", "x" * 10**6))
    elif kind == 2 and len(dims):
        _one(random, dims).Clear()
    elif kind == 3 and info is not None:
        info.type.tensor_type.ClearField("shape")
    elif len(dims):
        _one(random, dims).dim_value = int(_one(random, EXTREME))


def dimension_of_a_tensor(proto, random):
    tensor = _one(random, _tensors(proto))
    if tensor is not None:
        tensor.dims[int(random.integers(len(tensor.dims) + 1)) :] = [int(_one(random, EXTREME))] * int(
            _one(random, (1, 1, 2, 60))
        )


def bytes_of_a_tensor(proto, random):
    tensor = _one(random, _tensors(proto))
    if tensor is None:
        return
    data, kind = tensor.raw_data, random.integers(5)
    if kind == 0:
        tensor.raw_data = data[: int(random.integers(len(data) + 1))]
    elif kind == 1:
        tensor.raw_data = data + bytes(int(_one(random, (1, 4, 10**5))))
    elif kind == 2:
        tensor.ClearField("raw_data")
    elif kind == 3:
        tensor.float_data.extend([0.0] * 3)
        tensor.int64_data.extend([int(_one(random, EXTREME))])
    else:
        pattern = _one(random, (b"\xff", b"\x7f", b"\x80", b"\x00\x00\x80\x7f", b"\x00\x00\xc0\x7f"))
        tensor.raw_data = (pattern * (len(data) // len(pattern) + 1))[: len(data)]


def element_type(proto, random):
    kind = int(_one(random, (0, 99, -1, 2**31 - 1, *range(1, 27))))
    tensor, info = _one(random, _tensors(proto)), _one(random, [*proto.graph.input, *proto.graph.output])
    if tensor is not None and random.random() < 0.6:
        tensor.data_type = kind
    elif info is not None:
        info.type.tensor_type.elem_type = kind


def kind_of_an_input(proto, random):
    info = _one(random, proto.graph.input)
    if info is None:
        return
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
    kinds = (helper.make_sequence_type_proto(element), helper.make_optional_type_proto(element), onnx.TypeProto())
    info.type.CopyFrom(_one(random, kinds))


def missing_tensor(proto, random):
    if len(proto.graph.initializer):
        del proto.graph.initializer[int(random.integers(len(proto.graph.initializer)))]


def link(proto, random):
    """What a node reads or makes: another value, nothing, one too many; cycles are among them."""
    node = _one(random, _nodes(proto))
    if node is None:
        return
    names = node.input if random.random() < 0.75 else node.output
    kind = random.integers(4)
    if kind == 0:
        names.append(_one(random, _names(proto)))
    elif kind == 1 and len(names):
        names.pop()
    elif kind == 2 and len(node.output) and len(node.input):
        node.input[int(random.integers(len(node.input)))] = node.output[0]
    elif len(names):
        names[int(random.integers(len(names)))] = _one(random, _names(proto))


def order_of_nodes(proto, random):
    graph = _one(random, list(_graphs(proto.graph)))
    nodes, kind = list(graph.node), random.integers(4)
    if not nodes:
        return
    place = int(random.integers(len(nodes)))
    if kind == 0:
        nodes.pop(place)
    elif kind == 1:
        nodes.append(nodes[place])
    elif kind == 2:
        nodes.reverse()
    else:
        nodes = []
    del graph.node[:]
    graph.node.extend(nodes)


@functools.cache
def _operators() -> tuple[str, ...]:
    return tuple(sorted({s.name for s in defs.get_all_schemas()}))


def operator(proto, random):
    node = _one(random, _nodes(proto))
    if node is not None:
        node.op_type = _one(random, (*_operators(), "", "Nothing", "Conv\n", "x" * 10**6))


def domain(proto, random):
    node = _one(random, _nodes(proto))
    if node is not None:
        node.domain = _one(random, ("own", "com.microsoft", "ai.onnx.ml", "ai.onnx", "a" * 10**5, "\n"))
        node.op_type = _one(random, (node.op_type, "EPContext", "FusedConv", "Attention", "QGemm", "Scaler"))
        if random.random() < 0.7:
            proto.opset_import.append(helper.make_opsetid(node.domain, int(_one(random, (0, 1, 99)))))


def attribute(proto, random):
    """An attribute's type, name or value; one twice; one that refers to nothing."""
    node = _one(random, [n for n in _nodes(proto) if n.attribute])
    if node is None:
        return
    a, kind = _one(random, node.attribute), random.integers(9)
    extreme = int(_one(random, EXTREME))
    if kind == 0:
        a.type = int(_one(random, (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14)))
    elif kind == 1:
        a.name = _one(random, ("", "axis", "kernel_shape", "nothing", "to", "body", "x" * 10**5))
    elif kind == 2:
        node.attribute.add().CopyFrom(a)
    elif kind == 3:
        a.ref_attr_name = _one(random, ("nobody", a.name))
    elif kind == 4:
        a.s = _one(random, (b"\xff\xfe", b"NOTSET", b"", b"SAME_UPPER", b"x" * 10**6))
    elif kind == 5:
        a.f = float(_one(random, (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38)))
    elif kind == 6:
        a.ints[:] = [extreme] * int(_one(random, (0, 1, 2, 4, 10**4)))
    elif kind == 7:
        node.attribute.remove(a)
    else:
        a.i = extreme
        a.ints[:] = [*a.ints[: int(random.integers(3))], extreme]


def twice(proto, random):
    """The same name for two things."""
    kind, graph = random.integers(4), proto.graph
    if kind == 0 and len(graph.initializer):
        graph.initializer.add().CopyFrom(_one(random, graph.initializer))
    elif kind == 1 and len(graph.input):
        graph.input.add().CopyFrom(_one(random, graph.input))
    elif kind == 2 and len(graph.output):
        graph.output.add().CopyFrom(_one(random, [*graph.output, *graph.input]))
    else:
        for node in graph.node:
            node.name = "same"


def outputs(proto, random):
    kind = random.integers(3)
    if kind == 0:
        del proto.graph.output[:]
    elif len(proto.graph.output):
        _one(random, proto.graph.output).name = _one(random, _names(proto))


def text(proto, random):
    long = _one(random, ("x" * 10**6, "é\n\0", "[" * 10**5, "\x1b[31m", "['" + "a" * 10**5 + "']", "-" * 10**5 + "1"))
    node = _one(random, _nodes(proto))
    kind = random.integers(4)
    if kind == 0 and node is not None:
        node.name = long
    elif kind == 1:
        proto.graph.name = proto.producer_name = long
    elif node is not None:
        for key in ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"):
            node.metadata_props.add(key=key, value=long)


def version(proto, random):
    kind, number = random.integers(4), int(_one(random, (0, 1, 6, 7, 13, 29, 99, -1, 2**62)))
    if kind == 0:
        del proto.opset_import[:]
    elif kind == 1:
        proto.opset_import.append(helper.make_opsetid("", number))
    elif kind == 2:
        proto.ir_version = number
    elif len(proto.opset_import):
        proto.opset_import[0].version = number


def outside(proto, random):
    tensor = _one(random, _tensors(proto))
    if tensor is None:
        return
    tensor.data_location = TensorProto.EXTERNAL
    if random.random() < 0.5:
        tensor.ClearField("raw_data")
    places = ("../secret", "/etc/passwd", "/dev/zero", "", ".", "\0", "a" * 5000, "weights.bin", "sub/../../x", "~")
    tensor.external_data.add(key="location", value=_one(random, places))
    for key in ("offset", "length"):
        if random.random() < 0.5:
            tensor.external_data.add(key=key, value=_one(random, ("-1", "x", "0", str(2**62), "1e9", "9" * 5000)))


def nesting(proto, random):
    """Bodies in bodies, to almost 100 messages, which protobuf reads at most."""
    depth, kind = int(_one(random, (2, 5, 10, 20, 30))), random.integers(2)
    graph = _body([helper.make_node("Identity", ["seed_flag"], ["o"])], [], ["o"])
    for _ in range(depth):
        if kind == 0:
            other = graph if depth < 6 else _body([], [], [])
            node = helper.make_node("If", ["seed_flag"], ["o"], then_branch=graph, else_branch=other)
        else:
            node = helper.make_node("Loop", ["seed_count", "seed_flag"], ["o"], body=graph)
        graph = _body([node], [], ["o"])
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "seed_flag"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(1), "seed_count"))
    proto.graph.node.add().CopyFrom(graph.node[0])
    proto.graph.node[-1].output[0] = "nested"
    proto.graph.output.append(helper.make_tensor_value_info("nested", TensorProto.FLOAT, None))


def functions(proto, random):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    n = int(_one(random, (1, 3, 30)))
    for i in range(n):
        following = _one(random, (f"F{(i + 1) % n}", f"F{i + 1}", "Relu"))
        its = "" if following == "Relu" else "own"
        calls = [helper.make_node(following, [a], [b], domain=its) for a, b in ("ab", "bc")]
        proto.functions.append(helper.make_function("own", f"F{i}", ["a"], ["c"], calls, imports))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    if len(proto.graph.output):
        proto.graph.node.append(helper.make_node("F0", [proto.graph.output[0].name], ["called"], domain="own"))
        proto.graph.output.append(helper.make_tensor_value_info("called", TensorProto.FLOAT, None))


DAMAGE: tuple[Callable[[ModelProto, Random], None], ...] = (
    dimension_of_an_input, dimension_of_a_tensor, bytes_of_a_tensor, element_type, kind_of_an_input, missing_tensor,
    link, link, order_of_nodes, operator, domain, attribute, attribute, attribute, twice, outputs, text, version,
    outside, nesting, functions,
)  # fmt: skip


def damaged(number: int, models: tuple[ModelProto, ...]) -> bytes:
    """Give the bytes of damaged model `number`."""
    random = np.random.default_rng(number)
    proto = ModelProto()
    proto.CopyFrom(models[number % 4] if number % 3 else models[int(random.integers(len(models)))])
    for _ in range(int(_one(random, (1, 1, 1, 2, 3)))):
        _one(random, DAMAGE)(proto, random)
    data = bytearray(proto.SerializeToString())
    if random.random() < 0.15:
        for place in random.integers(0, len(data), int(random.integers(1, 4))):
            data[place] ^= 1 << int(random.integers(8))
    if random.random() < 0.05:
        del data[int(random.integers(len(data))) :]
    return bytes(data)


def is_read(number: int, models: tuple[ModelProto, ...], folder: Path) -> bool:
    """Read damaged model `number`: True for a Graph that folds, False for an OnchipError on one line, or it raises."""
    file = folder / "damaged.onnx"
    file.write_bytes(damaged(number, models))
    start = time.process_time()
    try:
        fold(read_onnx(file))
    except OnchipError as error:
        message = str(error)
        assert "\n" not in message and len(message) < 2000 and message.isprintable(), message[:300]
        return False
    finally:
        seconds = time.process_time() - start
        assert seconds < SECONDS, f"{seconds:.1f} s"
    return True


def main(first: int, count: int, folder: Path) -> None:
    """Read `count` models in this process, which ends where one takes too long or too much."""
    warnings.simplefilter("error")
    models = seeds()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + BYTES, resource.RLIM_INFINITY))
    n_read = 0
    for number in range(first, first + count):
        print(number, flush=True)
        signal.alarm(6 * SECONDS)
        n_read += is_read(number, models, folder)
    signal.alarm(0)
    print("done", n_read, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
