"""What a workload cannot do without, and the two baselines that a model has to beat.

In:       a Graph whose dimensions are numbers, a Chip, a dtype as chip files spell it.
Out:      `Work`: MACs and compulsory bytes; seconds of the roofline and of the simple baseline.
Promises: MACs are those of the graph, without the masked half of causal attention; compulsory bytes are inputs,
          outputs and constants once each, in the row's dtype; of a table that rows are gathered from, those rows; of
          the input of a convolution, what its windows touch.
          roofline = max(2 MACs / peak, bytes / bandwidth), as if all of it lay in far memory at the start;
          simple = max(2 MACs / 0.80 peak, bytes / 0.82 bandwidth) + launch.
Does not: know how any kernel works: that is the point of a baseline.
Sources:  Williams et al. 2009 (roofline); 0.80 and 0.82: what good kernels reach, read off the public rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from onchip.chip import Chip
from onchip.ir.graph import Graph, Node, Tensor, attributes_of
from onchip.ops.registry import look_up_op

BITS = {"int4": 4, "int8": 8, "fp8": 8, "int16": 16, "fp16": 16, "bf16": 16, "tf32": 32, "fp32": 32}
INDEX_BITS = 32
SIMPLE_PEAK, SIMPLE_BANDWIDTH = 0.80, 0.82
TABLE_OPS = ("gather",)  # ops that read some rows of their first input


@dataclass(frozen=True, slots=True)
class Work:
    """What a workload asks for: MACs, MACs that no mask hides, compulsory bytes, inferences of a run."""

    macs: int
    needed_macs: int
    bytes: int
    batch: int

    def roofline_s(self, chip: Chip, dtype: str) -> float:
        """Return the seconds below which the chip cannot come from far memory. Raises NotSupported."""
        return max(self._compute_s(chip, dtype), self._memory_s(chip))

    def simple_s(self, chip: Chip, dtype: str, launch_s: float) -> float:
        """Return the seconds of the simple baseline. Raises NotSupported."""
        return max(self._compute_s(chip, dtype) / SIMPLE_PEAK, self._memory_s(chip) / SIMPLE_BANDWIDTH) + launch_s

    def _compute_s(self, chip: Chip, dtype: str) -> float:
        chip.matrix.array(dtype, chip.name)
        return 2 * self.needed_macs / chip.peak_ops_per_s(dtype)

    def _memory_s(self, chip: Chip) -> float:
        return self.bytes / chip.dram.bandwidth_bytes_per_s


def work_of(graph: Graph, dtype: str) -> Work:
    """Return the work of a graph; an unknown dtype has 32 bits."""
    bits = BITS.get(dtype, 32)
    macs = {node.name: graph.node_macs(node.name) for node in graph.nodes}
    needed = sum(macs[node.name] * _kept(graph, node) for node in graph.nodes)
    batch = graph.tensor(graph.inputs[0]).shape[0] if graph.inputs and graph.tensor(graph.inputs[0]).shape else 1
    return Work(sum(macs.values()), int(needed), _compulsory_bits(graph, bits) // 8, int(batch))


def tensor_bytes(tensor: Tensor, dtype: str) -> int:
    """Return the bytes of a tensor in a dtype; indices and flags have their own."""
    return _elements(tensor) * _bits(tensor, BITS.get(dtype, 32)) // 8


def _kept(graph: Graph, node: Node) -> Fraction:
    """Return the share of a node's MACs that its mask keeps: row i of a causal score keeps i + 1 + Lk - Lq columns."""
    if node.op != "attention" or not attributes_of(node, look_up_op(node.op, node.name)).flag("causal"):
        return Fraction(1)
    rows, columns = (int(graph.tensor(name).shape[1]) for name in node.inputs[:2])
    first = max(0, columns - rows + 1)  # columns of row 0; the rows above one that has none keep nothing
    with_any = min(rows, columns)
    return Fraction(with_any * (max(first, 1) + columns), 2 * rows * columns)


def _compulsory_bits(graph: Graph, bits: int) -> int:
    total = 0
    for tensor in graph.tensors:
        if tensor.constant is not None:
            total += _constant_bits(graph, tensor, bits)
        elif tensor.name in graph.inputs:
            total += _read_elements(graph, tensor) * _bits(tensor, bits)
        if tensor.name in graph.outputs:
            total += _elements(tensor) * _bits(tensor, bits)
    return total


def _read_elements(graph: Graph, tensor: Tensor) -> int:
    """Return how many elements of an input are read: a window that is narrower than its stride leaves some out."""
    readers = graph.consumers(tensor.name)
    if not readers or any(node.op != "conv2d" or node.inputs[0] != tensor.name for node in readers):
        return _elements(tensor)
    n, height, width, channels = (int(d) for d in tensor.shape)
    read = 0
    for node in readers:
        _, r, s, _ = (int(d) for d in graph.tensor(node.inputs[1]).shape)
        _, p, q, _ = (int(d) for d in graph.tensor(node.outputs[0]).shape)
        read += n * min(height, p * r) * min(width, q * s) * channels
    return min(_elements(tensor), read)


def _constant_bits(graph: Graph, tensor: Tensor, bits: int) -> int:
    readers = graph.consumers(tensor.name)
    whole = _elements(tensor) * _bits(tensor, bits)
    if readers and all(node.op in TABLE_OPS and node.inputs[0] == tensor.name for node in readers):
        return min(whole, sum(_elements(graph.tensor(node.outputs[0])) * bits for node in readers))
    return whole if readers else 0


def _elements(tensor: Tensor) -> int:
    return prod(int(d) for d in tensor.shape)


def _bits(tensor: Tensor, bits: int) -> int:
    """Return the bits of an element: those of the row's dtype, of indices and flags their own."""
    return {"i64": INDEX_BITS, "i32": INDEX_BITS, "bool": 8}.get(tensor.dtype, bits)
