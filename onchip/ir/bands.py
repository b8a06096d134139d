"""How far a forecast has been from silicon: bands that held for published rows which had no part in them.

In:       onchip/ir/bands.json, written by `python -m onchip.silicon.page` from the public measurements.
Out:      `band_of(chip, workload)`: the factors between which the measured time lies, on rows left out.
Promises: the most specific evidence that there is: rows of the same chip, of other chips of its family, of other
          families; each with the number of rows and the share of them that the band covered while it was made without
          them. A chip with changed numbers is not the one that was measured. None where nothing was measured.
Does not: say anything of our own program on our own chip, whose cycles are exact.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from onchip.chip import Chip
from onchip.errors import InternalError
from onchip.units import Quantity

Level = Literal["same chip", "same family", "other family"]
LEVELS: tuple[Level, ...] = ("same chip", "same family", "other family")
ANY = "any"  # workload: what is measured of none of its kind
FILE = Path(__file__).parent / "bands.json"


@dataclass(frozen=True, slots=True)
class Band:
    """Measured time over predicted time lies between `low` and `high`: quantiles of n rows, widened.

    Bands made in this way without the rows that they are held against covered the share `left_out` of `n_judged` rows:
    of the same n, or of all such small pools together.
    """

    level: Level
    of: str  # a chip, a family, or nothing
    workload: str
    low: float
    high: float
    n: int
    n_judged: int
    left_out: float

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, self.left_out)
        if not all(map(math.isfinite, numbers)) or not 0 < self.low <= 1 <= self.high or self.n < 1:
            raise InternalError("OC9014", f"{self.of} {self.workload}", f"a band of {self.low} to {self.high}")

    def of_time(self, seconds: float) -> Quantity:
        """Return a predicted time with its band."""
        return Quantity(seconds, "s", seconds * self.low, seconds * self.high)

    def of_rate(self, per_second: float) -> Quantity:
        """Return a predicted rate with its band."""
        return Quantity(per_second, "1/s", per_second / self.high, per_second / self.low)

    def __str__(self) -> str:
        whose = {"same chip": "of this chip", "same family": f"of other chips of its family ({self.of})"}
        rows = f"{self.n:,} measured rows {whose.get(self.level, 'of chips of other families')}"
        judged = "them" if self.n == self.n_judged else f"{self.n_judged:,} rows"
        share = f"{self.left_out:.0%}".replace("%", " %")
        return f"the band stems from {rows}; bands made so held for {share} of {judged} when left out"


def band_of(chip: Chip, workload: str) -> Band | None:
    """Return the band of a chip's forecasts of a workload, or None where no evidence bears on it."""
    found = bands()
    for level, of, kind in (
        ("same chip", chip.name, workload), ("same family", chip.family, workload), ("other family", "", workload),
        ("other family", "", ANY),
    ):  # fmt: skip
        if (level, of, kind) in found:
            return found[level, of, kind]
    return None


@functools.cache
def bands() -> dict[tuple[str, str, str], Band]:
    """Return the published bands by level, chip or family, and workload."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    return {(band.level, band.of, band.workload): band for band in (Band(**row) for row in rows)}


def write(made: tuple[Band, ...]) -> str:
    """Return the text of the file."""
    lines = ",\n".join(" " + json.dumps(asdict(band), ensure_ascii=False) for band in made)
    return f"[\n{lines}\n]\n"
