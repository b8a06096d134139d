"""ONNX files with damaged fields, a few in every run and thousands in the slow one; and named ways to be unreadable.

Promises: whatever a field holds, the reader gives a Graph or an OnchipError on one line, in ten seconds and two
          gigabytes. What a user can do about it stands in the message.
"""

# pyright: basic

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onchip import pipeline
from onchip.errors import BadFile, NotSupported, OnchipError, UsageError
from onchip.frontends.onnx import read_model, read_onnx
from onchip.passes.quantize import quantize
from tests.frontends import onnx_damage
from tests.frontends.onnx_models import IMAGE, model, value

CONV = helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")
WEIGHTS = {"w": value(1, 4, 3, 3, 3)}


def test_the_models_are_read_before_they_are_damaged() -> None:
    assert [len(read_model(m).nodes) > 2 for m in onnx_damage.seeds()[:4]] == [True] * 4


def test_damaged_fields(tmp_path: Path) -> None:
    models = onnx_damage.seeds()
    read = [onnx_damage.is_read(number, models, tmp_path) for number in range(400)]
    assert 20 < sum(read) < 200  # most damage is found, some does not matter


def test_every_kind_of_damage_changes_a_model() -> None:
    whole = onnx_damage.seeds()[3].SerializeToString()
    for damage in onnx_damage.DAMAGE:
        proto = onnx.ModelProto.FromString(whole)
        for seed in range(8):
            damage(proto, np.random.default_rng(seed))
        assert proto.SerializeToString() != whole, damage.__name__


@pytest.mark.slow
def test_many_damaged_fields_in_a_process_of_limited_memory(tmp_path: Path) -> None:
    """A crash of the interpreter, a hang or a grab for memory ends the process before it says that it is done."""
    command = [sys.executable, "-m", "tests.frontends.onnx_damage", "1000", "6000", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    lines = found.stdout.split("\n")
    assert found.returncode == 0, f"model {lines[-2:]}: {found.stderr[-1000:]}"
    word, n_read, peak = lines[-2].split()
    assert word == "done" and 300 < int(n_read) < 3000 and int(peak) < onnx_damage.BYTES


def message(proto: onnx.ModelProto, kind: type[OnchipError]) -> str:
    with pytest.raises(kind) as caught:
        read_model(proto, where="net.onnx")
    text = str(caught.value)
    assert text.startswith("net.onnx: ") and "\n" not in text
    return text


def test_a_network_that_is_compiled_already() -> None:
    node = helper.make_node(
        "EPContext", ["x"], ["y"], name="whole", domain="com.microsoft", embed_mode=0, ep_cache_context="a.bin",
        source="QNN", main_context=1,
    )  # fmt: skip
    text = message(model([node], {"x": (1, 3)}, ["y"]), NotSupported)
    assert "whole: OC1360 the network is compiled for 'QNN' already" in text and "from before" in text


def test_a_cycle() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="first"), helper.make_node("Relu", ["a"], ["b"])]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xb"]
    graph = helper.make_graph(nodes, "ring", info[:1], info[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = message(proto, BadFile)
    assert "OC1251" in text and "'b'" in text and "first" in text


@pytest.mark.parametrize("n_bytes", [0, 100, 431])
def test_weights_with_too_few_bytes(n_bytes: int) -> None:
    proto = model([CONV], {"x": (1, 3, 8, 8)}, ["y"], constants=WEIGHTS)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:n_bytes]
    text = message(proto, BadFile)
    assert "OC1251" in text and "w" in text


def test_open_dimensions_are_given_by_the_shape_of_the_input(tmp_path: Path) -> None:
    """A convolution computes with its height; the message says how to give it, and that way works."""
    proto = model([CONV], {"x": ("N", 3, "H", "W")}, ["y"], constants=WEIGHTS)
    text = message(proto, BadFile)
    assert "conv1: OC1313 conv2d: height is the symbol 'H'" in text and "--shape" in text and "shapes=" in text
    file = tmp_path / "open.onnx"
    file.write_bytes(proto.SerializeToString())
    graph = pipeline.read(file, shapes={"x": (2, 3, 9, 7)})
    assert graph.tensor(graph.outputs[0]).shape == (2, 4, 7, 5)  # a window of 3 without padding: 9 - 2, 7 - 2
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()  # not even a name
    assert read_model(proto, shapes={"x": (2, 3, 9, 7)}).tensor("x").shape == (2, 3, 9, 7)
    kept = read_model(model([CONV], {"x": (1, 3, 8, 8)}, ["y"], constants=WEIGHTS), shapes={"x": (1, 3, 9, 9)})
    assert kept.tensor("x").shape == (1, 3, 8, 8)  # what has a number keeps it


def test_names_that_no_terminal_should_print() -> None:
    for name in ("x" * 10**6, "a\x1b[31mb", "a\nb", "a\u202eb"):
        node = helper.make_node("NonMaxSuppression", ["x"], ["y"], name=name)
        with pytest.raises(OnchipError) as caught:
            read_model(model([node, helper.make_node("Relu", ["x"], ["z"])], IMAGE, ["z"]))
        text = str(caught.value)
        assert text.isprintable() and len(text) < 1000


def field(number: int, data: bytes) -> bytes:
    """Write a field of bytes as protobuf does."""
    size, length = b"", len(data)
    while True:
        size += bytes([length & 127 | (128 if length > 127 else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + data


@pytest.mark.parametrize("depth", [40, 1000, 20000])
def test_bodies_deeper_than_any_parser_goes(depth: int, tmp_path: Path) -> None:
    """ModelProto.graph is field 7, GraphProto.node 1, NodeProto.attribute 5, AttributeProto.g 6."""
    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))
    file = tmp_path / "deep.onnx"
    file.write_bytes(field(7, graph))
    with pytest.raises(BadFile, match="OC1251"):
        read_onnx(file)


def test_a_name_taken_by_a_thousand_nodes() -> None:
    """Each gets a number; looking for it does not start from the first again."""
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"], name="same") for i in range(1000)]
    graph = read_model(model(nodes, {"v0": (1, 3)}, ["v1000"]))
    assert [graph.nodes[i].name for i in (0, 1, 999)] == ["same", "same.2", "same.1000"]


def test_weights_that_are_not_finite() -> None:
    for place in ("w", "b"):
        constants = {"w": WEIGHTS["w"].copy(), "b": value(2, 4)}
        constants[place].reshape(-1)[0] = np.inf
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
        graph = read_model(model([node], {"x": (1, 3, 8, 8)}, ["y"], constants=constants))
        with pytest.raises(UsageError, match=f"{place}: OC1413 its values are not finite"):
            quantize(graph, None)
