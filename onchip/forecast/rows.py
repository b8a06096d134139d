"""Kernels without products: elementwise operations, softmax, norms, pooling, copies.

In:       a kernel, its traffic, a Machine.
Out:      `Cost`: what lanes, memories and waiting take together.
Promises: no kernel is faster than its lanes, or than its bytes at achieved bandwidth, given what is near. Rows that do
          not stay in a core are read again, from the cache as far as the rows in flight fit it.
Does not: know a chip. Where cores load through a hardware cache, lanes issue the loads and rows are dealt to warps and
          blocks of threads as in PyTorch (aten/src/ATen/native/cuda: PersistentSoftmax.cuh, SoftMax.cu,
          layer_norm_kernel.cu); elsewhere engines load, and rows stay in local memory where they fit.

Constants marked `fitted` are fitted on the rows of softmax, layer norm and elementwise operations of V100 and A100
together (NeuSight, LLMCompass), and shared by all chips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from onchip.forecast.cost import Cost, longest
from onchip.forecast.kernels import Kernel
from onchip.forecast.lanes import kernel_cycles
from onchip.forecast.machine import Machine
from onchip.forecast.traffic import Traffic, tensor_bytes

SOFTMAX = ("softmax", "log_softmax")
NORMS = ("layer_norm", "rms_norm", "group_norm", "instance_norm", "l2_norm", "lp_normalize")
PICKS = ("gather", "gather_elements", "gather_nd", "lookup", "slice")  # read no more than they write
WARP, MOST_THREADS = 32, 2048  # threads that run as one; threads of a core (CUDA programming guide, 6.0 to 9.0)
THREAD_BYTES = 128  # registers of a thread where that many are resident
LOAD_BYTES = 16  # the widest load of a thread
IN_REGISTERS = 1024  # elements of a row that a warp keeps (PersistentSoftmax.cuh)
NORM_THREADS, NORM_VECTOR = 128, 4  # of a row, and elements of a load (layer_norm_kernel.cu)
MOVE, MOVE_ALONE = 1, 2  # lane operations of an access and its conversion, in wide loads and alone: fitted
BUSY = 2.0  # latency of a busy memory, in idle ones: fitted
MIX = 4  # order of the norm that adds lanes, memory and waiting: all of one hides behind another half as long: fitted
HIT, MISS = 0.6, 1.4  # rows in flight, in sizes of the cache: second reads all hit, none hit: fitted


@dataclass(frozen=True, slots=True)
class Rows:
    """How rows are dealt: to how many threads each, how often it is read, in how many loads that wait for another."""

    n: int
    width: int
    reads: int = 1
    threads: int = 0  # 0: elements are dealt to all threads, and none waits
    loads: int = 0


def price_rows(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of a kernel without products."""
    traffic = touched(kernel, traffic, m)
    rows = rows_of(kernel, m)
    cycles = kernel_cycles(kernel, m.chip.vector, integer=m.dtype.startswith("int"))
    if not any(level.managed == "cache" for level in m.chip.shared):
        return _engines(rows, traffic, cycles / m.clock_hz / m.cores, m)
    read, made = (sum(kernel.elements(name) for name in names) for names in (kernel.inputs, kernel.outputs))
    move = MOVE_ALONE if rows.threads == WARP else MOVE
    cycles += (read * rows.reads + made) * move / m.chip.vector.lanes
    return _threads(rows, traffic, cycles / m.clock_hz / m.cores, m)


def touched(kernel: Kernel, traffic: Traffic, m: Machine) -> Traffic:
    """Return the traffic with no more read than is picked, for operations that pick."""
    if kernel.anchor.op not in PICKS:
        return traffic
    picked = sum(tensor_bytes(kernel, name, m) for name in kernel.outputs)
    given = traffic.far_weights + traffic.far_inputs
    far = min(given, picked)
    return replace(traffic, far_weights=0.0, far_inputs=far, near=min(traffic.near, 2 * picked))


def rows_of(kernel: Kernel, m: Machine) -> Rows:
    """Return how the rows of a kernel are dealt to threads."""
    node = kernel.anchor
    shape = kernel.shape(node.inputs[0])
    width = shape[-1] if shape else 1
    if node.op in ("group_norm", "instance_norm"):
        groups = node.attribute("groups", width)
        assert isinstance(groups, int)
        width = prod(shape[1:]) // groups
    n = prod(shape) // max(width, 1)
    if node.op in SOFTMAX:
        return _softmax(n, width, max(int(LOAD_BYTES // m.bytes), 1))
    if node.op in NORMS:
        return Rows(n, width, 2, NORM_THREADS, ceil(width / NORM_VECTOR / NORM_THREADS))
    return Rows(n, width)


def _softmax(n: int, width: int, vector: int) -> Rows:
    """Deal a row to a warp that keeps it, or to a block that reads it thrice: maximum, sum, result.

    A block has the smallest power of two of threads that is half of the row's wide loads, 32 to 512. What its whole
    rounds of wide loads leave is loaded element by element (SoftMax.cu: getBlockSize, ilpReduce).
    """
    if width <= IN_REGISTERS:
        return Rows(n, width, 1, WARP, 1)
    threads, most = WARP, min(width // vector, IN_REGISTERS)
    while threads < most / 2:
        threads *= 2
    whole, rest = divmod(width, threads * vector)
    return Rows(n, width, 3, threads, whole + ceil(rest / threads))


def _threads(rows: Rows, traffic: Traffic, lanes: float, m: Machine) -> Cost:
    """Return the cost of rows that threads read through a cache.

    Rows in flight: those of all resident blocks. Fewer rows than that leave cores unevenly full, and each row waits for
    its own loads: reads x loads x latency.
    """
    in_flight, waiting = rows.n, 0.0
    if rows.threads:
        resident = min(max(m.chip.local.accumulator_bytes // THREAD_BYTES, rows.threads), MOST_THREADS)
        slots = m.cores * max(resident // rows.threads, 1)
        in_flight = min(slots, rows.n)
        waiting = max(rows.n / slots, 1.0) * rows.reads * rows.loads * BUSY * m.dram_latency_s
        lanes *= ceil(rows.n / m.cores) * m.cores / rows.n if rows.n < slots else 1.0
    again = (rows.reads - 1) * traffic.far_inputs * (1 - hit_share(in_flight * rows.width * m.bytes, m))
    memory = (traffic.far + again) / m.dram_bytes_per_s
    near = (rows.reads * (traffic.near + traffic.far_inputs) + traffic.far_outputs) / m.near_bytes_per_s
    total = sum(part**MIX for part in (lanes, waiting, max(memory, near))) ** (1 / MIX)
    cause = max((lanes + waiting, "vector"), (memory, "memory"), (near, "shared"))[1]
    dealt = f"{rows.n} rows of {rows.width}, each read {rows.reads}x by {rows.threads} threads"
    return Cost(((cause, total),), dealt if rows.threads else "", traffic.far + again)


def hit_share(in_flight_bytes: float, m: Machine) -> float:
    """Return the share of second reads that hit the cache, by the bytes of the rows that are in flight."""
    cache = cache_bytes(m)
    return min(max((MISS - in_flight_bytes / cache) / (MISS - HIT), 0.0), 1.0) if cache else 0.0


def cache_bytes(m: Machine) -> float:
    """Return the bytes of different data that the largest hardware cache holds for all cores."""
    caches = (level for level in m.chip.shared if level.managed == "cache")
    instances = ((level, m.cores // (level.cores_per_instance or m.cores)) for level in caches)
    return max((level.size_bytes * count / level.copies for level, count in instances), default=0.0)


def again_bytes(rows: Rows, traffic: Traffic, m: Machine) -> float:
    """Return the far bytes that are read again where a row and its result do not fit in a local memory."""
    fits = 2 * rows.width * m.bytes <= m.chip.local.size_bytes
    return 0.0 if fits else (rows.reads - 1) * traffic.far_inputs


def _engines(rows: Rows, traffic: Traffic, lanes: float, m: Machine) -> Cost:
    """Return the cost of rows that engines load into local memories: once where row and result fit, else each read."""
    again = again_bytes(rows, traffic, m)
    memory = (traffic.far + again) / m.dram_bytes_per_s
    near = (traffic.near + traffic.far + again) / m.shared_bytes_per_s
    lanes *= ceil(rows.n / m.cores) * m.cores / rows.n
    return Cost(longest(("memory", memory), ("shared", near), ("vector", lanes)), "", traffic.far + again)
