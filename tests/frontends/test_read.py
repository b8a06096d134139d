"""The door: what it takes, and how it refuses the rest."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onchip.errors import BadFile, UsageError
from onchip.frontends.read import read
from onchip.zoo.catalog import build


def small(path: Path) -> Path:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", [given], [made])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_a_path(tmp_path: Path) -> None:
    file = small(tmp_path / "small.onnx")
    assert read(file).name == read(str(file)).name == "small"
    assert read(file, batch=3).tensor("x").shape == (3, 4)


def test_a_graph_passes_through() -> None:
    graph = build("digits_cnn")
    assert read(graph) is graph


def test_a_factory_and_its_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "factories_for_a_test.py").write_text(
        "import torch\n"
        "def pair():\n    return torch.nn.Linear(4, 2), torch.randn(2, 4)\n"
        "def alone():\n    return torch.nn.Linear(4, 2)\n"
        "def breaks():\n    raise ValueError('no\\nweights')\n"
        "def number():\n    return 3\n"
    )
    graph = read("factories_for_a_test:pair")
    assert (graph.name, graph.parameters()) == ("pair", 10)
    with pytest.raises(UsageError, match="OC1257"):
        read("factories_for_a_test:alone")
    with pytest.raises(UsageError, match=r"OC1255 the factory failed with ValueError: no weights"):
        read("factories_for_a_test:breaks")
    with pytest.raises(UsageError, match="OC1254 an object of type int is no model"):
        read("factories_for_a_test:number")
    with pytest.raises(UsageError, match="OC1255 the factory failed with ModuleNotFoundError"):
        read("no_such_module_here:factory")
    with pytest.raises(UsageError, match="OC1255 the factory failed with AttributeError"):
        read("factories_for_a_test:absent")


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.PT2", "model.pkl"])
def test_pickles_are_not_read(name: str) -> None:
    with pytest.raises(BadFile, match="OC1254 pickled models are not read"):
        read(name)


def test_anything_else_is_no_model() -> None:
    with pytest.raises(BadFile, match="OC1254 this is no model"):
        read("resnet50")
    with pytest.raises(UsageError, match="OC1254 an object of type list is no model"):
        read([1, 2])  # pyright: ignore[reportArgumentType]
