"""Energy by component and layer, as a panel's data.

In:       the Energy of our program and that of the forecast, where there are any.
Out:      `energy_part`: `components` (their names, in order) and for `program` and `silicon` null or {`layers`: joules
          of each component, a row for each layer of that report, in its order; `outside`: joules while no layer runs}.
Promises: six significant digits; rows sum to the report's layers as far as these go.
Does not: price anything.
"""

from __future__ import annotations

from onchip.ir.energy import COMPONENTS, Energy
from onchip.ir.report import Json


def energy_part(program: Energy | None, silicon: Energy | None) -> Json | None:
    """Return the part `energy` of a page, None where nothing has a price."""
    if program is None and silicon is None:
        return None
    return {"components": list(COMPONENTS), "program": _side(program), "silicon": _side(silicon)}


def _side(energy: Energy | None) -> Json | None:
    if energy is None:
        return None
    rows = [[_short(joules) for joules in row] for row in energy.kernels]
    return {"layers": rows, "outside": _short(energy.outside_j)}


def _short(joules: float) -> float:
    return float(f"{joules:.6g}")
