"""Row-stationary arrays: which filters and channels each cell keeps, how often all else moves, in closed form.

In:       a kernel whose anchor is a product, its Traffic, a Machine whose dataflow is row-stationary.
Out:      `Cost` of the mapping with the least array time + memory time; ties go to less traffic of the buffer.
Promises: never under MACs / cells; a mapping's cells, cell memories and buffer are within the chip's.
          A cell does a filter row over an output row; a set is R x e cells, R filter rows of e output rows, folded to
          the array's width. A pass is r x t sets, r of other channels, t of other filters; each cell holds p filters of
          q channels. It takes, with buses for weights, sums and inputs side by side,
              load    p t q r R S / weights   +   ((e-1)U + R) S q r / inputs   +   e p t / sums      once
              image   max(F q p S,   e F p t / sums,   ((e-1)U + R) W q r / inputs)                   for n images
          and there are ceil(E/e) strips x ceil(N/n) x ceil(M/(p t)) x ceil(C/(q r)) passes. The buffer holds the sums
          of m filters of n images, and a pass's inputs: weights are read again for each strip and n images, inputs for
          each m filters; sums go in and out once a pass. How much memory time hides is not known to the choice.
Does not: skip zeros in time; sparse arrays (Eyeriss v2) are others.
Sources:  Chen et al., ISCA 2016 and JSSC 52(1) 2017 (dataflow, names of sizes, run-length code). Assumed: a cell
          receives its next input into one word, so a window fills at most all words but one; loads do not hide.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray

from onchip.forecast.conv import Conv, conv_of
from onchip.forecast.cost import Cost
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import Machine
from onchip.forecast.product import product_of
from onchip.forecast.traffic import Traffic

# of JSSC 2017: three pairs of a run of up to 31 zeros (5 bits) and a value, and one flag, in 64 bits
RUN_BITS, PAIRS_BITS, BLOCK_BITS = 5, 63, 64
RELU_ZEROS = 0.5  # of outputs at least: half of them are negative (assumed where the inputs' share is known)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cells:
    """The array and its memories, in elements; buses in elements a cycle."""

    rows: int
    columns: int
    weights: int  # words of a cell, as the two that follow
    inputs: int
    sums: int
    buffer: int
    next_weights: int  # where the weights of the next pass wait
    weight_bus: float
    sum_bus: float
    input_bus: float


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping (names as in the module's docstring), its cycles, and how often what moves."""

    e: int
    p: int
    q: int
    r: int
    t: int
    n: int
    m: int
    active: int  # cells
    cycles: float
    buffer_words: float  # sums in and out, inputs out
    weight_reads: float
    input_reads: float


def price_row_stationary(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of a conv2d, linear or matmul kernel."""
    conv = layer_of(kernel)
    own = replace(conv, filters=ceil(conv.filters / m.cores))
    coded = (1.0, 1.0)
    if m.chip.dram.compression == "rlc" and traffic.zeros is not None:
        bits = int(m.bytes * 8)
        coded = (run_length(traffic.zeros, bits), run_length(max(traffic.zeros, RELU_ZEROS), bits))
    sizes = (traffic.far_weights, traffic.far_inputs * coded[0], traffic.far_outputs * coded[1])
    found = best_mapping(own, cells_of(m), *sizes, m.dram_bytes_per_s / m.clock_hz)
    far = sizes[0] * found.weight_reads + sizes[1] * found.input_reads + sizes[2]
    array_s, memory_s = found.cycles / m.clock_hz, far / m.dram_bytes_per_s
    shown = (1 - m.chip.overlap.memory_compute) * min(array_s, memory_s)
    cause = ("memory", memory_s + shown) if memory_s > array_s else ("matrix", array_s + shown)
    names = " ".join(f"{name}={getattr(found, name)}" for name in "epqrtnm")
    return Cost((cause,), f"{found.active} cells, {names}", far, near_bytes=found.buffer_words * m.bytes * m.cores)


def layer_of(kernel: Kernel) -> Conv:
    """Return a product as a convolution: the rows of a linear layer are images of one pixel."""
    if kernel.anchor.op == "conv2d":
        return conv_of(kernel)
    p = product_of(kernel)
    return Conv(p.m, 1, 1, p.k, p.n, p.batch, (1, 1), (1, 1), (1, 1))


def cells_of(m: Machine) -> Cells:
    """Return the array of a core; the chip's constructor saw to it that all of its sizes are there."""
    matrix, local = m.chip.matrix, m.chip.local
    rows, columns = m.array.rows or 1, m.array.cols or 1
    weights, sums = float(local.weight_read_bytes_per_cycle), float(local.write_bytes_per_cycle)
    return Cells(
        rows=rows,
        columns=columns,
        weights=int((matrix.cell_weights_bytes or 0) / m.bytes),
        inputs=int((matrix.cell_inputs_bytes or 0) / m.bytes),
        sums=int(local.accumulator_bytes / (rows * columns * m.bytes)),
        buffer=int(local.size_bytes / m.bytes),
        next_weights=max(int((matrix.next_weights_bytes or local.size_bytes) / m.bytes), rows * columns),
        weight_bus=weights / m.bytes,
        sum_bus=sums / m.bytes,
        input_bus=(float(local.read_bytes_per_cycle) - weights - sums) / m.bytes,
    )


def run_length(zeros: float, bits: int) -> float:
    """Return coded / plain size where each value is zero with that chance; 1 where coding would be longer.

    A pair stands for 1 + z + ... + z^31 values: up to 31 zeros and one value.
    """
    values = sum(zeros**run for run in range(2**RUN_BITS))
    return min(1.0, (RUN_BITS + bits) * BLOCK_BITS / PAIRS_BITS / bits / values)


@functools.lru_cache(maxsize=256)
def best_mapping(
    conv: Conv, cells: Cells, weights: float, inputs: float, outputs: float, far_bytes_per_cycle: float
) -> Mapping:
    """Return the mapping with the least cycles of array + far memory; bytes are of the tensors once each."""
    conv = _folded(conv, cells)
    x = _candidates(conv, cells)
    cycles, buffer_words = _cycles(conv, cells, x), _buffer_words(conv, x)
    weight_reads = np.ceil(conv.rows / x["e"]) * np.ceil(conv.images / x["n"])
    input_reads = np.ceil(conv.filters / x["m"]) * _rows_read(conv, x["e"]) / _span(conv, conv.rows)
    far = weights * weight_reads + inputs * input_reads + outputs
    best = int(np.lexsort((buffer_words, cycles + far / far_bytes_per_cycle))[0])
    chosen = {name: int(x[name][best]) for name in "epqrtnm"}
    active = min(
        conv.window[0] * chosen["e"] * chosen["r"] * chosen["t"] * int(x["g"][best]), cells.rows * cells.columns
    )
    moved = (float(values[best]) for values in (cycles, buffer_words, weight_reads, input_reads))
    return Mapping(**chosen, active=active, **dict(zip(MOVED, moved, strict=True)))  # pyright: ignore[reportArgumentType]


MOVED = ("cycles", "buffer_words", "weight_reads", "input_reads")


def _folded(conv: Conv, cells: Cells) -> Conv:
    """Return the layer with a window that is larger than a set or a cell cut: its parts are more channels."""
    r, s = conv.window
    down, along = ceil(r / cells.rows), ceil(s / min(cells.inputs - 1, cells.weights))
    window = (ceil(r / down), ceil(s / along))
    return replace(conv, window=window, channels=conv.channels * down * along)


def _candidates(conv: Conv, cells: Cells) -> dict[str, Floats]:
    """Return the mappings that fit, an array for each size; m is the largest, e the least of as many strips.

    Left out are mappings that are never better than one before them (`_least`).
    """
    found = list[Floats]()
    tallest = min(conv.rows, cells.columns * (cells.rows // conv.window[0]))  # rows that a set folds to the array
    fewest = [e for e in range(1, tallest + 1) if ceil(conv.rows / ceil(conv.rows / e)) == e]
    n = np.array(_divisors(conv.images))
    for e in fewest:
        down = cells.rows // conv.window[0]  # sets above each other, less where one is folded
        down, beside = (down, cells.columns // e) if e <= cells.columns else (down // ceil(e / cells.columns), 1)
        if down:
            pqrt = np.repeat(_shares(conv, cells, down, beside), len(n), axis=1)
            images = np.tile(n, pqrt.shape[1] // len(n))
            found.append(_fitting(conv, cells, np.stack([np.full(len(images), e), *pqrt, images]), down * beside))
    return dict(zip("epqrtnmg", np.concatenate(found, axis=1), strict=True))


def _shares(conv: Conv, cells: Cells, down: int, beside: int) -> Floats:
    """Return p, q, r, t, ascending in this order: r below each other, t in what is left of the sets."""
    most_p, most_q = min(conv.filters, cells.sums), min(conv.channels, (cells.inputs - 1) // conv.window[1])
    limits = [down // r * beside for r in range(1, down + 1)]  # of t
    is_grouped = conv.groups > 1  # then g depends on r and t where all filters of a group are in a pass
    pt = np.zeros((most_p, down, limits[0]), bool)
    qr = np.zeros((2, most_q, down, limits[0]), bool)
    for r, limit in enumerate(limits):
        pt[:, r, :limit] = _least(conv.filters, most_p, limit, int(is_grouped))
    for t in range(limits[0]):
        below = sum(limit > t for limit in limits)
        for i, apart in enumerate((0, conv.channels)):
            qr[i, :, :below, t] = _least(conv.channels, most_q, below, apart)
    p, t = np.arange(1, most_p + 1)[:, None], np.arange(1, limits[0] + 1)
    is_whole = (p * t >= conv.filters)[:, None, None] & is_grouped
    kept = np.nonzero(pt[:, None] & np.where(is_whole, qr[1], qr[0]))
    return np.stack(kept).astype(float) + 1


@functools.lru_cache(maxsize=1024)
def _least(total: int, most_a: int, most_b: int, apart: int) -> NDArray[np.bool_]:
    """Return which a in a cell by b sets are worth a look, of those that cut `total` into as many parts.

    Another with no more in a cell and no more in a pass has no longer image or load, fits where this one does, and
    takes as many passes; it keeps the sums of at least as many: ceil(M/(p t k)) = ceil(ceil(M/(p t))/k).
    Those of at most `apart` parts are compared with others of the same b alone: g depends on it.
    """
    keep, least = np.zeros((most_a, most_b), bool), dict[tuple[int, int], int]()
    for a in range(1, most_a + 1):
        for b in range(1, min(most_b, (total - 1) // a + 1) + 1):
            parts = ceil(total / (a * b))
            kind = (parts, b if parts <= apart else 0)
            keep[a - 1, b - 1] = a * b < least.get(kind, a * b + 1)
            least[kind] = min(a * b, least.get(kind, a * b))
    return keep


def _divisors(number: int) -> list[int]:
    low = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def _fitting(conv: Conv, cells: Cells, x: Floats, sets: int) -> Floats:
    """Return the candidates that fit with m and g: sets that are left take more groups where one has few filters."""
    e, p, q, r, t, n = x
    r_rows, s = conv.window
    g = np.where(p * t >= conv.filters, np.clip(sets // (r * t), 1, conv.groups), 1)
    inputs = n * g * q * r * _span(conv, e) * _width(conv)
    m = np.floor((cells.buffer - inputs) / (n * g * e * conv.columns) / (p * t)) * p * t
    fits = (p * q * s <= cells.weights) & (g * p * t * q * r * r_rows * s <= cells.next_weights)
    fits &= ((r - 1) * q < conv.channels) & ((t - 1) * p < conv.filters)
    whole = np.minimum(np.maximum(m, p * t), conv.filters)
    # where not even one pass fits its sums go to far memory and back: kept so that every layer has a price
    fits &= (m >= np.minimum(p * t, conv.filters)) | ((e == 1) & (n == 1) & (p == 1) & (q == 1) & (r == 1) & (t == 1))
    return np.stack([*x, whole, g])[:, fits]


def _cycles(conv: Conv, cells: Cells, x: dict[str, Floats]) -> Floats:
    e, p, q, r, t, n, g = (x[name] for name in "epqrtng")
    rows, s = conv.window
    span, width = _span(conv, e), _width(conv)
    image = conv.columns * q * p * s
    image = np.maximum(image, g * e * conv.columns * p * t / cells.sum_bus)
    image = np.maximum(image, g * span * width * q * r / cells.input_bus)
    load = g * (p * t * q * r * rows * s / cells.weight_bus + span * s * q * r / cells.input_bus)
    load += g * e * p * t / cells.sum_bus
    passes = np.ceil(conv.groups / g) * np.ceil(conv.rows / e) * np.ceil(conv.filters / (p * t))
    passes *= np.ceil(conv.channels / (q * r))
    return passes * np.ceil(conv.images / n) * (n * image + load)


def _buffer_words(conv: Conv, x: dict[str, Floats]) -> Floats:
    """Return words of sums, in and out once a pass, and of inputs, out once for p t filters."""
    sums = conv.pixels * conv.groups * conv.filters * 2 * np.ceil(conv.channels / (x["q"] * x["r"]))
    rows = _rows_read(conv, x["e"])
    images = conv.images * conv.groups * conv.channels
    return sums + images * rows * _width(conv) * np.ceil(conv.filters / (x["p"] * x["t"]))


def _rows_read(conv: Conv, e: Floats) -> Floats:
    """Return the input rows of all strips: neighbours share some."""
    strips = np.ceil(conv.rows / e)
    return (conv.rows - strips) * conv.stride[0] + strips * _span(conv, 1)


def _span(conv: Conv, rows: Floats | int) -> Floats:
    """Return the input rows behind so many output rows, padding included."""
    return (np.asarray(rows, float) - 1) * conv.stride[0] + (conv.window[0] - 1) * conv.dilation[0] + 1


def _width(conv: Conv) -> int:
    return (conv.columns - 1) * conv.stride[1] + (conv.window[1] - 1) * conv.dilation[1] + 1
