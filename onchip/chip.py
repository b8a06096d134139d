"""The numbers of one chip, each with a source: the noun every other room reads.

In:       a catalog name, a path, or the text of a chip file (TOML), with overrides (`edge-npu-16?local.size=512KiB`).
Out:      a frozen `Chip` whose sections are named as in the file; sizes in bytes, clocks in Hz, times and rates exact.
Promises: one set of fields for every chip: nothing here or elsewhere branches on a chip's name or family; unknown keys
          and missing fields are refused; a published peak agrees with array x clock within 2 %; `str(chip)` is
          canonical TOML that parses back to an equal chip; every default that took part is listed in `chip.defaults`.
Does not: hold a number without a source (`assumed` names those that nobody published), or inherit silently.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from onchip import chip_checks, chip_file
from onchip.chip_energy import Energy
from onchip.chip_file import Document, Json, Override
from onchip.chip_parts import (
    DTYPES,
    FORBID,
    VECTOR_OPS,
    Achieved,
    Algorithms,
    Array,
    Calibration,
    Clock,
    Cores,
    Dram,
    Dtype,
    Execution,
    Host,
    Launch,
    Local,
    Matrix,
    OpsPerSecond,
    Overlap,
    Pairs,
    Power,
    Published,
    Rounding,
    Shared,
    Sync,
    Vector,
    chip_dtype,
)
from onchip.errors import BadFile, UnknownName, did_you_mean
from onchip.units import Provenance, format_value, split_number

__all__ = ["Array", "Chip", "Matrix", "Shared", "Vector", "chip_dtype", "schema"]

SECTIONS = (
    "clock",
    "cores",
    "matrix",
    "vector",
    "local",
    "shared",
    "dram",
    "host",
    "launch",
    "sync",
    "execution",
    "achieved",
    "algorithms",
    "power",
    "rounding",
)
_CATALOG = Path(__file__).parent / "chips"


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip. Build it with `Chip.load`, `Chip.parse` or `chip.replace`; the constructor verifies."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*(\?.*)?$", max_length=400)]
    evidence: Literal["rtl", "program", "estimate"]
    default_dtype: Dtype
    source: str
    clock: Clock
    cores: Cores
    matrix: Matrix
    vector: Vector
    local: Local
    dram: Dram
    rounding: Rounding
    family: str = ""
    description: str = ""
    assumed: tuple[str, ...] = ()  # dotted keys of numbers that nobody published
    overlap: Overlap = Overlap()
    shared: tuple[Shared, ...] = ()
    host: Host | None = None
    launch: Launch = Launch()
    sync: Sync = Sync()
    execution: Execution = Execution()
    achieved: Achieved = Achieved()
    algorithms: Algorithms = Algorithms()
    calibration: Calibration | None = None
    power: Power | None = None
    energy: Energy | None = None
    geometry: Literal["published", "unpublished"] = "published"
    toolchain: Literal["onchip", "vendor"] = "vendor"  # whose programs run on the silicon
    peak: Annotated[tuple[tuple[str, OpsPerSecond], ...], Pairs(DTYPES)] = ()
    published: Published = Published()
    sources: Annotated[tuple[tuple[str, str], ...], Pairs(SECTIONS)] = ()

    def __post_init__(self) -> None:
        chip_checks.verify(self)

    def __hash__(self) -> int:
        """Hash a few numbers: the rooms keep what they made for a chip, and all of its fields take long to hash."""
        return hash((self.name, self.cores.count, self.clock.core_hz, self.local.size_bytes, self.dram.size_bytes))

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names in the catalog, sorted."""
        return tuple(sorted(path.stem for path in _CATALOG.glob("*.toml")))

    @staticmethod
    def load(name_or_path: str | Path) -> Chip:
        """Return a catalog chip, or the chip in a .toml or SCALE-Sim .cfg file, with `?key=value&key=value` applied."""
        text, mark, query = str(name_or_path).partition("?")
        chip = _from_catalog(text) if text in Chip.names() else _from_path(text)
        return chip.replace(chip_file.parse_query(query, text)) if mark else chip

    @staticmethod
    def parse(text: str, where: str = "chip") -> Chip:
        """Return the chip that a TOML text describes; `where` names the text in messages."""
        return _build(_resolved(text, where, Path()), where)

    def replace(self, overrides: Mapping[str, Override]) -> Chip:
        """Return this chip with dotted keys of its file changed, verified anew; the name tells what was changed."""
        base, _, query = self.name.partition("?")
        earlier = chip_file.parse_query(query, base) if query else {}
        told = "&".join(f"{key}={value}" for key, value in sorted((earlier | dict(overrides)).items()))
        where = f"{base}?{told}"
        return _build(chip_file.override(_document(self), {**overrides, "name": where}, where), where)

    def __str__(self) -> str:
        return _text(self)

    def __repr__(self) -> str:
        return f"<Chip {self.name}>"

    def _repr_html_(self) -> str:
        return _html(self)

    @property
    def hash(self) -> str:
        """The sha256 of the canonical text."""
        return _hash(self)

    @property
    def clock_hz(self) -> int:
        return self.clock.core_hz

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that the chip multiplies, spelt as in chip files."""
        return tuple(name for name, _ in self.matrix.arrays)

    @property
    def defaults(self) -> tuple[str, ...]:
        """Every default of the schema that this chip's numbers rest on, as `key = value (default)`."""
        return _defaults(self)

    @property
    def dram_bytes_per_cycle(self) -> Fraction:
        return Fraction(self.dram.bandwidth_bytes_per_s, self.clock_hz)

    def latency_cycles(self) -> int:
        """Return the latency of DRAM in whole cycles, rounded up."""
        return self.cycles(self.dram.latency_s)

    def cycles(self, seconds: Fraction) -> int:
        """Return a time in whole cycles of the core clock, rounded up."""
        return math.ceil(seconds * self.clock_hz)

    def clock_of(self, dtype: str) -> int:
        """Return the clock at which the published peak of a dtype holds."""
        return next((hz for name, hz in self.clock.dtypes if name == chip_dtype(dtype)), self.clock.core_hz)

    def peak_macs_per_cycle(self, dtype: str) -> int:
        """Return the multiply-accumulates that one core does per cycle when its array is full."""
        array = self.matrix.array(dtype, self.name)
        if array.unit == "vector":
            return int(self.vector.rate("mac"))
        cells = math.prod(array.native) if array.native else (array.rows or 0) * (array.cols or 0)
        return cells * self.matrix.units

    def peak_ops_per_s(self, dtype: str) -> int:
        """Return the dense peak of the whole chip, 2 operations a MAC."""
        return 2 * self.peak_macs_per_cycle(dtype) * self.cores.count * self.clock_of(dtype)

    def value_of(self, key: str) -> object:
        """Return what stands at a dotted key as a chip file writes it, defaults included; None where nothing does."""
        return chip_file.look_up(_whole_document(self), key)

    def source_of(self, key: str) -> str:
        """Return where the number behind a dotted key comes from."""
        provenance = self.provenance(key)
        if provenance == "calibrated" and self.calibration is not None:
            return f"fitted on {self.calibration.rows}"
        if provenance == "assumed":
            return "assumed"
        return dict(self.sources).get(key.partition(".")[0], self.source)

    def provenance(self, key: str) -> Provenance:
        """Return `calibrated` or `assumed` for a number that the file names so, otherwise `datasheet`."""
        fitted = self.calibration
        if fitted is not None and key in (*fitted.keys, *fitted.family):
            return "calibrated"
        return "assumed" if key in self.assumed else "datasheet"


@functools.cache
def schema() -> Json:
    """Return the JSON Schema of a chip file (published as onchip/schemas/chip-1.json)."""
    return chip_file.unfold_schema(_adapter().json_schema(by_alias=True))


@functools.cache
def _adapter() -> TypeAdapter[Chip]:
    return TypeAdapter(Chip)


@functools.cache
def _from_catalog(name: str) -> Chip:
    return _from_path(str(_CATALOG / f"{name}.toml"), where=f"{name}.toml")


def _from_path(text: str, where: str = "") -> Chip:
    if text.endswith(".cfg"):
        from onchip.chip_scale_sim import chip_document, chip_name

        return _build(chip_document(chip_file.read_text(Path(text)), text, chip_name(Path(text).stem)), text)
    if not text.endswith(".toml"):
        known = Chip.names()
        hint = did_you_mean(text[:80], known) or f"There are {len(known)}: `onchip chips` lists them"
        raise UnknownName("OC1001", "chip", f"no chip is named '{text[:80]}'", next=hint)
    path = Path(text)
    where = where or text
    return _build(_resolved(chip_file.read_text(path), where, path.parent), where)


def _resolved(text: str, where: str, folder: Path) -> Document:
    """Read a chip file and merge its parents in; a parent is a catalog chip, or a .toml file beside the child."""

    def parent(name: str) -> tuple[Document, str]:
        if name in Chip.names():
            path = _CATALOG / f"{name}.toml"
        elif name.endswith(".toml"):
            path = folder / name
        else:
            hint = did_you_mean(name[:80], Chip.names()) or "Name a catalog chip or a .toml file beside this one"
            raise BadFile("OC1107", where, f"extends '{name[:80]}', which is no chip", next=hint)
        return chip_file.read_toml(chip_file.read_text(path), str(path)), str(path)

    child = chip_file.read_toml(text, where)
    if "extends" in child and "name" not in child:
        raise BadFile("OC1103", where, "'name' is missing", next="A chip that extends another one has its own name")
    return chip_file.resolve(child, where, parent)


def _build(document: Document, where: str) -> Chip:
    try:
        chip = _adapter().validate_python(chip_file.fold(document))
    except ValidationError as error:
        raise chip_file.explain(error, where, schema()) from None
    for key in chip.assumed:
        if chip_file.look_up(document, key) is None:
            raise BadFile("OC1106", where, f"assumed names '{key[:80]}', which the file does not give")
    _check_calibration(chip, where)
    return chip


def _check_calibration(chip: Chip, where: str) -> None:
    """Refuse a fitted key that is no number of the chip. Raises BadFile (OC1106)."""
    fitted = chip.calibration
    for key in (*fitted.keys, *fitted.family) if fitted is not None else ():
        if split_number(chip.value_of(key)) is None:
            raise BadFile("OC1106", where, f"calibration names '{key[:80]}', which is no number of this chip")


@functools.cache
def _text(chip: Chip) -> str:
    dumped = _adapter().dump_python(chip, by_alias=True, exclude_defaults=True, mode="json")
    return chip_file.write_toml(chip_file.unfold(cast("Document", dumped)))


def _html(chip: Chip) -> str:
    """Return what the chip is in a few lines, and its file folded away."""
    from onchip.fragments import box, folded, line, table

    rows = [(f"peak {dtype}", format_value(chip.peak_ops_per_s(dtype), "op/s")) for dtype in chip.dtypes]
    rows += [("cores", f"{chip.cores.count}"), ("clock", format_value(chip.clock_hz, "Hz"))]
    rows += [("local memory of a core", format_value(chip.local.size_bytes, "B"))]
    rows += [(f"shared memory {i + 1}", format_value(m.size_bytes, "B")) for i, m in enumerate(chip.shared)]
    rows += [
        ("DRAM", f"{format_value(chip.dram.size_bytes, 'B')}, {format_value(chip.dram.bandwidth_bytes_per_s, 'B/s')}")
    ]
    rows += [("evidence", chip.evidence)]
    head = line(f"{chip.name}: {chip.description or chip.family}", is_bold=True)
    return box(
        head, table(rows, left=(0, 1)), folded("its file", table([(text,) for text in _text(chip).splitlines()]))
    )


def _document(chip: Chip) -> Document:
    return chip_file.read_toml(_text(chip), chip.name)


@functools.cache
def _whole_document(chip: Chip) -> Document:
    return chip_file.unfold(cast("Document", _adapter().dump_python(chip, by_alias=True, mode="json")))


@functools.cache
def _hash(chip: Chip) -> str:
    return hashlib.sha256(_text(chip).encode()).hexdigest()


@functools.cache
def _defaults(chip: Chip) -> tuple[str, ...]:
    lines = [f"vector.rate({op}) = {chip.vector.lanes} (default: one per lane)" for op in _unrated(chip)]
    for section in fields(chip):
        part = getattr(chip, section.name)
        rows = [(section.name, part)] if is_dataclass(part) and section.name != "published" else []
        rows += [(f"shared.{i}", level) for i, level in enumerate(chip.shared)] if section.name == "shared" else []
        lines += [f"{place}.{key} = {value} (default)" for place, row in rows for key, value in _default_fields(row)]
    return tuple(lines)


def _unrated(chip: Chip) -> list[str]:
    rated = {op for op, _ in chip.vector.ops_per_cycle}
    return [op for op in VECTOR_OPS if op not in rated]


def _default_fields(part: object) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for field in fields(cast("Any", part)):
        value: object = getattr(part, field.name)
        if value == field.default and value != ():
            found.append((field.name, "none" if value is None else value))
    return found
