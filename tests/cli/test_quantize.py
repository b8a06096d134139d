"""`quantize`: the verdict, the next action, the file it writes, the published fields, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onchip as oc
from onchip.errors import UsageError
from tests.cli.conftest import Onchip

CNN = "@digits_cnn"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, input=np.random.default_rng(0).standard_normal((40, 8, 8, 1)).astype(np.float32))
    return path


def test_the_network_is_written_and_runs(onchip: Onchip, samples: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.npz"
    done = onchip("quantize", CNN, "--samples", samples, "-o", path)
    first, second, *rest = done.out.splitlines()
    assert done.code == 0 and first.startswith("digits_cnn in int8 (minmax): SQNR ") and " on 32 samples" in first
    assert second.startswith(("Next:  onchip ", "Try first:  onchip "))
    assert max(map(len, rest)) <= 100 and any(line.split()[:2] == ["fc1", "linear"] for line in rest)
    assert "weights are random" in done.out and "samples are random" not in done.out
    graph = oc.read(str(path))
    images = np.load(samples)["input"]
    expected = oc.quantize(oc.read(CNN, weights="random"), [{"input": images[:32]}, {"input": images[32:]}])
    assert graph == expected
    ran = onchip("run", path, "--chip", "edge-npu-16", "--json").json
    assert ran["bit_exact"] is True
    assert "int8" in onchip("estimate", path, "--chip", "edge-npu-16").out


def test_the_json_has_the_published_fields(onchip: Onchip, samples: Path) -> None:
    words = ("quantize", CNN, "--samples", samples, "--method", "mse", "--json")
    made = onchip(*words).valid("quantize-1.json")
    assert made["method"] == "mse" and made["samples"] == 32 and made["chip"] is None and made["int16"] == []
    assert [m["method"] for m in made["methods"]] == ["minmax", "percentile", "mse"]
    assert sorted(layer["rank"] for layer in made["layers"]) == list(range(1, len(made["layers"]) + 1))
    assert onchip(*words).out == onchip(*words).out
    assert onchip(*words[:-1], "-q").out.count("\n") == 1


def test_a_target_names_layers_and_their_cost(onchip: Onchip, samples: Path) -> None:
    plain = onchip("quantize", CNN, "--samples", samples, "--json").json["sqnr_db"]
    words = ("quantize", CNN, "--samples", samples, "--chip", "edge-npu-16", "--target-sqnr")
    made = onchip(*words, plain + 1, "--json").valid("quantize-1.json")
    assert made["is_reached"] and made["int16"] and made["int8_cycles"] > 0
    second = onchip(*words, plain + 1).out.splitlines()[1]
    names = ",".join(step["name"] for step in made["int16"])
    assert f" --int16 {names} " in second and "% time on edge-npu-16" in second
    again = onchip("quantize", CNN, "--samples", samples, "--int16", names, "--json").json
    assert again["sqnr_db"] == pytest.approx(made["int16"][-1]["sqnr_db"], abs=1e-9)
    far = onchip(*words, 90)
    assert far.code == 4 and "OC2003" in far.err and "not met" in far.out


def test_samples_of_a_fixed_batch_are_cut_to_it(onchip: Onchip, samples: Path, tmp_path: Path) -> None:
    made = onchip("quantize", CNN, "--samples", samples, "-b", 20, "--json").json
    assert made["samples"] == 40  # two runs of 20: the first alone has less than 32
    onchip("quantize", CNN, "--samples", samples, "-b", 7).mistake("OC1421", 2)


def test_mistakes(onchip: Onchip, samples: Path, tmp_path: Path) -> None:
    words = ("quantize", CNN, "--samples", samples)
    assert "Did you mean 'fc1'" in onchip(*words, "--keep-float", "fc11").mistake("OC1232", 2)
    onchip(*words, "--int16", "pool1").mistake("OC1387", 3)
    onchip(*words, "--int16", "fc1", "--target-sqnr", 50).mistake("OC1008", 2)
    onchip(*words, "--method", "kl").mistake("OC1416", 2)
    onchip(*words, "--percentile", 99).mistake("OC1412", 2)
    onchip(*words, "-o", tmp_path / "x.onnx").mistake("OC1008", 2)
    onchip("quantize", CNN, "--samples", tmp_path / "absent.npz").mistake("OC1421", 2)


def test_a_report_that_is_refused_leaves_no_file(
    onchip: Onchip, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UsageError("OC1415", "net", "the graph is quantized already", next="Give the float graph")

    monkeypatch.setattr("onchip.precision.sensitivity", refuse)
    onchip("quantize", CNN, "--samples", samples, "-o", tmp_path / "int8.npz").mistake("OC1415", 2)
    assert not (tmp_path / "int8.npz").exists()
