"""GRU and plain RNN over a sequence.

In: x[B,T,I], w_ih[G*H,I], w_hh[G*H,H], b_ih[G*H], b_hh[G*H] (either may be absent), h0[B,H] (absent: zeros),
lengths[B] (absent: T); G is 3 for gru (torch's order r, z, n) and 1 for rnn. Out: y[B,T,H], h[B,H] (last).
gru: r, z = sigmoid(W x + b + U h + c); n = tanh(W x + b + r (U h + c)), or tanh(W x + b + U (r h) + c) without
`linear_before_reset` (ONNX's default form); h' = (1 - z) n + z h (Cho 2014, eq. 5 to 8; torch GRU).
rnn: h' = activation(W x + b + U h + c), tanh or relu (Elman 1990).
`reverse` runs from the last step to the first, and y stays in the order of x. Past its length a sequence keeps its
state, and y is 0 there; so `reverse` with lengths starts each sequence at its own end. Two directions are two nodes
and a concat.
Integers: x, y, h, h0 and weights int8, b_ih int32 at the scale of x times w_ih, b_hh at that of h times w_hh; the steps
are those of gru_int8.py, within a few steps of the float result (no LiteRT kernel exists). Padded y is the zero point.
"""

from collections.abc import Callable

import numpy as np

from onchip.numerics import Integers, integer_matmul
from onchip.ops.elementwise import sigmoid
from onchip.ops.gru_int8 import (
    gru_cell,
    narrow_state,
    recurrent_constants,
    rnn_cell,
    wide_state,
)
from onchip.ops.picture import one_of
from onchip.ops.types import Array, Attributes, Op, Params, Refusal, Shape, Shapes, elements, f32, ranked, same


def recurrent_shape(gates: int) -> Callable[[Attributes, Shapes], tuple[Shape, ...]]:
    """Make the shape rule of a cell with that many gates and one state."""

    def shape(attributes: Attributes, shapes: Shapes) -> tuple[Shape, ...]:
        hidden, n = attributes.integer("hidden"), gates * attributes.integer("hidden")
        x, w_ih, w_hh = ranked(shapes[0], 3, "x"), ranked(shapes[1], 2, "w_ih"), ranked(shapes[2], 2, "w_hh")
        same(x[2], w_ih[1], "features of x and w_ih")
        for name, want, got in (("w_ih", n, w_ih[0]), ("w_hh", n, w_hh[0]), ("w_hh", hidden, w_hh[1])):
            same(got, want, f"a dimension of {name} and what hidden = {hidden} asks for")
        optional = {"b_ih": (n,), "b_hh": (n,), "h0": (x[0], hidden), "lengths": (x[0],)}
        for given, (name, want) in zip(shapes[3:], optional.items(), strict=False):
            if given is not None and given != want:
                raise Refusal("OC1314", f"{name} has shape {given}, needs {want}")
        if "activation" in attributes:
            one_of(attributes, "activation", ("tanh", "relu"))
        return (x[0], x[1], hidden), (x[0], hidden)

    return shape


def steps_of(attributes: Attributes, steps: int) -> range:
    """Give the order in which the steps are taken."""
    return range(steps - 1, -1, -1) if attributes.flag("reverse") else range(steps)


def unroll(
    attributes: Attributes, step: Callable[[int, Array], Array], h: Array, steps: int, lengths: Array | None, zero: int
) -> tuple[Array, Array]:
    """Run `step(t, h)` over the sequence; past its length a sequence keeps h and gives `zero`."""
    y = np.empty((h.shape[0], steps, h.shape[1]), h.dtype)
    for t in steps_of(attributes, steps):
        made = step(t, h)
        if lengths is None:
            y[:, t] = h = made
            continue
        is_inside = (t < lengths)[:, None]
        h = np.where(is_inside, made, h)
        y[:, t] = np.where(is_inside, made, made.dtype.type(zero))
    return y, h


def _biases(b: Array | None, n: int) -> Array:
    return np.zeros(n, np.float32) if b is None else f32(b)


def _gru(
    attributes: Attributes,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array]:
    hidden, is_linear = attributes.integer("hidden"), attributes.flag("linear_before_reset")
    inputs = f32(x) @ f32(w_ih).T + _biases(b_ih, 3 * hidden)
    recurrent, bias = f32(w_hh).T, _biases(b_hh, 3 * hidden)

    def step(t: int, h: Array) -> Array:
        given = inputs[:, t]
        kept = h @ recurrent[:, : 2 * hidden] + bias[: 2 * hidden]
        r, z = np.split(sigmoid(given[:, : 2 * hidden] + kept), 2, axis=-1)
        if is_linear:
            inner = r * (h @ recurrent[:, 2 * hidden :] + bias[2 * hidden :])
        else:
            inner = (r * h) @ recurrent[:, 2 * hidden :] + bias[2 * hidden :]
        n = np.tanh(given[:, 2 * hidden :] + inner)
        return (1 - z) * n + z * h

    start = np.zeros((x.shape[0], hidden), np.float32) if h0 is None else f32(h0)
    return unroll(attributes, step, start, x.shape[1], lengths, 0)


def _rnn(
    attributes: Attributes,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array]:
    hidden = attributes.integer("hidden")
    inputs = f32(x) @ f32(w_ih).T + _biases(b_ih, hidden) + _biases(b_hh, hidden)
    recurrent = f32(w_hh).T
    is_tanh = attributes.text("activation") == "tanh"

    def step(t: int, h: Array) -> Array:
        total = inputs[:, t] + h @ recurrent
        return np.tanh(total) if is_tanh else np.maximum(total, np.float32(0))

    start = np.zeros((x.shape[0], hidden), np.float32) if h0 is None else f32(h0)
    return unroll(attributes, step, start, x.shape[1], lengths, 0)


def _accumulated(x: Array, w: Array, b: Array | None, zero_point: int) -> Array:
    acc = integer_matmul(x.reshape(-1, x.shape[-1]), w.T, zero_point).reshape(*x.shape[:-1], -1)
    return acc if b is None else acc + b.astype(np.int32)


def _gru_integer(
    attributes: Attributes,
    given: Params,
    made: Params,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array]:
    n = attributes.integer("hidden")
    k = recurrent_constants(given, made, 3 * n)
    inputs = _accumulated(x, w_ih, b_ih, k.input_zero_point)
    bias = None if b_hh is None else b_hh[2 * n :]

    def candidate(reset: Integers) -> Array:
        return _accumulated(narrow_state(reset, k), w_hh[2 * n :], bias, k.zero_point)

    def step(t: int, h: Array) -> Array:
        hidden = _accumulated(narrow_state(h, k), w_hh, b_hh, k.zero_point)
        return gru_cell(inputs[:, t], hidden, h, k, None if attributes.flag("linear_before_reset") else candidate)

    start = np.zeros((x.shape[0], n), np.int64) if h0 is None else wide_state(h0, k)
    y, h = unroll(attributes, step, start, x.shape[1], lengths, 0)
    return narrow_state(y, k), narrow_state(h, k)


def _rnn_integer(
    attributes: Attributes,
    given: Params,
    made: Params,
    x: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    h0: Array | None = None,
    lengths: Array | None = None,
) -> tuple[Array, Array]:
    n, is_relu = attributes.integer("hidden"), attributes.text("activation") == "relu"
    k = recurrent_constants(given, made, n, is_relu=is_relu)
    inputs = _accumulated(x, w_ih, b_ih, k.input_zero_point)

    def step(t: int, h: Array) -> Array:
        return rnn_cell(inputs[:, t], _accumulated(h, w_hh, b_hh, k.zero_point), k, is_relu=is_relu)

    start = np.full((x.shape[0], n), k.zero_point, np.int8) if h0 is None else h0
    return unroll(attributes, step, start, x.shape[1], lengths, k.zero_point)


def _macs(gates: int) -> Callable[[Attributes, Shapes, Shapes], int]:
    def macs(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
        hidden, x = attributes.integer("hidden"), ranked(inputs[0], 3, "x")
        return elements(x[:2]) * gates * hidden * (elements(x[2:]) + hidden)

    return macs


def _vector_ops(per_unit: int) -> Callable[[Attributes, Shapes, Shapes], int]:
    def vector_ops(attributes: Attributes, inputs: Shapes, _outputs: Shapes) -> int:
        return elements(ranked(inputs[0], 3, "x")[:2]) * attributes.integer("hidden") * per_unit

    return vector_ops


INPUTS = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "h0", "lengths")

OPS: tuple[Op, ...] = (
    Op(
        "gru",
        INPUTS,
        recurrent_shape(3),
        _gru,
        integer=_gru_integer,
        required=3,
        needs=("hidden",),
        defaults={"reverse": False, "linear_before_reset": True},
        macs=_macs(3),
        vector_ops=_vector_ops(13),  # two adds per gate, 3 functions, 3 products, 1 sum
        dtypes=lambda _a, dtypes: (dtypes[0] or "f32",) * 2,
        outputs=("y", "h"),
    ),
    Op(
        "rnn",
        INPUTS,
        recurrent_shape(1),
        _rnn,
        integer=_rnn_integer,
        required=3,
        needs=("hidden",),
        defaults={"reverse": False, "activation": "tanh"},
        macs=_macs(1),
        vector_ops=_vector_ops(3),
        dtypes=lambda _a, dtypes: (dtypes[0] or "f32",) * 2,
        outputs=("y", "h"),
    ),
)
