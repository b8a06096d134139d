"""The program on one core's memory: values bit for bit, no time.

In: the records of one kernel and the memories. Out: the memories changed. Streams run in turns, each until it has to
wait; `order` gives the turn's order, so that a test can try many: a correct program gives the same bytes in all of
them.
The meaning of every instruction is defined by its class in `isa/`; here it runs compiled, and loops around products
as one product (nests.py). The witness is `Instruction.run`, instruction by instruction, in the tests.
"""

# pyright: basic

from __future__ import annotations

from numba import njit

from onchip.simulator.float_matrix import FloatScratch, float_product, keep_floats
from onchip.simulator.float_vectors import FloatStage, float_vector
from onchip.simulator.matrix import keep_weights, product
from onchip.simulator.moves import transfer
from onchip.simulator.nests import SPAN, Scratch
from onchip.simulator.operands import borrowed, borrowed_code, inner, stamp
from onchip.simulator.vectors import Memory, Stage, vector

DONE, DEADLOCK, OUTSIDE = 0, 1, 2
CONTROL = (6, 4, 8)  # of each stream: loops' first, end, count and index by level; pc and depth; the semaphores
SOURCES = stamp()
inlined = njit(error_model="numpy", inline="always")


@inner
def is_ready(mask, counts):
    for q in range(8):
        if mask >> q & 1 and counts[q] == 0:
            return False
    return True


@inner
def change(mask, counts, by):
    for q in range(8):
        if mask >> q & 1:
            counts[q] += by


@inlined
def execute(i, level, index, core, code, nests, far, memory, scratch, stage):
    """Run a record of an integer program. Returns whether all its addresses exist."""
    op, sub, ints, affs, has = code.ops[i], code.subs[i], code.integers[i], code.affines[i], code.has[i]
    if op == 1 or op == 2:
        return transfer(op == 1, sub, ints, affs, index, core, far, memory.local, scratch.state)
    if op == 4 or nests[i, SPAN] > 1:
        return product(nests[i], code, index, core, level, memory.l8, scratch, memory.acc)
    if op == 3:
        return keep_weights(sub, ints, affs, has, index, core, memory.l8, scratch)
    if op >= 5 and op <= 8:
        return vector(op, sub, ints, affs, has, index, core, memory, stage, scratch.state)
    return True


@inlined
def execute_floats(i, level, index, core, code, nests, far, memory, scratch, stage):
    """Run a record of a float program. Returns whether all its addresses exist."""
    op, sub, ints, affs, has = code.ops[i], code.subs[i], code.integers[i], code.affines[i], code.has[i]
    if op == 1 or op == 2:
        return transfer(op == 1, sub, ints, affs, index, core, far, memory.local, scratch.state)
    if op == 4:
        return float_product(ints, affs, has, sub, index, core, memory, scratch)
    if op == 3:
        return keep_floats(sub, ints, affs, has, index, core, memory, scratch)
    if op == 6 or op == 7:
        return float_vector(op, sub, ints, affs, has, index, core, memory, stage)
    return op != 5 and op != 8


def walk_function(execute, borrowed_scratch, borrowed_stage):
    """Return the walk through a kernel's streams, every record by `execute`."""

    @inner
    def walk(code, nests, initial, order, core, far, memory, scratch, stage, control):
        """Run one kernel on one core; returns DONE, or why it cannot go on."""
        code, nests, far, control = borrowed_code(code), borrowed(nests), borrowed(far), borrowed(control)
        memory, scratch, stage = borrowed_memory(memory), borrowed_scratch(scratch), borrowed_stage(stage)
        loop_start, loop_end, loop_count, index = control[0], control[1], control[2], control[3]
        pc, depth, counts = control[4, 0], control[4, 1], control[5, 0]
        for s in range(4):
            pc[s], depth[s] = code.starts[s], 0
            for level in range(8):
                index[s, level] = 0
        for q in range(8):
            counts[q] = initial[q]
        for at in range(len(scratch.state)):
            scratch.state[at] = -1  # nothing is packed
        moved = True
        while moved:
            moved = False
            for turn in range(4):
                s = order[turn]
                while pc[s] < code.starts[s + 1]:
                    i = pc[s]
                    if not is_ready(code.waits[i], counts):
                        break
                    moved = True
                    change(code.waits[i], counts, -1)
                    if not execute(i, depth[s], index[s], core, code, nests, far, memory, scratch, stage):
                        return OUTSIDE
                    change(code.signals[i], counts, 1)
                    pc[s] = i + max(1, nests[i, SPAN])
                    if code.ops[i] == 9 and nests[i, SPAN] == 0:
                        d = depth[s]
                        loop_start[s, d], loop_end[s, d] = i + 1, i + 1 + code.integers[i, 1]
                        loop_count[s, d], index[s, d] = code.integers[i, 0], 0
                        depth[s] += 1
                    while depth[s] > 0 and pc[s] == loop_end[s, depth[s] - 1]:
                        d = depth[s] - 1
                        if index[s, d] + 1 < loop_count[s, d]:
                            index[s, d] += 1
                            pc[s] = loop_start[s, d]
                            break
                        index[s, d] = 0
                        depth[s] -= 1
        for s in range(4):
            if pc[s] < code.starts[s + 1]:
                return DEADLOCK
        return DONE

    return walk


@inner
def borrowed_memory(memory):
    return Memory(
        borrowed(memory.local), borrowed(memory.l8), borrowed(memory.l16), borrowed(memory.l32), borrowed(memory.acc),
    )  # fmt: skip


@inner
def borrowed_scratch(scratch):
    return Scratch(
        borrowed(scratch.rows), borrowed(scratch.blocks), borrowed(scratch.sums), borrowed(scratch.kept),
        borrowed(scratch.stage), borrowed(scratch.passes), borrowed(scratch.pieces), borrowed(scratch.row_at),
        borrowed(scratch.block_at), borrowed(scratch.widths), borrowed(scratch.state),
    )  # fmt: skip


@inner
def borrowed_stage(stage):
    return Stage(
        borrowed(stage.x), borrowed(stage.y), borrowed(stage.z), borrowed(stage.bias), borrowed(stage.multiplier),
        borrowed(stage.shift), borrowed(stage.half), borrowed(stage.table),
    )  # fmt: skip


@inner
def borrowed_float_scratch(scratch):
    return FloatScratch(
        borrowed(scratch.kept), borrowed(scratch.inputs), borrowed(scratch.sums), borrowed(scratch.places),
        borrowed(scratch.state),
    )  # fmt: skip


@inner
def borrowed_float_stage(stage):
    return FloatStage(borrowed(stage.x), borrowed(stage.y), borrowed(stage.z))


walk = walk_function(execute, borrowed_scratch, borrowed_stage)
walk_floats = walk_function(execute_floats, borrowed_float_scratch, borrowed_float_stage)


def _make(sources):
    @njit(cache=True, error_model="numpy")
    def run(code, nests, initial, order, core, far, memory, scratch, stage, control):
        """Run one kernel of an integer program on one core. Compiled anew when `sources` change."""
        if len(sources) == 0:
            return DEADLOCK
        return walk(code, nests, initial, order, core, far, memory, scratch, stage, control)

    return run


def _make_floats(sources):
    @njit(cache=True, error_model="numpy")
    def run(code, nests, initial, order, core, far, memory, scratch, stage, control):
        """Run one kernel of a float program on one core."""
        if len(sources) == 0:
            return DEADLOCK
        return walk_floats(code, nests, initial, order, core, far, memory, scratch, stage, control)

    return run


run = _make(SOURCES)
run_floats = _make_floats(SOURCES)
