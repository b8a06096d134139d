"""What a cache still holds when a kernel starts, told by hand for chains of layers."""

from __future__ import annotations

import pytest

from onchip.chip import Chip
from onchip.forecast.kernels import kernels_of
from onchip.forecast.machine import machine
from onchip.forecast.traffic import Start, Traffic, traffic_of
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph

V100 = Chip.load("v100-sxm")  # 6 MiB of cache, of which half counts
KIB = 1024


def chain(rows: int, width: int, layers: int) -> Graph:
    b = GraphBuilder("chain")
    x = b.input("x", (rows, width))
    for i in range(layers):
        made = b.node("linear", (x, b.constant(f"w{i}", (width, width), "f32")), f"fc{i}")
        x = made if isinstance(made, str) else made[0]
    b.output(x)
    return b.finish()


def traffic(graph: Graph, start: Start, chip: Chip = V100) -> tuple[Traffic, ...]:
    kernels, alias = kernels_of(graph)
    return traffic_of(kernels, alias, machine(chip, "fp16"), start)


def test_a_cold_run_reads_weights_and_input_and_writes_its_output() -> None:
    first, second = traffic(chain(64, 256, 2), "cold")
    weights, rows = 2 * 256 * 256, 2 * 64 * 256
    assert first == Traffic(weights, rows, 0, rows)
    assert second == Traffic(weights, 0, rows, rows)


def test_a_repeated_run_finds_all_of_a_small_network() -> None:
    for found in traffic(chain(64, 256, 2), "warm"):
        assert found.far == 0
        assert found.near == 2 * (256 * 256 + 2 * 64 * 256)


def test_tensors_stay_in_the_largest_shared_level() -> None:
    """MI300X: 8 layers of 8 MiB and their inputs fit in half of its 256 MiB, not in the 4 MiB of a die."""
    assert all(found.far == 0 for found in traffic(chain(64, 2048, 8), "warm", Chip.load("mi300x")))
    assert all(found.far_weights == 2 * 2048**2 for found in traffic(chain(64, 2048, 8), "warm"))


def test_weights_of_a_large_network_are_gone_when_it_runs_again() -> None:
    """8 layers of 512 KiB go around 3 MiB: what comes back was moved 4 MiB before."""
    for found in traffic(chain(64, 512, 8), "warm"):
        assert found.far_weights == 512 * KIB
    assert all(found.far_weights == 0 for found in traffic(chain(64, 512, 5), "warm"))


def test_activations_between_neighbours_stay() -> None:
    for found in traffic(chain(64, 512, 8), "warm")[1:]:
        assert found.far_inputs == 0 and found.far_outputs == 0


def test_a_tensor_larger_than_half_of_the_cache_is_far() -> None:
    (found,) = traffic(chain(4 * KIB, 512, 1), "warm")  # input and output of 4 MiB each
    assert found.far_inputs == found.far_outputs == 4 * KIB * KIB
    assert found.far_weights == 0


@pytest.mark.parametrize("start", ["cold", "activations", "warm"])
def test_every_byte_is_far_or_near_once(start: Start) -> None:
    graph = chain(1024, 1024, 3)
    for found in traffic(graph, start):
        assert found.far + found.near == 3 * 2 * KIB * KIB
