"""What the Plan's constructor refuses: each fault is put into a good plan by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, InternalError
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ir.plan import Buffer, Kernel, Mapping, Place, Plan
from onchip.planner.plan import plan


def chain() -> Graph:
    """Return conv1 -> conv2 -> conv3, and conv1 again beside conv3."""
    b = GraphBuilder("chain")
    x, made = b.input("x", (1, 8, 8, 4)), list[str]()
    for number in (1, 2, 3):
        weight = b.constant(f"conv{number}.weight", (4, 3, 3, 4))
        y = b.node("conv2d", (made[-1] if made else x, weight), f"conv{number}", padding=(1, 1, 1, 1))
        made.append(str(y))
    b.output(str(b.node("max_pool2d", (made[-1],), "pool", kernel=(2, 2), stride=(2, 2))))
    return b.finish()


@pytest.fixture
def good() -> Plan:
    chip = Chip.load("tiny-npu-4")
    made = plan(pipeline.compile_graph(chain(), chip), chip, "int8")
    assert [k.name for k in made.kernels] == ["conv1", "conv2", "conv3"]
    assert made.kernels[2].nodes == ("conv3", "pool")
    return made


def with_kernel(good: Plan, number: int, **changes: Any) -> Plan:
    kernels = list(good.kernels)
    kernels[number] = replace(kernels[number], **changes)
    return replace(good, kernels=tuple(kernels))


def with_place(good: Plan, tensor: str, **changes: Any) -> Plan:
    return replace(good, places=tuple(replace(p, **changes) if p.tensor == tensor else p for p in good.places))


def test_a_node_computed_twice(good: Plan) -> None:
    with pytest.raises(InternalError, match="conv1: OC9024 is computed twice"):
        replace(good, kernels=(*good.kernels, good.kernels[0]))


def test_a_node_never_computed(good: Plan) -> None:
    with pytest.raises(InternalError, match="conv3: OC9024 is never computed"):
        replace(good, kernels=good.kernels[:2])


def test_a_renaming_that_moves(good: Plan) -> None:
    """A reshape costs nothing only where both of its names lie in one place."""
    b = GraphBuilder("renamed")
    w = b.constant("w", (4, 12))
    x = b.node("linear", (b.input("x", (2, 3, 12)), w), "fc1")
    b.output(str(b.node("linear", (str(b.node("reshape", (str(x),), "flat", shape=(2, 12))), w), "fc2")))
    made = plan(pipeline.compile_graph(b.finish(), good.chip), good.chip, "int8")
    flat = made.place("flat")
    with pytest.raises(InternalError, match="flat: OC9024 is never computed"):
        with_place(made, "flat", address=flat.address + 64)


def test_a_tensor_read_before_it_is_made(good: Plan) -> None:
    one, two, three = good.kernels
    with pytest.raises(InternalError, match="conv2: OC9026 reads 'conv1' before it is made"):
        replace(good, kernels=(two, one, three))


def test_live_tensors_that_overlap(good: Plan) -> None:
    place = good.place("conv1")
    with pytest.raises(InternalError, match=r"OC9025 lies over 'conv[12]', which is needed at the same time"):
        with_place(good, "conv2", address=place.address)
    with pytest.raises(InternalError, match="OC9025"):
        with_place(good, "conv2", address=place.address + place.size - 1)
    with_place(good, "conv2", address=place.address + place.size + (1 << 16))


def test_tensors_with_different_lives_may_share(good: Plan) -> None:
    """conv1 is read for the last time by the kernel before conv3's: its place is free for the output."""
    output = good.place(good.kernels[2].output)
    assert output.kind == "output"
    shared = Place(output.tensor, good.place("conv1").address, output.size, "intermediate")
    replace(good, places=tuple(shared if p.tensor == output.tensor else p for p in good.places))


def test_more_far_memory_than_there_is(good: Plan) -> None:
    with pytest.raises(DoesNotFit, match="OC2001"):
        with_place(good, "conv1", address=good.chip.dram.size_bytes)


def buffers(kernel: Kernel, name: str, **changes: Any) -> tuple[Buffer, ...]:
    return tuple(replace(b, **changes) if b.name == name else b for b in kernel.buffers)


def test_buffers_that_overlap(good: Plan) -> None:
    kernel = good.kernels[0]
    at = kernel.buffer("source").end - 1
    with pytest.raises(InternalError, match="conv1: OC9023 buffers source and weights overlap"):
        with_kernel(good, 0, buffers=buffers(kernel, "weights", address=at))
    grown = buffers(kernel, "source", size=kernel.buffer("source").size * 100)
    with pytest.raises(InternalError, match="OC9023"):
        with_kernel(good, 0, buffers=grown)


@pytest.mark.parametrize(("name", "memory"), [("output", "local"), ("sums", "accumulator")])
def test_buffers_that_do_not_fit(good: Plan, name: str, memory: str) -> None:
    sizes = {"local": good.chip.local.size_bytes, "accumulator": good.chip.local.accumulator_bytes // 4}
    kernel = good.kernels[0]
    moved = buffers(kernel, name, address=sizes[memory] - 1)
    with pytest.raises(DoesNotFit, match=f"OC2103.*{memory} ends at {sizes[memory]}"):
        with_kernel(good, 0, buffers=moved)


@pytest.mark.parametrize(
    ("number", "changes", "code"),
    [
        (0, {"tp": 0}, "OC9020"),  # nothing would be computed
        (0, {"tn": 5}, "OC9020"),  # channels that are not there
        (0, {"tq": 9}, "OC9020"),
        (0, {"rows_cores": 0}, "OC9021"),  # nobody would compute
        (2, {"tp": 3}, "OC9022"),  # a pooling window in two tiles
        (2, {"tq": 3}, "OC9022"),
    ],
)
def test_tiles_that_leave_outputs_out(good: Plan, number: int, changes: dict[str, Any], code: str) -> None:
    mapping: Mapping = replace(good.kernels[number].mapping, **changes)
    with pytest.raises(InternalError, match=code):
        with_kernel(good, number, mapping=mapping)


def test_tiles_that_cut_a_block_of_the_array(good: Plan) -> None:
    """With 3 of 4 columns in a tile the last block of one tile would compute the first channel of the next one."""
    mapping: Mapping = replace(good.kernels[0].mapping, tn=3)
    with pytest.raises(InternalError, match="conv1: OC9027 tiles of 3 channels cut blocks of 4 columns"):
        with_kernel(good, 0, mapping=mapping)
    b = GraphBuilder("fc")
    b.output(str(b.node("linear", (b.input("x", (2, 16)), b.constant("w", (4, 16))), "fc")))
    made = plan(pipeline.compile_graph(b.finish(), good.chip), good.chip, "int8")
    with pytest.raises(InternalError, match="fc: OC9027 depth tiles of 6 cut folds of 4 rows"):
        with_kernel(made, 0, mapping=replace(made.kernels[0].mapping, tc=6))
