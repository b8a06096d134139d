"""What each op asks of the vector unit on the machine: passes over the tile, and tiles of scratch.

In: an op's name and whether the kernel is in integers. Out: `VectorCost`. The planner sizes tiles with it; the
instruction sequences themselves are the lowering's, and the simulated cycles come from those. A pass is one vector
instruction over every element of the tile; scratch counts 32-bit words per element.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class VectorCost:
    """Vector instructions per element, scratch words per element, and bytes of lookup tables."""

    passes: int
    scratch: int = 0
    table_bytes: int = 0
    row_wise: bool = False


TABLE = 1024  # bytes: 256 words of 32 bits
# int8 -> int8 by one lookup; relu and relu6 too where input and output differ in scale
TABLES = (
    *("sigmoid", "tanh", "gelu", "silu", "exp", "sqrt", "erf", "neg", "abs", "ceil", "floor", "round", "sign", "log"),
    *("sin", "cos", "reciprocal", "rsqrt", "hard_sigmoid", "hard_swish", "leaky_relu", "elu", "celu", "selu"),
    *("softplus", "softsign", "mish"),
)
RESCALED_TABLES = ("relu", "relu6")

INTEGER: dict[str, VectorCost] = {
    "conv2d": VectorCost(1, 1),
    "linear": VectorCost(1),
    "matmul": VectorCost(1),
    "add": VectorCost(4, 2),
    "sub": VectorCost(4, 2),
    "mul": VectorCost(4, 2),
    "relu": VectorCost(1),
    "relu6": VectorCost(1),
    "clip": VectorCost(1),
    **dict.fromkeys(TABLES, VectorCost(4, 0, TABLE)),
    "max_pool2d": VectorCost(1, 1),
    "avg_pool2d": VectorCost(8, 3),
    "global_avg_pool": VectorCost(2, 1),
    "mean": VectorCost(2, 1),
    "softmax": VectorCost(12, 2, TABLE, row_wise=True),
    "layer_norm": VectorCost(12, 3, 0, row_wise=True),
    "rms_norm": VectorCost(9, 2, 0, row_wise=True),
    "rotary": VectorCost(6, 2, row_wise=True),
    "maximum": VectorCost(1, 2),
    "minimum": VectorCost(1, 2),
    "requantize": VectorCost(1),
    "identity": VectorCost(1),
    "concat": VectorCost(1, 1),
    "slice": VectorCost(1),
    "pad": VectorCost(1),
    "gather": VectorCost(1),
    "transpose": VectorCost(1),
    "blend": VectorCost(1, 1),
    "lrn": VectorCost(32, 6, 2 * TABLE, row_wise=True),
    "prelu": VectorCost(9, 3),
}
# floats: lane operations one after the other, as lowering/float_steps.py emits them; sin and cos run at the rate of exp
# (assumed)
SEQUENCES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("sigmoid", "tanh", "gelu", "silu", "exp", "sqrt", "erf", "log", "rsqrt")},
    **{name: (name,) for name in ("ceil", "floor", "round", "sin", "cos")},
    "gelu_tanh": ("mul", "mul", "add", "mul", "sigmoid", "mul"),
    "relu6": ("max", "min"),
    "clip": ("max", "min"),
    "elu": ("min", "exp", "sub", "mul", "max", "add"),
    "celu": ("min", "mul", "exp", "sub", "mul", "max", "add"),
    "selu": ("min", "exp", "sub", "mul", "max", "mul", "add"),
    "neg": ("mul",),
    "abs": ("and",),
    "sign": ("mul", "mul", "max", "min"),
    "reciprocal": ("recip",),
    "hard_sigmoid": ("mul", "add", "max", "min"),
    "hard_swish": ("mul", "add", "max", "min", "mul"),
    "leaky_relu": ("mul", "max"),
    "softplus": ("and", "mul", "exp", "add", "log", "max", "add"),
    "softsign": ("and", "add", "div"),
    "mish": ("min", "exp", "add", "mul", "add", "div", "mul"),
}
TWO_TILES = ("elu", "celu", "selu", "softplus", "mish")  # sequences that keep two values of each element
ACTIVATIONS: dict[str, tuple[str, ...]] = {"none": (), "relu": ("max",), "relu6": ("max", "min")}
FLOAT: dict[str, VectorCost] = {
    **{name: VectorCost(1, min(cost.scratch, 1)) for name, cost in INTEGER.items()},
    **{name: VectorCost(len(names), 1 + (name in TWO_TILES)) for name, names in SEQUENCES.items()},
    "max_pool2d": VectorCost(3, 1),
    "avg_pool2d": VectorCost(2, 1),
    "softmax": VectorCost(6, 1, row_wise=True),
    "layer_norm": VectorCost(6, 1, row_wise=True),
    "rms_norm": VectorCost(3, 1, row_wise=True),
    "rotary": VectorCost(6, 1, row_wise=True),
    "batch_norm": VectorCost(2, 1),
    "lrn": VectorCost(10, 2, row_wise=True),
    "prelu": VectorCost(4, 2),
}


def is_table(op: str, *, rescales: bool) -> bool:
    """Return whether an int8 op is one table lookup; `rescales`: its input and output differ in quantization."""
    return op in TABLES or (rescales and op in RESCALED_TABLES)


def vector_cost(
    op: str, *, integer: bool, rescales: bool = False, activation: str = "none", approximate: str = "none"
) -> VectorCost | None:
    """Return an op's cost on the vector unit, None where it has no instruction sequence.

    `activation` is fused into the node: lane operations of their own in floats, limits of the requantization in
    integers. `approximate` is that of gelu.
    """
    if integer:
        return INTEGER[TABLES[0]] if is_table(op, rescales=rescales) else INTEGER.get(op)
    cost = FLOAT.get("gelu_tanh" if op == "gelu" and approximate == "tanh" else op)
    more = len(ACTIVATIONS.get(activation, ()))
    return replace(cost, passes=cost.passes + more) if cost is not None and more else cost
