"""The rates of a chip for one dtype, as plain floats: what closed forms divide by.

In:       a Chip and a dtype spelt as in chip files.
Out:      `Machine`: peaks of one core, achieved bandwidths of the whole chip, fixed times; seconds, bytes, MACs.
Promises: every number is read off the chip file; nothing here knows a chip or a family.
Does not: price anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.chip import Array, Chip
from onchip.chip_energy import Events, events
from onchip.forecast.power import sustained

BYTES = {"int4": 0.5, "int8": 1, "fp8": 1, "int16": 2, "fp16": 2, "bf16": 2, "tf32": 4, "fp32": 4}
WIDE_BYTES = 4  # accumulators, indices


@dataclass(frozen=True, slots=True)
class Machine:
    """One chip in one dtype. Rates named `core_*` are of one core, all others of the chip."""

    chip: Chip
    dtype: str
    array: Array
    bytes: float  # of an element
    cores: int
    clock_hz: float
    core_macs_per_s: float  # peak of the matrix unit, or of the lanes where the dtype runs there, as power allows
    sustained: float  # share of the clock that power allows while all cores multiply
    achieved: float  # share of that peak in steady state
    dram_bytes_per_s: float  # achieved
    dram_latency_s: float
    core_bytes_per_s: float  # one core's share of memory at most: bytes in flight / latency; infinite where unknown
    shared_bytes: int  # size of the first shared level, 0 where there is none
    shared_bytes_per_s: float  # achieved; infinite where there is no shared level
    near_bytes: int  # the same of the largest shared level, where tensors stay between kernels
    near_bytes_per_s: float
    launch_s: float  # kernel floor on the device
    sync_s: float  # a step that all cores must finish
    tile_s: float  # start and end of a kernel's tiles
    prefetch_bytes: float  # of each row of a tile's operands that are in flight
    events: Events | None  # joules of an event; None where the chip's tables cannot price the dtype

    @property
    def is_managed(self) -> bool:
        """Whether a compiler places what is on the chip: no cache, and arrays that this room has closed forms for."""
        cached = any(level.managed == "cache" for level in self.chip.shared)
        return not (cached or self.on_lanes or self.chip.matrix.dataflow == "row_stationary")

    @property
    def on_lanes(self) -> bool:
        """Whether products of this dtype run on the vector lanes."""
        return self.array.unit == "vector"

    @property
    def peak_macs_per_s(self) -> float:
        return self.core_macs_per_s * self.cores

    def lane_s(self, op: str, elements: float, cores: int | None = None) -> float:
        """Return the seconds that `elements` of a lane operation take, spread over the cores."""
        rate = float(self.chip.vector.rate(op)) * self.clock_hz * (cores or self.cores)
        return elements / rate


def machine(chip: Chip, dtype: str) -> Machine:
    """Return the rates of a chip for a dtype. Raises NotSupported (OC1301) for a dtype that it does not multiply."""
    share = sustained(chip, dtype, BYTES[dtype])
    array, reach, dram = chip.matrix.array(dtype, chip.name), chip.achieved, chip.dram
    in_flight, latency = chip.cores.bytes_in_flight, float(dram.latency_s)
    shared = chip.shared[0] if chip.shared else None
    largest = max(chip.shared, key=lambda level: level.size_bytes, default=None)
    return Machine(
        chip=chip,
        dtype=dtype,
        array=array,
        bytes=BYTES[dtype],
        cores=chip.cores.count,
        clock_hz=float(chip.clock_of(dtype)),
        core_macs_per_s=float(chip.peak_macs_per_cycle(dtype)) * chip.clock_of(dtype) * share,
        sustained=share,
        achieved=reach.vector if array.unit == "vector" else reach.matrix,
        dram_bytes_per_s=dram.bandwidth_bytes_per_s * reach.dram,
        dram_latency_s=latency,
        core_bytes_per_s=in_flight / latency if in_flight and latency else float("inf"),
        shared_bytes=shared.size_bytes if shared else 0,
        shared_bytes_per_s=shared.bandwidth_bytes_per_s * reach.shared if shared else float("inf"),
        near_bytes=largest.size_bytes if largest else 0,
        near_bytes_per_s=largest.bandwidth_bytes_per_s * reach.shared if largest else float("inf"),
        launch_s=float(chip.launch.in_graph_s),
        sync_s=float(chip.sync.all_cores_s),
        tile_s=float(reach.tile_s),
        prefetch_bytes=reach.prefetch_bytes,
        events=events(chip, dtype),
    )
