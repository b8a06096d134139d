"""The sections of a chip file as frozen dataclasses, and the field types that read and write their texts.

In:       plain values of a TOML file: "256 KiB", "8x4x16", tables.
Out:      sizes in bytes, clocks in Hz, times and rates as exact fractions; one dataclass per section, named as in the
          file, with each field ending in its unit.
Promises: what a field type reads it writes back as a text with the same value; the JSON Schema of the chip file
          follows from these classes.
Does not: check one section against another (chip.py does) or know any chip.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from onchip.errors import NotSupported, UsageError
from onchip.units import format_exact, parse

DTYPES = ("int4", "int8", "int16", "fp8", "fp16", "bf16", "tf32", "fp32")
Dtype: TypeAlias = Literal["int4", "int8", "int16", "fp8", "fp16", "bf16", "tf32", "fp32"]
# the spelling of dtypes in graphs -> in chip files
GRAPH_DTYPES = {"i8": "int8", "u8": "int8", "i16": "int16", "f32": "fp32", "f16": "fp16"}
VECTOR_OPS = (
    *("add", "sub", "mul", "mulh", "mac", "max", "min", "shift", "copy", "clz", "requantize", "reduce", "lut"),
    *("exp", "div", "sqrt", "tanh", "sigmoid", "erf"),
)
FORBID = ConfigDict(extra="forbid", str_max_length=2000)


def chip_dtype(dtype: str) -> str:
    """Return a dtype as chip files spell it: i8 is int8, f32 is fp32."""
    return GRAPH_DTYPES.get(dtype, dtype)


class Unit:
    """Mark a field that is written with a unit ("256 KiB") and held as an exact number of base units."""

    def __init__(self, unit: str, *, whole: bool = False, zero: bool = False) -> None:
        self.unit, self.whole, self.zero = unit, whole, zero

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.read, serialization=write)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string", "description": f"a number with a unit of {self.unit}"}
        if self.unit == "":
            return {"type": "number", "exclusiveMinimum": 0}
        return {"anyOf": [text, {"type": "integer", "minimum": 0 if self.zero else 1}]} if self.unit == "B" else text

    def read(self, value: object) -> Fraction | int:
        number = self._number(value)
        if number < 0 or (number == 0 and not self.zero):
            raise ValueError(f"must be larger than zero, not {value!r}")
        if number >= 2**63:
            raise ValueError(f"{value!r} is too large")
        if not self.whole:
            return number
        if number.denominator != 1:
            raise ValueError(f"{value!r} is no whole number of {self.unit}")
        return int(number)

    def write(self, value: Fraction | int) -> str | int | float:
        if self.unit != "":
            return format_exact(value, self.unit)
        return int(value) if Fraction(value).denominator == 1 else float(value)

    def _number(self, value: object) -> Fraction:
        if isinstance(value, str) and self.unit != "":
            try:
                return parse(value, self.unit)
            except UsageError as error:
                raise ValueError(". ".join(part for part in (error.fact, error.limit, error.next) if part)) from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or self.unit not in {"", "B"}:
            raise ValueError(
                f"write a number with a unit, not {value!r}" if self.unit else f"must be a number, not {value!r}"
            )
        try:
            return Fraction(str(value))
        except ValueError:
            raise ValueError(f"must be a finite number, not {value!r}") from None


class Shape:
    """Mark a field that is written "8x4x16" and held as a tuple of three integers."""

    _pattern = r"[1-9]\d{0,4}x[1-9]\d{0,4}x[1-9]\d{0,4}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.read, serialization=write)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self._pattern}$", "description": "MxNxK"}

    def read(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, str) or re.fullmatch(self._pattern, value) is None:
            raise ValueError(f"write MxNxK, as in '8x4x16', not {value!r}")
        return tuple(int(part) for part in value.split("x"))

    def write(self, value: tuple[int, ...]) -> str:
        return "x".join(str(part) for part in value)


class Pairs:
    """Mark a field that is written as a table and held as a tuple of (key, value), in the order of `keys`."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        value_type = get_args(get_args(source)[0])[1]
        table = core_schema.dict_schema(
            core_schema.literal_schema(list(self.keys)), handler.generate_schema(value_type)
        )
        write = core_schema.wrap_serializer_function_ser_schema(self.write, schema=table)
        return core_schema.no_info_after_validator_function(self.read, table, serialization=write)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = cast("Any", schema)["schema"]
        return handler(inner)

    def read(self, table: dict[str, object]) -> tuple[tuple[str, object], ...]:
        return tuple((key, table[key]) for key in self.keys if key in table)

    def write(self, pairs: tuple[tuple[str, object], ...], handler: Callable[[object], object]) -> object:
        return handler(dict(pairs))


Count: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=2**24)]
Share: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1)]
Bytes: TypeAlias = Annotated[int, Unit("B", whole=True)]
BytesPerSecond: TypeAlias = Annotated[int, Unit("B/s", whole=True)]
BitsPerSecond: TypeAlias = Annotated[int, Unit("bit/s", whole=True)]
BytesPerCycle: TypeAlias = Annotated[Fraction, Unit("B/cycle")]
Hertz: TypeAlias = Annotated[int, Unit("Hz", whole=True)]
Seconds: TypeAlias = Annotated[Fraction, Unit("s", zero=True)]
Watts: TypeAlias = Annotated[Fraction, Unit("W", zero=True)]
Meters: TypeAlias = Annotated[Fraction, Unit("m")]
OpsPerSecond: TypeAlias = Annotated[Fraction, Unit("op/s")]
Number: TypeAlias = Annotated[Fraction, Unit("")]
Factor: TypeAlias = Annotated[float, Field(strict=True, ge=0.01, le=100)]


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock that cycles count; dtypes whose published peak is quoted at another clock name theirs."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    core_hz: Annotated[Hertz, Field(alias="core")]
    dtypes: Annotated[tuple[tuple[str, Hertz], ...], Pairs(DTYPES)] = ()


@dataclass(frozen=True, slots=True)
class Cores:
    """How many identical cores there are, and how work is handed to them."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    count: Count
    bytes_in_flight: Bytes | None = None  # per core; absent = the latency never limits a core's bandwidth
    resident_tiles: Count = 1
    schedule: Literal["static", "dynamic"] = "static"


@dataclass(frozen=True, slots=True)
class Array:
    """The matrix unit for one dtype: rows x cols cells (systolic), or a native M x N x K per cycle (dot product)."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    accumulate: Literal["int32", "int64", "fp16", "fp32"]
    rows: Count | None = None
    cols: Count | None = None
    native: Annotated[tuple[int, int, int], Shape()] | None = None
    align: Count = 1  # elements; inner dimensions that are no multiple are padded to it
    unit: Literal["matrix", "vector"] = "matrix"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix unit of one core."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    dataflow: Literal["weight_stationary", "output_stationary", "dot_product", "row_stationary"]
    units: Count
    weight_load: Literal["hidden", "serial"]
    row_packing: Literal["CRS", "C"]
    depthwise: Literal["vector", "column", "native"]
    arrays: Annotated[tuple[tuple[str, Array], ...], Pairs(DTYPES)]
    # of row-stationary arrays: the memories of a cell, and where the weights of the next pass wait
    cell_weights_bytes: Annotated[Bytes | None, Field(alias="cell_weights")] = None
    cell_inputs_bytes: Annotated[Bytes | None, Field(alias="cell_inputs")] = None
    next_weights_bytes: Annotated[Bytes | None, Field(alias="next_weights")] = None

    def array(self, dtype: str, where: str = "chip") -> Array:
        """Return the array for a dtype, spelt as in chip files (int8) or graphs (i8); refuse an absent one (OC1301)."""
        wanted = chip_dtype(dtype)
        for name, array in self.arrays:
            if name == wanted:
                return array
        there = ", ".join(name for name, _ in self.arrays)
        raise NotSupported("OC1301", where, f"no matrix array for {wanted}", limit=f"There are: {there}")


@dataclass(frozen=True, slots=True)
class Vector:
    """The vector unit of one core: 32-bit lanes, elements per cycle for each operation."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    lanes: Count
    ops_per_cycle: Annotated[tuple[tuple[str, Number], ...], Pairs(VECTOR_OPS)] = ()

    def rate(self, op: str) -> Fraction:
        """Return elements per cycle of one core; an operation without a rate runs one per lane."""
        return next((rate for name, rate in self.ops_per_cycle if name == op), Fraction(self.lanes))


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of one unit's time hides behind another's: 0 one after the other, 1 hidden."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    matrix_vector: Share = 1.0
    memory_compute: Share = 1.0


@dataclass(frozen=True, slots=True)
class Local:
    """The local memory of one core; `size` excludes the accumulator."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    size_bytes: Annotated[Bytes, Field(alias="size")]
    accumulator_bytes: Annotated[Bytes, Field(alias="accumulator")]
    banks: Count
    read_bytes_per_cycle: Annotated[BytesPerCycle, Field(alias="read")]
    write_bytes_per_cycle: Annotated[BytesPerCycle, Field(alias="write")]
    weight_read_bytes_per_cycle: Annotated[BytesPerCycle, Field(alias="weight_read")]


@dataclass(frozen=True, slots=True)
class Shared:
    """One level of on-chip memory shared by cores."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    size_bytes: Annotated[Bytes, Field(alias="size")]
    bandwidth_bytes_per_s: Annotated[BytesPerSecond, Field(alias="bandwidth")]
    managed: Literal["cache", "software"]
    cores_per_instance: Count | None = None  # absent = one instance for all cores
    copies: Count = 1  # of what all cores read: 2 where each half of a cache serves its half of the cores


@dataclass(frozen=True, slots=True)
class Dram:
    """Off-chip memory."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    size_bytes: Annotated[Bytes, Field(alias="size")]
    bandwidth_bytes_per_s: Annotated[BytesPerSecond, Field(alias="bandwidth")]
    latency_s: Annotated[Seconds, Field(alias="latency")]
    compression: Literal["none", "rlc"] = "none"


@dataclass(frozen=True, slots=True)
class Host:
    """The link to the host."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    bandwidth_bytes_per_s: Annotated[BytesPerSecond, Field(alias="bandwidth")]


@dataclass(frozen=True, slots=True)
class Launch:
    """Fixed times: per kernel on the device, per kernel as the host sees it, per run."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    in_graph_s: Annotated[Seconds, Field(alias="in_graph")] = Fraction(0)
    host_s: Annotated[Seconds, Field(alias="host")] = Fraction(0)
    per_run_s: Annotated[Seconds, Field(alias="per_run")] = Fraction(0)
    # more of a kernel's start behind one that filled the cores' own memories: the host's code was in there too
    cold: Annotated[float, Field(strict=True, ge=0, le=100)] = 0.0


@dataclass(frozen=True, slots=True)
class Sync:
    """The time of a step that all cores must finish."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    all_cores_s: Annotated[Seconds, Field(alias="all_cores")] = Fraction(0)


@dataclass(frozen=True, slots=True)
class Execution:
    """How the vendor's runtime runs a network, where that decides its time. The forecast alone reads it.

    mode: `sequential` = all cores work on one kernel after the other; `pipeline` = every kernel has cores of its own
    and inferences stream through them; `independent` = each core runs whole inferences, a batch is dealt out to them.
    weights: `streamed` = they come from far memory in every run; `resident` = what fits on the chip stays there.
    sums: `fused` = a sum of two activations is done behind the product that makes one of them; `apart` = in a pass.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    mode: Literal["sequential", "pipeline", "independent"] = "sequential"
    weights: Literal["streamed", "resident"] = "streamed"
    sums: Literal["fused", "apart"] = "fused"


@dataclass(frozen=True, slots=True)
class Achieved:
    """What good programs reach of the peaks in steady state: shared by a family of chips, or fitted.

    Used by the forecast alone (what the vendor's own program takes on silicon), never by our program's cycles.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    matrix: Factor = 0.9  # of the matrix unit's peak
    vector: Factor = 0.8  # of the vector lanes' peak, where products run there
    dram: Factor = 0.85  # of the bandwidth of far memory
    shared: Factor = 1.0  # of the bandwidth of the first shared level; above 1 where loads are multicast
    tile_s: Annotated[Seconds, Field(alias="tile")] = Fraction(0)  # start and end of a product's tiles, once a kernel
    prefetch_bytes: Annotated[Bytes, Field(alias="prefetch")] = (
        256  # of each row of operands, along the depth, in flight
    )


@dataclass(frozen=True, slots=True)
class Algorithms:
    """Algorithms of the vendor's libraries beyond direct ones: Winograd output tiles, by dtype."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    winograd: Annotated[tuple[tuple[str, tuple[Count, ...]], ...], Pairs(DTYPES)] = ()
    narrow: tuple[Count, ...] = ()  # lanes: products of up to so many columns read the matrix once for so many of them


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which keys of this file were fitted to measurements, on which rows, and the error of rows left out."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    keys: Annotated[tuple[str, ...], Field(max_length=3)]  # dotted; their values stand in their places
    rows: str
    n: Count
    median: Annotated[float, Field(strict=True, ge=0)]  # of |error| in percent, left out by distinct shape
    p90: Annotated[float, Field(strict=True, ge=0)]
    family: tuple[str, ...] = ()  # dotted keys with one value for several chips, fitted on the rows of all of them


@dataclass(frozen=True, slots=True)
class Power:
    """Board or package power; where the process is named the limit holds the clock down in forecasts."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    limit_w: Annotated[Watts, Field(alias="limit")]
    idle_w: Annotated[Watts | None, Field(alias="idle")] = None
    process_m: Annotated[Meters | None, Field(alias="process")] = None


@dataclass(frozen=True, slots=True)
class Published:
    """Published figures of the whole chip that follow from other keys: they are checked, and used for nothing else."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    lanes: Count | None = None  # vector lanes of all cores
    units: Count | None = None  # matrix units of all cores
    local_bytes: Annotated[Bytes | None, Field(alias="local")] = None  # of all cores
    accumulator_bytes: Annotated[Bytes | None, Field(alias="accumulator")] = None  # of all cores
    bus_bits: Annotated[Count | None, Field(alias="bus")] = None  # data wires to far memory
    data_rate_bits_per_s: Annotated[BitsPerSecond | None, Field(alias="data_rate")] = None  # per wire
    shared_bytes_per_cycle: Annotated[BytesPerCycle | None, Field(alias="shared")] = None  # of the first shared level


@dataclass(frozen=True, slots=True)
class Rounding:
    """The requantization modes that the chip offers (docs/arithmetic.md)."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    modes: Annotated[tuple[Literal["single", "double", "fp32"], ...], Field(min_length=1)]
