"""lookup: any function of one integer, given as a table: 256 results of int8, or 513 points of a curve over int16.

In: x int8, table int8 [256]: entry i is the result for x = i - 128. Or x int16, table int16 [513]: entry i is the value
at x = 128 i - 32768, with straight lines between. Out: as x.
Promises: what a front end cannot say exactly by another op, it says by this. The line between entries a and b is
a + ((b - a) (x mod 128) + 64 >> 7), in 16 bits (LiteRT LUTLookup).
Does not: exist in floats.
"""

import numpy as np

from onchip.ops.types import Array, Attributes, Op, Params, Refusal, Shape, Shapes, present, ranked, show


def _shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    table = ranked(shapes[1], 1, "table")
    if table not in ((256,), (513,)):
        raise Refusal("OC1314", f"a table of shape {show(table)}, needs [256] or [513]")
    return (present(shapes[0], "x"),)


def _only_integer(_attributes: Attributes, *_arrays: Array) -> tuple[Array]:
    raise Refusal("OC1326", "has no meaning without quantization")


def _integer(_attributes: Attributes, _given: Params, _made: Params, x: Array, table: Array) -> tuple[Array]:
    if x.dtype == np.int8 and table.size == 256:
        return (table[x.astype(np.int64) + 128].astype(np.int8),)
    if x.dtype != np.int16 or table.size != 513:
        raise Refusal("OC1335", f"looks up {x.dtype} in a table of {table.size}")
    v, points = x.astype(np.int64), table.astype(np.int64)
    cell = 256 + (v >> 7)
    slope = (points[cell + 1] - points[cell]).astype(np.int16).astype(np.int64)
    return ((points[cell] + ((slope * (v & 0x7F) + 64) >> 7)).astype(np.int16),)


OPS: tuple[Op, ...] = (Op("lookup", ("x", "table"), _shape, _only_integer, integer=_integer),)
