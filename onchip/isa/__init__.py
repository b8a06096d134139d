"""The instruction set of the one machine that every chip is: four in-order streams, semaphores, loops.

In: nothing. Out: the instruction classes (fields, meaning and text in one place), the record and word formats derived
from them, and their durations. `python -m onchip.isa.page > docs/isa.md` prints all of it. Sources: the instruction
table follows what VTA (Moreau 2019), Gemmini (Genc 2021) and tensor descriptors of recent GPUs have in common.

A core has four units, each with a stream of instructions: LOAD, MATRIX, VECTOR, STORE (0 to 3). A stream has a program
counter and a stack of at most four loops, and issues in order. All cores run the same four streams; an address or an
extent may depend on the place of the core in a grid of three axes: rows, channels, batch.

**Issue.** An instruction starts in the first cycle in which its stream is free, its unit is free (class by class,
below) and every semaphore in its `wait` mask is above zero. It takes one from each of them in that cycle. An
instruction that cannot start holds its stream up. Where streams start something in the same cycle, LOAD comes before
MATRIX before VECTOR before STORE; this decides the order of far-memory requests and nothing else.

**Completion.** An instruction completes no sooner than the one before it in its stream. In the cycle of its completion
it adds one to every semaphore in its `signal` mask; an instruction that waits for it may start in that same cycle.

**Semaphores.** Eight counters. Each has one stream that signals it and one that waits for it:

    number   0        1        2        3        4        5        6        7
    signals  LOAD     LOAD     MATRIX   MATRIX   VECTOR   VECTOR   VECTOR   STORE
    waits    MATRIX   VECTOR   LOAD     VECTOR   LOAD     MATRIX   STORE    VECTOR

A counter holds 0 to 64. One more is an error, and so is a kernel that leaves other counts than it found.

**Loops.** LOOP takes one cycle and pushes (first, end, count, index 0). After the last instruction of the body the
index counts up and the stream goes on with the first, without a cycle in between; after the last iteration the loop is
popped, and an enclosing loop that ends at the same place goes on in the same way. An instruction sees the indices of
the loops around it, outermost first: i0 to i3.

**Kernels.** A program is a sequence of kernels. A kernel is one BARRIER in each stream and the instructions behind it.
Cycle 0 is the end of the barrier: all units and both far-memory ports are free, nothing on chip is worth keeping. The
time of a kernel is the duration of its barrier plus the cycle of its last completion.

**Cores.** Core (0, 0, 0) has the largest share of every wave; its time is taken as the kernel's.
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
