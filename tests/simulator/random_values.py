"""Random kernels with values: instructions whose addresses exist, and both ways to run them.

In: a `random.Random`. Out: streams of instructions, and the memories after `run_defined` (`Instruction.run`, one by
one) and `run_compiled` (the interpreter). Products come as the lowering writes them, loops around pairs, and with one
field changed at random, so that some are no longer one product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from onchip.isa import (
    LD,
    LOOP,
    LUT,
    MATRIX,
    MM,
    NOP,
    RECORD,
    RED,
    RQ,
    ST,
    VOP,
    WLD,
    Affine,
    Instruction,
)
from onchip.isa.memory import Memory
from onchip.simulator import interpreter
from onchip.simulator.clock import code_of
from onchip.simulator.nests import find_nests, make_scratch
from onchip.simulator.operands import Code
from onchip.simulator.products import MARGIN, form, multiplies_bytes
from onchip.simulator.vectors import make_memory, make_stage

LOCAL, WORDS, FAR = 20480, 4096, 16384
Streams = list[list[Instruction]]
Bytes = NDArray[np.uint8]
SIZES = (1, 2, 4, 1, 2, 2, 4, 1, 4)  # of the operand types; accumulator words count themselves


@dataclass(slots=True)
class Memories:
    """What a kernel changes."""

    far: Bytes
    local: Bytes
    words: NDArray[np.int32]


def memories(rng: Random) -> Memories:
    """Return memories with every byte value, and the extremes more often than chance has them."""
    draw = np.random.default_rng(rng.randrange(1 << 32))
    far, local = (draw.integers(0, 256, n, np.uint8) for n in (FAR, LOCAL))
    local[draw.integers(0, LOCAL, 200)] = draw.choice(np.array([0, 127, 128, 255], np.uint8), 200)
    words = draw.integers(-(2**31), 2**31, WORDS, np.int64)
    small = draw.integers(-(2**20), 2**20, WORDS, np.int64)
    extremes = draw.choice(np.array([-(2**31), 2**31 - 1, 0, -1]), WORDS)
    pick = draw.integers(0, 10, WORDS)
    chosen = np.where(pick < 3, words, np.where(pick < 9, small, extremes)).astype(np.int32)
    return Memories(far, local, chosen)


# --- running ----------------------------------------------------------------------------------------------------------
def code(streams: Streams) -> Code:
    return code_of([np.array([x.record() for x in stream], RECORD) for stream in streams])


def run_compiled(
    streams: Streams, counts: list[int], start: Memories, core: tuple[int, int, int] = (0, 0, 0)
) -> tuple[int, Memories]:
    """Return the interpreter's status and the memories after it."""
    arrays = code(streams)
    nests = find_nests([arrays])
    longest = max([int(x.n) for s in streams for x in s if isinstance(x, RQ | VOP | RED | LUT)], default=1)
    memory, far = make_memory(LOCAL, WORDS), np.zeros(FAR + MARGIN, np.uint8)
    far[:FAR], memory.local[:LOCAL], memory.acc[:] = start.far, start.local, start.words
    status = interpreter.run(
        arrays, nests[0], np.array(counts, np.int64), np.arange(4), core, far, memory,
        make_scratch([arrays], nests, form(multiplies_bytes())), make_stage(longest),
        np.zeros(interpreter.CONTROL, np.int64),
    )  # fmt: skip
    assert not memory.local[LOCAL:].any() and not far[FAR:].any(), "something was written behind the memory"
    return int(status), Memories(far[:FAR], memory.local[:LOCAL], memory.acc)


def memory_of(start: Memories, core: tuple[int, int, int] = (0, 0, 0)) -> Memory:
    return Memory(start.far.copy(), start.local.copy(), start.words.copy(), core)


def assert_same(made: Memories, wanted: Memory, text: str) -> None:
    assert np.array_equal(made.words, wanted.accumulator), text
    assert np.array_equal(made.local, wanted.local), text
    assert np.array_equal(made.far, wanted.dram), text


# --- vector instructions ----------------------------------------------------------------------------------------------
def operand(rng: Random, kind: int, counts: tuple[int, int, int], lanes: int) -> tuple[Affine, tuple[int, int, int]]:
    """Return an address and strides of rows that exist; half the time rows lie one behind the other."""
    size, room = SIZES[kind], WORDS if kind == 3 else LOCAL
    if rng.random() < 0.6:
        strides = [counts[1] * counts[2] * lanes, counts[2] * lanes, lanes]
    else:
        strides = [rng.choice((0, 1, lanes, lanes + 1, 2 * lanes, -lanes)) for _ in range(3)]
    low = sum(min(0, s * (c - 1)) for s, c in zip(strides, counts, strict=True))
    high = sum(max(0, s * (c - 1)) for s, c in zip(strides, counts, strict=True)) + lanes
    base = rng.randint(-low, max(-low, room // size - high))
    return Affine(base * size), (strides[0] * size, strides[1] * size, strides[2] * size)


def vector_instruction(rng: Random) -> Instruction:
    """Return any vector instruction: all types, clipped extents, one value for a row, operands that overlap."""
    counts, n = (rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 4)), rng.choice((1, 3, 5, 8, 16, 17, 33))
    a_type, b_type, d_type = (rng.choice((0, 0, 1, 2, 3, 3)) for _ in range(3))
    (a, a_rows), (b, b_rows) = operand(rng, a_type, counts, n), operand(rng, b_type, counts, n)
    d, d_rows = operand(rng, d_type, counts, n)
    if rng.random() < 0.4:  # in place, or nearly
        d_type, d_rows = a_type, a_rows
        d = a.plus(0 if rng.random() < 0.5 or a.base + LOCAL // 2 > LOCAL // SIZES[a_type] else SIZES[a_type])
    fields: dict[str, int | Affine] = {"n": n}
    fields |= {f"rows{i}": c for i, c in enumerate(counts)}
    fields |= {"a_type": a_type, "d_type": d_type, "a": a, "d": d, "a_step": int(rng.random() < 0.8)}
    fields |= {f"a{i}": s for i, s in enumerate(a_rows)} | {f"d{i}": s for i, s in enumerate(d_rows)}
    for name, size in (("left0", counts[0]), ("left1", counts[1]), ("left2", counts[2]), ("n_left", n)):
        if rng.random() < 0.2:
            fields[name] = Affine(rng.choice((-1, size - 1, size, size + 1)))
    kind = rng.choice((RQ, RQ, VOP, VOP, RED, LUT))
    if kind is RED:
        return RED(sub=rng.randint(0, 2), **fields)  # type: ignore[arg-type]
    if kind is LUT:
        return LUT(offset=rng.choice((0, 128, -5)), b=Affine(4 * rng.randint(0, (LOCAL - 1024) // 4)), **fields)  # type: ignore[arg-type]
    if kind is RQ:
        return requantize(rng, fields, n)
    second: dict[str, int | Affine] = {"b": b, "b_type": b_type, "b_step": int(rng.random() < 0.8)}
    second |= {f"b{i}": s for i, s in enumerate(b_rows)}
    sub = rng.randrange(16)
    if sub in (7, 8, 9, 15) or rng.random() < 0.3:  # shifts need a distance that exists
        immediate = (
            rng.randint(0, 31) if sub in (7, 8, 9, 15) else rng.choice((0, -1, 7, -(2**31), 2**31 - 1, 12345678))
        )
        second = dict[str, int | Affine](has_immediate=1, immediate=immediate)
    if sub == 4:
        second = {"has_immediate": 1, "immediate": rng.choice((-32768, 32767, 77))}
        fields["a_type"] = 0 if a_type in (2, 3) else a_type
    return VOP(sub=sub, **fields, **second)  # type: ignore[arg-type]


def requantize(rng: Random, fields: dict[str, int | Affine], n: int) -> Instruction:
    mode = rng.randint(0, 2)
    real = np.float32(rng.choice((1e-6, 0.004, 0.7, 1.0, -0.02))).view(np.int32)
    fields |= {
        "zero_in": rng.choice((0, -7, 128)), "left": rng.choice((0, 0, 7, 20)), "bias": rng.choice((0, 55, -100_000)),
        "multiplier": int(real) if mode == 2 else rng.choice((1 << 30, 1_518_500_250, (1 << 31) - 1, -1 << 30, 0)),
        "shift": rng.randint(-31, 8), "zero_out": rng.choice((0, 3, -128)), "low": rng.choice((-128, 0, -(2**31), 200)),
        "high": rng.choice((127, 6, 2**31 - 1)), "b": Affine(4 * rng.randint(0, (LOCAL - 12 * n) // 4)),
    }  # fmt: skip
    return RQ(sub=mode, **fields)  # type: ignore[arg-type]


def write_parameters(rng: Random, memory: Bytes, x: RQ) -> RQ:
    """Write sane parameters of each lane into local memory, and return the instruction that reads them."""
    words = memory[: LOCAL // 4 * 4].view(np.int32)
    for j in range(x.n):
        at = x.b.base // 4 + 3 * j
        real = np.float32(rng.choice((1e-6, 0.01, 0.9))).view(np.int32)
        multiplier = int(real) if x.sub == 2 else rng.randint(1 << 30, (1 << 31) - 1)
        words[at : at + 3] = rng.randint(-(2**20), 2**20), multiplier, rng.randint(-20, 4)
    return replace(x, sub=x.sub | 4)


# --- transfers --------------------------------------------------------------------------------------------------------
def transfer(rng: Random, kind: type[LD] | type[ST]) -> Instruction:
    """Return a load or store of a box that lies inside its tensor, or hangs over its edges."""
    box = [rng.randint(1, 3), rng.randint(1, 3), rng.randint(1, 4), rng.choice((1, 7, 16, 32, 48, 64))]
    limit = [b + rng.choice((0, 0, 1, 2)) for b in box]
    first = [rng.choice((0, 0, 0, 1, -1, -2)) for _ in box]
    packed = (box[1] * box[2] * box[3], box[2] * box[3], box[3])
    far = (limit[1] * limit[2] * limit[3], limit[2] * limit[3], limit[3])
    fields: dict[str, int | Affine] = {"fill": rng.choice((0, -128, 5, 0x80FF7F01))}
    for i in range(4):
        fields |= {f"box{i}": box[i], f"limit{i}": limit[i], f"c{i}": Affine(first[i])}
    fields |= {f"near{i}": s for i, s in enumerate(packed)} | {f"far{i}": s for i, s in enumerate(far)}
    fields |= {
        "near": Affine(rng.choice((rng.randint(0, 1000), rng.randint(0, LOCAL - 2304)))),
        "far": Affine(rng.randint(0, 100)),
    }
    return kind(**fields)  # type: ignore[arg-type]


# --- products ---------------------------------------------------------------------------------------------------------
def products(rng: Random) -> list[Instruction]:
    """Return loops around (WLD, MM) pairs as the lowering writes them, mostly; sometimes one field is another."""
    (k, n), (columns, folds, unrolled) = (rng.randint(1, 24), rng.randint(1, 24)), (rng.randint(1, 3) for _ in range(3))
    rows = (rng.randint(1, 2), rng.randint(1, 3), rng.randint(1, 6))
    total, tn, transposed = k * folds * unrolled, n * columns, int(rng.random() < 0.2)
    run = rng.choice((total, rng.randint(1, total)))
    width = rows[2] + 2
    left = Affine(rng.randint(1, k)) if rng.random() < 0.2 else Affine()
    n_left = Affine(rng.randint(-1, tn), (0, -n, 0, 0)) if rng.random() < 0.3 else Affine()
    pitch = total if transposed else tn
    source, weights, sums = rng.randint(0, 60), rng.randint(300, 500), rng.randint(0, 100)
    product = MM(
        rows0=rows[0], rows1=rows[1], rows2=rows[2], k=k, n=n, run_length=run, run_stride=run + rng.choice((0, 3)),
        source0=7, source1=width * rng.choice((1, 3)), source2=rng.choice((1, 4, 16)), first=4, source=Affine(source),
        sum0=rows[1] * rows[2] * tn, sum1=rows[2] * tn, sum2=tn, sums=Affine(sums, (0, n, 0, 0)), k_left=left,
        n_left=n_left, left2=Affine(rng.randint(0, rows[2])) if rng.random() < 0.2 else Affine(),
    )  # fmt: skip
    pairs: list[Instruction] = []
    for u in range(unrolled):
        step = (0, n * (pitch if transposed else 1), k * unrolled * (1 if transposed else pitch), 0)
        at = Affine(weights + u * k * (1 if transposed else pitch), step)
        load = WLD(k=k, n=n, pitch=pitch, source=at, k_left=left, n_left=n_left, sub=transposed)
        pairs += [load, replace(product, sub=int(u > 0), k_begin=Affine(u * k, (0, 0, k * unrolled, 0)))]
    if rng.random() < 0.5:
        pairs = changed(rng, pairs)
    return [
        LOOP(count=2, body=2 + len(pairs)),
        LOOP(count=columns, body=1 + len(pairs)),
        LOOP(count=folds, body=len(pairs)),
        *pairs,
    ]


def changed(rng: Random, pairs: list[Instruction]) -> list[Instruction]:
    """Return the pairs with one of them changed so that they may no longer be one product."""
    at = rng.randrange(len(pairs) // 2)
    load, product = pairs[2 * at], pairs[2 * at + 1]
    assert isinstance(product, MM) and isinstance(load, WLD)
    draw = rng.randrange(9)
    edits: dict[int, dict[str, int | Affine]] = {
        0: {"sum2": max(0, product.sum2 - rng.randint(1, 5))},
        1: {"first": rng.choice((0, 2, 6))},
        2: {"sub": 1 - product.sub},
        3: {"sums": replace(product.sums, strides=(0, 3, 0, 0))},
        4: {"sums": replace(product.sums, strides=(0, 5, 50, 0))},
        5: {"source": Affine(product.source.base, toggle=4, slot=9)},
        6: {"source": replace(product.source, strides=(1, 2, 0, 0))},
        7: {"left1": Affine(product.rows1, (0, 0, -1, 0))},
        8: {},
    }  # fmt: skip
    pairs[2 * at + 1] = replace(product, **edits[draw])  # type: ignore[arg-type]
    if draw == 8 and at:  # a product with the weights of the one before
        del pairs[2 * at]
    return pairs


def matrix_kernel(rng: Random) -> tuple[Streams, list[int]]:
    """Return products in turns with loads and lane operations that write where they read, and the first counts."""
    loads = [moving(transfer(rng, LD)) for _ in range(rng.randint(0, 2))]
    lanes = [vector_instruction(rng) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.5:  # what the products read, changed a little
        at = Affine(rng.randint(0, 600))
        lanes.append(VOP(n=300, a=at, d=at, immediate=1, has_immediate=1))
    load: list[Instruction] = [NOP(wait=1 << 2 | 1 << 4), *loads, NOP(signal=1 << 0)]
    matrix: list[Instruction] = [NOP(wait=1 << 0), NOP(wait=1 << 5), *products(rng), NOP(signal=1 << 2 | 1 << 3)]
    vector: list[Instruction] = [NOP(wait=1 << 3), *lanes, NOP(signal=1 << 4 | 1 << 5)]
    count = rng.randint(1, 3)
    streams: Streams = [[LOOP(count=count, body=len(body)), *body] for body in (load, matrix, vector)]
    matrix_code = streams[MATRIX]
    streams[MATRIX] = [matrix_code[0], *[deeper(x) for x in matrix_code[1:]]]
    return [*streams, []], [0, 0, 1, 0, 1, 1, 0, 0]


def moving(x: Instruction) -> Instruction:
    """Return a load that brings other bytes in each turn of the outermost loop."""
    assert isinstance(x, LD)
    return replace(x, far=Affine(x.far.base, (37, 0, 0, 0)))


def deeper(x: Instruction) -> Instruction:
    """Return an instruction of `products` as it stands one loop further in."""
    changes: dict[str, int | Affine] = {}
    for name in ("source", "sums", "k_begin", "k_left", "n_left", "left1"):
        value = getattr(x, name, None)
        if isinstance(value, Affine):
            s = value.strides
            changes[name] = Affine(value.base, (0, s[0], s[1], s[2]), value.cores, value.toggle << 1, value.slot)
    if isinstance(x, MM):
        changes["first"] = x.first << 1
    return replace(x, **changes)  # type: ignore[arg-type]
