"""Networks whose rows or images are longer than a core's memory: which chips run them, and what stops the others."""

from __future__ import annotations

from typing import Any

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.zoo.catalog import build
from tests.test_ladder import kernel_cycles

CHIPS = ("a100-sxm-80gb", "edge-npu-16", "h100-sxm", "tpu-v1", "tpu-v4")
FIT: dict[str, dict[str, Any]] = {
    "bert-base": {"seq": 512}, "bert-large": {"seq": 384}, "gpt2": {"seq": 1024}, "whisper-tiny": {},
    "efficientnet-b0": {}, "deeplabv3_mobilenet_v2": {}, "deeplabv3_resnet50": {},
}  # fmt: skip


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", FIT)
def test_it_fits(name: str, chip: str) -> None:
    """Every chip of the catalog's five runs them; only the tiny NPU (32 KiB) is left out."""
    assert pipeline.estimate_trace(build(name, **FIT[name]), chip).cycles > 0


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", FIT)
def test_estimate_is_simulate(name: str, chip: str) -> None:
    seen: dict[str, Any] = {}
    estimated = pipeline.estimate_trace(build(name, **FIT[name]), chip, watch=seen.__setitem__)
    assert kernel_cycles(estimated) == kernel_cycles(pipeline.simulate(seen["program"]))


def test_a_row_of_scores_too_long_for_the_accumulator() -> None:
    chip = Chip.load("edge-npu-16").replace({"local.accumulator": "8 KiB"})
    with pytest.raises(DoesNotFit, match=r"OC2104 one row of scores of attention needs \d+ bytes of accumulator"):
        pipeline.estimate_trace(build("whisper-tiny"), chip)
