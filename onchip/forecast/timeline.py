"""Kernels one after the other, and far memory beside them: weights load ahead as far as there is room.

In:       the layers in order, a Machine, the bytes on the chip that no activation needs.
Out:      the Cost of each kernel; together they are the seconds of the run.
Promises: kernel l ends when the one before it has ended and its own work is done, and when its bytes are there:
              end(l) = max(end(l-1) + inner(l), moved(l))
          far memory moves in order; its last `room` bytes of weights may be ahead of the kernels that read them, its
          activations not. With no room this is the longer of units and memory for each kernel; with room for all
          weights it is the longer of the two for the network.
          What overlap.memory_compute leaves uncovered of the shorter one comes on top.
Does not: price anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from onchip.forecast.cost import Cost
from onchip.forecast.layers import Layer
from onchip.forecast.machine import Machine


def run_in_order(layers: Sequence[Layer], m: Machine, room: float) -> tuple[Cost, ...]:
    """Return the cost of each kernel."""
    overlap = m.chip.overlap.memory_compute
    ends, moved, found = [0.0], 0.0, list[Cost]()
    for at, layer in enumerate(layers):
        inner_s, begin = layer.inner.seconds, ends[-1]
        moved = _weights_moved(layers, at, room, ends, moved)
        moved = max(moved, begin) + layer.others_s if layer.others_s else moved
        end = max(begin + inner_s, moved)
        uncovered = (1 - overlap) * min(inner_s, layer.weights_s + layer.others_s)
        ends.append(end + uncovered)
        found.append(_cost(layer, end + uncovered - begin, m, waits=moved > begin + inner_s))
    return tuple(found)


def _weights_moved(layers: Sequence[Layer], at: int, room: float, ends: Sequence[float], moved: float) -> float:
    """Return when the weights of kernel `at` have been moved.

    From the end of kernel j on the weights of kernels j + 1 ... at - 1 are held, and the rest of the room is open.
    """
    layer, first, held = layers[at], at, 0.0
    while first > 0 and held + layers[first - 1].weight_bytes < room:
        first -= 1
        held += layers[first].weight_bytes
    done = 0.0
    for before in range(first, at + 1):
        open_bytes = layer.weight_bytes if before == at else min(layer.weight_bytes, room - held)
        if open_bytes > done:
            moved = max(moved, ends[before]) + layer.weights_s * (open_bytes - done) / layer.weight_bytes
            done = open_bytes
        held -= layers[before].weight_bytes
    return moved


def _cost(layer: Layer, seconds: float, m: Machine, *, waits: bool) -> Cost:
    if not layer.inner.causes:
        return layer.inner
    cause = "memory" if waits else layer.inner.causes[0][0]
    return Cost(((cause, seconds), ("sync", m.dram_latency_s + m.tile_s)), layer.inner.how, layer.inner.far_bytes)
