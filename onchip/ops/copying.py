"""The integer meaning of ops that copy bits: the float reference itself, once the quantizations agree.

In: an op's float reference, and which of its inputs are copied into the first output. Out: its integer reference.
Promises: unequal scales or zero points are refused, never mixed.
"""

from collections.abc import Callable, Sequence

from onchip.numerics import clamp
from onchip.ops.types import Array, Attributes, Params, Quantization, Refusal


def copied(
    reference: Callable[..., tuple[Array, ...]], places: Sequence[int] = (0,)
) -> Callable[..., tuple[Array, ...]]:
    """Make the integer reference of an op that copies the inputs at these places."""

    def integer(attributes: Attributes, given: Params, made: Params, *arrays: Array) -> tuple[Array, ...]:
        same_quantization(given, made, places)
        return reference(attributes, *arrays)

    return integer


def same_quantization(given: Params, made: Params, places: Sequence[int] = (0,)) -> None:
    """Refuse inputs whose quantization is not that of the first output."""
    if any(given[i] != made[0] for i in places):
        raise Refusal(
            "OC1319", "copies bits, and needs equal quantization of inputs and output", next="Insert requantize"
        )


def integer_of(value: float, params: Quantization | None, bits: int = 8) -> int:
    """Give the integer that stands for a real value, halves away from zero; without quantization the value."""
    if params is None:
        return int(value)
    top = (1 << (bits - 1)) - 1
    scaled = min(abs(value) / params.scale[0], 4.0 * top)
    return int(clamp(int(scaled + 0.5) * (1 if value >= 0 else -1) + params.zero_point[0], -top - 1, top))
