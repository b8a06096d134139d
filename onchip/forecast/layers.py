"""Kernels on a chip whose memory a compiler manages: matrix unit, vector unit, near memory and far memory of each.

In:       a kernel, its Traffic, a Machine with `is_managed`.
Out:      its Cost.
Promises: the matrix unit is under-filled as the shape says: whole folds of a systolic array, whole native blocks of a
          dot-product one (a block of pixels by output channels by input channels), depthwise where the chip file says.
          The vector unit makes every output element, behind the matrix unit as far as overlap.matrix_vector says.
          The first layer of an image takes a row of its window at once.
Does not: place tensors (placement.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from onchip.forecast.arrays import array_cycles, native_cycles, native_depthwise_cycles, orders
from onchip.forecast.attention import price_attention
from onchip.forecast.conv import FIRST_CHANNELS
from onchip.forecast.cost import Cost
from onchip.forecast.kernels import ELEMENTWISE, PRODUCTS, Kernel
from onchip.forecast.lanes import MOVES, REDUCED, WINDOWED, kernel_cycles
from onchip.forecast.machine import Machine
from onchip.forecast.placement import COPIES
from onchip.forecast.product import Product, product_of
from onchip.forecast.recurrent import RECURRENT, price_recurrent
from onchip.forecast.rows import NORMS, SOFTMAX, again_bytes, rows_of, touched
from onchip.forecast.traffic import Traffic
from onchip.ir.graph import Node
from onchip.ops.cost import TABLES


@dataclass(frozen=True, slots=True)
class Layer:
    """A kernel's cost on the chip, and the seconds that far memory moves its weights and its activations."""

    inner: Cost
    weight_bytes: float
    weights_s: float
    others_s: float


# lane operations that one element of an op's output takes; a window counts its taps
WORK: dict[str, tuple[tuple[str, int], ...]] = {
    "softmax": (("max", 1), ("sub", 1), ("exp", 1), ("add", 1), ("mul", 1)),
    "log_softmax": (("max", 1), ("sub", 2), ("exp", 1), ("add", 1)),
    "layer_norm": (("add", 2), ("mac", 2), ("mul", 1)),
    "rms_norm": (("mac", 2), ("mul", 1)),
    **dict.fromkeys(TABLES, (("lut", 1),)),
}
SCALINGS = 3  # of a sum in a pass of its own: both operands to one scale, the sum to its own
INTEGERS = ("int4", "int8", "int16")
# ops whose own price has their far memory inside
OWN = {"attention": price_attention, **dict.fromkeys(RECURRENT, price_recurrent)}


def layer_of(kernel: Kernel, traffic: Traffic, m: Machine) -> Layer:
    """Return what a kernel takes of the units and of far memory, apart."""
    if kernel.anchor.op in OWN:
        return Layer(inner_cost(kernel, traffic, m), 0.0, 0.0, 0.0)
    traffic = touched(kernel, traffic, m)
    inner = inner_cost(kernel, traffic, m)
    if not inner.causes:
        return Layer(inner, 0.0, 0.0, 0.0)
    weights, others = _far_bytes(kernel, traffic, m)
    rate = min(m.dram_bytes_per_s, m.core_bytes_per_s * m.cores)
    return Layer(replace(inner, far_bytes=weights + others), weights, weights / rate, others / rate)


def inner_cost(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return what a kernel takes where its operands are on the chip: none for one that only places tensors."""
    if kernel.anchor.op in COPIES:
        return Cost((), "written where it is read")
    if kernel.anchor.op in OWN:
        return OWN[kernel.anchor.op](kernel, traffic, m)
    matrix_s, how = _matrix(kernel, m)
    vector_s, near_s = _vector_s(kernel, m), _near_s(kernel, traffic, m)
    units = max(matrix_s, vector_s) + (1 - m.chip.overlap.matrix_vector) * min(matrix_s, vector_s)
    if near_s >= units:
        return Cost((("shared", near_s),), how)
    return Cost((("matrix" if matrix_s >= vector_s else "vector", units),), how)


def _matrix(kernel: Kernel, m: Machine) -> tuple[float, str]:
    node = kernel.anchor
    if node.op not in PRODUCTS or kernel.macs == 0:
        return 0.0, ""
    p = product_of(kernel)
    shape = kernel.shape(node.outputs[0])
    height, width = (shape[1], shape[2]) if node.op == "conv2d" else (1, max(1, p.m))
    if node.op == "conv2d" and p.batch > 1 and p.k == p.taps and m.chip.matrix.depthwise != "column":
        if m.chip.matrix.depthwise == "native" and m.array.native:
            cycles = native_depthwise_cycles(p, m, height, width)
            return cycles / (m.clock_hz * m.achieved * m.cores), "depthwise in native blocks"
        return m.lane_s("mac", kernel.macs) / m.achieved, "depthwise on lanes"
    if node.op == "conv_transpose2d":
        p = replace(p, m=ceil(kernel.macs / (p.batch * p.n * p.k)))  # zeros between inputs are not multiplied
    is_first = node.op == "conv2d" and node.inputs[0] in kernel.graph.inputs and p.k // p.taps <= FIRST_CHANNELS
    if is_first and m.array.align == 1:
        p = replace(p, taps=kernel.shape(node.inputs[1])[1])  # a row of the window lies together
    return min(_product_s(way, m, height, width) for way in (p, _side_by_side(p, m))), ""


def _side_by_side(p: Product, m: Machine) -> Product:
    """Return groups that are narrower than the array as fewer products, whose weights are zero between groups."""
    channels = ceil(p.k / p.taps)
    together = min(p.batch, max((m.array.rows or 1) // channels, 1)) if p.taps > 1 else 1
    return replace(p, batch=ceil(p.batch / together), n=p.n * together, k=p.k * together)


def _product_s(p: Product, m: Machine, height: int, width: int) -> float:
    """Return the seconds of the best split over the cores: rows and columns."""
    best = min(
        _cycles(replace(p, batch=ceil(p.batch / b), m=ceil(p.m / r), n=ceil(p.n / c)), m, ceil(height / r), width)
        for b, r, c in _splits(p, m.cores)
    )
    return best / (m.clock_hz * m.achieved)


def _splits(p: Product, cores: int) -> list[tuple[int, int, int]]:
    b = min(p.batch, cores)
    left = max(1, cores // b)
    return [(b, rows, left // rows) for rows in range(1, left + 1) if left % rows == 0]


def _cycles(p: Product, m: Machine, height: int, width: int) -> float:
    return native_cycles(p, m, height, width) if m.array.native else array_cycles(p, m)


def _vector_s(kernel: Kernel, m: Machine) -> float:
    """Return the seconds on the vector unit: a pass for each node, in floats the operations that it is made of."""
    if m.dtype not in INTEGERS:
        return kernel_cycles(kernel, m.chip.vector, integer=False) / (m.clock_hz * m.cores)
    return sum(_pass_s(kernel, node, m) for node in kernel.nodes)


def _pass_s(kernel: Kernel, node: Node, m: Machine) -> float:
    if node.op in MOVES:
        return 0.0
    elements = kernel.elements(node.outputs[0])
    if node.op in WINDOWED:
        window = node.attribute("kernel", (1, 1))
        assert isinstance(window, tuple)
        return m.lane_s("max", elements * prod(int(k) for k in window if isinstance(k, int)))
    if node.op in REDUCED:
        return m.lane_s("add", kernel.elements(node.inputs[0]))
    if node.op in PRODUCTS:
        return m.lane_s("requantize", elements)
    if m.chip.execution.sums == "apart" and _is_sum(kernel, node):
        return m.lane_s("requantize", SCALINGS * elements)
    return sum(n * m.lane_s(op, elements) for op, n in WORK.get(node.op, (("add", 1),)))


def _is_sum(kernel: Kernel, node: Node) -> bool:
    """Return whether a node combines two activations element by element."""
    given = [name for name in node.inputs if name and kernel.graph.tensor(name).constant is None]
    return node.op in ELEMENTWISE and len(given) > 1


def _near_s(kernel: Kernel, traffic: Traffic, m: Machine) -> float:
    """Return the seconds that operands take through the shared level, or through the ports of the local memories."""
    weights = traffic.far_weights
    moved = traffic.near + traffic.far
    if m.shared_bytes:
        return moved / m.shared_bytes_per_s
    out = sum(kernel.elements(name) for name in kernel.outputs) * m.bytes
    local, rate = m.chip.local, m.clock_hz * m.cores
    return (moved - out - weights) / (float(local.read_bytes_per_cycle) * rate) + out / (
        float(local.write_bytes_per_cycle) * rate
    )


def _far_bytes(kernel: Kernel, traffic: Traffic, m: Machine) -> tuple[float, float]:
    """Return far bytes of weights and of activations; the local memory may make some be read again."""
    inputs, weights, outputs = traffic.far_inputs, traffic.far_weights, traffic.far_outputs
    if kernel.anchor.op in PRODUCTS and not m.shared_bytes and kernel.macs:
        p = product_of(kernel)
        if p.batch == 1:
            best = min(orders(p, m), key=lambda order: inputs * order.input_reads + weights * order.weight_reads)
            return weights * best.weight_reads, inputs * best.input_reads + outputs
    if kernel.anchor.op in (*SOFTMAX, *NORMS):
        inputs += again_bytes(rows_of(kernel, m), traffic, m)
    return weights, inputs + outputs
