"""A saved program is the same program; anything else is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onchip as oc
from onchip.errors import BadFile


def compiled() -> oc.Program:
    return oc.compile(oc.read("@digits_cnn", batch=1, weights="random"), "edge-npu-16")


def test_round_trip_keeps_hash_and_outputs(tmp_path: Path) -> None:
    program = compiled()
    program.save(tmp_path / "p.npz")
    again = oc.Program.load(tmp_path / "p.npz")
    assert again.hash == program.hash
    graph = oc.read("@digits_cnn", batch=1, weights="random")
    (name,) = graph.inputs
    shape = tuple(int(d) for d in graph.tensor(name).shape)
    x = {name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    first, second = oc.simulate(program, x), oc.simulate(again, x)
    assert first.cycles == second.cycles
    for key, value in first.outputs.items():  # pyright: ignore[reportAttributeAccessIssue]
        assert np.array_equal(value, second.outputs[key])  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    compiled().save(tmp_path / "p.npz")
    assert [f.name for f in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.parametrize("damage", ["truncate", "text", "empty", "other"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.npz"
    compiled().save(path)
    data = path.read_bytes()
    if damage == "other":
        np.savez(path, header=np.zeros(3, np.uint8))
    else:
        path.write_bytes({"truncate": data[: len(data) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(BadFile, match="OC124"):
        oc.Program.load(path)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(BadFile, match="OC1240"):
        oc.Program.load("/nowhere/p.npz")
