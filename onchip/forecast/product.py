"""The matrix product that a kernel is: what prices of products, on arrays or on tiles, start from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from onchip.forecast.kernels import Kernel


@dataclass(frozen=True, slots=True)
class Product:
    """`batch` independent products of m x k by k x n; k is `taps` runs of equal length (a convolution's window)."""

    batch: int
    m: int
    n: int
    k: int
    taps: int = 1

    @property
    def macs(self) -> int:
        return self.batch * self.m * self.n * self.k


def product_of(kernel: Kernel) -> Product:
    """Return the product that a conv2d (as implicit GEMM), matmul or linear kernel is; linears of one input are one."""
    node = kernel.anchor
    a, b, c = (kernel.shape(name) for name in (node.inputs[0], node.inputs[1], node.outputs[0]))
    if node.op == "matmul":
        return Product(prod(c[:-2]), c[-2], c[-1], a[-1])
    if node.op == "linear":
        columns = sum(kernel.shape(n.outputs[0])[-1] for n in kernel.nodes if n.op == "linear")
        return Product(1, prod(c[:-1]), columns, a[-1])
    groups = node.attribute("groups", 1)
    assert isinstance(groups, int)
    return Product(groups, prod(c[:-1]), c[-1] // groups, prod(b[1:]), prod(b[1:-1]))
