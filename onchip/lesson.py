"""The lesson "a systolic array, cycle by cycle": small products on a chip's matrix unit, timed by the simulator.

In:       a chip, and the sizes of a product.
Out:      the JSON object of the page's panel `lesson`, described at `systolic`.
Promises: every start and every total comes from a trace of a program of weight loads and products; for the product
          that is shown first the cells are played as well, and their sums and cycles are those of NumPy and the trace.
          A part of the pipeline beside `explain.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.errors import InternalError, NotSupported, UsageError
from onchip.ir.program import KernelCode, Model, Program
from onchip.ir.report import Json
from onchip.ir.trace import Trace
from onchip.isa import BARRIER, MM, WLD, Affine, Instruction
from onchip.isa.fields import MATRIX, STREAMS, Record, pack
from onchip.isa.memory import TYPE_BYTES, TYPE_NAMES
from onchip.simulator.clock import simulate_cycles
from onchip.simulator.systolic import Array, Pass, array_of, play_cells

Size = tuple[int, int, int]
MOST_CELLS = 16  # rows, and columns of all units: what a page can draw with numbers in it
MOST = 32  # of m, k and n
ELEMENT_TYPES = {"int8": "i8", "bf16": "bf16", "fp16": "f16", "fp32": "f32", "tf32": "tf32", "fp8": "fp8"}
ROWS = (1, 2, 4, 6, 8, 12, 16)
WAYS = {  # of one array: what makes it so
    "weight_stationary": ("weight_stationary", "hidden"),
    "weight_stationary_serial": ("weight_stationary", "serial"),
    "output_stationary": ("output_stationary", "hidden"),
}


def systolic(chip: Chip, *, m: int = 6, k: int = 4, n: int = 4) -> Json:
    """Return the lesson's data for a chip with a small systolic array.

    `array` has rows, columns and units; `a` and `b` the operands, cut to the size that is shown; `first` the way and
    size to begin with; `ways` for each way of WAYS the ports' rates in bytes a cycle as [numerator, denominator] and,
    by size [m, k, n] in the order of `sizes`, [cycles, [load, start, k_begin, n_begin] of each pass].

    Raises NotSupported where the chip has no such array, or one of more than MOST_CELLS rows or columns, and UsageError
    for a size that is none.
    """
    dtype = chip.default_dtype
    kind = TYPE_NAMES.index(ELEMENT_TYPES[dtype]) if dtype in ELEMENT_TYPES else 0
    array = _checked(chip, array_of(chip, dtype, TYPE_BYTES[kind]))
    for name, value in (("--m", m), ("--k", k), ("--n", n)):
        if not 1 <= value <= MOST:
            fact, limit = f"{value} is no size of this lesson", f"From 1 to {MOST}"
            raise UsageError("OC1008", name, fact, limit=limit, next=f"onchip learn systolic {name} 4")
    choices = (_with(ROWS, m), _with(_near(array.rows), k), _with(_near(array.wide), n))
    sizes = [(i, j, x) for i in choices[0] for j in choices[1] for x in choices[2]]
    a, b = operands(*(max(axis) for axis in choices))
    ways: Json = {}
    for name, (dataflow, load) in WAYS.items():
        changed = chip.replace({"matrix.dataflow": dataflow, "matrix.weight_load": load})
        own = array_of(changed, dtype, array.element_bytes)
        runs = times(changed, dtype, own, kind, sizes)
        at = sizes.index((m, k, n))
        check_cells(own, runs[at], a[:m, :k], b[:k, :n])
        shown = [[cycles, [[p.load, p.start, p.k_begin, p.n_begin] for p in passes]] for cycles, passes in runs]
        ways[name] = {"read": list(own.read), "weight_read": list(own.weight_read), "runs": shown}
    first = next(name for name, way in WAYS.items() if way == (chip.matrix.dataflow, chip.matrix.weight_load))
    return {
        "chip": {"name": chip.name, "hash": chip.hash, "clock_hz": chip.clock_hz},
        "dtype": dtype,
        "array": {"rows": array.rows, "columns": array.columns, "units": array.units, "bytes": array.element_bytes},
        "first": {"way": first, "size": [m, k, n]},
        "sizes": [list(axis) for axis in choices],
        "a": a.tolist(),
        "b": b.tolist(),
        "ways": ways,
    }


def operands(m: int, k: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return small whole numbers [m, k] and [k, n], none of them 0: every product is seen."""
    rng = np.random.default_rng(0)
    digits = np.array([-3, -2, -1, 1, 2, 3, 4, 5])
    return digits[rng.integers(0, len(digits), (m, k))], digits[rng.integers(0, len(digits), (k, n))]


def _checked(chip: Chip, array: Array) -> Array:
    if not array.rows:
        fact, limit = f"its matrix unit is {chip.matrix.dataflow}", "The lesson shows a systolic array"
        raise NotSupported("OC1347", chip.name, fact, limit=limit, next="Try --chip tiny-npu-4")
    if max(array.rows, array.wide) > MOST_CELLS:
        fact, limit = f"its array has {array.rows} x {array.wide} cells", f"A page shows {MOST_CELLS} x {MOST_CELLS}"
        raise NotSupported("OC1347", chip.name, fact, limit=limit, next="Try --chip tiny-npu-4, or edge-npu-8")
    return array


def _near(cells: int) -> tuple[int, ...]:
    """Return sizes that leave cells of an array empty, fill it, and need two passes."""
    return tuple(sorted({max(1, cells // 2), cells, cells + max(1, cells // 2), 2 * cells}))


def _with(choices: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(sorted({*choices, size}))


# --- the program and its trace ----------------------------------------------------------------------------------------
def times(chip: Chip, dtype: str, array: Array, kind: int, sizes: Sequence[Size]) -> list[tuple[int, tuple[Pass, ...]]]:
    """Return for each product the cycles of its trace, and its passes with the cycles in which they start."""
    parts = [list(_parts(array, *size)) for size in sizes]
    codes = [_code(size, passes, kind) for size, passes in zip(sizes, parts, strict=True)]
    trace = simulate_cycles(_program(chip, dtype, codes, sizes), events=True)
    return [_timed(trace, number, passes) for number, passes in enumerate(parts)]


def _parts(array: Array, m: int, k: int, n: int) -> Iterator[Pass]:
    """Yield what each weight load and product does; an output-stationary array does all in one."""
    high, wide = (k, n) if array.is_output_stationary else (array.rows, array.wide)
    for j in range(0, n, wide):
        for i in range(0, k, high):
            yield Pass(0, 0, m, min(high, k - i), min(wide, n - j), i, j)


def _code(size: Size, passes: Sequence[Pass], kind: int) -> list[Instruction]:
    """Return the matrix stream: a [m, k] at 0 of local memory, b [k, n] behind it, sums [m, n] at 0."""
    m, k, n = size
    each = TYPE_BYTES[kind]
    code: list[Instruction] = []
    for p in passes:
        at = m * k * each + (p.k_begin * n + p.n_begin) * each
        code.append(WLD(k=p.k, n=p.n, pitch=n * each, type=kind, source=Affine(at)))
        code.append(
            MM(
                sub=int(p.k_begin > 0), rows2=m, k=p.k, n=p.n, run_length=k, source2=k * each, sum2=n, type=kind,
                sums=Affine(p.n_begin), k_begin=Affine(p.k_begin),
            )
        )  # fmt: skip
    return code


def _program(chip: Chip, dtype: str, codes: Sequence[Sequence[Instruction]], sizes: Sequence[Size]) -> Program:
    """Return one kernel a product: a barrier in each stream, and behind it what the matrix unit does."""
    barrier = BARRIER()
    streams: list[list[Instruction]] = [[] for _ in STREAMS]
    kernels: list[KernelCode] = []
    for (m, k, n), code in zip(sizes, codes, strict=True):
        starts = [len(stream) for stream in streams]
        for number, stream in enumerate(streams):
            stream += [barrier, *(code if number == MATRIX else ())]
        ends = [len(stream) for stream in streams]
        name = f"{m}x{k}x{n}"
        kernels.append(KernelCode(name, (name,), _four(starts), _four(ends), m * k * n))
    records: tuple[Record, Record, Record, Record] = _four([pack([x.parts() for x in stream]) for stream in streams])
    macs = sum(m * k * n for m, k, n in sizes)
    return Program("lesson", chip, records, tuple(kernels), (), dtype, Model("lesson", "", macs, 0))


def _four(items: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    return items[0], items[1], items[2], items[3]


def _timed(trace: Trace, number: int, passes: Sequence[Pass]) -> tuple[int, tuple[Pass, ...]]:
    """Return a kernel's cycles behind its barrier, and its passes with their starts."""
    kernel = trace.kernels[number]
    barrier = int(dict(kernel.waterfall)["launch"])
    begin = kernel.start + barrier
    starts = [int(start) - begin for start in trace.events["start"][trace.events["kernel"] == number]]
    pairs = zip(starts[::2], starts[1::2], strict=True)  # WLD, MM
    timed = tuple(
        Pass(load, start, p.m, p.k, p.n, p.k_begin, p.n_begin)
        for (load, start), p in zip(pairs, passes, strict=True)
    )  # fmt: skip
    return kernel.cycles - barrier, timed


def check_cells(array: Array, run: tuple[int, Sequence[Pass]], a: NDArray[Any], b: NDArray[Any]) -> None:
    """Play the cells, and raise InternalError where they take other cycles than the trace, or find other sums."""
    played = play_cells(array, run[1], a, b)
    if played.cycles != run[0] or not np.array_equal(played.sums, a @ b):
        fact = f"cells need {played.cycles} cycles, the trace {run[0]}, or sums differ"
        raise InternalError("OC9060", "lesson", fact)
