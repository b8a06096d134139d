"""What a report page shows: reports, and for each panel that has more to draw a JSON object of its own.

In:       Reports, and parts that `onchip/reports/*.py` make, by the name of their panel.
Out:      a frozen noun; `to_json` is the object that stands inside of the HTML file, from which every number is drawn.
Promises: a part of a panel that does not exist, an empty page and a number that is not finite are refused; the same
          page gives the same bytes; sentences (`told`) are made by the code of the text report and not read back.
Does not: draw (`reports/html.py`), or know what a panel's object means: its schema stands where it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from onchip.errors import InternalError
from onchip.ir.report import Json, Report
from onchip.ir.report_text import why

PAGE_VERSION = 1
PANELS = (
    "actions",  # what to try, with verified gains
    "timeline",  # units x time
    "memory_map",  # address x time
    "mapping",  # loop nest and tiles of layers
    "graph",  # the network, coloured by a metric
    "knobs",  # what the time reacts to
    "compare",  # chips beside each other, and why not
    "numerics",  # what quantization costs each layer
    "validation",  # how far such numbers were from silicon
    "lesson",  # a systolic array, cycle by cycle
    "pictures",  # attention weights, feature maps
    "chip",  # the chip file, its memories
    "energy",  # joules by layer and component, per event with sources
)


@dataclass(frozen=True, slots=True)
class Page:
    """A title, the reports in the order of importance, and the parts of panels by name."""

    title: str
    reports: tuple[Report, ...] = ()
    parts: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def __post_init__(self) -> None:
        if not self.reports and not self.parts:
            raise InternalError("OC9046", self.title or "page", "there is neither a report nor a part to draw")
        for name, part in self.parts.items():
            if name not in PANELS:
                raise InternalError("OC9046", self.title, f"no panel is named '{name[:40]}'")
            _verify(part, f"{self.title}: {name}")
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    @property
    def verdict(self) -> str:
        """Return the first sentence: of a comparison, else of the first report, else the title."""
        compared = self.parts.get("compare", {}).get("verdict")
        if isinstance(compared, str):
            return compared
        return self.reports[0].verdict if self.reports else self.title

    def with_parts(self, **parts: Json) -> Page:
        """Return the page with more parts, or others in place of those of the same name."""
        return Page(self.title, self.reports, {**self.parts, **parts})

    def to_json(self) -> Json:
        """Return the object of the page; schema_version is that of its reports."""
        return {
            "onchip_page": PAGE_VERSION,
            "tool": _tool(),
            "title": self.title,
            "reports": [report.to_json() for report in self.reports],
            "told": [_told(report) for report in self.reports],
            "parts": {name: self.parts[name] for name in PANELS if name in self.parts},
        }


def page_of(report: Report, **parts: Json) -> Page:
    """Return the page of one report."""
    return Page(f"{report.model.name} on {report.chip.name}", (report,), parts)


def _tool() -> str:
    from onchip import __version__

    return f"onchip {__version__}"


def _told(report: Report) -> Json:
    """Return the sentences of a report: its verdict, and why each layer takes its time, for both programs."""
    sides = {side.kind: [why(layer, side) for layer in side.layers] for side in (report, report.expected)}
    return {"verdict": report.verdict, "why": {"program": [], "silicon": [], **sides}}


def _verify(value: Any, where: str) -> None:
    """Refuse what JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InternalError("OC9046", where, "a number is not finite")
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[Any, Any]", value).items():
            if not isinstance(key, str):
                raise InternalError("OC9046", where, f"a key is {key!r}, no text"[:200])
            _verify(inner, where)
    elif isinstance(value, (list, tuple)):
        for inner in cast("list[Any]", value):
            _verify(inner, where)
    elif value is not None and not isinstance(value, (str, int, float)):
        raise InternalError("OC9046", where, f"a value is a {type(value).__name__}, which JSON does not have")
