"""What a float program's values have to be: the same bits on both machines, and near the float reference.

In: a float Program, its Graph in the program's dtype, inputs. Out: the outputs, checked. `UNIT` is the largest relative
error of one rounding of a dtype; tolerances are counted in it, relative to the largest magnitude (docs/accuracy.md).
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip import pipeline
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ir.program import Program
from onchip.ir.trace import RunTrace
from onchip.isa.floats import DTYPES, PROGRAM_TYPES, TF32
from onchip.numerics import round_float
from tests.naive_machine import run_program

UNIT = {"bf16": 2.0**-8, "fp16": 2.0**-11, "tf32": 2.0**-11, "fp32": 2.0**-24, "fp8": 2.0**-4}
Arrays = dict[str, NDArray[Any]]


def rounded(inputs: Arrays, dtype: str) -> Arrays:
    """Return inputs that the dtype holds exactly: f32 words of a tf32 program would keep more than tf32 does."""
    kind = PROGRAM_TYPES[dtype]
    name = "tf32" if kind == TF32 else DTYPES[kind]
    return {n: round_float(x, name) if x.dtype.kind == "f" else x for n, x in inputs.items()}


def run_both(program: Program, inputs: Arrays, rng: Random) -> Arrays:
    """Return the outputs of the simulator, which are those of the naive machine bit for bit."""
    trace = pipeline.simulate(program, inputs)
    assert isinstance(trace, RunTrace)
    naive = run_program(program, inputs, rng)
    for name, value in trace.outputs.items():
        np.testing.assert_array_equal(value.view(np.uint8), naive[name].view(np.uint8), err_msg=name)
    return dict(trace.outputs)


def assert_near(found: Arrays, made: Graph, inputs: Arrays, dtype: str, units: float, largest: float = 0.0) -> None:
    """Compare with the float reference: so many units of the largest magnitude, at least that of the outputs."""
    for name, wanted in evaluate(made, inputs).items():
        top = max(largest, float(np.abs(wanted).max(initial=0)))
        error = float(np.abs(found[name].astype(np.float64) - wanted).max(initial=0))
        assert error <= units * UNIT[dtype] * top, f"{name}: {error:g} is {error / UNIT[dtype] / top:.1f} units"
