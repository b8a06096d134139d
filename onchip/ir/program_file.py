"""A Program as one .npz file, without pickle: streams, constants, and a JSON header.

In: a Program, or a path. Out: the file, written beside its place and renamed, or the Program, verified by its
constructor.
Arrays: `stream0`..`stream3` (records), `region0`.. (bytes of constants), `header` (UTF-8 JSON: chip as TOML text,
kernels, regions, model, the host's parts as graph text). A file that unpacks to more than MAX_BYTES is refused before
it is read.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import BadFile
from onchip.ir.graph import Graph
from onchip.ir.program import KernelCode, Model, Program, Region
from onchip.isa import RECORD

VERSION = 1
MAX_BYTES = 8 << 30
MAX_ARRAYS = 100_000


def save_program(program: Program, path: str | Path) -> None:
    """Write a program; an interrupted write leaves no file. Raises BadFile where the folder cannot be written."""
    arrays: dict[str, NDArray[Any]] = {f"stream{i}": np.asarray(s) for i, s in enumerate(program.streams)}
    arrays |= {f"region{i}": r.data for i, r in enumerate(program.regions) if r.data is not None}
    arrays["header"] = np.frombuffer(json.dumps(_header(program), sort_keys=True).encode(), np.uint8)
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    except OSError as error:
        raise BadFile("OC1240", str(path), f"cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            cast("Any", np.savez)(file, **arrays)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _header(program: Program) -> dict[str, Any]:
    m = program.model
    return {
        "version": VERSION,
        "name": program.name,
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
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > MAX_BYTES or len(archive.infolist()) > MAX_ARRAYS:
                raise BadFile("OC1241", str(path), f"unpacks to {total} bytes", limit=f"at most {MAX_BYTES}")
        with np.load(path, allow_pickle=False) as arrays:
            return _build(arrays)
    except BadFile:
        raise
    except OSError as error:
        raise BadFile("OC1240", str(path), f"cannot be read: {error.strerror or error}") from None
    except Exception as error:
        fact = f"is not a program of onchip ({type(error).__name__})"
        raise BadFile("OC1242", str(path), fact, next="Write one with onchip compile -o") from None


def _build(arrays: Any) -> Program:
    header = json.loads(arrays["header"].tobytes())
    if header["version"] != VERSION:
        raise BadFile("OC1243", "header", f"version {header['version']}", limit=f"this onchip reads version {VERSION}")
    streams = tuple(np.asarray(arrays[f"stream{i}"]) for i in range(4))
    if any(s.dtype != RECORD for s in streams):
        raise BadFile("OC1242", "stream", "records of another layout")
    regions = tuple(
        Region(
            name, address, n_bytes, kind, tuple(shape), dtype, arrays[f"region{i}"] if f"region{i}" in arrays else None
        )
        for i, (name, address, n_bytes, kind, shape, dtype) in enumerate(header["regions"])
    )
    kernels = tuple(
        KernelCode(name, tuple(nodes), tuple(starts), tuple(ends), macs, local, tuple(grid))
        for name, nodes, starts, ends, macs, local, grid in header["kernels"]
    )
    *facts, assumptions = header["model"]
    return Program(
        header["name"], Chip.parse(header["chip"], "program"), (streams[0], streams[1], streams[2], streams[3]),
        kernels, regions, header["dtype"], Model(*facts, tuple(assumptions)), tuple(header["outputs"]),
        Graph.parse(header["before"]) if header["before"] else None, Graph.parse(header["after"]) if header["after"]
        else None,
    )  # fmt: skip
