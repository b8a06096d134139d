"""Convolutions on many cores: the fastest of the algorithms that a vendor's library has.

In:       a kernel whose anchor is a conv2d, its traffic, a Machine.
Out:      `Cost`: implicit GEMM in tiles, Winograd where the chip file lists it, lanes for few channels a group.
Promises: the fastest algorithm wins, as a library that tries them all picks it; other machines (systolic arrays, static
          schedules) have the implicit GEMM of `products`.
Does not: know FFT: of the public rows two with 5 x 5 filters would be faster with it.
Sources:  Chetlur et al. 2014 (implicit GEMM of cuDNN); winograd.py for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod
from typing import cast

from onchip.forecast.cost import Cost, longest
from onchip.forecast.epilogue import with_epilogue
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import Machine
from onchip.forecast.product import Product
from onchip.forecast.products import Kind, fastest, price_products
from onchip.forecast.traffic import Traffic
from onchip.forecast.winograd import Window, price_winograd

# a matrix unit takes the depth one filter tap at a time, in blocks of so many bytes of channels: read off V100's rows,
# where 1, 3 and 32 channels cost the same for each tap and pixel. Shared by all chips, as the four that follow
TAP_BYTES = 64
FIRST_CHANNELS = 4  # of the first layer of a network, whose runtime lays the input out for it (assumed)
# Tiles of pixels by filters. A library's single call has few kernels, and cuDNN's are named after their tiles:
# s884cudnn_fp16_256x64 and wider, scudnn_128x32 and wider; a runtime that builds a network tries more. 0.68: fitted on
# ResNet-50 of A100, 0.65: on V100's rows in fp32
ON_MATRIX = Kind(least_rows=256, least_tile=64)
BUILT = Kind(least_tile=64, alone=0.68)
ON_LANES = Kind(most_splits=1, least_rows=128, least_tile=32, alone=0.65)
BUILT_ON_LANES = Kind(most_splits=1, least_tile=32, alone=0.65)
GROUPED_SHARE = 0.5  # of the lanes' peak where each input is used by a few outputs only (assumed)


@dataclass(frozen=True, slots=True)
class Conv:
    """The sizes of a convolution, channels of one group."""

    images: int
    rows: int  # of the output, columns likewise
    columns: int
    channels: int
    filters: int
    groups: int
    window: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def pixels(self) -> int:
        return self.images * self.rows * self.columns

    @property
    def macs(self) -> int:
        return self.pixels * self.groups * self.filters * self.channels * prod(self.window)

    def product(self, channels: int) -> Product:
        """Return the implicit GEMM, with so many channels a filter tap."""
        return Product(self.groups, self.pixels, self.filters, channels * prod(self.window))


def conv_of(kernel: Kernel) -> Conv:
    """Return the sizes of a conv2d kernel."""
    node = kernel.anchor
    (k, r, s, c), (n, p, q, _) = kernel.shape(node.inputs[1]), kernel.shape(node.outputs[0])
    pairs = (node.attribute(key, (1, 1)) for key in ("stride", "dilation"))
    stride, dilation = (cast("tuple[int, int]", pair) for pair in pairs)
    groups = cast("int", node.attribute("groups", 1))
    return Conv(n, p, q, c, k // groups, groups, (r, s), stride, dilation)


def price_conv(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the fastest algorithm."""
    if m.chip.matrix.dataflow != "dot_product" or m.chip.cores.schedule != "dynamic":
        return price_products(kernel, traffic, m)
    conv = conv_of(kernel)
    costs = [_implicit(conv, kernel, traffic, m)]
    if conv.groups > 1:
        costs += [_on_lanes(conv, traffic, m), _block_diagonal(conv, kernel, traffic, m)]
    r, s = conv.window
    if conv.groups == 1 and r == s == 3 and {*conv.stride, *conv.dilation} == {1}:
        window = Window(conv.images, conv.rows, conv.columns, conv.channels, conv.filters, r)
        tiles = dict(m.chip.algorithms.winograd).get(m.dtype, ())  # pyright: ignore[reportArgumentType, reportCallIssue]
        costs += [price_winograd(window, tile, traffic, m) for tile in tiles]
    best = min(costs, key=lambda cost: cost.seconds + cost.launches * m.launch_s)
    return with_epilogue(best, kernel, m)


def _implicit(conv: Conv, kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Price the implicit GEMM; on lanes the offsets of a window that is no point are another, small program."""
    if m.on_lanes:
        is_point = prod(conv.window) * prod(conv.stride) == 1
        cost = fastest(conv.product(conv.channels), traffic.far, m, _kind(kernel, m), traffic.near)
        return replace(cost, launches=1 if is_point else 2)
    return fastest(conv.product(_tap_channels(conv, kernel, m)), traffic.far, m, _kind(kernel, m))


def _kind(kernel: Kernel, m: Machine) -> Kind:
    single, built = (ON_LANES, BUILT_ON_LANES) if m.on_lanes else (ON_MATRIX, BUILT)
    return built if len(kernel.graph.nodes) > 1 else single


def _tap_channels(conv: Conv, kernel: Kernel, m: Machine) -> int:
    """Return the channels that a filter tap takes: whole blocks, or few in a layer that reads a network's input."""
    is_first = len(kernel.graph.nodes) > 1 and conv.channels <= FIRST_CHANNELS
    block = FIRST_CHANNELS if is_first else int(TAP_BYTES / m.bytes)
    return ceil(conv.channels / block) * block


def _block_diagonal(conv: Conv, kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Price groups so small that several share a tile: as one product whose weights are mostly zeros."""
    block = int(TAP_BYTES / m.bytes)
    together = min(conv.groups, max(1, block // conv.channels))
    wide = replace(conv, groups=ceil(conv.groups / together), filters=conv.filters * together)
    return fastest(wide.product(ceil(conv.channels * together / block) * block), traffic.far, m, _kind(kernel, m))


def _on_lanes(conv: Conv, traffic: Traffic, m: Machine) -> Cost:
    """Price a direct convolution on the vector lanes: lanes and memory overlap."""
    lanes = m.lane_s("mac", conv.macs) / GROUPED_SHARE
    far, near = traffic.far / m.dram_bytes_per_s, (traffic.far + traffic.near) / m.shared_bytes_per_s
    parts = longest(("vector", lanes), ("memory", far), ("shared", near), then=(("sync", m.tile_s),))
    return Cost(parts, "direct on lanes")
