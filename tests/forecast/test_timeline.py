"""Kernels in order beside far memory: limits that have a formula, and the room between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.forecast.cost import Cost
from onchip.forecast.layers import Layer
from onchip.forecast.machine import Machine, machine
from onchip.forecast.timeline import run_in_order


def managed(overlap: float = 1.0) -> Machine:
    keys = {"overlap.memory_compute": overlap, "dram.latency": "0 ns"}
    return machine(Chip.load("edge-tpu-usb").replace(keys), "int8")


def layer(inner_s: float, weights: float, others_s: float = 0.0) -> Layer:
    """Return a layer whose weights move at 1 byte a second."""
    return Layer(Cost((("matrix", inner_s),)), weights, weights, others_s)


def total(layers: list[Layer], room: float, overlap: float = 1.0) -> float:
    return sum(cost.seconds for cost in run_in_order(layers, managed(overlap), room))


LAYERS = [layer(4, 1), layer(1, 5), layer(3, 2)]


@pytest.mark.parametrize(
    ("room", "seconds"),
    [
        (0, 4 + 5 + 3),  # the longer of the two, kernel by kernel
        (100, 1 + 5 + 3),  # memory is done at 6 with the second layer's weights, and the array works 3 more
        (5, 4 + 1 + 1 + 3),  # the second layer's 5 load from 1 to 6, while room holds them; the third's 2 from 6 to 8
        (2, 4 + 4 + 3),  # 1 of the 5 loads ahead beside the first layer's 1
    ],
)
def test_weights_load_ahead_as_far_as_there_is_room(room: float, seconds: float) -> None:
    assert total(LAYERS, room) == pytest.approx(seconds)


def test_activations_do_not_move_ahead() -> None:
    assert total([layer(4, 1), layer(1, 0, others_s=5)], 100) == pytest.approx(4 + 5)


def test_without_overlap_both_are_paid() -> None:
    assert total(LAYERS, 0, overlap=0.0) == pytest.approx(8 + 8)


def test_the_cause_is_what_was_waited_for() -> None:
    causes = [cost.causes[0][0] for cost in run_in_order(LAYERS, managed(), 0)]
    assert causes == ["matrix", "memory", "matrix"]


@given(
    times=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8),
    room=st.integers(0, 200),
    more=st.integers(0, 100),
)
def test_room_never_hurts_and_never_beats_the_two_totals(
    times: list[tuple[int, int, int]], room: int, more: int
) -> None:
    layers = [layer(inner, weights, others) for inner, weights, others in times]
    without, some, most = (total(layers, r) for r in (0, room, room + more))
    assert most <= some + 1e-9 <= without + 2e-9
    assert without == pytest.approx(sum(max(inner, weights + others) for inner, weights, others in times))
    assert most >= max(sum(t[0] for t in times), sum(t[1] + t[2] for t in times)) - 1e-9
