"""The way back from 32-bit accumulators to int8, shared by every op that has one.

In: int32 accumulators, the quantization of inputs and output, and the node's `rounding` and `activation`. Out: int8.
Promises: `single`, `double` and `fp32` as in docs/arithmetic.md, section Requantization; ReLU and ReLU6 are clamps
of the integer. `reduced` is LiteRT's way from 64-bit accumulators: a multiplier of 16 bits, rounded once. `real` is the
product in float64, halves away from zero; it differs from `single` in halves below zero, and in 1 of 10^7 others.
int16 activations give int16 (`bits=16`), unless the attribute `out` says otherwise; so do int8 ones where it says so.
An output without quantization keeps its int32 accumulators.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onchip.numerics import Integers, quantize_multipliers, requantize, requantize_f32, wide
from onchip.ops.types import Array, Attributes, Params, Quantization, Refusal

CHUNK = 1 << 16  # elements per step: the int64 intermediates stay in the cache


def output_limits(activation: str, made: Quantization, bits: int = 8) -> tuple[int, int]:
    """Give the lowest and highest output of so many bits under a fused activation."""
    zero, top = made.zero_point[0], (1 << (bits - 1)) - 1
    low = max(-top - 1, zero) if activation in ("relu", "relu6") else -top - 1
    if activation == "relu6":
        return low, min(top, zero + int(np.floor(6.0 / made.scale[0] + 0.5)))
    return low, top


def output_bits(attributes: Attributes, own: int) -> int:
    """Read what a node writes: `out` is i8, i16, or same, which is as many bits as it reads."""
    name = attributes.text("out") if "out" in attributes else "same"
    if name not in ("same", "i8", "i16"):
        raise Refusal("OC1320", f"out '{name}' is none of same, i8, i16")
    return own if name == "same" else int(name[1:])


def rounding_of(attributes: Attributes) -> str:
    """Read the rounding mode of a node; the default is "single"."""
    mode = attributes.text("rounding") if "rounding" in attributes else "single"
    if mode not in ("single", "double", "fp32", "reduced", "real"):
        raise Refusal("OC1320", f"rounding '{mode}' is none of single, double, fp32, reduced, real")
    return mode


def real_multipliers(given: Sequence[Quantization | None], made: Quantization) -> NDArray[np.float64]:
    """Give sx * sw_c / sy in float64, one per output channel or one in all."""
    total = np.ones(1)
    for params in given:
        if params is not None:
            total = total * np.array(params.scale)
    return total / made.scale[0]


def f32_multipliers(given: Sequence[Quantization | None], made: Quantization) -> NDArray[np.float32]:
    """Give the float32 multipliers of ONNX Runtime: f32(f32(sx * sw_c) / sy), every scale rounded to float32 first."""
    total = np.ones(1, np.float32)
    for params in given:
        if params is not None:
            total = total * np.array(params.scale, np.float32)
    return total / np.float32(made.scale[0])


def scale_down(
    attributes: Attributes, acc: Array, given: Sequence[Quantization | None], made: Quantization
) -> Integers:
    """Requantize without zero point and clamp; the multipliers broadcast over the last axis."""
    mode = rounding_of(attributes)
    if mode == "fp32":
        return requantize_f32(acc, f32_multipliers(given, made))
    if mode == "real":
        return requantize_real(acc, real_multipliers(given, made))
    q, e = quantize_multipliers(real_multipliers(given, made))
    if mode == "reduced":
        return requantize_reduced(acc, q, e)
    return requantize(acc, q, e, "double" if mode == "double" else "single")


def requantize_real(acc: Array, multiplier: NDArray[np.float64]) -> Integers:
    """Multiply by the ratio of the scales in float64 and round halves away from zero (LiteRT FULLY_CONNECTED)."""
    real = acc.astype(np.float64) * multiplier
    return np.trunc(real + np.copysign(0.5, real)).astype(np.int64)


def requantize_reduced(acc: Array, q: Integers, e: Integers) -> Integers:
    """Multiply accumulators below 2^47 by the 16 highest bits of q * 2^(e-31) and round once, halves up.

    LiteRT, MultiplyByQuantizedMultiplier(int64_t, ...).
    """
    short = np.where(q < 0x7FFF0000, (q + (1 << 15)) >> 16, 0x7FFF)
    shift = 15 - e
    return (wide(acc) * short + (wide(1) << (shift - 1))) >> shift


def requantize_accumulator(attributes: Attributes, acc: Array, given: Params, made: Params) -> Array:
    """Turn accumulators [..., C] into int8 by the scales of x (input 0), w (input 1) and the output; 64-bit ones into
    int16; or into what the attribute `out` says."""
    py = made[0]
    if py is None:
        return acc
    activation = attributes.text("activation") if "activation" in attributes else "none"
    bits = output_bits(attributes, 16 if acc.dtype == np.int64 else 8)
    low, high = output_limits(activation, py, bits)
    flat = acc.reshape(-1, acc.shape[-1])
    out = np.empty(flat.shape, np.int8 if bits == 8 else np.int16)
    step = max(1, CHUNK // max(1, flat.shape[1]))
    zero = py.zero_point[0]
    for start in range(0, flat.shape[0], step):
        y = scale_down(attributes, flat[start : start + step], (given[0], given[1]), py)
        y += zero
        out[start : start + step] = np.minimum(np.maximum(y, low), high)
    return out.reshape(acc.shape)


def activate(
    attributes: Attributes, acc: Array, scale: float, made: Quantization, activation: str = "none", bits: int = 8
) -> Array:
    """Turn integers of real value acc * scale into int8, or int16."""
    low, high = output_limits(activation, made, bits)
    y = scale_down(attributes, acc, (Quantization((scale,), (0,)),), made) + made.zero_point[0]
    return np.minimum(np.maximum(wide(y), low), high).astype(np.int8 if bits == 8 else np.int16)


def apply_activation(attributes: Attributes, y: Array) -> Array:
    """Apply the fused activation of a float node."""
    match attributes.text("activation"):
        case "none":
            return y
        case "relu":
            return np.maximum(y, np.float32(0))
        case "relu6":
            return np.clip(y, np.float32(0), np.float32(6))
        case other:
            raise Refusal("OC1321", f"activation '{other}' is none of none, relu, relu6")
