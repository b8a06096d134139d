"""Inputs and samples: read from .npz and .npy files, or random.

In:       a path, and what a network or a program takes: `Wanted`, name -> `Taken`.
Out:      one array per input.
Promises: arrays of Python objects are refused; so are wrong names and shapes, with those that are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import BadFile, OnchipError, UnknownName, UsageError, did_you_mean

if TYPE_CHECKING:
    from onchip.ir.graph import Graph
    from onchip.ir.program import Program

Arrays = dict[str, NDArray[Any]]
FLOATS = ("f32", "tf32", "f16", "bf16", "fp8")  # arrays of narrow floats are float32
NUMPY = {
    **dict.fromkeys(FLOATS, np.float32),
    "f16": np.float16,
    "i8": np.int8,
    "u8": np.uint8,
    "i32": np.int32,
    "i64": np.int64,
}
NEXT = "See onchip inspect MODEL"
MAX_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Taken:
    """What an input takes; random integers are drawn below `below`, which is 2 for flags and masks."""

    shape: tuple[int | str, ...]
    dtype: str
    below: int = 2


Wanted = Mapping[str, Taken]


def wanted_by(graph: Graph) -> Wanted:
    """Return what a graph takes."""
    rows: dict[str, int] = {}
    for node in graph.nodes:
        first = graph.tensor(node.inputs[0]).shape[:1] if node.op == "gather" else ()
        if first and isinstance(first[0], int):
            rows[node.inputs[1]] = min(first[0], rows.get(node.inputs[1], first[0]))
    tensors = [graph.tensor(name) for name in graph.inputs]
    return {t.name: Taken(t.shape, t.dtype, rows.get(t.name, 2)) for t in tensors}


def wanted_by_program(program: Program) -> Wanted:
    """Return what a program takes: what its host part reads, and what that leaves to the caller."""
    before = program.host_before
    taken = dict(wanted_by(before)) if before is not None else {}
    made = set(before.outputs) if before is not None else set[str]()
    regions = [region for region in program.regions if region.kind == "input" and region.name not in made]
    return taken | {region.name: Taken(region.shape, region.dtype) for region in regions}


def random_arrays(wanted: Wanted, seed: int) -> Arrays:
    """Return normal numbers for float inputs, rows of its table for an index; shapes have to be numbers."""
    random = np.random.default_rng(seed)
    made: Arrays = {}
    for name, taken in wanted.items():
        shape, dtype = _numbers(name, taken.shape), taken.dtype
        if dtype in FLOATS:
            made[name] = random.standard_normal(shape).astype(NUMPY[dtype])
        elif dtype == "bool":
            made[name] = np.ones(shape, np.bool_)
        else:
            made[name] = random.integers(0, taken.below, shape).astype(NUMPY.get(dtype, np.int32))
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
    return {name: _as_dtype(found[name], taken.dtype) for name, taken in wanted.items()}


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
    for name, taken in wanted.items():
        shape, got = taken.shape, arrays[name].shape
        fits = len(shape) == len(got) and all(
            isinstance(want, str) or want == have or (any_batch and axis == 0)
            for axis, (want, have) in enumerate(zip(shape, got, strict=True))
        )
        if not fits:
            fact, limit = f"the array has shape {list(got)}", f"The network takes {list(shape)}"
            raise BadFile("OC1421", name, fact, limit=limit, next=NEXT)
