"""What a run has inside: the parts `pictures` and `numerics` of its page.

In:       the nouns of a run by name: plan, fold, inputs, and the samples that calibrated it.
Out:      parts by the name of their panel.
Promises: each layer is measured alone only where the evaluations of that take seconds. A part of the pipeline beside
          `pages.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onchip.ir.report import Json
from onchip.pipeline import is_quantized
from onchip.precision import sensitivity
from onchip.reports.numerics import numerics_of, numerics_part
from onchip.reports.pictures import pictures_part
from onchip.reports.values import values_of

MOST_WORK = 2_000_000_000  # multiply-accumulates of evaluations that a page may cost
EVALUATIONS = 3  # of the network for each layer that is measured alone


def inside(seen: Mapping[str, Any]) -> dict[str, Json | None]:
    """Return the parts of a run; none where it had no inputs."""
    inputs = seen.get("inputs")
    if inputs is None or "plan" not in seen:
        return {}
    plan, fold = seen["plan"], seen.get("fold")
    real = None if fold is None or is_quantized(fold) else fold
    values = values_of(plan, real, inputs)
    rows = max((len(value) for value in inputs.values() if value.ndim), default=1)
    work = len(plan.kernels) * real.macs() * EVALUATIONS if real is not None else MOST_WORK
    if plan.dtype != "int8" or real is None or work >= MOST_WORK:
        return {"pictures": pictures_part(values), "numerics": numerics_part(values, plan.dtype, samples=rows)}
    rounding = plan.chip.rounding.modes[0]
    found = sensitivity(real, seen.get("samples") or [inputs], measured=[inputs], rounding=rounding)
    owner = {node: kernel.name for kernel in plan.kernels for node in kernel.nodes}
    return {"pictures": pictures_part(values), "numerics": numerics_of(found, owner)}
