"""The products of one step of a recurrent op: what the planner makes room for and the lowering makes.

In: the op, its attributes, the features of its input. Out: `Product`s in the order in which a step makes them: of the
input ("x"), of the hidden state ("h"), and of the reset state ("c") where a GRU resets before its product.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ops.types import Attributes

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True, slots=True)
class Product:
    """Rows `first` to `first + columns` of weight input `weight`, times `k` values."""

    name: str
    weight: int
    k: int
    first: int
    columns: int


def products(op: str, attributes: Attributes, features: int) -> tuple[Product, ...]:
    """Return the products of one step."""
    hidden = attributes.integer("hidden")
    gates = GATES[op] * hidden
    given = Product("x", 1, features, 0, gates)
    if op != "gru" or attributes.flag("linear_before_reset"):
        return given, Product("h", 2, hidden, 0, gates)
    return given, Product("h", 2, hidden, 0, 2 * hidden), Product("c", 2, hidden, 2 * hidden, hidden)


def has_cell(op: str) -> bool:
    """Return whether the op carries a cell beside its hidden state."""
    return op == "lstm"


def lengths_at(op: str) -> int:
    """Return the place of `lengths` among the inputs."""
    return 7 if op == "lstm" else 6


def parameter_bytes(op: str, hidden: int, *, is_integer: bool) -> int:
    """Return the bytes beside the weights: per lane and product bias, multiplier and shifts, or a float32 bias.

    LSTM rounds twice: a left and a right shift.
    """
    lane = (16 if op == "lstm" else 12) if is_integer else 4
    return 2 * lane * GATES[op] * hidden
