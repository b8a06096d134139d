"""LSTM over a sequence, torch's gate order i, f, g, o.

In: x[B,T,I], w_ih[4H,I], w_hh[4H,H], b_ih[4H], b_hh[4H] (either may be absent), h0[B,H], c0[B,H] (absent: zeros),
lengths[B] (absent: T). Out: y[B,T,H], h[B,H] (last), c[B,H] (last).
`reverse` runs from the last step to the first, and y stays in the order of x. Past its length a sequence keeps its
states, and y is 0 there.
Integers (LiteRT's 8x8_16 structure): x, y, h int8; c int16 at scale 2^-n (n from the quantization of c); weights int8;
b_ih int32 at the scale of x times w_ih, b_hh int32 at the scale of h times w_hh; gates int16 Q3.12.
The step is rowwise.lstm_cell. The quantization of y is the quantization of h, and of h0 where it is there.
Source: Hochreiter and Schmidhuber 1997; LiteRT lstm_eval.cc, CalculateLstmGateInteger8x8_16.
"""

from math import log2

import numpy as np

from onchip.numerics import integer_matmul
from onchip.ops.elementwise import sigmoid
from onchip.ops.rowwise import LstmConstants, lstm_cell, lstm_constants
from onchip.ops.types import (
    Array,
    Attributes,
    Op,
    Params,
    Quantization,
    Refusal,
    Shape,
    Shapes,
    elements,
    f32,
    ranked,
    same,
)


def _shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
    hidden = attributes.integer("hidden")
    x, w_ih, w_hh = ranked(shapes[0], 3, "x"), ranked(shapes[1], 2, "w_ih"), ranked(shapes[2], 2, "w_hh")
    same(x[2], w_ih[1], "features of x and w_ih")
    for name, want, got in (("w_ih", 4 * hidden, w_ih[0]), ("w_hh", 4 * hidden, w_hh[0]), ("w_hh", hidden, w_hh[1])):
        same(got, want, f"a dimension of {name} and what hidden = {hidden} asks for")
    for i, name in ((3, "b_ih"), (4, "b_hh")):
        if len(shapes) > i and shapes[i] is not None:
            same(ranked(shapes[i], 1, name)[0], 4 * hidden, f"length of {name} and 4 x hidden")
    for i, name in ((5, "h0"), (6, "c0")):
        if len(shapes) > i and shapes[i] is not None and shapes[i] != (x[0], hidden):
            raise Refusal("OC1314", f"{name} has shape {shapes[i]}, needs {(x[0], hidden)}")
    if len(shapes) > 7 and shapes[7] is not None:
        same(ranked(shapes[7], 1, "lengths")[0], x[0], "lengths and batch")
    return (x[0], x[1], hidden), (x[0], hidden), (x[0], hidden)


def _order(attributes: Attributes, steps: int) -> range:
    return range(steps - 1, -1, -1) if attributes.flag("reverse") else range(steps)


def _within(lengths: Array | None, t: int, new: Array, old: Array) -> Array:
    """Take the new state where the sequence has a step t."""
    return new if lengths is None else np.where((t < lengths)[:, None], new, old)


def _reference(
    attributes: Attributes,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array, Array]:
    batch, steps, hidden = x.shape[0], x.shape[1], attributes.integer("hidden")
    h = np.zeros((batch, hidden), np.float32) if h0 is None else f32(h0)
    c = np.zeros((batch, hidden), np.float32) if c0 is None else f32(c0)
    bias = sum((f32(b) for b in (b_ih, b_hh) if b is not None), np.zeros(4 * hidden, np.float32))
    inputs = f32(x) @ f32(w_ih).T + bias
    recurrent = f32(w_hh).T
    y = np.empty((batch, steps, hidden), np.float32)
    for t in _order(attributes, steps):
        i, f, g, o = np.split(inputs[:, t] + h @ recurrent, 4, axis=-1)
        cell = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        made = sigmoid(o) * np.tanh(cell)
        y[:, t] = _within(lengths, t, made, np.zeros_like(made))
        h, c = _within(lengths, t, made, h), _within(lengths, t, cell, c)
    return y, h, c


def cell_bits(cell: Quantization) -> int:
    """Give n of the cell's scale 2^-n; LiteRT asks for a power of two."""
    n = -log2(cell.scale[0])
    if cell.zero_point != (0,) or n != int(n) or not 9 <= n <= 15:
        raise Refusal("OC1329", f"the cell's scale {cell.scale[0]} is not a power of two from 2^-15 to 2^-9")
    return int(n)


def lstm_constants_of(given: Params, made: Params) -> LstmConstants:
    """Derive the constants of the integer step from the node's quantizations."""
    px, pi, ph = given[0], given[1], given[2]
    py, pc = made[0], made[2]
    if px is None or pi is None or ph is None or py is None or pc is None:
        raise Refusal("OC1322", "x, a weight, y or c has no quantization")
    return lstm_constants(
        px.scale[0], np.array(pi.scale), np.array(ph.scale), py.scale[0], py.zero_point[0], cell_bits(pc)
    )


def _integer(
    attributes: Attributes,
    given: Params,
    made: Params,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array, Array]:
    constants = lstm_constants_of(given, made)
    px = given[0]
    assert px is not None
    batch, steps, hidden = x.shape[0], x.shape[1], attributes.integer("hidden")
    h = np.full((batch, hidden), constants.hidden_zero_point, np.int8) if h0 is None else h0
    c = np.zeros((batch, hidden), np.int16) if c0 is None else c0
    inputs = integer_matmul(x.reshape(batch * steps, -1), w_ih.T, px.zero_point[0]).reshape(batch, steps, -1)
    inputs = inputs if b_ih is None else inputs + b_ih.astype(np.int32)
    y = np.empty((batch, steps, hidden), np.int8)
    for t in _order(attributes, steps):
        acc = integer_matmul(h, w_hh.T, constants.hidden_zero_point)
        acc = acc if b_hh is None else acc + b_hh.astype(np.int32)
        new, cell = lstm_cell(inputs[:, t], acc, c, constants)
        y[:, t] = _within(lengths, t, new, np.full_like(new, constants.hidden_zero_point))
        h, c = _within(lengths, t, new, h), _within(lengths, t, cell, c)
    return y, h, c


def _macs(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    hidden, x = attributes.integer("hidden"), ranked(inputs[0], 3, "x")
    return elements((x[0], x[1])) * 4 * hidden * (elements(x[2:]) + hidden)


def _vector_ops(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
    """Two adds per gate, 5 functions, 3 products, 1 sum per hidden unit and step."""
    return elements(ranked(inputs[0], 3, "x")[:2]) * attributes.integer("hidden") * 17


OPS: tuple[Op, ...] = (
    Op(
        "lstm",
        ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "c0", "lengths"),
        _shape,
        _reference,
        required=3,
        needs=("hidden",),
        defaults={"reverse": False},
        integer=_integer,
        macs=_macs,
        vector_ops=_vector_ops,
        outputs=("y", "h", "c"),
        dtypes=lambda _a, dtypes: (
            (dtypes[0] or "f32", dtypes[0] or "f32", "i16") if dtypes[0] == "i8" else (dtypes[0] or "f32",) * 3
        ),
    ),
)
