"""ONNX files that are broken, hostile or not ours: always one line, always an OnchipError, never anything else.

In:       good small models, cut, flipped and edited; and models that claim, hide or unfold what they should not.
Promises: nothing but OnchipError leaves the reader, whatever the bytes; a deadline ends what would hang.
          Memory is taken only after the size has been checked.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onchip.errors import BadFile, NotSupported, OnchipError
from onchip.frontends.onnx import LIMIT_BYTES, read_model, read_onnx
from onchip.frontends.onnx.computed import BUDGET
from onchip.frontends.read import read
from onchip.passes.fold import fold
from tests.frontends.onnx_models import IMAGE, Arrays, model, value

DEADLINE_S = 20


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Turn a hang into a failure, where the system has an alarm."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_signal: int, _frame: Any) -> None:
        raise TimeoutError(f"still busy after {DEADLINE_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(file: Path) -> str:
    """Read, and give the message of the refusal; "" where it is read (it may be by chance), and folds."""
    try:
        fold(read_onnx(file))
    except OnchipError as error:
        text = str(error)
        assert "\n" not in text and len(text) < 700, text
        return text
    return ""


def _network() -> onnx.ModelProto:
    constants: Arrays = {"w": value(1, 6, 4, 3, 3), "s": value(2, 6), "b": value(3, 6), "m": value(4, 6)}
    constants |= {"v": np.abs(value(5, 6)) + np.float32(0.5), "fc": value(6, 5, 6), "axes": np.array([2, 3])}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2], name="conv1"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        helper.make_node("Clip", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
        helper.make_node("ReduceMean", ["p", "axes"], ["a"], keepdims=0),
        helper.make_node("Gemm", ["a", "fc"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"], axis=-1),
    ]
    return model(nodes, IMAGE, ["y"], constants=constants, opset=18)


def _recurrent() -> onnx.ModelProto:
    constants: Arrays = {"w": value(1, 1, 20, 3), "r": value(2, 1, 20, 5), "b": value(3, 1, 40)}
    constants |= {"rest": np.array([0, -1]), "last": np.array(-1)}
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r", "b"], ["h", "", "c"], hidden_size=5),
        helper.make_node("Gather", ["h", "last"], ["one"], axis=0),
        helper.make_node("Reshape", ["c", "rest"], ["flat"]),
        helper.make_node("Concat", ["flat", "flat"], ["z"], axis=-1),
    ]
    return model(nodes, {"x": (4, 2, 3)}, ["one", "z"], constants=constants)


MODELS = {
    "network": _network(),
    "recurrent": _recurrent(),
    "relu": model([helper.make_node("Relu", ["x"], ["y"])], IMAGE, ["y"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_cut_at_every_twentieth(name: str, tmp_path: Path) -> None:
    data = MODELS[name].SerializeToString()
    assert refusal(write(tmp_path / "whole.onnx", data)) == ""
    cuts = [refusal(write(tmp_path / "cut.onnx", data[: len(data) * i // 20])) for i in range(20)]
    assert all("OC125" in text for text in cuts), cuts


@pytest.mark.parametrize("name", MODELS)
def test_flipped_bytes(name: str, tmp_path: Path) -> None:
    """Three hundred files with one to four bytes changed; some are read by chance, and then they fold."""
    data, random = MODELS[name].SerializeToString(), np.random.default_rng(7)
    n_refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(0, len(data), int(random.integers(1, 5))):
            changed[place] = int(random.integers(0, 256))
        n_refused += bool(refusal(write(tmp_path / "flipped.onnx", bytes(changed))))
    assert n_refused > 30


def edits(proto: onnx.ModelProto, random: np.random.Generator) -> onnx.ModelProto:
    """Change one attribute, constant, input name or dimension to a legal but unlikely value."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    extreme = int(random.choice([-(2**63), -(2**31), -3, -1, 0, 1, 2, 7, 10**6, 2**31, 2**62]))
    node = copy.graph.node[int(random.integers(len(copy.graph.node)))]
    kind = int(random.integers(4))
    if kind == 0 and node.attribute:
        attribute = node.attribute[int(random.integers(len(node.attribute)))]
        attribute.i, attribute.f = extreme, float(extreme)
        attribute.ints[:] = [*attribute.ints[: int(random.integers(3))], extreme]
    elif kind == 1:
        tensor = copy.graph.initializer[int(random.integers(len(copy.graph.initializer)))]
        tensor.dims[int(random.integers(len(tensor.dims) + 1)) :] = [extreme]
    elif kind == 2:
        names = ["", *(t.name for t in copy.graph.initializer), *(i.name for i in copy.graph.input)]
        node.input[int(random.integers(len(node.input)))] = names[int(random.integers(len(names)))]
    else:
        dims = copy.graph.input[0].type.tensor_type.shape.dim
        dims[int(random.integers(len(dims)))].dim_value = extreme
    return copy


@pytest.mark.parametrize("name", ["network", "recurrent"])
def test_extreme_values(name: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    files = (write(tmp_path / "edited.onnx", edits(MODELS[name], random).SerializeToString()) for _ in range(300))
    assert sum(bool(refusal(file)) for file in files) > 100


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x00" * 64, b"\x89PNG\r\n\x1a\n" + b"\x00" * 500])
def test_a_file_that_is_no_model(data: bytes, tmp_path: Path) -> None:
    assert "OC1251" in refusal(write(tmp_path / "bad.onnx", data))


def test_absent_irregular_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="OC1250 it cannot be read: No such file"):
        read_onnx(tmp_path / "absent.onnx")
    with pytest.raises(BadFile, match="OC1250"):
        read_onnx(f"{tmp_path}/null\0byte.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(BadFile, match="OC1250"):
        read_onnx(tmp_path / "folder.onnx")
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(LIMIT_BYTES + 1)  # sparse: takes no space
    with pytest.raises(BadFile, match=f"OC1250 it has {LIMIT_BYTES + 1} bytes"):
        read_onnx(large)


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".tflite", ""])
def test_a_model_under_another_extension(suffix: str, tmp_path: Path) -> None:
    file = write(tmp_path / f"model{suffix}", MODELS["relu"].SerializeToString())
    with pytest.raises(BadFile, match="OC12"):
        read(str(file))


def outside(tmp_path: Path, **entries: str) -> Path:
    """Write a model whose weights lie in weights.bin, with these entries of its external data changed."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = model([node], {"x": ("N", 64)}, ["y"], constants={"w": value(1, 64, 64)})
    file = tmp_path / "outside.onnx"
    onnx.save(proto, str(file), save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(str(file), load_external_data=False)
    own = {e.key: e.value for e in stored.graph.initializer[0].external_data} | entries
    del stored.graph.initializer[0].external_data[:]
    stored.graph.initializer[0].external_data.extend(
        onnx.StringStringEntryProto(key=k, value=v) for k, v in own.items()
    )
    return write(file, stored.SerializeToString())


def test_external_weights_are_read_from_beside_the_model(tmp_path: Path) -> None:
    assert read_onnx(outside(tmp_path)).parameters() == 64 * 64
    (tmp_path / "weights.bin").unlink()
    text = refusal(tmp_path / "outside.onnx")
    assert "OC1252" in text and "'w' lie in 'weights.bin', which is no file beside the model" in text


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "../../../../../etc/passwd", "/etc/passwd", "sub/../../secret.bin", "link.bin", ".", ""],
)
def test_external_weights_stay_in_the_directory(location: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    secret = write(tmp_path / "secret.bin", bytes(64 * 64 * 4))
    (home / "link.bin").symlink_to(secret)
    assert "OC1252" in refusal(outside(home, location=location))


@pytest.mark.parametrize("entries", [{"length": str(2**62)}, {"offset": str(2**62)}, {"length": "x"}, {"offset": "-4"}])
def test_external_weights_that_claim_other_bytes(entries: dict[str, str], tmp_path: Path) -> None:
    assert "OC125" in refusal(outside(tmp_path, **entries))


def test_external_weights_of_a_model_in_memory() -> None:
    """They would be read relative to the working directory."""
    tensor = TensorProto(name="w", dims=[4, 4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, ["y"], constants={"w": value(1, 4, 4)}
    )
    proto.graph.initializer[0].CopyFrom(tensor)
    with pytest.raises(BadFile, match="OC125"):
        read_model(proto)


def huge(op: str) -> onnx.ModelProto:
    """Ask for 10^12 elements in 200 bytes."""
    size: Arrays = {"n": np.array([10**6, 10**6]), "one": np.ones((1, 1), np.float32)}
    size |= {"zero": np.array(0), "end": np.array(10**12), "step": np.array(1), "pads": np.array([0, 0, 10**6, 10**6])}
    inputs = {"ConstantOfShape": ["n"], "Range": ["zero", "end", "step"], "Pad": ["one", "pads"]}.get(op, ["one", "n"])
    nodes = [helper.make_node(op, inputs, ["big"], name="culprit"), helper.make_node("Cast", ["big"], ["f"], to=1)]
    nodes += [helper.make_node("Relu", ["f"], ["y"])]
    return model(nodes, {"x": (1,)}, ["y"], constants=size)


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range", "Pad"])
def test_a_constant_that_unfolds(op: str) -> None:
    proto = huge(op)
    with pytest.raises(NotSupported, match=r"culprit: OC1351 .* 100000\d{7} elements") as caught:
        read_model(proto)
    assert str(BUDGET) in str(caught.value)


def test_constants_that_unfold_little_by_little() -> None:
    """Each step doubles: 2^40 elements after 40 nodes."""
    nodes = [helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    proto = model(
        [*nodes, helper.make_node("Relu", ["c40"], ["y"])], {"x": (1,)}, ["y"], constants={"c0": np.ones(1, np.int8)}
    )
    with pytest.raises(NotSupported, match=f"of {BUDGET}"):
        read_model(proto)


def test_weights_that_claim_more_than_they_hold() -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, ["y"], constants={"w": value(1, 4, 4)}
    )
    proto.graph.initializer[0].dims[:] = [2**31, 2**31]
    with pytest.raises(BadFile, match="OC1251"):
        read_model(proto)


def test_functions_that_unfold() -> None:
    """Forty functions that call the next one twice are 2^40 nodes; one that calls itself never ends."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(name: str, inner: str) -> onnx.FunctionProto:
        domain = "" if inner == "Relu" else "own"
        calls = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("a", "b"), ("b", "c"))]
        return helper.make_function("own", name, ["a"], ["c"], calls, imports)

    def calling(functions: list[onnx.FunctionProto]) -> onnx.ModelProto:
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
        graph = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="own")], "g", info[:1], info[1:])
        return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8)

    few = [function(f"F{i}", f"F{i + 1}") for i in range(3)]
    assert len(read_model(calling([*few, function("F3", "Relu")])).nodes) == 16
    many = [function(f"F{i}", f"F{i + 1}") for i in range(40)]
    with pytest.raises(BadFile, match="OC1250 its functions unfold to too many nodes"):
        read_model(calling([*many, function("F40", "Relu")]))
    with pytest.raises(BadFile, match="OC1251"):
        read_model(calling([function("F0", "F0")]))


def test_control_flow_on_constants_is_not_run() -> None:
    """A Loop over constants could count to 2^62."""
    one = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    carried = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["s"], ["t"])],
        "body", [one, flag, helper.make_tensor_value_info("s", TensorProto.FLOAT, [1])],
        [out, helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    node = helper.make_node("Loop", ["n", "yes", "c"], ["z"], name="culprit", body=carried)
    constants: Arrays = {"n": np.array(2**62), "yes": np.array(True), "c": value(1, 1)}
    proto = model([node, helper.make_node("Relu", ["z"], ["y"])], {"x": (1,)}, ["y"], constants=constants)
    with pytest.raises(NotSupported, match="culprit: OC1351 Loop: more than 4096 steps"):
        read_model(proto)


def test_opsets_and_domains() -> None:
    for version in (1, 6, 29, 2**31):
        proto = model([helper.make_node("Relu", ["x"], ["y"])], IMAGE, ["y"])
        proto.opset_import[0].version = version
        with pytest.raises(OnchipError, match=r"OC125[13]"):
            read_model(proto)
    del proto.opset_import[:]
    with pytest.raises(OnchipError, match=r"OC125[13]"):
        read_model(proto)


def test_batch_without_a_number_or_a_name() -> None:
    """A dimension with neither is a symbol; the batch of every input is the same one."""
    proto = model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ("N", 3), "z": ("N", 3)}, ["y"])
    for info in proto.graph.input:
        info.type.tensor_type.shape.dim[0].Clear()
    graph = read_model(proto)
    assert graph.symbols == ("batch",)
    assert read_model(proto, batch=5).tensor("y").shape == (5, 3)
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(NotSupported, match="x: OC1353 an input without a known number of dimensions"):
        read_model(proto)


def test_sparse_weights_are_refused_by_name() -> None:
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (1, 4)}, ["y"], constants={"w": value(1, 4, 4)}
    )
    values, places = proto.graph.initializer[0], helper.make_tensor("i", TensorProto.INT64, [16], list(range(16)))
    values.dims[:] = [16]
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 4]))
    del proto.graph.initializer[:]
    with pytest.raises(NotSupported, match="w: OC1351 a sparse initializer"):
        read_model(proto)


def test_constants_of_types_that_a_graph_has_not() -> None:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": (2,)}, ["y"], constants={"w": value(1, 2)})
    for array in (np.array([b"a", b"b"], object), np.array([1, 2], np.uint32), np.array([1j, 2j], np.complex64)):
        proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))
        with pytest.raises(NotSupported, match=r"y: OC1351 a constant of|y: OC1351 .*cannot be computed"):
            read_model(proto)
