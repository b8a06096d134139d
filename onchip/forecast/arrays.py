"""Matrix products on arrays: folds, fill and drain, weight load, and operands that are read again.

In:       a `Product`, its Traffic, a Machine whose memory a compiler manages.
Out:      `Cost` of the best way to share the product out over cores and to order its loops.
Promises: array cycles are those of the closed forms below (DESIGN of the machine; SCALE-Sim, Samajdar 2018, section 3),
          never under MACs / cells; far memory moves each operand at least once.
          weight-stationary, m rows through each of ceil(K/R) * ceil(N/C) folds of an R x C array:
              hidden   folds * max(m, min(K, R)) + 2R + C - 2    (the next weights shift in while rows stream)
              serial   folds * (2R + C + m - 2)
          output-stationary: ceil(M/R) * ceil(N/C) blocks of K cycles, fill R + C - 2 once;
          dot product: whole native blocks, depth in aligned steps, weights through their port;
          a pass is at least its operands over the local ports.
Does not: know a network: fusion and placement are in the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, isqrt, sqrt

from onchip.forecast.cost import Cost
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.product import Product
from onchip.forecast.traffic import Traffic

DATAFLOWS = ("weight_stationary", "output_stationary")


def on_arrays(m: Machine) -> bool:
    """Return whether products of the dtype have the closed forms of this module."""
    return (m.chip.matrix.dataflow in DATAFLOWS and not m.on_lanes) or m.is_managed


@dataclass(frozen=True, slots=True)
class Order:
    """Which operand stays on chip, and how often the others are read."""

    stays: str
    input_reads: int
    weight_reads: int


def price_array_product(p: Product, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of the fastest split over cores and order of loops; memory hides behind the array as far as
    `overlap.memory_compute` says.
    """
    return min((_on_cores(p, rows, traffic, m) for rows in _row_cores(m.cores)), key=lambda cost: cost.seconds)


def array_cycles(p: Product, m: Machine) -> float:
    """Return the cycles that one core's matrix units take for a product."""
    return FLOWS[m.chip.matrix.dataflow](p, m)


def native_cycles(p: Product, m: Machine, height: int, width: int) -> float:
    """Return the cycles of a dot-product unit for images of height x width pixels.

    Whole native blocks: pixels in squares (in a row where the image is one), then output channels, then depth. Weights
    come through their port once for each block of pixels whose sums the accumulators hold.
    """
    pixels, columns, _ = m.array.native or (1, 1, 1)
    columns *= m.chip.matrix.units
    cycles = _blocks(p, pixels, height, width) * ceil(p.n / columns) * _depth_steps(p, m)
    held = max(pixels, m.chip.local.accumulator_bytes // (columns * WIDE_BYTES))
    weights = ceil(p.m / held) * p.n * p.k * m.bytes
    return p.batch * max(cycles, _port(weights, float(m.chip.local.weight_read_bytes_per_cycle)))


def native_depthwise_cycles(p: Product, m: Machine, height: int, width: int) -> float:
    """Return the cycles of a depthwise convolution whose channels take the place of output channels.

    The depth of a block is taps, as many as share an aligned step; without one each tap takes a block.
    """
    pixels, columns, _ = m.array.native or (1, 1, 1)
    taps = ceil(p.taps / _run(m)) * _run(m)
    return _blocks(p, pixels, height, width) * ceil(p.batch * p.n / (columns * m.chip.matrix.units)) * taps


def _blocks(p: Product, pixels: int, height: int, width: int) -> float:
    tall, wide = square(pixels) if height > 1 else (1, pixels)
    return p.m / (height * width) * ceil(height / tall) * ceil(width / wide)


def _depth_steps(p: Product, m: Machine) -> int:
    """Return the cycles of a block's depth: each tap in aligned steps, or as many taps side by side as make one."""
    depth, run = (m.array.native or (1, 1, 1))[2], _run(m)
    channels = ceil(p.k / p.taps)
    by_tap = p.taps * ceil(channels / (depth * run)) * run
    return min(by_tap, ceil(p.taps / run) * run * ceil(channels / depth))


def _run(m: Machine) -> int:
    """Return the cycles that a unit's depth goes on for, so that depth x cycles are aligned."""
    return max(m.array.align // (m.array.native or (1, 1, 1))[2], 1)


def square(pixels: int) -> tuple[int, int]:
    """Return the sides of a block of pixels: as square as powers of two are."""
    tall = 1 << (isqrt(pixels).bit_length() - 1) if pixels & (pixels - 1) == 0 else isqrt(pixels)
    return tall, pixels // max(tall, 1)


def orders(p: Product, m: Machine) -> tuple[Order, ...]:
    """Return the loop orders that fit: half of the local memory holds what stays, the other half streams."""
    room = m.chip.local.size_bytes / 2
    row_bytes = max(p.k * m.bytes, 1)
    whole, width = int(room // row_bytes), m.array.cols or (m.array.native or (1, 1, 1))[1]
    found = [_sums_stay(p, m)]
    if p.n <= whole or whole >= width:
        found.append(Order("weights stay", ceil(p.n / min(p.n, whole)), 1))
    if whole >= 1:
        found.append(Order("inputs stay", 1, ceil(p.m / min(p.m, whole))))
    return tuple(found)


def _on_cores(p: Product, row_cores: int, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost with rows (batches first) over `row_cores` cores and columns over the others."""
    batches = min(p.batch, row_cores)
    rows = min(p.m, row_cores // batches)
    columns = min(p.n, m.cores // row_cores)
    own = replace(p, batch=ceil(p.batch / batches), m=ceil(p.m / rows), n=ceil(p.n / columns))
    array_s = array_cycles(own, m) / (m.clock_hz * m.achieved)
    rate = min(m.dram_bytes_per_s, m.core_bytes_per_s * batches * rows * columns)
    far, order = min(((_far(traffic, order, m), order) for order in orders(own, m)), key=lambda pair: pair[0])
    memory_s = max(far / rate, (traffic.near + far) / m.shared_bytes_per_s)
    shown = (1 - m.chip.overlap.memory_compute) * min(array_s, memory_s)
    cause = ("memory", memory_s + shown) if memory_s > array_s else ("matrix", array_s + shown)
    unit = f"{m.array.rows} x {m.array.cols} array" if m.array.rows else "x".join(map(str, m.array.native or ()))
    how = f"{unit}, {batches * rows} x {columns} cores, {order.stays}"
    return Cost((cause, ("sync", m.dram_latency_s + m.tile_s)), how, far)


def _far(traffic: Traffic, order: Order, m: Machine) -> float:
    """Return far bytes; what is read again comes from the shared level where there is one."""
    if m.shared_bytes:
        return traffic.far
    again = traffic.far_inputs * order.input_reads + traffic.far_weights * order.weight_reads
    return again + traffic.far_outputs


def _row_cores(cores: int) -> list[int]:
    """Return the ways to give rows their share of the cores: the divisors."""
    return [rows for rows in range(1, cores + 1) if cores % rows == 0]


def _weight_stationary(p: Product, m: Machine) -> float:
    """Return the cycles of the best use of a core's units: some share the rows, the others the columns."""
    units = m.chip.matrix.units
    return min(_shared_rows(p, m, shares) for shares in range(1, units + 1) if units % shares == 0)


def _shared_rows(p: Product, m: Machine, shares: int) -> float:
    """Return the cycles where each of `shares` groups of units holds the same weights and takes a part of the rows.

    All groups read through one port.
    """
    rows, columns, local = _cells(m), _columns(m) // shares, m.chip.local
    own = ceil(p.m / shares)
    folds = p.batch * _depth_folds(p, m, rows) * ceil(p.n / columns)
    held = max(1, int(local.accumulator_bytes / (_columns(m) * WIDE_BYTES)))  # rows of sums that accumulators hold
    passes = ceil(own / held)
    stream = max(own / passes, _port(p.m / passes * min(p.k, rows) * m.bytes, float(local.read_bytes_per_cycle)))
    weights = min(p.k, rows) * min(p.n, columns) * m.bytes
    deep = _deep(m)
    load = max(ceil(min(p.k, rows) * deep / rows), _port(weights, float(local.weight_read_bytes_per_cycle)))
    fill = deep + (m.array.cols or 1) - 2
    if m.chip.matrix.weight_load == "hidden":
        return folds * passes * max(stream, load) + deep + fill
    return folds * passes * (stream + load + fill)


def _output_stationary(p: Product, m: Machine) -> float:
    rows, columns, local = _cells(m), _columns(m), m.chip.local
    blocks = p.batch * ceil(p.m / rows) * ceil(p.n / columns)
    operands = (min(p.m, rows) + min(p.n, columns)) * p.k * m.bytes
    block = max(p.k, _port(operands, float(local.read_bytes_per_cycle)))
    return blocks * block + rows + (m.array.cols or 1) - 2


def _native(p: Product, m: Machine) -> float:
    return native_cycles(p, m, 1, max(1, p.m))


FLOWS = {"weight_stationary": _weight_stationary, "output_stationary": _output_stationary, "dot_product": _native}


def _depth_folds(p: Product, m: Machine, rows: int) -> int:
    """Return the folds of the depth: a window's taps share a fold, or each has its own (row packing C)."""
    if m.chip.matrix.row_packing == "C":
        return p.taps * ceil(p.k / p.taps / rows)
    return ceil(p.k / rows)


def _sums_stay(p: Product, m: Machine) -> Order:
    """Return the order that keeps a square tile of sums in the accumulators and streams both operands."""
    sums = max(1, m.chip.local.accumulator_bytes // WIDE_BYTES)
    tm = min(p.m, max(int(sqrt(sums)), sums // p.n))
    tn = min(p.n, max(1, sums // tm))
    return Order("sums stay", ceil(p.n / tn), ceil(p.m / tm))


def _cells(m: Machine) -> int:
    return m.array.rows or 1


def _deep(m: Machine) -> int:
    """Return the rows of cells that there are: a narrower dtype packs more of its own into each (assumed)."""
    return min((array.rows for _, array in m.chip.matrix.arrays if array.rows), default=_cells(m))


def _columns(m: Machine) -> int:
    """Return the columns of all units of a core: one instruction spans them."""
    return (m.array.cols or 1) * m.chip.matrix.units


def _port(n_bytes: float, rate: float) -> float:
    return n_bytes / rate
