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

import errno
import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import BadFile, OnchipError
from onchip.files import replacing
from onchip.ir.graph import Constant, Graph
from onchip.ir.program import KernelCode, Model, Program, Region
from onchip.isa import RECORD

VERSION = 1
MAX_BYTES = 8 << 30
MAX_ARRAYS = 100_000
NAME = re.compile(r"(header|stream[0-3]|(region|constant)\d{1,6})\.npy", re.ASCII)
ELEMENT_BYTES = {
    "i8": 1, "u8": 1, "bool": 1, "i16": 2, "f16": 2, "bf16": 2, "fp8": 1, "i32": 4, "f32": 4,
    "tf32": 4, "i64": 8,
}  # fmt: skip
AGAIN = "Write it again with onchip compile -o"
Arrays = dict[str, NDArray[Any]]


def save_program(program: Program, path: str | Path, *, reference: Graph | None = None) -> None:
    """Write a program; an interrupted write leaves no file. Raises UsageError where it cannot be written."""
    graphs = [graph for graph in (program.host_before, program.host_after, reference) if graph is not None]
    constants = {t.constant.sha256: t.constant.data for g in graphs for t in g.tensors if t.constant is not None}
    known = {sha: data for sha, data in sorted(constants.items()) if data is not None}
    arrays: Arrays = {f"stream{i}": np.asarray(s) for i, s in enumerate(program.streams)}
    arrays |= {f"region{i}": r.data for i, r in enumerate(program.regions) if r.data is not None}
    arrays |= {f"constant{i}": np.frombuffer(data.tobytes(), np.uint8) for i, data in enumerate(known.values())}
    header = _header(program) | {
        "reference": str(reference) if reference is not None else "",
        "constants": [[sha, data.dtype.str, list(data.shape)] for sha, data in known.items()],
    }
    arrays["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        cast("Any", np.savez)(file, **arrays)


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
        "before": str(program.host_before) if program.host_before else "",
        "after": str(program.host_after) if program.host_after else "",
    }


def load_program(path: str | Path) -> Program:
    """Read a program. Raises BadFile for anything that is not one."""
    return load_with_reference(path)[0]


def load_with_reference(path: str | Path) -> tuple[Program, Graph | None]:
    """Read a program and the integer graph it was made from, where the file has it. Raises BadFile."""
    try:
        return _build(_read(Path(path)))
    except OSError as error:
        if error.errno == errno.EINVAL:  # the directory names a place before the file's start
            raise BadFile("OC1242", str(path), "is not a program of onchip (bad directory)", next=AGAIN) from None
        raise BadFile("OC1240", str(path), f"cannot be read: {error.strerror or error}") from None
    except BadFile as error:
        if error.code in ("OC1241", "OC1243"):
            raise BadFile(error.code, str(path), error.fact, limit=error.limit, next=AGAIN) from None
        raise BadFile("OC1242", str(path), f"is not a valid program: {error}", next=AGAIN) from None
    except OnchipError as error:
        raise BadFile("OC1242", str(path), f"is not a valid program: {error}", next=AGAIN) from None
    except Exception as error:
        fact = f"is not a program of onchip ({type(error).__name__})"
        raise BadFile("OC1242", str(path), fact, next=AGAIN) from None


def _read(path: Path) -> Arrays:
    """Return the arrays of a file, after looking at what its directory says about them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = min(path.stat().st_size, MAX_BYTES)
        total = sum(info.file_size for info in members)
        if total > size or len(members) > MAX_ARRAYS:
            fact = f"{len(members)} members unpack to {total} bytes"
            raise BadFile("OC1241", "", fact, limit=f"At most {MAX_ARRAYS} members and {size} bytes are read")
        names = [info.filename for info in members]
        if len(set(names)) != len(names) or any(NAME.fullmatch(name) is None for name in names):
            raise BadFile("OC1242", "", "has members that no program has")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in members):
            raise BadFile("OC1241", "", "has a compressed or encrypted member", limit="Programs are stored as they are")
        return {info.filename[:-4]: _array(archive.read(info), info.filename) for info in members}


def _array(data: bytes, name: str) -> NDArray[Any]:
    """Return the array in the bytes of an .npy member: one dimension of bytes or of records, of the length it says."""
    file = BytesIO(data)
    if npy.read_magic(file) not in ((1, 0), (2, 0)):
        raise BadFile("OC1242", name, "an array of another version")
    file.seek(0)
    npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if data[6] == 1 else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    wanted = RECORD if name.startswith("stream") else np.dtype(np.uint8)
    if dtype != wanted or len(shape) != 1 or shape[0] * wanted.itemsize != len(data) - file.tell():
        raise BadFile("OC1242", name, "an array of another layout")
    return np.frombuffer(data, wanted, offset=file.tell()).copy()


def _build(arrays: Arrays) -> tuple[Program, Graph | None]:
    header = json.loads(arrays["header"].tobytes())
    if header["version"] != VERSION:
        raise BadFile("OC1243", "", f"version {header['version']}", limit=f"This onchip reads version {VERSION}")
    chip = Chip.parse(header["chip"], "chip")
    constants = _constants(header["constants"], arrays)
    regions = tuple(_region(row, arrays.get(f"region{i}"), chip) for i, row in enumerate(header["regions"]))
    streams = tuple(arrays[f"stream{i}"] for i in range(4))
    lengths = [len(stream) for stream in streams]
    kernels = tuple(_kernel(row, lengths, chip) for row in header["kernels"])
    name, digest, macs, parameters, batch, assumptions = header["model"]
    model = Model(_name(name), _name(digest), _count(macs), _count(parameters), _count(batch), _names(assumptions))
    program = Program(
        _name(header["name"]), chip, (streams[0], streams[1], streams[2], streams[3]), kernels, regions,
        _name(header["dtype"]), model, _names(header["outputs"]),
        _graph(header["before"], constants), _graph(header["after"], constants),
    )  # fmt: skip
    if program.hash != header["hash"]:
        raise BadFile("OC1242", "header", "the program is not the one whose hash the file gives")
    return program, _graph(header["reference"], constants)


def _constants(rows: list[list[Any]], arrays: Arrays) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for i, (sha, kind, shape) in enumerate(rows):
        dtype = np.dtype(kind)
        if dtype.kind not in "biuf":
            raise BadFile("OC1242", f"constant{i}", "no array of numbers")
        values = arrays[f"constant{i}"].view(dtype).reshape(tuple(map(_count, shape)))
        if hashlib.sha256(values.tobytes()).hexdigest() != sha:
            raise BadFile("OC1242", f"constant{i}", "its values are not those whose hash the file gives")
        values.setflags(write=False)
        found[sha] = values
    return found


def _graph(text: str, constants: Mapping[str, NDArray[Any]]) -> Graph | None:
    if not text:
        return None
    graph = Graph.parse(text)
    tensors = [
        replace(t, constant=Constant(t.constant.sha256, constants.get(t.constant.sha256))) if t.constant else t
        for t in graph.tensors
    ]
    return Graph(graph.name, tuple(tensors), graph.nodes, graph.inputs, graph.outputs, graph.states)


def _region(row: list[Any], data: NDArray[np.uint8] | None, chip: Chip) -> Region:
    name, address, n_bytes, kind, shape, dtype = row
    region = Region(
        _name(name), _count(address), _count(n_bytes), _name(kind), tuple(map(_count, shape)), _name(dtype), data
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
    pairs = [(_count(start), _count(end)) for start, end in zip(starts, ends, strict=True)]
    if len(pairs) != 4 or any(not s < e <= n for (s, e), n in zip(pairs, lengths, strict=True)):
        raise BadFile("OC1242", str(name), "lies outside of the streams")
    if len(grid) != 2 or min(map(_count, grid)) < 1 or prod(grid) > chip.cores.count:
        raise BadFile("OC1242", str(name), f"runs on a grid of {grid} cores")
    return KernelCode(_name(name), _names(nodes), tuple(starts), tuple(ends), _count(macs), _count(local), tuple(grid))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise TypeError(value)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(values)
    return tuple(map(_name, cast("list[object]", values)))
