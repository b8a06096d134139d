"""A chip as a panel's data: its file, its memories and peaks for the roofline, its energy per event with sources.

In:       a Chip and the dtype of the report.
Out:      `chip_part`: `name`, `toml`, `memories` ([{name, size_bytes, bytes_per_s}], DRAM last), `peaks` ([{dtype,
          ops_per_s}]), `events` ([{event, unit, pj, low, high, source}], none where no table prices the dtype),
          `node_nm` or null.
Promises: bandwidths are those of the whole chip: of all cores, and of all instances of a shared memory.
Does not: know a report.
"""

from __future__ import annotations

from onchip.chip import Chip
from onchip.chip_energy import PICO, Energy, Events, events
from onchip.ir.report import Json


def chip_part(chip: Chip, dtype: str) -> Json:
    """Return the part `chip` of a page."""
    return {
        "name": chip.name,
        "toml": str(chip),
        "memories": _memories(chip),
        "peaks": [{"dtype": one, "ops_per_s": chip.peak_ops_per_s(one)} for one in chip.dtypes],
        "node_nm": chip.energy.node_nm if chip.energy is not None else None,
        "events": _events(chip, dtype),
    }


def _memories(chip: Chip) -> list[Json]:
    """Return the memories from the near to the far one."""
    local = chip.local
    near = float(local.read_bytes_per_cycle * chip.clock_hz * chip.cores.count)
    found: list[Json] = [{"name": "local", "size_bytes": local.size_bytes * chip.cores.count, "bytes_per_s": near}]
    for i, level in enumerate(chip.shared):
        instances = chip.cores.count // (level.cores_per_instance or chip.cores.count)
        name = "shared" if len(chip.shared) == 1 else f"shared {i}"
        size, rate = level.size_bytes * instances, float(level.bandwidth_bytes_per_s * instances)
        found.append({"name": name, "size_bytes": size, "bytes_per_s": rate})
    rate = float(chip.dram.bandwidth_bytes_per_s)
    return [*found, {"name": "DRAM", "size_bytes": chip.dram.size_bytes, "bytes_per_s": rate}]


def _events(chip: Chip, dtype: str) -> list[Json]:
    table, each = chip.energy, events(chip, dtype)
    if table is None or each is None:
        return []
    return [_event(name, unit, joules / PICO, table, source) for name, unit, joules, source in _rows(table, each)]


def _rows(table: Energy, each: Events) -> list[tuple[str, str, float, str]]:
    """Return the events with their joules (watts for what flows always) and where these come from."""
    scaled = table.lane_pj.source
    cycle = table.source if table.clock_j is not None else "assumed: one MAC for each cell of the array"
    rows = [
        ("multiply-accumulate", "pJ", each.mac, scaled),
        ("operands of a MAC", "pJ", each.operands, scaled),
        ("byte of local memory", "pJ/B", each.local, scaled),
        ("byte of accumulator", "pJ/B", each.accumulator, scaled),
        ("byte of shared memory", "pJ/B", each.shared, scaled),
        ("byte of DRAM", "pJ/B", each.dram, table.source),
        ("operation of a lane", "pJ", each.lane, scaled),
        ("cycle of a core", "pJ", each.cycle, cycle),
    ]
    return [row for row in rows if row[2] > 0]


def _event(name: str, unit: str, pj: float, table: Energy, source: str) -> Json:
    low, high = pj / table.band, pj * table.band
    return {"event": name, "unit": unit, "pj": pj, "low": low, "high": high, "source": source}
