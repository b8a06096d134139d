"""Float Graph -> int8 Graph: post-training quantization.

In:       a folded float Graph (channels-last, batch norms folded, ReLU an attribute) and calibration samples, or None.
Out:      the same nodes, names and order on int8 tensors, with `quantize` behind each float input and `dequantize`
          before each float output; transposes at the graph's edges stay outside of them, on the host.
Promises: weights are symmetric in [-127, 127] per output channel; biases int32 at sx*sw; activations asymmetric int8
          per tensor; ops that copy bits share their input's parameters; every requantizing node carries `rounding`;
          integer and bool tensors (token ids, masks) stay. With samples None every scale is a placeholder, and weights
          need not be known. Nodes of `keep_float` stay in floats between dequantize and quantize: the graph evaluates,
          but no chip runs it.
Does not: fold or fuse (fold.py), or change an op's meaning; an op without integer meaning is refused by name.
Sources:  Jacob 2018 (arXiv 1712.05877); the integer contract in docs/arithmetic.md; LiteRT's int8 specification.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf

from onchip.errors import NotSupported, UsageError
from onchip.ir.graph import Graph, Node
from onchip.ops.types import FLOAT_DTYPES, Quantization
from onchip.passes.calibrate import Calibration, Range, Sample, additive_masks, calibrate
from onchip.passes.qdq import is_paired, without_pairs
from onchip.passes.quantize_attention import ATTENTION_RULES
from onchip.passes.quantize_recurrent import RECURRENT
from onchip.passes.quantize_rules import (
    RULES,
    SAME_SCALE,
    Rewrite,
    activation_parameters,
    symmetric_parameters,
    wide_parameters,
)
from onchip.passes.wide import held_in_int16, is_wide, mark_width

ROUNDINGS = ("single", "double", "fp32")
FIXED = {  # what LiteRT's int8 specification prescribes
    "softmax": Quantization((1 / 256,), (-128,)),
    "sigmoid": Quantization((1 / 256,), (-128,)),
    "tanh": Quantization((1 / 128,), (0,)),
}

TOLD_APART: dict[str, Range] = {  # outside of this range the op's int8 output stays what it is at the edge
    "relu": (0.0, inf),
    "relu6": (0.0, 6.0),
    "sigmoid": (-8.0, 8.0),  # sigmoid(-8) = 0.0003, a step is 1/256
    "tanh": (-4.0, 4.0),  # 1 - tanh(4) = 0.0007, a step is 1/128
}


def quantize(
    graph: Graph,
    samples: Sequence[Sample] | None,
    *,
    method: str = "minmax",
    percentile: float | None = None,
    per_channel: bool = True,
    keep_float: Collection[str] = (),
    int16: Collection[str] = (),
    rounding: str = "single",
) -> Graph:
    """Quantize a float graph to int8.

    `method` chooses the ranges of activations: "minmax", "percentile" (which `percentile` of the values, by default
    99.99, is kept on either side) or "mse" (least squared error). Without `per_channel` a layer's weights have one
    scale. `keep_float` names nodes that stay in floats, `int16` nodes that read int16 activations (and what stands in
    front of them writes int16: wide.py). `rounding` is the requantization mode of every node: "single"
    (our own chips), "double" or "fp32" (docs/arithmetic.md).
    A network with quantize/dequantize pairs (qdq.py) keeps the scales that it brings; samples calibrate what is left.
    Raises NotSupported for an op that has no integer meaning, UsageError for samples that do not calibrate or a method
    that there is not, UnknownName for nodes that the graph does not have.
    """
    given: Mapping[str, Quantization] = {}
    if is_paired(graph):
        graph, given = without_pairs(graph)
        _check_known(graph, given, has_samples=samples is not None)
    _check(graph, rounding, keep_float)
    calibration = calibrate(graph, samples, method=method, percentile=percentile)
    return rewritten(
        graph, calibration, per_channel=per_channel, keep_float=keep_float, int16=int16, rounding=rounding, given=given
    )


def rewritten(
    graph: Graph,
    calibration: Calibration,
    *,
    per_channel: bool = True,
    keep_float: Collection[str] = (),
    int16: Collection[str] = (),
    rounding: str = "single",
    given: Mapping[str, Quantization] | None = None,
) -> Graph:
    """Quantize a float graph with the ranges of a calibration; options as in `quantize`.

    `given` are parameters that the network brings along; its weights lie on grids then.
    """
    wide = {name: wide_parameters(*calibration.whole(name)) for name in held_in_int16(graph, int16)}
    rewrite = Rewrite(
        graph, _parameters(graph, calibration, given or {}), calibration, rounding, per_channel, wide, bool(given)
    )  # fmt: skip
    untouched = _host_nodes(graph) | set(keep_float)
    for node in graph.nodes:
        if node.name in untouched or not any(_is_float(graph, name) for name in (*node.inputs, *node.outputs)):
            rewrite.copy(node)
        else:
            rewrite.is_wide = is_wide(rewrite, node, int16)
            (RULES | ATTENTION_RULES | RECURRENT).get(node.op, _refuse)(rewrite, node)
            mark_width(rewrite)
    return rewrite.finish()


def _check(graph: Graph, rounding: str, keep_float: Collection[str]) -> None:
    if rounding not in ROUNDINGS:
        raise UsageError(
            "OC1414", graph.name, f"no rounding mode '{rounding}'", limit=f"There are {', '.join(ROUNDINGS)}"
        )
    if any(n.op in ("quantize", "dequantize", "requantize") for n in graph.nodes):
        raise UsageError("OC1415", graph.name, "the graph is quantized already", next="Give the float graph")
    for name in keep_float:
        graph.node(name)


def _check_known(graph: Graph, given: Mapping[str, Quantization], *, has_samples: bool) -> None:
    """Refuse a network of quantize/dequantize pairs that leaves scales open, where no samples fill them in."""
    for node in graph.nodes:
        name = node.outputs[0]
        is_open = node.op in ("attention", "lstm") or (_is_float(graph, name) and name not in given)
        if is_open and not has_samples and node.op not in (*FIXED, *SAME_SCALE):
            fact = f"the network brings no scale for {'what happens inside' if name in given else 'its output'}"
            raise UsageError("OC1417", node.name, fact, next="Give samples: they calibrate what is left open")


def _is_float(graph: Graph, name: str) -> bool:
    return bool(name) and graph.tensor(name).dtype in FLOAT_DTYPES


def _refuse(rewrite: Rewrite, node: Node) -> None:
    raise NotSupported(
        "OC1380",
        f"{rewrite.graph.name}: {node.name}",
        f"op '{node.op}' has no int8 arithmetic",
        next="Run it on a float chip (dtype bf16 or f32), or replace it: onchip check shows what runs",
    )


def _host_nodes(graph: Graph) -> frozenset[str]:
    """Find the transposes at the edges: those of a graph input, and those whose only use is to be a graph output."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op != "transpose":
            continue
        is_first = node.inputs[0] in graph.inputs
        is_last = node.outputs[0] in graph.outputs and not graph.consumers(node.outputs[0])
        if is_first or is_last:
            found.add(node.name)
    return frozenset(found)


def _parameters(graph: Graph, calibration: Calibration, given: Mapping[str, Quantization]) -> dict[str, Quantization]:
    """Choose the quantization of every float activation, in the order of the nodes.

    Ops that copy bits do not ask: their rule hands on what the input has. A tensor whose only use is `concat` or `clip`
    is made at once in the parameters of that node's output: the producer requantizes anyway, and values outside of the
    clip saturate as they should. Nor is a range wider than what the only reader tells apart (TOLD_APART).
    """
    states = {n.outputs[0]: _given_state(graph, n) for n in graph.nodes} | {
        given: (made,) for given, made in graph.states
    }
    later = _handed_back(graph)
    balanced = _balanced(graph)
    chosen: dict[str, Quantization] = {}

    def of(name: str) -> Quantization:
        if name in given:
            return given[name]
        while name in later:
            name = later[name]
        if name in balanced:
            return symmetric_parameters(*calibration.of(name, is_symmetric=True))
        ranges = [calibration.of(n, limits=_told_apart(graph, n)) for n in (name, *states.get(name, ()))]
        return activation_parameters(min(low for low, _ in ranges), max(high for _, high in ranges))

    for name in graph.inputs:
        if _is_float(graph, name):
            chosen[name] = of(name)
    for node in graph.nodes:
        for name in node.outputs:
            if not _is_float(graph, name):
                continue
            chosen[name] = FIXED.get(node.op) or of(name)
        if node.op in RECURRENT:
            chosen[node.outputs[1]] = chosen[node.outputs[0]]
    return chosen


def _balanced(graph: Graph) -> frozenset[str]:
    """Find queries and keys of attention, back through ops that copy bits, and masks that are added to its scores.

    Zero point 0 keeps scores one product, and leaves -128 of a mask to what it drops.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found: set[str] = set(additive_masks(graph))
    for node in graph.nodes:
        if node.op == "attention":
            waiting = list(node.inputs[:2])
            while waiting:
                name = waiting.pop()
                found.add(name)
                maker = makers.get(name)
                if maker is not None and maker.op in SAME_SCALE:
                    waiting += [i for i in maker.inputs if i and i not in found]
    return frozenset(found)


def _told_apart(graph: Graph, name: str) -> Range:
    """Give the limits outside of which the only reader of a tensor does not tell values apart."""
    readers = {node.op for node in graph.consumers(name)}
    if len(readers) != 1 or name in graph.kept:
        return (-inf, inf)
    return TOLD_APART.get(readers.pop(), (-inf, inf))


def _handed_back(graph: Graph) -> dict[str, str]:
    """Map a tensor to the output of the concat or clip that is its only use, where its producer is free to choose."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    later: dict[str, str] = {}
    for node in graph.nodes:
        if node.op not in ("concat", "clip", "maximum", "minimum"):
            continue
        for name in node.inputs:
            maker = makers.get(name)
            is_state = any(name == given for given, _ in graph.states)
            is_free = is_state if maker is None else maker.op not in (*FIXED, *SAME_SCALE, *RECURRENT)
            if is_free and len(graph.consumers(name)) == 1 and name not in graph.kept:
                later[name] = node.outputs[0]
    for node in graph.nodes:  # a given state has what the new one has
        for name in _given_state(graph, node):
            if name in graph.inputs and len(graph.consumers(name)) == 1:
                later[name] = node.outputs[0]
    return later


def _given_state(graph: Graph, node: Node) -> tuple[str, ...]:
    """Give the hidden state that a recurrent node starts from, where it is an activation."""
    given = node.inputs[5:6] if node.op in RECURRENT else ()
    return tuple(name for name in given if name and graph.tensor(name).constant is None)
