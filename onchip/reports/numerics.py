"""What narrow numbers cost each layer, in decibels.

In:       a Sensitivity (`onchip quantize`), or the Values of one run where its many evaluations are not worth it.
Out:      the JSON object of the page's panel `numerics`: `network_db` at the outputs (null where not measured),
          `samples`, `method`, `dtype`, `is_measured_alone`, and `layers` in order: name, op, layer (the kernel that
          computes it), `cumulative_db` (at the layer, with everything up to it in the narrow type), `isolated_db` (at
          the network's output, with only this layer so), `gain_db` (at the output, by keeping this layer in floats);
          null where it was not measured, or where both sides are equal.
Promises: SQNR as in `ir/sensitivity.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from onchip.ir.report import Json
from onchip.ir.sensitivity import Sensitivity, decibels
from onchip.reports.values import Values


def numerics_part(values: Values, dtype: str, *, samples: int) -> Json | None:
    """Return the panel's object of a run: a layer is a kernel's output. None without a float network beside it."""
    layers: list[Json] = []
    for layer in values.layers:
        if layer.signal is not None and layer.noise is not None:
            at = decibels(layer.signal, layer.noise)
            names = {"name": layer.name, "op": layer.op, "layer": layer.name, "cumulative_db": at}
            layers.append({**names, "isolated_db": None, "gain_db": None})
    whole = {"network_db": None, "samples": samples, "method": "", "dtype": dtype, "is_measured_alone": False}
    return {**whole, "layers": layers} if layers else None


def numerics_of(found: Sensitivity, kernels: Mapping[str, str] | None = None) -> Json:
    """Return the panel's object of a Sensitivity; `kernels` names the kernel of each node."""
    names = ("name", "op", "cumulative_db", "isolated_db", "gain_db")
    owner = kernels or {}
    return {
        "network_db": found.sqnr_db,
        "samples": found.samples,
        "method": found.method,
        "dtype": "int8",
        "is_measured_alone": True,
        "layers": [
            {name: getattr(layer, name) for name in names} | {"layer": owner.get(layer.name, layer.name)}
            for layer in found.layers
        ],
    }
