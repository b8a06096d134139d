"""What the sections of a chip file say about each other: the checks of the Chip constructor.

In:       a chip whose sections are valid each for itself.
Out:      nothing, or the first contradiction: OC1104 a published figure that does not follow from the parts, OC1106 two
          keys that cannot both hold.
Promises: a published peak is array x clock within 2 %, and so are the published figures of `[published]` (bus x data
          rate is the bandwidth, lanes and units per core add up to the chip's); what nobody published has to be listed
          as assumed where the chip says that its geometry is unpublished.
Does not: know a chip, and no figure of `[published]` is used for anything else.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from onchip.errors import BadFile, OnchipError
from onchip.units import format_exact, format_value

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.chip_parts import Array

ADDRESS_LIMIT = 2**39  # bytes; a field of an instruction has 40 signed bits (isa/fields.py)
TOLERANCE = Fraction(2, 100)


def verify(chip: Chip) -> None:
    """Check what one section says against another. Raises BadFile."""
    for dtype, array in chip.matrix.arrays:
        _verify_array(chip, dtype, array)
    if chip.default_dtype not in chip.dtypes:
        raise _contradiction(chip, f"default_dtype is {chip.default_dtype}, but [matrix] has {', '.join(chip.dtypes)}")
    _verify_sizes(chip)
    _verify_cells(chip)
    for dtype, hertz in chip.clock.dtypes:
        if hertz < chip.clock.core_hz:
            fact = f"clock.{dtype} = {format_value(hertz, 'Hz')} is below clock.core, the clock that cycles count"
            raise _contradiction(chip, fact)
    for dtype, published in chip.peak:
        if dtype not in chip.dtypes:
            raise _contradiction(chip, f"[peak] has {dtype}, [matrix] has not")
        derived = chip.peak_ops_per_s(dtype)
        if abs(derived - published) > TOLERANCE * published:
            _refuse_peak(chip, dtype, published)
    _verify_published(chip)
    _verify_geometry(chip)


def _verify_array(chip: Chip, dtype: str, array: Array) -> None:
    if array.unit == "vector":
        return
    if chip.matrix.dataflow == "dot_product":
        if array.native is None or array.rows is not None or array.cols is not None:
            raise _contradiction(chip, f'matrix.{dtype}: a dot_product array has native = "MxNxK", no rows or cols')
    elif array.rows is None or array.cols is None or array.native is not None:
        raise _contradiction(chip, f"matrix.{dtype}: a {chip.matrix.dataflow} array has rows and cols, no native shape")


def _verify_sizes(chip: Chip) -> None:
    for key, size in (("local.size", chip.local.size_bytes), ("dram.size", chip.dram.size_bytes)):
        if size >= ADDRESS_LIMIT:
            raise _contradiction(
                chip, f"{key} = {format_exact(size, 'B')} has more bytes than addresses: below 512 GiB"
            )
    if chip.local.size_bytes < chip.local.banks:
        fact = f"local.size = {chip.local.size_bytes} B gives {chip.local.banks} banks no byte each"
        raise _contradiction(chip, fact)
    for level, shared in enumerate(chip.shared):
        if (shared.cores_per_instance or 1) > chip.cores.count:
            raise _contradiction(chip, f"shared.{level}.cores_per_instance exceeds cores.count = {chip.cores.count}")


def _verify_cells(chip: Chip) -> None:
    """Check that a row-stationary array has the memories of its cells, and a bus for inputs."""
    if chip.matrix.dataflow != "row_stationary":
        return
    for key, size in (("cell_weights", chip.matrix.cell_weights_bytes), ("cell_inputs", chip.matrix.cell_inputs_bytes)):
        if size is None or size < 8:  # two elements of the widest dtype
            raise _contradiction(chip, f"a row_stationary array has matrix.{key} of at least 8 B for each cell")
    local = chip.local
    if local.read_bytes_per_cycle <= local.weight_read_bytes_per_cycle + local.write_bytes_per_cycle:
        raise _contradiction(
            chip,
            "a row_stationary array reads weights, sums (as wide as local.write) and inputs side by "
            "side: local.read is larger than local.weight_read + local.write",
        )


def _refuse_peak(chip: Chip, dtype: str, published: Fraction) -> None:
    macs, clock = chip.peak_macs_per_cycle(dtype), format_exact(chip.clock_of(dtype), "Hz")
    derived = chip.peak_ops_per_s(dtype)
    product = f"2 x {macs} MAC/cycle x {chip.cores.count} cores x {clock} = {format_value(derived, 'op/s')}"
    off = f"{float(derived / published - 1):+.1%}".replace("%", " %")
    raise BadFile(
        "OC1104",
        chip.name,
        f"[peak] {dtype} = {format_value(published, 'op/s')}, but array x clock gives {product} ({off})",
        limit=f"They may differ by {float(TOLERANCE):.0%}".replace("%", " %"),
        next="Correct the peak (dense, not sparse), the array, the cores or the clock",
    )


def _verify_published(chip: Chip) -> None:
    """Check each figure of `[published]` against the parts that it sums up. Raises BadFile (OC1104)."""
    told, cores = chip.published, chip.cores.count
    if (told.bus_bits is None) != (told.data_rate_bits_per_s is None):
        raise _contradiction(chip, "published.bus and published.data_rate stand together")
    rows = [
        ("lanes", told.lanes, "", "vector.lanes x cores", chip.vector.lanes * cores),
        ("units", told.units, "", "matrix.units x cores", chip.matrix.units * cores),
        ("local", told.local_bytes, "B", "local.size x cores", chip.local.size_bytes * cores),
        ("accumulator", told.accumulator_bytes, "B", "local.accumulator x cores", chip.local.accumulator_bytes * cores),
    ]
    if told.bus_bits is not None and told.data_rate_bits_per_s is not None:
        product = Fraction(told.bus_bits * told.data_rate_bits_per_s, 8)
        rows += [("bus x data_rate", product, "B/s", "dram.bandwidth", chip.dram.bandwidth_bytes_per_s)]
    if told.shared_bytes_per_cycle is not None:
        if not chip.shared:
            raise _contradiction(chip, "published.shared is given, but there is no [[shared]]")
        product = told.shared_bytes_per_cycle * chip.clock_hz
        rows += [("shared x clock", product, "B/s", "shared.0.bandwidth", chip.shared[0].bandwidth_bytes_per_s)]
    for name, figure, unit, source, derived in rows:
        if figure is not None and abs(derived - figure) > TOLERANCE * figure:
            told_as, found = (format_value(n, unit) if unit else str(n) for n in (figure, derived))
            fact = f"[published] {name} is {told_as}, but {source} is {found}"
            limit = f"They may differ by {float(TOLERANCE):.0%}".replace("%", " %")
            raise BadFile("OC1104", chip.name, fact, limit=limit, next="Correct one of the two")


def _verify_geometry(chip: Chip) -> None:
    """An unpublished array is priced with an assumed one: estimate only, its numbers named as assumed.

    A peak is given for all of its dtypes or, in a what-if about the array, for none.
    """
    if chip.geometry == "published":
        return
    if chip.evidence != "estimate":
        raise _contradiction(chip, f'geometry is unpublished, so evidence is "estimate", not "{chip.evidence}"')
    peaks = {dtype for dtype, _ in chip.peak}
    for dtype, array in chip.matrix.arrays:
        if array.unit == "vector":
            continue
        if peaks and dtype not in peaks:
            raise _contradiction(chip, f"geometry is unpublished, so [peak] has to give {dtype}")
        keys = ("native",) if array.native is not None else ("rows", "cols")
        for key in (f"matrix.{dtype}.{name}" for name in keys):
            if key not in chip.assumed:
                raise _contradiction(chip, f"geometry is unpublished, so assumed has to name {key}")


def _contradiction(chip: Chip, fact: str) -> OnchipError:
    return BadFile("OC1106", chip.name, fact)
