"""How far forecasts of a chip have been from silicon, as a panel's data.

In:       a Chip.
Out:      `validation_part`: `chip`, `used` (the band of a network's time, or null) and `bands`, all published ones that
          bear on the chip, the nearest evidence first: {level, of, workload, low, high, n, n_judged, left_out}, with
          measured time over predicted time between `low` and `high`.
Promises: the numbers are those of `ir.bands`; nothing is measured here.
"""

from __future__ import annotations

from dataclasses import asdict

from onchip.chip import Chip
from onchip.ir.bands import LEVELS, Band, band_of, bands
from onchip.ir.report import Json


def validation_part(chip: Chip, workload: str = "network", *, is_forecast: bool = True) -> Json:
    """Return the part `validation` of a page; only a forecast of silicon has a band of its own."""
    used = band_of(chip, workload) if is_forecast else None
    found = [band for band in bands().values() if _bears(band, chip)]
    found.sort(key=lambda band: (LEVELS.index(band.level), band.workload))
    return {
        "chip": chip.name,
        "used": asdict(used) if used is not None else None,
        "bands": [asdict(band) for band in found],
    }


def _bears(band: Band, chip: Chip) -> bool:
    return band.level == "other family" or band.of == {"same chip": chip.name, "same family": chip.family}[band.level]
