"""Ablations: what is switched off is off, and the table says what moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onchip.chip import Chip
from onchip.silicon.ablation import EFFECTS, Ablation, Effect, ablate, ablation_table
from onchip.silicon.measurements import Measurement

Rows = Callable[..., tuple[Measurement, ...]]


def test_every_effect_leaves_a_chip_that_holds() -> None:
    for name in ("a100-sxm-80gb", "v100-sxm", "hailo-8", "edge-tpu-usb", "tpu-v3-core"):
        for effect in EFFECTS:
            made = effect.chip(Chip.load(name))
            assert made.matrix == Chip.load(name).matrix and made.name == name


def test_without_an_effect_the_time_is_what_it_adds(rows: Rows) -> None:
    """Two rows measured at 1 ms: without the launch the predicted time is a launch shorter."""
    lines = [f"a100-sxm-80gb,gemm,M=64;N=4096;K={k},bf16,latency_ms,1,device," for k in (1024, 4096)]
    launch = next(effect for effect in EFFECTS if effect.name.startswith("launches"))
    whole, without = ablate(rows(*lines), (EFFECTS[0], launch))
    ((name, median, _, n),), ((_, shorter, _, _),) = whole.errors, without.errors
    own = 100 * 1e3 * float(Chip.load("a100-sxm-80gb").launch.in_graph_s)
    assert (name, n) == ("gemm", 2) and shorter - median == pytest.approx(own, rel=1e-6)


def test_a_call_of_the_host_is_switched_off_but_a_published_one_stays(rows: Rows) -> None:
    plain = "a100-pcie-40gb,gelu,n=1024,fp32,latency_ms,0.001,host,sitar-lab/NeuSight"
    told = "tpu-v3-core,gemm,M=64;N=128;K=128;empty_kernel_us=100,bf16,latency_ms,0.1,host,"
    call = next(effect for effect in EFFECTS if effect.name.startswith("calls"))
    whole, without = ablate(rows(plain, told), (EFFECTS[0], call))
    before, after = dict((e[0], e[1]) for e in whole.errors), dict((e[0], e[1]) for e in without.errors)
    assert before["elementwise"] > 1000 > after["elementwise"]
    assert before["gemm"] == after["gemm"]


def test_the_table() -> None:
    whole = Ablation("nothing", (("gemm", 4.6, 17.0, 10), ("rows", 3.0, 9.0, 5)))
    same = Ablation("launch", (("gemm", 4.65, 17.05, 10), ("rows", 30.0, 1234.0, 5)))
    gone = Ablation("all", (("gemm", 4.6, 17.2, 10),))
    assert ablation_table((whole, same, gone)) == [
        "| without | gemm (10) | rows (5) |",
        "| --- | ---: | ---: |",
        "| nothing | 4.6 / 17 | 3.0 / 9.0 |",
        "| launch | · | 30 / 1,234 |",
        "| all | 4.6 / 17 | – |",
    ]


def test_rows_that_are_not_of_time_are_left_out(rows: Rows) -> None:
    line = "eyeriss-v1,layer,network=alexnet;layer=conv1;batch=4,int16,dram_mb,5,device,"
    (made,) = ablate(rows(line), (Effect("nothing"),))
    assert made.errors == ()
