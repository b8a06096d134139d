"""The instruction set of the one machine that every chip is: four in-order streams, semaphores, loops.

In: nothing. Out: the instruction classes (fields, meaning and text in one place), the record and word formats derived
from them, and their durations. Sources: the instruction table follows what VTA (Moreau 2019), Gemmini (Genc 2021) and
tensor descriptors of recent GPUs have in common; see docs/isa.md.
"""

from onchip.isa.fields import LOAD, MATRIX, RECORD, STORE, STREAMS, VECTOR, Affine
from onchip.isa.instructions import BARRIER, HALT, LD, LOOP, MM, NOP, ST, WLD, Instruction
from onchip.isa.vector import LUT, RED, RQ, VOP

CLASSES: dict[int, type[Instruction]] = {
    c.OP: c for c in (NOP, LD, ST, WLD, MM, RQ, VOP, RED, LUT, LOOP, BARRIER, HALT)
}

__all__ = [
    "BARRIER", "CLASSES", "HALT", "LD", "LOAD", "LOOP", "LUT", "MATRIX", "MM", "NOP", "RECORD", "RED", "RQ", "ST",
    "STORE", "STREAMS", "VECTOR", "VOP", "WLD", "Affine", "Instruction",
]  # fmt: skip
