"""Watch a float graph at work and note the range of every tensor: what post-training quantization needs to know.

In:       a float Graph, samples, each a mapping from input name to array (any batch size that the graph takes), and a
          method: "minmax", "percentile" or "mse".
Out:      `Calibration`: a range of every float tensor, of every attention's scores and of every LSTM's cell.
Promises: every range holds 0 (an int8 zero point has to stand for it exactly); without samples every range is the
          placeholder [-1, 1], says so in `is_placeholder`, and nothing runs. Percentiles and errors are those of all
          samples together. Scores and cells keep their whole range, whatever the method.
Does not: choose scales (quantize.py), or ranges (ranges.py).
Sources:  Jacob 2018, section 3 (min-max).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError, did_you_mean
from onchip.ir.evaluate import evaluate, initial_states
from onchip.ir.graph import Graph, Node
from onchip.ops.attention import head_widths, keep_mask, score_factor, split_heads
from onchip.ops.registry import OPS
from onchip.ops.types import FLOAT_DTYPES, Attributes
from onchip.passes.ranges import Range, Spread, least_error

Array = NDArray[Any]
Sample = Mapping[str, Array]
PLACEHOLDER: Range = (-1.0, 1.0)
DROPS = -1e4  # assumed: an additive mask at or below it means minus infinity
SCORE_SPAN = 10.0  # a score this far below its row's maximum weighs exp(-10) = 0.00005: int8 softmax makes it 0
METHODS = ("minmax", "percentile", "mse")
PERCENTILE = 99.99  # Wu 2020, table 5: the best of those tried for most networks


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ranges by tensor name, and by node name for what happens inside a node; `spreads` where the method needs them."""

    tensors: Mapping[str, Range] = field(default_factory=dict[str, Range])
    inner: Mapping[str, Range] = field(default_factory=dict[str, Range])
    is_placeholder: bool = False
    spreads: Mapping[str, Spread] = field(default_factory=dict[str, Spread])
    percentile: float | None = None  # None: least squared error, where there are spreads

    def of(self, tensor: str, *, limits: Range = (-inf, inf), is_symmetric: bool = False) -> Range:
        """Give the range of a tensor, for a symmetric grid or another; what is outside of `limits` does not count."""
        low, high = self.whole(tensor)
        if tensor in self.spreads:
            spread = self.spreads[tensor].clipped(*limits)
            if self.percentile is None:
                low, high = least_error(spread, is_symmetric=is_symmetric)
            else:
                low, high = spread.percentile(self.percentile)
        return max(low, limits[0]), min(high, limits[1])

    def whole(self, tensor: str) -> Range:
        """Give the range of all values of a tensor, whatever the method."""
        return PLACEHOLDER if self.is_placeholder else self.tensors[tensor]

    def inside(self, node: str) -> Range:
        """Give the range of an attention's scores or an LSTM's cell."""
        return PLACEHOLDER if self.is_placeholder else self.inner[node]


def calibrate(
    graph: Graph, samples: Sequence[Sample] | None, *, method: str = "minmax", percentile: float | None = None
) -> Calibration:
    """Run the samples through the graph and note the ranges; a state that a sample does not give is carried on.

    `percentile` in (50, 100] belongs to the method of that name: that share of the values is kept on either side.
    Raises UsageError for an unknown method, an empty list of samples, such a percentile, or values that are not finite.
    """
    share = _checked(graph, method, percentile)
    if samples is None:
        return Calibration(is_placeholder=True)
    if not samples:
        raise UsageError(
            "OC1411", graph.name, "no calibration sample", next="Give one or more, or None for placeholders"
        )
    floats = {t.name for t in graph.tensors if t.dtype in FLOAT_DTYPES and t.constant is None}
    within = [n for n in graph.nodes if n.op in _INNER]
    needed = {name for n in within for name in n.inputs}
    masks = additive_masks(graph)
    following = {new for _, new in graph.states}
    tensors: dict[str, Range] = {}
    spreads: dict[str, Spread] = {}
    inner: dict[str, Range] = {}
    states: dict[str, Array] = {}
    for given in samples:
        sample = {**initial_states(graph), **states, **given}
        made = dict[str, Array]()
        kept: dict[str, Array] = {}

        def watch(name: str, value: Array, kept: dict[str, Array] = kept, made: dict[str, Array] = made) -> None:
            if name in needed:
                kept[name] = value
            if name in following:
                made[name] = value
            if name in masks:
                value = np.where(value > DROPS, value, 0.0)
            if name in floats:
                _join(tensors, name, _range_of(name, value))
                if method != "minmax":
                    new = Spread.of(value)
                    spreads[name] = spreads[name].joined(new) if name in spreads else new

        for name in graph.inputs:
            watch(name, np.asarray(sample[name]))
        evaluate(graph, sample, watch=watch)
        states = {state: made[new] for state, new in graph.states if new in made}
        for node in within:
            _join(inner, node.name, _INNER[node.op](node, [_value(graph, kept, name) for name in node.inputs]))
    return Calibration(tensors, inner, spreads=spreads, percentile=share)


def additive_masks(graph: Graph) -> frozenset[str]:
    """Find the float tensors that are only ever added to scores: what drops there is no value of theirs."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op == "attention" and len(node.inputs) > 3 and node.inputs[3]:
            name = node.inputs[3]
            readers = graph.consumers(name)
            is_mask = all(r.op == "attention" and name not in r.inputs[:3] for r in readers)
            if is_mask and name not in graph.outputs and graph.tensor(name).dtype in FLOAT_DTYPES:
                found.add(name)
    return frozenset(found)


def _checked(graph: Graph, method: str, percentile: float | None) -> float | None:
    """Give the percentile to use, None for other methods. Raises UsageError."""
    if method not in METHODS:
        limit, hint = f"There are {', '.join(METHODS)}", did_you_mean(method, METHODS)
        raise UsageError("OC1416", graph.name, f"no calibration method '{method[:40]}'", limit=limit, next=hint)
    if percentile is None:
        return PERCENTILE if method == "percentile" else None
    if method != "percentile":
        hint = 'Give method="percentile" with it'
        raise UsageError("OC1412", graph.name, f"percentile {percentile} has no effect on {method}", next=hint)
    if not 50.0 < percentile <= 100.0:
        raise UsageError("OC1412", graph.name, f"percentile is {percentile}", limit="It lies in (50, 100]")
    return percentile


def _value(graph: Graph, kept: Mapping[str, Array], name: str) -> Array | None:
    if not name:
        return None
    constant = graph.tensor(name).constant
    return constant.data if constant is not None else kept[name]


def _join(ranges: dict[str, Range], name: str, new: Range) -> None:
    old = ranges.get(name, (0.0, 0.0))
    ranges[name] = (min(old[0], new[0]), max(old[1], new[1]))


def _range_of(name: str, value: Array) -> Range:
    if not value.size:
        return (0.0, 0.0)
    low, high = float(value.min()), float(value.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(
            "OC1413",
            name,
            f"calibration meets values from {low} to {high}",
            next="Look for a division by 0 or an overflow",
        )
    return min(low, 0.0), max(high, 0.0)


def _attributes(node: Node) -> Attributes:
    return Attributes({**OPS[node.op].defaults, **dict(node.attributes)})


def _scores(node: Node, inputs: Sequence[Array | None]) -> Range:
    """Give the range of the kept scores; what lies SCORE_SPAN below every row's maximum may saturate."""
    q, k, v = inputs[0], inputs[1], inputs[2]
    mask = inputs[3] if len(inputs) > 3 else None
    assert q is not None and k is not None and v is not None
    attributes = _attributes(node)
    h, g, d, _ = head_widths(attributes, (q.shape, k.shape, v.shape))
    scores = split_heads(q, h) @ split_heads(k, g, h // g).swapaxes(-1, -2) * score_factor(attributes, d)
    keep = keep_mask(attributes, mask, scores.shape)
    if keep is None:
        keep = np.ones(scores.shape, np.bool_)
    if mask is not None and mask.dtype != np.bool_:  # one scale for the scores and for what they become
        keep = keep & (mask > DROPS)
        added = _span(np.where(keep, scores + mask, 0.0), keep)
        alone = _span(scores, keep)
        return min(added[0], alone[0]), max(added[1], alone[1])
    return _span(scores, keep)


def _span(scores: Array, keep: Array) -> Range:
    """Give the range of scores that decide a weight."""
    rows = keep.any(axis=-1)
    if not rows.any():
        return (0.0, 0.0)
    top = np.where(keep, scores, -np.inf).max(axis=-1)[rows]
    least = float(np.where(keep, scores, np.inf).min())
    return min(max(least, float(top.min()) - SCORE_SPAN), 0.0), max(float(top.max()), 0.0)


def _cell(node: Node, inputs: Sequence[Array | None]) -> Range:
    """Give the range of the cell over all steps: the op's own reference, one step at a time."""
    attributes, op = _attributes(node), OPS["lstm"]
    x, *rest = (*inputs, *(None,) * (8 - len(inputs)))
    assert x is not None
    lengths = rest.pop()
    cells = [np.zeros(1) if rest[5] is None else rest[5]]
    steps = range(x.shape[1])
    for t in reversed(steps) if attributes.flag("reverse") else steps:
        made = op.reference(attributes, x[:, t : t + 1], *rest)[1:]
        if lengths is not None:
            is_inside = (t < lengths)[:, None]
            made = [np.where(is_inside, m, 0 if r is None else r) for m, r in zip(made, rest[4:6], strict=True)]
        rest[4:6] = made
        cells.append(made[1])
    return min(float(c.min()) for c in cells), max(float(c.max()) for c in cells)


_INNER = {"attention": _scores, "lstm": _cell}
