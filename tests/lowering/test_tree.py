"""Trees of loops: loops of one iteration vanish as if their index had been put in one by one."""

from __future__ import annotations

import numpy as np
import pytest

import onchip as oc
from onchip import pipeline
from onchip.case import Case
from onchip.isa import LD, MM, NOP
from onchip.isa.fields import RECORD, joined, pack, pack_rows
from onchip.lowering.tree import Expr, Loop, Op, Tree, flatten, initial_counts, nest, op, put, rows_of

OPERAND = Expr(7, (("a", 3), ("b", 5), ("c", 11)), (1, 2, 3), ("a", "c"), 64)
BODY: Tree = (
    op(LD, far=OPERAND, near=Expr(1, (("b", 2),)), box0=4, wait=((1, 0),), fills=("x",)),
    Loop("d", 3, (op(MM, source=OPERAND, sums=OPERAND, first=("a", "d"), signal=((0, 1),)), op(NOP))),
)


def one_by_one(loops: list[tuple[str, int]], body: Tree) -> Tree:
    """Wrap a body in loops, those of one iteration by putting index 0 in."""
    for name, count in reversed(loops):
        body = (Loop(name, count, body),) if count != 1 else tuple(put(node, name, 0) for node in body)
    return body


@pytest.mark.parametrize("counts", [(1, 1, 1), (1, 2, 1), (4, 1, 2), (2, 2, 2), (1, 1, 5)])
def test_loops_of_one_iteration_vanish(counts: tuple[int, int, int]) -> None:
    loops = list(zip("abc", counts, strict=True))
    assert flatten(nest(loops, BODY)) == flatten(one_by_one(loops, BODY))


@pytest.mark.parametrize("counts", [(1, 1, 1), (4, 3, 2), (2, 1, 5)])
def test_rows_are_those_of_the_instructions(counts: tuple[int, int, int]) -> None:
    """With more loops than the stack holds, too: the innermost ones are unrolled."""
    deep: Tree = (Loop("e", 2, (Loop("f", 2, nest(list(zip("abc", counts, strict=True)), BODY)),)),)
    for tree in (deep, BODY):
        wanted = pack([instruction.parts() for instruction in flatten(tree)])
        assert pack_rows(rows_of(tree)).tobytes() == wanted.tobytes()
    with pytest.raises(AssertionError):
        rows_of((op(NOP, nothing=1),))


def test_joined_records_are_numpys() -> None:
    rows = [pack([instruction.parts() for instruction in flatten(BODY)])[: n + 1] for n in range(4)]
    assert joined(rows).tobytes() == np.concatenate(rows).tobytes()
    assert joined([]).dtype == RECORD and len(joined([])) == 0


def test_the_counts_come_from_the_first_iterations() -> None:
    """One buffer of two slots, filled once in each of many iterations: the load unit may be two fills ahead."""
    load: Tree = (Loop("a", 9, (op(LD, wait=((1, 0),), fills=("x",)), op(NOP, signal=((0, 1),)))),)
    use: Tree = (Loop("a", 9, (op(NOP, wait=((0, 1),)), Op(NOP, signal=((1, 0),), releases=("x",)))),)
    counts = initial_counts((load, use, (), ()), {"x": 2}, "here")
    assert sorted(counts) == [0] * 7 + [2]


def test_instructions_are_counted_with_their_loops() -> None:
    for model, chip in (("@digits_cnn", "edge-npu-16"), ("@digits_attention", "tpu-v4"), ("@digits_lstm", "h100-sxm")):
        program = Case(oc.read(model), oc.Chip.load(chip)).program()
        played = sum(kernel.instructions for kernel in pipeline.simulate(program).kernels)
        assert program.n_instructions() == played + 4 * len(program.kernels)  # a barrier in each stream
