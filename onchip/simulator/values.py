"""Values: the program's bytes through the machine, bit for bit, of integer and of float programs.

In: a Program with its constants, and the graph's inputs as the user has them (floats). Out: the graph's outputs. What
the host does at the edges (quantize, layout) runs by the reference; everything between runs instruction by
instruction. Multi-core programs run core by core: kernels write disjoint tiles, so the order of cores does not
matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import InternalError, UsageError
from onchip.ir.evaluate import evaluate
from onchip.ir.program import Program, Region
from onchip.ir.trace import RunTrace, Trace
from onchip.isa import LUT, RQ
from onchip.isa.floats import PROGRAM_TYPES, read_floats, write_floats
from onchip.simulator import interpreter
from onchip.simulator.clock import kernel_arrays
from onchip.simulator.code import Code, Ints
from onchip.simulator.float_matrix import make_float_scratch
from onchip.simulator.float_vectors import make_float_stage
from onchip.simulator.nests import NEST, find_nests, make_scratch
from onchip.simulator.products import MARGIN, form, multiplies_bytes
from onchip.simulator.states import state_places
from onchip.simulator.vectors import make_memory, make_stage
from onchip.simulator.whole import find
from onchip.simulator.whole_run import Wholes, torch_or_none

ORDER = (0, 1, 2, 3)
NUMPY = {"i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32, "bool": np.uint8}


class Runner:
    """A program ready to run: memories of one core and the constants in place. Call it with inputs, get outputs.

    States (KV cache, RNN state) start at zero and stay from one call to the next; a call that gives a state's value
    goes on from that one. `states` reads them, `reset` puts zeros back.
    """

    def __init__(
        self, program: Program, *, order: tuple[int, int, int, int] = ORDER, is_repeated: bool = False
    ) -> None:
        self.program = program
        self._order = np.array(order, np.int64)
        self._kernels = [kernel_arrays(program, k) for k in program.kernels]
        codes = [arrays.code for arrays in self._kernels]
        self._float_type = PROGRAM_TYPES.get(program.dtype)
        self._nests, self._run, self._scratch, self._stage = _parts(codes, is_float=self._float_type is not None)
        self._control = np.zeros(interpreter.CONTROL, np.int64)
        self._far = np.zeros(-(-program.far_bytes // 4) * 4 + MARGIN, np.uint8)
        self._is_repeated, self._wholes = is_repeated, None
        for region in program.regions:
            self._place(region)
        self._places = state_places(program)
        self._carried = dict[str, NDArray[Any]]()
        self._fresh = {given for given, _, _ in self._places.kept}  # not yet in far memory
        self._memory = make_memory(program.chip.local.size_bytes, program.chip.local.accumulator_bytes // 4)

    def _place(self, region: Region) -> None:
        if region.kind == "constant":
            if region.data is None:
                raise UsageError(
                    "OC1401", region.name, "the program has no values for this constant", next="Compile it with weights"
                )
            self._far[region.address : region.address + region.n_bytes] = region.data

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the graph's outputs. Raises UsageError where an input is missing or has another shape."""
        before, after = self.program.host_before, self.program.host_after
        tensors = {**self._zeros(), **self._carried, **inputs}
        if before is not None:
            tensors |= evaluate(before, {name: tensors[name] for name in before.inputs if name in tensors})
        stay = {r.name for given, r, _ in self._places.kept if given not in self._fresh and given not in inputs}
        for region in self.program.regions:
            if region.kind == "input" and region.name not in stay:
                self._write(region, tensors)
        self.run()
        found = tensors | {r.name: self.read(r) for r in self.program.regions if r.kind == "output"}
        if after is not None:
            found |= evaluate(after, {name: found[name] for name in after.inputs})
        self._move_states(found)
        return {name: found[name] for name in self.program.outputs}

    @property
    def states(self) -> dict[str, NDArray[Any]]:
        """Return what the next run starts from, by the name of the graph's input: as far memory holds it, or the host.

        A state in far memory is in the program's own dtype.
        """
        kept = {given: self.read(source) for given, source, _ in self._places.kept if given not in self._fresh}
        return kept | self._carried

    def reset(self) -> None:
        """Let the next run start from zeros."""
        self._carried.clear()
        self._fresh = {given for given, _, _ in self._places.kept}

    def _zeros(self) -> dict[str, NDArray[Any]]:
        """Return the states at the start, in the form in which the graph takes them."""
        before = self.program.host_before
        found = dict[str, NDArray[Any]]()
        for given, _ in self.program.states:
            if before is not None and given in before.inputs:
                shape = tuple(int(d) for d in before.tensor(given).shape)
                found[given] = np.zeros(shape, np.float32)
            else:
                region = self.program.region(given)
                data = region.data
                zeros = np.zeros(region.shape, np.float32)
                found[given] = zeros if data is None else data.view(NUMPY[region.dtype]).reshape(region.shape)
        return found

    def _move_states(self, found: Mapping[str, NDArray[Any]]) -> None:
        """Put what the states became where the next run reads them."""
        made = [(source, self.read(target)) for _, source, target in self._places.kept]
        for source, value in made:
            self._write(source, {source.name: value})
        self._carried = {given: found[name] for given, name in self._places.carried}
        self._fresh.clear()

    def run(self) -> None:
        """Run all kernels on what far memory holds now."""
        for number, kernel in enumerate(self.program.kernels):
            if self._wholes is not None and self._wholes.run(number):
                continue
            arrays, nests = self._kernels[number], self._nests[number]
            for core in _cores(kernel.core_grid):
                status = self._run(
                    arrays.code,
                    nests,
                    arrays.initial,
                    self._order,
                    core,
                    self._far,
                    self._memory,
                    self._scratch,
                    self._stage,
                    self._control,
                )
                if status == interpreter.DEADLOCK:
                    raise InternalError("OC9007", kernel.name, "deadlock: no stream can go on")
                if status == interpreter.OUTSIDE:
                    raise InternalError("OC9007", kernel.name, "an instruction leaves the memory")
        if self._is_repeated and self._wholes is None:
            self._wholes = self._find_wholes()

    def _find_wholes(self) -> Wholes | None:
        """Look for kernels that are one product, once; all addresses are known to exist by now."""
        self._is_repeated = False
        torch = torch_or_none() if self._float_type is None else None
        if torch is None:
            return None
        regions = [r for r in self.program.regions if r.kind == "constant"]
        found = find(
            [k.code for k in self._kernels], [k.initial for k in self._kernels],
            [_cores(k.core_grid) for k in self.program.kernels], self._order, self._far, self._memory, self._control,
            [(r.address, r.address + r.n_bytes) for r in regions],
        )  # fmt: skip
        return Wholes(found, self._far, torch)

    def _write(self, region: Region, tensors: Mapping[str, NDArray[Any]]) -> None:
        value = tensors.get(region.name)
        if value is None:
            raise UsageError(
                "OC1402", region.name, "input is missing", next=f"Inputs given: {', '.join(sorted(tensors)) or 'none'}"
            )
        if tuple(value.shape) != region.shape:
            raise UsageError(
                "OC1403", region.name, f"input has shape {list(value.shape)}", limit=f"it needs {list(region.shape)}"
            )
        if region.dtype in NUMPY:
            data = np.ascontiguousarray(value.astype(NUMPY[region.dtype])).view(np.uint8).reshape(-1)
        else:
            assert self._float_type is not None
            data = write_floats(self._float_type, np.ascontiguousarray(value, np.float32).reshape(-1))
        self._far[region.address : region.address + len(data)] = data

    def read(self, region: Region) -> NDArray[Any]:
        """Return a region's bytes as the tensor they are; narrow floats as float32."""
        data = self._far[region.address : region.address + region.n_bytes].copy()
        if region.dtype in NUMPY:
            return data.view(NUMPY[region.dtype]).reshape(region.shape)
        assert self._float_type is not None
        return read_floats(self._float_type, data).reshape(region.shape)


def _parts(codes: list[Code], *, is_float: bool) -> tuple[list[Ints], Any, Any, Any]:
    """Return nests, compiled code, scratch memory and stage for integers or floats."""
    if is_float:
        nests = [np.zeros((len(code.ops), NEST), np.int64) for code in codes]
        return nests, interpreter.run_floats, make_float_scratch(codes), make_float_stage(_longest_row(codes))
    nests = find_nests(codes)
    scratch = make_scratch(codes, nests, form(multiplies_bytes()))
    return nests, interpreter.run, scratch, make_stage(_longest_row(codes))


def _cores(grid: tuple[int, int, int]) -> list[tuple[int, ...]]:
    return list(np.ndindex(grid))


def _longest_row(codes: list[Code]) -> int:
    """Return the lanes of the longest row of a vector instruction."""
    found = [code.integers[(code.ops >= RQ.OP) & (code.ops <= LUT.OP), 3] for code in codes]
    return int(np.concatenate(found).max(initial=0)) if found else 0


def run_values(program: Program, inputs: Mapping[str, NDArray[Any]], trace: Trace) -> RunTrace:
    """Return the trace together with the program's outputs."""
    outputs = Runner(program)(inputs)
    return RunTrace(**{f.name: getattr(trace, f.name) for f in fields(trace)}, outputs=outputs)
