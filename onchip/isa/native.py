"""Hot loops as kept machine code: compiled by numba once, loaded later without numba.

In: the module and name of a plain function on arrays and integers, and its parameters: `i` an integer, `q2` a matrix of
int64 (KINDS). Out: a callable that takes them and returns an integer. Loading numba and its registries takes 0.4 s of a
process and more where scipy is installed, loading an object file 0.02 s: `estimate` as a process needs only the latter.
Promises: an object is used only for equal sources (all of the module's folder and durations), compiler and processor,
and only if its bytes are the ones that were written; else it is compiled anew. Arrays are checked for type and order.
Does not: check sizes, or run functions that allocate, raise or call Python: `_checked` refuses what they would need.
Kept in NUMBA_CACHE_DIR, beside the source, or in the user's cache, the first that can be written.
"""

# pyright: basic

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numpy as np

KINDS = {"q": (np.int64,), "d": (np.float64,), "b": (np.uint8, np.bool_)}
PACKAGE = Path(__file__).parents[1]
OUTSIDE = {"memset", "memcpy", "memmove"}  # what the C library gives; anything else would be numba's
OPTIONS = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}


@functools.cache
def native(module: str, name: str, parameters: str) -> Callable[..., int]:
    """Return a function of `onchip.<module>` as machine code."""
    key = _key(module, name, parameters)
    kept = next((made for folder in _folders(module) if (made := _read(folder / f"{key}.o"))), None)
    if kept is None:
        kept = _compile(module, name, parameters)
        for folder in _folders(module):
            if _write(folder / f"{key}.o", kept):
                break
    return _callable(kept, parameters)


def _callable(kept: bytes, parameters: str) -> Callable[..., int]:
    symbol, _, code = kept.partition(b"\n")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    kinds = parameters.split()
    types = [kind for parameter in kinds for kind in _types(parameter)]
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)(
        engine.get_function_address(symbol.decode())
    )

    def run(*arguments: int | np.ndarray, _alive: object = engine) -> int:
        values = [v for kind, argument in zip(kinds, arguments, strict=True) for v in _values(kind, argument)]
        result, problem = ctypes.c_int64(), ctypes.c_void_p()  # numba's convention: places for what comes back
        status = call(ctypes.addressof(result), ctypes.addressof(problem), *values)
        assert status == 0, status
        return result.value

    return run


def _types(parameter: str) -> list[type]:
    """Return what a parameter is passed as: an array is two owners, its number of elements, bytes of one, and so on."""
    if parameter == "i":
        return [ctypes.c_int64]
    owners, numbers = [ctypes.c_void_p] * 2, [ctypes.c_int64] * 2
    return [*owners, *numbers, ctypes.c_void_p, *[ctypes.c_int64] * (2 * int(parameter[1]))]


def _values(parameter: str, argument: int | np.ndarray) -> tuple[int | None, ...]:
    if parameter == "i":
        return (int(argument),)
    assert isinstance(argument, np.ndarray) and argument.dtype in KINDS[parameter[0]] and argument.flags.c_contiguous
    assert argument.ndim == int(parameter[1])
    numbers = argument.size, argument.itemsize, argument.ctypes.data
    return (None, None, *numbers, *argument.shape, *argument.strides)


def _target() -> llvm.TargetMachine:
    """Return a new description of this processor: an engine keeps the one that it was made with."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    options = {"opt": 3, "reloc": "default", "codemodel": "jitdefault", "jit": True}
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, **options)


# --- compiling --------------------------------------------------------------------------------------------------------
def _compile(module: str, name: str, parameters: str) -> bytes:
    """Return the symbol's name, a line break, and the object file."""
    from numba import njit, types

    elements = {"q": types.int64, "d": types.float64, "b": types.uint8}
    given = [types.int64 if p == "i" else types.Array(elements[p[0]], int(p[1]), "C") for p in parameters.split()]
    function = getattr(importlib.import_module(f"onchip.{module}"), name)
    compiled = njit(types.int64(*given), **OPTIONS)(function)
    (made,) = compiled.overloads.values()
    text = _checked(llvm.parse_assembly(made.library.get_llvm_str()))
    return made.fndesc.llvm_func_name.encode() + b"\n" + _target().emit_object(text)


def _checked(module: llvm.ModuleRef) -> llvm.ModuleRef:
    missing = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    assert set(missing) <= OUTSIDE, missing
    return module


# --- keeping ----------------------------------------------------------------------------------------------------------
def _key(module: str, name: str, parameters: str) -> str:
    folder = (PACKAGE / Path(*module.split("."))).parent
    found = hashlib.sha256(f"{module} {name} {parameters} {llvmlite.__version__} {np.dtype(np.intp)}".encode())
    found.update(f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}".encode())
    for path in (*sorted(folder.glob("*.py")), PACKAGE / "isa" / "timing.py", Path(__file__)):
        found.update(path.name.encode() + path.read_bytes())
    return f"{module}.{name}-{found.hexdigest()[:24]}"


def _folders(module: str) -> Iterator[Path]:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        yield Path(chosen)
        return
    yield (PACKAGE / Path(*module.split("."))).parent / "__pycache__"
    from platformdirs import user_cache_path

    yield user_cache_path("onchip")


def _read(path: Path) -> bytes | None:
    """Return what was kept, if it is there and whole."""
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
    return None


def _write(path: Path, content: bytes) -> bool:
    """Keep it whole or not at all. Returns whether it could be written."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(file.name).replace(path)
        return True
    return False
