"""Every mapping that a kernel could have: what the search chooses from, by plain loops."""

from __future__ import annotations

from dataclasses import replace

from onchip.chip import Chip
from onchip.ir.plan import Kernel, Mapping, Shape
from onchip.isa.machine import machine_of
from onchip.planner.buffers import local_bytes, place_buffers, sizes
from onchip.planner.tile import CHANNELS, DEPTH, candidates


def legal_mappings(shape: Shape, chip: Chip) -> list[Mapping]:
    """Return all candidates that fit, with two slots and with one."""
    table = candidates(shape, chip, machine_of(chip, shape.dtype))
    found: list[Mapping] = []
    for slots in (2, 1):
        for row in zip(*(getattr(table, name).tolist() for name in table.__slots__), strict=True):
            tb, tp, tq, tn, tc, outer, down, along, images = row
            mapping = Mapping(
                tb, tp, tq, tn, tc, outer == CHANNELS, down, along, images, slots, depth_outer=outer == DEPTH
            )  # fmt: skip
            size = sizes(shape, tb, tp, tq, tn, tc, kept=mapping.kept(shape))
            if local_bytes(shape, size, slots, chip) > chip.local.size_bytes:
                continue
            if size.sums + size.scratch <= chip.local.accumulator_bytes // 4:
                found.append(mapping)
    return found


def remapped(kernel: Kernel, mapping: Mapping, chip: Chip) -> Kernel:
    """Return the kernel with another mapping."""
    return replace(kernel, mapping=mapping, buffers=place_buffers(kernel.shape, mapping, chip))
