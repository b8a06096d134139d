"""Inputs and samples: read from .npz and .npy files, or random.

In:       a path, and what a network or a program takes: `Wanted`, name -> (shape, dtype).
Out:      one array per input.
Promises: arrays of Python objects are refused; so are wrong names and shapes, with those that are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import BadFile, OnchipError, UnknownName, UsageError, did_you_mean

if TYPE_CHECKING:
    from onchip.ir.graph import Graph
    from onchip.ir.program import Program

Arrays = dict[str, NDArray[Any]]
Wanted = Mapping[str, tuple[tuple[int | str, ...], str]]
NUMPY = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "u8": np.uint8, "i32": np.int32, "i64": np.int64}
NEXT = "See onchip inspect MODEL"
MAX_BYTES = 4 << 30


def wanted_by(graph: Graph) -> Wanted:
    """Return what a graph takes."""
    return {name: (graph.tensor(name).shape, graph.tensor(name).dtype) for name in graph.inputs}


def wanted_by_program(program: Program) -> Wanted:
    """Return what a program takes: what its host part reads, and what that leaves to the caller."""
    before = program.host_before
    taken = dict(wanted_by(before)) if before is not None else {}
    made = set(before.outputs) if before is not None else set[str]()
    regions = [region for region in program.regions if region.kind == "input" and region.name not in made]
    return taken | {region.name: (region.shape, region.dtype) for region in regions}


def random_arrays(wanted: Wanted, seed: int) -> Arrays:
    """Return normal numbers for float inputs, small integers for integer ones; shapes have to be numbers."""
    random = np.random.default_rng(seed)
    made: Arrays = {}
    for name, (dims, dtype) in wanted.items():
        shape = _numbers(name, dims)
        if dtype in ("f32", "f16"):
            made[name] = random.standard_normal(shape).astype(NUMPY[dtype])
        elif dtype == "bool":
            made[name] = np.ones(shape, np.bool_)
        else:
            made[name] = random.integers(0, 100, shape).astype(NUMPY.get(dtype, np.int32))
    return made


def _numbers(name: str, dims: tuple[int | str, ...]) -> tuple[int, ...]:
    for dim in dims:
        if isinstance(dim, str):
            raise UsageError(
                "OC1225", name, f"dimension '{dim}' has no number yet", next="Bind it: -b, --seq or --shape"
            )
    return tuple(map(int, dims))


def read_arrays(path: Path, wanted: Wanted) -> Arrays:
    """Read one array per input. Raises BadFile, UnknownName."""
    found = _load(path, wanted)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BadFile("OC1421", str(path), f"has no array '{missing[0]}'", limit=f"It has {', '.join(found) or 'none'}")
    return {name: _as_dtype(found[name], dtype) for name, (_, dtype) in wanted.items()}


def _load(path: Path, wanted: Wanted) -> Arrays:
    try:
        with path.open("rb") as file:
            if not file.read(6).startswith((b"PK", b"\x93NUMPY")):
                raise BadFile("OC1421", str(path), "is no .npz or .npy file", next="Write it with numpy.savez")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {next(iter(wanted), ""): loaded}
        with loaded:
            _check_members(loaded, path, wanted)
            return {name: loaded[name] for name in loaded.files}
    except OnchipError:
        raise
    except OSError as error:
        raise BadFile("OC1421", str(path), f"cannot be read: {error.strerror or error}") from None
    except Exception as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        fact = "holds Python objects" if "allow_pickle" in text else f"cannot be read: {text}"
        raise BadFile("OC1421", str(path), fact, next="Write arrays of numbers with numpy.savez") from None


def _check_members(loaded: Any, path: Path, wanted: Wanted) -> None:
    """Refuse unknown names, and what would fill the memory, before an array is unpacked."""
    for name in loaded.files:
        if name not in wanted:
            hint = did_you_mean(name, wanted) or f"Inputs: {', '.join(wanted)}"
            raise UnknownName("OC1421", str(path), f"the network has no input '{name[:80]}'", next=hint)
    total = sum(info.file_size for info in loaded.zip.infolist())
    if total > MAX_BYTES:
        raise BadFile("OC1421", str(path), f"unpacks to {total} bytes", limit=f"At most {MAX_BYTES} are read")


def _as_dtype(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    wanted = NUMPY.get(dtype)
    return array.astype(wanted) if wanted is not None and array.dtype != wanted else array


def check_shapes(wanted: Wanted, arrays: Arrays, *, any_batch: bool = False) -> None:
    """Refuse arrays of other shapes; `any_batch` lets the first dimension be any. Raises BadFile."""
    for name, (shape, _) in wanted.items():
        got = arrays[name].shape
        fits = len(shape) == len(got) and all(
            isinstance(want, str) or want == have or (any_batch and axis == 0)
            for axis, (want, have) in enumerate(zip(shape, got, strict=True))
        )
        if not fits:
            fact, limit = f"the array has shape {list(got)}", f"The network takes {list(shape)}"
            raise BadFile("OC1421", name, fact, limit=limit, next=NEXT)
