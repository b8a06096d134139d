"""A saved graph is the same graph, values and all; anything else is refused in one line, and nothing is trusted."""

from __future__ import annotations

import functools
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onchip as oc
from onchip.errors import BadFile


@functools.cache
def quantized(name: str = "@digits_cnn") -> oc.Graph:
    graph = oc.read(name, weights="random")
    rng = np.random.default_rng(0)
    shape = [4, *map(int, graph.tensor(graph.inputs[0]).shape[1:])]
    return oc.quantize(graph, [{graph.inputs[0]: rng.standard_normal(shape).astype(np.float32)}])


@functools.cache
def saved() -> bytes:
    with TemporaryDirectory() as folder:
        quantized().save(Path(folder, "g.npz"))
        return Path(folder, "g.npz").read_bytes()


@pytest.mark.parametrize("name", ["@digits_cnn", "@digits_lstm", "@digits_attention"])
def test_round_trip_keeps_the_graph_and_its_values(tmp_path: Path, name: str) -> None:
    graph = quantized(name)
    graph.save(tmp_path / "g.npz")
    assert [f.name for f in tmp_path.iterdir()] == ["g.npz"]
    again = oc.read(str(tmp_path / "g.npz"))
    assert again == graph and str(again) == str(graph) and again == oc.Graph.load(tmp_path / "g.npz")
    x = np.random.default_rng(1).standard_normal([2, *map(int, graph.tensor(graph.inputs[0]).shape[1:])])
    inputs = {graph.inputs[0]: x.astype(np.float32)}
    ours, expected = (oc.evaluate(g, inputs)[graph.outputs[0]] for g in (again, graph))
    assert ours.tobytes() == expected.tobytes()


def test_a_network_without_weights_stays_without() -> None:
    graph = oc.read("@digits_cnn")
    with TemporaryDirectory() as folder:
        graph.save(Path(folder, "g.npz"))
        again = oc.Graph.load(Path(folder, "g.npz"))
    assert again == graph and all(t.constant is None or t.constant.data is None for t in again.tensors)


def refused(data: bytes, folder: Path) -> str:
    path = folder / "g.npz"
    path.write_bytes(data)
    with pytest.raises(BadFile) as caught:
        oc.Graph.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: OC124") and "\n" not in message
    return message


def repacked(change: Callable[[dict[str, bytes]], None], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved())) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def array(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, value, allow_pickle=True)
    return out.getvalue()


def with_header(edit: Callable[[dict[str, Any]], None]) -> bytes:
    def change(members: dict[str, bytes]) -> None:
        header = json.loads(np.load(io.BytesIO(members["graph.npy"])).tobytes())
        edit(header)
        members["graph.npy"] = array(np.frombuffer(json.dumps(header).encode(), np.uint8))

    return repacked(change)


def test_what_is_changed_is_refused(tmp_path: Path) -> None:
    def other_weights(members: dict[str, bytes]) -> None:
        data = np.load(io.BytesIO(members["constant0.npy"])).copy()
        data[0] ^= 1
        members["constant0.npy"] = array(data)

    assert "not those whose hash" in refused(repacked(other_weights), tmp_path)
    assert "whose hash the file gives" in refused(with_header(lambda h: h.update(hash="0" * 64)), tmp_path)
    assert "OC1243 version 2" in refused(with_header(lambda h: h.update(version=2)), tmp_path)
    assert "no array of numbers" in refused(with_header(lambda h: h["constants"][0].__setitem__(1, "|O")), tmp_path)
    assert "OC1241" in refused(repacked(lambda _: None, compression=zipfile.ZIP_DEFLATED), tmp_path)
    evil = repacked(lambda m: m.update({"graph.npy": array(np.array([{"a": 1}], object))}))
    assert "another layout" in refused(evil, tmp_path)
    assert "members that no network has" in refused(repacked(lambda m: m.update({"x.npy": b""})), tmp_path)
    refused(pickle.dumps([1]), tmp_path)
    refused(with_header(lambda h: h.update(text="[" * 100_000)), tmp_path)
    refused(with_header(lambda h: h.update(text=h["text"].replace('"kernel":[2,2]', '"kernel":"x"'))), tmp_path)


def test_a_constant_of_another_dtype_is_refused(tmp_path: Path) -> None:
    """int8 weights whose bytes are said to be uint8: same bytes, same hash, another meaning."""

    def unsigned(header: dict[str, Any]) -> None:
        for row in header["constants"]:
            row[1] = "|u1" if row[1] == "|i1" else row[1]

    assert "a constant of i8 holds uint8" in refused(with_header(unsigned), tmp_path)


@settings(max_examples=60)
@given(st.data())
def test_damaged_files_are_refused_or_whole(data: st.DataObject) -> None:
    """Bytes cut off or changed anywhere: the same graph, or a BadFile."""
    whole = bytearray(saved())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for _ in range(data.draw(st.integers(0, 4))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        path = Path(folder, "g.npz")
        path.write_bytes(whole)
        try:
            assert oc.Graph.load(path) == quantized()
        except BadFile as error:
            assert "\n" not in str(error)


def test_files_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    """A program is no model, a model no program, and a file of arrays neither."""
    graph = oc.read("@digits_cnn", batch=1, weights="random")
    oc.compile(graph, "edge-npu-16").save(tmp_path / "p.npz")
    with pytest.raises(BadFile, match="OC1254 holds no network: a compiled program, perhaps"):
        oc.read(str(tmp_path / "p.npz"))
    graph.save(tmp_path / "g.npz")
    with pytest.raises(BadFile, match="members that no program has"):
        oc.Program.load(tmp_path / "g.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(BadFile, match="OC1254"):
        oc.read(str(tmp_path / "a.npz"))
    with pytest.raises(BadFile, match="OC1240"):
        oc.read(str(tmp_path / "absent.npz"))
