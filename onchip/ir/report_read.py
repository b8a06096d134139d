"""A report back from its JSON: what `estimate --json` wrote, checked field by field.

In:       the path or the text of a report's JSON.
Out:      the Report that wrote it; `report.to_json()` gives the same object again, but for `timing`.
Promises: a file that is too large, too deep, no JSON, of another schema version, or with a field missing or of the
          wrong kind is refused (OC1270, OC1271); so is one whose parts do not sum, by the Report's own constructor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from onchip.errors import BadFile, InternalError
from onchip.ir.program import Model
from onchip.ir.report import SCHEMA_VERSION, ChipFacts, Json, Layer, Memory, Parts, Report
from onchip.ir.trace import BOUNDS
from onchip.units import Fidelity, Provenance, Quantity

MAX_BYTES = 64 << 20
LARGEST = 1 << 63
NEXT = "Write it anew with onchip estimate --json"
T = TypeVar("T")


def read_report(path: str | Path) -> Report:
    """Return the report in a file. Raises BadFile."""
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile("OC1270", where, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise BadFile("OC1270", where, f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return parse_report(raw.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise BadFile("OC1270", where, f"is no UTF-8 text (byte {error.start})") from None


def parse_report(text: str, where: str = "report") -> Report:
    """Return the report in a text; `where` names it in messages. Raises BadFile."""
    try:
        found = json.loads(text, parse_constant=lambda word: float("nan"))
    except (ValueError, RecursionError) as error:
        raise BadFile("OC1270", where, f"is no JSON: {str(error)[:80]}", next=NEXT) from None
    return report_from(found, where)


def report_from(found: Any, where: str = "report") -> Report:
    """Return the report of a JSON value. Raises BadFile."""
    top = Fields(found, where, "")
    try:
        return _report(top)
    except InternalError as error:  # the noun's own checks: here they are about a file
        raise BadFile("OC1271", where, error.fact, next=NEXT) from None


class Fields:
    """One JSON object and where it stands: `get` returns a field of the right kind or refuses the file."""

    def __init__(self, value: Any, where: str, place: str) -> None:
        self.where, self.place = where, place
        if not isinstance(value, dict):
            raise self.bad("", "is no object")
        self.value = cast("Json", value)

    def bad(self, key: str, fact: str) -> BadFile:
        place = f"{self.place}.{key}".strip(".") or "the file"
        return BadFile("OC1271", self.where, f"{place} {fact}"[:300], next=NEXT)

    def get(self, key: str, kind: type[T]) -> T:
        if key not in self.value:
            raise self.bad(key, "is missing")
        value: Any = self.value[key]
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise self.bad(key, "is no number of a report: it is 2^63 or more")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.bad(key, f"is no {kind.__name__}")
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise self.bad(key, "is no finite number")
        return cast("T", value)

    def word(self, key: str, known: tuple[str, ...]) -> Any:
        value = self.get(key, str)
        if value not in known:
            raise self.bad(key, f"is '{value[:40]}', not one of {', '.join(known)}")
        return value

    def inner(self, key: str) -> Fields:
        return Fields(self.get(key, dict), self.where, f"{self.place}.{key}".strip("."))

    def each(self, key: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        place = f"{self.place}.{key}".strip(".")
        rows = cast("list[Any]", self.get(key, list))
        return tuple(read(Fields(row, self.where, f"{place}.{i}")) for i, row in enumerate(rows))

    def texts(self, key: str) -> tuple[str, ...]:
        rows = cast("list[Any]", self.get(key, list))
        if not all(isinstance(row, str) for row in rows):
            raise self.bad(key, "is no list of texts")
        return tuple(cast("list[str]", rows))

    def maybe(self, key: str, read: Callable[[Fields, str], T]) -> T | None:
        if key not in self.value:
            raise self.bad(key, "is missing")
        return None if self.value[key] is None else read(self, key)


def _report(top: Fields) -> Report:
    version = top.get("schema_version", int)
    if version != SCHEMA_VERSION:
        raise top.bad("schema_version", f"is {version}; this onchip reads {SCHEMA_VERSION}")
    latency, memory, batch = _quantity(top, "latency_s"), top.inner("memory"), top.get("batch", int)
    return Report(
        model=_model(top.inner("model"), batch),
        chip=_chip(top.inner("chip")),
        dtype=top.get("dtype", str),
        cycles=top.get("cycles", int),
        latency_s=latency,
        throughput_per_s=_quantity(top, "throughput_per_s"),
        energy_j=top.maybe("energy_j", _quantity),
        power_w=top.maybe("power_w", _quantity),
        utilization=_quantity(top, "utilization"),
        memory=Memory(
            memory.get("local_peak_bytes", int), memory.get("local_bytes", int), memory.get("layer", str),
            memory.get("dram_traffic_bytes", int),
        ),
        bound=top.word("bound", tuple(BOUNDS.values())),
        waterfall=_parts(top, "waterfall", "seconds"),
        energy_parts=_parts(top, "energy_parts", "joules"),
        layers=top.each("layers", _layer),
        assumptions=top.texts("assumptions"),
        tool=top.get("tool", str),
        program_hash=top.get("program_hash", str),
        bit_exact=top.maybe("bit_exact", lambda fields, key: fields.get(key, bool)),
        kind=top.word("kind", ("program", "silicon")),
        silicon=top.maybe("silicon", lambda fields, key: _report(fields.inner(key))),
    )  # fmt: skip


def _model(fields: Fields, batch: int) -> Model:
    if batch < 1:
        raise fields.bad("batch", "is below 1")
    counts = (fields.get("macs", int), fields.get("parameters", int))
    return Model(fields.get("name", str), fields.get("hash", str), *counts, batch, fields.texts("assumptions"))


def _chip(fields: Fields) -> ChipFacts:
    texts = {name: fields.get(name, str) for name in ("name", "hash", "evidence")}
    counts = ("clock_hz", "cores", "peak_ops_per_s", "dram_bytes_per_s", "local_bytes")
    return ChipFacts(**texts, **{name: fields.get(name, int) for name in counts})  # pyright: ignore[reportArgumentType]


def _quantity(fields: Fields, key: str) -> Quantity:
    inner = fields.inner(key)
    low, high = (inner.maybe(name, lambda f, k: f.get(k, float)) for name in ("low", "high"))
    provenance, fidelity = inner.word("provenance", get_args(Provenance)), inner.word("fidelity", get_args(Fidelity))
    return Quantity(inner.get("value", float), inner.get("unit", str), low, high, provenance, fidelity)


def _parts(fields: Fields, key: str, unit: str) -> Parts:
    return fields.each(key, lambda row: (row.get("part", str), row.get(unit, float)))


def _layer(fields: Fields) -> Layer:
    return Layer(
        name=fields.get("name", str),
        nodes=fields.texts("nodes"),
        kind=fields.get("kind", str),
        cycles=fields.get("cycles", int),
        latency_s=_quantity(fields, "latency_s"),
        energy_j=fields.maybe("energy_j", _quantity),
        share=fields.get("share", float),
        macs=fields.get("macs", int),
        utilization=fields.get("utilization", float),
        bound=fields.word("bound", tuple(BOUNDS.values())),
        intensity=fields.maybe("intensity_op_per_byte", lambda f, k: f.get(k, float)),
        attainable_ops_per_s=fields.get("attainable_ops_per_s", float),
        dram_bytes=fields.get("dram_bytes", int),
        local_peak_bytes=fields.get("local_peak_bytes", int),
        cores=fields.get("cores", int),
        waterfall=_parts(fields, "waterfall", "seconds"),
        how=fields.get("how", str),
    )
