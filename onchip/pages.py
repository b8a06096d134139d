"""The page of a run: every part that what is at hand allows, made by the functions of `onchip/reports`.

In:       a Report, its Chip, and the nouns that the pipeline showed on its way (`watch=seen.__setitem__`).
Out:      a Page.
Promises: a part is there when its nouns are; the catalog's chip is taken only where its hash is the same.
          A part of the pipeline beside `explain.py`.
Does not: price anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.page import Page, page_of
from onchip.ir.report import Json, Report
from onchip.reports.chip_view import chip_part
from onchip.reports.energy_view import energy_part
from onchip.reports.graph_view import graph_part
from onchip.reports.validation import validation_part
from onchip.simulator.energy import energy as price_energy


@dataclass(frozen=True, slots=True)
class Scene:
    """What a part can be made of. `seen`: the pipeline's nouns by name, as it shows them to `watch`."""

    report: Report
    chip: Chip | None = None
    seen: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _chip(scene: Scene) -> Json | None:
    return None if scene.chip is None else chip_part(scene.chip, scene.report.dtype)


def _validation(scene: Scene) -> Json | None:
    if scene.chip is None:
        return None
    return validation_part(scene.chip, is_forecast=scene.report.expected.kind == "silicon")


def _energy(scene: Scene) -> Json | None:
    trace, forecast = scene.seen.get("trace"), scene.seen.get("forecast")
    known = forecast if scene.report.silicon is not None or scene.report.kind == "silicon" else None
    return energy_part(price_energy(trace) if trace is not None else None, known.energy if known is not None else None)


def _graph(scene: Scene) -> Json | None:
    return graph_part(scene.seen["graph"]) if "graph" in scene.seen else None


def _timeline(scene: Scene) -> Json | None:
    program, trace = scene.seen.get("program"), scene.seen.get("trace")
    if program is None or trace is None:
        return None
    from onchip import pipeline
    from onchip.reports.timeline import timeline_part

    return timeline_part(program, pipeline.record(program, trace))


def _memory_map(scene: Scene) -> Json | None:
    plan, program, trace = (scene.seen.get(name) for name in ("plan", "program", "trace"))
    if plan is None or program is None or trace is None:
        return None
    from onchip.reports.memory_map import memory_map_part

    return memory_map_part(plan, program, trace)


def _mapping(scene: Scene) -> Json | None:
    plan = scene.seen.get("plan")
    if plan is None:
        return None
    from onchip.planner.nest import loop_nest
    from onchip.reports.mapping import mapping_part

    return mapping_part(plan, [loop_nest(kernel, plan.chip) for kernel in plan.kernels])


def _inside(scene: Scene) -> dict[str, Json | None]:
    if "inputs" not in scene.seen:
        return {}
    from onchip.insides import inside

    return inside(scene.seen)


# panel -> what makes its part, None where something is missing for it
MAKERS: dict[str, Callable[[Scene], Json | None]] = {
    "graph": _graph,
    "validation": _validation,
    "chip": _chip,
    "energy": _energy,
    "timeline": _timeline,
    "memory_map": _memory_map,
    "mapping": _mapping,
}


def page(report: Report, chip: Chip | None = None, seen: Mapping[str, Any] | None = None, **parts: Json) -> Page:
    """Return the page of a report; `parts` are those that somebody made already."""
    scene = Scene(report, chip if chip is not None else in_catalog(report), seen or {})
    made = {name: make(scene) for name, make in MAKERS.items() if name not in parts} | _inside(scene)
    return page_of(report, **{name: part for name, part in made.items() if part is not None}, **parts)


def completed(given: Page) -> Page:
    """Return a page with the parts that its first report and the catalog allow, where it has none of that name."""
    if not given.reports:
        return given
    scene = Scene(given.reports[0], in_catalog(given.reports[0]))
    made = {name: make(scene) for name, make in MAKERS.items() if name not in given.parts}
    return given.with_parts(**{name: part for name, part in made.items() if part is not None})


def in_catalog(report: Report) -> Chip | None:
    """Return the chip of a report from the catalog, where it has not changed since."""
    if report.chip.name not in Chip.names():
        return None
    try:
        chip = Chip.load(report.chip.name)
    except OnchipError:
        return None
    return chip if chip.hash == report.chip.hash else None
