"""lookup: any function of one int8 value, given as its 256 results.

In: x int8, table int8 [256]: entry i is the result for x = i - 128. Out: int8 of the shape of x.
Promises: bits are looked up, nothing is computed; what a front end cannot say exactly by another op, it says by this.
Does not: exist in floats.
"""

import numpy as np

from onchip.ops.types import Array, Attributes, Op, Params, Refusal, Shape, Shapes, present, ranked, show


def _shape(_attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    if ranked(shapes[1], 1, "table") != (256,):
        raise Refusal("OC1314", f"a table of shape {show(ranked(shapes[1], 1, 'table'))}, needs [256]")
    return (present(shapes[0], "x"),)


def _only_integer(_attributes: Attributes, *_arrays: Array) -> tuple[Array]:
    raise Refusal("OC1326", "has no meaning without quantization")


def _integer(_attributes: Attributes, _given: Params, _made: Params, x: Array, table: Array) -> tuple[Array]:
    if x.dtype != np.int8:
        raise Refusal("OC1335", f"looks up {x.dtype}, not int8")
    return (table[x.astype(np.int64) + 128].astype(np.int8),)


OPS: tuple[Op, ...] = (Op("lookup", ("x", "table"), _shape, _only_integer, integer=_integer),)
