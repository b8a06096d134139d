"""Nouns as .npz files without pickle: what program files and graph files share.

In:       arrays of bytes and records by name, and a `Form` that says which members a file of its kind has.
Out:      a file, whole or absent; or its arrays, of which nothing was trusted.
Promises: members are stored, not compressed, so that a file unpacks to no more than its own size; names, dtypes and
          lengths are compared before an array is made, checksums of constants before a graph gets them. Whatever is
          wrong is a BadFile, never another exception.
"""

from __future__ import annotations

import errno
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onchip.errors import BadFile, OnchipError
from onchip.files import replacing
from onchip.ir.graph import NUMPY_DTYPES, Constant, Graph, Tensor
from onchip.ops.types import FLOAT_DTYPES

MAX_BYTES = 8 << 30
MAX_ARRAYS = 100_000
Arrays = dict[str, NDArray[Any]]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file: its noun, how one is written, the names of its members, and the dtypes of those of records."""

    noun: str
    again: str
    members: re.Pattern[str]
    records: Mapping[str, np.dtype[Any]]


def save_arrays(path: str | Path, arrays: Arrays) -> None:
    """Write the arrays; an interrupted write leaves no file. Raises UsageError where it cannot be written."""
    with replacing(path) as beside, beside.open("wb") as file:
        cast("Any", np.savez)(file, **arrays)


def load_arrays(path: str | Path, form: Form, build: Callable[[Arrays], Made]) -> Made:
    """Read a file of that form and build what it holds. Raises BadFile for anything that is not one."""
    try:
        return build(_read(Path(path), form))
    except OSError as error:
        if error.errno == errno.EINVAL:  # the directory names a place before the file's start
            fact = f"is not a {form.noun} of onchip (bad directory)"
            raise BadFile("OC1242", str(path), fact, next=form.again) from None
        raise BadFile("OC1240", str(path), f"cannot be read: {error.strerror or error}") from None
    except BadFile as error:
        if error.code in ("OC1241", "OC1243"):
            raise BadFile(error.code, str(path), error.fact, limit=error.limit, next=form.again) from None
        raise BadFile("OC1242", str(path), f"is not a valid {form.noun}: {error}", next=form.again) from None
    except OnchipError as error:
        raise BadFile("OC1242", str(path), f"is not a valid {form.noun}: {error}", next=form.again) from None
    except Exception as error:
        fact = f"is not a {form.noun} of onchip ({type(error).__name__})"
        raise BadFile("OC1242", str(path), fact, next=form.again) from None


def _read(path: Path, form: Form) -> Arrays:
    """Return the arrays of a file, after looking at what its directory says about them."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = min(path.stat().st_size, MAX_BYTES)
        total = sum(info.file_size for info in members)
        if total > size or len(members) > MAX_ARRAYS:
            fact = f"{len(members)} members unpack to {total} bytes"
            raise BadFile("OC1241", "", fact, limit=f"At most {MAX_ARRAYS} members and {size} bytes are read")
        names = [info.filename for info in members]
        if len(set(names)) != len(names) or any(form.members.fullmatch(name) is None for name in names):
            raise BadFile("OC1242", "", f"has members that no {form.noun} has")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in members):
            limit = f"{form.noun.capitalize()}s are stored as they are"
            raise BadFile("OC1241", "", "has a compressed or encrypted member", limit=limit)
        return {info.filename[:-4]: _array(archive.read(info), info.filename, form) for info in members}


def _array(data: bytes, name: str, form: Form) -> NDArray[Any]:
    """Return the array in the bytes of an .npy member: one dimension of bytes or of records, of the length it says."""
    file = BytesIO(data)
    if npy.read_magic(file) not in ((1, 0), (2, 0)):
        raise BadFile("OC1242", name, "an array of another version")
    file.seek(0)
    npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if data[6] == 1 else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    wanted = next((kind for prefix, kind in form.records.items() if name.startswith(prefix)), np.dtype(np.uint8))
    if dtype != wanted or len(shape) != 1 or shape[0] * wanted.itemsize != len(data) - file.tell():
        raise BadFile("OC1242", name, "an array of another layout")
    return np.frombuffer(data, wanted, offset=file.tell()).copy()


def constants_of(graphs: Iterable[Graph]) -> tuple[Arrays, list[list[Any]]]:
    """Return the known constants of graphs as arrays `constant0`.. and rows of sha256, dtype and shape."""
    constants = {t.constant.sha256: t.constant.data for g in graphs for t in g.tensors if t.constant is not None}
    known = {sha: data for sha, data in sorted(constants.items()) if data is not None}
    arrays: Arrays = {f"constant{i}": np.frombuffer(data.tobytes(), np.uint8) for i, data in enumerate(known.values())}
    return arrays, [[sha, data.dtype.str, list(data.shape)] for sha, data in known.items()]


def read_constants(rows: list[list[Any]], arrays: Arrays) -> Arrays:
    """Return the constants by their sha256, each compared with it. Raises BadFile."""
    found: Arrays = {}
    for i, (sha, kind, shape) in enumerate(rows):
        dtype = np.dtype(kind)
        if dtype.kind not in "biuf":
            raise BadFile("OC1242", f"constant{i}", "no array of numbers")
        values = arrays[f"constant{i}"].view(dtype).reshape(tuple(map(count, shape)))
        if hashlib.sha256(values.tobytes()).hexdigest() != sha:
            raise BadFile("OC1242", f"constant{i}", "its values are not those whose hash the file gives")
        values.setflags(write=False)
        found[sha] = values
    return found


def read_graph_text(text: str, constants: Mapping[str, NDArray[Any]]) -> Graph | None:
    """Return the graph of a canonical text with its constants, None for no text. Raises BadFile."""
    if not text:
        return None
    graph = Graph.parse(text)
    tensors = tuple(_with_values(t, constants) for t in graph.tensors)
    return Graph(graph.name, tensors, graph.nodes, graph.inputs, graph.outputs, graph.states)


def _with_values(tensor: Tensor, constants: Mapping[str, NDArray[Any]]) -> Tensor:
    if tensor.constant is None:
        return tensor
    data = constants.get(tensor.constant.sha256)
    if data is not None:
        own = NUMPY_DTYPES.get(data.dtype.name, "")
        if own != tensor.dtype and not (own in FLOAT_DTYPES and tensor.dtype in FLOAT_DTYPES):
            raise BadFile("OC1242", tensor.name, f"a constant of {tensor.dtype} holds {data.dtype}")
    return replace(tensor, constant=Constant(tensor.constant.sha256, data))


def count(value: Any) -> int:
    """Return a number of things. Raises TypeError for what is none."""
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise TypeError(value)
    return value
