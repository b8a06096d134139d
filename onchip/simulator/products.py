"""The matrix unit on the CPU: packed rows x packed weight blocks -> accumulator words, as vector instructions.

In: memories as arrays and places in them. Out: packed operands and accumulator words, changed in place. Code is
written out as LLVM vectors, because a loop over numba arrays does not become this reliably. Two forms give the same
bits:
- bytes, where the CPU multiplies groups of four (AVX-512 VNNI): u8 x s8, inputs shifted by 128, the shift taken back
  with the columns' sums, everything modulo 2**32 as the accumulator is;
- float32 elsewhere: a sum of at most 1,024 products of two int8 is at most 2**24, so every rounding is exact.
Both hold 4 bytes of a row and 64 bytes of a block of 16 columns in a *group*: four inputs as bytes, or one as
float32. Reads may go 63 bytes behind an operand, so arrays have a margin. Sources: Intel SDM, VPDPBUSD; tests compare
both forms with `MM.run`.
"""

# pyright: basic

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

BLOCK = 16  # columns of a block, inputs of a pass are padded to this
MARGIN = 64
I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES16, BYTES64 = ir.VectorType(I8, 16), ir.VectorType(I8, 64)
WORDS, FLOATS = ir.VectorType(I32, 16), ir.VectorType(ir.FloatType(), 16)


@dataclass(frozen=True, slots=True)
class Form:
    """One of the two forms: groups that 16 inputs take, inputs that may be summed in one go, and the functions."""

    groups: int
    longest: int
    shapes: tuple[tuple[int, int], ...]
    pack_inputs: Any
    pack_block: Any
    multiply: tuple[Any, ...]


@cache
def multiplies_bytes() -> bool:
    """Return whether the code of this process may use VPDPBUSD: the CPU has it and numba compiles for this CPU."""
    set_by_hand = getattr(config, "CPU_NAME", None) or getattr(config, "CPU_FEATURES", None)
    if set_by_hand or not getattr(config, "ENABLE_AVX", False):
        return False
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx512vnni")) and bool(features.get("avx512bw"))


@cache
def form(in_bytes: bool) -> Form:
    """Return the code of a form. Shapes are (rows, blocks) that fit the registers, widest first."""
    shapes = ((6, 4), (12, 2), (14, 1)) if in_bytes else ((6, 1),)
    groups, longest = (4, 1 << 40) if in_bytes else (16, 1024)
    multiply = tuple(_multiply(in_bytes, rows, blocks) for rows, blocks in shapes)
    return Form(groups, longest, shapes, _pack_inputs(in_bytes), _pack_block(in_bytes), multiply)


# --- places and vectors -----------------------------------------------------------------------------------------------


def pointer_to(context, builder, kind, value, at):
    """Return the address of item `at` of a one-dimensional array, as a pointer to bytes."""
    data = context.make_array(kind)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [at]), I8.as_pointer())


def read(builder, pointer, kind):
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)


def write(builder, value, pointer):
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = 1


def _forward(builder, pointer, n_bytes):
    """Return a byte pointer moved by a constant or a value."""
    return builder.gep(pointer, [ir.Constant(I64, n_bytes) if isinstance(n_bytes, int) else n_bytes])


def _splat(builder, scalar, kind):
    nothing = ir.Constant(kind, ir.Undefined)
    vector = builder.insert_element(nothing, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def _times(builder, value, factor: int):
    return builder.mul(value, ir.Constant(I64, factor))


def _call(builder, name, result, arguments):
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _dot4(builder, total, inputs, weights):
    """total + sums of four products, unsigned bytes of `inputs` x signed bytes of `weights`, in each of 16 words."""
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", WORDS, [total, inputs, weights])


def _words(value: int):
    return ir.Constant(WORDS, [value] * 16)


SHIFTED = 0x80808080  # 128 in each byte


# --- packing ----------------------------------------------------------------------------------------------------------


def _pack_inputs(in_bytes: bool):
    def part(builder, source, target, at, kind):
        """Bytes `at` .. of the source, shifted by 128 or as float32."""
        value = read(builder, _forward(builder, source, at), kind)
        if in_bytes:
            shift = ir.Constant(kind, [128] * kind.count)
            write(builder, builder.xor(value, shift), _forward(builder, target, at))
        else:
            write(builder, builder.sitofp(value, FLOATS), _forward(builder, target, _times(builder, at, 4)))

    @intrinsic
    def pack_inputs(typingctx, source, at, n, target, place):
        """pack_inputs(source i8[], at, n, target u8[], place): n inputs to byte `place`; up to 15 more are written."""
        signature = types.void(source, types.int64, types.int64, target, types.int64)

        def generate(context, builder, signature, arguments):
            start = pointer_to(context, builder, signature.args[0], arguments[0], arguments[1])
            target = pointer_to(context, builder, signature.args[3], arguments[3], arguments[4])
            done = ir.Constant(I64, 0)
            if in_bytes:
                wide = builder.ashr(arguments[2], ir.Constant(I64, 6))
                with cgutils.for_range(builder, wide) as loop:
                    part(builder, start, target, _times(builder, loop.index, 64), BYTES64)
                done = _times(builder, wide, 64)
            rest = builder.ashr(builder.add(builder.sub(arguments[2], done), ir.Constant(I64, 15)), ir.Constant(I64, 4))
            with cgutils.for_range(builder, rest) as loop:
                part(builder, start, target, builder.add(done, _times(builder, loop.index, 16)), BYTES16)
            return context.get_dummy_value()

        return signature, generate

    return pack_inputs


def _pack_bytes(builder, source, pitch, target, sums):
    """Interleave rows in fours: word c of group g holds rows 4g .. 4g + 3 of column c; sums -= 128 * column sums."""
    order = [(i % 2) * 16 + c + 32 * (i // 2) for c in range(16) for i in range(4)]
    total = _words(0)
    for group in range(4):
        rows = []
        for _ in range(4):
            rows.append(read(builder, source, BYTES16))
            source = _forward(builder, source, pitch)
        both = ir.Constant(ir.VectorType(I32, 32), list(range(32)))
        first, second = builder.shuffle_vector(rows[0], rows[1], both), builder.shuffle_vector(rows[2], rows[3], both)
        packed = builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, 64), order))
        packed = builder.bitcast(packed, WORDS)
        write(builder, packed, _forward(builder, target, 64 * group))
        total = _dot4(builder, total, _words(SHIFTED), packed)
    write(builder, builder.sub(read(builder, sums, WORDS), total), sums)


def _pack_floats(builder, source, pitch, target, _sums):
    for row in range(BLOCK):
        values = builder.sitofp(read(builder, source, BYTES16), FLOATS)
        write(builder, values, _forward(builder, target, 64 * row))
        source = _forward(builder, source, pitch)


def _pack_block(in_bytes: bool):
    @intrinsic
    def pack_block(typingctx, source, at, pitch, target, place, sums, sums_at):
        """pack_block(source i8[], at, pitch, target u8[], place, sums i32[], at): 16 x 16 weights to byte `place`."""
        i64 = types.int64
        signature = types.void(source, i64, i64, target, i64, sums, i64)

        def generate(context, builder, signature, arguments):
            kinds = signature.args
            start = pointer_to(context, builder, kinds[0], arguments[0], arguments[1])
            target = pointer_to(context, builder, kinds[3], arguments[3], arguments[4])
            total = pointer_to(context, builder, kinds[5], arguments[5], arguments[6])
            (_pack_bytes if in_bytes else _pack_floats)(builder, start, arguments[2], target, total)
            return context.get_dummy_value()

        return signature, generate

    return pack_block


# --- products ---------------------------------------------------------------------------------------------------------


def _group_of_bytes(builder, total, inputs, weights):
    return _dot4(builder, total, _splat(builder, read(builder, inputs, I32), WORDS), read(builder, weights, WORDS))


def _group_of_floats(builder, total, inputs, weights):
    one = _splat(builder, read(builder, inputs, ir.FloatType()), FLOATS)
    product = builder.fmul(one, read(builder, weights, FLOATS), flags=("contract",))
    return builder.fadd(total, product, flags=("contract",))


def _add_up(builder, value, words, mask, replaces):
    """Put a block's row into the accumulator under a mask, or add it to what stands there."""
    aligned = ir.Constant(I32, 4)
    before = _call(builder, "llvm.masked.load.v16i32.p0", WORDS, [words, aligned, mask, _words(0)])
    value = builder.add(value, builder.select(replaces, _words(0), before))
    _call(builder, "llvm.masked.store.v16i32.p0", ir.VoidType(), [value, words, aligned, mask])


def _multiply(in_bytes: bool, n_rows: int, n_blocks: int):
    group = _group_of_bytes if in_bytes else _group_of_floats

    @intrinsic
    def multiply(
        typingctx, rows, at, row_pitch, weights, first, block_pitch, groups, sums, acc, row_at, row, last, block_at,
        widths, block, replaces,
    ):  # fmt: skip
        """Multiply n_rows packed rows by n_blocks packed blocks over `groups` groups.

        Row r is at byte at + r * row_pitch of `rows`, block c at byte first + c * block_pitch of `weights`; sums holds
        the words that a block's sums start with. Word row_at[row + r] + block_at[block + c] of the accumulator takes
        the first of widths[block + c] sums; rows from `last` on are left out.
        """
        i64 = types.int64
        signature = types.void(
            rows, i64, i64, weights, i64, i64, i64, sums, acc, row_at, i64, i64, block_at, widths, i64, types.boolean
        )

        def generate(context, builder, signature, arguments):
            kinds = signature.args

            def pointer(number, at):
                return pointer_to(context, builder, kinds[number], arguments[number], at)

            row_pitch, block_pitch, groups, row, last, block = (arguments[i] for i in (2, 5, 6, 10, 11, 14))
            start, block_start = pointer(0, arguments[1]), pointer(3, arguments[4])
            starts = [_forward(builder, start, _times(builder, row_pitch, r)) for r in range(n_rows)]
            blocks = [_forward(builder, block_start, _times(builder, block_pitch, c)) for c in range(n_blocks)]
            kind = WORDS if in_bytes else FLOATS
            totals = [[cgutils.alloca_once(builder, kind) for _ in range(n_blocks)] for _ in range(n_rows)]
            for c in range(n_blocks):
                ahead = pointer(7, _times(builder, builder.add(block, ir.Constant(I64, c)), BLOCK))
                first_sums = read(builder, ahead, WORDS) if in_bytes else ir.Constant(FLOATS, [0.0] * 16)
                for r in range(n_rows):
                    builder.store(first_sums, totals[r][c])
            with cgutils.for_range(builder, groups) as loop:
                in_row, in_block = _times(builder, loop.index, 4), _times(builder, loop.index, 64)
                for r in range(n_rows):
                    inputs = _forward(builder, starts[r], in_row)
                    for c in range(n_blocks):
                        place = _forward(builder, blocks[c], in_block)
                        builder.store(group(builder, builder.load(totals[r][c]), inputs, place), totals[r][c])
            replaces = builder.trunc(arguments[15], I1) if arguments[15].type != I1 else arguments[15]
            lanes = ir.Constant(WORDS, list(range(16)))
            for c in range(n_blocks):
                number = builder.add(block, ir.Constant(I64, c))
                offset = read(builder, pointer(12, number), I64)
                width = builder.trunc(read(builder, pointer(13, number), I64), I32)
                for r in range(n_rows):
                    this = builder.add(row, ir.Constant(I64, r))
                    inside = builder.select(builder.icmp_signed("<", this, last), width, ir.Constant(I32, 0))
                    mask = builder.icmp_signed("<", lanes, _splat(builder, inside, WORDS))
                    value = builder.load(totals[r][c])
                    value = value if in_bytes else builder.fptosi(value, WORDS)
                    words = pointer(8, builder.add(read(builder, pointer(9, this), I64), offset))
                    _add_up(builder, value, builder.bitcast(words, I32.as_pointer()), mask, replaces)
            return context.get_dummy_value()

        return signature, generate

    return multiply
