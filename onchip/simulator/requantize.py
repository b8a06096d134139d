"""RQ on many lanes: from a stage of 32-bit lanes, or straight from memory to memory, compiled.

In: an instruction's fields, lanes in the stage or places in memory. Out: requantized lanes in the other. Parameters are
either one set for all lanes or a row's own. Sources: docs/arithmetic.md; the witness is `RQ.run`.
"""

# pyright: basic

from __future__ import annotations

import numpy as np

from onchip.simulator.lanes import INT_MAX, INT_MIN
from onchip.simulator.operands import ACC, inner


@inner
def take_parameters(sub, ints, at, n, lanes, memory, stage):
    """Write bias, multiplier and shift of each lane of the stage; a row's own repeat every n lanes.

    The zero point of the input goes into the bias, and in mode 0 the shift becomes how far to the right.
    """
    bias, multiplier, shift, half = stage.bias, stage.multiplier, stage.shift, stage.half
    if not sub & 4:
        n = lanes
    if sub & 4:
        word = np.uint64(at >> 2)
        for j in range(np.uint64(n)):
            bias[j] = memory.l32[word] - ints[13]
            multiplier[j], shift[j] = memory.l32[word + np.uint64(1)], memory.l32[word + np.uint64(2)]
            word += np.uint64(3)
    else:
        for j in range(np.uint64(n)):
            bias[j], multiplier[j], shift[j] = ints[15] - ints[13], ints[16], ints[17]
    if sub & 3 == 0:
        for j in range(np.uint64(n)):
            shift[j] = 31 - shift[j]
            half[j] = np.int64(1) << (shift[j] - 1)
    while n < lanes:  # whole rows each time: twice as many
        first, more = np.uint64(n), np.uint64(min(n, lanes - n))
        for j in range(more):
            bias[first + j] = bias[j]
        for j in range(more):
            multiplier[first + j] = multiplier[j]
        for j in range(more):
            shift[first + j] = shift[j]
        for j in range(more):
            half[first + j] = half[j]
        n += min(n, lanes - n)


@inner
def requantize_once(n, left, zero, low, high, stage):
    x, z, bias, multiplier, shift, half = stage.x, stage.z, stage.bias, stage.multiplier, stage.shift, stage.half
    if left == 0:
        for j in range(np.uint64(n)):
            y = np.int64(np.int32(x[j] + bias[j])) * np.int64(multiplier[j]) + half[j]
            z[j] = min(max((y >> shift[j]) + zero, low), high)
    else:
        for j in range(np.uint64(n)):
            y = np.int64(np.int32(np.int64(np.int32(x[j] + bias[j])) << left)) * np.int64(multiplier[j]) + half[j]
            z[j] = min(max((y >> shift[j]) + zero, low), high)


@inner
def requantize_twice(n, left, zero, low, high, stage):
    for j in range(np.uint64(n)):
        x = np.int64(np.int32(np.int64(np.int32(stage.x[j] + stage.bias[j])) << left))
        x = np.int64(np.int32(x << max(stage.shift[j], 0)))
        h = min((x * np.int64(stage.multiplier[j]) + (1 << 30)) >> 31, INT_MAX)
        right = max(-stage.shift[j], 0)
        mask = (np.int64(1) << right) - 1
        y = (h >> right) + np.int64((h & mask) > (mask >> 1) + np.int64(h < 0))
        stage.z[j] = min(max(y + zero, low), high)


@inner
def requantize_float(n, left, zero, low, high, stage):
    real = stage.multiplier.view(np.float32)
    for j in range(np.uint64(n)):
        x = np.int32(np.int64(np.int32(stage.x[j] + stage.bias[j])) << left)
        y = np.int64(np.rint(np.float32(x) * real[j]))
        stage.z[j] = min(max(y + zero, low), high)


@inner
def limits(kind, low, high):
    """Return the clamp of a requantized lane: its own, within what the type holds."""
    least, most = (-128, 127) if kind == 0 else ((-32768, 32767) if kind == 1 else (INT_MIN, INT_MAX))
    return min(max(low, least), most), min(max(high, least), most)


@inner
def once(n, left, zero, low, high, source, at, target, to, stage):
    """Requantize from one memory to another without the stage; the lanes do not overlap."""
    bias, multiplier, shift, half = stage.bias, stage.multiplier, stage.shift, stage.half
    at, to = np.uint64(at), np.uint64(to)
    if left == 0:
        for j in range(np.uint64(n)):
            y = np.int64(np.int32(source[at + j] + bias[j])) * np.int64(multiplier[j]) + half[j]
            target[to + j] = min(max((y >> shift[j]) + zero, low), high)
    else:
        for j in range(np.uint64(n)):
            x = np.int64(np.int32(np.int64(np.int32(source[at + j] + bias[j])) << left))
            target[to + j] = min(max((x * np.int64(multiplier[j]) + half[j] >> shift[j]) + zero, low), high)


@inner
def once_in_place(n, left, zero, low, high, words, at, stage):
    bias, multiplier, shift, half = stage.bias, stage.multiplier, stage.shift, stage.half
    at = np.uint64(at)
    for j in range(np.uint64(n)):
        x = np.int64(np.int32(np.int64(np.int32(words[at + j] + bias[j])) << left))
        words[at + j] = min(max((x * np.int64(multiplier[j]) + half[j] >> shift[j]) + zero, low), high)


@inner
def own_parameters(ints):
    """Return bias less the input's zero point, multiplier, and how far to the right, where all lanes have the same."""
    return np.int32(ints[15] - ints[13]), np.int64(np.int32(ints[16])), 31 - ints[17]


@inner
def once_alike(n, ints, low, high, source, at, target, to):
    """Requantize lanes with the same parameters, as `once`."""
    bias, multiplier, shift = own_parameters(ints)
    half, left, zero, at, to = np.int64(1) << (shift - 1), ints[14], ints[18], np.uint64(at), np.uint64(to)
    for j in range(np.uint64(n)):
        x = np.int64(np.int32(np.int64(np.int32(source[at + j] + bias)) << left))
        target[to + j] = min(max((x * multiplier + half >> shift) + zero, low), high)


@inner
def once_alike_in_place(n, ints, low, high, words, at):
    bias, multiplier, shift = own_parameters(ints)
    half, left, zero, at = np.int64(1) << (shift - 1), ints[14], ints[18], np.uint64(at)
    for j in range(np.uint64(n)):
        x = np.int64(np.int32(np.int64(np.int32(words[at + j] + bias)) << left))
        words[at + j] = min(max((x * multiplier + half >> shift) + zero, low), high)


@inner
def requantize_alike(ints, n, at, to, memory):
    """`requantize_directly` where all lanes have the same parameters."""
    low, high = limits(ints[9], ints[19], ints[20])
    if ints[4] != ACC:
        once_alike(n, ints, low, high, memory.l8, at, memory.acc, to)
    elif ints[9] != ACC:
        once_alike(n, ints, low, high, memory.acc, at, memory.l8, to)
    elif at == to:
        once_alike_in_place(n, ints, low, high, memory.acc, at)
    else:
        once_alike(n, ints, low, high, memory.acc, at, memory.acc, to)


@inner
def requantize_directly(ints, n, at, to, memory, stage):
    """RQ in mode 0 between accumulator words and bytes, in either direction, or among words."""
    low, high = limits(ints[9], ints[19], ints[20])
    if ints[4] != ACC:
        once(n, ints[14], ints[18], low, high, memory.l8, at, memory.acc, to, stage)
    elif ints[9] != ACC:
        once(n, ints[14], ints[18], low, high, memory.acc, at, memory.l8, to, stage)
    elif at == to:
        once_in_place(n, ints[14], ints[18], low, high, memory.acc, at, stage)
    else:
        once(n, ints[14], ints[18], low, high, memory.acc, at, memory.acc, to, stage)


@inner
def requantize(sub, ints, n, stage):
    low, high = limits(ints[9], ints[19], ints[20])
    if sub & 3 == 0:
        requantize_once(n, ints[14], ints[18], low, high, stage)
    elif sub & 3 == 1:
        requantize_twice(n, ints[14], ints[18], low, high, stage)
    else:
        requantize_float(n, ints[14], ints[18], low, high, stage)
