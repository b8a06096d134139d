"""A run to be priced, and the runs that settings make of it: batch, dtype, effort, rewrite, chip, and the chip's keys.

In:       a network with its batch open where it is, a chip, and `key=value` settings.
Out:      Reports: `price` is what `onchip estimate` says, `play` the same with every event of the program played.
Promises: advice, `whatif` and `--set` go through `changed`, so that a command gives the number that advice showed.
Does not: print. A part of the pipeline beside `probe.py`: it calls it as users do.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from onchip import pipeline
from onchip.chip import Chip
from onchip.chip_parts import DTYPES, GRAPH_DTYPES
from onchip.errors import UnknownName, UsageError, did_you_mean
from onchip.ir.graph import Graph
from onchip.ir.program import Program
from onchip.ir.report import Report
from onchip.passes.stem import fold_stem
from onchip.pipeline import Ready
from onchip.planner.tile import EFFORT
from onchip.simulator.clock import estimate_cycles

LARGEST = 1 << 20  # of a batch or a sequence: far beyond any chip, and products of sizes stay in 64 bits
FULL_EFFORT = 1 << 62
MOST_PLAYED = 200_000_000  # instructions of one event simulation: some ten seconds


@dataclass(frozen=True, slots=True)
class Case:
    """A network on a chip, with what the command line can say about the run."""

    graph: Graph
    chip: Chip
    batch: int | None = None
    dtype: str | None = None
    effort: int = EFFORT

    @property
    def bound(self) -> Graph:
        """Return the network with its batch. Raises UsageError where it is fixed to another one."""
        return _bound(Held(self.graph), self.batch)

    def changed(self, settings: Mapping[str, str]) -> Case:
        """Return the case with settings; keys that are not of a run are the chip's. Raises OnchipError."""
        made = replace(self, chip=Chip.load(settings["chip"])) if "chip" in settings else self
        for key, text in settings.items():
            made = SETTINGS[key](made, text) if key in SETTINGS else made
        own = {key: text for key, text in settings.items() if key != "chip" and key not in SETTINGS}
        for key in own:
            refuse_misspelt(key)
        return replace(made, chip=made.chip.replace(own)) if own else made

    def price(self) -> Report:
        """Return what silicon is expected to take: our program where it runs ours, else the vendor's."""
        if self.chip.toolchain == "onchip":
            return pipeline.report(estimate_cycles(self.program()))
        return pipeline.expect(self.bound, self.chip, dtype=self.dtype)

    def play(self, most: int = MOST_PLAYED) -> Report:
        """Return what `price` does; our program is played event by event where that is at most so many instructions."""
        return self.play_program(most) if self.chip.toolchain == "onchip" else self.price()

    def play_program(self, most: int = MOST_PLAYED) -> Report:
        """Return the report of our program, whoever's program the silicon runs."""
        program = self.program()
        is_short = program.n_instructions() <= most
        return pipeline.report(pipeline.simulate(program) if is_short else estimate_cycles(program))

    def program(self) -> Program:
        """Return our program without the constants' bytes; chips that differ in sizes and rates share the network."""
        dtype = pipeline.dtype_of(self.graph, self.chip, self.dtype)
        self.chip.matrix.array(dtype, self.chip.name)
        wanted = Wanted(Held(self.graph), self.batch, dtype, self.chip.rounding.modes, self.chip)
        return pipeline.schedule(_ready(wanted), self.chip, effort=self.effort)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A graph that is told from others by identity: comparing its tensors would take longer than what is kept."""

    graph: Graph

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.graph is self.graph

    def __hash__(self) -> int:
        return id(self.graph)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What decides how a network is made ready; of the chip that is its roundings and the dtype's array alone."""

    held: Held
    batch: int | None
    dtype: str
    roundings: tuple[str, ...]
    chip: Chip = field(compare=False)


@functools.lru_cache(maxsize=16)
def _bound(held: Held, batch: int | None) -> Graph:
    return bind_to(held.graph, batch, held.graph.name)


@functools.lru_cache(maxsize=16)
def _ready(wanted: Wanted) -> Ready:
    return pipeline.prepare(_bound(wanted.held, wanted.batch), wanted.chip, dtype=wanted.dtype)


def bind_to(graph: Graph, batch: int | None, where: str) -> Graph:
    """Return the network with its batch, where one was asked for. Raises UsageError where the batch is fixed."""
    if batch is None:
        return graph
    if "batch" not in graph.symbols:
        fact = f"-b {batch}: the batch of this network is fixed"
        raise UsageError("OC1008", where, fact, limit=inputs_of(graph), next="Export it with a named batch")
    return graph.bind(batch=batch)


def inputs_of(graph: Graph) -> str:
    """Return the inputs of a network with their shapes, as errors show them."""
    shapes = (f"{name} [{', '.join(map(str, graph.tensor(name).shape))}]" for name in graph.inputs)
    return f"Inputs: {', '.join(shapes)}"


def effort_of(text: str, where: str = "--effort") -> int:
    """Return how many mappings are priced per kernel. Raises UsageError."""
    if text in ("default", "full"):
        return EFFORT if text == "default" else FULL_EFFORT
    if re.fullmatch(r"[0-9]{1,15}", text) and int(text) >= 1:
        return int(text)
    fact = f"'{text[:40]}' is no number of mappings"
    raise UsageError("OC1008", where, fact, next="Write a number from 1 up, default or full")


def check_dtype(dtype: str, where: str = "--dtype") -> str:
    """Refuse a name that is no dtype of any chip; whether the chip at hand has it is the chip's matter."""
    known = (*DTYPES, *GRAPH_DTYPES)
    if dtype not in known:
        hint = did_you_mean(dtype, known)
        fact, limit = f"no dtype is named '{dtype[:40]}'", f"There are {', '.join(DTYPES)}"
        raise UnknownName("OC1008", where, fact, limit=limit, next=hint)
    return dtype


def batch_of(text: str) -> int:
    """Return a batch. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= LARGEST:
        fact = f"'{text[:40]}' is no batch"
        raise UsageError("OC1008", "batch", fact, next=f"Write a number from 1 to {LARGEST}")
    return int(text)


def _with_batch(case: Case, text: str) -> Case:
    return replace(case, batch=batch_of(text))


def _with_dtype(case: Case, text: str) -> Case:
    return replace(case, dtype=check_dtype(text, "dtype"))


def _with_effort(case: Case, text: str) -> Case:
    return replace(case, effort=effort_of(text, "effort"))


def rewrite(graph: Graph, name: str) -> Graph:
    """Return the network rewritten. Raises UnknownName, and UsageError where nothing is to rewrite."""
    if name not in REWRITES:
        limit = f"There are {', '.join(REWRITES)}"
        raise UnknownName(
            "OC1008", "rewrite", f"no rewrite is named '{name[:40]}'", limit=limit, next=did_you_mean(name, REWRITES)
        )
    made = REWRITES[name](graph)
    if made is graph:
        raise UsageError("OC1008", graph.name, f"{name} changes nothing here", next="Leave it away")
    return made


def _with_rewrite(case: Case, text: str) -> Case:
    return replace(case, graph=_rewritten(Held(case.graph), text))


@functools.lru_cache(maxsize=16)
def _rewritten(held: Held, name: str) -> Graph:
    return rewrite(held.graph, name)


def refuse_misspelt(key: str) -> None:
    """Refuse what is nearly a setting of a run; the chip knows its own keys. Raises UnknownName."""
    hint = did_you_mean(key, SETTINGS) if "." not in key else ""
    if hint:
        raise UnknownName("OC1008", "--set", f"there is no setting '{key[:40]}'", next=hint)


SETTINGS: dict[str, Callable[[Case, str], Case]] = {
    "batch": _with_batch,
    "dtype": _with_dtype,
    "effort": _with_effort,
    "rewrite": _with_rewrite,
}
REWRITES: dict[str, Callable[[Graph], Graph]] = {"space_to_depth": fold_stem}
