"""Feature maps and attention weights of one run, small enough to stand in a page.

In:       the Values of a run.
Out:      the JSON object of the page's panel `pictures`, None where there is nothing to draw:
            maps       of at most MOST_LAYERS layers: name, op, shape [rows, columns, channels], size [rows, columns] as
                       drawn, channels (those drawn), low and high (values of bytes 0 and 255), data, and error, high of
                       the error and data of |int8 - float| or null
            n_maps     how many layers have maps
            attention  of at most MOST_LAYERS attentions: name, layer, shape [heads, queries, keys], size, heads (those
                       drawn), high, data, and error as above
          data: base64 of bytes, one picture after another, rows from top to bottom.
Promises: a picture is the mean of the elements that fall on each of its pixels; layers are spread over the network,
          channels are those that vary most.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.report import Json
from onchip.reports.values import Attention, LayerValues, Values

Array = NDArray[Any]
MOST_LAYERS, MOST_MAPS, MOST_HEADS = 12, 16, 8
SIDE, WEIGHTS_SIDE = 24, 32  # pixels of a picture


def pictures_part(values: Values) -> Json | None:
    """Return the panel's object."""
    layers = [layer for layer in values.layers if layer.ours.ndim == 3 and min(layer.ours.shape[:2]) > 1]
    maps = [_maps(layer) for layer in spread(layers, MOST_LAYERS)]
    attention = [_weights(each) for each in spread(values.attentions, MOST_LAYERS)]
    return {"maps": maps, "n_maps": len(layers), "attention": attention} if maps or attention else None


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` items, the first and the last among them, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _maps(layer: LayerValues) -> Json:
    ours = np.moveaxis(layer.ours, -1, 0)
    chosen = np.sort(np.argsort(-ours.std(axis=(1, 2)), kind="stable")[:MOST_MAPS])
    small = shrink(ours[chosen], SIDE)
    low, high = float(small.min()), float(small.max())
    error = None if layer.real is None else np.abs(layer.ours - layer.real)
    return {
        "name": layer.name,
        "op": layer.op,
        "shape": [*ours.shape[1:], ours.shape[0]],
        "size": list(small.shape[1:]),
        "channels": chosen.tolist(),
        "low": low,
        "high": high,
        "data": encode(small, low, high),
        "error": None if error is None else _error(np.moveaxis(error, -1, 0)[chosen], SIDE),
    }


def _weights(each: Attention) -> Json:
    heads = spread(range(len(each.ours)), MOST_HEADS)
    small = shrink(each.ours[heads], WEIGHTS_SIDE)
    high = float(small.max()) or 1.0
    error = None if each.real is None or each.real.shape != each.ours.shape else np.abs(each.ours - each.real)
    return {
        "name": each.name,
        "layer": each.layer,
        "shape": list(each.ours.shape),
        "size": list(small.shape[1:]),
        "heads": heads,
        "high": high,
        "data": encode(small, 0.0, high),
        "error": None if error is None else _error(error[heads], WEIGHTS_SIDE),
    }


def _error(error: Array, side: int) -> Json:
    small = shrink(error, side)
    high = float(small.max())
    return {"high": high, "data": encode(small, 0.0, high)}


def shrink(maps: Array, side: int) -> Array:
    """Return maps [n, rows, columns] of at most side x side pixels: means of blocks as equal as they can be."""
    for axis in (1, 2):
        size = maps.shape[axis]
        if size > side:
            edges = np.arange(side + 1) * size // side
            sums = np.add.reduceat(maps, edges[:-1], axis=axis, dtype=np.float64)
            shape = [1, 1, 1]
            shape[axis] = side
            maps = sums / np.diff(edges).reshape(shape)
    return maps.astype(np.float64)


def encode(maps: Array, low: float, high: float) -> str:
    """Return bytes as base64: 0 for `low`, 255 for `high`."""
    scale = 255 / (high - low) if high > low else 0.0
    return base64.b64encode(np.clip(np.rint((maps - low) * scale), 0, 255).astype(np.uint8).tobytes()).decode()
