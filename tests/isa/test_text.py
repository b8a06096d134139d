"""Assembler text: every instruction reads back as itself, and what is no instruction is refused."""

from __future__ import annotations

from random import Random

import pytest

from onchip.isa import LD, MM, RQ, VOP, WLD, Affine
from onchip.isa.text import read_line, write_line
from tests.strategies import kernel


def test_every_instruction_reads_back() -> None:
    instructions = [x for seed in range(100) for code in kernel(Random(seed)).streams for x in code]
    assert len({type(x) for x in instructions}) >= 8
    for x in instructions:
        assert read_line(write_line(x)) == x


def test_names_stand_for_numbers() -> None:
    assert write_line(VOP(sub=5, a_type=3, wait=1 << 3, signal=1 << 6 | 1 << 4)).split() == [
        "VOP.max", "wait=M>V", "signal=V>L,V>S", "a_type=acc",
    ]  # fmt: skip
    assert write_line(RQ(sub=4)).startswith("RQ.single.lanes")
    assert write_line(WLD(sub=1)) == "WLD.transposed"
    assert write_line(MM(sub=1, source=Affine(8, (0, 4, 0, 0)))) == "MM.add source=8+4*i1"
    assert write_line(LD()) == "LD"
    assert read_line("VOP.77 n=3") == VOP(sub=77, n=3)


@pytest.mark.parametrize(
    "line", ["JMP", "VOP.max n", "VOP.max lanes=3", "VOP.max n=1 n=2", "VOP.maximum", "NOP wait=X>Y", "LD box0=x"]
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_line(line)
