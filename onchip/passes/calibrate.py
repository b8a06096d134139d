"""Watch a float graph at work and note the range of every tensor: what post-training quantization needs to know.

In:       a float Graph and samples, each a mapping from input name to array (any batch size that the graph takes).
Out:      `Calibration`: low and high of every float tensor, of every attention's scores and of every LSTM's cell.
Promises: every range holds 0 (an int8 zero point has to stand for it exactly); without samples every range is the
          placeholder [-1, 1], says so in `is_placeholder`, and nothing runs.
Does not: choose scales (quantize.py). With `percentile` p a range is cut to the p-th and (100-p)-th percentile of each
          sample, and then joined over the samples.
Sources:  Jacob 2018, section 3 (min-max); Wu 2020, "Integer quantization for deep learning inference" (percentile).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node
from onchip.ops.attention import head_widths, keep_mask, score_factor, split_heads
from onchip.ops.registry import OPS
from onchip.ops.types import FLOAT_DTYPES, Attributes

Array = NDArray[Any]
Range = tuple[float, float]
Sample = Mapping[str, Array]
PLACEHOLDER: Range = (-1.0, 1.0)
SCORE_SPAN = 10.0  # a score this far below its row's maximum weighs exp(-10) = 0.00005: int8 softmax makes it 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ranges by tensor name, and by node name for what happens inside a node."""

    tensors: Mapping[str, Range] = field(default_factory=dict[str, Range])
    inner: Mapping[str, Range] = field(default_factory=dict[str, Range])
    is_placeholder: bool = False

    def of(self, tensor: str) -> Range:
        """Give the range of a tensor."""
        return PLACEHOLDER if self.is_placeholder else self.tensors[tensor]

    def inside(self, node: str) -> Range:
        """Give the range of an attention's scores or an LSTM's cell."""
        return PLACEHOLDER if self.is_placeholder else self.inner[node]


def calibrate(graph: Graph, samples: Sequence[Sample] | None, *, percentile: float | None = None) -> Calibration:
    """Run the samples through the graph and note the ranges.

    Raises UsageError for an empty list of samples, a percentile outside [0, 50), or values that are not finite.
    """
    if samples is None:
        return Calibration(is_placeholder=True)
    if not samples:
        raise UsageError(
            "OC1411", graph.name, "no calibration sample", next="Give one or more, or None for placeholders"
        )
    if percentile is not None and not 0.0 <= percentile < 50.0:
        raise UsageError("OC1412", graph.name, f"percentile is {percentile}", limit="It lies in [0, 50)")
    floats = {t.name for t in graph.tensors if t.dtype in FLOAT_DTYPES and t.constant is None}
    within = [n for n in graph.nodes if n.op in _INNER]
    needed = {name for n in within for name in n.inputs}
    tensors: dict[str, Range] = {}
    inner: dict[str, Range] = {}
    for sample in samples:
        kept: dict[str, Array] = {}

        def watch(name: str, value: Array, kept: dict[str, Array] = kept) -> None:
            if name in floats:
                _join(tensors, name, _range_of(name, value, percentile))
            if name in needed:
                kept[name] = value

        for name in graph.inputs:
            watch(name, np.asarray(sample[name]))
        evaluate(graph, sample, watch=watch)
        for node in within:
            _join(inner, node.name, _INNER[node.op](node, [_value(graph, kept, name) for name in node.inputs]))
    return Calibration(tensors, inner)


def _value(graph: Graph, kept: Mapping[str, Array], name: str) -> Array | None:
    if not name:
        return None
    constant = graph.tensor(name).constant
    return constant.data if constant is not None else kept[name]


def _join(ranges: dict[str, Range], name: str, new: Range) -> None:
    old = ranges.get(name, (0.0, 0.0))
    ranges[name] = (min(old[0], new[0]), max(old[1], new[1]))


def _range_of(name: str, value: Array, percentile: float | None) -> Range:
    if not value.size:
        return (0.0, 0.0)
    if percentile:
        low, high = map(float, np.percentile(value, (percentile, 100.0 - percentile)))
    else:
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
    rows = keep.any(axis=-1)
    if not rows.any():
        return (0.0, 0.0)
    top = np.where(keep, scores, -np.inf).max(axis=-1)[rows]
    least = float(np.where(keep, scores, np.inf).min())
    return min(max(least, float(top.min()) - SCORE_SPAN), 0.0), max(float(top.max()), 0.0)


def _cell(node: Node, inputs: Sequence[Array | None]) -> Range:
    """Give the range of the cell over all steps: the op's own reference, one step at a time."""
    attributes, op = _attributes(node), OPS["lstm"]
    x, rest = inputs[0], [*inputs[1:], *(None,) * (7 - len(inputs))]
    assert x is not None
    low = high = 0.0
    for t in range(x.shape[1]):
        _, h, c = op.reference(attributes, x[:, t : t + 1], *rest)
        rest[4:6] = h, c
        low, high = min(low, float(c.min())), max(high, float(c.max()))
    return low, high


_INNER = {"attention": _scores, "lstm": _cell}
