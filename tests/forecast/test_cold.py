"""Starts that find their code gone: by hand, and nothing where a chip file does not say so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import onchip as oc
from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.cold import cold_starts, evicted, ramp
from onchip.forecast.cost import Cost
from onchip.forecast.kernels import kernels_of
from onchip.forecast.machine import machine
from onchip.forecast.traffic import Traffic
from onchip.passes.fold import fold

CPU = "knl-7250?launch.in_graph=2us&achieved.tile=10us"  # 68 cores of 512 KiB


def test_a_start_behind_much_data_takes_more_and_behind_little_it_does_not() -> None:
    m = machine(Chip.load(f"{CPU}&launch.cold=1.5"), "fp32")
    kernels = [k for k in kernels_of(fold(pipeline.bind_batch(oc.read("@digits_cnn"))))[0] if k.anchor.name != "x"][:3]
    assert [k.anchor.op for k in kernels] == ["conv2d", "max_pool2d", "conv2d"]
    much, little = Traffic(0.0, 0.0, 0.0, 68 * 3 * 512 * 1024), Traffic(0.0, 0.0, 0.0, 1000.0)
    costs = [Cost((("matrix", 1e-3),), launches=2), Cost((("vector", 1e-3),)), Cost((("matrix", 1e-3),))]
    # behind the last one, which moved little; behind much, without the start of a product; behind little
    assert cold_starts(kernels, [much, little, little], costs, m) == pytest.approx([0.0, 1.5 * 2e-6, 0.0])
    assert cold_starts(kernels, [little, little, much], costs, m) == pytest.approx([1.5 * (2 * 2e-6 + 10e-6), 0.0, 0.0])


def test_it_is_the_launch_of_the_forecast_that_grows() -> None:
    graph = oc.read("@resnet18")
    warm, cold = (pipeline.forecast(graph, f"{CPU}&launch.cold={share}").steps for share in (0.0, 2.0))
    added = [dict(b.causes)["launch"] - dict(a.causes)["launch"] for a, b in zip(warm, cold, strict=True)]
    assert min(added) >= 0
    assert max(added) <= 2.0 * (2 * 2e-6 + 10e-6) + 1e-12
    assert [a.causes[:-1] for a in warm] == [b.causes[:-1] for b in cold]


def test_the_ramp_is_that_of_the_copies_it_was_read_off() -> None:
    """1, 2, 4, 8 and 16 MiB moved on a core of 2 MiB."""
    assert [ramp(size / 2) for size in (1, 2, 4, 8, 16)] == pytest.approx([0.0, 0.2, 0.6, 1.0, 1.0])


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_more_data_never_leaves_more_of_the_code(some: float, more: float) -> None:
    m = machine(Chip.load(CPU), "fp32")
    assert 0 <= evicted(some, m) <= evicted(some + more, m) <= 1
    assert evicted(some, replace(m, cores=2 * m.cores)) <= evicted(some, m)
