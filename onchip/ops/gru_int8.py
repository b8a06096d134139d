"""The integer steps of gru and rnn: int8 in and out, gates in Q3.12, the state in Q0.15.

In: int32 accumulators of W x + b and of U h + c, and the state. Out: the next state and its int8 form.
Promises: the arithmetic of LiteRT's 8x8_16 LSTM (gates clamped to int16, gemmlowp logistic and tanh) applied to Cho
2014; there is no LiteRT kernel of a GRU. Between the steps of one call the state of a GRU has 16 bits, so that a slow
gate does not lose it; h0, y and h are int8. relu sums at 8 more fraction bits than the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import (
    INT16_MAX,
    INT16_MIN,
    Integers,
    clamp,
    logistic16,
    quantize_multiplier,
    quantize_multipliers,
    requantize,
    rounding_divide_by_pot,
    tanh16,
    wide,
)
from onchip.ops.types import Array, Params, Refusal

GATE_BITS, STATE_BITS, RELU_BITS = 12, 15, 8
RELU_MAX = (1 << 30) - 1  # each of the two terms of relu saturates, so that their sum has 32 bits


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentConstants:
    """Multipliers of both accumulators per lane, and those between the state's 16 bits and its 8."""

    input_q: Integers
    input_e: Integers
    hidden_q: Integers
    hidden_e: Integers
    output: tuple[int, int]  # 2^-15 / sy
    state: tuple[int, int]  # sy * 2^15
    zero_point: int
    input_zero_point: int


def recurrent_constants(given: Params, made: Params, n_lanes: int, *, is_relu: bool = False) -> RecurrentConstants:
    """Derive the constants from the node's quantizations; y, h and h0 share one."""
    px, pi, ph, py = given[0], given[1], given[2], made[0]
    if px is None or pi is None or ph is None or py is None:
        raise Refusal("OC1322", "x, a weight or y has no quantization")
    if made[1] != py or (len(given) > 5 and given[5] is not None and given[5] != py):
        raise Refusal("OC1319", "y, h and h0 of a recurrent op need one quantization", next="Insert requantize")
    sy = py.scale[0]
    unit = 2.0**RELU_BITS / sy if is_relu else 2.0**GATE_BITS
    lanes = np.ones(n_lanes)
    iq, ie = quantize_multipliers(px.scale[0] * np.array(pi.scale) * unit * lanes)
    hq, he = quantize_multipliers(sy * np.array(ph.scale) * unit * lanes)
    output, state = quantize_multiplier(2.0**-STATE_BITS / sy), quantize_multiplier(sy * 2.0**STATE_BITS)
    return RecurrentConstants(iq, ie, hq, he, output, state, py.zero_point[0], px.zero_point[0])


def wide_state(h: Array, constants: RecurrentConstants) -> Integers:
    """Turn an int8 state into Q0.15."""
    return clamp(requantize(wide(h) - constants.zero_point, *constants.state), INT16_MIN, INT16_MAX)


def narrow_state(h: Integers, constants: RecurrentConstants) -> NDArray[np.int8]:
    """Turn a Q0.15 state into int8."""
    return clamp(requantize(h, *constants.output) + constants.zero_point, -128, 127).astype(np.int8)


def _gate(acc: Array, q: Integers, e: Integers) -> Integers:
    return clamp(requantize(acc, q, e), INT16_MIN, INT16_MAX)


def _sum(a: Integers, b: Integers) -> Integers:
    return clamp(a + b, INT16_MIN, INT16_MAX)


def gru_cell(
    inputs: Array,
    hidden: Array,
    h: Integers,
    constants: RecurrentConstants,
    candidate: Callable[[Integers], Array] | None = None,
) -> Integers:
    """Do one step: accumulators [B, 3H] (r, z, n; biases inside) and the state [B, H] in Q0.15 -> the next one.

    `candidate` gives the accumulators of U (r h) + c for r h in Q0.15, where the reset comes before the product.
    """
    k, n = constants, h.shape[1]
    r_in, z_in, n_in = np.split(_gate(inputs, k.input_q, k.input_e), 3, axis=-1)  # rq per lane
    q, e = k.hidden_q, k.hidden_e
    r_h, z_h = np.split(_gate(hidden[:, : 2 * n], q[: 2 * n], e[: 2 * n]), 2, axis=-1)  # rq per lane
    r, z = logistic16(_sum(r_in, r_h)), logistic16(_sum(z_in, z_h))  # add, logistic
    q, e = q[2 * n :], e[2 * n :]
    if candidate is None:
        inner = rounding_divide_by_pot(r * _gate(hidden[:, 2 * n :], q, e), 15)  # rq per lane, mul, rshr
    else:
        inner = _gate(candidate(rounding_divide_by_pot(r * h, 15)), q, e)  # mul, rshr, product, rq per lane
    new = tanh16(_sum(n_in, inner))  # add, tanh
    mixed = z * h + ((1 << 15) - z) * new  # mul, sub, mul, add: at most 2^30
    return clamp(rounding_divide_by_pot(mixed, 15), INT16_MIN, INT16_MAX)  # rshr


def rnn_cell(inputs: Array, hidden: Array, constants: RecurrentConstants, *, is_relu: bool) -> NDArray[np.int8]:
    """Do one step: accumulators [B, H], biases inside -> int8 state."""
    k = constants
    if is_relu:
        terms = requantize(inputs, k.input_q, k.input_e), requantize(hidden, k.hidden_q, k.hidden_e)  # rq, rq
        total = sum(clamp(term, -RELU_MAX - 1, RELU_MAX) for term in terms)  # add
        y = rounding_divide_by_pot(np.maximum(total, 0), RELU_BITS) + k.zero_point  # max, rshr, add
        return clamp(y, -128, 127).astype(np.int8)
    total = _sum(_gate(inputs, k.input_q, k.input_e), _gate(hidden, k.hidden_q, k.hidden_e))
    return narrow_state(tanh16(total), k)
