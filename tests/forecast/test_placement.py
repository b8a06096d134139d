"""What stays on a chip that a compiler manages: chains worked by hand, and what no placement may do."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.forecast.kernels import Kernel, kernels_of
from onchip.forecast.machine import Machine, machine
from onchip.forecast.placement import place, pool_bytes
from onchip.forecast.traffic import Start, Traffic
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph


def one(made: str | tuple[str, ...]) -> str:
    assert isinstance(made, str)
    return made


def chain(*widths: int, rows: int = 100, skip: bool = False) -> Graph:
    """Draw linears one behind the other; `skip` adds the first one's output to the last one's."""
    builder = GraphBuilder("chain")
    x = builder.input("x", (rows, widths[0]))
    made = list[str]()
    for i, (given_, wide) in enumerate(pairwise(widths)):
        weight = builder.constant(f"w{i}", (wide, given_), "f32")
        x = one(builder.node("linear", (x, weight), f"fc{i}"))
        x = one(builder.node("softmax", (x,), f"s{i}"))
        made.append(x)
    if skip:
        x = one(builder.node("add", (made[0], x), "skip"))
    builder.output(x)
    return builder.finish()


def placed(graph: Graph, m: Machine) -> tuple[tuple[Kernel, ...], tuple[Traffic, ...], float]:
    kernels, alias = kernels_of(graph)
    traffics, room = place(kernels, alias, m)
    return kernels, traffics, room


def chip(pool: int, weights: str = "streamed", mode: str = "sequential") -> Machine:
    keys = {"shared.0.size": pool, "execution.weights": weights, "execution.mode": mode}
    return machine(Chip.load("edge-tpu-usb").replace(keys), "int8")


def test_what_fits_stays_and_the_edges_are_far() -> None:
    """100 x 64 in, 100 x 32 out: only those and the weights are far; 6,400 + 6,400 + 2,048 + 3,200 bytes."""
    _, traffics, room = placed(chain(64, 64, 32), chip(1 << 20))
    assert sum(t.far for t in traffics) == 6_400 + 64 * 64 + 64 * 32 + 3_200
    assert room == (1 << 20) - 2 * 6_400  # fc0's output beside its softmax


def test_a_tensor_spills_what_does_not_fit() -> None:
    """A pool of 1,600 bytes keeps a quarter of fc0's 6,400; the softmax's output, which lives beside it, has none."""
    kernels, traffics, _ = placed(chain(64, 64, 32), chip(1_600))
    by_name = {kernel.anchor.name: traffic for kernel, traffic in zip(kernels, traffics, strict=True)}
    assert by_name["fc0"].far_outputs == 4_800
    assert by_name["s0"].far_inputs == 4_800
    assert by_name["s0"].far_outputs == 6_400


def test_a_skip_stays_over_all_that_comes_between() -> None:
    """The first softmax's output is read last: beside it live what fc2 reads and makes, three tensors of 6,400."""
    _, _, room = placed(chain(64, 64, 64, 64, skip=True), chip(1 << 20))
    assert room == (1 << 20) - 3 * 6_400


def test_resident_weights_take_what_activations_leave() -> None:
    """Weights of 4,096 + 4,096 bytes and a pool of 12,800 + 2,048: a quarter of them stays."""
    _, streamed, _ = placed(chain(64, 64, 64), chip(12_800 + 2_048))
    _, resident, room = placed(chain(64, 64, 64), chip(12_800 + 2_048, "resident"))
    assert sum(t.far_weights for t in streamed) == 8_192
    assert sum(t.far_weights for t in resident) == 8_192 - 2_048
    assert room == 0


def test_a_cold_run_finds_no_weights() -> None:
    kernels, alias = kernels_of(chain(64, 64, 64))
    for start, far in (("warm", 8_192 - 2_048), ("activations", 8_192), ("cold", 8_192)):
        traffics, _ = place(kernels, alias, chip(12_800 + 2_048, "resident"), cast("Start", start))
        assert sum(t.far_weights for t in traffics) == far


@pytest.mark.parametrize(("pool", "far"), [(8_192, 0), (8_191, 8_192)])
def test_parts_of_a_pipeline_replace_each_other_whole(pool: int, far: int) -> None:
    _, traffics, _ = placed(chain(64, 64, 64), chip(pool, "resident", "pipeline"))
    assert sum(t.far_weights for t in traffics) == far


@given(
    widths=st.lists(st.integers(1, 300), min_size=2, max_size=7),
    pool=st.integers(1, 100_000),
    skip=st.booleans(),
)
def test_no_placement_holds_more_than_the_pool(widths: list[int], pool: int, skip: bool) -> None:
    """What is near at a kernel is kept there: inputs and outputs together never exceed the pool."""
    equal = [*widths, widths[1]] if skip else widths
    m = chip(pool)
    _, traffics, room = placed(chain(*equal, skip=skip), m)
    assert pool_bytes(m) == pool
    assert all(t.near <= pool + 1e-6 for t in traffics)
    assert 0 <= room <= pool
    _, wide, _ = placed(chain(*equal, skip=skip), chip(1 << 24))
    assert sum(t.far for t in wide) <= sum(t.far for t in traffics) + 1e-6
