"""Workloads of measurements as Graphs: one operation drawn with the builder, or a network.

In:       the workload's name and the parameters of a row.
Out:      `draw`, a float Graph, channels last; weights are constants without values, activations are inputs.
Promises: every size that a row gives is in the graph, and nothing else is: an unknown workload, a size that is missing
          or that nobody reads is refused (OC1503, OC1504), never guessed. Parameters that are words (a runtime, a power
          mode) are conditions of the measurement and change no graph.
          Elementwise operations have n elements and no shape: they are drawn as rows of up to 1,024.
          Layouts are transposes at the edges: the operand lies in far memory as the row says.
          A recurrent network whose input projection is skipped has one input feature: what is left of that product is
          1/hidden of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from onchip.errors import NotSupported, did_you_mean
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.silicon.measurements import CONDITIONS, COUNTS, SIZES
from onchip.silicon.networks import draw_layer, draw_network

ROW_WIDTH = 1024  # of elementwise operations: the largest divisor of n up to it
UNARY = ("gelu", "relu", "relu6", "tanh", "sigmoid", "silu", "exp", "hard_swish")
BINARY = ("add", "sub", "mul")
LAYOUTS = ("NN", "NT", "TN", "TT")
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
Sizes = Mapping[str, int]
Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Workload:
    """How a workload is drawn: the sizes it needs, those it may have with their defaults, and the words it reads."""

    draw: Callable[[GraphBuilder, Sizes, Words], str]
    needs: tuple[str, ...]
    defaults: Mapping[str, int] = field(default_factory=dict[str, int])
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def draw(workload: str, params: tuple[tuple[str, str], ...], folder: str = "") -> Graph:
    """Return the graph of a row; `folder` is where relative paths of model files start. Raises OnchipError."""
    if workload == "network":
        return draw_network(dict(params), folder)
    if workload == "layer":
        return draw_layer(dict(params), folder)
    if workload not in WORKLOADS:
        known = (*WORKLOADS, "network", "layer")
        hint = did_you_mean(workload, known) or f"There are {', '.join(known)}"
        raise NotSupported("OC1503", workload, f"no workload is named '{workload}'", next=hint)
    rule = WORKLOADS[workload]
    sizes, words = _read(workload, rule, params)
    builder = GraphBuilder(workload)
    builder.output(rule.draw(builder, sizes, words))
    return builder.finish()


def work_key(params: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that decide what is done, sorted: rows that differ in others do the same work."""
    return tuple(sorted((key, value) for key, value in params if key not in CONDITIONS))


def _read(workload: str, rule: Workload, params: tuple[tuple[str, str], ...]) -> tuple[dict[str, int], dict[str, str]]:
    sizes, words = dict(rule.defaults), dict[str, str]()
    for key, value in params:
        if key in rule.words:
            if value not in rule.words[key]:
                limit = f"It is {' or '.join(rule.words[key])}"
                raise NotSupported("OC1504", workload, f"{key} = '{value[:40]}' is unknown", limit=limit)
            words[key] = value
        elif key in rule.needs or key in rule.defaults:
            sizes[key] = int(value)
        elif key in SIZES or key in COUNTS or (key not in CONDITIONS and value[0].isdigit()):
            limit = f"It has {', '.join((*rule.needs, *rule.defaults, *rule.words))}"
            raise NotSupported("OC1504", workload, f"has no parameter '{key}'", limit=limit)
    for key in rule.needs:
        if key not in sizes:
            raise NotSupported("OC1504", workload, f"'{key}' is missing", limit=f"It needs {', '.join(rule.needs)}")
    return sizes, words


def _node(builder: GraphBuilder, op: str, inputs: tuple[str, ...], name: str, **attributes: object) -> str:
    made = builder.node(op, inputs, name, **attributes)  # pyright: ignore[reportArgumentType]
    return made if isinstance(made, str) else made[0]


def _gemm(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
    """C[M,N] = A[M,K] B[K,N], B a weight; layout: N as written, T transposed in memory."""
    m, n, k = (sizes[key] for key in "MNK")
    layout = words.get("layout", "NT")
    if layout[0] == "T":
        x = _node(builder, "transpose", (builder.input("a", (k, m)),), "a.transposed", perm=(1, 0))
    else:
        x = builder.input("a", (m, k))
    if layout[1] == "T":
        return _node(builder, "linear", (x, builder.constant("b", (n, k), "f32")), "gemm")
    weight = builder.constant("b", (k, n), "f32")
    return _node(builder, "linear", (x, _node(builder, "transpose", (weight,), "b.transposed", perm=(1, 0))), "gemm")


def _bmm(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
    b, m, n, k = (sizes[key] for key in "BMNK")
    return _node(builder, "matmul", (builder.input("a", (b, m, k)), builder.input("b", (b, k, n))), "bmm")


def _conv2d(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
    groups, channels = sizes["groups"], sizes["C"]
    if channels % groups or sizes["K"] % groups:
        raise NotSupported("OC1504", "conv2d", f"groups = {groups} divide C = {channels} or K = {sizes['K']} not")
    x = builder.input("x", (sizes["N"], sizes["H"], sizes["W"], channels))
    w = builder.constant("w", (sizes["K"], sizes["R"], sizes["S"], channels // groups), "f32")
    pads = (sizes["pad_h"], sizes["pad_h"], sizes["pad_w"], sizes["pad_w"])
    stride, dilation = (sizes["stride_h"], sizes["stride_w"]), (sizes["dilation_h"], sizes["dilation_w"])
    return _node(builder, "conv2d", (x, w), "conv2d", stride=stride, padding=pads, dilation=dilation, groups=groups)


def _recurrent(op: str) -> Callable[[GraphBuilder, Sizes, Words], str]:
    def draw_it(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
        hidden, batch, steps = sizes["hidden"], sizes["batch"], sizes["timesteps"]
        features = 1 if words.get("input_projection") == "skipped" else sizes["input_size"] or hidden
        rows = GATES[op] * hidden
        x = builder.input("x", (batch, steps, features))
        w_ih = builder.constant("w_ih", (rows, features), "f32")
        w_hh = builder.constant("w_hh", (rows, hidden), "f32")
        biases = builder.constant("b_ih", (rows,), "f32"), builder.constant("b_hh", (rows,), "f32")
        return _node(builder, op, (x, w_ih, w_hh, *biases), op, hidden=hidden)

    return draw_it


def _attention(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
    heads, groups, width = sizes["heads"], sizes["kv_heads"] or sizes["heads"], sizes["head_dim"]
    batch, keys = sizes["batch"], sizes["kv_len"]
    q = builder.input("q", (batch, sizes["q_len"], heads * width))
    k, v = (builder.input(name, (batch, keys, groups * width)) for name in "kv")
    return _node(
        builder, "attention", (q, k, v), "attention", heads=heads, kv_heads=groups, causal=bool(sizes["causal"])
    )


def _softmax(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
    return _node(builder, "softmax", (builder.input("x", (sizes["M"], sizes["N"])),), "softmax")


def _normed(op: str, constants: tuple[str, ...]) -> Callable[[GraphBuilder, Sizes, Words], str]:
    def draw_it(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
        x = builder.input("x", (sizes["M"], sizes["N"]))
        learned = (builder.constant(name, (sizes["N"],), "f32") for name in constants)
        return _node(builder, op, (x, *learned), op)

    return draw_it


def _elementwise(op: str, n_inputs: int) -> Callable[[GraphBuilder, Sizes, Words], str]:
    def draw_it(builder: GraphBuilder, sizes: Sizes, words: Words) -> str:
        width = next(w for w in range(min(ROW_WIDTH, sizes["n"]), 0, -1) if sizes["n"] % w == 0)
        given = tuple(builder.input(name, (sizes["n"] // width, width)) for name in "xy"[:n_inputs])
        return _node(builder, op, given, op)

    return draw_it


_CONV_DEFAULTS = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w", "groups"), 1)
_PROJECTION = {"input_projection": ("skipped", "included")}
WORKLOADS: dict[str, Workload] = {
    "gemm": Workload(_gemm, ("M", "N", "K"), words={"layout": LAYOUTS}),
    "bmm": Workload(_bmm, ("B", "M", "N", "K")),
    "conv2d": Workload(
        _conv2d, ("N", "C", "H", "W", "K", "R", "S"), {**_CONV_DEFAULTS, "pad_h": 0, "pad_w": 0}
    ),
    **{
        op: Workload(_recurrent(op), ("hidden", "batch", "timesteps"), {"input_size": 0}, _PROJECTION)
        for op in GATES
    },
    "attention": Workload(
        _attention, ("batch", "heads", "q_len", "kv_len", "head_dim"), {"kv_heads": 0, "causal": 0}
    ),
    "softmax": Workload(_softmax, ("M", "N")),
    "layernorm": Workload(_normed("layer_norm", ("scale", "bias")), ("M", "N")),
    "rmsnorm": Workload(_normed("rms_norm", ("scale",)), ("M", "N")),
    **{op: Workload(_elementwise(op, 1), ("n",)) for op in UNARY},
    **{op: Workload(_elementwise(op, 2), ("n",)) for op in BINARY},
}  # fmt: skip


def batch_of(graph: Graph) -> int:
    """Return the inferences of one run: the first dimension of the first input."""
    return cast("int", graph.tensor(graph.inputs[0]).shape[0])
