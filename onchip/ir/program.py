"""The compiled program: four instruction streams, the places of tensors in far memory, and the constants' bytes.

In: records from the lowering. Out: a frozen noun that the simulator runs, the assembler text and the binary. The
constructor refuses fields that do not fit their bits, an instruction in the wrong stream, loops that do not nest or go
deeper than the stack, a semaphore with two producers or two consumers, and a kernel whose semaphores do not return to
the counts it started with. `states` are (in, out) pairs, as in
Graph: tensors of the host's part, or regions. Addresses are bytes; far memory starts with the regions in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import InternalError
from onchip.ir.graph import Graph
from onchip.isa import BARRIER, CLASSES, LOOP, LUT, MM, RECORD, RQ, STREAMS, VOP, WLD
from onchip.isa.fields import FIELD_BITS, LEVELS, SEMAPHORES, Record, decode_record, encode_record
from onchip.isa.floats import FLOAT_TYPES, LANES
from onchip.isa.instructions import Instruction, from_record, operand_names
from onchip.isa.memory import ACC, I8, TYPE_NAMES
from onchip.isa.vector import FLOAT_VOPS, VOPS


@dataclass(frozen=True, slots=True)
class Model:
    """What a report says about the network: counts for one run of the whole batch; `assumptions` made on the way."""

    name: str
    hash: str
    macs: int
    parameters: int
    batch: int = 1
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """A tensor's place in far memory: `kind` is input, output, constant or intermediate.

    `data` is what the chip stores there: a constant's values, or those that a state starts with.
    """

    name: str
    address: int
    n_bytes: int
    kind: str
    shape: tuple[int, ...]
    dtype: str
    data: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class KernelCode:
    """Where a kernel's records start in each stream (its BARRIER) and end, and which nodes of the graph it computes."""

    name: str
    nodes: tuple[str, ...]
    starts: tuple[int, int, int, int]
    ends: tuple[int, int, int, int]
    macs: int
    local_bytes: int = 0
    core_grid: tuple[int, int, int] = (1, 1, 1)


@dataclass(frozen=True)
class Program:
    """See the module docstring."""

    name: str
    chip: Chip
    streams: tuple[Record, Record, Record, Record]
    kernels: tuple[KernelCode, ...]
    regions: tuple[Region, ...]
    dtype: str
    model: Model
    outputs: tuple[str, ...] = ()
    host_before: Graph | None = None
    host_after: Graph | None = None
    states: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for stream, records in enumerate(self.streams):
            records.setflags(write=False)
            _check_fields(records, stream)
            _check_types(records, stream, is_float=self.dtype != "int8")
        _check_semaphores(self.streams)
        for kernel in self.kernels:
            _check_kernel(self, kernel)

    def n_instructions(self) -> int:
        """Return how many instructions one core runs, loops counted."""
        spans = [(s, k.starts[s], k.ends[s], k.name) for k in self.kernels for s in range(len(self.streams))]
        return sum(int(repetitions(self.streams[s][a:b], name).sum()) for s, a, b, name in spans)

    @property
    def far_bytes(self) -> int:
        """Bytes of far memory that the regions span."""
        return max((r.address + r.n_bytes for r in self.regions), default=0)

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of the instructions, the regions and the constants."""
        digest = hashlib.sha256(self.chip.hash.encode())
        for records in self.streams:
            digest.update(records.tobytes())
        for r in self.regions:
            digest.update(f"{r.name}|{r.address}|{r.n_bytes}|{r.kind}|{r.shape}|{r.dtype}".encode())
            digest.update(r.data.tobytes() if r.data is not None else b"")
        for given, made in self.states:
            digest.update(f"{given}|{made}".encode())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the program to an .npz file (onchip/ir/program_file.py)."""
        from onchip.ir.program_file import save_program

        save_program(self, path)

    @staticmethod
    def load(path: str | Path) -> Program:
        """Read a program from an .npz file. Raises BadFile."""
        from onchip.ir.program_file import load_program

        return load_program(path)

    def region(self, name: str) -> Region:
        return next(r for r in self.regions if r.name == name)

    def instructions(self, stream: int) -> Iterator[Instruction]:
        """Read the records of a stream back as instructions."""
        return (from_record(record, CLASSES) for record in self.streams[stream])

    def encode(self) -> tuple[list[int], ...]:
        """Return the 128-bit words of the four streams."""
        return tuple([word for record in records for word in encode_record(record)] for records in self.streams)

    def decode(self, words: tuple[list[int], ...]) -> Program:
        """Return this program with its streams read back from words. Raises ValueError on words that are no program."""
        streams = tuple(decode_stream(w) for w in words)
        return Program(
            self.name, self.chip, (streams[0], streams[1], streams[2], streams[3]), self.kernels, self.regions,
            self.dtype, self.model, self.outputs, self.host_before, self.host_after, self.states,
        )  # fmt: skip

    def __str__(self) -> str:
        lines = [f"program {self.name} chip {self.chip.name} {self.dtype}"]
        lines += [f"region {r.name} {r.kind} {r.address} {r.n_bytes} {r.dtype}{list(r.shape)}" for r in self.regions]
        for kernel in self.kernels:
            lines.append(f"kernel {kernel.name}: {', '.join(kernel.nodes)}")
            for stream, name in enumerate(STREAMS):
                lines.append(f"  {name}")
                lines += _listing(self.streams[stream][kernel.starts[stream] : kernel.ends[stream]])
        return "\n".join(lines) + "\n"


def decode_stream(words: list[int]) -> Record:
    """Read the words of one stream."""
    found: list[NDArray[np.void]] = []
    at = 0
    while at < len(words):
        record = np.zeros((), RECORD)
        at = decode_record(words, at, record)
        found.append(record)
    return np.array(found, RECORD) if found else np.zeros(0, RECORD)


def _listing(records: Record) -> list[str]:
    lines: list[str] = []
    ends: list[int] = []
    for at, record in enumerate(records):
        while ends and ends[-1] <= at:
            ends.pop()
        instruction = from_record(record, CLASSES)
        lines.append("    " + "  " * len(ends) + str(instruction))
        if isinstance(instruction, LOOP):
            ends.append(at + 1 + instruction.body)
    return lines


def _check_fields(records: Record, stream: int) -> None:
    limit = 1 << (FIELD_BITS - 1)
    for part in ("integers", "affines"):
        if len(records) and (records[part].min() < -limit or records[part].max() >= limit):
            raise InternalError("OC9001", STREAMS[stream], f"a field does not fit {FIELD_BITS} bits")
    allowed = [op for op, kind in CLASSES.items() if stream in kind.QUEUES]
    wrong = ~np.isin(records["op"], allowed)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InternalError("OC9002", STREAMS[stream], f"instruction {at} has opcode {records['op'][at]}")


def _check_types(records: Record, stream: int, *, is_float: bool) -> None:
    """A program is in integers or in floats: operand types and operations of the other kind are refused."""
    ops, ints, subs = records["op"], records["integers"], records["sub"]
    lanes, products = (ops >= RQ.OP) & (ops <= LUT.OP), (ops == WLD.OP) | (ops == MM.OP)
    types = ints[lanes][:, [A_TYPE, D_TYPE]].reshape(-1), ints[(ops == VOP.OP) & (ints[:, HAS_IMMEDIATE] == 0), B_TYPE]
    element = np.where(ops[products] == WLD.OP, ints[products, WLD_TYPE], ints[products, MM_TYPE])
    known = len(TYPE_NAMES) if is_float else ACC + 1
    wrong = any(((t < 0) | (t >= known)).any() for t in types)
    wrong = wrong or not np.isin(element, FLOAT_TYPES if is_float else (I8,)).all()
    vops = subs[ops == VOP.OP]
    wrong = wrong or not np.isin(vops, FLOAT_SUBS if is_float else tuple(VOPS.values())).all()
    wrong = wrong or (is_float and ((ops == RQ.OP) | (ops == LUT.OP)).any())
    if wrong:
        fact = f"an instruction that {'float' if is_float else 'integer'} programs do not have"
        raise InternalError("OC9011", STREAMS[stream], fact)


def _place(kind: type[Instruction], name: str) -> int:
    return operand_names(kind)[0].index(name)


A_TYPE, D_TYPE, B_TYPE, HAS_IMMEDIATE = (_place(VOP, n) for n in ("a_type", "d_type", "b_type", "has_immediate"))
WLD_TYPE, MM_TYPE = _place(WLD, "type"), _place(MM, "type")
FLOAT_SUBS = (VOPS["mac"], *((VOPS | FLOAT_VOPS)[name] for name in LANES))


def _check_semaphores(streams: tuple[Record, ...]) -> None:
    """Each semaphore has one signalling and one waiting stream, so that its tokens are in order of time."""
    for number, (producer, consumer) in enumerate(SEMAPHORES):
        for stream, records in enumerate(streams):
            if stream != producer and (records["signal"] >> number & 1).any():
                raise InternalError("OC9003", STREAMS[stream], f"signals semaphore {number} of {STREAMS[producer]}")
            if stream != consumer and (records["wait"] >> number & 1).any():
                raise InternalError("OC9003", STREAMS[stream], f"waits for semaphore {number} of {STREAMS[consumer]}")


NUMBERS = np.arange(8, dtype=np.uint8)  # of the semaphores


def _check_kernel(program: Program, kernel: KernelCode) -> None:
    net = np.zeros(8, np.int64)
    for stream, records in enumerate(program.streams):
        code = records[kernel.starts[stream] : kernel.ends[stream]]
        if len(code) == 0 or code["op"][0] != BARRIER.OP:
            raise InternalError("OC9004", kernel.name, f"{STREAMS[stream]} does not start with a barrier")
        times = repetitions(code, kernel.name)
        signals, waits = (code[side][:, None] >> NUMBERS & 1 for side in ("signal", "wait"))
        net += times @ (signals.astype(np.int64) - waits)
    if net.any():
        raise InternalError("OC9005", kernel.name, f"semaphores change by {net.tolist()} over the kernel")


def repetitions(code: Record, where: str) -> NDArray[np.int64]:
    """Return how often each record runs; refuses loops that do not nest or go deeper than the stack."""
    times = np.ones(len(code), np.int64)
    ends: list[int] = []
    for at in np.flatnonzero(code["op"] == LOOP.OP):
        count, body = int(code["integers"][at][0]), int(code["integers"][at][1])
        while ends and ends[-1] <= at:
            ends.pop()
        end = int(at) + 1 + body
        if count < 1 or body < 1 or end > (ends[-1] if ends else len(code)) or len(ends) >= LEVELS:
            raise InternalError(
                "OC9006", where, f"loop at {at} (count {count}, body {body}) does not nest in {LEVELS} levels"
            )
        ends.append(end)
        times[at + 1 : end] *= count
    return times
