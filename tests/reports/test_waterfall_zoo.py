"""The parts of the time sum to the whole: networks of the zoo on chips of the catalog, in forecasts and in programs.

The witness is the sum itself, made here from the published JSON with exact fractions of its floats: every part has a
known cause and is not negative, causes sum to the latency, a layer's causes to the layer's time, and cause by cause
the layers to the run, but for what belongs to no layer (the start of the run, and in forecasts what kernels share).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.report import Report
from onchip.ir.report_text import WORDS
from onchip.zoo.catalog import ZOO

NETWORKS = ("digits_lstm", "resnet18", "ds_cnn", "llama-260k", "tpu-v1-lstm0")
CHIPS = (
    "edge-npu-16", "tiny-npu-4", "h100-sxm", "xavier-agx", "tpu-v4", "tpu-v1", "ethos-u55-128", "hailo-8", "eyeriss-v1",
    "stm32n6", "mi300x", "knl-7250", "rk3588-1core", "orin-dla-x2",
)  # fmt: skip
PROGRAMS = ("edge-npu-16", "h100-sxm", "tpu-v4", "ethos-u55-128")
NEAR = Fraction(1, 10**9)


def check_sums(report: Report) -> None:
    """Check one report; `where` names it in a failure."""
    made, where = report.to_json(), f"{report.model.name} on {report.chip.name}, {report.kind}"
    causes = parts_of(made["waterfall"], where)
    whole = Fraction(made["latency_s"]["value"])
    assert near(sum(causes.values()), whole, whole), where
    layers: dict[str, Fraction] = {}
    for layer in made["layers"]:
        own = parts_of(layer["waterfall"], f"{where}, {layer['name']}")
        time = Fraction(layer["latency_s"]["value"])
        assert near(sum(own.values()), time, time), f"{where}, {layer['name']}"
        for cause, seconds in own.items():
            layers[cause] = layers.get(cause, Fraction(0)) + seconds
    for cause, seconds in causes.items():
        if cause != "host":
            assert near(layers.get(cause, Fraction(0)), seconds, whole), f"{where}: layers lose {cause}"
    assert set(layers) <= set(causes), where
    assert sum(layer["share"] for layer in made["layers"]) <= 1 + 1e-9, where


def parts_of(parts: list[Any], where: str) -> dict[str, Fraction]:
    found = {part["part"]: Fraction(part["seconds"]) for part in parts}
    assert len(found) == len(parts) and set(found) <= set(WORDS), where
    assert all(seconds >= 0 for seconds in found.values()), f"{where}: a part is negative"
    return found


def near(a: Fraction | int, b: Fraction, whole: Fraction) -> bool:
    return abs(a - b) <= NEAR * whole


def check_all(network: str, chips: tuple[str, ...], programs: tuple[str, ...]) -> int:
    """Check a network on chips; return how many reports there were. What a chip refuses has no report."""
    graph, n = pipeline.bind_batch(pipeline.read(f"@{network}")), 0
    for name in chips:
        try:
            report = pipeline.on_silicon(graph, Chip.load(name))
            ours = pipeline.estimate(graph, name) if name in programs and report.kind == "silicon" else None
        except OnchipError as error:
            assert error.exit_code in (3, 4), f"{network} on {name}: {error}"
            continue
        for made in (report, ours):
            if made is not None:
                check_sums(made)
                n += 1
    return n


@pytest.mark.parametrize("network", NETWORKS)
def test_parts_sum_to_the_whole(network: str) -> None:
    assert check_all(network, CHIPS, PROGRAMS) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted(ZOO))
def test_parts_sum_to_the_whole_on_the_whole_catalog(network: str) -> None:
    assert check_all(network, Chip.names(), PROGRAMS) >= 40
