"""A Program as one .npz file, without pickle: streams, constants, and a JSON header.

In:       a Program and, where its outputs shall be compared later, the integer graph that it was made from; or a path.
Out:      the file, whole or absent; or the Program, verified by its constructor, with that graph.
Arrays:   `stream0`..`stream3` (records), `region0`.. (what far memory holds at the start), `constant0`.. (values of the
          graphs' constants), `header` (UTF-8 JSON: chip as TOML, kernels, regions, model, graphs as text).
Promises: nothing is trusted: members are stored, not compressed, so that a file unpacks to no more than its own size;
          names, dtypes, lengths and checksums are compared before an array is made; the program's own hash has to
          agree; regions lie in the chip's DRAM. Anything else is a BadFile, never another exception.
Does not: prove that a program from elsewhere ends, or that each of its addresses lies in memory.
"""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import BadFile
from onchip.ir.archive import (
    Arrays,
    Form,
    constants_of,
    count,
    load_arrays,
    read_constants,
    read_graph_text,
    save_arrays,
)
from onchip.ir.graph import Graph
from onchip.ir.program import KernelCode, Model, Program, Region
from onchip.isa import RECORD
from onchip.isa.fields import CORE_AXES

VERSION = 1
FORM = Form(
    "program",
    "Write it again with onchip compile -o",
    re.compile(r"(header|stream[0-3]|(region|constant)\d{1,6})\.npy", re.ASCII),
    {"stream": RECORD},
)
ELEMENT_BYTES = {
    "i8": 1, "u8": 1, "bool": 1, "i16": 2, "f16": 2, "bf16": 2, "fp8": 1, "i32": 4, "f32": 4,
    "tf32": 4, "i64": 8,
}  # fmt: skip


def save_program(program: Program, path: str | Path, *, reference: Graph | None = None) -> None:
    """Write a program; an interrupted write leaves no file. Raises UsageError where it cannot be written."""
    graphs = [graph for graph in (program.host_before, program.host_after, reference) if graph is not None]
    arrays, rows = constants_of(graphs)
    arrays |= {f"stream{i}": np.asarray(s) for i, s in enumerate(program.streams)}
    arrays |= {f"region{i}": r.data for i, r in enumerate(program.regions) if r.data is not None}
    header = _header(program) | {"reference": str(reference) if reference is not None else "", "constants": rows}
    arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    save_arrays(path, arrays)


def _header(program: Program) -> dict[str, Any]:
    m = program.model
    return {
        "version": VERSION,
        "name": program.name,
        "hash": program.hash,
        "chip": str(program.chip),
        "dtype": program.dtype,
        "model": [m.name, m.hash, m.macs, m.parameters, m.batch, list(m.assumptions)],
        "kernels": [
            [k.name, list(k.nodes), list(k.starts), list(k.ends), k.macs, k.local_bytes, list(k.core_grid)]
            for k in program.kernels
        ],
        "regions": [[r.name, r.address, r.n_bytes, r.kind, list(r.shape), r.dtype] for r in program.regions],
        "outputs": list(program.outputs),
        "states": [list(pair) for pair in program.states],
        "before": str(program.host_before) if program.host_before else "",
        "after": str(program.host_after) if program.host_after else "",
    }


def load_program(path: str | Path) -> Program:
    """Read a program. Raises BadFile for anything that is not one."""
    return load_with_reference(path)[0]


def load_with_reference(path: str | Path) -> tuple[Program, Graph | None]:
    """Read a program and the integer graph it was made from, where the file has it. Raises BadFile."""
    return load_arrays(path, FORM, _build)


def _build(arrays: Arrays) -> tuple[Program, Graph | None]:
    header = json.loads(arrays["header"].tobytes())
    if header["version"] != VERSION:
        raise BadFile("OC1243", "", f"version {header['version']}", limit=f"This onchip reads version {VERSION}")
    chip = Chip.parse(header["chip"], "chip")
    constants = read_constants(header["constants"], arrays)
    regions = tuple(_region(row, arrays.get(f"region{i}"), chip) for i, row in enumerate(header["regions"]))
    streams = tuple(arrays[f"stream{i}"] for i in range(4))
    lengths = [len(stream) for stream in streams]
    kernels = tuple(_kernel(row, lengths, chip) for row in header["kernels"])
    name, digest, macs, parameters, batch, assumptions = header["model"]
    model = Model(_name(name), _name(digest), count(macs), count(parameters), count(batch), _names(assumptions))
    program = Program(
        _name(header["name"]), chip, (streams[0], streams[1], streams[2], streams[3]), kernels, regions,
        _name(header["dtype"]), model, _names(header["outputs"]),
        read_graph_text(header["before"], constants), read_graph_text(header["after"], constants),
        tuple(map(_pair, header.get("states", []))),
    )  # fmt: skip
    if program.hash != header["hash"]:
        raise BadFile("OC1242", "header", "the program is not the one whose hash the file gives")
    return program, read_graph_text(header["reference"], constants)


def _region(row: list[Any], data: NDArray[np.uint8] | None, chip: Chip) -> Region:
    name, address, n_bytes, kind, shape, dtype = row
    region = Region(
        _name(name), count(address), count(n_bytes), _name(kind), tuple(map(count, shape)), _name(dtype), data
    )
    if address + n_bytes > chip.dram.size_bytes:
        raise BadFile("OC1242", str(name), f"ends at {address + n_bytes}", limit="behind the chip's DRAM")
    if data is not None and len(data) != n_bytes:
        raise BadFile("OC1242", str(name), f"has {len(data)} bytes of {n_bytes}")
    if kind in ("input", "output") and prod(region.shape) * ELEMENT_BYTES[dtype] != n_bytes:
        raise BadFile("OC1242", str(name), f"{dtype}{list(shape)} in {n_bytes} bytes")
    return region


def _kernel(row: list[Any], lengths: list[int], chip: Chip) -> KernelCode:
    name, nodes, starts, ends, macs, local, grid = row
    pairs = [(count(start), count(end)) for start, end in zip(starts, ends, strict=True)]
    if len(pairs) != 4 or any(not s < e <= n for (s, e), n in zip(pairs, lengths, strict=True)):
        raise BadFile("OC1242", str(name), "lies outside of the streams")
    if len(grid) != CORE_AXES or min(map(count, grid)) < 1 or prod(grid) > chip.cores.count:
        raise BadFile("OC1242", str(name), f"runs on a grid of {grid} cores")
    return KernelCode(_name(name), _names(nodes), tuple(starts), tuple(ends), count(macs), count(local), tuple(grid))


def _pair(value: Any) -> tuple[str, str]:
    given, made = _names(value)
    return given, made


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(map(_name, cast("list[object]", values)))
