"""`demo` and `train`, with few images and epochs; the whole demo is a slow test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import onchip as oc
from tests.cli.conftest import Ended, Onchip, outside

torch = pytest.importorskip("torch")
from onchip.training import demo as room  # noqa: E402
from onchip.training import train as training  # noqa: E402

IMAGES = 3


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch for each network, few images, two chips."""
    whole: Callable[..., training.TrainedNetwork] = training.train

    def fewer(name: str, **options: Any) -> training.TrainedNetwork:
        made = whole(name, **options)
        return replace(made, test_images=made.test_images[:IMAGES], test_labels=made.test_labels[:IMAGES])

    recipes = {name: replace(recipe, epochs=1) for name, recipe in training.RECIPES.items()}
    monkeypatch.setattr(training, "RECIPES", recipes)
    monkeypatch.setattr(room, "train", fewer)
    monkeypatch.setattr(room, "CALIBRATION_IMAGES", 4)
    monkeypatch.setattr(room, "COMPARED", ("tiny-npu-4", "edge-npu-16"))


@pytest.mark.usefixtures("small")
def test_the_demo_prints_and_writes_what_it_found(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, found = room.run_demo, list[room.Demo]()

    def run_once(*words: Any) -> room.Demo:
        if not found:
            found.append(whole(*words))
        return found[0]

    monkeypatch.setattr(room, "run_demo", run_once)
    done = onchip("demo", "-o", tmp_path / "out")
    check_text(done)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == sorted([*(f"{n}.{e}" for n in ("cnn", "lstm", "attention") for e in ("json", "txt")), "demo.json"])
    text = (tmp_path / "out" / "cnn.txt").read_text(encoding="utf-8")
    assert text.startswith("cnn: ") and "of 3 test images right on the chip" in text and "where the time goes" in text

    made = onchip("demo", "-o", tmp_path / "out", "--json").valid("demo-1.json")
    assert made == json.loads((tmp_path / "out" / "demo.json").read_text())
    check_object(made, tmp_path / "out")
    rows = [line.split() for line in done.out.splitlines() if line.split()[:1] in (["tiny-npu-4"], ["edge-npu-16"])]
    assert [row[:3] for row in rows] == [[r["chip"], str(r["batch"]), r["dtype"]] for r in made["comparison"]]
    assert onchip("demo", "-o", tmp_path / "out", "-q").out == done.out.splitlines()[0] + "\n"


def check_text(done: Ended) -> None:
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0].startswith("3 networks ran 3 test images each on edge-npu-16: every output is bit-exact, ")
    assert lines[1].startswith("Next:  onchip estimate ")
    assert max(map(len, lines[2:])) <= 100
    assert " ".join(lines[4].split()) == "network float on chip images bit-exact latency energy band util memory"
    assert [line.split()[0] for line in lines[5:8]] == ["cnn", "lstm", "attention"]
    assert "cnn: run on edge-npu-16: 3/3" in done.err and "\x1b" not in done.err + done.out


def check_object(made: Any, folder: Path) -> None:
    assert set(made) == {"networks", "comparison"}
    for network in made["networks"]:
        assert network["bit_exact"] is True and network["test_images"] == IMAGES
        right = network["chip_accuracy"] * IMAGES
        assert right == pytest.approx(round(right)) and 0 < network["float_accuracy"] <= 1
        report = json.loads((folder / f"{network['name']}.json").read_text())
        assert report["cycles"] == network["cycles_per_image"] and report["bit_exact"] is True
        assert network["latency_s"]["value"] == pytest.approx(network["cycles_per_image"] / 500e6)
    assert {row["network"] for row in made["comparison"]} == {"cnn"}
    each = [row["latency_s"]["value"] / row["batch"] for row in made["comparison"]]
    assert each == sorted(each) and len(each) == 4


@pytest.mark.usefixtures("small")
def test_a_difference_ends_the_demo_with_five_after_the_reports(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = room.run_images

    def off(*words: Any) -> Any:
        for ours, expected in whole(*words):
            yield ours, {name: value + 1 for name, value in expected.items()}

    monkeypatch.setattr(room, "run_images", off)
    monkeypatch.setattr(room, "NETWORKS", ("cnn",))
    done = onchip("demo", "-o", tmp_path)
    assert done.code == 5 and " OC3001 " in done.err.splitlines()[-1]
    assert "OUTPUTS DIFFER" in done.out.splitlines()[0]
    assert json.loads((tmp_path / "demo.json").read_text())["networks"][0]["bit_exact"] is False


def test_a_place_for_the_reports_is_made_before_anything_is_trained(onchip: Onchip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    onchip("demo", "-o", tmp_path / "file" / "out").mistake("OC1015", 2)
    onchip("demo", "-o", tmp_path / "file").mistake("OC1015", 2)


@pytest.mark.parametrize("words", [("train", "cnn", "-o", "n.onnx"), ("demo", "-o", "out")])
def test_ctrl_c_while_training(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "fit", stopped)
    onchip(*words).mistake("OC1009", 130)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.usefixtures("small")
def test_train_writes_the_network_that_it_scored(onchip: Onchip, tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    made = onchip("train", "cnn", "--seed", 3, "--json", "-o", path).valid("train-1.json")
    network = training.train("cnn", seed=3)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(None, {session.get_inputs()[0].name: network.test_images})[0])
    assert made["float_accuracy"] == pytest.approx(np.mean(np.argmax(logits, axis=1) == network.test_labels), abs=0.003)
    assert (made["name"], made["seed"], made["test_images"]) == ("cnn", 3, len(network.test_labels))
    text = onchip("train", "cnn", "--seed", 3).out.splitlines()
    assert text[0].startswith("cnn: ") and text[1] == "Next:  onchip train cnn -o cnn.onnx   (writes the network)"
    assert onchip("run", path, "-c", "edge-npu-16", "--json").json["bit_exact"] is True


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    done = outside("demo", "--json", cwd=tmp_path)
    made = done.valid("demo-1.json")
    assert [network["name"] for network in made["networks"]] == ["cnn", "lstm", "attention"]
    assert all(n["bit_exact"] and n["test_images"] == 540 and n["chip_accuracy"] > 0.95 for n in made["networks"])
    chips = {"a100-sxm-80gb", "h100-sxm", "tpu-v1", "tpu-v4", "edge-npu-16", "tiny-npu-4"}
    assert {(row["chip"], row["batch"]) for row in made["comparison"]} == {(c, b) for c in chips for b in (1, 64)}


@pytest.mark.usefixtures("small")
def test_train_with_qat_writes_the_int8_network(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onchip.training import aware

    monkeypatch.setattr(aware, "RECIPES", training.RECIPES)
    monkeypatch.setattr(aware, "EPOCHS", (1, 1))
    path = tmp_path / "cnn.npz"
    made = onchip("train", "cnn", "--qat", "--json", "-o", path).valid("train-1.json")
    network = training.train("cnn")
    graph = oc.read(str(path))
    logits = oc.evaluate(graph, {graph.inputs[0]: network.test_images})[graph.outputs[0]]
    assert made["int8_accuracy"] == np.mean(np.argmax(logits, axis=1) == network.test_labels)
    assert made["float_accuracy"] == network.float_accuracy
    assert onchip("run", path, "-c", "edge-npu-16", "--json").json["bit_exact"] is True
    found = aware.train_aware("cnn")

    def again(*_: Any, **__: Any) -> aware.AwareNetwork:
        return found

    monkeypatch.setattr(aware, "train_aware", again)
    first, second = onchip("train", "cnn", "--qat").out.splitlines()
    assert first.startswith("cnn: ") and "in int8 after training with it" in first and "calibrated only" in first
    assert second == "Next:  onchip train cnn --qat -o cnn.npz   (writes the int8 network)"
    onchip("train", "cnn", "--qat", "-o", tmp_path / "cnn.onnx").mistake("OC1015", 2)
