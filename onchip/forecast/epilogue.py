"""What is fused behind a product on many cores: lanes work on the sums of a tile before it is written.

In:       the cost of a product, its kernel, a Machine.
Out:      the cost with the lanes' time, less what `overlap.matrix_vector` hides of it.
Promises: a float product without bias, activation or fused nodes costs nothing more: storing its sums is in the shares
          of the peak that products reach. Sums of integers are requantized.
Does not: count what fused nodes read (the kernel's traffic has it); know the post-processing of arrays.
"""

from __future__ import annotations

from dataclasses import replace

from onchip.forecast.cost import Cost
from onchip.forecast.kernels import PRODUCTS, Kernel
from onchip.forecast.lanes import step_cycles
from onchip.forecast.machine import Machine
from onchip.ir.graph import Node

# Lane operations, shared by all chips. To requantize a sum: convert, scale, round, saturate, pack; fitted on int8 BERT
# and ResNet of A100 (either alone: 5 and 5.5). To read an int8 operand: unpack, convert (assumed, from the
# instructions of compute capability 7.2 and later).
REQUANTIZE, UNPACK = 5.0, 2.0
# What runtimes compute in place of a function: x/2 (1 + tanh(a x (1 + b x^2))) (NVIDIA/TensorRT demo/BERT/builder.py)
QUICK = {"gelu": "gelu_quick"}


def with_epilogue(cost: Cost, kernel: Kernel, m: Machine) -> Cost:
    """Return the cost with the lanes' work behind the product."""
    shown = (1 - m.chip.overlap.matrix_vector) * epilogue_s(kernel, m)
    return replace(cost, causes=(*cost.causes, ("vector", shown))) if shown else cost


def epilogue_s(kernel: Kernel, m: Machine) -> float:
    """Return the seconds of the lanes of all cores."""
    cycles = sum(kernel.elements(node.outputs[0]) * _cycles(node, m) for node in kernel.nodes)
    return cycles / m.clock_hz / m.cores


def _cycles(node: Node, m: Machine) -> float:
    """Return the cycles of an element on all lanes of a core."""
    vector, is_integer = m.chip.vector, m.dtype.startswith("int")
    activation = step_cycles(vector, "relu") if node.attribute("activation", "none") != "none" else 0.0
    if node.op in PRODUCTS:
        bias = 1.0 if len(node.inputs) > 2 else 0.0
        return (REQUANTIZE if is_integer else bias) / vector.lanes + activation
    if node.op == "slice":
        return 0.0
    is_sum = len(node.inputs) > 1
    return (
        step_cycles(vector, QUICK.get(node.op, node.op))
        + (UNPACK / vector.lanes if is_integer and is_sum else 0.0)
        + activation
    )
