"""Repeating iterations: found, and skipped exactly.

In: the engine's state at the moment when the reference stream begins another iteration of a loop at level 0 or 1.
Out: the state `skips` periods later. When, at two iterations, everything that can still matter is the same up to a
shift in time, the iterations between repeat exactly. Loop indices change durations only through clipped extents; the
caller gives for each level the range of iterations in which nothing is clipped by that level's index. At level 1 all
streams have to be in the same iteration of their outer loops. What did not move within a period does not move with it.
"""

# pyright: basic

from __future__ import annotations

from numba import njit

from onchip.isa.native import OPTIONS
from onchip.simulator.play import CYCLES, LAST_MATRIX, LAST_VECTOR, N_TOTALS, SNAPSHOT, STATUS, TOKENS

FIRST_CHECK = 4
# what is kept per level
HAS_SAVED, SAVED_TIME, SAVED_ITERATION, NEXT_SAVE, N_CHECKS, IS_DONE, OUTER, LOOP = range(8)
WAITED = 8  # 4 of memory and 4 of the rest follow

inner = njit(**OPTIONS)


@inner
def snapshot(out, now, ref, level, pc, depth, index, free, comp, matrix, ports, nums, tokens, heads, counts):
    """Write everything that decides the future, relative to `now` and to the reference's index of the level."""
    at = 0
    for s in range(4):
        out[at] = pc[s]
        out[at + 1] = depth[s]
        for d in range(4):
            out[at + 2 + d] = index[s, d] - index[ref, d] if d <= level else index[s, d]
        out[at + 6] = (free[s] if s == ref else max(free[s], now)) - now
        out[at + 7] = max(comp[s], now) - now
        at += 8
    for q in range(8):
        out[at] = counts[q]
        for j in range(TOKENS):
            out[at + 1 + j] = max(tokens[q, (heads[q] + j) % TOKENS], now) - now if j < counts[q] else 0
        at += TOKENS + 1
    out[at] = matrix[0] - now
    for i in range(1, 4):
        out[at + i] = max(matrix[i], now) - now
    for p in range(2):
        out[at + 4 + p] = max(ports[p], now * nums[p]) - now * nums[p]


@inner
def equal(a, b):
    for i in range(SNAPSHOT):
        if a[i] != b[i]:
            return False
    return True


@inner
def is_aligned(level, ref, starts, depth, loop_count, index):
    """Whether all streams are in loops of the same count at a level, and in the same iteration of those around it."""
    for s in range(4):
        if starts[s + 1] == starts[s]:
            continue
        if depth[s] <= level or loop_count[s, level] != loop_count[ref, level]:
            return False
        for outer in range(level):
            if index[s, outer] != index[ref, outer]:
                return False
    return True


@inner
def repeat(
    level, now, ref, low, high, starts, pc, depth, loop_start, loop_count, index, free, comp, matrix, waited_memory,
    waited_other, ports, nums, tokens, heads, counts, totals, mark, current, saved, saved_tokens, saved_totals,
):  # fmt: skip
    """Skip what repeats from here on at a level, or keep the state for a later comparison."""
    if high - low < FIRST_CHECK:
        return
    if level > 0 and (mark[OUTER] != index[ref, 0] + 1 or mark[LOOP] != loop_start[ref, level]):
        mark[HAS_SAVED], mark[NEXT_SAVE], mark[N_CHECKS], mark[IS_DONE] = 0, 1, 0, 0
        mark[OUTER], mark[LOOP] = index[ref, 0] + 1, loop_start[ref, level]
    if mark[IS_DONE] or not is_aligned(level, ref, starts, depth, loop_count, index):
        return
    smallest, largest = index[ref, level], index[ref, level]
    for s in range(4):
        if starts[s + 1] > starts[s]:
            smallest, largest = min(smallest, index[s, level]), max(largest, index[s, level])
    if smallest < low:
        return
    snapshot(current, now, ref, level, pc, depth, index, free, comp, matrix, ports, nums, tokens, heads, counts)
    if mark[HAS_SAVED] and equal(current, saved):
        period, shift = index[ref, level] - mark[SAVED_ITERATION], now - mark[SAVED_TIME]
        skips = max(0, (high - largest) // period)
        for s in range(4):
            if starts[s + 1] > starts[s]:
                index[s, level] += skips * period
            free[s] += skips * shift
            comp[s] += skips * shift
            matrix[s] += skips * shift
            if waited_memory[s] != mark[WAITED + s]:
                waited_memory[s] += skips * shift
            if waited_other[s] != mark[WAITED + 4 + s]:
                waited_other[s] += skips * shift
        for q in range(8):
            for j in range(counts[q]):
                if tokens[q, (heads[q] + j) % TOKENS] != saved_tokens[q, j]:
                    tokens[q, (heads[q] + j) % TOKENS] += skips * shift
        for p in range(2):
            ports[p] += skips * shift * nums[p]
        for j in range(N_TOTALS):
            if j != STATUS and j != CYCLES and j != LAST_MATRIX and j != LAST_VECTOR:
                totals[j] += skips * (totals[j] - saved_totals[j])
        totals[CYCLES] = max(comp[0], comp[1], comp[2], comp[3])
        for j in (LAST_MATRIX, LAST_VECTOR):
            if totals[j] != saved_totals[j]:
                totals[j] += skips * shift
        mark[HAS_SAVED], mark[IS_DONE] = 0, 1
        return
    mark[N_CHECKS] += 1
    if mark[N_CHECKS] == mark[NEXT_SAVE]:
        mark[NEXT_SAVE] *= 2
        for j in range(SNAPSHOT):
            saved[j] = current[j]
        for j in range(N_TOTALS):
            saved_totals[j] = totals[j]
        for q in range(8):
            for j in range(counts[q]):
                saved_tokens[q, j] = tokens[q, (heads[q] + j) % TOKENS]
        for s in range(4):
            mark[WAITED + s], mark[WAITED + 4 + s] = waited_memory[s], waited_other[s]
        mark[SAVED_TIME], mark[SAVED_ITERATION], mark[HAS_SAVED] = now, index[ref, level], 1
