"""How published figures are compared: exact counts, or numbers to the digits that are printed."""

from __future__ import annotations

from math import prod

from onchip.ir.graph import Graph

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}


def learned(graph: Graph) -> int:
    """Count what is learned: without running statistics, and without constants that the definition fixes."""
    statistics = {i for n in graph.nodes if n.op == "batch_norm" for i in n.inputs[3:]}
    return sum(
        prod(int(d) for d in t.shape)
        for t in graph.tensors
        if t.constant is not None and t.constant.data is None and t.name not in statistics
    )


def with_statistics(graph: Graph) -> int:
    """Count all constants, as Keras does: running statistics too."""
    return sum(prod(int(d) for d in t.shape) for t in graph.tensors if t.constant is not None)


def agrees(value: float, published: str) -> bool:
    """Return whether `value` rounds to the printed number, as in "4.09 G"; the last digit may be off by half."""
    number, unit = published.split()
    step = 10.0 ** -len(number.partition(".")[2])
    return abs(value / UNITS[unit] - float(number)) <= step / 2 * (1 + 1e-9)
