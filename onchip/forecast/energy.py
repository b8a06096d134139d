"""Energy of a forecast's step: counts of a closed form times the chip's energy per event.

In:       a kernel, its Traffic, its Cost, its seconds, a Machine.
Out:      joules in the order of COMPONENTS (ir/energy.py); None where the chip's tables cannot price the dtype.
Promises: the same energy per event as our program's (chip_energy.py). MACs are those of the graph; a byte of far memory
          passes the shared level and is written to local memory once; local memory feeds the array as its dataflow
          reuses operands, with m x n x k the product:
              weight-stationary   an input serves min(n, columns) MACs, a weight m, a sum grows by min(k, rows)
              output-stationary   an input serves min(n, columns) MACs, a weight min(m, rows), a sum grows by k
              dot product         as its native shape, at least TILE on a side (registers hold a small tile)
              row-stationary      what its price counted
          Clock and control of all cores run for the whole of the step. Gated zeros cost neither MAC nor operands.
Does not: price wires between cores, or the host.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from onchip.forecast.cost import Cost
from onchip.forecast.kernels import PRODUCTS, Kernel
from onchip.forecast.lanes import kernel_cycles
from onchip.forecast.machine import WIDE_BYTES, Machine
from onchip.forecast.product import Product, product_of
from onchip.forecast.traffic import Traffic

TILE = 16
ANY = Product(1, 1 << 30, 1 << 30, 1 << 30)  # of kernels with MACs that are no single product


def energy_of(kernel: Kernel, traffic: Traffic, cost: Cost, seconds: float, m: Machine) -> tuple[float, ...] | None:
    """Return the joules of a step by part."""
    each, table = m.events, m.chip.energy
    if each is None or table is None:
        return None
    gated = traffic.zeros or 0.0 if table.zeros == "gated" else 0.0
    macs = kernel.macs * (1 - gated)
    far = traffic.far if cost.far_bytes is None else cost.far_bytes
    local, sums = _array_bytes(kernel, m)
    if cost.near_bytes is not None:
        local, sums = cost.near_bytes, 0.0
    return (
        macs * each.mac,
        macs * each.operands,
        (local + far + traffic.near) * each.local,
        sums * each.accumulator,
        (far + traffic.near) * each.shared,
        far * each.dram,
        lane_operations(kernel, m) * each.lane,
        seconds * m.clock_hz * m.cores * each.cycle,
        seconds * each.static_w,
    )


def buffer_bytes(kernel: Kernel, traffic: Traffic, cost: Cost, m: Machine) -> float:
    """Return the bytes through the memory that cores share, or through the local memories where there is none."""
    if cost.near_bytes is not None:
        return cost.near_bytes
    far = traffic.far if cost.far_bytes is None else cost.far_bytes
    return far + traffic.near + (0.0 if m.shared_bytes else _array_bytes(kernel, m)[0])


def lane_operations(kernel: Kernel, m: Machine) -> float:
    """Return operations of single lanes: all nodes but products, and one a value that a product makes."""
    vector = m.chip.vector
    others = [node for node in kernel.nodes if kernel.node_macs[node.name] == 0]
    made = sum(kernel.elements(node.outputs[0]) for node in kernel.nodes if node not in others)
    cycles = kernel_cycles(replace(kernel, nodes=others), vector, integer=m.dtype.startswith("int"))
    return made + cycles * vector.lanes


def _array_bytes(kernel: Kernel, m: Machine) -> tuple[float, float]:
    """Return bytes that local memory feeds the arrays with, and bytes of sums, in and out, over all cores."""
    if not kernel.macs:
        return 0.0, 0.0
    p = product_of(kernel) if kernel.anchor.op in PRODUCTS else ANY
    inputs, weights, depth = _reuse(p, m)
    macs = kernel.macs
    return macs * m.bytes * (1 / inputs + 1 / weights), 2 * macs * WIDE_BYTES / depth


def _reuse(p: Product, m: Machine) -> tuple[float, float, float]:
    """Return the MACs that an input and a weight serve each time they are read, and those that a sum grows by."""
    array, units = m.array, m.chip.matrix.units
    if array.native is not None:
        rows, columns, depth = array.native
        return min(p.n, max(columns * units, TILE)), min(p.m, max(rows, TILE)), min(p.k, depth)
    if array.rows is None or array.cols is None:  # products on lanes
        return min(p.n, TILE), min(p.m, TILE), inf
    columns = min(p.n, array.cols * units)
    if m.chip.matrix.dataflow == "output_stationary":
        return columns, min(p.m, array.rows), p.k
    return columns, p.m, min(p.k, array.rows)
