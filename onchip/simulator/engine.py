"""The event engine: four in-order streams, semaphores and the far-memory ports, compiled with numba.

In: the records of one kernel (four streams behind each other), the machine array, the semaphore counts its BARRIER
sets. Out: a row of totals (play.py) and, where asked for, the events. Time 0 is the end of the barrier.

The engine always takes the stream whose next instruction can start first (ties: stream order), so everything that
happens later starts no earlier, tokens of a semaphore are in order of time, and far transfers are served in the order
of their requests. `fast` skips whole periods of the two outer levels of loops (periods.py).
"""

# pyright: basic

from __future__ import annotations

from numba import njit
from numba.extending import register_jitable

from onchip.isa import timing
from onchip.isa.native import OPTIONS
from onchip.isa.timing import ceil_div, matmul_latency, matmul_occupancy, vector_occupancy, weight_load_occupancy
from onchip.simulator import operands
from onchip.simulator.operands import ACC
from onchip.simulator.periods import NEXT_SAVE, repeat
from onchip.simulator.play import (
    ACCUMULATOR_BYTES,
    CYCLES,
    DEADLOCK,
    DRAM_READ,
    DRAM_WRITE,
    INSTRUCTIONS,
    LAST_MATRIX,
    LAST_VECTOR,
    LEVELS,
    LOCAL_READ,
    LOCAL_WRITE,
    MACS,
    MATRIX_BUSY,
    N_MATMULS,
    OVERFLOW,
    SHARED_BYTES,
    STALL_FILL,
    STALL_MEMORY,
    STALL_VECTOR,
    STALL_WEIGHTS,
    STATUS,
    TOKENS,
    VECTOR_BUSY,
    VECTOR_LANES,
)  # fmt: skip

BYTES = (1, 2, 4, 4, 2, 2, 4, 1, 4)

inner = njit(**OPTIONS)
affine = inner(operands.affine.py_func)
DURATIONS = (timing.port_cycles, ceil_div, matmul_latency, matmul_occupancy, vector_occupancy, weight_load_occupancy)
for function in DURATIONS:
    register_jitable(function)


@inner
def clipped(size, row, has, index):
    """Return what remains of an extent on core (0, 0, 0)."""
    if not has:
        return size
    return max(0, min(size, affine(row, index)))


@inner
def box_bytes(integers, affines, index):
    """Valid bytes of a transfer."""
    total = 1
    for d in range(4):
        c = affine(affines[2 + d], index)
        total *= max(0, min(c + integers[d], integers[4 + d]) - max(c, 0))
    return total


@inner
def vector_bytes(integers, op, rows, n):
    """Bytes of local memory that a vector instruction reads and writes, and accumulator bytes that it touches."""
    reads, writes, words = 0, 0, 0
    a_lanes = n if integers[8] else 1
    if integers[4] == ACC:
        words += rows * a_lanes * 4
    else:
        reads += rows * a_lanes * BYTES[integers[4]]
    d_lanes = 1 if op == 7 else n
    if integers[9] == ACC:
        words += rows * d_lanes * 4
    else:
        writes += rows * d_lanes * BYTES[integers[9]]
    if op == 6 and integers[19] == 0:
        b_lanes = n if integers[17] else 1
        if integers[13] == ACC:
            words += rows * b_lanes * 4
        else:
            reads += rows * b_lanes * BYTES[integers[13]]
    return reads, writes, words


@inner
def rate_index(op, sub):
    if op == 6:
        return sub
    return 200 + (0 if op == 5 else (1 if op == 7 else 2))


def play_streams(
    ops, waits, signals, subs, integers, affines, has, starts, machine, initial, active, fast, ranges, events, totals,
    snapshots, tokens, kept_tokens, loops, rows,
):  # fmt: skip
    """Run one kernel, write its totals; returns the number of events. The last five are room, all zero (play.py)."""
    kept_totals, marks = rows[0:LEVELS], rows[14 : 14 + LEVELS]
    loop_start, loop_end, loop_count, index = loops[0], loops[1], loops[2], loops[3]
    pc, depth, free, comp, done = rows[16], rows[2], rows[3], rows[4], rows[5]
    matrix = rows[6]  # array free, shadow free, shadow ready, last sum
    waited_memory, waited_other, heads, counts = rows[7], rows[8], rows[9], rows[10]
    ports, nums, dens = rows[11], rows[12], rows[13]
    for s in range(4):
        pc[s], waited_memory[s], waited_other[s] = starts[s], -1, -1
    for q in range(8):
        counts[q] = initial[q]
    for p in range(2):  # a core's share of a port: the fair part, or what its bytes in flight allow
        nums[p], dens[p] = machine[timing.DRAM_NUM + 3 * p], machine[timing.DRAM_DEN + 3 * p] * active
        if p == 0 and nums[p] * machine[timing.CORE_DEN] > machine[timing.CORE_NUM] * dens[p]:
            nums[p], dens[p] = machine[timing.CORE_NUM], machine[timing.CORE_DEN]
    ref = 1 if starts[2] > starts[1] else (2 if starts[3] > starts[2] else 0)
    for kept in range(LEVELS):
        marks[kept, NEXT_SAVE] = 1
    n_events, has_matrix, load_cycles = 0, starts[2] > starts[1], 0
    while True:
        best, best_time = -1, 0
        for s in range(4):
            if pc[s] >= starts[s + 1]:
                done[s] = 1
                continue
            i = pc[s]
            t = free[s]
            if ops[i] == 4:
                t = max(t, matrix[0], matrix[2])
            elif ops[i] == 3:
                t = max(t, matrix[2])
                if machine[timing.SERIAL]:
                    t = max(t, matrix[3])
            blocked, mask = False, waits[i]
            q = 0
            while mask:
                if mask & 1:
                    if counts[q] == 0:
                        blocked = True
                        break
                    t = max(t, tokens[q, heads[q]])
                mask >>= 1
                q += 1
            if not blocked and (best < 0 or t < best_time):
                best, best_time = s, t
        if best < 0:
            if not (done[0] and done[1] and done[2] and done[3]):
                totals[STATUS] = DEADLOCK
            break
        s, now = best, best_time
        i, idx = pc[s], index[s]
        op = ops[i]
        q, mask = 0, waits[i]
        while mask:
            if mask & 1:
                t = tokens[q, heads[q]]
                if q < 2:
                    waited_memory[s] = max(waited_memory[s], t)
                else:
                    waited_other[s] = max(waited_other[s], t)
                heads[q] = (heads[q] + 1) % TOKENS
                counts[q] -= 1
            mask >>= 1
            q += 1
        ints, affs, hs = integers[i], affines[i], has[i]
        end, next_free = now + 1, now + 1
        busy, dram_size = next_free, 0
        if op == 1 or op == 2:
            size = box_bytes(ints, affs, idx)
            finish = now
            if size > 0:
                on_dram = ints[15] == 0
                shared_size = size if machine[timing.SHARED_NUM] > 0 else 0
                dram_size = ceil_div(size, ints[16]) if on_dram else 0
                if dram_size > 0:
                    ports[0] = max(ports[0], now * nums[0]) + dram_size * dens[0]
                    finish = max(finish, ceil_div(ports[0], nums[0]))
                if shared_size > 0:
                    ports[1] = max(ports[1], now * nums[1]) + shared_size * dens[1]
                    finish = max(finish, ceil_div(ports[1], nums[1]))
                totals[DRAM_READ if op == 1 else DRAM_WRITE] += dram_size
                totals[SHARED_BYTES] += shared_size
                totals[LOCAL_WRITE if op == 1 else LOCAL_READ] += size
                next_free = max(next_free, finish)
                latency = machine[timing.DRAM_LATENCY] if on_dram else machine[timing.SHARED_LATENCY]
                end = next_free + (latency if op == 1 else 0)
                busy = next_free
        elif op == 3:
            k, n = clipped(ints[0], affs[1], hs[1], idx), clipped(ints[1], affs[2], hs[2], idx)
            duration = weight_load_occupancy(machine, k, n, BYTES[ints[3]])  # type: ignore[arg-type]
            totals[LOCAL_READ] += k * n * BYTES[ints[3]]
            matrix[2] = now + duration
            load_cycles = duration
            end, next_free, busy = now + duration, now, now + duration
        elif op == 4:
            m = clipped(ints[0], affs[3], hs[3], idx) * clipped(ints[1], affs[4], hs[4], idx)
            m *= clipped(ints[2], affs[5], hs[5], idx)
            k, n = clipped(ints[3], affs[6], hs[6], idx), clipped(ints[4], affs[7], hs[7], idx)
            size = BYTES[ints[13]]
            duration = matmul_occupancy(machine, m, k, n, size)  # type: ignore[arg-type]
            gap = now - matrix[0]
            if gap > 0:  # what held the array back: the weight load at the end, before it the later of the two tokens
                if matrix[2] == now:
                    totals[STALL_WEIGHTS] += min(gap, load_cycles)
                    gap -= min(gap, load_cycles)
                if max(waited_memory[1], waited_other[1]) <= matrix[0]:
                    totals[STALL_FILL] += gap
                elif waited_memory[1] >= waited_other[1]:
                    totals[STALL_MEMORY] += gap
                else:
                    totals[STALL_VECTOR] += gap
            totals[MATRIX_BUSY] += duration
            totals[MACS] += m * k * n
            totals[N_MATMULS] += 1
            totals[LOCAL_READ] += m * k * size
            totals[ACCUMULATOR_BYTES] += m * n * 8
            matrix[0], matrix[1] = now + duration, now
            end, next_free = now + duration + matmul_latency(machine), now
            matrix[3], busy = end, now + duration
            totals[LAST_MATRIX] = now + duration
        elif op >= 5 and op <= 8:
            first = 3
            rows = clipped(ints[0], affs[first], hs[first], idx) * clipped(ints[1], affs[first + 1], hs[first + 1], idx)
            rows *= clipped(ints[2], affs[first + 2], hs[first + 2], idx)
            n = clipped(ints[3], affs[first + 3], hs[first + 3], idx)
            reads, writes, accumulator = vector_bytes(ints, op, rows, n)
            duration = vector_occupancy(machine, rate_index(op, subs[i]), rows, n, reads, writes)
            if not has_matrix and now > totals[LAST_VECTOR] and waited_memory[2] > totals[LAST_VECTOR]:
                totals[STALL_MEMORY] += now - totals[LAST_VECTOR]
            totals[LOCAL_READ] += reads
            totals[LOCAL_WRITE] += writes
            totals[ACCUMULATOR_BYTES] += accumulator
            totals[VECTOR_LANES] += rows * n
            end = now + duration + timing.VECTOR_LATENCY
            next_free, busy = end, end
            totals[VECTOR_BUSY] += end - now
            totals[LAST_VECTOR] = end
        free[s] = next_free
        comp[s] = max(comp[s], end)
        totals[INSTRUCTIONS] += 1
        totals[CYCLES] = max(totals[CYCLES], comp[s])
        if n_events < events.shape[0]:
            events[n_events, 0], events[n_events, 1], events[n_events, 2], events[n_events, 3] = s, now, comp[s], i
            events[n_events, 4], events[n_events, 5] = busy, dram_size
            n_events += 1
        mask, q = signals[i], 0
        while mask:
            if mask & 1:
                if counts[q] >= TOKENS:
                    totals[STATUS] = OVERFLOW
                    return n_events
                tokens[q, (heads[q] + counts[q]) % TOKENS] = comp[s]
                counts[q] += 1
            mask >>= 1
            q += 1
        level = -1  # of the loop that the reference stream begins again
        if op == 9:
            d = depth[s]
            loop_start[s, d], loop_end[s, d] = i + 1, i + 1 + ints[1]
            loop_count[s, d], index[s, d] = ints[0], 0
            depth[s] += 1
        pc[s] = i + 1
        while depth[s] > 0 and pc[s] == loop_end[s, depth[s] - 1]:
            d = depth[s] - 1
            if index[s, d] + 1 < loop_count[s, d]:
                index[s, d] += 1
                pc[s] = loop_start[s, d]
                level = d if s == ref and d < LEVELS else -1
                break
            index[s, d] = 0
            depth[s] -= 1
        if fast and level >= 0:
            repeat(
                level, now, ref, ranges[level, 0], ranges[level, 1], starts, pc, depth, loop_start, loop_count, index,
                free, comp, matrix, waited_memory, waited_other, ports, nums, tokens, heads, counts, totals,
                marks[level], snapshots[0], snapshots[1 + level], kept_tokens[level], kept_totals[level],
            )  # fmt: skip
    return n_events
