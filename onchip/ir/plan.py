"""The plan: fused groups of nodes, the tiles that each is computed in, and where every tensor and buffer lies.

In: the planner's choices. Out: a frozen noun that the lowering turns into instructions without deciding anything.
The constructor refuses tiles that leave an output out or compute it twice, nodes that are computed twice or never,
buffers that do not fit their memory, and buffers or tensors that overlap while both are needed. Sizes are elements in
`Shape` and `Mapping`, bytes in `Buffer`, words (32 bit) in the accumulator.

A kernel's output is a grid [B, P, Q, N] (batch, rows, columns, channels); a matrix product is the grid [1, M, 1, N].
A tile is tb x tp x tq x tn of it; tc input channels are summed at a time. Cores stand in a grid of `rows_cores` x
`channel_cores` x `batch_cores`: the first share out the tiles along p, the second those along n, the third those
along b.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import DoesNotFit, InternalError
from onchip.ir.graph import Graph
from onchip.isa.machine import columns, depth, machine_of


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, slots=True)
class Second:
    """The second operand of a product of two activations, and what both operands' zero points ask for.

    Steps are elements of far memory. The rows of the product lie on p, or on q where p is a second batch axis.
    `has_ones` puts a row of ones in front of each source tile: its products are sums of the columns, and as weights it
    gives the sums of the rows.
    """

    source_steps: tuple[int, int, int]  # of the first operand along b, p and q
    steps: tuple[int, int]  # of the second operand along b and p; 0 where it is broadcast
    line: int  # between rows of the stored matrix
    is_nested: bool  # two batch axes, b and p
    is_turned: bool  # stored as [N, K]
    has_ones: bool = False
    sums_rows: bool = False

    @property
    def batch_axes(self) -> tuple[str, ...]:
        """Return the axes along which there are other weights."""
        return tuple(axis for axis, step in zip(("b", "p"), self.steps, strict=True) if step)


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides a kernel's mapping; kernels of equal shape get equal mappings.

    `window` is (R, S), the taps over the source [B, H, W, C]; `passes` are the vector cycles per lane and row of
    output, `scratch` the extra accumulator words and `side_bytes` the bytes of other inputs per output element;
    `table_bytes` stay in local memory for the whole kernel; `pool` divides the stored rows and columns.
    A kernel of several `blocks` computes as many grids side by side along the channels, each from channels and weights
    of its own (groups of a convolution): the channels of `grid` and `source` are those of one block.
    """

    kind: str  # matmul, vector, attention, lstm
    dtype: str
    element_bytes: int
    grid: tuple[int, int, int, int]
    source: tuple[int, int, int, int]
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    passes: int = 1
    scratch: int = 0
    side_bytes: int = 0
    side_inputs: int = 0
    table_bytes: int = 0
    pool: tuple[int, int] = (1, 1)
    whole_lanes: bool = False
    parameters_per_lane: bool = True
    loads_source: bool = True
    levels: tuple[int, int] = (0, 0)
    unshared: str = ""
    second: Second | None = None
    blocks: int = 1
    one_image: bool = False  # a tile lies in one image
    extra: tuple[
        int, ...
    ] = ()  # attention: heads, kv heads, q length, kv length, head size, value size; lstm: steps, hidden

    @property
    def is_integer(self) -> bool:
        """Whether values are int8; fp8 has one byte too."""
        return self.dtype == "int8"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the kernel's matrix part (0 for vector kernels)."""
        if self.kind != "matmul":
            return 0
        b, p, q, n = self.grid
        return self.blocks * b * p * q * n * self.window[0] * self.window[1] * self.source[3]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Tile sizes, loop order, cores and buffering of one kernel, and the cycles that ranked it.

    `depth_outer` has each depth tile of all channels of a core before the next one: their sums stay in the accumulator,
    and a tile is done as soon as the last depth tile of its own channels is.
    """

    tb: int
    tp: int
    tq: int
    tn: int
    tc: int
    channels_outer: bool = True
    rows_cores: int = 1
    channel_cores: int = 1
    batch_cores: int = 1
    slots: int = 2
    predicted_cycles: int = 0
    depth_outer: bool = False

    def counts(self, shape: Shape) -> dict[str, int]:
        """Return the iterations of each tile loop of one core."""
        b, p, q, n = shape.grid
        return {
            "g": shape.blocks,
            "b": ceil_div(ceil_div(b, self.tb), self.batch_cores),
            "p": ceil_div(ceil_div(p, self.tp), self.rows_cores),
            "q": ceil_div(q, self.tq),
            "n": ceil_div(ceil_div(n, self.tn), self.channel_cores),
            "k": ceil_div(shape.source[3], self.tc),
        }

    @property
    def order(self) -> tuple[str, ...]:
        """Return the axes of the tile loops, outermost first; g counts blocks."""
        if self.channels_outer:
            return "g", "n", "b", "p", "q", "k"
        return ("b", "p", "q", "g", "k", "n") if self.depth_outer else ("b", "p", "q", "g", "n", "k")

    def kept(self, shape: Shape) -> int:
        """Return of how many channel tiles the accumulator holds the sums at a time."""
        return self.counts(shape)["n"] if self.depth_outer else 1

    def __str__(self) -> str:
        order = " ".join(axis for axis in self.order if axis != "g")
        grid = f"{self.rows_cores}x{self.channel_cores}x{self.batch_cores}"
        cores = f" cores {grid} over p,n,b" if self.cores > 1 else ""
        return f"tile {self.tb}x{self.tp}x{self.tq}x{self.tn} k {self.tc} order {order} slots {self.slots}{cores}"

    @property
    def cores(self) -> int:
        return self.rows_cores * self.channel_cores * self.batch_cores


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named piece of a core's local memory (bytes) or accumulator (words); slot s starts at address + s * size."""

    name: str
    memory: str  # local, accumulator
    address: int
    size: int
    slots: int

    @property
    def end(self) -> int:
        return self.address + self.size * self.slots


@dataclass(frozen=True, slots=True)
class Kernel:
    """A fused group: its nodes in order, the tensors it reads and writes in far memory, shape, mapping and buffers."""

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    shape: Shape
    mapping: Mapping
    buffers: tuple[Buffer, ...]

    def __post_init__(self) -> None:
        b, p, q, n = self.shape.grid
        m = self.mapping
        if min(m.tb, m.tp, m.tq, m.tn, m.tc) < 1 or m.tb > b or m.tp > p or m.tq > q or m.tn > n:
            raise InternalError("OC9020", self.name, f"tile {m} does not lie in the grid {b}x{p}x{q}x{n}")
        if min(m.rows_cores, m.channel_cores, m.batch_cores) < 1:
            raise InternalError("OC9021", self.name, f"cores stand in a grid without places: {m}")
        if m.depth_outer and (m.channels_outer or min(m.counts(self.shape)[axis] for axis in "nk") < 2):
            raise InternalError("OC9029", self.name, f"{m} has no channels inside of its depth")
        ph, pw = self.shape.pool
        if m.tp % ph or (m.tq % pw and m.tq != q):
            raise InternalError("OC9022", self.name, f"tile {m} cuts pooling windows {ph}x{pw}")

    def buffer(self, name: str) -> Buffer:
        return next(b for b in self.buffers if b.name == name)


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor in far memory: `size` bytes at `address`; tensors that only rename another one share its place."""

    tensor: str
    address: int
    size: int
    kind: str  # input, output, constant, intermediate

    def level(self, chip: Chip) -> int:
        """Return 1 where an intermediate stays in the shared memory: it takes at most half of it."""
        return int(bool(chip.shared) and self.kind == "intermediate" and self.size * 2 <= chip.shared[0].size_bytes)


@dataclass(frozen=True, slots=True)
class Plan:
    """Kernels in order of execution and the places of the tensors in far memory."""

    graph: Graph
    chip: Chip
    dtype: str
    kernels: tuple[Kernel, ...]
    places: tuple[Place, ...]
    host_before: tuple[str, ...] = ()
    host_after: tuple[str, ...] = ()
    is_part: bool = False  # of a network: kernels to be priced alone

    def __post_init__(self) -> None:
        for kernel in self.kernels:
            check_buffers(kernel.name, kernel.buffers, self.chip)
            check_folds(kernel, machine_of(self.chip, self.dtype))
        check_nodes(self)
        if not self.is_part:  # a part has no order of time
            check_lives(self)
        ends = max((p.address + p.size for p in self.places), default=0)
        if ends > self.chip.dram.size_bytes:
            limit = f"chip '{self.chip.name}' has {self.chip.dram.size_bytes} bytes of DRAM"
            raise DoesNotFit(
                "OC2001", self.graph.name, f"tensors need {ends} bytes", limit=limit, next="Try a smaller batch"
            )

    def place(self, tensor: str) -> Place:
        return next(p for p in self.places if p.tensor == tensor)

    def level(self, tensor: str) -> int:
        """Return 1 where a tensor stays in the shared memory."""
        return next((p.level(self.chip) for p in self.places if p.tensor == tensor), 0)

    def __str__(self) -> str:
        lines = [f"plan {self.graph.name} chip {self.chip.name} {self.dtype}"]
        for k in self.kernels:
            lines.append(f"kernel {k.name} {k.shape.kind} grid {'x'.join(map(str, k.shape.grid))}: {k.mapping}")
            lines.append(f"  nodes {', '.join(k.nodes)}")
            lines += [f"  {b.memory} {b.name} at {b.address}, {b.slots} x {b.size}" for b in k.buffers]
        lines += [f"place {p.tensor} {p.kind} at {p.address}, {p.size} bytes" for p in self.places]
        return "\n".join(lines) + "\n"


RENAMINGS = ("reshape", "identity")


def check_folds(kernel: Kernel, machine: NDArray[np.int64]) -> None:
    """Refuse tiles that the array's columns or rows do not divide: the next tile would compute or add some twice."""
    shape, m = kernel.shape, kernel.mapping
    if shape.kind != "matmul":
        return
    wide, deep = columns(machine) or 1, depth(machine) or 1
    if m.tn % wide and m.tn != shape.grid[3]:
        raise InternalError("OC9027", kernel.name, f"tiles of {m.tn} channels cut blocks of {wide} columns")
    if m.tc % deep and m.tc != shape.source[3] and shape.window == (1, 1):
        raise InternalError("OC9027", kernel.name, f"depth tiles of {m.tc} cut folds of {deep} rows")


def check_nodes(plan: Plan) -> None:
    """Refuse a node that is computed twice or never; renamings cost nothing where both names share a place."""
    computed = [n for k in plan.kernels for n in k.nodes] + [*plan.host_before, *plan.host_after]
    seen: set[str] = set()
    for name in computed:
        if name in seen:
            raise InternalError("OC9024", name, "is computed twice")
        seen.add(name)
    addresses = {p.tensor: p.address for p in plan.places}
    for node in plan.graph.nodes:
        if plan.is_part or node.name in seen:
            continue
        given, made = addresses.get(node.inputs[0]), addresses.get(node.outputs[0])
        if node.op not in RENAMINGS or given != made:
            raise InternalError("OC9024", node.name, "is never computed")


def check_lives(plan: Plan) -> None:
    """Refuse a tensor that is read before it is made, and tensors in one place of far memory that live at one time."""
    births, deaths = lives(plan)
    alive = sorted((p.address, p.tensor, p) for p in plan.places if p.tensor in births)
    for number, (_, tensor, place) in enumerate(alive):
        for address, other, _ in alive[number + 1 :]:
            if address >= place.address + place.size:
                break
            if births[tensor] <= deaths[other] and births[other] <= deaths[tensor]:
                raise InternalError("OC9025", tensor, f"lies over '{other}', which is needed at the same time")


def lives(plan: Plan) -> tuple[dict[str, int], dict[str, int]]:
    """Return the kernel in which each tensor is made (-1: before the first) and the last one that needs it."""
    births = {p.tensor: -1 for p in plan.places if p.kind in ("input", "constant")}
    deaths = dict.fromkeys(births, len(plan.kernels))
    computed = {*(name for kernel in plan.kernels for name in kernel.nodes), *plan.host_before, *plan.host_after}
    kinds = {p.tensor: p.kind for p in plan.places}
    for number, kernel in enumerate(plan.kernels):
        for name in kernel.inputs:
            root = _root(plan.graph, name, computed)
            if root not in births:
                raise InternalError("OC9026", kernel.name, f"reads '{name}' before it is made")
            deaths[root] = max(deaths[root], number)
        for name in plan.graph.node(kernel.nodes[-1]).outputs:
            births.setdefault(name, number)
            deaths.setdefault(name, len(plan.kernels) if kinds.get(name) == "output" else number)
    renamed = {name for name in births if _root(plan.graph, name, computed) != name}
    return {n: b for n, b in births.items() if n not in renamed}, deaths


def _root(graph: Graph, tensor: str, computed: set[str]) -> str:
    """Return the tensor that a renaming stands for."""
    node = graph.producer(tensor)
    while node is not None and node.op in RENAMINGS and node.name not in computed:
        tensor = node.inputs[0]
        node = graph.producer(tensor)
    return tensor


def check_buffers(where: str, buffers: tuple[Buffer, ...], chip: Chip) -> None:
    """Refuse buffers that leave their memory or overlap: all of a kernel's buffers live as long as the kernel."""
    sizes = {"local": chip.local.size_bytes, "accumulator": chip.local.accumulator_bytes // 4}
    for memory, size in sizes.items():
        own = sorted((b for b in buffers if b.memory == memory), key=lambda b: (b.address, b.name))
        for before, after in pairwise(own):
            if before.end > after.address:
                raise InternalError("OC9023", where, f"buffers {before.name} and {after.name} overlap")
        if own and own[-1].end > size:
            raise DoesNotFit("OC2103", where, f"buffers end at {own[-1].end}", limit=f"{memory} ends at {size}")
