"""Kernels through ONNX Runtime: what is timed is what the graph means. The witness is the ops' float reference."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip import pipeline
from onchip.errors import DoesNotFit, NotSupported
from onchip.forecast.kernels import kernels_of
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.silicon import measure, run_onnx
from onchip.silicon.probe_onnx import OnnxRunner
from onchip.silicon.probes import CHANNELS, MIB, planned
from onchip.silicon.run_onnx import IMAGES, OnnxNetwork, turned
from tests.networks import network

pytest.importorskip("onnxruntime")


def every_value(graph: Graph) -> dict[str, NDArray[Any]]:
    """Return what the reference makes of every tensor, for random inputs."""
    rng, seen = np.random.default_rng(0), dict[str, NDArray[Any]]()
    for name in graph.inputs:
        seen[name] = rng.standard_normal([int(d) for d in graph.tensor(name).shape], np.float32)
    oc.evaluate(graph, dict(seen), watch=seen.__setitem__)
    return seen


def kernels_agree(graph: Graph, *, may_refuse: bool = False) -> int:
    """Compare each kernel's outputs with the reference's, from the reference's inputs; return how many ran."""
    made, values, done = OnnxRunner(threads=1).network(graph, "fp32"), every_value(graph), 0
    for part, kernel in zip(made.parts, kernels_of(graph)[0], strict=True):
        if part.reason:
            assert may_refuse, part.reason
            continue
        is_image = any(node.op in IMAGES for node in kernel.nodes)
        given = {name: turned(values[name], is_image=is_image) for name in part.inputs}
        for name, got in zip(kernel.outputs, part.session.run(None, given), strict=True):
            wanted = turned(values[name], is_image=is_image)
            assert got.shape == wanted.shape
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * scale, err_msg=part.name)
        done += 1
    return done


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v2_0.25", "squeezenet_1_1", "digits_cnn"])
def test_kernels_give_what_the_reference_gives(name: str) -> None:
    graph = fold(pipeline.bind_batch(oc.read(f"@{name}", weights="random")))
    assert kernels_agree(graph) == len(kernels_of(graph)[0])


def test_random_kernels_give_what_the_reference_gives() -> None:
    assert sum(kernels_agree(fold(network(Random(seed))), may_refuse=True) for seed in range(40)) >= 40


def test_what_is_not_written_is_named_and_takes_no_time() -> None:
    graph = fold(pipeline.bind_batch(oc.read("@digits_attention")))
    made = OnnxNetwork(graph, OnnxRunner(threads=1)._start, clock=iter(range(10_000)).__next__)
    assert set(made.reasons) and all("not run through ONNX Runtime" in reason for reason in made.reasons.values())
    for name, seconds in zip(made.names, made.run(), strict=True):
        assert (seconds == 0) == (name in made.reasons)


def test_every_probe_has_an_operation_but_those_that_the_runtime_has_not() -> None:
    runner = OnnxRunner(threads=1)
    small = {"copy": 4096, "product": 16, "convolution": 8, "rows": 1, "read": 4096, "thin": 4, "cold": 8}
    kinds = {(kind, small.get(kind, min(size, 64)), dtype) for _, kind, size, dtype, *_ in planned(1, MIB)}
    kinds |= {("vector", 16, "fp32"), ("both", 16, "fp32")}
    absent = {key for key in kinds if runner.times(*key, 1) is None}
    assert all(dtype != "fp32" for _, _, dtype in absent)
    assert CHANNELS > 8 and runner.times("nothing", 1, "fp32", 1) is None


def test_without_torch_the_other_runtime_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda _name: None)  # pyright: ignore[reportUnknownLambdaType]
    machine = measure.at_hand(threads=1)
    assert machine.name.startswith("onnxruntime") and machine.threads == 1
    with pytest.raises(NotSupported, match="OC1510 cannot be measured in bf16"):
        machine.network(fold(pipeline.bind_batch(oc.read("@digits_cnn"))), "bf16")


def test_a_model_that_is_too_large_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_onnx, "LARGEST_MODEL", 100)
    made = OnnxRunner(threads=1).network(fold(pipeline.bind_batch(oc.read("@digits_cnn"))), "fp32")
    assert made.reasons["fc1"] == "linear: not run through ONNX Runtime ('weights of more than 2 GiB')"


def test_memory_that_ends_is_said_in_one_line() -> None:
    made = OnnxRunner(threads=1).network(fold(pipeline.bind_batch(oc.read("@digits_cnn"))), "fp32")

    class Full:
        def run(self, *_: object) -> None:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 99")

    made.parts[0].session = Full()
    with pytest.raises(DoesNotFit, match="conv1: OC2004 the machine's memory does not hold it"):
        made.run()
