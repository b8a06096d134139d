"""Winograd convolutions: fewer products, more additions and bytes.

In:       the sizes of a convolution with a square window and stride 1, an output tile, its traffic, a Machine.
Out:      `Cost` of F(t x t, r x r): (t + r - 1)^2 products of tiles x channels x filters.
Promises: a tile of 2 is one program that transforms on the way, besides the one for the weights; larger tiles write
          their transforms: input, weights, products and output are programs of their own.
Does not: know how exact the result is.
Sources:  Lavin and Gray 2016, "Fast algorithms for convolutional neural networks"; cuDNN documentation
          (CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD and _WINOGRAD_NONFUSED).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from onchip.forecast.cost import Cost
from onchip.forecast.machine import Machine
from onchip.forecast.product import Product
from onchip.forecast.products import Kind, fastest
from onchip.forecast.traffic import Traffic

FUSED_TILE = 2
# shared by all chips: 0.8 fitted on V100's rows in fp32; what the transforms take of the lanes
PRODUCTS = Kind(most_splits=1, least_tile=64, share=0.8, alone=0.65)


@dataclass(frozen=True, slots=True)
class Window:
    """Images, rows and columns of the output, channels, filters, and the side of the window."""

    images: int
    rows: int
    columns: int
    channels: int
    filters: int
    side: int


def price_winograd(window: Window, tile: int, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost with output tiles of `tile` x `tile`."""
    points = (tile + window.side - 1) ** 2
    tiles = window.images * ceil(window.rows / tile) * ceil(window.columns / tile)
    product = Product(points, tiles, window.filters, window.channels)
    weights = window.filters * window.channels * m.bytes
    how = f"Winograd F({tile}x{tile}, {window.side}x{window.side}): "
    transform = _copied_s((window.side**2 + points) * weights, m)
    if tile <= FUSED_TILE:
        cost = fastest(product, traffic.far, m, PRODUCTS)
        return replace(cost, causes=(*cost.causes, ("shared", transform)), how=how + cost.how, launches=2)
    inputs, outputs = (tiles * depth * m.bytes for depth in (window.channels, window.filters))
    scattered, gathered = points * inputs + tile**2 * inputs, points * outputs + tile**2 * outputs
    transform += _copied_s(scattered, m) + _copied_s(gathered, m)
    moved = points * (inputs + outputs + weights)
    far = moved if moved > m.shared_bytes / 2 else 0.0
    cost = fastest(product, far, m, PRODUCTS)
    far += scattered + gathered
    return Cost((*cost.causes, ("memory", transform)), how + cost.how, far, launches=4)


def _copied_s(moved: float, m: Machine) -> float:
    """Return the seconds of moving bytes: through the shared level where they fit half of it."""
    return moved / (m.dram_bytes_per_s if moved > m.shared_bytes / 2 else m.shared_bytes_per_s)
