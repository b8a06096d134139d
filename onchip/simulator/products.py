"""The matrix unit on the CPU: one block of 16 inputs x 16 columns at a time, as vector instructions.

In: memories as arrays and places in them. Out: accumulator words and packed weight blocks, changed in place. A block's
weights stay in registers while the rows go by. The code is written out as LLVM vectors, because a loop over numba arrays
does not become this reliably; two forms give the same bits:
- bytes, where the CPU multiplies groups of four (AVX-512 VNNI): u8 x s8, inputs shifted by 128, the shift taken back with
  the columns' sums, everything modulo 2**32 as the accumulator is;
- float32 elsewhere: a sum of 16 products of int8 is below 2**24, so every rounding is exact.
Sources: Intel SDM, VPDPBUSD; tests compare both forms with `MM.run`.
"""

# pyright: basic

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

BLOCK = 16
BLOCK_BYTES = 4 * BLOCK * BLOCK  # room for a block in either form
I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES16, BYTES64 = ir.VectorType(I8, 16), ir.VectorType(I8, 64)
WORDS, FLOATS, MASK = ir.VectorType(I32, 16), ir.VectorType(ir.FloatType(), 16), ir.VectorType(I1, 16)
INTEGERS = types.Integer


@cache
def multiplies_bytes() -> bool:
    """Return whether the code of this process may use VPDPBUSD: the CPU has it and numba compiles for this CPU."""
    if config.CPU_NAME or config.CPU_FEATURES or not config.ENABLE_AVX:
        return False
    features = llvm.get_host_cpu_features()
    return bool(features.get("avx512vnni")) and bool(features.get("avx512bw"))


def _pointer(context, builder, kind, value, at, element):
    """Return the address of item `at` of a one-dimensional array, as a pointer to `element`."""
    data = context.make_array(kind)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [at]), element.as_pointer())


def _read(builder, pointer, kind):
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)


def _write(builder, value, pointer):
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = 1


def _forward(builder, pointer, n_bytes):
    """Return a byte pointer moved by a constant or a value."""
    step = ir.Constant(I64, n_bytes) if isinstance(n_bytes, int) else n_bytes
    return builder.gep(builder.bitcast(pointer, I8.as_pointer()), [step])


def _splat(builder, scalar, kind):
    vector = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(
        vector, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, 16), [0] * 16)
    )


def _dot4(builder, total, inputs, weights):
    """total + sums of four products, unsigned bytes of `inputs` x signed bytes of `weights`, in each of 16 words."""
    kind = ir.FunctionType(WORDS, [WORDS, WORDS, WORDS])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(function, [total, inputs, weights])


def _words(value: int):
    return ir.Constant(WORDS, [value] * 16)


SHIFTED = 0x80808080  # 128 in each byte


def _pack_bytes(builder, source, pitch, target):
    """Interleave rows in fours: word c of vector g holds rows 4g .. 4g + 3 of column c; then -128 * sum of each column."""
    order = [(i % 2) * 16 + c + 32 * (i // 2) for c in range(16) for i in range(4)]
    total = _words(0)
    for group in range(4):
        rows = []
        for _ in range(4):
            rows.append(_read(builder, source, BYTES16))
            source = _forward(builder, source, pitch)
        both = ir.Constant(ir.VectorType(I32, 32), list(range(32)))
        first, second = builder.shuffle_vector(rows[0], rows[1], both), builder.shuffle_vector(rows[2], rows[3], both)
        packed = builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, 64), order))
        packed = builder.bitcast(packed, WORDS)
        _write(builder, packed, _forward(builder, target, 64 * group))
        total = _dot4(builder, total, _words(SHIFTED), packed)
    _write(builder, builder.sub(_words(0), total), _forward(builder, target, 256))


def _pack_floats(builder, source, pitch, target):
    for row in range(BLOCK):
        values = builder.sitofp(_read(builder, source, BYTES16), FLOATS)
        _write(builder, values, _forward(builder, target, 64 * row))
        source = _forward(builder, source, pitch)


def _row_of_bytes(builder, weights):
    packed = [_read(builder, _forward(builder, weights, 64 * group), WORDS) for group in range(4)]
    correction = _read(builder, _forward(builder, weights, 256), WORDS)

    def row(source, before):
        total = builder.add(before, correction)
        for group in range(4):
            four = _splat(builder, _read(builder, _forward(builder, source, 4 * group), I32), WORDS)
            total = _dot4(builder, total, builder.xor(four, _words(SHIFTED)), packed[group])
        return total

    return row


def _row_of_floats(builder, weights):
    packed = [_read(builder, _forward(builder, weights, 64 * row), FLOATS) for row in range(BLOCK)]

    def row(source, before):
        inputs = builder.sitofp(_read(builder, source, BYTES16), FLOATS)
        totals = []
        for k in range(BLOCK):
            one = builder.shuffle_vector(inputs, inputs, ir.Constant(ir.VectorType(I32, 16), [k] * 16))
            product = builder.fmul(one, packed[k], flags=("contract",))
            totals.append(product if k < 2 else builder.fadd(totals[k - 2], product, flags=("contract",)))
        total = builder.fadd(totals[-1], totals[-2])
        return builder.add(before, builder.fptosi(total, WORDS))

    return row


def _masked(builder, name, result, arguments):
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _each_row(builder, row, places, strides, rows, replaces, mask):
    """Run `row` over all rows; with a mask only some of the 16 words are touched."""
    with cgutils.for_range(builder, rows) as loop:
        source = _forward(builder, places[0], builder.mul(loop.index, strides[0]))
        sums = _forward(builder, places[1], builder.mul(loop.index, strides[1]))
        words = builder.bitcast(sums, WORDS.as_pointer())
        if mask is None:
            before = _read(builder, words, WORDS)
        else:
            arguments = [words, ir.Constant(I32, 4), mask, _words(0)]
            before = _masked(builder, "llvm.masked.load.v16i32.p0", WORDS, arguments)
        after = row(source, builder.select(replaces, _words(0), before))
        if mask is None:
            _write(builder, after, sums)
        else:
            arguments = [after, words, ir.Constant(I32, 4), mask]
            _masked(builder, "llvm.masked.store.v16i32.p0", ir.VoidType(), arguments)


def block_functions(in_bytes: bool):
    """Return (pack, multiply) for one of the two forms."""

    @intrinsic
    def pack(typingctx, source, at, pitch, weights, block):
        """pack(source i8[], at, pitch, weights u8[], block): 16 x 16 weights into block `block`."""
        signature = types.void(source, types.int64, types.int64, weights, types.int64)

        def generate(context, builder, signature, arguments):
            kinds = signature.args
            start = _pointer(context, builder, kinds[0], arguments[0], arguments[1], I8)
            place = builder.mul(arguments[4], ir.Constant(I64, BLOCK_BYTES))
            target = _pointer(context, builder, kinds[3], arguments[3], place, I8)
            (_pack_bytes if in_bytes else _pack_floats)(builder, start, arguments[2], target)
            return context.get_dummy_value()

        return signature, generate

    @intrinsic
    def multiply(typingctx, source, at, stride, rows, weights, block, acc, sums, sum_stride, n, replaces):
        """Rows of 16 bytes from source[at], `stride` apart, times a block, into n <= 16 words at acc[sums] of each row."""
        i64 = types.int64
        signature = types.void(source, i64, i64, i64, weights, i64, acc, i64, i64, i64, types.boolean)

        def generate(context, builder, signature, arguments):
            kinds = signature.args
            start = _pointer(context, builder, kinds[0], arguments[0], arguments[1], I8)
            place = builder.mul(arguments[5], ir.Constant(I64, BLOCK_BYTES))
            block_at = _pointer(context, builder, kinds[4], arguments[4], place, I8)
            target = _pointer(context, builder, kinds[6], arguments[6], arguments[7], I32)
            strides = (arguments[2], builder.mul(arguments[8], ir.Constant(I64, 4)))
            row = (_row_of_bytes if in_bytes else _row_of_floats)(builder, block_at)
            replaces = builder.trunc(arguments[10], I1) if arguments[10].type != I1 else arguments[10]
            with builder.if_else(builder.icmp_signed(">=", arguments[9], ir.Constant(I64, BLOCK))) as (whole, part):
                with whole:
                    _each_row(builder, row, (start, target), strides, arguments[3], replaces, None)
                with part:
                    lanes = ir.Constant(WORDS, list(range(16)))
                    mask = builder.icmp_signed("<", lanes, _splat(builder, builder.trunc(arguments[9], I32), WORDS))
                    _each_row(builder, row, (start, target), strides, arguments[3], replaces, mask)
            return context.get_dummy_value()

        return signature, generate

    return pack, multiply
