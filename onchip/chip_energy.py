"""Energy per event of a chip: one source for our program's energy and the forecast's.

In:       the `[energy]` section of a chip file, and the package's tables at 45 and 7 nm (chips/energy/*.csv).
Out:      `Events`: joules of a multiply-accumulate, of its operands, of a byte of each memory, of a lane operation, of
          a cycle; watts that flow always.
Promises: at 45 and 7 nm the tables' own numbers. At any other node log-log in the feature size through the two, beyond
          them too (SRAM below 7 nm shrinks as the smallest does); likewise between and beyond the sizes of SRAM, so
          another size is another energy. int16 lies log-log in bits between int8 and int32; bf16 has no entry at 45 nm
          and follows fp16. A MAC adds in 32 bits. fp8, tf32 and int4 have no entry and no energy: nothing is borrowed
          from another dtype. Each column of an array keeps its sums in a memory of its own.
Does not: price wires between cores, the host, or conversion of voltages.
Sources:  Horowitz, ISSCC 2014 (45 nm, 0.9 V); Jouppi et al., ISCA 2021, table 2 (7 nm); an access of a register file
          next to the multiplier costs as much as the MAC: Chen et al., ISCA 2016, table IV.
"""

from __future__ import annotations

import csv
import functools
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field

from onchip.chip_parts import FORBID, Factor, Unit, Watts, chip_dtype

if TYPE_CHECKING:
    from onchip.chip import Chip

TABLES = Path(__file__).parent / "chips" / "energy"
Joules: TypeAlias = Annotated[Fraction, Unit("J")]
PICO = 1e-12
OLD, NEW = 45.0, 7.0  # nm
KIB = 1024
SIZES = (8 * KIB, 32 * KIB, 1024 * KIB)  # of the tables' SRAMs
ACCESS_BYTES = 8  # of the tables' SRAM accesses
# dtype of the multiplier and of the adder behind it
MACS = {
    "int8": ("int8", "int32"),
    "int16": ("int16", "int32"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "fp32": ("fp32", "fp32"),
}
# register accesses of a MAC next to the multiplier: an operand moves on and a sum is kept; a row-stationary cell reads
# input, weight and sum and writes the sum (Chen et al., ISCA 2016)
ACCESSES = {"row_stationary": 4.0}
OTHER_ACCESSES = 1.0
# clock tree, control and sequencing of a core, in MACs of each of its cells every cycle, where the chip file gives no
# `clock` (assumed, shared by all chips): all parts at their peak then add up to half to twice the published power limit
CLOCK_MACS = 1.0


@dataclass(frozen=True, slots=True)
class Sourced:
    """A number of the energy table with its band and source."""

    value: float
    unit: str
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True)
class Energy:
    """What energy is made of; every number lies within a factor of `band` of the truth, as far as its source tells."""

    __pydantic_config__: ClassVar[ConfigDict] = FORBID
    node_m: Annotated[Fraction, Unit("m"), Field(alias="node")]
    source: str  # of what is not in the tables
    band: Annotated[float, Field(strict=True, ge=1, le=100)]
    dram_j_per_bit: Annotated[Fraction, Unit("J/bit", zero=True), Field(alias="dram")]
    static: Watts
    clock_j: Annotated[Joules | None, Field(alias="clock")] = None  # of a core, each cycle
    dynamic: Factor = 1.0  # square of the supply over the one that the numbers hold at; all but static
    zeros: Literal["multiplied", "gated"] = "multiplied"  # gated: a zero input costs no MAC and no operands

    @property
    def node_nm(self) -> float:
        return float(self.node_m * 10**9)

    @property
    def dram_pj_per_bit(self) -> Sourced:
        return self._sourced(float(self.dram_j_per_bit) / PICO, "pJ/bit", self.source)

    @property
    def static_w(self) -> Sourced:
        return self._sourced(float(self.static), "W", self.source)

    def mac_pj(self, dtype: str) -> Sourced | None:
        """Return the energy of one multiply-accumulate, or None where the tables have no entry for the dtype."""
        parts = MACS.get(chip_dtype(dtype))
        if parts is None:
            return None
        value = _operation("mult", parts[0], self.node_nm) + _operation("add", parts[1], self.node_nm)
        return self._sourced(value * self.dynamic, "pJ", self._table)

    @property
    def lane_pj(self) -> Sourced:
        """One operation of a 32-bit lane: a float addition, between an integer one and a product, and its registers."""
        value = _operation("add", "fp32", self.node_nm) * (1 + OTHER_ACCESSES)
        return self._sourced(value * self.dynamic, "pJ", self._table)

    def sram_pj_per_byte(self, size_bytes: int) -> Sourced:
        """Return the energy of reading or writing one byte of an SRAM of a size."""
        points = [(float(size), _sram(size, self.node_nm) / ACCESS_BYTES) for size in SIZES]
        return self._sourced(_log_log(points, float(max(size_bytes, 1))) * self.dynamic, "pJ/B", self._table)

    @property
    def sources(self) -> str:
        """Return where all of the numbers come from."""
        return f"{self._table}; {self.source}"

    @property
    def _table(self) -> str:
        return f"Horowitz 2014 (45 nm) and Jouppi et al. 2021 (7 nm), log-log at {self.node_nm:g} nm"

    def _sourced(self, value: float, unit: str, source: str) -> Sourced:
        return Sourced(value, unit, value / self.band, value * self.band, source)


@dataclass(frozen=True, slots=True)
class Events:
    """Joules per event of a chip in a dtype; `cycle` is of one core, `static_w` watts of the chip."""

    mac: float
    operands: float  # of a MAC
    local: float  # a byte, as the three that follow
    accumulator: float
    shared: float
    dram: float
    lane: float
    cycle: float
    static_w: float


def events(chip: Chip, dtype: str) -> Events | None:
    """Return the energy of a chip's events, or None where it has no table, or the tables no MAC of the dtype."""
    table = chip.energy
    mac = table.mac_pj(dtype) if table is not None else None
    if table is None or mac is None:
        return None
    clock = table.clock_j
    cells = chip.peak_macs_per_cycle(dtype)
    cycle = float(clock) * table.dynamic if clock is not None else CLOCK_MACS * cells * mac.value * PICO
    return Events(
        mac=mac.value * PICO,
        operands=mac.value * PICO * ACCESSES.get(chip.matrix.dataflow, OTHER_ACCESSES),
        local=table.sram_pj_per_byte(chip.local.size_bytes).value * PICO,
        accumulator=table.sram_pj_per_byte(chip.local.accumulator_bytes // _columns(chip, dtype)).value * PICO,
        shared=table.sram_pj_per_byte(chip.shared[0].size_bytes).value * PICO if chip.shared else 0.0,
        dram=float(table.dram_j_per_bit) * 8,
        lane=table.lane_pj.value * PICO,
        cycle=cycle,
        static_w=float(table.static),
    )


def _columns(chip: Chip, dtype: str) -> int:
    """Return the columns of a core's arrays: each keeps its sums in a memory of its own."""
    array = chip.matrix.array(dtype, chip.name)
    return (array.native[1] if array.native is not None else array.cols or 1) * chip.matrix.units


def _operation(kind: str, dtype: str, node_nm: float) -> float:
    """Return pJ of an addition or product at a node."""
    if dtype == "int16":
        return math.sqrt(_operation(kind, "int8", node_nm) * _operation(kind, "int32", node_nm))
    old, new = _tables()[f"{kind} {dtype}"]
    if old is None:
        like_old, like_new = _tables()[f"{kind} fp16"]
        assert like_old is not None
        old = new * like_old / like_new
    return _log_log([(NEW, new), (OLD, old)], node_nm)


def _sram(size_bytes: int, node_nm: float) -> float:
    """Return pJ of a 64-bit access of one of the tables' SRAMs at a node.

    Below 7 nm all sizes shrink as the smallest does: the lines through both nodes would cross.
    """
    old, new = _tables()[f"SRAM {size_bytes}"]
    assert old is not None
    if node_nm < NEW and size_bytes > SIZES[0]:
        return new * _sram(SIZES[0], node_nm) / _sram(SIZES[0], NEW)
    return _log_log([(NEW, new), (OLD, old)], node_nm)


def _log_log(points: list[tuple[float, float]], x: float) -> float:
    """Return y at x on the line through the nearest two points in log-log; points by rising x."""
    pairs = list(itertools.pairwise(points))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if x <= pair[1][0]), pairs[-1])
    return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))


@functools.cache
def _tables() -> dict[str, tuple[float | None, float]]:
    """Return pJ at 45 nm (None where there is no entry) and at 7 nm, by operation."""
    old = {_name(row["operation"], row["type_or_size"]): row["energy_pj"] for row in _rows("energy_45nm.csv")}
    found: dict[str, tuple[float | None, float]] = {}
    for row in _rows("energy_7nm.csv"):
        name = _name(row["operation"], row["type_or_size"])
        if not name.startswith("DRAM"):
            found[name] = (float(old[name]) if name in old else None, float(row["energy_7nm_pj"]))
    return found


def _name(operation: str, kind: str) -> str:
    """Return `mult int8`, or `SRAM 8192` for every spelling of an 8 KB memory."""
    if not operation.startswith("SRAM"):
        return f"{operation} {kind}"
    number, unit, *_ = kind.split()
    return f"SRAM {int(number) * {'KB': KIB, 'MB': KIB * KIB}[unit]}"


def _rows(name: str) -> list[dict[str, str]]:
    with (TABLES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
