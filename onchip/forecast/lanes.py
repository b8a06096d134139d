"""Lane cycles of an op: what the vector unit spends on one element.

In:       a kernel and the vector unit of a core.
Out:      cycles that one core would spend on all of it; `cores` of them share it.
Promises: a rate that the chip file gives for an operation is used as it stands; what it does not rate is made of
          operations that it does (STEPS); what nobody rates runs one element per lane and cycle.
Does not: count loads and stores (rows.py does, where lanes issue them).
"""

from __future__ import annotations

import functools
from math import prod

from onchip.chip import Vector
from onchip.forecast.kernels import Kernel
from onchip.ir.graph import Node
from onchip.ops.cost import INTEGER, SEQUENCES

STEPS: dict[str, tuple[str, ...]] = {
    **SEQUENCES,
    "erf": (*("mac",) * 9, "exp", "mac"),  # a polynomial of degree 9 and one exponential (CUDA math library: erff)
    "gelu": ("mul", "erf", "add", "mul"),
    "gelu_quick": ("mul", "mac", "mul", "tanh", "mac", "mul"),
    "sigmoid": ("exp", "add", "div"),
    "silu": ("exp", "add", "div", "mul"),
    "tanh": ("exp", "add", "div", "mac"),
    "recip": ("div",),
    "rsqrt": ("sqrt",),
    "log": ("exp",),
    "sin": ("exp",),
    "cos": ("exp",),
    "relu": ("max",),
    "clip": ("max", "min"),
    "batch_norm": ("mac",),
    "requantize": ("mac",),
    "prelu": ("max", "min", "mac"),
    "expf": (*("mac",) * 7, "exp"),  # range reduction and scaling around the exponential of base 2
    "divf": (*("mac",) * 8, "div"),  # Newton's steps around the reciprocal
    "softmax": ("max", "sub", "expf", "add", "sub", "expf", "divf"),  # maximum; sum of exponentials; exponential / sum
    "log_softmax": ("max", "sub", "expf", "add", "sub", "sub"),
    # Welford's mean and variance; then scale and shift
    "layer_norm": (*("sub", "add", "div", "mac", "sub", "mac"), *("sub", "mul", "mac")),
    "rms_norm": ("mac", "mul", "mul"),
    "lp_normalize": ("mac", "mul"),
    "l2_norm": ("mac", "mul"),
    "pow": ("exp", "mul", "exp"),
    "where": ("max",),
    "lrn": ("mac", "add", "exp", "exp", "mul"),
    "rotary": ("mul", "mac", "mul", "mac"),
}
for _name in ("group_norm", "instance_norm"):
    STEPS[_name] = STEPS["layer_norm"]
WINDOWED = ("max_pool2d", "avg_pool2d")
REDUCED = (
    *("global_avg_pool", "mean", "sum", "sum_squares", "variance", "argmax", "argmin", "reduce_max", "reduce_min"),
    *("prod", "cumsum"),
)
MOVES = (
    *("concat", "slice", "pad", "transpose", "gather", "gather_elements", "gather_nd", "lookup", "broadcast_to"),
    *("tile", "depth_to_space", "space_to_depth", "scatter_nd", "scatter_elements", "one_hot", "trilu"),
)


@functools.cache
def step_cycles(vector: Vector, op: str) -> float:
    """Return the cycles of one operation on one element, on all lanes of a core."""
    rated = dict(vector.ops_per_cycle).get(op)
    if rated is not None:
        return 1 / float(rated)
    if op in STEPS and STEPS[op] != (op,):
        return sum(step_cycles(vector, step) for step in STEPS[op])
    return 1 / vector.lanes


def kernel_cycles(kernel: Kernel, vector: Vector, *, integer: bool) -> float:
    """Return the lane cycles of all nodes of a kernel, as one core would spend them."""
    return sum(_node_cycles(kernel, node, vector, integer=integer) for node in kernel.nodes)


def _node_cycles(kernel: Kernel, node: Node, vector: Vector, *, integer: bool) -> float:
    made = kernel.elements(node.outputs[0])
    if node.op in MOVES:
        return 0.0
    if node.op in WINDOWED:
        window = node.attribute("kernel", (1, 1))
        assert isinstance(window, tuple)
        return made * prod(int(k) for k in window if isinstance(k, int)) * step_cycles(vector, "max")
    if node.op in REDUCED:
        return kernel.elements(node.inputs[0]) * step_cycles(vector, "add")
    if integer:  # one pass of an integer unit, or of a table
        cost = INTEGER.get(node.op)
        return made * (cost.passes if cost is not None and cost.row_wise else 1) * step_cycles(vector, "add")
    tanh = node.op == "gelu" and node.attribute("approximate", "none") == "tanh"
    return made * step_cycles(vector, "gelu_tanh" if tanh else node.op)
