"""The lowering's door: Plan -> Program.

In: a Plan. Out: a Program: each kernel's four streams behind a barrier, and the regions of far memory. `with_data` says
whether the bytes of the constants are wanted; without them the program can be timed but not run.
Before -> after: a kernel with its tiles -> LOOP/LD/WLD/MM/RQ/ST records with addresses and semaphores.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from onchip.ir.evaluate import initial_states
from onchip.ir.graph import Graph
from onchip.ir.plan import Kernel, Plan
from onchip.ir.program import KernelCode, Model, Program, Region
from onchip.isa import BARRIER, LD, ST
from onchip.isa.fields import joined, pack_rows
from onchip.isa.memory import TYPE_BYTES
from onchip.lowering.attention import lower_attention
from onchip.lowering.average import lower_average
from onchip.lowering.context import TYPES, Context, Lowered, as_bytes, floats_as
from onchip.lowering.exact import refuse_other_integers
from onchip.lowering.grid import lower_grid
from onchip.lowering.recurrent import lower_recurrent
from onchip.lowering.tree import initial_counts, rows_of

KINDS = {
    "matmul": lower_grid, "vector": lower_grid, "attention": lower_attention, "recurrent": lower_recurrent,
    "mean": lower_average,
}  # fmt: skip


def lower(plan: Plan, model: Model, *, with_data: bool) -> Program:
    """Return the program of a plan."""
    refuse_other_integers(plan)
    context = Context(plan, with_data)
    streams: tuple[list[NDArray[np.void]], ...] = ([], [], [], [])
    lengths = [0, 0, 0, 0]
    kernels: list[KernelCode] = []
    known: dict[object, Assembled] = {}
    for kernel in plan.kernels:
        code = _code(kernel, context, known)
        starts = tuple(lengths)
        for stream, records in enumerate(code):
            streams[stream].append(records)
            lengths[stream] += len(records)
        kernels.append(_kernel_code(kernel, starts, tuple(lengths), plan))
    records = tuple(joined(parts) for parts in streams)
    regions = (*_tensor_regions(context), *context.regions)
    before, after = _host_part(plan, plan.host_before), _host_part(plan, plan.host_after)
    return Program(
        plan.graph.name, plan.chip, (records[0], records[1], records[2], records[3]), tuple(kernels), regions,
        plan.dtype,
        model, plan.graph.outputs, before, after, plan.graph.states,
    )  # fmt: skip


def _host_part(plan: Plan, names: tuple[str, ...]) -> Graph | None:
    """Return the nodes that the host runs as a graph of their own, or None where there are none."""
    if not names:
        return None
    graph = plan.graph
    nodes = tuple(graph.node(name) for name in names)
    made = [output for node in nodes for output in node.outputs]
    read = [name for node in nodes for name in node.inputs if name]
    inputs = tuple(dict.fromkeys(t for t in read if t not in made and graph.tensor(t).constant is None))
    inner = {name for node in graph.nodes if node.name not in names for name in node.inputs}
    outputs = tuple(t for t in made if t in inner or t in graph.kept)
    tensors = tuple(t for t in graph.tensors if t.name in {*made, *read})
    return Graph(f"{graph.name}.host", tensors, nodes, inputs, outputs)


def _assemble(kernel: Kernel, lowered: Lowered) -> list[NDArray[np.void]]:
    counts = initial_counts(lowered.trees, lowered.slots, kernel.name)
    barrier = BARRIER(counts=sum(c << 4 * i for i, c in enumerate(counts)), active=lowered.active)
    head, plain, _ = barrier.parts()
    streams = [[(head, list(plain), list[int]()), *rows_of(tree)] for tree in lowered.trees]
    records = pack_rows([row for stream in streams for row in stream])
    return np.split(records, np.cumsum([len(stream) for stream in streams[:-1]]))


@dataclass(frozen=True, slots=True)
class Assembled:
    """A kernel's records, the far addresses they name, and the constants they asked for."""

    code: list[NDArray[np.void]]
    bases: tuple[int, ...]
    constants: tuple[tuple[str, int], ...]


def _code(kernel: Kernel, context: Context, known: dict[object, Assembled]) -> list[NDArray[np.void]]:
    """Lower a kernel; where values are not wanted, one that equals an earlier one only gets new addresses."""
    key = None if context.with_data else _key(kernel, context)
    earlier = known.get(key) if key is not None else None
    if earlier is not None:
        for suffix, n_bytes in earlier.constants:
            context.constant(kernel.name + suffix, n_bytes, _no_bytes)
        moved = dict(zip(earlier.bases, _bases(kernel, context, len(earlier.constants)), strict=True))
        return [_relocate(records, moved) for records in earlier.code]
    before = len(context.regions)
    code = _assemble(kernel, KINDS[kernel.shape.kind](kernel, context))
    made = context.regions[before:]
    constants = tuple((r.name.removeprefix(kernel.name), r.n_bytes) for r in made)
    if key is not None:
        known[key] = Assembled(code, _bases(kernel, context, len(made)), constants)
    return code


def _no_bytes() -> NDArray[np.uint8]:
    return np.zeros(0, np.uint8)


def _key(kernel: Kernel, context: Context) -> object:
    nodes = context.nodes(kernel)
    what = tuple((n.op, n.attributes, tuple(bool(i) for i in n.inputs), len(n.outputs)) for n in nodes)
    tensors = _tensors(kernel, context)
    seen = [context.addresses[t] for t in tensors]
    shapes = tuple(context.graph.tensor(t).shape for t in tensors)
    levels = tuple(context.level(t) for t in tensors)
    scales = tuple(context.graph.tensor(t).quantization for n in nodes for t in (*n.inputs, *n.outputs) if t)
    return (
        kernel.shape,
        kernel.mapping,
        kernel.buffers,
        what,
        kernel.inputs[0] == nodes[0].inputs[0],
        tuple(seen.index(a) for a in seen),
        shapes,
        levels,
        scales,
    )


def _tensors(kernel: Kernel, context: Context) -> list[str]:
    outputs = [o for name in kernel.nodes[-1:] for o in context.graph.node(name).outputs]
    return [t for t in (*kernel.inputs, *outputs) if t in context.addresses]


def _bases(kernel: Kernel, context: Context, n_constants: int) -> tuple[int, ...]:
    constants = [r.address for r in context.regions[len(context.regions) - n_constants :]]
    return (*(context.addresses[t] for t in _tensors(kernel, context)), *constants)


def _relocate(records: NDArray[np.void], moved: dict[int, int]) -> NDArray[np.void]:
    """Give the transfers new far addresses."""
    out = records.copy()
    transfers = np.flatnonzero((out["op"] == LD.OP) | (out["op"] == ST.OP))
    for place, rows in ((0, transfers), (6, transfers[out["sub"][transfers] != 0])):
        out["affines"][rows, place, 0] = [moved[base] for base in out["affines"][rows, place, 0].tolist()]
    return out


def _kernel_code(kernel: Kernel, starts: tuple[int, ...], ends: tuple[int, ...], plan: Plan) -> KernelCode:
    macs = sum(plan.graph.node_macs(name) for name in kernel.nodes)
    local = max((b.end for b in kernel.buffers if b.memory == "local"), default=0)
    m = kernel.mapping
    return KernelCode(
        kernel.name, kernel.nodes, (starts[0], starts[1], starts[2], starts[3]), (ends[0], ends[1], ends[2], ends[3]),
        macs, local, (m.rows_cores, m.channel_cores, m.batch_cores),
    )  # fmt: skip


def _tensor_regions(context: Context) -> list[Region]:
    found: list[Region] = []
    starts = initial_states(context.graph)
    for place in context.plan.places:
        tensor = context.graph.tensor(place.tensor)
        shape = tuple(int(d) for d in tensor.shape)
        dtype = "i32" if tensor.dtype == "i64" else tensor.dtype
        data = None
        if place.kind == "constant" and context.with_data:
            array = context.array(place.tensor)
            data = _data(context, array, dtype)
        if place.tensor in starts and tensor.quantization is not None:
            data = as_bytes(starts[place.tensor])
        n_bytes = data.nbytes if data is not None else min(place.size, prod(shape) * _bytes(context, dtype))
        found.append(Region(place.tensor, place.address, n_bytes, place.kind, shape, dtype, data))
    return found


FIXED = {"i8": 1, "u8": 1, "bool": 1, "i16": 2, "i32": 4}  # bytes of what is no float of the program


def _bytes(context: Context, dtype: str) -> int:
    return FIXED.get(dtype) or TYPE_BYTES[TYPES[context.plan.dtype]]


def _data(context: Context, array: NDArray[np.generic], dtype: str) -> NDArray[np.uint8]:
    if dtype not in FIXED:
        return floats_as(TYPES[context.plan.dtype], array)
    return as_bytes(array.astype(np.int32) if dtype == "i32" else array)
