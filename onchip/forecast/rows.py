"""Kernels without products: elementwise operations, softmax, norms, pooling, copies."""

from __future__ import annotations

from onchip.forecast.cost import Cost, longest
from onchip.forecast.kernels import Kernel
from onchip.forecast.machine import Machine
from onchip.forecast.traffic import Traffic


def price_rows(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the longer of memory, shared level and lanes (first version: one lane operation an element)."""
    elements = sum(kernel.elements(name) for name in (*kernel.inputs, *kernel.outputs))
    memory = traffic.far / m.dram_bytes_per_s
    near = (traffic.near + traffic.far) / m.shared_bytes_per_s
    return Cost(longest(("memory", memory), ("shared", near), ("vector", m.lane_s("add", elements))))
