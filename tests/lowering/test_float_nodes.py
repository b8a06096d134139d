"""Single float nodes as programs on small machines: near the float reference, the same bits on both machines.

The machines are a systolic and a dot-product one, with two cores and memories so small that tiles are cut. One node
differs from the reference only where the last rounding falls the other way: two units of the largest magnitude.
"""

from __future__ import annotations

from math import prod
from random import Random
from typing import Any

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import AttributeValue, Graph
from onchip.isa import VOP
from onchip.isa.vector import NAMES
from onchip.ops.cost import SEQUENCES
from tests.float_values import assert_near, rounded, run_both

SMALL = {"local.size": "4 KiB", "local.accumulator": "1 KiB", "cores.count": 2}
MACHINES = {"tpu-v4": ("bf16",), "a100-sxm-80gb": ("bf16", "fp16", "tf32", "fp32"), "h100-sxm": ("fp8",)}
Shape = tuple[int, ...]
X: tuple[Shape, ...] = ((2, 5, 7),)
IMAGE: tuple[Shape, ...] = ((2, 6, 7, 6),)
Case = tuple[str, tuple[Shape, ...], tuple[Shape, ...], dict[str, AttributeValue]]
FUNCTIONS = [name for name in SEQUENCES if name != "gelu_tanh"]
CASES: list[Case] = [
    *((name, X, (), {}) for name in (*FUNCTIONS, "relu", "softmax", "layer_norm")),
    ("clip", X, (), {"low": -0.3, "high": 0.4}),
    ("gelu", X, (), {"approximate": "tanh"}),
    ("leaky_relu", X, (), {"alpha": 1.7}),
    ("elu", X, (), {"alpha": 2.5}),
    ("celu", X, (), {"alpha": 2.5}),
    ("hard_sigmoid", X, (), {"alpha": 0.3, "beta": 0.4}),
    ("conv2d", IMAGE, ((9, 3, 3, 6), (9,)), {"padding": (1, 1, 1, 1), "stride": (2, 1), "activation": "relu"}),
    ("conv2d", IMAGE, ((9, 3, 2, 6),), {"dilation": (2, 1)}),
    ("conv2d", IMAGE, ((6, 3, 3, 1), (6,)), {"padding": (1, 1, 1, 1), "groups": 6, "activation": "relu6"}),
    ("conv2d", IMAGE, ((4, 3, 3, 3), (4,)), {"padding": (1, 1, 0, 1), "groups": 2}),
    ("linear", ((3, 4, 10),), ((7, 10), (7,)), {}),
    ("add", (*X, *X), (), {"activation": "relu"}),
    ("sub", X, ((7,),), {}),
    ("mul", X, ((5, 1),), {}),
    ("matmul", ((2, 5, 7), (2, 7, 4)), (), {}),
    ("max_pool2d", IMAGE, (), {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1, 1, 1)}),
    ("avg_pool2d", IMAGE, (), {"kernel": (3, 2), "stride": (3, 2)}),
    ("avg_pool2d", IMAGE, (), {"kernel": (3, 3), "padding": (1, 1, 1, 1), "count_include_pad": False}),
    ("lrn", IMAGE, (), {"size": 5, "alpha": 0.3, "beta": 0.75, "bias": 1.0}),
    ("prelu", IMAGE, ((6,),), {}),
    ("pad", IMAGE, (), {"pads": (0, 0, 1, 2, 0, 1, 0, 0), "value": 0.37}),
    ("global_avg_pool", IMAGE, (), {}),
    ("mean", X, (), {"axes": (1,), "keepdims": False}),
    ("layer_norm", X, ((7,), (7,)), {"eps": 0.1}),
    ("rms_norm", X, ((7,),), {}),
    ("concat", ((2, 5, 7), (2, 5, 3)), (), {"axis": 2}),
    ("concat", ((2, 5, 7), (2, 3, 7)), (), {"axis": 1}),
    ("slice", X, (), {"axis": 2, "start": 2, "stop": 6}),
    ("transpose", X, (), {"perm": (0, 2, 1)}),
]  # fmt: skip
ATTENTION: list[Case] = [
    ("attention", ((2, 9, 8), (2, 9, 8), (2, 9, 8)), (), {"heads": 2, "causal": True}),
    ("attention", ((2, 9, 8), (2, 12, 4), (2, 12, 6)), (), {"heads": 2, "kv_heads": 1}),
]


def one_node(op: str, inputs: tuple[Shape, ...], constants: tuple[Shape, ...], attributes: dict[str, Any]) -> Graph:
    draw, b = np.random.default_rng(0), GraphBuilder(op)
    names = [b.input(f"x{i}", shape) for i, shape in enumerate(inputs)]
    for i, shape in enumerate(constants):
        values = draw.standard_normal(shape) * prod(shape[1:]) ** -0.5
        names.append(b.constant(f"c{i}", values.astype(np.float32)))
    made = b.node(op, names, "node", **attributes)
    b.output(made if isinstance(made, str) else made[0])
    return b.finish()


def drawn(graph: Graph, dtype: str) -> dict[str, Any]:
    draw, positive = np.random.default_rng(1), graph.nodes[0].op in ("sqrt", "log", "rsqrt", "reciprocal")
    shapes = {name: [int(d) for d in graph.tensor(name).shape] for name in graph.inputs}
    values = {name: draw.standard_normal(shape).astype(np.float32) * 2 for name, shape in shapes.items()}
    return rounded({n: np.abs(v) + np.float32(0.1) if positive else v for n, v in values.items()}, dtype)


@pytest.mark.parametrize("chip", MACHINES)
@pytest.mark.parametrize("case", [*CASES, *ATTENTION], ids=lambda c: f"{c[0]}-{'-'.join(map(str, c[3].values()))}"[:40])
def test_one_node(case: Case, chip: str) -> None:
    graph, machine = one_node(*case), Chip.load(chip).replace(SMALL)
    for dtype in MACHINES[chip]:
        inputs, seen = drawn(graph, dtype), dict[str, Any]()
        program = pipeline.compile(graph, machine, dtype=dtype, watch=seen.__setitem__)
        found = run_both(program, inputs, Random(0))
        # attention rounds its weights too, each of at most 1: one unit of the largest value more
        units, largest = (4.0, float(np.abs(inputs["x2"]).max())) if case[0] == "attention" else (2.0, 0.0)
        units = units if dtype != "fp32" else 64.0  # sums of up to 54 products, in another order
        assert_near(found, seen["graph"], inputs, dtype, units, largest)


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_what_the_planner_counts(name: str) -> None:
    attributes = {"approximate": "tanh"} if name == "gelu_tanh" else {}
    graph = one_node(name.removesuffix("_tanh"), ((1, 1, 4),), (), attributes)
    program = pipeline.compile(graph, "tpu-v4")
    (kernel,) = program.kernels
    code = [x for x in program.instructions(2) if isinstance(x, VOP)]
    assert len(code) > 0 and kernel.nodes == ("node",)
    assert tuple(NAMES[x.sub] for x in code) == SEQUENCES[name]
