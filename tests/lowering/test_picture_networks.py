"""Networks of pictures, compiled for two NPUs: every output equals the integer reference, and nothing is refused.

Small forms of each run always, on one of the chips; the slow tests take the other one, and the networks as they are.
"""

from __future__ import annotations

import numpy as np
import pytest

import onchip as oc
from onchip.zoo.catalog import build
from tests.float_values import UNIT

CHIPS = ("edge-npu-16", "tpu-v1")
SMALL = {
    "alexnet": 67, "resnext50": 32, "regnetx-800mf": 32, "inception_v4": 75, "unet": 16, "yolov5s": 32, "yolov5m": 32,
    "yolov8n": 32, "deeplabv3_mobilenet_v2": 33, "deeplabv3_resnet50": 17,
}  # fmt: skip
WHOLE = ("alexnet", "resnext50", "regnetx-800mf", "mobilenet_v2", "resnet50", "inception_v3", "inception_v4")
FLOAT_UNITS = 16.0  # of bf16, as for the other networks of the zoo
ALTERNATELY = [(name, CHIPS[i % 2]) for i, name in enumerate(SMALL)]
OTHERWISE = [(name, CHIPS[1 - i % 2]) for i, name in enumerate(SMALL)]


def check(graph: oc.Graph, chip: str) -> None:
    """Compile and run a network of one image; the witness is the integer graph."""
    shape = [int(d) for d in graph.tensor(graph.inputs[0]).shape]
    sample = {graph.inputs[0]: np.random.default_rng(0).random(shape, np.float32)}
    seen: dict[str, oc.Graph] = {}
    program = oc.compile(graph, chip, samples=[sample], watch=seen.__setitem__)
    trace, exact = oc.simulate(program, sample), oc.evaluate(seen["graph"], sample)
    for name in graph.outputs:
        assert np.unique(exact[name]).size > 20, "the outputs tell nothing apart"
        np.testing.assert_array_equal(trace.outputs[name], exact[name])


@pytest.mark.parametrize(("name", "chip"), ALTERNATELY)
def test_small_forms(name: str, chip: str) -> None:
    check(build(name, batch=1, weights="random", image_size=SMALL[name]), chip)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chip"), OTHERWISE)
def test_small_forms_on_the_other_chip(name: str, chip: str) -> None:
    check(build(name, batch=1, weights="random", image_size=SMALL[name]), chip)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks(name: str, chip: str) -> None:
    check(build(name, batch=1, weights="random"), chip)


def distance(name: str, chip: str) -> float:
    """Return how far a small form's bf16 outputs are from the reference, in units of its largest output."""
    graph = build(name, batch=1, weights="random", image_size=SMALL[name])
    shape = [int(d) for d in graph.tensor(graph.inputs[0]).shape]
    sample = {graph.inputs[0]: np.random.default_rng(0).random(shape, np.float32)}
    seen: dict[str, oc.Graph] = {}
    trace = oc.simulate(oc.compile(graph, chip, dtype="bf16", watch=seen.__setitem__), sample)
    found: list[float] = []
    for output, wanted in oc.evaluate(seen["graph"], sample).items():
        assert np.unique(wanted).size > 20, "the outputs tell nothing apart"
        found.append(float(np.abs(trace.outputs[output] - wanted).max() / np.abs(wanted).max()))
    return max(found) / UNIT["bf16"]


@pytest.mark.parametrize(("name", "chip"), [("yolov8n", "a100-sxm-80gb"), ("deeplabv3_mobilenet_v2", "tpu-v4")])
def test_small_forms_in_floats(name: str, chip: str) -> None:
    assert distance(name, chip) <= FLOAT_UNITS


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["a100-sxm-80gb", "tpu-v4"])
@pytest.mark.parametrize("name", SMALL)
def test_all_small_forms_in_floats(name: str, chip: str) -> None:
    assert distance(name, chip) <= FLOAT_UNITS


@pytest.mark.parametrize("name", ["alexnet", "unet", "yolov8n", "deeplabv3_mobilenet_v2"])
def test_nothing_is_refused(name: str) -> None:
    """One of each kind: groups and lrn, transposed convolutions, nearest and bilinear resize."""
    for chip in ("edge-npu-16", "a100-sxm-80gb"):
        assert not oc.check(build(name, batch=1), chip).is_refused


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_no_chip_refuses_any(name: str) -> None:
    for chip in (*CHIPS, "a100-sxm-80gb", "tpu-v4"):
        assert not oc.check(build(name, batch=1), chip).is_refused
