"""A saved program is the same program; anything else is refused in one line, and nothing in it is trusted."""

from __future__ import annotations

import functools
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import onchip as oc
from onchip.errors import BadFile
from onchip.ir.program_file import load_with_reference, save_program
from onchip.ir.trace import RunTrace


@functools.cache
def compiled(name: str = "@digits_cnn") -> tuple[oc.Program, oc.Graph]:
    """Return a program and the integer graph that it was made from."""
    seen: dict[str, Any] = {}
    graph = oc.read(name, batch=1, weights="random")
    return oc.compile(graph, "edge-npu-16", watch=seen.__setitem__), seen["graph"]


@functools.cache
def saved() -> bytes:
    """Return the bytes of a small program's file."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        save_program(compiled()[0], Path(folder, "p.npz"), reference=compiled()[1])
        return Path(folder, "p.npz").read_bytes()


def values(program: oc.Program, inputs: dict[str, Any]) -> dict[str, Any]:
    trace = oc.simulate(program, inputs)
    assert isinstance(trace, RunTrace)
    return dict(trace.outputs)


def inputs_of(graph: oc.Graph) -> dict[str, Any]:
    random = np.random.default_rng(1)
    shapes = {name: tuple(int(d) for d in graph.tensor(name).shape) for name in graph.inputs}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["@digits_cnn", "@digits_lstm", "@digits_attention"])
def test_round_trip_keeps_hash_reference_and_outputs(tmp_path: Path, name: str) -> None:
    program, graph = compiled(name)
    save_program(program, tmp_path / "p.npz", reference=graph)
    again, reference = load_with_reference(tmp_path / "p.npz")
    assert again.hash == program.hash and str(again) == str(program)
    assert reference == graph and reference is not None
    x = inputs_of(graph)
    expected = oc.evaluate(graph, x)
    for found in (values(program, x), values(again, x), oc.evaluate(reference, x)):
        assert all(found[key].tobytes() == expected[key].tobytes() for key in expected)
    assert oc.simulate(again).cycles == oc.simulate(program).cycles


def test_a_program_without_reference_says_so(tmp_path: Path) -> None:
    program, _ = compiled()
    program.save(tmp_path / "p.npz")
    assert load_with_reference(tmp_path / "p.npz")[1] is None
    assert oc.Program.load(tmp_path / "p.npz").hash == program.hash
    assert [f.name for f in tmp_path.iterdir()] == ["p.npz"]


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    members = []
    for name in ("a.npz", "b.npz"):
        save_program(compiled()[0], tmp_path / name, reference=compiled()[1])
        with zipfile.ZipFile(tmp_path / name) as archive:
            members.append([(info.filename, archive.read(info)) for info in archive.infolist()])
    assert members[0] == members[1]


def refused(data: bytes, folder: Path) -> str:
    path = folder / "p.npz"
    path.write_bytes(data)
    with pytest.raises(BadFile) as caught:
        oc.Program.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: OC124") and "\n" not in message
    return message


def repacked(change: Callable[[dict[str, bytes]], None], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return the file with its members changed, all checksums right."""
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


def with_header(**change: Any) -> bytes:
    def edit(members: dict[str, bytes]) -> None:
        header = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
        header.update(change)
        members["header.npy"] = array(np.frombuffer(json.dumps(header).encode(), np.uint8))

    return repacked(edit)


def header() -> dict[str, Any]:
    with np.load(io.BytesIO(saved())) as arrays:
        return json.loads(arrays["header"].tobytes())


@pytest.mark.parametrize("damage", ["truncate", "text", "empty", "other", "zeros"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    other = io.BytesIO()
    np.savez(other, header=np.zeros(3, np.uint8))
    data = {"truncate": saved()[: len(saved()) // 2], "text": b"hello", "empty": b"", "zeros": bytes(4096)}
    refused({**data, "other": other.getvalue()}[damage], tmp_path)


def test_a_missing_file_or_a_directory_is_refused(tmp_path: Path) -> None:
    for path in ("/nowhere/p.npz", tmp_path):
        with pytest.raises(BadFile, match="OC1240"):
            oc.Program.load(path)


class Trap:
    """An object whose unpickling would be seen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("pickle-was-loaded").touch, ())


def test_pickles_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def objects(members: dict[str, bytes]) -> None:
        members["header.npy"] = array(np.array([Trap()], object))

    def raw(members: dict[str, bytes]) -> None:
        members["stream0.npy"] = pickle.dumps(Trap())

    for change in (objects, raw):
        assert "OC1242" in refused(repacked(change), tmp_path)
    assert "OC1242" in refused(pickle.dumps(Trap()), tmp_path)
    assert not (tmp_path / "pickle-was-loaded").exists()


def test_compressed_and_oversized_members_are_refused_before_they_are_read(tmp_path: Path) -> None:
    def bomb(members: dict[str, bytes]) -> None:
        members["region6.npy"] = array(np.zeros(1 << 26, np.uint8))

    packed = repacked(bomb, compression=zipfile.ZIP_DEFLATED)
    assert len(packed) < 1 << 20
    assert "OC1241" in refused(packed, tmp_path)
    small = repacked(lambda _: None, compression=zipfile.ZIP_DEFLATED)
    assert "OC1241" in refused(small, tmp_path)
    assert "compressed" in refused(bytes(len(saved())) + small, tmp_path)  # what is in front of an archive is skipped


@pytest.mark.parametrize("shape", [(1 << 50,), (-1,), (1, 1), (), (1 << 62, 1 << 62)])
def test_a_length_that_is_not_there_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    def lie(members: dict[str, bytes]) -> None:
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
        members["region6.npy"] = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"abc"

    assert "OC1242" in refused(repacked(lie), tmp_path)


@pytest.mark.parametrize(
    "name", ["evil.npy", "../../evil.npy", "stream4.npy", "region-1.npy", "header", "region1.npy.npy"]
)
def test_unknown_members_are_refused(tmp_path: Path, name: str) -> None:
    def add(members: dict[str, bytes]) -> None:
        members[name] = array(np.zeros(1, np.uint8))

    assert "OC1242" in refused(repacked(add), tmp_path)


def test_missing_and_double_members_are_refused(tmp_path: Path) -> None:
    for name in ("header.npy", "stream3.npy", "constant0.npy"):
        refused(repacked(lambda members, name=name: members.__delitem__(name)), tmp_path)
    out = io.BytesIO(saved())
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("stream0.npy", array(np.zeros(1, np.uint8)))
    assert "OC1242" in refused(out.getvalue(), tmp_path)


def wrong_headers() -> dict[str, dict[str, Any]]:
    h = header()
    regions, kernels = h["regions"], h["kernels"]
    name, address, n_bytes, *rest = regions[0]
    k_name, nodes, starts, ends, *k_rest = kernels[0]
    return {
        "another hash": {"hash": "0" * 64},
        "another chip": {"chip": h["chip"].replace("500 MHz", "250 MHz")},
        "no chip": {"chip": "name = 3"},
        "far away": {"regions": [[name, 1 << 60, n_bytes, *rest], *regions[1:]]},
        "negative": {"regions": [[name, -64, n_bytes, *rest], *regions[1:]]},
        "a fraction": {"regions": [[name, 0.5, n_bytes, *rest], *regions[1:]]},
        "too long": {"regions": [[name, address, n_bytes + 1, *rest], *regions[1:]]},
        "region of nothing": {"regions": [[]]},
        "behind the end": {"kernels": [[k_name, nodes, starts, [e + 10**6 for e in ends], *k_rest], *kernels[1:]]},
        "no code": {"kernels": [[k_name, nodes, starts, starts, *k_rest], *kernels[1:]]},
        "many cores": {"kernels": [[k_name, nodes, starts, ends, *k_rest[:-1], [1 << 20, 1 << 20]], *kernels[1:]]},
        "model": {"model": [1, 2, 3]},
        "before": {"before": "graph\nnode"},
        "list": {"kernels": 3},
        "text": {"constants": "abc"},
        "deep": {"outputs": json.loads("[" * 500 + "]" * 500)},
    }


@pytest.mark.parametrize("wrong", list(wrong_headers()))
def test_headers_that_contradict_the_program_are_refused(tmp_path: Path, wrong: str) -> None:
    assert "OC1242" in refused(with_header(**wrong_headers()[wrong]), tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    assert "OC1243 version 99" in refused(with_header(version=99), tmp_path)


@given(st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_are_refused_or_harmless(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    """Checksums of the archive and the program's hash see every change of what runs."""
    data = bytearray(saved())
    for place, mask in flips:
        data[place % len(data)] ^= mask
    (tmp_path / "p.npz").write_bytes(bytes(data))
    try:
        found = oc.Program.load(tmp_path / "p.npz")
    except BadFile as error:
        assert error.code in ("OC1241", "OC1242", "OC1243")
    else:
        assert found.hash == compiled()[0].hash


@given(st.sampled_from(["stream0.npy", "stream2.npy", "header.npy", "region6.npy", "constant0.npy"]), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_members_with_right_checksums_are_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    def change(members: dict[str, bytes]) -> None:
        member = bytearray(members[name])
        for _ in range(data.draw(st.integers(1, 3))):
            member[data.draw(st.integers(0, len(member) - 1))] ^= data.draw(st.integers(1, 255))
        members[name] = bytes(member)

    (tmp_path / "p.npz").write_bytes(repacked(change))
    try:
        found, _ = load_with_reference(tmp_path / "p.npz")
    except BadFile as error:
        assert error.code in ("OC1241", "OC1242", "OC1243")
    else:
        assert found.hash == compiled()[0].hash
